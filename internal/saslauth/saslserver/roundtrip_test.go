package saslserver

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// logIn runs our own client against the server over a connection, streams and all.
// edit may change what the client is offered.
func logIn(t testing.TB, srv *Server, w wire, cred saslauth.Credentials, rules saslauth.Rules, edit func(string) string) (saslauth.Outcome, error, *Login, error) {
	t.Helper()
	type result struct {
		login *Login
		err   error
	}
	served := make(chan result, 1)
	go func() {
		var r result
		r.login, r.err = serve(t, srv, w, edit)
		served <- r
	}()
	rd, wr := stream(w.client)
	out, err := func() (saslauth.Outcome, error) {
		if err := wr.Header(xmppstream.Header{To: domain}); err != nil {
			return saslauth.Outcome{}, err
		}
		if err := wr.Flush(); err != nil {
			return saslauth.Outcome{}, err
		}
		if _, err := rd.ReadHeader(); err != nil {
			return saslauth.Outcome{}, err
		}
		e, err := rd.Next()
		if err != nil {
			return saslauth.Outcome{}, err
		}
		n, err := e.Node()
		if err != nil {
			return saslauth.Outcome{}, err
		}
		offer, err := saslauth.ParseOffer(n)
		if err != nil {
			return saslauth.Outcome{}, err
		}
		state := w.client.ConnectionState()
		return saslauth.Authenticate(t.Context(), saslauth.Over(rd, wr), offer, &cred, rules, &state)
	}()
	w.client.NetConn().Close() // without a word of TLS, for which nobody may be waiting
	r := <-served
	return out, err, r.login, r.err
}

// serve is what a server's core does: features, and then logins until one succeeds.
func serve(t testing.TB, srv *Server, w wire, edit func(string) string) (*Login, error) {
	rd, wr := stream(w.server)
	if _, err := rd.ReadHeader(); err != nil {
		return nil, err
	}
	if err := wr.Header(xmppstream.Header{From: domain, ID: "1"}); err != nil {
		return nil, err
	}
	conn := srv.Conn(w.link())
	features := string(conn.AppendFeatures(t.Context(), nil))
	if edit != nil {
		features = edit(features)
	}
	if err := wr.Raw([]byte("<stream:features>" + features + "</stream:features>")); err != nil {
		return nil, err
	}
	s := saslauth.Over(rd, wr)
	err := wr.Flush()
	var failed error
	for err == nil {
		var e *xmppstream.Element
		if e, err = rd.Next(); err != nil || e.Kind != xmppstream.Stanza {
			break
		}
		n, err2 := e.Node()
		if err2 != nil {
			return nil, err2
		}
		login, err2 := conn.Authenticate(t.Context(), s, n)
		var f *saslauth.Failure
		switch {
		case errors.As(err2, &f):
			failed = f
			continue
		case err2 != nil:
			return nil, err2
		}
		return login, s.Send(login.Success(login.Account))
	}
	return nil, failed
}

var usual = saslauth.Rules{Min: policy.AuthPlain, Binding: policy.BindingPrefer, Channel: saslauth.ChannelTLS}

func credentials() saslauth.Credentials {
	return saslauth.Credentials{Username: juliet.Local, Password: []byte(password)}
}

// cut removes from the features what stands between two strings, both included.
func cut(from, to string) func(string) string {
	return func(s string) string {
		i := strings.Index(s, from)
		if i < 0 {
			return s
		}
		j := strings.Index(s[i:], to)
		return s[:i] + s[i+j+len(to):]
	}
}

var (
	withoutSASL2 = cut("<authentication ", "</authentication>")
	withoutSASL1 = cut("<mechanisms ", "</mechanisms>")
)

