package tlsauth

import (
	"crypto/tls"
	"strings"
	"testing"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// TestReport: with mode = "report" a server that falls short of the stricter demands
// is accepted and told of; what proves it is demanded as ever.
func TestReport(t *testing.T) {
	ca, stranger := newCA(t), newCA(t)
	good := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	other := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	misnamed := newLeaf(t, ca, lab.CALeaf{Names: []string{"other.test"}})
	unknown := newLeaf(t, stranger, lab.CALeaf{Names: []string{domain}})
	old := func(c tls.Certificate, version uint16) *tls.Config {
		conf := serverWith(c)
		conf.MinVersion, conf.MaxVersion = tls.VersionTLS10, version
		return conf
	}
	noPQ := serverWith(good)
	noPQ.CurvePreferences = []tls.CurveID{tls.X25519}
	require := func(d *policy.Decision) { d.PQ = policy.PQRequire }
	none := func(*policy.Decision) {}
	for _, c := range []struct {
		name     string
		decision func(*policy.Decision)
		server   *tls.Config
		kind     error  // with mode = "enforce"
		says     string // of the objection, with mode = "report"; "": refused there too
	}{
		{"TLS 1.2 where 1.3 is the least", none, old(good, tls.VersionTLS12), ErrVersion, "does not speak TLS 1.3"},
		{"TLS 1.1", none, old(good, tls.VersionTLS11), ErrVersion, ""},
		{"another key exchange", require, noPQ, ErrPQ, "chose another key exchange"},
		{"TLS 1.2 and another key exchange", require, old(good, tls.VersionTLS12), ErrVersion, "does not speak TLS 1.3"},
		{"another key than before", func(d *policy.Decision) { d.Pin = policy.PinTOFUStrict }, serverWith(other), ErrKeyChanged, "has another key than before"},
		{"another name", none, serverWith(misnamed), ErrName, ""},
		{"another authority", none, serverWith(unknown), ErrAuthority, ""},
		{"another name and TLS 1.2", none, old(misnamed, tls.VersionTLS12), ErrVersion, ""},
		{"another pin", func(d *policy.Decision) { d.Pins = []string{SPKI(other.Leaf)} }, serverWith(good), ErrPin, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, mode := range []policy.Mode{policy.ModeUnset, policy.Enforce, policy.Report} {
				d := decision()
				d.Pin = policy.PinTOFUStrict
				pins := openPins(t)
				if _, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: ca.Pool(), Pins: pins}, serverWith(good)); err != nil {
					t.Fatal(err)
				}
				d.Pin = policy.PinOff
				c.decision(&d)
				d.Mode = mode
				r, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: ca.Pool(), Pins: pins}, c.server)
				switch {
				case mode != policy.Report:
					wantError(t, err, c.kind, "")
				case c.says == "" && err == nil:
					t.Errorf("accepted, with %q", r.Objections)
				case c.says != "" && err != nil:
					t.Errorf("refused: %v", err)
				case c.says != "" && !strings.Contains(strings.Join(r.Objections, "\n"), c.says):
					t.Errorf("objections %q, want %q", r.Objections, c.says)
				}
				if seen, _, _ := pins.Seen(domain); len(seen.Keys) != 1 {
					t.Errorf("mode %s: %d keys are remembered", mode, len(seen.Keys))
				}
			}
		})
	}
	r, err := meet(t, Options{Decision: func() policy.Decision { d := decision(); d.Mode = policy.Report; return d }(), Endpoint: starttls, Roots: ca.Pool()}, serverWith(good))
	if err != nil || len(r.Objections) > 0 {
		t.Errorf("a good server: %v, %v", r, err)
	}
}
