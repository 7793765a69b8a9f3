package server

import (
	"runtime/debug"
	"sync"
	"time"

	"xmpp-gw/internal/xmppstream"
)

// sweep looks after the sessions now and then: are those that are silent still
// there, and do all of them take what is written to them?
func (srv *Server) sweep() {
	lim := &srv.cfg.Limits
	tick := time.NewTicker(max(min(lim.IdlePing, lim.PingTimeout)/8, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-srv.sweeping:
			return
		case <-tick.C:
		}
		now := time.Now()
		for _, s := range srv.table.all() {
			s.look(now)
		}
	}
}

func (srv *Server) stopSweep() { close(srv.sweeping) }

// look asks a silent client whether it is there, and gives up one that is not.
func (s *Session) look(now time.Time) {
	l := s.connection()
	if l == nil {
		return
	}
	lim := &s.srv.cfg.Limits
	heard := time.Unix(s.heard.Load(), 0)
	stuck, asked := s.out.stuckSince(), s.out.askedSince()
	late := func(since time.Time) bool {
		return lim.PingTimeout > 0 && !since.IsZero() && now.Sub(since) > lim.PingTimeout
	}
	switch {
	case s.out.failed():
		l.end(errLost)
	case late(stuck), late(asked) && late(heard), s.pinged.Load() && now.Sub(heard) > lim.IdlePing+lim.PingTimeout:
		l.end(streamError(xmppstream.ConnectionTimeout, "The client does not answer any more."))
	case lim.IdlePing > 0 && now.Sub(heard) > lim.IdlePing && !s.pinged.Swap(true):
		s.ping()
	}
}

// ping asks for a sign of life: for an acknowledgement, which is no stanza, or else
// with an XMPP ping (XEP-0199).
func (s *Session) ping() {
	if s.out.managed() {
		_ = s.out.raw([]byte(smRequest))
		s.out.flush()
		return
	}
	from := s.owner.Server()
	st := NewIQ(from, s.jid, "get", randomID(), []byte("<ping xmlns='urn:xmpp:ping'/>"))
	if full, err := s.out.add(st); err == nil || full {
		s.out.flush()
	}
}

// managed reports whether stream management is on.
func (o *outbox) managed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sm != nil
}

// tidyAfter is how long connections must have neither come nor gone.
const tidyAfter = 3 * time.Second

// tidy gives memory back when a burst of logins or of ends is over: a TLS handshake
// and a login need several times what the idle session keeps afterwards, and a
// server whose sessions are all idle allocates too little for the collector to come
// by soon.
type tidy struct {
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// later puts the tidying off until nothing has happened for a while.
func (t *tidy) later() {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped:
	case t.timer == nil:
		t.timer = time.AfterFunc(tidyAfter, debug.FreeOSMemory)
	default:
		t.timer.Reset(tidyAfter)
	}
}

// stop ends it for good.
func (t *tidy) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
