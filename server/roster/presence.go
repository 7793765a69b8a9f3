package roster

import (
	"context"
	"sync"
	"sync/atomic"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/peraccount"
	"xmpp-gw/server/store"
)

// session is what is kept of a session.
type session struct {
	entry *peraccount.Entry[account]
	// interested is set once the client has asked for the roster (RFC 6121 §2.2).
	interested atomic.Bool

	mu sync.Mutex
	// directed is who was told that this session is available, and has to be told
	// when it is not any more (§4.6.3).
	directed map[address.Address]struct{}
}

func (s *session) account() *account { return s.entry.Value }

func (m *Module) interested(s *server.Session) bool {
	own := m.slot.Get(s)
	return own != nil && own.interested.Load()
}

func (m *Module) bound(ctx context.Context, s *server.Session) error {
	e, err := m.accounts.Hold(ctx, s.Owner())
	if err != nil {
		return err
	}
	m.slot.Set(s, &session{entry: e})
	return nil
}

// outbound handles the presence that a local session sends.
func (m *Module) outbound(ctx context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
	if st.Kind != server.Presence {
		return st, nil
	}
	own := m.slot.Get(s)
	switch {
	case st.To.IsZero() && (st.Type == "" || st.Type == "unavailable"):
		m.announce(ctx, s, own, st)
		return st, nil // other modules look at it; it has no addressee
	case st.To.IsZero():
		return nil, server.ErrBadRequest
	case isSubscription(st.Type):
		return nil, m.send(ctx, own.account(), st.Readdress(s.Owner(), st.To.Bare()))
	case st.Type == "" || st.Type == "unavailable":
		return st, m.direct(own, st)
	}
	return st, nil
}

// inbound handles the presence that comes for a local account. Availability passes:
// the core delivers it (RFC 6121 §8.5.2.1.2), and no lock of ours is taken.
func (m *Module) inbound(ctx context.Context, owner address.Address, st *server.Stanza) (*server.Stanza, error) {
	if st.Kind != server.Presence {
		return st, nil
	}
	switch {
	case isSubscription(st.Type), st.Type == "probe":
		e, err := m.accounts.Hold(ctx, owner)
		if err != nil {
			return nil, err
		}
		defer e.Release()
		if st.Type == "probe" {
			return nil, m.probed(ctx, e.Value, st.From)
		}
		return nil, m.receive(ctx, e.Value, st)
	case st.Type == "error" && st.To.IsFull(): // §4.6.5: not there to be told again
		if s := m.srv.Session(st.To); s != nil {
			if own := m.slot.Get(s); own != nil {
				own.mu.Lock()
				delete(own.directed, st.From)
				own.mu.Unlock()
			}
		}
	}
	return st, nil
}

// announce handles presence without an addressee (§4.2, §4.4, §4.5).
func (m *Module) announce(ctx context.Context, s *server.Session, own *session, st *server.Stanza) {
	a := own.account()
	initial := m.change(ctx, s, own, st)
	if !initial {
		return
	}
	// §3.1.3: requests wait until they are answered
	for _, raw := range a.pending() {
		if p, err := server.ParseStanza(raw); err == nil && !m.blocked(ctx, a.owner, p.From) {
			_ = s.SendIn(ctx, p)
		}
	}
	// §4.2.2: whoever the owner sees and is here is asked. The others cannot answer.
	for _, c := range a.watched() {
		if !m.absent(c) && !m.blocked(ctx, a.owner, c) {
			_ = m.srv.Route(ctx, server.NewPresence(s.JID(), c, "probe", ""))
		}
	}
}

// change sets a session's presence and tells whoever sees it. It says whether the
// session has become available.
func (m *Module) change(ctx context.Context, s *server.Session, own *session, st *server.Stanza) (initial bool) {
	own.account().order.Lock()
	defer own.account().order.Unlock()
	return m.changeInOrder(ctx, s, own, st)
}

