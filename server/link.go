package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/wire"
	"xmpp-gw/internal/xmppstream"
)

// link is one connection. It begins with a negotiation and then serves a session,
// which may outlive it.
type link struct {
	srv    *Server
	opts   ConnOptions
	socket net.Conn
	wire   *wire.Conn
	r      *xmppstream.Reader
	done   chan struct{}
	lang   string        // of the client's stream header
	seat   *list.Element // among Server.unknown, whose lock guards it; nil once somebody is logged in

	n *negotiation // nil once a session is bound

	mu      sync.Mutex // guards what follows
	conn    net.Conn   // the socket's wire, or the TLS above it
	out     *outbox
	session *Session
	name    string             // the domain, for our stream header
	opened  bool               // our stream header went out
	silent  bool               // TLS is being negotiated: nothing can be said
	account address.Address    // who is logged in
	stop    context.CancelFunc // of what the negotiation waits for
	ended   bool
	cause   error
}

// admit counts a connection before anything is read from it, so that a flood costs
// no more than the refusals. Where as many as are allowed have not logged in, the one
// that is at it for the longest gives way: connections that say nothing would lock
// everybody else out.
func (s *Server) admit(conn net.Conn, o ConnOptions) (*link, error) {
	l := &link{srv: s, opts: o, socket: conn, wire: wire.New(conn), done: make(chan struct{})}
	l.conn = l.wire
	l.out = &outbox{conn: l.conn, sock: l.wire, limit: s.cfg.Limits.Queue}
	l.wire.Async(func() { l.outbox().flush() })
	l.wire.Push(o.Greeting)
	l.opts.Greeting = nil
	lim := &s.cfg.Limits
	s.mu.Lock()
	var refusal *xmppstream.Error
	switch {
	case s.closing:
		refusal = errShutdown
	case over(len(s.links)+1, lim.Connections) || lim.Unauthenticated == 0:
		refusal = streamError(xmppstream.ResourceConstraint, "The server has as many connections as it is allowed; try again later.")
	case o.Peer != "" && (over(s.peers[o.Peer]+1, lim.ConnectionsPerPeer) || over(s.strangers[o.Peer]+1, lim.UnauthenticatedPerPeer)):
		refusal = streamError(xmppstream.ResourceConstraint, "There are too many connections from where you are; try again later.")
	}
	if refusal != nil {
		s.mu.Unlock()
		go refuse(conn, o.Kind, refusal)
		return nil, refusal
	}
	s.links[l] = struct{}{}
	l.seat = s.unknown.PushBack(l)
	if o.Peer != "" {
		s.peers[o.Peer]++
		s.strangers[o.Peer]++
	}
	s.wg.Add(1)
	var oldest *link
	if over(s.unknown.Len(), lim.Unauthenticated) {
		oldest = s.unknown.Front().Value.(*link)
		oldest.stand()
	}
	s.mu.Unlock()
	if oldest != nil {
		oldest.end(errCrowded)
	}
	return l, nil
}

var errCrowded = streamError(xmppstream.ResourceConstraint, "Too many others want to log in; try again later.")

// known says that somebody is logged in.
func (l *link) known() {
	s := l.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	l.stand()
}

// stand takes l from those on which nobody is logged in. It is for the holder of
// Server.mu.
func (l *link) stand() {
	s := l.srv
	if l.seat == nil {
		return
	}
	s.unknown.Remove(l.seat)
	l.seat = nil
	if l.opts.Peer != "" {
		decrement(s.strangers, l.opts.Peer)
	}
}

// forget ends the server's account of l.
func (l *link) forget() {
	l.known()
	s := l.srv
	s.mu.Lock()
	delete(s.links, l)
	if l.opts.Peer != "" {
		decrement(s.peers, l.opts.Peer)
	}
	s.mu.Unlock()
	s.tidy.later()
	s.wg.Done()
}

func decrement(m map[string]int, key string) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}

// refuse turns a client away that never was counted. No TLS handshake is spent on it.
func refuse(conn net.Conn, kind ListenerKind, why *xmppstream.Error) {
	defer conn.Close()
	if kind != STARTTLS {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_ = xmppstream.NewWriter(conn).Error(why.Condition, why.Text)
}

func streamError(condition, text string) *xmppstream.Error {
	return &xmppstream.Error{Condition: condition, Text: text}
}

// run serves the client until its connection has ended. It negotiates on a
// goroutine of its own, whose stack grows with TLS and the login: an idle session
// should not keep that.
func (l *link) run() {
	through := make(chan error)
	ctx, stop := context.WithCancel(l.srv.ctx)
	l.mu.Lock()
	l.stop = stop
	l.mu.Unlock()
	go func() {
		l.n = &negotiation{}
		through <- guard(l.srv.log, func() error { return l.negotiate(ctx) })
	}()
	err := <-through
	stop()
	if err != nil {
		if s := l.session; s != nil { // it was bound, and nobody will serve it
			s.lost(l, err)
		}
		l.end(err)
		l.finish()
		return
	}
	l.n = nil
	l.unhurried()
	l.session.serve(l)
}

// unhurried takes the deadline of the negotiation away, but not one of an end.
func (l *link) unhurried() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop = nil
	if !l.ended {
		_ = l.socket.SetDeadline(time.Time{})
	}
}

