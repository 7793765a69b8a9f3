package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/wire"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// session is one client and, once policy has decided, its upstream leg.
//
// It lives as long as something holds it: the goroutine that negotiates, then
// one goroutine for each direction. The last one to let go frees everything.
type session struct {
	gw   *Gateway
	live *Live
	kind ListenerKind
	id   string
	ctx  context.Context
	stop context.CancelFunc
	refs atomic.Int32

	socket net.Conn // as accepted
	info   info

	// mu guards what end needs while another goroutine negotiates: the legs, and
	// name, decision and opened below. Only that goroutine writes them.
	mu     sync.Mutex
	client leg
	up     *upstream

	asked    string // the domain as the client spelled it
	domain   string // the same in A-labels: for policy, DNS and certificates
	name     string // the same in U-labels: for XMPP addresses (RFC 7622 §3.2)
	lang     string // of the client's header, repeated upstream
	decision policy.Decision
	secure   bool // the client leg is inside TLS
	opened   bool // our stream header went to the client

	objections []string // see object; the negotiating goroutine's

	relay  relay
	local  atomic.Bool // a server in this process has the connection
	ending sync.Once
}

// leg is one of a session's two connections.
type leg struct {
	wire *wire.Conn // the socket
	conn net.Conn   // the same, or the TLS above it
	r    *xmppstream.Reader
	w    *xmppstream.Writer

	// messages: the stream comes in WebSocket messages, of which some may wait
	// above the socket.
	messages bool
}

// Send writes one complete element at once; with Next it makes a leg the stream
// that SASL runs on.
func (l *leg) Send(raw []byte) error {
	if err := l.w.Raw(raw); err != nil {
		return err
	}
	return l.w.Flush()
}

// follow is Next for a stream that may be idle for hours: it waits for the peer's
// next bytes on the socket, unless something is left to read above it. Reading
// would wait as well, but from deep within TLS, and the stack for that is most of
// what an idle session costs.
func (l *leg) follow() (*xmppstream.Element, error) {
	if !l.messages && l.r.Idle() && l.wire.Buffered() == 0 {
		if err := l.wire.Wait(); err != nil {
			return nil, err
		}
	}
	return l.r.Next()
}

// waiting reports whether bytes were read that nobody has looked at.
func (l *leg) waiting() bool { return l.r.Buffered() > 0 || l.wire.Buffered() > 0 }

// Next is the next top-level thing that came.
func (l *leg) Next() (*xmppstream.Element, error) { return l.r.Next() }

func newSession(g *Gateway, live *Live, conn net.Conn, kind ListenerKind) *session {
	s := &session{gw: g, live: live, kind: kind, id: randomID(), socket: conn}
	s.ctx, s.stop = context.WithCancel(g.ctx)
	s.client.wire = wire.New(conn)
	s.client.conn = s.client.wire
	s.refs.Store(1)
	s.info.start(s.id)
	return s
}

// randomID is a stream id (RFC 6120 §4.7.3: unique and not to be guessed).
func randomID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// run negotiates and then hands over to the two directions. They get goroutines
// of their own, because this one's stack has grown with two TLS handshakes and
// an idle session should not keep it.
func (s *session) run() {
	defer s.release()
	s.deadline()
	if err := s.negotiate(); err != nil {
		s.end(err)
		return
	}
	if s.relay.raw.Load() || s.local.Load() {
		return // passthrough has its own two goroutines, the server in this process its own
	}
	s.splice()
}

// deadline gives the client the negotiation budget, at the start and anew after
// each wait for the far side.
func (s *session) deadline() { s.grant(s.live.Limits.Negotiation) }

// grant gives the client d for what it has to do next.
func (s *session) grant(d time.Duration) {
	s.unlessEnded(func() { _ = s.socket.SetDeadline(time.Now().Add(d)) })
}

// unlessEnded runs f, unless end has begun: the deadlines are end's then.
func (s *session) unlessEnded(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil {
		f()
	}
}

// waitUpstream runs f, which waits for the far side. Meanwhile the client's
// negotiation clock stands still, and its hanging up cancels f.
func (s *session) waitUpstream(f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.unlessEnded(func() { _ = s.socket.SetDeadline(time.Time{}) })
	stop := wire.WatchHangup(s.socket, cancel)
	err := f(ctx)
	stop()
	if err != nil && ctx.Err() != nil && s.ctx.Err() == nil {
		return errClientGone
	}
	s.deadline()
	return err
}