// changeInOrder is change with the account's order held.
func (m *Module) changeInOrder(ctx context.Context, s *server.Session, own *session, st *server.Stanza) (initial bool) {
	a := own.account()
	was, is := s.Available(), st.Type == ""
	if is && m.srv.Session(s.JID()) != s {
		return false // it has ended, and everybody was told; nobody would take this back
	}
	if !is {
		m.tellDirected(ctx, own, st)
	}
	if !was && !is {
		return false
	}
	if is {
		s.SetPresence(st)
	}
	for _, c := range a.watching() {
		if !m.absent(c) && !m.blocked(ctx, a.owner, c) {
			_ = m.srv.Route(ctx, st.Readdress(st.From, c))
		}
	}
	// The owner's own resources, this one too; and a new one learns of the others.
	toOwn := st.Readdress(st.From, a.owner)
	for _, other := range m.srv.Sessions(a.owner) {
		if !other.Available() {
			continue
		}
		_ = other.SendIn(ctx, toOwn)
		if is && !was && other != s {
			_ = s.SendIn(ctx, other.Presence().Readdress(other.JID(), s.JID()))
		}
	}
	if !is {
		s.SetPresence(nil)
	}
	return is && !was
}

// Renew sends the presence of a session again to whoever sees it, as change makes it
// of what it was: for modules that put something of theirs into presence. Nothing is
// sent while the session is unavailable, or if change gives nil.
func (m *Module) Renew(ctx context.Context, s *server.Session, change func(was *server.Stanza) *server.Stanza) {
	own := m.slot.Get(s)
	if own == nil {
		return
	}
	own.account().order.Lock()
	defer own.account().order.Unlock()
	if was := s.Presence(); was != nil {
		if st := change(was); st != nil {
			m.changeInOrder(ctx, s, own, st)
		}
	}
}

// tellDirected tells those that were sent directed presence, and no longer
// remembers them. a.order is held.
func (m *Module) tellDirected(ctx context.Context, own *session, st *server.Stanza) {
	own.mu.Lock()
	directed := own.directed
	own.directed = nil
	own.mu.Unlock()
	a := own.account()
	for to := range directed {
		if it := a.item(to.Bare()); stateOf(&it)&From != 0 {
			continue // hears of it anyway
		}
		if !m.absent(to) && !m.blocked(ctx, a.owner, to) {
			_ = m.srv.Route(ctx, st.Readdress(st.From, to))
		}
	}
}

// direct remembers who was sent directed presence (§4.6.3).
func (m *Module) direct(own *session, st *server.Stanza) error {
	own.mu.Lock()
	defer own.mu.Unlock()
	if st.Type == "unavailable" {
		delete(own.directed, st.To)
		return nil
	}
	if _, known := own.directed[st.To]; known {
		return nil
	}
	if len(own.directed) >= m.limits.Directed {
		return server.ErrResourceConstraint.Because("presence was sent to too many addresses")
	}
	if own.directed == nil {
		own.directed = map[address.Address]struct{}{}
	}
	own.directed[st.To] = struct{}{}
	return nil
}

// unbound tells everybody that a session is gone (§4.5.2: on the client's behalf).
func (m *Module) unbound(ctx context.Context, s *server.Session) {
	own := m.slot.Get(s)
	if own == nil {
		return
	}
	m.change(ctx, s, own, server.NewPresence(s.JID(), address.Address{}, "unavailable", ""))
	own.entry.Release()
}

// probed answers a probe (§4.3.2).
func (m *Module) probed(ctx context.Context, a *account, from address.Address) error {
	asker := from.Bare()
	it := a.item(asker)
	if stateOf(&it)&From == 0 && asker != a.owner {
		if m.showDirected(ctx, a, from) {
			return nil
		}
		return m.srv.Route(ctx, server.NewPresence(a.owner, from, "unsubscribed", ""))
	}
	if m.show(ctx, a, from) > 0 {
		return nil
	}
	return m.srv.Route(ctx, server.NewPresence(a.owner, from, "unavailable", ""))
}

