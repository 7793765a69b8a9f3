package proxy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// TestReportMode: what only a stricter demand refuses is refused with mode =
// "enforce"; with "report" it is let through, and status and the log tell of it.
// What must never be is refused with both.
func TestReportMode(t *testing.T) {
	t.Parallel()
	otherKey := func(d *policy.Decision, c *Config) { // the domain was met with another key
		file := filepath.Join(t.TempDir(), "pins")
		check(t, os.WriteFile(file, []byte(testDomain+" sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o600))
		pins, err := tlsauth.OpenPins(file)
		check(t, err)
		d.Pin, c.Pins = policy.PinTOFUStrict, pins
	}
	onlyPlain := func(g *ground, c *lab.ScriptConn) {
		c.STARTTLS(testDomain, g.cert)
		c.Open(testDomain, lab.FeatureSASL("PLAIN"))
		c.Hang()
	}
	for _, tt := range []struct {
		name   string
		server func(*ground, *lab.ScriptConn)
		change func(*policy.Decision, *Config)
		enforce,
		report string // the answer to the login: "success", a SASL condition or a stream error's
		says string // in status, where it was let through
	}{
		{"binding", good, func(d *policy.Decision, _ *Config) { d.Binding = policy.BindingRequire }, "mechanism-too-weak", "success", "not bound to the TLS connection"},
		{"scram-plus", good, func(d *policy.Decision, _ *Config) { d.AuthMin = policy.AuthSCRAMPlus }, "mechanism-too-weak", "success", "not bound to the TLS connection"},
		{"tofu-strict", good, otherKey, "policy-violation", "success", "has another key than before"},
		{"the password itself", onlyPlain, func(d *policy.Decision, _ *Config) { d.Binding = policy.BindingRequire }, "mechanism-too-weak", "mechanism-too-weak", ""},
		{"the password itself, which may go where it is bound", onlyPlain, func(d *policy.Decision, _ *Config) {
			d.AuthMin, d.Binding = policy.AuthPlain, policy.BindingRequire
		}, "mechanism-too-weak", "mechanism-too-weak", ""},
		{"an unknown authority", good, func(_ *policy.Decision, c *Config) { c.Roots = nil }, "policy-violation", "policy-violation", ""},
		{"a good server", good, nil, "success", "success", ""},
	} {
		for mode, want := range map[policy.Mode]string{policy.ModeUnset: tt.enforce, policy.Enforce: tt.enforce, policy.Report: tt.report} {
			t.Run(tt.name+", "+mode.String(), func(t *testing.T) {
				t.Parallel()
				g := newGround(t, tt.server, func(d *policy.Decision, c *Config) {
					d.Mode = mode
					if tt.change != nil {
						tt.change(d, c)
					}
				})
				c := g.dial()
				c.startTLS(g)
				c.auth(testUser, testPassword)
				got := c.expect(`<success|</failure>|</stream:error>`)
				if !strings.Contains(got, "<"+want) {
					t.Fatalf("the answer is %s, want %s", got, want)
				}
				if want != "success" {
					return
				}
				c.expect(`/>|</success>`)
				c.open()
				c.bind()
				said := strings.Join(g.gw.Sessions(t.Context())[0].Warnings, "\n")
				if let := mode == policy.Report && tt.says != ""; let != strings.Contains(said, `mode = "report"`) || let && !strings.Contains(said, tt.says) {
					t.Errorf("status says %q, want %q", said, tt.says)
				} else if let != strings.Contains(g.logs.String(), "let through") {
					t.Errorf("the log: %s", g.logs)
				}
			})
		}
	}
}

// TestReportRelay: a client's own login below the floor is let through to the
// server with mode = "report", and the password itself never.
func TestReportRelay(t *testing.T) {
	t.Parallel()
	g := newGround(t, func(g *ground, c *lab.ScriptConn) {
		c.STARTTLS(testDomain, g.cert)
		c.Open(testDomain, lab.FeatureSASL("SCRAM-SHA-256", "PLAIN"))
		c.Expect(`<auth [^>]*mechanism='SCRAM-SHA-256'[^>]*>Zmlyc3Q=</auth>`)
		c.Send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>c2Vjb25k</challenge>")
		c.Hang()
	}, func(d *policy.Decision, _ *Config) {
		d.SASL, d.AuthMin, d.Binding, d.Mode = policy.Relay, policy.AuthPlain, policy.BindingRequire, policy.Report
	})
	c := g.dial()
	c.startTLS(g)
	c.auth(testUser, testPassword)
	if got := c.expect(`</failure>`); !strings.Contains(got, "mechanism-too-weak") {
		t.Errorf("PLAIN gives %s", got)
	}
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>Zmlyc3Q=</auth>")
	c.expect(`<challenge[^>]*>c2Vjb25k</challenge>`)
	if said := strings.Join(g.gw.Sessions(t.Context())[0].Warnings, "\n"); !strings.Contains(said, "weaker than the rules") {
		t.Errorf("status says %q", said)
	}
}

// TestLenient: nothing but the demand for a bound login is given up.
func TestLenient(t *testing.T) {
	for _, tt := range []struct{ in, want saslauth.Rules }{
		{saslauth.Rules{}, saslauth.Rules{}},
		{saslauth.Rules{Min: policy.AuthPlain, Binding: policy.BindingPrefer}, saslauth.Rules{Min: policy.AuthPlain, Binding: policy.BindingPrefer}},
		{saslauth.Rules{Min: policy.AuthPlain, Binding: policy.BindingRequire}, saslauth.Rules{Min: policy.AuthSCRAM, Binding: policy.BindingPrefer}},
		{saslauth.Rules{Min: policy.AuthSCRAMPlus, Binding: policy.BindingRequire}, saslauth.Rules{Min: policy.AuthSCRAM, Binding: policy.BindingPrefer}},
		{saslauth.Rules{Min: policy.AuthExternal, Binding: policy.BindingPrefer, RatchetPlus: true, Channel: saslauth.ChannelTLS},
			saslauth.Rules{Min: policy.AuthExternal, Binding: policy.BindingPrefer, RatchetPlus: true, Channel: saslauth.ChannelTLS}},
	} {
		if got := lenient(tt.in); got != tt.want {
			t.Errorf("lenient(%+v) = %+v, want %+v", tt.in, got, tt.want)
		}
	}
}
