package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/xmppstream"
)

// pinger notices that an upstream leg has died. Over Tor, and after a machine
// slept, no packet ever says so: the SOCKS connection stays open while the
// circuit behind it is gone. So a leg that was silent for Limits.IdlePing is
// asked for a sign of life, and cut when none comes within Limits.PingTimeout.
//
// Only the time in which the gateway waits for the server counts: while it
// waits for a slow client instead, silence proves nothing.
type pinger struct {
	mu     sync.Mutex
	timer  *time.Timer
	bound  bool   // a resource is bound: the server answers an IQ
	sm     string // the XEP-0198 namespace in use; its <r/> asks without a stanza
	pinged time.Time
	id     string // of this session's pings
	held   bool   // stream management is being negotiated
	done   bool   // stop was called

	idleSince atomic.Int64 // Unix nanoseconds at which the wait for the server began; 0: not waiting
}

// start begins the watch over s.
func (p *pinger) start(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil && s.live.Limits.IdlePing > 0 {
		p.timer = time.AfterFunc(s.live.Limits.IdlePing, func() { p.tick(s) })
	}
}

func (p *pinger) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// waiting notes that the gateway now waits for the server's next byte.
func (p *pinger) waiting() { p.idleSince.Store(time.Now().UnixNano()) }

// busy notes that bytes came from the server.
func (p *pinger) busy() { p.idleSince.Store(0) }

// tick looks at the silence so far and decides when to look again.
func (p *pinger) tick(s *session) {
	limits := s.live.Limits
	since := p.idleSince.Load()
	now := time.Now()
	p.mu.Lock()
	if p.done {
		p.mu.Unlock()
		return
	}
	again := limits.IdlePing
	var ping []byte
	switch silent := now.Sub(time.Unix(0, since)); {
	case since == 0: // the client is the slow one
		p.pinged = time.Time{}
	case !p.pinged.IsZero() && since < p.pinged.UnixNano(): // not a byte since the ping
		p.mu.Unlock()
		s.end(&upstreamLost{err: errNoAnswer})
		return
	case silent < limits.IdlePing:
		p.pinged = time.Time{}
		again = limits.IdlePing - silent
	default:
		if ping = p.next(); ping != nil {
			p.pinged = now
			again = limits.PingTimeout
		}
	}
	p.timer.Reset(again)
	p.mu.Unlock()
	if ping != nil && s.up.w.Raw(ping) == nil {
		_ = s.up.w.Flush() // may block on a dead circuit; the next tick ends that
	}
}

// next is the question to ask: an acknowledgement request where stream
// management runs, because that is no stanza and leaves both parties' counts
// right (XEP-0198 §4), else an XMPP ping to the account's own server
// (XEP-0199 §4.2). Before a resource is bound there is nothing to ask, nor while
// stream management begins: the server would count a stanza that the client does
// not know of.
func (p *pinger) next() []byte {
	if p.sm != "" {
		return []byte("<r xmlns='" + p.sm + "'/>")
	}
	if !p.bound || p.held {
		return nil
	}
	if p.id == "" {
		p.id = "gw-" + randomID()
	}
	return []byte("<iq type='get' id='" + p.id + "'><ping xmlns='urn:xmpp:ping'/></iq>")
}

// answered reports whether e answers one of the pings, be it late; such an answer
// is not the client's.
func (p *pinger) answered(e *xmppstream.Element) bool {
	if string(e.Name) != "iq" || len(e.ID) < 3 || string(e.ID[:3]) != "gw-" {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(e.ID) == p.id
}

// sees learns from a passing element that a resource is bound (RFC 6120 §7.6).
func (p *pinger) sees(e *xmppstream.Element) {
	if string(e.Name) != "iq" || !e.HasChild(xmppstream.NSBind, "bind") {
		return
	}
	p.mu.Lock()
	p.bound = true
	p.mu.Unlock()
}

// useSM switches to acknowledgement requests.
func (p *pinger) useSM(space string) {
	p.mu.Lock()
	p.sm, p.held = space, false
	p.mu.Unlock()
}

// hold stops the pings from a client's <enable/> or <resume/> to the answer.
func (p *pinger) hold() {
	p.mu.Lock()
	p.held = true
	p.mu.Unlock()
}

// goOn is for an answer that changed nothing.
func (p *pinger) goOn() {
	p.mu.Lock()
	p.held = false
	p.mu.Unlock()
}
