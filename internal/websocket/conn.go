// Package websocket carries an XMPP stream in WebSocket messages (RFC 7395), over
// a connection that somebody else dialled and verified:
//
//	tlsConn, result, err := tlsauth.Client(ctx, socket, options)   // ALPN http/1.1
//	conn, err := websocket.Client(ctx, tlsConn, websocket.Options{Host: "example.org", Path: "/ws"})
//	r, w := xmppstream.NewReader(conn, limits), xmppstream.NewWriter(conn)
//
// Whoever reads and writes conn sees an ordinary stream: what is written as a
// stream header goes out as <open/>, an element as a message of its own, and
// </stream:stream> as <close/>; what comes in is turned back in the same manner.
// Stanzas stay their own bytes, but for the namespaces that they lean on in the
// stream's header and must declare here.
//
// Nothing is read but in the caller's Read, so that a relay's bookkeeping below it
// holds; there is no goroutine but the short one of each ping.
package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	ws "github.com/coder/websocket"
)

// Conn is a connection to a server, as a stream. Like any net.Conn it may be read
// by one goroutine and written by others at the same time.
type Conn struct {
	net.Conn // what carries it: addresses and deadlines
	tap      *tap
	ws       *ws.Conn

	// Reading.
	message bytes.Buffer // the last message
	rest    []byte       // what of it, translated, was not read yet
	failed  error        // why nothing more comes

	// Writing.
	mu     sync.Mutex
	cut    cutter
	out    []byte // a message under construction
	broken error
	said   atomic.Bool // <close/> went out or came in

	pinging atomic.Bool // a ping is under way
	pinger  *time.Timer
	once    sync.Once
}

// pingEvery is how often the server gets a ping (RFC 7395 §3.8): HTTP proxies in
// front of servers close what is silent for a minute. A dead circuit is noticed
// by those above, so nobody minds a missing answer.
const pingEvery = 45 * time.Second

// pongTime is how long an answer is waited for at most.
const pongTime = 20 * time.Second

// SetLimit bounds the messages that come from now on, in bytes.
func (c *Conn) SetLimit(n int) { c.ws.SetReadLimit(int64(n)) }

// Read gives the next bytes of the stream. A server that names another place ends
// it with [*Moved], one that breaks the protocol with [*Error], one that closes
// with io.EOF.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.rest) == 0 {
		if c.failed != nil {
			return 0, c.failed
		}
		c.rest, c.failed = c.next()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	if len(c.rest) == 0 {
		c.rest = nil
		if c.message.Cap() > keepMessage {
			c.message = bytes.Buffer{} // an idle session holds no large buffer
		}
	}
	return n, nil
}

// keepMessage is the largest buffer that is kept for the next message.
const keepMessage = 4 << 10

// next reads one message.
func (c *Conn) next() ([]byte, error) {
	kind, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return nil, c.reason(err)
	}
	if kind != ws.MessageText { // RFC 7395 §3.2
		return nil, garbage("it sent a binary message")
	}
	c.message.Reset()
	if _, err := c.message.ReadFrom(r); err != nil {
		return nil, c.reason(err)
	}
	b, err := receive(c.message.Bytes())
	if err == nil && string(b) == "</stream:stream>" {
		c.said.Store(true)
	}
	return b, err
}

// reason turns an error of the library into one of ours or of the connection.
func (c *Conn) reason(err error) error {
	switch {
	case errors.Is(err, ws.ErrMessageTooBig):
		return garbage("it sent a message that is larger than a stanza may be")
	case ws.CloseStatus(err) != -1:
		return io.EOF
	case c.tap.failure() != nil:
		return c.tap.failure()
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	}
	return garbage("it sent what is no WebSocket frame")
}

// Write takes bytes of a stream, in pieces of any size, and sends what is whole.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = c.cut.next(p, c.send)
	}
	if c.broken != nil {
		return 0, c.broken
	}
	return len(p), nil
}

// send sends one part of the stream as a message.
func (c *Conn) send(part []byte, what found) error {
	var err error
	switch what {
	case space: // RFC 7395 §3.8: none goes out; the pings take its place
		go c.ping()
		return nil
	case opening:
		c.out, err = openFrame(part)
	case closing:
		c.out = append(c.out[:0], closeFrame...)
		c.said.Store(true)
	default:
		c.out = alone(c.out[:0], part)
	}
	if err == nil {
		err = c.ws.Write(context.Background(), ws.MessageText, c.out)
	}
	clear(c.out) // it may hold a login
	if cap(c.out) > keepMessage {
		c.out = nil
	}
	return err
}

// ping sends a ping and waits for a short while for its answer, which only a
// reader sees.
func (c *Conn) ping() {
	if !c.pinging.CompareAndSwap(false, true) {
		return
	}
	defer c.pinging.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), pongTime)
	defer cancel()
	_ = c.ws.Ping(ctx)
}

// tick is the regular ping.
func (c *Conn) tick() {
	c.ping()
	if c.tap.failure() == nil {
		c.pinger.Reset(pingEvery)
	}
}

// Close closes the connection, with a WebSocket close frame where the stream was
// closed before in good order (RFC 7395 §3.6). It does not wait for an answer.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.pinger.Stop()
		// Whoever still writes has not closed the stream, or is stuck.
		if c.said.Load() && c.mu.TryLock() {
			// RFC 6455 §5.5.1: status 1000. The mask hides nothing, and a client
			// must have one.
			_, _ = c.Conn.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8})
			c.broken = net.ErrClosed
			c.mu.Unlock()
		}
		c.tap.fail(net.ErrClosed)
		_ = c.Conn.Close()
		_ = c.ws.CloseNow()
	})
	return nil
}

// tap is the connection below the library, and remembers how it failed: the
// library's errors do not tell a broken connection from a broken protocol.
type tap struct {
	net.Conn
	err   atomic.Pointer[error]
	first atomic.Pointer[string] // what came with the first read
}

// noHTTP reports whether the server's first words are none of HTTP.
func (t *tap) noHTTP() bool {
	const http = "HTTP/1."
	p := t.first.Load()
	return p != nil && *p != "" && !strings.HasPrefix(*p, http[:min(len(http), len(*p))])
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if t.first.Load() == nil {
		first := string(p[:min(n, 16)])
		t.first.Store(&first)
	}
	if err != nil {
		t.fail(err)
	}
	return n, err
}

func (t *tap) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if err != nil {
		t.fail(err)
	}
	return n, err
}

func (t *tap) fail(err error) { t.err.CompareAndSwap(nil, &err) }

func (t *tap) failure() error {
	if p := t.err.Load(); p != nil {
		return *p
	}
	return nil
}