// showDirected answers with the presence that a session has sent to the asker before.
func (m *Module) showDirected(ctx context.Context, a *account, to address.Address) (shown bool) {
	a.order.Lock()
	defer a.order.Unlock()
	for _, s := range m.srv.Sessions(a.owner) {
		own := m.slot.Get(s)
		if own == nil || !s.Available() {
			continue
		}
		own.mu.Lock()
		_, full := own.directed[to]
		_, bare := own.directed[to.Bare()]
		own.mu.Unlock()
		if full || bare {
			shown = true
			_ = m.srv.Route(ctx, s.Presence().Readdress(s.JID(), to))
		}
	}
	return shown
}

// show sends the presence of the owner's available sessions, and says how many.
func (m *Module) show(ctx context.Context, a *account, to address.Address) (n int) {
	if m.absent(to) || m.blocked(ctx, a.owner, to) {
		return 0
	}
	a.order.Lock()
	defer a.order.Unlock()
	for _, s := range m.srv.Sessions(a.owner) {
		if p := s.Presence(); p != nil {
			n++
			_ = m.srv.Route(ctx, p.Readdress(s.JID(), to))
		}
	}
	return n
}

// hide sends unavailable presence of the owner's available sessions.
func (m *Module) hide(ctx context.Context, a *account, to address.Address) {
	if m.absent(to) {
		return
	}
	a.order.Lock()
	defer a.order.Unlock()
	for _, s := range m.srv.Sessions(a.owner) {
		if s.Available() {
			_ = m.srv.Route(ctx, server.NewPresence(s.JID(), to, "unavailable", ""))
		}
	}
}

// Show sends an address the presence of the owner's sessions, if it may see them,
// and asks for its own, if they may. It does nothing for one that is blocked.
func (m *Module) Show(ctx context.Context, owner, to address.Address) error {
	if m.blocked(ctx, owner, to) {
		return nil
	}
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return err
	}
	defer e.Release()
	it := e.Value.item(to.Bare())
	if it.Sub&store.SubFrom != 0 {
		m.show(ctx, e.Value, to)
	}
	if it.Sub&store.SubTo != 0 && !m.absent(to) {
		for _, s := range m.srv.Sessions(owner) {
			if s.Available() {
				_ = m.srv.Route(ctx, server.NewPresence(s.JID(), to, "probe", ""))
			}
		}
	}
	return nil
}

// Hide makes the owner look offline to an address that sees them, or was sent
// directed presence.
func (m *Module) Hide(ctx context.Context, owner, to address.Address) error {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return err
	}
	defer e.Release()
	if it := e.Value.item(to.Bare()); it.Sub&store.SubFrom != 0 {
		m.hide(ctx, e.Value, to)
		return nil
	}
	for _, s := range m.srv.Sessions(owner) {
		for _, told := range m.undirect(s, to) {
			_ = m.srv.Route(ctx, server.NewPresence(s.JID(), told, "unavailable", ""))
		}
	}
	return nil
}

// undirect forgets whom a session sent directed presence at an address or below it.
func (m *Module) undirect(s *server.Session, at address.Address) (told []address.Address) {
	own := m.slot.Get(s)
	if own == nil {
		return nil
	}
	own.mu.Lock()
	defer own.mu.Unlock()
	for to := range own.directed {
		if to == at || to.Bare() == at || to.Server() == at {
			told = append(told, to)
			delete(own.directed, to)
		}
	}
	return told
}

// absent reports whether no presence has to be sent to an address: it is an account
// here without a session, or of a domain that nobody here can reach.
func (m *Module) absent(a address.Address) bool {
	return !m.srv.Hosts(a.Domain) || a.Local != "" && len(m.srv.Sessions(a)) == 0
}
