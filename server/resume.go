package server

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/store"
)

// inbound counts what a client has sent (XEP-0198 §4). A stanza counts when it was
// handled and what it caused is on disk. The session's lock guards it.
type inbound struct {
	on      bool
	handled uint32 // stanzas dealt with
	done    uint32 // of those, how many from the first on are safe
	writes  []write
	waiting bool // a goroutine waits for writes
	failed  bool
}

// write is what one stanza waits for.
type write struct {
	count uint32 // the stanza's own
	on    []store.Pending
}

// counted counts a stanza that was handled.
func (s *Session) counted(st *Stanza) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.in.on {
		return
	}
	s.in.handled++
	if st != nil {
		if w := st.awaited(); len(w) > 0 {
			s.in.writes = append(s.in.writes, write{s.in.handled, w})
			return
		}
	}
	if len(s.in.writes) == 0 {
		s.in.done = s.in.handled
	}
}

// acknowledge answers <r/>, at once or when all that was handled is safe.
func (s *Session) acknowledge() {
	s.mu.Lock()
	if !s.in.on || s.in.failed {
		s.mu.Unlock()
		return
	}
	if len(s.in.writes) == 0 {
		h := s.in.done
		s.mu.Unlock()
		_ = s.out.raw(smAck(h))
		s.batch.add(s.out)
		return
	}
	if !s.in.waiting {
		s.in.waiting = true
		go s.awaitWrites(s.link)
	}
	s.mu.Unlock()
}

// awaitWrites waits for writes, the oldest first, and then answers.
func (s *Session) awaitWrites(l *link) {
	h, err := s.safe()
	s.mu.Lock()
	s.in.waiting = false
	s.mu.Unlock()
	switch {
	case err == nil:
		if s.out.raw(smAck(h)) == nil {
			s.out.flush()
		}
	case l != nil:
		l.end(streamError(xmppstream.InternalServerError, "A message could not be stored."))
	}
}

// safe is the count of what is safe, after waiting for what is under way.
func (s *Session) safe() (uint32, error) {
	for {
		s.mu.Lock()
		if len(s.in.writes) == 0 {
			defer s.mu.Unlock()
			return s.in.done, nil
		}
		w := s.in.writes[0]
		s.mu.Unlock()
		for _, p := range w.on {
			if err := p.Err(); err != nil {
				s.srv.log.Error("a message could not be stored", "error", err)
				s.mu.Lock()
				s.in.failed = true // what follows is never acknowledged
				s.mu.Unlock()
				return 0, err
			}
		}
		s.mu.Lock()
		if len(s.in.writes) > 0 && s.in.writes[0].count == w.count { // nobody else was here
			s.in.writes = s.in.writes[1:]
			if s.in.done = s.in.handled; len(s.in.writes) > 0 {
				s.in.done = s.in.writes[0].count - 1
			}
		}
		s.mu.Unlock()
	}
}

// enable begins stream management (XEP-0198 §3) and gives the answer, for inside of
// another; else it queues it, as what is sent behind it counts and nothing before, and
// gives what is left to say.
func (s *Session) enable(n *xmppstream.Node, inside bool) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in.on {
		return smFailed("unexpected-request", nil)
	}
	s.in.on = true
	lim := &s.srv.cfg.Limits
	u := &unacked{most: lim.Unacked, bytes: lim.Queue}
	reply := []byte("<enabled xmlns='" + xmppstream.NSSM + "'")
	if r := n.Attr("resume"); r == "true" || r == "1" {
		s.smID = rand.Text()
		reply = append(append(append(reply, " resume='true' id='"...), s.smID...), "' max='"...)
		reply = append(strconv.AppendInt(reply, int64(lim.Resume.Seconds()), 10), '\'')
	}
	reply = append(reply, "/>"...)
	if inside {
		s.out.manage(u, nil)
		return reply
	}
	s.out.manage(u, reply)
	return nil
}

