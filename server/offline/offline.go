// Package offline keeps messages for accounts that are not there (XEP-0160), and
// delivers them, with the time at which they came (XEP-0203), when a session of the
// account says that it takes messages.
//
// A message stays in the storage until the session has it for certain, so that
// neither a connection that breaks nor a server that dies loses one; what was on its
// way to another session meanwhile is not sent twice.
//
// The same store makes good on the server's acknowledgements (XEP-0198): the sender
// of a message that an online session does not confirm soon gets its acknowledgement
// only when the message is on disk. See spool.go.
package offline

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// Limits bounds what is kept. Zero fields are the defaults.
type Limits struct {
	Messages int // of one account (default 1,000)
	Bytes    int // of one account (default 8 MiB)
	// Retention is how long a message waits, zero for ever.
	Retention time.Duration
}

// Module keeps messages.
type Module struct {
	limits Limits
	srv    *server.Server
	store  store.Offline
	slot   server.SessionSlot[session]

	life context.Context // of deliveries and writes that no stanza waits for
	end  context.CancelFunc

	workMu sync.Mutex
	work   sync.WaitGroup

	mu       sync.Mutex
	onTheWay map[int64]struct{} // messages that a session was sent
	received map[address.Address][]int64
	sweeping bool
}

// session is what is kept of a session.
type session struct {
	ready   atomic.Bool // it takes messages, and has been sent those that waited
	pumping sync.Mutex  // one delivery at a time
}

// New makes the module. It stands behind the one that keeps presence.
func New(l Limits) *Module {
	if l.Messages <= 0 {
		l.Messages = 1000
	}
	if l.Bytes <= 0 {
		l.Bytes = 8 << 20
	}
	m := &Module{limits: l, onTheWay: map[int64]struct{}{}, received: map[address.Address][]int64{}}
	m.life, m.end = context.WithCancel(context.Background())
	return m
}

// Name implements [server.Module].
func (m *Module) Name() string { return "offline" }

// Setup implements [server.Module].
func (m *Module) Setup(r *server.Registry) error {
	m.srv = r.Server()
	m.store = m.srv.Store()
	m.slot = server.NewSessionSlot[session](r)

	r.Feature(server.AtServer, "msgoffline") // XEP-0160 §4
	r.Bound(func(_ context.Context, s *server.Session) error {
		m.slot.Set(s, new(session))
		return nil
	})
	r.Outbound(m.outbound)
	r.Delivered(m.delivered)
	r.Undelivered(m.undelivered)
	r.Lifecycle(m.start, m.stop)
	return nil
}

// outbound waits for a session to take messages: available, and of no negative
// priority (XEP-0160 §2).
func (m *Module) outbound(_ context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
	if st.Kind != server.Presence || !st.To.IsZero() {
		return st, nil
	}
	if own := m.slot.Get(s); own != nil {
		takes := s.Available() && s.Priority() >= 0
		if was := own.ready.Swap(takes); takes && !was {
			m.background(func() { m.deliver(s, own) })
		}
	}
	return st, nil
}

// undelivered keeps a message that no session takes.
func (m *Module) undelivered(ctx context.Context, owner address.Address, st *server.Stanza) (taken bool, err error) {
	k, onTheWay := st.Kept().(*kept)
	if onTheWay {
		if id := k.end(); id != 0 { // it is here already
			m.back(id)
			m.wake(owner)
			return true, nil
		}
		// What becomes of it is known when this returns.
		defer k.settle(nil)
	}
	switch judge(st) {
	case refuse:
		return false, nil
	case forget:
		return true, nil
	}
	// The sender's end is not the message's: half of those that come here are of
	// sessions that have ended.
	if _, err = m.push(context.WithoutCancel(ctx), owner, st); err != nil {
		return false, err
	}
	m.wake(owner)
	return true, nil
}

func (m *Module) push(ctx context.Context, owner address.Address, st *server.Stanza) (int64, error) {
	id, err := m.store.PushOffline(ctx, owner, m.srv.Now(), st.Standalone(), m.limits.Messages, m.limits.Bytes)
	if errors.Is(err, store.ErrFull) {
		return 0, server.ErrServiceUnavailable // XEP-0160 §2
	}
	return id, err
}

// wake delivers to a session that came while a message was on its way to the store.
func (m *Module) wake(owner address.Address) {
	for _, s := range m.srv.Sessions(owner) {
		if own := m.slot.Get(s); own != nil && own.ready.Load() && s.Available() && s.Priority() >= 0 {
			m.background(func() { m.deliver(s, own) })
			return
		}
	}
}

// How much is sent before the session has to confirm it.
const (
	page      = 100
	pageBytes = 256 << 10
)

