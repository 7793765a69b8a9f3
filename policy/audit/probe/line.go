package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/websocket"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// maxRead is what one connection may send us.
const maxRead = 512 << 10

// limits bound what is read of a stream. A registration form may hold a picture.
func limits() xmppstream.Limits {
	return xmppstream.Limits{Bytes: 128 << 10, Depth: 24, Attrs: 64, Elements: 2048, Header: 8 << 10}
}

// spot is an endpoint and what is needed to speak to it.
type spot struct {
	at      policy.Endpoint
	service audit.Service
	domain  string // whose server it should be
	dialer  egress.Dialer
}

// namespace is the content of a stream to the spot.
func (s spot) namespace() string {
	if s.service == audit.S2S {
		return xmppstream.NSServer
	}
	return xmppstream.NSClient
}

// name is what TLS asks for: the domain of the account, not the host that DNS named
// (RFC 7590 §3.1). A WebSocket is of the web, and its host's (RFC 7395 §4.1).
func (s spot) name() string {
	if s.at.Transport == policy.WebSocket {
		return s.at.Host
	}
	return s.domain
}

// alpn is the protocol to ask for (XEP-0368 §4, §5; RFC 6455 §1.3).
func (s spot) alpn() []string {
	switch {
	case s.at.Transport == policy.WebSocket:
		return []string{"http/1.1"}
	case s.at.Transport != policy.DirectTLS:
		return nil
	case s.service == audit.S2S:
		return []string{"xmpp-server"}
	}
	return []string{"xmpp-client"}
}

// line is one connection to a spot.
type line struct {
	spot
	conn net.Conn // inside everything that was begun
	raw  *bounded
	r    *xmppstream.Reader
	stop func() bool

	features *xmppstream.Node // the last ones, whole
}

// dial opens a connection that ends with ctx, at the latest.
func (s spot) dial(ctx context.Context) (*line, error) {
	conn, err := s.dialer.DialContext(ctx, "tcp", s.at.Address())
	if err != nil {
		return nil, err
	}
	raw := &bounded{Conn: conn}
	l := &line{spot: s, conn: raw, raw: raw}
	l.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return l, nil
}

// close ends the connection at once, without a good-bye that could hang.
func (l *line) close() {
	l.stop()
	if l.r != nil {
		l.r.Release()
	}
	// First what is below: TLS would say good-bye for five seconds to who does not read.
	_ = l.raw.Conn.Close()
	if ws, ok := l.conn.(*websocket.Conn); ok {
		_ = ws.Close()
	}
}

// bounded is a connection that ends when the far end has sent too much.
type bounded struct {
	net.Conn
	got   atomic.Int64
	first func([]byte) error // sees what is read first, then is forgotten
}

var errTooMuch = fmt.Errorf("it sent more than %d bytes", maxRead)

func (b *bounded) Read(p []byte) (int, error) {
	if b.got.Load() >= maxRead {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p)
	b.got.Add(int64(n))
	if f := b.first; f != nil && n > 0 {
		b.first = nil
		if err := f(p[:n]); err != nil {
			return 0, err
		}
	}
	return n, err
}

// open sends a stream header for the domain to and reads what comes of it.
func (l *line) open(to string) *audit.Stream {
	s := &audit.Stream{}
	if err := l.header(to); err != nil {
		s.Err = clip(reason(err))
		return s
	}
	l.readStream(s)
	return s
}

// header sends a stream header. None of ours says who we are: there is nobody to
// name, and before TLS it would be for all to read.
func (l *line) header(to string) error {
	if l.r == nil {
		l.r = xmppstream.NewReader(l.conn, limits())
	}
	_, err := io.WriteString(l.conn, l.headerText(to))
	return err
}

func (l *line) headerText(to string) string {
	more := ""
	if l.service == audit.S2S {
		more = " xmlns:db='jabber:server:dialback'" // XEP-0220 §2.2.1
	}
	return "<?xml version='1.0'?><stream:stream xmlns='" + l.namespace() + "' xmlns:stream='" + xmppstream.NSStream + "'" + more +
		" to='" + string(xmppstream.Escape(nil, policy.DisplayDomain(to))) + "' version='1.0' xml:lang='en'>"
}