// streamManagement takes the elements of XEP-0198 on a bound stream.
func (s *Session) streamManagement(n *xmppstream.Node) error {
	switch n.Name {
	case "r":
		s.acknowledge()
	case "a":
		h, ok := parseH(n)
		if !ok {
			return streamError(xmppstream.BadFormat, "An acknowledgement without a count.")
		}
		if sent, ok := s.out.ack(h); !ok {
			return tooHigh(h, sent)
		}
		if s.out.pending() {
			s.batch.add(s.out) // more was sent after the request
		}
	case "enable":
		if err := s.out.raw(s.enable(n, false)); err != nil {
			return errLost
		}
		s.batch.add(s.out)
	case "resume":
		if s.out.raw(smFailed("unexpected-request", nil)) != nil {
			return errLost
		}
		s.batch.add(s.out)
	default:
		return streamError(xmppstream.UnsupportedStanzaType, "This is no word of stream management.")
	}
	return nil
}

// takeOver finds the session that a client wants to resume and takes it away from
// its old connection (XEP-0198 §5). The answer is <resumed/>, or <failed/> without a session.
func (l *link) takeOver(n *xmppstream.Node) (s *Session, answer []byte) {
	h, ok := parseH(n)
	id := n.Attr("previd")
	if !ok || id == "" {
		return nil, smFailed("bad-request", nil)
	}
	for _, one := range l.srv.Sessions(l.n.login.Account) {
		if one.resumeID() == id {
			s = one
		}
	}
	if s == nil || len(l.n.login.Resources) > 0 {
		return nil, smFailed("item-not-found", nil)
	}
	old, ok := s.claim()
	if !ok {
		return nil, smFailed("item-not-found", nil)
	}
	if old != nil {
		old.end(errReplaced)
		late := time.NewTimer(l.srv.cfg.Limits.Drain)
		defer late.Stop()
		select {
		case <-old.done:
		case <-late.C:
			s.unclaim()
			return nil, smFailed("item-not-found", nil)
		}
	}
	if _, ok := s.out.ack(h); !ok {
		s.unclaim()
		s.gone(nil)
		return nil, smFailed("item-not-found", nil)
	}
	handled, err := s.safe()
	if err != nil {
		s.unclaim()
		s.gone(nil)
		return nil, smFailed("item-not-found", nil)
	}
	return s, s.resumedElement(handled)
}

func (s *Session) resumeID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.smID
}

// claim makes sure that one connection at a time takes the session over.
func (s *Session) claim() (old *link, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.taken || s.smID == "" || s.in.failed {
		return nil, false
	}
	s.taken = true
	if s.timer != nil {
		s.timer.Stop()
	}
	return s.link, true
}

func (s *Session) unclaim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = false
	if s.link == nil && !s.over {
		s.timer = time.AfterFunc(s.srv.cfg.Limits.Resume, s.expire)
	}
}

// resumedElement is the answer to <resume/>.
func (s *Session) resumedElement(h uint32) []byte {
	b := append([]byte("<resumed xmlns='"+xmppstream.NSSM+"' previd='"), s.resumeID()...)
	return append(strconv.AppendUint(append(b, "' h='"...), uint64(h), 10), "'/>"...)
}

// resume goes on over a connection that has taken the session over. first is
// written before anything else.
func (s *Session) resume(ctx context.Context, l *link, first []byte) error {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return errLost
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.link, s.taken, s.lang = l, false, l.lang
	s.loggedIn(l.n.login)
	l.mu.Lock()
	s.out.attach(l.conn, l.wire, append(l.out.take(), first...))
	l.out, l.session = s.out, s
	ended := l.ended
	l.mu.Unlock()
	s.heard.Store(time.Now().Unix())
	s.mu.Unlock()
	if ended {
		s.lost(l, errLost)
		return errLost
	}
	for _, f := range s.srv.hooks.resumed {
		f(ctx, s)
	}
	s.out.flush()
	return nil
}

// countError is what a client gets that acknowledges more than it was sent
// (XEP-0198 §4).
type countError struct {
	stream *xmppstream.Error
	app    []byte
}

func (e *countError) Error() string { return e.stream.Error() }
func (e *countError) Unwrap() error { return e.stream }

func tooHigh(h, sent uint32) error {
	b := []byte("<handled-count-too-high xmlns='" + xmppstream.NSSM + "' h='")
	b = append(strconv.AppendUint(b, uint64(h), 10), "' send-count='"...)
	b = append(strconv.AppendUint(b, uint64(sent), 10), "'/>"...)
	return &countError{streamError(xmppstream.UndefinedCondition, "More was acknowledged than was sent."), b}
}