func TestRoundTrips(t *testing.T) {
	m := newMemory(t, "juliet", "romeo")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, h := range Hashes() {
			for proto, edit := range map[saslauth.Protocol]func(string) string{saslauth.SASL1: withoutSASL2, saslauth.SASL2: withoutSASL1} {
				// XEP-0474's list is that of the protocol in use, so that the edits do no harm.
				t.Run(fmt.Sprintf("%s/%v/%v", tls.VersionName(version), h, proto), func(t *testing.T) {
					srv, _ := newServer(t, m, func(c *Config) { c.Hashes = []Hash{h} })
					out, err, login, err2 := logIn(t, srv, connect(t, version), credentials(), usual, edit)
					if err != nil || err2 != nil {
						t.Fatal(err, err2)
					}
					if out.Mechanism != "SCRAM-"+h.String()+"-PLUS" || out.Binding != saslauth.TLSExporter || !out.Hashed || out.Protocol != proto {
						t.Errorf("client: %+v", out)
					}
					if login.Account != juliet || login.Mechanism != out.Mechanism || login.Binding != out.Binding || login.Protocol != proto {
						t.Errorf("server: %+v", login)
					}
					if proto == saslauth.SASL2 && out.Identity != juliet.String() {
						t.Errorf("identity %q", out.Identity)
					}
					wrong := credentials()
					wrong.Password = []byte("Pencil")
					_, err, login, err2 = logIn(t, srv, connect(t, version), wrong, usual, edit)
					var f *saslauth.Failure
					if login != nil || !errors.As(err, &f) || f.Condition != saslauth.NotAuthorized || err2 == nil {
						t.Errorf("wrong password: %v %v %v", err, login, err2)
					}
				})
			}
		}
	}
	t.Run("best first", func(t *testing.T) {
		srv, _ := newServer(t, m)
		out, err, _, _ := logIn(t, srv, connect(t, tls.VersionTLS13), credentials(), usual, nil)
		if err != nil || out.Mechanism != "SCRAM-SHA-512-PLUS" || out.Protocol != saslauth.SASL2 {
			t.Errorf("%+v %v", out, err)
		}
	})
}

// A client that cannot bind notices by the hash when its offer was changed, and
// gets in where there is nothing to bind with.
func TestRoundTripUnbound(t *testing.T) {
	srv, _ := newServer(t, newMemory(t, "juliet"))
	rules, cred := usual, credentials()
	rules.Channel = saslauth.ChannelOnion
	for name, tt := range map[string]struct {
		link Link
		want error
	}{
		"a list of types was removed": {connect(t, tls.VersionTLS13).link(), saslauth.ErrDowngrade},
		"an onion service":            {Link{Private: true}, nil},
	} {
		s := &direct{t: t, conn: srv.Conn(tt.link)}
		o := saslauth.Offer{Mechanisms: s.conn.Mechanisms(t.Context())}
		out, err := saslauth.Authenticate(t.Context(), s, o, &cred, rules, nil)
		if !errors.Is(err, tt.want) || (s.login != nil) != (tt.want == nil) {
			t.Errorf("%s: %+v %v", name, out, err)
		}
	}
}

// direct is a stream whose other end is a Conn.
type direct struct {
	t     testing.TB
	conn  *Conn
	login *Login
	queue []byte
}

func (d *direct) Send(raw []byte) error {
	a, err := d.conn.Handle(d.t.Context(), node(d.t, string(raw)))
	if err != nil {
		return err
	}
	if d.login = a.Login; a.Login != nil {
		a.Element = a.Login.Success(a.Login.Account)
	}
	d.queue = a.Element
	return nil
}

func (d *direct) Next() (*xmppstream.Element, error) {
	r := xmppstream.NewReader(strings.NewReader("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"+string(d.queue)), xmppstream.PreAuthLimits())
	if _, err := r.ReadHeader(); err != nil {
		return nil, err
	}
	return r.Next()
}

// Another's client, with each type of binding by name.
func TestOtherClient(t *testing.T) {
	m := newMemory(t, "juliet")
	srv, _ := newServer(t, m)
	hashes := map[Hash]scram.HashGeneratorFcn{SHA1: scram.SHA1, SHA256: scram.SHA256, SHA512: scram.SHA512}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		w := connect(t, version)
		state := w.client.ConnectionState()
		exporter, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32) // RFC 9266 §2
		if err != nil {
			t.Fatal(err)
		}
		endPoint, err := scram.NewTLSServerEndpointBinding(&state)
		if err != nil {
			t.Fatal(err)
		}
		bindings := []scram.ChannelBinding{{}, {Type: scram.ChannelBindingTLSExporter, Data: exporter}, endPoint}
		if version == tls.VersionTLS12 {
			bindings = append(bindings, scram.NewTLSUniqueBinding(state.TLSUnique))
		}
		for h, fcn := range hashes {
			for _, cb := range bindings {
				for _, p := range []saslauth.Protocol{saslauth.SASL1, saslauth.SASL2} {
					t.Run(fmt.Sprintf("%s/%v/%v/%s", tls.VersionName(version), h, p, cb.Type), func(t *testing.T) {
						client, err := fcn.NewClient(juliet.Local, password, "")
						if err != nil {
							t.Fatal(err)
						}
						mechanism, conv := h.mechanism(), client.NewConversation()
						if cb.IsSupported() {
							mechanism += plus
							conv = client.NewConversationWithChannelBinding(cb)
						}
						conn := srv.Conn(w.link())
						if !slices.Contains(conn.Mechanisms(t.Context()), mechanism) {
							t.Fatalf("%s is not offered", mechanism)
						}
						first, err := conv.Step("")
						if err != nil {
							t.Fatal(err)
						}
						a := handle(t, conn, auth(p, mechanism, first, ""))
						final, err := conv.Step(a.challenge(t))
						if err != nil {
							t.Fatal(err)
						}
						a = handle(t, conn, response(p, final))
						if a.Login == nil || a.Login.Account != juliet || a.Login.Binding != string(cb.Type) {
							t.Fatalf("%+v", a)
						}
						success := node(t, string(a.Login.Success(juliet)))
						text := success.Text
						if p == saslauth.SASL2 {
							text = success.ChildText(p.Space(), "additional-data")
						}
						if _, err := conv.Step(string(unb64(t, text))); err != nil || !conv.Valid() {
							t.Errorf("the server is not proven: %v", err)
						}
					})
				}
			}
		}
	}
}

