package proxy

import (
	"strings"
	"testing"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// TestSight: a login that succeeds is shown once, with all that the server showed
// and nothing of the account; one that fails, or that goes through as it is, is not.
func TestSight(t *testing.T) {
	t.Parallel()
	seen := make(chan Sight, 8)
	watch := func(_ *policy.Decision, c *Config) { c.Saw = func(v Sight) { seen <- v } }
	g := newGround(t, good, watch)
	c := g.dial()
	c.startTLS(g)
	c.auth(testUser, "wrong")
	c.expect(`</failure>`)
	c.auth(testUser, testPassword)
	c.expect(`<success[^>]*/>`)
	c.open()
	c.bind()
	v := <-seen
	if v.Domain != testDomain || v.Mechanism != "SCRAM-SHA-256" || v.Identity != "DNS-ID "+testDomain || v.TLS == nil || len(v.TLS.PeerCertificates) == 0 ||
		v.Decision.Target.Local != "" || v.LoggedIn.Children[0].Name != "bind" {
		t.Errorf("saw %+v", v)
	}
	if len(v.Openings) != 2 || v.Openings[0].Secure || !v.Openings[1].Secure || v.Openings[0].Features.Children[0].Name != "starttls" ||
		v.Openings[1].Features.Children[0].Name != "mechanisms" || v.Openings[1].From != testDomain {
		t.Errorf("saw the openings %+v", v.Openings)
	}
	if len(seen) > 0 {
		t.Errorf("seen twice: %+v", <-seen)
	}

	relayed := newGround(t, func(g *ground, c *lab.ScriptConn) {
		c.STARTTLS(testDomain, g.cert)
		c.Open(testDomain, lab.FeatureSASL("SCRAM-SHA-256"))
		c.Expect(`<auth [^>]*mechanism='SCRAM-SHA-256'[^>]*>Zmlyc3Q=</auth>`)
		c.Send(success)
		c.Open(testDomain, lab.FeatureBind)
		c.Hang()
	}, func(d *policy.Decision, c *Config) { relayMode(d, c); watch(d, c) })
	r := relayed.dial()
	r.startTLS(relayed)
	r.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>Zmlyc3Q=</auth>")
	r.expect(`<success[^>]*/>`)
	r.open()
	if v := <-seen; v.Mechanism != "SCRAM-SHA-256" || len(v.Openings) != 2 || strings.Contains(v.Identity, "@") {
		t.Errorf("in relay mode: %+v", v)
	}
}
