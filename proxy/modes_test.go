package proxy

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

const (
	success    = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
	sasl2Offer = "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-256</mechanism>" +
		"<inline><sm xmlns='urn:xmpp:sm:3'/></inline></authentication>"
)

func relayMode(d *policy.Decision, _ *Config) { d.SASL, d.AuthMin = policy.Relay, policy.AuthSCRAM }

// In relay mode the client's own login reaches the server as it is, mechanisms
// below the floor do not, and the list is shown as the server wrote it.
func TestRelayMode(t *testing.T) {
	t.Parallel()
	g := newGround(t, func(g *ground, c *lab.ScriptConn) {
		c.STARTTLS(testDomain, g.cert)
		c.Open(testDomain, lab.FeatureSASL("SCRAM-SHA-256", "PLAIN")+sasl2Offer)
		c.Expect(`<auth [^>]*mechanism='SCRAM-SHA-256'[^>]*>Zmlyc3Q=</auth>`)
		c.Send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>c2Vjb25k</challenge>")
		c.Expect(`<response[^>]*>dGhpcmQ=</response>`)
		c.Send(success)
		c.Open(testDomain, lab.FeatureBind)
		c.Expect(`<iq[^>]*id='bind1'.*</iq>`)
		c.Send("<iq type='result' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
		echo(c)
	}, relayMode)
	c := g.dial()
	c.send(clientHeader)
	c.expect(`</stream:features>`)
	if g.server.Accepted() != 0 {
		t.Error("the server was called before the client's TLS")
	}
	c.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	c.expect(`<proceed[^>]*/>`)
	c.handshake(g)
	c.send(clientHeader)
	offer := c.expect(`</stream:features>`)
	if !strings.Contains(offer, "<mechanism>SCRAM-SHA-256</mechanism><mechanism>PLAIN</mechanism>") || strings.Contains(offer, "inline") || !strings.Contains(offer, "urn:xmpp:sasl:2") {
		t.Errorf("the offer is %s", offer)
	}
	c.auth(testUser, testPassword)
	if got := c.expect(`</failure>`); !strings.Contains(got, "mechanism-too-weak") {
		t.Errorf("PLAIN below the floor gives %s", got)
	}
	c.send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256'><resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/></authenticate>")
	if got := c.expect(`</failure>`); !strings.Contains(got, "malformed-request") {
		t.Errorf("an inline request gives %s", got)
	}
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>Zmlyc3Q=</auth>")
	c.expect(`<challenge[^>]*>c2Vjb25k</challenge>`)
	c.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>dGhpcmQ=</response>")
	c.expect(`<success[^>]*/>`)
	c.open()
	c.bind()
	c.send("<message><body>hi</body></message>")
	c.expect(`<message><body>hi</body></message>`)
	c.send("</stream:stream>")
	c.rest()
	if got := g.server.Received(); strings.Contains(got, base64.StdEncoding.EncodeToString([]byte("\x00"+testUser+"\x00"+testPassword))) || strings.Contains(got, "resume") {
		t.Error("what was refused reached the server")
	}
	g.drained()
}

// A success that answers no login is none (never 5).
func TestRelayUnaskedSuccess(t *testing.T) {
	g := newGround(t, func(g *ground, c *lab.ScriptConn) {
		c.STARTTLS(testDomain, g.cert)
		c.Open(testDomain, lab.FeatureSASL("SCRAM-SHA-256")+"<register xmlns='http://jabber.org/features/iq-register'/>")
		c.Expect(`<query xmlns='jabber:iq:register'/>`)
		c.Send("<success xmlns='urn:xmpp:sasl:2'/><stream:features>" + lab.FeatureBind + "</stream:features>")
		c.Hang()
	}, relayMode)
	c := g.dial()
	c.startTLS(g)
	c.send(getForm)
	if got := c.rest(); strings.Contains(got, "<success") || !strings.Contains(got, "policy-violation") {
		t.Errorf("the client is told %q", got)
	}
	g.drained()
}

// In passthrough the client's TLS ends at the server, whose certificate it sees.
func TestPassthrough(t *testing.T) {
	t.Parallel()
	far := func(g *ground, c *client) {
		g.t.Helper()
		inner := tls.Client(c.Conn, &tls.Config{RootCAs: g.gw.cfg.Roots, ServerName: testDomain})
		check(g.t, inner.Handshake())
		c.Conn = inner
		c.open()
		c.send("<message>end to end</message>")
		c.expect("<message>end to end</message>")
		check(g.t, inner.CloseWrite())
		check(g.t, inner.NetConn().(*net.TCPConn).CloseWrite())
		if got := c.rest(); got != "" {
			g.t.Errorf("at the end came %q", got)
		}
		g.drained()
	}
	serve := func(c *lab.ScriptConn) {
		c.Open(testDomain, lab.FeatureSASL("PLAIN"))
		c.Send(c.Expect(`<message>.*</message>`)[0])
		c.Hang()
	}
	t.Run("STARTTLS", func(t *testing.T) {
		g := newGround(t, func(g *ground, c *lab.ScriptConn) { c.STARTTLS(testDomain, g.cert); serve(c) },
			func(d *policy.Decision, _ *Config) { d.SASL = policy.Passthrough })
		c := g.dial()
		c.open()
		c.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		c.expect(`<proceed[^>]*/>`)
		far(g, c)
	})
	t.Run("direct TLS", func(t *testing.T) {
		g := newGround(t, func(g *ground, c *lab.ScriptConn) { c.TLS(g.cert); serve(c) },
			func(d *policy.Decision, _ *Config) {
				d.SASL = policy.Passthrough
				d.Endpoints[0].Transport = policy.DirectTLS
			})
		conn, err := net.Dial("tcp", g.tlsAddr)
		check(t, err)
		defer conn.Close()
		far(g, &client{Conn: conn, t: t})
	})
	t.Run("no STARTTLS, no session", func(t *testing.T) {
		g := newGround(t, func(g *ground, c *lab.ScriptConn) { c.Open(testDomain, ""); c.Hang() },
			func(d *policy.Decision, _ *Config) { d.SASL = policy.Passthrough })
		c := g.dial()
		c.send(clientHeader)
		if got := c.rest(); !strings.Contains(got, "policy-violation") || strings.Contains(got, "starttls") {
			t.Errorf("the client is told %q", got)
		}
		g.drained()
	})
	t.Run("no endpoint of that kind", func(t *testing.T) {
		g := newGround(t, good, func(d *policy.Decision, _ *Config) {
			d.SASL = policy.Passthrough
			d.Endpoints[0].Transport = policy.DirectTLS
		})
		c := g.dial()
		c.send(clientHeader)
		if got := c.rest(); !strings.Contains(got, "no endpoint of the kind") || g.server.Accepted() != 0 {
			t.Errorf("the client is told %q", got)
		}
	})
}

const (
	getForm = "<iq type='get' id='r1'><query xmlns='jabber:iq:register'/></iq>"
	setForm = "<iq type='set' id='r2'><query xmlns='jabber:iq:register'><username>new</username><password>secret</password></query></iq>"
)

func TestRegistration(t *testing.T) {
	t.Parallel()
	register := func(feature, second string) func(*ground, *lab.ScriptConn) {
		return func(g *ground, c *lab.ScriptConn) {
			c.STARTTLS(testDomain, g.cert)
			c.Open(testDomain, lab.FeatureSASL("SCRAM-SHA-256")+feature)
			c.Expect(`<query xmlns='jabber:iq:register'/>`)
			c.Send("<message>not the answer</message><iq type='result' id='r1'><query xmlns='jabber:iq:register'><username/></query></iq>")
			c.Expect(`<password>secret</password>`)
			c.Send(second)
			c.Hang()
		}
	}
	const offered = "<register xmlns='http://jabber.org/features/iq-register'/>"
	t.Run("allowed", func(t *testing.T) {
		g := newGround(t, register(offered, "<iq type='result' id='r2'/>"),
			func(_ *policy.Decision, c *Config) { c.Limits.Negotiation = time.Second })
		c := g.dial()
		c.startTLS(g)
		c.send(getForm)
		if got := c.expect(`</iq>`); !strings.HasPrefix(got, "<iq type='result' id='r1'>") {
			t.Errorf("the form is %s", got)
		}
		time.Sleep(1200 * time.Millisecond) // a person fills it in
		c.send(setForm)
		c.expect(`<iq type='result' id='r2'/>`)
		c.send("</stream:stream>")
		c.rest()
		g.drained()
	})
	t.Run("error", func(t *testing.T) {
		g := newGround(t, register(offered, "<iq type='error' id='r2'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"), nil)
		c := g.dial()
		c.startTLS(g)
		c.send(getForm)
		c.expect(`</iq>`)
		c.send(setForm)
		c.expect(`<conflict .*</iq>`)
	})
	t.Run("denied", func(t *testing.T) {
		g := newGround(t, good, func(d *policy.Decision, _ *Config) { d.Registration = policy.RegistrationDeny })
		c := g.dial()
		c.startTLS(g)
		c.send(setForm)
		c.expect(`<iq type='error' id='r2'>.*<not-allowed .*</iq>`)
		if g.server.Accepted() != 0 {
			t.Error("the server was called")
		}
	})
	t.Run("not offered", func(t *testing.T) {
		g := newGround(t, register("", ""), nil)
		c := g.dial()
		c.startTLS(g)
		c.send(setForm)
		c.expect(`<iq type='error' id='r2'>.*<service-unavailable .*</iq>`)
		if strings.Contains(g.server.Received(), "secret") {
			t.Error("the password went out")
		}
	})
}

func TestEndings(t *testing.T) {
	broken := &net.OpError{Op: "read", Err: errors.New("reset")}
	for _, tt := range []struct {
		name      string
		cause     error
		resumable bool
		class     string
		toClient  farewell
		toServer  farewell
	}{
		{"both closed", errFinished, false, "closed", closing, closing},
		{"client gone", errClientGone, false, "client-gone", cutting, closing},
		{"client gone, to resume", errClientGone, true, "client-gone", cutting, cutting},
		{"client's connection", broken, true, "client-gone", cutting, cutting},
		{"client's TLS", tls.RecordHeaderError{Msg: "x"}, false, "client-gone", cutting, closing},
		{"client's end", io.EOF, false, "client-gone", cutting, closing},
		{"client's XML", &xmppstream.Error{Condition: "not-well-formed"}, false, "client-not-well-formed", telling, closing},
		{"client's silence", os.ErrDeadlineExceeded, false, "timeout", telling, closing},
		{"server lost", &upstreamLost{err: io.EOF}, false, "lost", telling, closing},
		{"server lost, to resume", &upstreamLost{err: io.EOF}, true, "lost", cutting, cutting},
		{"server's XML", &upstreamLost{err: &xmppstream.Error{Condition: "not-well-formed"}}, true, "garbage", telling, closing},
		{"server's silence", &upstreamLost{err: errNoAnswer}, false, "silent", telling, closing},
		{"server stalls", &upstreamLost{err: os.ErrDeadlineExceeded, negotiating: true}, false, "stalled", telling, closing},
		{"server hangs up", &upstreamLost{err: io.EOF, negotiating: true}, false, "hung-up", telling, closing},
		{"refused", errNoSTARTTLS("example.org"), false, "no-starttls", telling, closing},
		{"redirect after the features", &redirect{}, false, "redirect", telling, closing},
		{"server's error", &serverError{condition: "host-unknown"}, false, "server-host-unknown", telling, closing},
		{"policy", &policy.Refusal{}, false, "blocked", telling, cutting},
		{"shutdown, to resume", errShutdown, true, "shutdown", telling, cutting},
		{"SASL", &saslauth.Error{Kind: saslauth.ErrProtocol}, false, "sasl", telling, closing},
		{"anything else", errors.New("?"), false, "internal", telling, closing},
	} {
		e := endingFor(tt.cause, tt.resumable)
		if e.class != tt.class || e.toClient != tt.toClient || e.toServer != tt.toServer {
			t.Errorf("%s: %s, client %d, server %d; want %s, %d, %d", tt.name, e.class, e.toClient, e.toServer, tt.class, tt.toClient, tt.toServer)
		}
		if e.toClient == telling && e.condition == "" {
			t.Errorf("%s: a stream error without a condition", tt.name)
		}
	}
}

func TestRedirects(t *testing.T) {
	d := decision()
	d.Target.Domain = testDomain
	deny := d
	deny.Redirect = policy.RedirectDeny
	const onion = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
	bound := d
	bound.Target.Domain, bound.Route = onion, policy.Route{Kind: policy.RouteTor}
	tor := d
	tor.Route = bound.Route
	plain, _ := policy.ParseEndpoint("starttls://host.example.net")
	direct, _ := policy.ParseEndpoint("tls://host.example.net")
	hidden, _ := policy.ParseEndpoint("starttls://" + onion)
	for _, tt := range []struct {
		name   string
		to     string
		secure bool
		d      policy.Decision
		from   policy.Endpoint
		want   string // empty: refused
	}{
		{"within the domain", "a.example.org", true, d, plain, "starttls://a.example.org:5222"},
		{"the domain itself", "EXAMPLE.org.:15222", true, d, plain, "starttls://example.org:15222"},
		{"another port of the host", "host.example.net:5333", true, d, plain, "starttls://host.example.net:5333"},
		{"from direct TLS", "a.example.org", true, d, direct, "starttls://a.example.org:5222"},
		{"from direct TLS, with a port", "a.example.org:443", true, d, direct, "tls://a.example.org:443"},
		{"another domain", "example.net", true, d, plain, ""},
		{"a domain that ends alike", "badexample.org", true, d, plain, ""},
		{"an address", "192.0.2.1", true, d, plain, ""},
		{"nothing", "", true, d, plain, ""},
		{"a path", "a.example.org/x", true, d, plain, ""},
		{"in the clear", "a.example.org", false, d, plain, ""},
		{"denied", "a.example.org", true, deny, plain, ""},
		{"in the clear at the domain's onion address", onion + ":5333", false, bound, hidden, "starttls://" + onion + ":5333"},
		{"in the clear at an onion address that DNS gave", "a.example.org", false, tor, hidden, ""},
	} {
		e, err := (&redirect{to: tt.to, secure: tt.secure}).endpoint(tt.d, tt.from)
		if got := e.String(); (err == nil) != (tt.want != "") || err == nil && got != tt.want {
			t.Errorf("%s: %s, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}