func TestPlain(t *testing.T) {
	m := newMemory(t, "juliet")
	on := func(c *Config) { c.AllowPlain = true }
	srv, _ := newServer(t, m, on)
	onlyPlain := func(s string) string {
		return "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
	}
	out, err, login, err2 := logIn(t, srv, connect(t, tls.VersionTLS13), credentials(), usual, onlyPlain)
	if err != nil || err2 != nil || out.Mechanism != plain || login.Account != juliet {
		t.Fatalf("%+v %v %v", out, err, err2)
	}
	w := connect(t, tls.VersionTLS13)
	tests := []struct {
		message string
		want    saslauth.Condition
	}{
		{"\x00juliet\x00pencil", ""},
		{"juliet@example.org\x00juliet\x00pencil", ""},
		{"\x00Juliet\x00pencil", ""},
		{"\x00juliet\x00Pencil", saslauth.NotAuthorized},
		{"\x00nobody\x00pencil", saslauth.NotAuthorized},
		{"\x00juliet\x00pen\ncil", saslauth.NotAuthorized},
		{"romeo@example.org\x00juliet\x00pencil", saslauth.InvalidAuthzid},
		{"juliet@example.org/balcony\x00juliet\x00pencil", saslauth.InvalidAuthzid},
		{"juliet\x00pencil", saslauth.MalformedRequest},
		{"\x00\xff\x00pencil", saslauth.MalformedRequest},
	}
	for _, tt := range tests {
		a := handle(t, srv.Conn(w.link()), auth(saslauth.SASL2, plain, tt.message, ""))
		if a.condition() != tt.want || (a.Login != nil) != (tt.want == "") {
			t.Errorf("%q: %v", tt.message, a.Failure)
		}
	}
	m.disabled[juliet] = true
	if a := handle(t, srv.Conn(w.link()), auth(saslauth.SASL1, plain, "\x00juliet\x00pencil", "")); a.condition() != saslauth.AccountDisabled {
		t.Errorf("disabled: %v", a.Failure)
	}
	if a := handle(t, srv.Conn(w.link()), auth(saslauth.SASL1, plain, "\x00juliet\x00Pencil", "")); a.condition() != saslauth.NotAuthorized {
		t.Errorf("disabled, wrong password: %v", a.Failure)
	}
	// Off by default, and nowhere without TLS.
	off, _ := newServer(t, m)
	for name, c := range map[string]*Conn{"off": off.Conn(w.link()), "no TLS": srv.Conn(Link{Private: true})} {
		if a := handle(t, c, auth(saslauth.SASL1, plain, "\x00juliet\x00pencil", "")); a.condition() != saslauth.InvalidMechanism {
			t.Errorf("%s: %v", name, a.Failure)
		}
	}
}

