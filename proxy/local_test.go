package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/policy"
)

// hostedHere is a server in this process that answers with what it got.
type hostedHere struct {
	mu      sync.Mutex
	clients []LocalClient
	ended   chan error
}

func (h *hostedHere) Hosts(domain string) bool {
	return domain == "bücher.example" || domain == "home.example"
}

func (h *hostedHere) Serve(ctx context.Context, conn net.Conn, c LocalClient) {
	h.mu.Lock()
	h.clients = append(h.clients, c)
	h.mu.Unlock()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() {
		_, _ = io.WriteString(conn, "the server says goodbye")
		_ = conn.Close()
	})
	defer stop()
	_, _ = conn.Write(c.Greeting)
	_, err := io.Copy(conn, conn)
	h.ended <- err
}

func (h *hostedHere) last() LocalClient {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clients[len(h.clients)-1]
}

// A client of a domain that is served here is handed over with every byte that was
// read, and all others go out as before.
func TestHandOver(t *testing.T) {
	here := &hostedHere{ended: make(chan error, 10)}
	g := newGround(t, good, func(_ *policy.Decision, c *Config) {
		c.Local = here
		c.PlaintextLoopback = true
	})
	const header = "<?xml version='1.0'?><stream:stream to='HOME.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
	c := g.dial()
	c.send(header + "<pipelined/> and more")
	c.expect(`and more`)
	if got := here.last(); string(got.Greeting) != header+"<pipelined/> and more" || got.Kind != STARTTLS || !got.Plaintext {
		t.Errorf("the server was given %+v, %q", got, got.Greeting)
	}
	c.send("later")
	c.expect("later")
	list := g.gw.Sessions(t.Context())
	if len(list) != 1 || list[0].Route != "node" || list[0].Domain != "home.example" || list[0].State != stateOnline {
		t.Errorf("status shows %+v", list)
	}
	_ = c.Close()
	<-here.ended
	g.drained()

	// A header of any length, in pieces, under a name in U-labels.
	c = g.dial()
	long := strings.Replace(header, "HOME.example", "Bücher.example", 1)
	long = strings.Replace(long, " to=", strings.Repeat(" ", 2000)+"to=", 1)
	for piece := range strings.SplitSeq(long, " ") {
		c.send(piece + " ")
	}
	c.expect("version='1.0'>")

	// The others.
	c = g.dial()
	c.login(g)
	c.send("<message to='a@example.net'></message>")
	c.expect("<message")
}

func TestHandOverDirectTLS(t *testing.T) {
	here := &hostedHere{ended: make(chan error, 10)}
	g := newGround(t, good, func(_ *policy.Decision, c *Config) { c.Local = here })
	conn, err := net.Dial("tcp", g.tlsAddr)
	check(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	// The answer is no TLS: only what was sent is looked at.
	sent := &sentBytes{Conn: conn}
	_ = tls.Client(sent, &tls.Config{ServerName: "home.example"}).Handshake()
	_ = conn.Close()
	<-here.ended
	if got := here.last(); got.Kind != DirectTLS || len(got.Greeting) == 0 || got.Plaintext || !strings.HasPrefix(sent.all.String(), string(got.Greeting)) {
		t.Errorf("the server was given %q of %q", got.Greeting, sent.all.String())
	}
}

type sentBytes struct {
	net.Conn
	all strings.Builder
}

func (s *sentBytes) Write(p []byte) (int, error) {
	s.all.Write(p)
	return s.Conn.Write(p)
}

// No rule holds for what is served here, and at the end the server has the last word.
func TestHandOverShutdown(t *testing.T) {
	here := &hostedHere{ended: make(chan error, 10)}
	g := newGround(t, nil, func(d *policy.Decision, c *Config) {
		c.Local = here
		d.Route.Kind = policy.RouteBlock
	})
	c := g.dial()
	c.send("<stream:stream to='home.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")
	c.expect("version='1.0'>")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	check(t, g.gw.Shutdown(ctx))
	if got := c.rest(); got != "the server says goodbye" {
		t.Errorf("the client was told %q", got)
	}
}
