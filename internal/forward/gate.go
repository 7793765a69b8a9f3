// Package forward is what stands between tor and the server that an onion
// service publishes. Behind an onion service every client has the same address,
// so a server that limits by address limits all of them or none; tor can say
// instead by which circuit a client came.
//
// A [Gate] is the listener that tor connects to. It takes off tor's PROXY header,
// limits what one circuit may do, and gives what is left as a net.Listener whose
// connections know their circuit:
//
//	gate := forward.NewGate(listener, forward.Options{CircuitID: true, Limits: forward.DefaultLimits()})
//	server.Serve(gate)                  // a server in this process …
//	forward.To(gate, forward.Target{…}) // … or one elsewhere
//
// Circuit numbers tell clients apart as long as tor runs. They say nothing about
// who a client is, and are not logged.
package forward

import (
	"bufio"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"xmpp-gw/internal/haproxy"
)

// headerTime is how long tor may take to write its header, which it does in one
// piece with the connection.
const headerTime = 10 * time.Second

// Options says what a gate expects and allows.
type Options struct {
	// CircuitID: tor begins each connection with the PROXY header of
	// HiddenServiceExportCircuitID. Without it there is no header, and only
	// Limits.Total holds.
	CircuitID bool
	Limits    Limits
	Log       *slog.Logger // nil: nobody
}

// Gate is a net.Listener for the connections of one port of a published service.
// Every net.Conn it gives is a [*Conn].
type Gate struct {
	listener net.Listener
	options  Options
	circuits *circuits

	ready chan *Conn
	done  chan struct{} // closed when no more connection is accepted
	err   error         // why; set before done is closed
	close sync.Once

	mu     sync.Mutex
	open   map[*Conn]struct{}
	closed bool
	wg     sync.WaitGroup
}

// NewGate makes a gate of l, which it owns from then on.
func NewGate(l net.Listener, o Options) *Gate {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gate{
		listener: l, options: o, circuits: newCircuits(o.Limits),
		ready: make(chan *Conn), done: make(chan struct{}), open: make(map[*Conn]struct{}),
	}
	g.wg.Go(g.accept)
	return g
}

// Addr is the address that tor connects to.
func (g *Gate) Addr() net.Addr { return g.listener.Addr() }

// Accept waits for the next connection that may come in. After Close it fails
// with net.ErrClosed.
func (g *Gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.ready:
		return c, nil
	case <-g.done:
		return nil, g.err
	}
}

// Close closes the listener and every connection that came through it.
func (g *Gate) Close() error {
	g.end(net.ErrClosed)
	err := g.listener.Close()
	g.mu.Lock()
	g.closed = true
	for c := range g.open {
		_ = c.Conn.Close()
	}
	g.mu.Unlock()
	g.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (g *Gate) end(err error) {
	g.close.Do(func() { g.err = err; close(g.done) })
}

// Refused is how many connections the limits turned away so far.
func (g *Gate) Refused() uint64 { return g.circuits.refusals() }

func (g *Gate) accept() {
	delay := time.Duration(0)
	for {
		conn, err := g.listener.Accept()
		switch {
		case err == nil:
			delay = 0
			g.take(conn)
			continue
		case errors.Is(err, net.ErrClosed):
			g.end(err)
			return
		}
		// Out of descriptors passes.
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		g.options.Log.Warn("a published service cannot take a connection, trying again", "err", err, "in", delay)
		select {
		case <-g.done:
			return
		case <-time.After(delay):
		}
	}
}

// take counts the connection before anything is read from it.
func (g *Gate) take(conn net.Conn) {
	c := &Conn{Conn: conn, gate: g}
	if !g.circuits.enter() {
		_ = conn.Close()
		g.refused()
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		g.circuits.leave(c.circuit, false)
		_ = conn.Close()
		return
	}
	g.open[c] = struct{}{}
	g.wg.Go(func() { g.admit(c) })
}

// admit reads the header, asks the limits, and hands c to Accept.
func (g *Gate) admit(c *Conn) {
	if g.options.CircuitID {
		if err := c.readHeader(); err != nil {
			// Whoever may connect here is this user, so this is no attack.
			g.options.Log.Warn("what connects to a published service's socket is not tor, or not set up for circuit numbers", "err", err)
			_ = c.Close()
			return
		}
		if !g.circuits.admit(c.circuit) {
			_ = c.Close()
			g.refused()
			return
		}
		c.admitted = true
	}
	select {
	case g.ready <- c:
	case <-g.done:
		_ = c.Close()
	}
}

// refused tells of it, at most once a minute.
func (g *Gate) refused() {
	if n, tell := g.circuits.refuse(time.Now()); tell {
		g.options.Log.Warn("a published service turns connections away: too many, or too many of one circuit", "refused", n)
	}
}

func (g *Gate) forget(c *Conn) {
	g.mu.Lock()
	delete(g.open, c)
	g.mu.Unlock()
	g.circuits.leave(c.circuit, c.admitted)
}

// Conn is a connection of a client of an onion service.
type Conn struct {
	net.Conn
	gate     *Gate
	rest     *bufio.Reader // what was read with the header; nil once it is used up
	header   haproxy.Header
	circuit  uint32
	admitted bool // the limits of its circuit count it
	once     sync.Once
}

// readHeader takes tor's header off.
func (c *Conn) readHeader() error {
	_ = c.SetReadDeadline(time.Now().Add(headerTime))
	c.rest = bufio.NewReaderSize(c.Conn, 512)
	var err error
	if c.header, err = haproxy.Read(c.rest); err != nil {
		return err
	}
	var ok bool
	if c.circuit, ok = c.header.Circuit(); !ok {
		return errors.New("the PROXY header numbers no circuit")
	}
	return c.SetReadDeadline(time.Time{})
}

// Circuit is the number of the circuit that the client came by; ok is false
// where tor was not asked to tell.
func (c *Conn) Circuit() (id uint32, ok bool) { return c.circuit, c.gate.options.CircuitID }

// Read reads what the client sent.
func (c *Conn) Read(b []byte) (int, error) {
	if c.rest == nil {
		return c.Conn.Read(b)
	}
	if c.rest.Buffered() == 0 {
		c.rest = nil
		return c.Conn.Read(b)
	}
	return c.rest.Read(b[:min(len(b), c.rest.Buffered())])
}

// CloseWrite ends the direction to the client and leaves the other open.
func (c *Conn) CloseWrite() error { return closeWrite(c.Conn) }

// Close ends the connection.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.gate.forget(c) })
	return err
}

// closeWrite half-closes c, where its kind can.
func closeWrite(c net.Conn) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}
