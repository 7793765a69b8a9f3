package proxy

import (
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// quick makes a silent server noticed within a test's time.
func quick(_ *policy.Decision, c *Config) {
	c.Limits.IdlePing = 300 * time.Millisecond
	c.Limits.PingTimeout = 500 * time.Millisecond
}

const ping = `<iq type='get' id='(gw-[0-9a-f]+)'><ping xmlns='urn:xmpp:ping'/></iq>`

func TestPingAnswered(t *testing.T) {
	pings := make(chan string, 10)
	g := newGround(t, func(g *ground, c *lab.ScriptConn) {
		c.Good(testDomain, g.cert, testUser, testPassword)
		for range 3 {
			id := c.Expect(ping)[1]
			pings <- id
			c.Send("<iq type='result' id='" + id + "'/>")
		}
		c.Send("<message><body>still here</body></message>")
		c.Hang()
	}, quick)
	c := g.dial()
	c.login(g)
	// The client must see nothing of the gateway's own questions.
	if got := c.expect(`</message>`); got != "<message><body>still here</body></message>" {
		t.Errorf("the client saw %q", got)
	}
	if len(pings) != 3 {
		t.Errorf("%d pings", len(pings))
	}
}

func TestSilentServer(t *testing.T) {
	g := newGround(t, func(g *ground, c *lab.ScriptConn) {
		c.Good(testDomain, g.cert, testUser, testPassword)
		c.Hang()
	}, quick)
	c := g.dial()
	c.login(g)
	if got := c.rest(); !strings.Contains(got, "remote-connection-failed") || !strings.Contains(got, "did not answer") {
		t.Errorf("the client of a silent server is told %q", got)
	}
	g.drained()
}

// With stream management the question is an acknowledgement request, and a dead
// server is passed on as a cut connection, which the client can resume from.
func TestSilentServerWithStreamManagement(t *testing.T) {
	g := newGround(t, func(g *ground, c *lab.ScriptConn) {
		c.Good(testDomain, g.cert, testUser, testPassword)
		c.Expect(`<enable [^>]*/>`)
		c.Send("<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true' location='[2001:db8::1]:5222' max='600'/>")
		c.Expect(`<r xmlns='urn:xmpp:sm:3'/>`)
		c.Send("<a xmlns='urn:xmpp:sm:3' h='1'/>")
		c.Expect(`<r xmlns='urn:xmpp:sm:3'/>`)
		c.Hang()
	}, quick)
	c := g.dial()
	c.login(g)
	c.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	enabled := c.expect(`<enabled[^>]*/>`)
	if strings.Contains(enabled, "location") || !strings.Contains(enabled, "max=") {
		t.Errorf("the client got %s (never 6: no location)", enabled)
	}
	if rest := c.rest(); rest != "<a xmlns='urn:xmpp:sm:3' h='1'/>" {
		t.Errorf("the client of a resumable session is told %q at the end, want only the server's <a/>", rest)
	}
	g.drained()
}

// A client that does not read is no sign of a dead server.
func TestSlowClientIsNoDeadServer(t *testing.T) {
	var p pinger
	s := &session{live: &Live{Limits: Limits{IdlePing: time.Hour, PingTimeout: time.Hour}}}
	p.start(s)
	defer p.stop()
	p.sm = xmppstream.NSSM
	p.pinged = time.Now().Add(-time.Minute)
	p.busy()
	p.tick(s) // would end the session, which has no legs, and panic
	if !p.pinged.IsZero() {
		t.Error("a ping is held against a server that is not being read from")
	}
}

// A tick that comes late must not bring the timer of a session back that is gone.
func TestPingerStops(t *testing.T) {
	var p pinger
	s := &session{live: &Live{Limits: Limits{IdlePing: time.Hour, PingTimeout: time.Hour}}}
	p.start(s)
	p.stop()
	p.tick(s)
	if p.timer.Stop() {
		t.Error("the timer runs on")
	}
}

func TestPingerHoldsForStreamManagement(t *testing.T) {
	p := pinger{bound: true}
	p.hold()
	if q := p.next(); q != nil {
		t.Errorf("between <enable/> and <enabled/> it sends %s, which only the server counts", q)
	}
	p.goOn()
	if q := p.next(); !strings.Contains(string(q), "urn:xmpp:ping") {
		t.Errorf("after <failed/> it sends %q", q)
	}
	p.hold()
	p.useSM(xmppstream.NSSM)
	if q := p.next(); !strings.HasPrefix(string(q), "<r ") {
		t.Errorf("after <enabled/> it sends %q", q)
	}
}

// The answer to an earlier ping is not the client's either.
func TestLateAnswer(t *testing.T) {
	p := pinger{bound: true}
	p.next()
	e := &xmppstream.Element{Name: []byte("iq"), ID: []byte(p.id)}
	p.next()
	for range 2 {
		if !p.answered(e) {
			t.Error("an answer goes to the client")
		}
	}
	if p.answered(&xmppstream.Element{Name: []byte("iq"), ID: []byte("gw-other")}) {
		t.Error("another's answer is taken")
	}
}
