package server

import (
	"strconv"
	"time"

	"xmpp-gw/internal/xmppstream"
)

// The server's own words of stream management (XEP-0198).
const (
	smFeature = "<sm xmlns='" + xmppstream.NSSM + "'/>"
	smRequest = "<r xmlns='" + xmppstream.NSSM + "'/>"
)

// unacked is what was sent to a client and not acknowledged by it. The outbox's
// lock guards it.
type unacked struct {
	list  []*Stanza
	size  int
	acked uint32 // what the client has acknowledged, modulo 2³²
	asked bool   // a request is under way
	since time.Time
	most  int // stanzas
	bytes int
}

// push reports false when there is too much.
func (u *unacked) push(st *Stanza) bool {
	if over(len(u.list)+1, u.most) || u.size+len(st.raw) > u.bytes {
		return false
	}
	u.list = append(u.list, st)
	u.size += len(st.raw)
	return true
}

// shouldAsk reports whether it is time for a request: one is under way at a time.
func (u *unacked) shouldAsk() bool { return !u.asked && len(u.list) > 0 }

func (u *unacked) ask() { u.asked, u.since = true, time.Now() }

// ack takes the client's count (XEP-0198 §4). ok is false if it counts more than
// was sent.
func (u *unacked) ack(h uint32) (done []*Stanza, ok bool) {
	n := h - u.acked // modulo 2³²
	if uint64(n) > uint64(len(u.list)) {
		return nil, false
	}
	done = u.list[:n:n]
	for _, st := range done {
		u.size -= len(st.raw)
	}
	if u.list = u.list[n:]; len(u.list) == 0 {
		u.list = nil
	}
	u.acked = h
	return done, true
}

// ack is told that the client has handled h stanzas, and says how many were sent.
func (o *outbox) ack(h uint32) (sent uint32, ok bool) {
	o.mu.Lock()
	if o.sm == nil {
		o.mu.Unlock()
		return 0, false
	}
	o.sm.asked = false
	sent = o.sm.acked + uint32(len(o.sm.list))
	done, ok := o.sm.ack(h)
	o.mu.Unlock()
	for _, st := range done {
		st.wasReceived(true)
	}
	return sent, ok
}

// pending reports whether it is time for another request.
func (o *outbox) pending() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sm != nil && o.sm.shouldAsk()
}

// askedSince is since when a request for acknowledgement waits, zero if none does.
func (o *outbox) askedSince() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sm == nil || !o.sm.asked {
		return time.Time{}
	}
	return o.sm.since
}

// parseH reads a counter (XEP-0198 §5: xs:unsignedInt).
func parseH(n *xmppstream.Node) (uint32, bool) {
	h, err := strconv.ParseUint(n.Attr("h"), 10, 32)
	return uint32(h), err == nil
}

func smAck(h uint32) []byte {
	return append(strconv.AppendUint([]byte("<a xmlns='"+xmppstream.NSSM+"' h='"), uint64(h), 10), "'/>"...)
}

// smFailed is the answer to <enable/> or <resume/> that cannot be done; h is there
// if it is known (XEP-0198 §5).
func smFailed(condition string, h *uint32) []byte {
	b := []byte("<failed xmlns='" + xmppstream.NSSM + "'")
	if h != nil {
		b = append(strconv.AppendUint(append(b, " h='"...), uint64(*h), 10), '\'')
	}
	return append(append(append(b, "><"...), condition...), " xmlns='"+xmppstream.NSStanzaErr+"'/></failed>"...)
}