// setClient puts the client leg on conn: the accepted socket or the TLS above
// it.
func (s *session) setClient(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client.r != nil {
		s.client.r.Release()
	}
	s.client = leg{
		wire: s.client.wire,
		conn: conn,
		r:    xmppstream.NewReader(conn, s.live.Limits.PreAuth),
		w:    xmppstream.NewWriter(conn),
	}
	s.opened = false
}

// setUpstream makes up the session's upstream leg. It fails when the session
// ended meanwhile.
func (s *session) setUpstream(up *upstream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		up.close()
		up.release()
		return s.ctx.Err()
	}
	s.up = up
	return nil
}

// retain and release count who holds the session.
func (s *session) retain(n int32) { s.refs.Add(n) }

func (s *session) release() {
	if s.refs.Add(-1) > 0 {
		return
	}
	s.relay.pinger.stop()
	s.stop()
	s.mu.Lock()
	if s.client.r != nil {
		s.client.r.Release()
	}
	if s.client.conn != nil {
		_ = s.client.conn.Close()
	}
	up := s.up
	s.mu.Unlock()
	_ = s.socket.Close()
	if up != nil {
		up.close()
		up.release()
	}
	s.gw.cfg.Observer.Moved(s.info.upBytes.Load(), s.info.downBytes.Load(), s.info.upStanzas.Load(), s.info.downStanzas.Load())
	s.gw.forget(s)
}

// end ends the session for the reason cause: each party is told what it may
// know, and both connections close. Only the first call counts.
func (s *session) end(cause error) {
	s.ending.Do(func() {
		e := endingFor(cause, s.relay.resumable.Load())
		if e.upstream {
			s.gw.broken.Add(1)
		}
		s.stop()
		s.mu.Lock()
		client, up, opened, name, route := s.client, s.up, s.opened, s.name, s.decision.Route
		s.mu.Unlock()
		if s.local.Load() {
			return // the server heard it from the context
		}
		s.note(e, route, cause)

		if s.relay.raw.Load() {
			s.cut() // the streams are the peers' own; nothing can be said in them
			return
		}
		if up != nil {
			_ = up.conn.SetWriteDeadline(time.Now().Add(s.live.Limits.Drain))
			if e.toServer == closing {
				_ = up.w.Close()
			}
			up.close()
		}
		_ = client.conn.SetWriteDeadline(time.Now().Add(s.live.Limits.Drain))
		switch {
		case e.toClient == cutting:
			_ = s.socket.Close()
			return
		case client.w == nil: // not a byte of XMPP yet, or TLS is about to begin
		case e.toClient == closing:
			_ = client.w.Close()
		case e.toClient == telling:
			if !opened {
				_ = client.w.Header(xmppstream.Header{From: name, ID: s.id})
			}
			_ = client.w.Error(e.condition, e.text)
		}
		s.linger(client.conn)
	})
}

// linger closes the client's connection without losing what was just written:
// a close with unread bytes waiting would make the kernel send a reset, which
// overtakes the error. So our half closes first, and what still comes is thrown
// away for a short while.
func (s *session) linger(conn net.Conn) {
	if h, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
	}
	if h, ok := s.socket.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
	}
	_ = s.socket.SetReadDeadline(time.Now().Add(min(lingerTime, s.live.Limits.Drain)))
	_, _ = io.CopyN(io.Discard, s.socket, lingerBytes)
	_ = s.socket.Close()
}

const (
	lingerTime  = 2 * time.Second
	lingerBytes = 8 << 20
)

// cut closes everything without a word: the second step of a shutdown.
func (s *session) cut() {
	s.stop()
	_ = s.socket.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up != nil {
		_ = s.up.wire.Close() // without TLS's last word, which could wait for a blocked peer
	}
}

// log is the gateway's log with the session's id. It is made when there is
// something to say: an idle session need not hold it.
func (s *session) log() *slog.Logger { return s.gw.cfg.Log.With("session", s.id) }

// note writes why the session ended to the log: a class, never a name.
func (s *session) note(e ending, route policy.Route, cause error) {
	attrs := []any{"reason", e.class, "condition", e.condition, "route", route.String()}
	switch {
	case e.quiet:
		s.log().Debug("session ended", attrs...)
	default:
		s.log().Warn("session ended", append(attrs, "error", cause)...)
	}
	if e.upstream {
		s.gw.cfg.Observer.UpstreamFailed(e.class)
	}
}

var (
	errClientGone = errors.New("the client went away")
	errShutdown   = errors.New("the gateway is shutting down")
)