// deliver sends a session what waits for its account, oldest first.
func (m *Module) deliver(s *server.Session, own *session) {
	own.pumping.Lock()
	defer own.pumping.Unlock()
	owner := s.Owner()
	after := int64(0)
	for m.life.Err() == nil {
		list, err := m.store.OfflineMessages(m.life, owner, after, page)
		if err != nil {
			m.srv.Log().Error("messages that wait for an account could not be read", "error", err)
			return
		}
		arrived := make(chan struct{}, len(list))
		sent, size := 0, 0
		for _, msg := range list {
			after = msg.ID
			if !m.claim(msg.ID) {
				continue // on its way to another session
			}
			st, err := m.revive(owner, msg)
			if err != nil { // nobody will ever read it
				m.srv.Log().Error("a message that waited for an account is damaged and was removed", "error", err)
				m.gone(owner, msg.ID)
				continue
			}
			if size += st.Size(); size > pageBytes && sent > 0 {
				if !m.await(s, arrived, sent) {
					m.back(msg.ID)
					return
				}
				sent, size = 0, st.Size()
			}
			st.SetKept(&kept{id: msg.ID})
			st.WhenReceived(func() {
				m.gone(owner, msg.ID)
				arrived <- struct{}{}
			})
			if s.SendIn(m.life, st) != nil {
				m.back(msg.ID)
				return
			}
			sent++
		}
		if len(list) < page || !m.await(s, arrived, sent) {
			return
		}
	}
}

// await waits until a session has n messages. It gives up when the session has gone.
func (m *Module) await(s *server.Session, arrived <-chan struct{}, n int) bool {
	look := time.NewTicker(10 * time.Second)
	defer look.Stop()
	for n > 0 {
		select {
		case <-arrived:
			n--
		case <-m.life.Done():
			return false
		case <-look.C:
			if m.srv.Session(s.JID()) != s {
				return false
			}
		}
	}
	return true
}

// revive makes a stored message a stanza again, with the time at which it came.
func (m *Module) revive(owner address.Address, msg store.OfflineMessage) (*server.Stanza, error) {
	st, err := server.ParseStanza(msg.Raw)
	if err != nil {
		return nil, err
	}
	// What the sender claims about us is not true (XEP-0203 §4).
	st = st.Without(func(space, name string, raw []byte) bool {
		n, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
		return space == nsDelay && name == "delay" && err == nil && n.Attr("from") == owner.Domain
	})
	delay := xmppstream.Escape([]byte("<delay xmlns='"+nsDelay+"' from='"), owner.Domain)
	return st.With(append(msg.At.UTC().AppendFormat(append(delay, "' stamp='"...), "2006-01-02T15:04:05.000Z"), "'/>"...)), nil
}

// claim says that a message is sent now; false if it is already.
func (m *Module) claim(id int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, taken := m.onTheWay[id]
	m.onTheWay[id] = struct{}{}
	return !taken
}

// back says that a message was not received: it waits again.
func (m *Module) back(id int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.onTheWay, id)
}

// gone says that a message was received. It is removed soon, with others.
func (m *Module) gone(owner address.Address, id int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.received[owner] = append(m.received[owner], id)
	if !m.sweeping {
		m.sweeping = m.background(func() {
			select {
			case <-time.After(sweepEvery):
			case <-m.life.Done():
			}
			m.sweep()
		})
	}
}

const sweepEvery = 50 * time.Millisecond

// sweep removes what was received.
func (m *Module) sweep() {
	m.mu.Lock()
	received := m.received
	m.received, m.sweeping = map[address.Address][]int64{}, false
	m.mu.Unlock()
	for owner, ids := range received {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(m.life), time.Minute)
		err := m.store.DeleteOffline(ctx, owner, ids...)
		cancel()
		if err != nil {
			// They are sent again after the next start, not before: better twice than never.
			m.srv.Log().Error("messages that were delivered could not be removed", "error", err)
			continue
		}
		m.mu.Lock()
		for _, id := range ids {
			delete(m.onTheWay, id)
		}
		m.mu.Unlock()
	}
}

// background runs f unless the module has stopped.
func (m *Module) background(f func()) bool {
	m.workMu.Lock() // nothing begins once stop waits
	defer m.workMu.Unlock()
	if m.life.Err() != nil {
		return false
	}
	m.work.Go(f)
	return true
}

func (m *Module) start(context.Context) error {
	if m.limits.Retention > 0 {
		m.background(m.expire)
	}
	return nil
}

// stop waits for what is under way.
func (m *Module) stop(context.Context) {
	m.workMu.Lock()
	m.end()
	m.workMu.Unlock()
	m.work.Wait()
	m.sweep()
}

// expire removes what has waited for too long, every hour.
func (m *Module) expire() {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		_, err := m.store.ExpireOffline(m.life, m.srv.Now().Add(-m.limits.Retention))
		if err != nil && m.life.Err() == nil {
			m.srv.Log().Error("messages that waited for too long could not be removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-m.life.Done():
			return
		}
	}
}
