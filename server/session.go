package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/internal/xmppstream"
)

// Session is a bound resource. It lives as long as its connection, or longer when
// it can be resumed (XEP-0198 §5).
type Session struct {
	srv        *Server
	id         string
	jid, owner address.Address
	full, bare string // the same, as they stand on stanzas
	out        *outbox
	batch      batch
	ctx        context.Context

	// certificate is the fingerprint of the one that the client logged in with.
	certificate atomic.Pointer[[sha256.Size]byte]

	presence atomic.Pointer[Stanza]
	priority atomic.Int32
	heard    atomic.Int64 // when the client last said something, in seconds
	pinged   atomic.Bool

	// Only the reading goroutine uses these.
	bytes, stanzas bucket
	lastTo         destination
	lang           string // of the stream

	mu    sync.Mutex // guards what follows
	link  *link      // nil while the session waits to be resumed
	slots []any
	in    inbound
	smID  string // "" when it cannot be resumed
	taken bool   // another connection is taking it over
	over  bool
	timer *time.Timer
	since time.Time // when it was bound
}

// destination is an address as a client wrote it, and what it is.
type destination struct {
	written string
	is      address.Address
	text    string
}

func newSession(srv *Server, l *link, jid address.Address) *Session {
	s := &Session{
		srv: srv, id: randomID(), jid: jid, owner: jid.Bare(), full: jid.String(), bare: jid.Bare().String(),
		out: l.out, link: l, lang: l.lang, since: srv.Now(),
	}
	s.ctx = &batchContext{srv.ctx, &s.batch}
	s.heard.Store(time.Now().Unix())
	s.loggedIn(l.n.login)
	l.out.prepare()
	return s
}

// ID is a name for the session that is unique and tells nothing.
func (s *Session) ID() string { return s.id }

// JID is the session's full address.
func (s *Session) JID() address.Address { return s.jid }

// Owner is the account's bare address.
func (s *Session) Owner() address.Address { return s.owner }

// Available reports whether the session has sent initial presence (RFC 6121 §4.2).
func (s *Session) Available() bool { return s.presence.Load() != nil }

// Priority is that of the last presence (RFC 6121 §4.7.2.3).
func (s *Session) Priority() int8 { return int8(s.priority.Load()) }

// Presence is the last presence that was broadcast, nil while the session is
// unavailable.
func (s *Session) Presence() *Stanza { return s.presence.Load() }

// Certificate is the SHA-256 fingerprint of the client certificate with which the
// client logged in (XEP-0178), at the last resumption if there was one; false if it
// logged in otherwise.
func (s *Session) Certificate() (fingerprint [sha256.Size]byte, ok bool) {
	if f := s.certificate.Load(); f != nil {
		return *f, true
	}
	return fingerprint, false
}

// loggedIn notes how the client of a connection logged in.
func (s *Session) loggedIn(login *saslserver.Login) {
	if login.Certificate == nil {
		s.certificate.Store(nil)
		return
	}
	f := sha256.Sum256(login.Certificate.Raw)
	s.certificate.Store(&f)
}

// Since is when the session was bound.
func (s *Session) Since() time.Time { return s.since }

// Waiting reports whether the session has no connection and may be resumed.
func (s *Session) Waiting() bool { return s.waiting() }

// SetPresence is for the module that keeps presence: p is what Available and
// Priority go by, nil or a presence of type unavailable for none.
func (s *Session) SetPresence(p *Stanza) {
	if p == nil || p.Type == "unavailable" {
		s.presence.Store(nil)
		s.priority.Store(0)
		return
	}
	n, err := strconv.ParseInt(p.Node().ChildText(xmppstream.NSClient, "priority"), 10, 8)
	if err != nil {
		n = 0
	}
	s.priority.Store(int32(n))
	s.presence.Store(p)
}

// Send queues a stanza for the client, as it is: the Queue hooks of modules have
// their say, routing has not. It never waits for the client. An error means that
// the session will not receive it.
func (s *Session) Send(st *Stanza) error {
	return s.queue(st, nil)
}

// SendIn is [Session.Send] from within a handler or hook that was given ctx: what
// it queues is written together with what else the handler's client has caused.
func (s *Session) SendIn(ctx context.Context, st *Stanza) error { return s.queue(st, batchOf(ctx)) }

// queue queues a stanza. With a batch the caller's loop writes it out.
func (s *Session) queue(st *Stanza, b *batch) error {
	for _, f := range s.srv.hooks.queue {
		switch f(s, st) {
		case QueueDrop:
			return nil
		case QueueHeld:
			return s.check(s.out.hold(st))
		}
	}
	full, err := s.out.add(st)
	if err != nil {
		return s.check(err)
	}
	switch {
	case full:
		s.out.flush()
	case !b.add(s.out):
		s.out.later()
	}
	return nil
}

// check ends a session for which too much waits.
func (s *Session) check(err error) error {
	if errors.Is(err, errFull) {
		go s.overflow()
	}
	return err
}

// overflow is what becomes of a session whose client does not take what is for it.
func (s *Session) overflow() {
	s.srv.log.Debug("too much waits for a session")
	s.gone(streamError(xmppstream.ResourceConstraint, "Too much waits for this session."))
}

// ReleaseHeld lets go of the stanzas that Queue hooks held back.
func (s *Session) ReleaseHeld() {
	if s.check(s.out.letGo()) == nil {
		s.out.later()
	}
}