func TestExternal(t *testing.T) {
	of := func(addrs ...string) tls.Certificate {
		return certificate(t, func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, xmppAddr(t, addrs...)) })
	}
	var (
		full   = "juliet@example.org/balcony"
		none   = certificate(t)
		one    = of(juliet.String())
		two    = of(juliet.String(), "romeo@example.org")
		narrow = of(full)
	)
	sum := func(c tls.Certificate) [32]byte { return sha256.Sum256(c.Leaf.Raw) }
	romeo := address.Address{Local: "romeo", Domain: domain}
	tests := []struct {
		name    string
		cert    tls.Certificate
		listed  []address.Address // XEP-0257
		trusted bool
		authzid string
		want    saslauth.Condition // "none": not offered
		account address.Address
		allowed string
	}{
		{"listed", none, []address.Address{juliet}, false, "", "", juliet, ""},
		{"listed, named", none, []address.Address{juliet}, false, juliet.String(), "", juliet, ""},
		{"listed for two", none, []address.Address{juliet, romeo}, false, "", saslauth.InvalidAuthzid, juliet, ""},
		{"listed for two, named", none, []address.Address{juliet, romeo}, false, romeo.String(), "", romeo, ""},
		{"listed, another named", none, []address.Address{juliet}, false, romeo.String(), saslauth.InvalidAuthzid, juliet, ""},
		{"listed, nonsense", none, []address.Address{juliet}, false, "@@", saslauth.InvalidAuthzid, juliet, ""},
		{"unlisted", none, nil, false, "", "none", juliet, ""},
		{"an address that nobody signed", one, nil, false, "", "none", juliet, ""},
		{"signed", one, nil, true, "", "", juliet, ""},
		{"two signed", two, nil, true, "", saslauth.InvalidAuthzid, juliet, ""},
		{"two signed, named", two, nil, true, romeo.String(), "", romeo, ""},
		{"signed, no address", none, nil, true, "", "none", juliet, ""},
		{"signed, another domain", of("juliet@example.net"), nil, true, "", "none", juliet, ""},
		{"signed, a resource", narrow, nil, true, "", "", juliet, "balcony"},
		{"listed, a resource", narrow, []address.Address{juliet}, false, "", "", juliet, "balcony"},
		{"listed, a resource named", narrow, []address.Address{juliet}, false, full, "", juliet, "balcony"},
		{"a resource that is not there", narrow, []address.Address{juliet}, false, juliet.String() + "/garden", saslauth.InvalidAuthzid, juliet, ""},
		{"listed, no account", none, []address.Address{{Local: "gone", Domain: domain}}, false, "", saslauth.NotAuthorized, juliet, ""},
		{"listed for another domain", none, []address.Address{{Local: "juliet", Domain: "example.net"}}, false, "", "none", juliet, ""},
		{"expired", certificate(t, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(1) }), nil, false, "", "none", juliet, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory(t)
			for _, a := range []address.Address{juliet, romeo} {
				m.keys[a] = nil // no password is needed
			}
			m.certs[sum(tt.cert)] = tt.listed
			if tt.name == "expired" {
				m.certs[sum(tt.cert)] = []address.Address{juliet}
			}
			srv, _ := newServer(t, m, func(c *Config) {
				if tt.trusted {
					c.ClientRoots = x509.NewCertPool()
					c.ClientRoots.AddCert(tt.cert.Leaf)
				}
			})
			w := connect(t, tls.VersionTLS13, tt.cert)
			c := srv.Conn(w.link())
			offered := slices.Contains(c.Mechanisms(t.Context()), external)
			if offered == (tt.want == "none") {
				t.Fatalf("offered: %v", offered)
			}
			element := auth(saslauth.SASL1, external, tt.authzid, "")
			if tt.authzid == "" {
				element = strings.Replace(element, "></auth", ">=</auth", 1)
			}
			a := handle(t, c, element)
			if tt.want == "none" {
				tt.want = saslauth.InvalidMechanism
			}
			if a.condition() != tt.want {
				t.Fatalf("%v", a.Failure)
			}
			if tt.want == "" && (a.Login.Account != tt.account || strings.Join(a.Login.Resources, ",") != tt.allowed || a.Login.Certificate == nil) {
				t.Errorf("%+v", a.Login)
			}
		})
	}

	m := newMemory(t, "juliet")
	m.certs[sum(none)] = []address.Address{juliet}
	srv, _ := newServer(t, m)
	cred := saslauth.Credentials{Certificate: true}
	out, err, login, err2 := logIn(t, srv, connect(t, tls.VersionTLS13, none), cred, usual, nil)
	if err != nil || err2 != nil || out.Mechanism != external || login.Account != juliet {
		t.Errorf("%+v %v %v", out, err, err2)
	}
	c := srv.Conn(connect(t, tls.VersionTLS12, none).link())
	c.offerFor(t.Context())
	delete(m.certs, sum(none)) // revoked between the offer and the login
	if a := handle(t, c, strings.Replace(auth(saslauth.SASL1, external, "", ""), "></auth", ">=</auth", 1)); a.condition() != saslauth.NotAuthorized {
		t.Errorf("revoked: %v", a.Failure)
	}
}