// guard makes of a panic, which is a bug, an error that ends one connection.
func guard(log *slog.Logger, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("a bug ended a connection", "panic", p, "stack", string(debug.Stack()))
			err = streamError(xmppstream.InternalServerError, "")
		}
	}()
	return f()
}

// quiet says that nothing can be said until TLS is up.
func (l *link) quiet(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = on
}

// finish is the last that a connection's own goroutine does.
func (l *link) finish() {
	l.wait()
	if l.r != nil {
		l.r.Release()
	}
	l.forget()
	close(l.done)
}

// wait returns when the connection is closed.
func (l *link) wait() {
	// Whoever ended it closes the socket after its last words; until then what the
	// client still sends is thrown away. A close with unread bytes waiting would make
	// the kernel send a reset, which overtakes the last words.
	_, _ = io.CopyN(io.Discard, l.socket, lingerBytes)
	_ = l.socket.Close()
}

const (
	lingerTime  = 2 * time.Second
	lingerBytes = 8 << 20
)

func (l *link) outbox() *outbox {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out
}

// result is why the connection ended, nil for an end in good order.
func (l *link) result() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.cause, errFinished) {
		return nil
	}
	return l.cause
}

// The ways a connection ends that are nobody's fault.
var (
	errFinished = errors.New("the client closed the stream")
	errLost     = errors.New("the connection was lost")
	errReplaced = errors.New("the session went on over another connection")
)

// end ends the connection for a reason: the client is told what it may know, and
// the socket closes. Only the first call counts. It returns at once; the reading
// goroutine sees the socket close.
func (l *link) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended, l.cause = true, cause
	if l.stop != nil {
		l.stop()
	}
	l.note(cause)
	conn, out := l.conn, l.out
	last := l.lastWords(cause)
	if last == nil || l.silent {
		_ = l.socket.Close()
		return
	}
	out.close(last)
	d := l.srv.cfg.Limits.Drain
	if cause == errCrowded {
		d = min(d, time.Second)
	}
	_ = l.socket.SetReadDeadline(time.Now().Add(d + lingerTime))
	l.srv.wg.Go(func() {
		_ = l.socket.SetWriteDeadline(time.Now().Add(d))
		out.finish(d)
		if h, ok := conn.(*tls.Conn); ok {
			_ = h.CloseWrite()
			l.wire.Finish(d)
		}
		if cause != errCrowded && l.wire.CloseWrite() == nil { // a flood must not wait at its end too
			// The client has its turn to close; a new deadline, in case it does not.
			_ = l.socket.SetReadDeadline(time.Now().Add(lingerTime))
			return
		}
		_ = l.socket.Close()
	})
}

// lastWords is what is written before the end, nil for nothing.
func (l *link) lastWords(cause error) []byte {
	var e *xmppstream.Error
	switch {
	case errors.Is(cause, errFinished):
		if !l.opened {
			return nil
		}
		return []byte("</stream:stream>") // RFC 6120 §4.4
	case !errors.As(cause, &e):
		return nil
	}
	var b []byte
	if !l.opened { // RFC 6120 §4.9.1.2
		b = appendHeader(b, l.name, "")
	}
	b = append(b, "<stream:error><"...)
	b = append(append(b, e.Condition...), " xmlns='"+xmppstream.NSStreamErr+"'/>"...)
	if e.Text != "" {
		b = append(b, "<text xmlns='"+xmppstream.NSStreamErr+"' xml:lang='en'>"...)
		b = append(xmppstream.Escape(b, e.Text), "</text>"...)
	}
	var count *countError
	if errors.As(cause, &count) {
		b = append(b, count.app...)
	}
	return append(b, "</stream:error></stream:stream>"...)
}

// appendHeader appends our stream header (RFC 6120 §4.7).
func appendHeader(b []byte, from, to string) []byte {
	b = append(b, "<?xml version='1.0'?><stream:stream xmlns='"+xmppstream.NSClient+"' xmlns:stream='"+xmppstream.NSStream+"'"...)
	if from != "" {
		b = append(xmppstream.Escape(append(b, " from='"...), from), '\'')
	}
	if to != "" {
		b = append(xmppstream.Escape(append(b, " to='"...), to), '\'')
	}
	return append(append(append(b, " id='"...), randomID()...), "' version='1.0' xml:lang='en'>"...)
}

// cut closes without a word.
func (l *link) cut() { _ = l.socket.Close() }

// note writes why the connection ended to the log: a class, never a name.
func (l *link) note(cause error) {
	var e *xmppstream.Error
	switch {
	case errors.As(cause, &e):
		l.srv.log.Debug("stream ended", "condition", e.Condition)
	default:
		l.srv.log.Debug("stream ended", "reason", classOf(cause))
	}
}

// classOf is a word for a reason that names nobody.
func classOf(err error) string {
	switch {
	case errors.Is(err, errFinished):
		return "closed"
	case errors.Is(err, errReplaced):
		return "replaced"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, errTLS):
		return "tls"
	}
	return "lost"
}

// blame makes of an error of reading what the client is told.
func blame(err error) error {
	var e *xmppstream.Error
	switch {
	case errors.As(err, &e), errors.Is(err, errFinished), errors.Is(err, errTLS), errors.Is(err, errReplaced):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return streamError(xmppstream.ConnectionTimeout, "The client took too long.")
	}
	return errLost
}