// Close ends the session for good, with a stream error or, for nil, without one.
func (s *Session) Close(why *xmppstream.Error) {
	if why == nil {
		s.gone(errFinished)
		return
	}
	s.gone(why)
}

// slot and setSlot are modules' places; see [SessionSlot].
func (s *Session) slot(i int) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < len(s.slots) {
		return s.slots[i]
	}
	return nil
}

func (s *Session) setSlot(i int, v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = make([]any, s.srv.hooks.sessionSlots)
	}
	s.slots[i] = v
}

func (s *Session) connection() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

func (s *Session) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link == nil && !s.over
}

// ready lets stanzas through after the client has been told of its session.
func (s *Session) ready() error {
	if err := s.out.release(); err != nil {
		return errLost
	}
	s.out.flush()
	return nil
}

// serve reads what the client sends until its connection ends. It runs on a small
// stack, as an idle session keeps it.
func (s *Session) serve(l *link) {
	l.r.SetLimits(s.srv.cfg.Limits.Session)
	l.r.Ready = l.wire.Ready
	l.wire.BeforeWait = s.batch.flush
	s.srv.tidy.later()
	err := guard(s.srv.log, func() error { return s.read(l) })
	_ = s.batch.flush()
	s.lost(l, blame(err))
	l.finish()
}

// read handles one element after the other.
func (s *Session) read(l *link) error {
	for n := 1; ; n++ {
		e, err := l.follow()
		if err != nil {
			return err
		}
		if s.batch.open(); n%64 == 0 { // it may never wait
			s.heard.Store(time.Now().Unix())
		}
		switch e.Kind {
		case xmppstream.Whitespace:
			err = nil
		case xmppstream.End:
			return errFinished
		default:
			err = s.element(l, e)
		}
		if err == nil {
			err = s.limit(l, len(e.Raw), e.Kind)
		}
		if err != nil {
			return err
		}
	}
}

// follow waits for the client's next bytes on the socket, unless something is left
// to read above it, and then reads. Reading would wait as well, but from deep
// within TLS, and the stack for that is most of what an idle session costs.
func (l *link) follow() (*xmppstream.Element, error) {
	if l.r.Idle() && l.wire.Buffered() == 0 {
		if err := l.wire.Wait(); err != nil {
			return nil, err
		}
		l.session.heard.Store(time.Now().Unix())
		if l.session.pinged.Load() {
			l.session.pinged.Store(false)
		}
	}
	if l.hasEnded() {
		return nil, errLost
	}
	return l.r.Next()
}

func (l *link) hasEnded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// limit slows a client down that sends too much: its bytes stay in the socket.
func (s *Session) limit(l *link, n int, kind xmppstream.Kind) error {
	lim := &s.srv.cfg.Limits
	wait := s.bytes.take(n, lim.Bytes, lim.BytesBurst, time.Now)
	if kind == xmppstream.Stanza {
		wait = max(wait, s.stanzas.take(1, lim.Stanzas, lim.StanzasBurst, time.Now))
	}
	if wait == 0 {
		return nil
	}
	if err := s.batch.flush(); err != nil {
		return err
	}
	const slice = 100 * time.Millisecond
	for ; wait > 0 && !l.hasEnded(); wait -= slice {
		time.Sleep(min(wait, slice))
	}
	return nil
}

// lost is called when a connection has nothing more to read: the session waits to
// be resumed, or ends.
func (s *Session) lost(l *link, cause error) {
	if ended := l.result(); ended != nil {
		cause = ended // somebody else ended it before
	}
	if s.keep(l, cause) {
		l.end(cause)
		return
	}
	s.unbind()
	l.end(cause)
	l.wait()
	s.srv.again(context.WithoutCancel(s.srv.ctx), s, s.out.rest())
}

// keep makes the session wait to be resumed, if it can be.
func (s *Session) keep(l *link, cause error) bool {
	var e *xmppstream.Error
	lost := errors.Is(cause, errLost) || errors.Is(cause, errReplaced) ||
		errors.As(cause, &e) && e.Condition == xmppstream.ConnectionTimeout
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.smID == "" || s.over || !lost || s.srv.down.Load() {
		return false
	}
	if s.link == l {
		l.end(cause)
		s.link = nil
		s.out.detach()
		if !s.taken {
			s.timer = time.AfterFunc(s.srv.cfg.Limits.Resume, s.expire)
		}
	}
	return true
}

// expire ends a session that nobody resumed.
func (s *Session) expire() {
	s.mu.Lock()
	busy := s.link != nil || s.taken
	s.mu.Unlock()
	if !busy {
		s.gone(nil)
	}
}

// gone ends the session for good. why is what its client is told, if it has a
// connection still; nil when that has ended already.
func (s *Session) gone(why error) {
	if !s.unbind() {
		return
	}
	if l := s.connection(); l != nil {
		l.end(cmp.Or(why, errLost)) // and its own goroutine does the rest
		return
	}
	s.srv.again(context.WithoutCancel(s.srv.ctx), s, s.out.rest())
}

// unbind takes the session's place away. It reports false if that has happened
// before.
func (s *Session) unbind() bool {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return false
	}
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	last := s.srv.table.remove(s)
	ctx := context.WithoutCancel(s.srv.ctx)
	for _, f := range s.srv.hooks.unbound {
		f(ctx, s)
	}
	s.presence.Store(nil)
	if last {
		s.srv.seen(s.owner)
	}
	return true
}