// errNoSTARTTLS is a stream in which TLS cannot be begun.
var errNoSTARTTLS = errors.New("it offers no STARTTLS")

const startTLS = "<starttls xmlns='" + xmppstream.NSTLS + "'/>"

// ready brings the line to where a ClientHello is next (RFC 6120 §5.4.2), and says
// what the stream before it showed; nil where there is none. After is sent behind
// <starttls/>, in the same write.
func (l *line) ready(after string) (*audit.Stream, error) {
	if l.at.Transport != policy.STARTTLS {
		return nil, nil
	}
	if after != "" {
		// One byte a read, so that what stands behind <proceed/> is not taken for
		// a part of this stream.
		l.r = xmppstream.NewReader(slow{l.conn}, limits())
	}
	plain := l.open(l.domain)
	switch {
	case plain.Err != "":
		return plain, errors.New(plain.Err)
	case plain.Error != "":
		return plain, errors.New("it ended the stream with " + plain.Error)
	case plain.StartTLS == "":
		return plain, errNoSTARTTLS
	}
	if _, err := io.WriteString(l.conn, startTLS+after); err != nil {
		return plain, err
	}
	e, err := l.next()
	switch {
	case err != nil:
		return plain, err
	case !e.Is(xmppstream.NSTLS, "proceed"):
		return plain, &noTLS{clip(string(e.Name))}
	}
	return plain, nil
}

// noTLS is a server that answers <starttls/> with something else than <proceed/>.
type noTLS struct{ answer string }

func (e *noTLS) Error() string { return "it answers <starttls/> with <" + e.answer + "/>" }

// slow reads one byte at a time.
type slow struct{ io.Reader }

func (s slow) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(1, len(p))]) }

// next is the next element that is no whitespace.
func (l *line) next() (*xmppstream.Element, error) {
	for {
		e, err := l.r.Next()
		switch {
		case err != nil:
			return nil, err
		case e.Kind == xmppstream.End:
			return nil, errors.New("it closed the stream")
		case e.Kind == xmppstream.Stanza:
			return e, nil
		}
	}
}

// shake goes on inside TLS, with any certificate: who judges it is another.
func (l *line) shake(ctx context.Context, conf *tls.Config) (*tls.ConnectionState, error) {
	c := tls.Client(l.conn, conf)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	state := c.ConnectionState()
	l.conn = c
	if l.r == nil {
		return &state, nil
	}
	return &state, l.r.SetReader(c)
}

// inside goes on to where a stream header is next: through TLS where there is any,
// and through the handshake of a WebSocket.
func (l *line) inside(ctx context.Context) error {
	if _, err := l.ready(""); err != nil {
		return err
	}
	if l.at.Transport != policy.PlainWebSocket {
		if _, err := l.shake(ctx, l.config()); err != nil {
			return err
		}
	}
	return l.web(ctx)
}

// web shakes hands for a WebSocket, where the endpoint is one.
func (l *line) web(ctx context.Context) error {
	if l.at.Transport != policy.WebSocket && l.at.Transport != policy.PlainWebSocket {
		return nil
	}
	host := l.at.Address()
	for scheme, port := range map[policy.Transport]string{policy.WebSocket: ":443", policy.PlainWebSocket: ":80"} {
		if l.at.Transport == scheme {
			host = strings.TrimSuffix(host, port)
		}
	}
	ws, err := websocket.Client(ctx, l.conn, websocket.Options{Host: host, Path: l.at.Path, Limit: limits().Bytes})
	if err != nil {
		return err
	}
	l.conn = ws
	return nil
}

// roundTrip is a bound for waiting on what may not come: some round trips, as the
// slowest so far took.
func roundTrip(seen time.Duration) time.Duration {
	return min(max(4*seen, 700*time.Millisecond), 6*time.Second)
}

// httpRequest is what a web client would send.
func httpRequest(host string) string {
	return http.MethodGet + " / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
}
