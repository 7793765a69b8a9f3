package proxy

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// clocked is a way out whose connections remember their deadline.
type clocked struct {
	Egress
	mu   sync.Mutex
	last *clockedConn
}

type clockedDialer struct {
	egress.Dialer
	c *clocked
}

type clockedConn struct {
	net.Conn
	mu sync.Mutex
	at time.Time
}

func (c *clocked) Dialer(r policy.Route, i egress.Isolation) (egress.Dialer, error) {
	d, err := c.Egress.Dialer(r, i)
	return clockedDialer{d, c}, err
}

func (d clockedDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	d.c.last = &clockedConn{Conn: conn}
	return d.c.last, nil
}

func (c *clockedConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	c.at = t
	c.mu.Unlock()
	return c.Conn.SetDeadline(t)
}

func (c *clockedConn) deadline() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// The clock of the negotiation must not go on in the session: it would end it
// after a minute.
func TestNoDeadlineOnceOnline(t *testing.T) {
	out := &clocked{}
	g := newGround(t, good, func(_ *policy.Decision, c *Config) {
		out.Egress = c.Egress
		c.Egress = out
	})
	c := g.dial()
	c.login(g)
	out.mu.Lock()
	defer out.mu.Unlock()
	if at := out.last.deadline(); !at.IsZero() {
		t.Errorf("the upstream leg of a session ends in %v", time.Until(at))
	}
}

// A server that reads nothing must not use up the time in which the client is
// told of the end.
func TestEndWithBlockedServer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	g := newGround(t, func(g *ground, c *lab.ScriptConn) {
		c.Good(testDomain, g.cert, testUser, testPassword)
		<-release
	}, nil)
	defer close(release)
	c := g.dial()
	c.login(g)
	flood := "<message><body>" + strings.Repeat("x", 200<<10) + "</body></message>"
	for range 200 { // until everything between here and the server is full
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := c.Write([]byte(flood)); err != nil {
			break
		}
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		done <- g.gw.Shutdown(ctx)
	}()
	if got := c.rest(); !strings.Contains(got, "<system-shutdown") {
		t.Errorf("beside a blocked server the client is told %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// Shutdown while sessions negotiate: it must not wait for clients that do not
// hang up, even where a deadline is set by the negotiation at the same time.
func TestShutdownDuringNegotiation(t *testing.T) {
	t.Parallel()
	g := newGround(t, func(_ *ground, c *lab.ScriptConn) { c.Hang() }, nil)
	c := g.dial()
	c.startTLS(g)
	c.auth(testUser, testPassword) // the server never answers
	for g.server.Accepted() == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	for range 10 { // and some in the middle of their headers
		g.dial().send(clientHeader)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	if err := g.gw.Shutdown(ctx); err != nil || time.Since(start) > 4*time.Second {
		t.Errorf("Shutdown took %v: %v", time.Since(start), err)
	}
	g.drained()
}

// The deadlines of a session that ends are end's.
func TestDeadlinesOnceEnded(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	g := &Gateway{ctx: t.Context()}
	conn := &clockedConn{Conn: server}
	s := newSession(g, &Live{Limits: DefaultLimits()}, conn, STARTTLS)
	s.deadline()
	before := conn.deadline()
	s.stop()
	s.grant(time.Hour)
	_ = s.waitUpstream(func(context.Context) error { return nil })
	if before.IsZero() || !conn.deadline().Equal(before) {
		t.Errorf("the deadline went from %v to %v", before, conn.deadline())
	}
}

// Who is turned away leaves nothing behind.
func TestRefusedLeavesNothing(t *testing.T) {
	watch := &countingContext{Context: context.Background(), done: make(chan struct{})}
	g := &Gateway{ctx: watch, draining: true}
	g.Reload(Live{})
	client, server := net.Pipe()
	g.accept(server, DirectTLS)
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("it was served")
	}
	if n := watch.children(); n != 0 {
		t.Errorf("%d contexts are left of it", n)
	}
}

// countingContext counts the contexts that were made of it.
type countingContext struct {
	context.Context
	done chan struct{}
	mu   sync.Mutex
	n    int
}

func (c *countingContext) Done() <-chan struct{} { return c.done }

func (c *countingContext) AfterFunc(func()) func() bool { // asked for once by each child
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return func() bool { return true }
}

func (c *countingContext) children() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// Between <proceed/> and TLS nothing is said in the clear.
func TestSilentAfterProceed(t *testing.T) {
	t.Parallel()
	g := newGround(t, good, func(_ *policy.Decision, c *Config) { c.Limits.Negotiation = 300 * time.Millisecond })
	c := g.dial()
	c.open()
	c.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	c.expect(`<proceed[^>]*/>`)
	if got := c.rest(); got != "" {
		t.Errorf("a client that is about to start TLS is told %q in the clear", got)
	}
}

// A client that leaves in the middle of its own login is no fault of the server.
func TestClientLeavesDuringLogin(t *testing.T) {
	t.Parallel()
	g := newGround(t, good, nil)
	c := g.dial()
	c.startTLS(g)
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>")
	c.expect(`<challenge[^>]*/?>`)
	c.send("</stream:stream>")
	if got := strings.TrimPrefix(c.rest(), "</challenge>"); got != "" {
		t.Errorf("it is told %q", got)
	}
	g.drained()
	if logs := g.logs.String(); !strings.Contains(logs, "client-gone") {
		t.Errorf("the log has no client-gone:\n%s", logs)
	}
}
