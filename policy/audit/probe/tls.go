package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// config is the best handshake there is: all that a good client takes, and any
// certificate.
func (s spot) config() *tls.Config {
	return &tls.Config{ServerName: s.name(), NextProtos: s.alpn(), MinVersion: tls.VersionTLS10, CipherSuites: suitesOfGo(),
		// What was shown is judged afterwards, and told; nothing secret is ever sent.
		InsecureSkipVerify: true}
}

// suitesOfGo are all that crypto/tls can speak, so that a handshake with an old
// server comes about and its certificate is seen.
func suitesOfGo() []uint16 {
	var out []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		out = append(out, s.ID)
	}
	return out
}

// show writes down what one good handshake showed.
func (r *run) show(t *audit.TLS, s spot, state *tls.ConnectionState) {
	t.Chain = state.PeerCertificates
	t.Group = state.CurveID.String()
	t.PQ = state.CurveID == tls.X25519MLKEM768
	t.ALPN = clip(state.NegotiatedProtocol)
	_, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32) // RFC 9266 §2
	t.Exporter = err == nil
	j := r.judge(s, t.Chain)
	t.ChainErr, t.NameErr, t.Identity = tlsauth.Reason(j.Chain), tlsauth.Reason(j.Name), j.Identity
	t.Verified = j.Verified
	chain := j.Verified
	if chain == nil {
		chain = t.Chain
	}
	t.SCTs = r.Logs.Check(ct.Shown{Chain: chain, TLS: state.SignedCertificateTimestamps, OCSP: state.OCSPResponse}, r.Now())
	t.Staple = clip(tlsauth.Staple(state.OCSPResponse, chain, r.Now()))
	key := versionName(state.Version)
	t.Versions = map[string]string{key: ""}
	t.Accepted = map[string][]string{}
	if state.Version == tls.VersionTLS13 {
		t.Accepted[key] = []string{tls.CipherSuiteName(state.CipherSuite)}
	}
}

// judge says of a chain whether it proves the spot's server.
func (r *run) judge(s spot, chain []*x509.Certificate) tlsauth.Judgement {
	service := map[audit.Service]string{audit.C2S: "xmpp-client", audit.S2S: "xmpp-server"}[s.service]
	if s.name() != s.domain {
		service = ""
	}
	return tlsauth.Judge(chain, s.name(), service, r.Roots, r.Now())
}

func versionName(v uint16) string { return strings.TrimPrefix(tls.VersionName(v), "TLS ") }

// versions asks for each version, and for each that is taken for the classes of
// cipher suites, all side by side. A version of which no answer came is not among
// them afterwards.
func (r *run) versions(ctx context.Context, s spot, t *audit.TLS) {
	var mu sync.Mutex // for t
	var wg sync.WaitGroup
	shown := maps.Clone(t.Versions) // by the first handshake
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		name := versionName(v)
		_, known := shown[name]
		wg.Go(func() {
			if !known {
				how, ok := r.greet(ctx, s, "", v, usualOf(v), nil)
				if !ok {
					return
				}
				mu.Lock()
				t.Versions[name] = how
				mu.Unlock()
				if how != "" {
					return
				}
			}
			r.suites(ctx, s, v, t, &mu)
		})
	}
	if _, best := shown["1.3"]; best && !t.PQ {
		// A server may know it and like another better.
		wg.Go(func() {
			why := r.step(ctx, s.what("X25519MLKEM768"), func(ctx context.Context) error {
				_, err := s.handshake(ctx, func(c *tls.Config) {
					c.MinVersion, c.CurvePreferences = tls.VersionTLS13, []tls.CurveID{tls.X25519MLKEM768}
				})
				return err
			})
			mu.Lock()
			t.PQ = why == ""
			mu.Unlock()
		})
	}
	wg.Wait()
}

// usualOf is what a good client offers with a version.
func usualOf(version uint16) []uint16 {
	if version < tls.VersionTLS13 {
		return every()
	}
	var out []uint16
	for _, s := range modern {
		out = append(out, s.id)
	}
	return out
}

// suites asks with each class of suites alone, side by side, and notes in t those
// that were taken, and the classes of which no answer came.
func (r *run) suites(ctx context.Context, s spot, version uint16, t *audit.TLS, mu *sync.Mutex) {
	name := versionName(version)
	mu.Lock()
	shown := slices.Clone(t.Accepted[name]) // by the first handshake
	mu.Unlock()
	note := func(suite string) {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(t.Accepted[name], suite) {
			t.Accepted[name] = append(t.Accepted[name], suite)
		}
	}
	var wg sync.WaitGroup
	try := func(class string, ids []uint16) {
		wg.Go(func() {
			if _, ok := r.greet(ctx, s, class, version, ids, note); !ok {
				mu.Lock()
				t.Untried = append(t.Untried, "TLS "+name+", "+class)
				mu.Unlock()
			}
		})
	}
	if version == tls.VersionTLS13 {
		for _, c := range modern {
			if !slices.Contains(shown, c.name) {
				try(c.name, []uint16{c.id})
			}
		}
	} else {
		for _, c := range classes {
			try(c.name, c.ids())
		}
	}
	wg.Wait()
	mu.Lock()
	slices.Sort(t.Untried)
	mu.Unlock()
}

// greet asks for a version with suites, as a probe of its own. It gives how the
// server refused, "" if it did not, and ok unless there was no answer.
func (r *run) greet(ctx context.Context, s spot, class string, version uint16, suites []uint16, taken func(string)) (how string, ok bool) {
	what := "TLS " + versionName(version)
	if class != "" {
		what += ", " + class
	}
	why := r.step(ctx, s.what(what), func(ctx context.Context) error {
		a, err := s.greet(ctx, version, suites)
		var no *refusal
		if errors.As(err, &no) && no.ended && s.at.Transport != policy.STARTTLS {
			// It may have had enough of us before it heard what we asked: a good
			// handshake tells.
			if _, err := s.handshake(ctx, nil); err != nil {
				return err
			}
		}
		if no, is := refused(err); is {
			how = no
			return nil
		}
		if err == nil && taken != nil {
			taken(suiteOf(a.suite))
		}
		return err
	})
	return how, why == ""
}

// suiteOf is the name of a suite of any version.
func suiteOf(id uint16) string {
	for _, s := range modern {
		if s.id == id {
			return s.name
		}
	}
	return suiteName(id)
}

// greet asks a spot for a version and suites.
func (s spot) greet(ctx context.Context, version uint16, suites []uint16) (answer, error) {
	l, err := s.dial(ctx)
	if err != nil {
		return answer{}, err
	}
	defer l.close()
	if _, err := l.ready(""); err != nil {
		return answer{}, err
	}
	return greet(l.conn, version, suites, s.name(), s.alpn())
}

// handshake makes one whole handshake.
func (s spot) handshake(ctx context.Context, change func(*tls.Config)) (*tls.ConnectionState, error) {
	l, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if _, err := l.ready(""); err != nil {
		return nil, err
	}
	conf := s.config()
	if change != nil {
		change(conf)
	}
	return l.shake(ctx, conf)
}
