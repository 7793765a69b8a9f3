package proxy

import (
	"strings"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// webEndpoint is the scripted server as a wss:// endpoint.
func webEndpoint(g *ground) policy.Endpoint {
	return policy.Endpoint{Transport: policy.WebSocket, Host: "127.0.0.1", Port: uint16(g.server.Port()), Path: "/ws"}
}

// overWeb makes a ground whose server is reached by WebSocket.
func overWeb(t *testing.T, script func(*ground, *lab.ScriptConn), change func(*policy.Decision, *Config)) *ground {
	t.Helper()
	return newGround(t, script, func(d *policy.Decision, c *Config) {
		d.Endpoints[0].Transport, d.Endpoints[0].Path = policy.WebSocket, "/ws"
		if change != nil {
			change(d, c)
		}
	})
}

// webGood is good over a WebSocket.
func webGood(g *ground, c *lab.ScriptConn) {
	c.WebSocket(c.HTTPS(g.cert), "xmpp")
	c.WebLogin(testDomain, testUser, testPassword)
	echo(c)
}

func TestWebSocketLogin(t *testing.T) {
	g := overWeb(t, webGood, nil)
	c := g.dial()
	c.login(g)
	for _, size := range []int{1, 20 << 10, 200 << 10} {
		message := "<message to='romeo@example.net' id='1'><body>" + strings.Repeat("x", size) + "</body></message>"
		c.send(message)
		if got, want := c.expect(`</message>`), strings.Replace(message, "<message ", "<message xmlns='jabber:client' ", 1); got != want {
			t.Fatalf("the message came back as %.200q, want its own bytes", got)
		}
	}
	// Many at once: the server's messages may wait above the socket.
	burst := strings.Repeat("<message id='2'><body>x</body></message>", 200)
	c.send(burst)
	for range 200 {
		c.expect(`</message>`)
	}
	infos := g.gw.Sessions(t.Context())
	if len(infos) != 1 || !strings.HasPrefix(infos[0].Endpoint, "wss://127.0.0.1:") || infos[0].TLSVersion != "TLS 1.3" || infos[0].SASL != "SCRAM-SHA-256" {
		t.Errorf("status shows %+v", infos)
	}
	if got := g.server.Received(); !strings.Contains(got, "[GET /ws of "+testDomain+":") || strings.Contains(got, testPassword) || strings.Contains(got, "stream:stream") {
		t.Errorf("the server received %s", got)
	}
	c.send("</stream:stream>")
	// echo answers </stream:stream> alone; here <close/> came, and the drain ends it.
	if rest := c.rest(); rest != "</stream:stream>" {
		t.Errorf("the end was %q", rest)
	}
	g.drained()
}

// The server that closes, and one that sends us elsewhere in the middle (never 6).
func TestWebSocketEnds(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct{ frame, want string }{
		"close":    {"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", "</stream:stream>"},
		"moved":    {"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://evil.test/'/>", "<reset "},
		"garbage":  {"<a/><b/>", "RFC 7395"},
		"an error": {"<stream:error xmlns:stream='http://etherx.jabber.org/streams'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "<conflict "},
	} {
		g := overWeb(t, func(g *ground, c *lab.ScriptConn) {
			c.WebSocket(c.HTTPS(g.cert), "xmpp")
			c.WebLogin(testDomain, testUser, testPassword)
			c.Expect(`</message>`)
			c.Send(x.frame)
			if name == "an error" {
				c.Send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
			}
			c.Hang()
		}, nil)
		c := g.dial()
		c.login(g)
		c.send("<message><body>now</body></message>")
		if got := c.rest(); !strings.Contains(got, x.want) || strings.Contains(got, "evil") {
			t.Errorf("%s: %s, want %q", name, got, x.want)
		}
		g.drained()
	}
}

// What is no XMPP over WebSocket is refused before anything is said of the account,
// with a sentence.
func TestWebSocketRefused(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		script func(*ground, *lab.ScriptConn)
		change func(*policy.Decision, *Config)
		want   string
	}{
		"not found": {script: func(g *ground, c *lab.ScriptConn) {
			c.HTTPS(g.cert)
			c.Answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
		}, want: "HTTP status 404"},
		"another subprotocol": {script: func(g *ground, c *lab.ScriptConn) { c.WebSocket(c.HTTPS(g.cert), "soap") }, want: "handshake is wrong"},
		"no certificate for the domain": {script: func(g *ground, c *lab.ScriptConn) {
			ca, _ := lab.NewCA()
			cert, _ := ca.Leaf(lab.CALeaf{Names: []string{"evil.test"}})
			c.HTTPS(cert)
		}, want: "certificate"},
		"too large before the login": {script: func(g *ground, c *lab.ScriptConn) {
			c.WebSocket(c.HTTPS(g.cert), "xmpp")
			c.WebOpen(testDomain, strings.Repeat("<x xmlns='y'/>", 5000))
		}, want: "larger than a stanza may be"},
		"plain, and no onion": {change: func(d *policy.Decision, _ *Config) { d.Endpoints[0].Transport = policy.PlainWebSocket },
			script: func(g *ground, c *lab.ScriptConn) { c.Hang() }, want: "without TLS"},
		"sent elsewhere": {script: func(g *ground, c *lab.ScriptConn) {
			c.WebSocket(c.HTTPS(g.cert), "xmpp")
			c.Expect(`<open [^>]*/>`)
			c.Send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://xmpp.example.net/ws'/>")
		}, want: "outside example.org"},
		"sent to a plain one": {script: func(g *ground, c *lab.ScriptConn) {
			c.WebSocket(c.HTTPS(g.cert), "xmpp")
			c.Expect(`<open [^>]*/>`)
			c.Send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='ws://" + someOnion + "/ws'/>")
		}, want: "makes no sense"},
		"sent elsewhere, and no redirects": {change: func(d *policy.Decision, _ *Config) { d.Redirect = policy.RedirectDeny }, script: func(g *ground, c *lab.ScriptConn) {
			c.WebSocket(c.HTTPS(g.cert), "xmpp")
			c.Expect(`<open [^>]*/>`)
			c.Send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://example.org/ws'/>")
		}, want: "policy forbids"},
	} {
		g := overWeb(t, x.script, x.change)
		c := g.dial()
		c.startTLS(g)
		c.auth(testUser, testPassword)
		if got := c.rest(); !strings.Contains(got, x.want) || !strings.Contains(got, "<stream:error>") {
			t.Errorf("%s: %s, want %q", name, got, x.want)
		}
		if got := g.server.Received(); strings.Contains(got, "auth") || strings.Contains(got, testUser) {
			t.Errorf("%s: the server received %s", name, got)
		}
	}
}

// Within the domain and inside TLS, a redirect is followed.
func TestWebSocketMoved(t *testing.T) {
	t.Parallel()
	g := overWeb(t, func(g *ground, c *lab.ScriptConn) {
		req := c.HTTPS(g.cert)
		if req.URL.Path == "/ws" {
			c.WebSocket(req, "xmpp")
			c.Expect(`<open [^>]*/>`)
			e := webEndpoint(g)
			e.Path = "/other"
			c.Send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='" + e.String() + "'/>")
			c.Hang()
			return
		}
		c.WebSocket(req, "xmpp")
		c.WebLogin(testDomain, testUser, testPassword)
		echo(c)
	}, nil)
	c := g.dial()
	c.login(g)
	if infos := g.gw.Sessions(t.Context()); !strings.HasSuffix(infos[0].Endpoint, "/other") {
		t.Errorf("status shows %+v", infos)
	}
}

// Whitespace and silence keep nothing waiting: what comes after a pause passes at
// once, also several messages of one TLS record, of which the socket does not tell.
func TestWebSocketIdle(t *testing.T) {
	t.Parallel()
	g := overWeb(t, func(g *ground, c *lab.ScriptConn) {
		w := c.WebSocket(c.HTTPS(g.cert), "xmpp")
		c.WebLogin(testDomain, testUser, testPassword)
		for range 3 {
			c.Expect(`<presence[^>]*/>`)
			_ = w.Together("<message xmlns='jabber:client'><body>a</body></message>", "<message xmlns='jabber:client'><body>b</body></message>")
		}
		c.Hang()
	}, nil)
	c := g.dial()
	c.login(g)
	c.send(" ")
	for range 3 {
		time.Sleep(100 * time.Millisecond) // until the relay waits
		c.send("<presence/>")
		c.expect(`<body>a</body></message>`)
		c.expect(`<body>b</body></message>`)
	}
	if strings.Contains(g.server.Received(), "> <") {
		t.Error("whitespace went out as a message")
	}
}
