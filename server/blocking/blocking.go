// Package blocking lets accounts block others (XEP-0191): what a blocked address
// sends does not arrive, it sees the account as offline, and the account cannot
// write to it until it unblocks it.
//
// The module stands before all those that look at stanzas, so that nothing of a
// blocked address is archived, answered or told to other sessions. The lists of
// accounts that are online are in memory.
package blocking

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/peraccount"
	"xmpp-gw/server/store"
)

// NS is the namespace of the protocol.
const NS = "urn:xmpp:blocking"

// Presence is what blocking does to who sees whom; the roster module is one.
type Presence interface {
	// Hide makes the owner look offline to an address that sees them.
	Hide(ctx context.Context, owner, to address.Address) error
	// Show sends an address that may see the owner their presence, and asks for its own,
	// unless something else in the list blocks it still.
	Show(ctx context.Context, owner, to address.Address) error
	// Watchers is who sees the owner.
	Watchers(ctx context.Context, owner address.Address) ([]address.Address, error)
	// HideFrom is told whom no presence is sent to.
	HideFrom(blocked func(ctx context.Context, owner, other address.Address) bool)
}

// Limits bounds block lists. Zero fields are the defaults.
type Limits struct {
	Items int // how many addresses an account can block (default 1,000)
	Idle  int // how many addresses of lists whose owners are offline stay in memory (default 100,000)
}

// Module is block lists.
type Module struct {
	limits   Limits
	presence Presence
	srv      *server.Server
	blocks   store.Blocks
	lists    *peraccount.Cache[list]
	slot     server.SessionSlot[session]
	pushes   atomic.Uint64
}

type session struct {
	entry *peraccount.Entry[list]
	asked atomic.Bool // for the list: it is told of changes
}

// New makes the module.
func New(l Limits, p Presence) *Module {
	if l.Items <= 0 {
		l.Items = 1000
	}
	if l.Idle <= 0 {
		l.Idle = 100000
	}
	m := &Module{limits: l, presence: p}
	p.HideFrom(m.Blocked)
	return m
}

// Name implements [server.Module].
func (m *Module) Name() string { return "blocking" }

// Setup implements [server.Module].
func (m *Module) Setup(r *server.Registry) error {
	m.srv = r.Server()
	m.blocks = m.srv.Store()
	m.lists = peraccount.New(m.load, func(l *list) int { return len(*l.set.Load()) }, m.limits.Idle)
	m.slot = server.NewSessionSlot[session](r)

	r.Feature(server.AtServer, NS)
	r.IQ(server.AtAccount, NS, "blocklist", m.get)
	r.IQ(server.AtAccount, NS, "block", m.block)
	r.IQ(server.AtAccount, NS, "unblock", m.unblock)
	r.Bound(func(ctx context.Context, s *server.Session) error {
		e, err := m.lists.Hold(ctx, s.Owner())
		if err == nil {
			m.slot.Set(s, &session{entry: e})
		}
		return err
	})
	r.Unbound(func(_ context.Context, s *server.Session) {
		if own := m.slot.Get(s); own != nil {
			own.entry.Release()
		}
	})
	r.Outbound(m.outbound)
	r.Inbound(m.inbound)
	r.Forget(m.lists.Forget)
	return nil
}

// Blocked reports whether the owner blocks an address. A list that cannot be read
// blocks nobody.
func (m *Module) Blocked(ctx context.Context, owner, other address.Address) bool {
	s, err := m.set(ctx, owner)
	return err == nil && s.blocks(other) && other.Bare() != owner
}

func (m *Module) set(ctx context.Context, owner address.Address) (set, error) {
	if l := m.lists.Loaded(owner); l != nil { // the account is online
		return *l.set.Load(), nil
	}
	e, err := m.lists.Hold(ctx, owner)
	if err != nil {
		return nil, err
	}
	defer e.Release()
	return *e.Value.set.Load(), nil
}

// errBlocked answers who writes to somebody they block (XEP-0191 §3.3).
var errBlocked = &server.StanzaError{
	Type: "cancel", Condition: "not-acceptable", App: []byte("<blocked xmlns='urn:xmpp:blocking:errors'/>"),
}

func (m *Module) outbound(_ context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
	own := m.slot.Get(s)
	if own == nil || st.To.IsZero() {
		return st, nil
	}
	blocked := *own.entry.Value.set.Load()
	if len(blocked) == 0 || st.To.Bare() == s.Owner() || !blocked.blocks(st.To) {
		return st, nil
	}
	return nil, errBlocked
}

func (m *Module) inbound(ctx context.Context, owner address.Address, st *server.Stanza) (*server.Stanza, error) {
	blocked, err := m.set(ctx, owner)
	if err != nil {
		return nil, err
	}
	if len(blocked) == 0 || st.From.Bare() == owner || !blocked.blocks(st.From) {
		return st, nil
	}
	switch { // XEP-0191 §3.3
	case st.Kind == server.Presence, st.Kind == server.IQStanza && st.Type != "get" && st.Type != "set":
		return nil, nil
	}
	return nil, server.ErrServiceUnavailable
}

// get answers with the list (XEP-0191 §3.2). It is queued with the list's lock held,
// so that no push overtakes it.
func (m *Module) get(ctx context.Context, q *server.IQ) ([]byte, error) {
	own, l, err := m.own(q, "get")
	if err != nil {
		return nil, err
	}
	l.write.Lock()
	defer l.write.Unlock()
	own.asked.Store(true)
	blocked := *l.set.Load()
	all := make([]address.Address, 0, len(blocked))
	for a := range blocked {
		all = append(all, a)
	}
	if err := q.Session.SendIn(ctx, q.Stanza.Result(appendItems(nil, "blocklist", all))); err != nil {
		return nil, err
	}
	return nil, server.ErrAnswered
}

// own is the session and the list of a request of the account's own.
func (m *Module) own(q *server.IQ, typ string) (*session, *list, error) {
	if !q.Own() {
		return nil, nil, server.ErrForbidden
	}
	if q.Type != typ {
		return nil, nil, server.ErrBadRequest
	}
	own := m.slot.Get(q.Session)
	return own, own.entry.Value, nil
}

// block adds to the list (XEP-0191 §3.3).
func (m *Module) block(ctx context.Context, q *server.IQ) ([]byte, error) {
	_, l, err := m.own(q, "set")
	if err != nil {
		return nil, err
	}
	items, err := readItems(q.Owner, q.Payload)
	if err == nil && len(items) == 0 {
		err = server.ErrBadRequest
	}
	if err != nil {
		return nil, err
	}
	before, err := m.add(ctx, l, q.Owner, items)
	if err != nil {
		return nil, err
	}
	return nil, m.forWatchers(ctx, q.Owner, items, func(ctx context.Context, owner, to address.Address) error {
		if before.blocks(to) { // it sees nothing anyway
			return nil
		}
		return m.presence.Hide(ctx, owner, to)
	})
}

func (m *Module) add(ctx context.Context, l *list, owner address.Address, items []address.Address) (before set, err error) {
	l.write.Lock()
	defer l.write.Unlock()
	before = *l.set.Load()
	err = m.blocks.AddBlocks(context.WithoutCancel(ctx), owner, items, m.limits.Items)
	if errors.Is(err, store.ErrFull) {
		err = server.ErrResourceConstraint.Because("at most " + strconv.Itoa(m.limits.Items) + " addresses can be blocked")
	}
	if err != nil {
		return nil, err
	}
	l.put(l.copy(), items)
	m.push(ctx, owner, appendItems(nil, "block", items))
	return before, nil
}

// unblock takes from the list, everything if nothing is named (XEP-0191 §3.4, §3.5).
func (m *Module) unblock(ctx context.Context, q *server.IQ) ([]byte, error) {
	_, l, err := m.own(q, "set")
	if err != nil {
		return nil, err
	}
	items, err := readItems(q.Owner, q.Payload)
	if err != nil {
		return nil, err
	}
	freed, err := m.take(ctx, l, q.Owner, items)
	if err != nil {
		return nil, err
	}
	return nil, m.forWatchers(ctx, q.Owner, freed, m.presence.Show)
}

func (m *Module) take(ctx context.Context, l *list, owner address.Address, items []address.Address) (freed []address.Address, err error) {
	l.write.Lock()
	defer l.write.Unlock()
	ctx = context.WithoutCancel(ctx)
	rest := l.copy()
	if len(items) == 0 {
		for a := range rest {
			freed = append(freed, a)
		}
		rest = set{}
		err = m.blocks.ClearBlocks(ctx, owner)
	} else {
		for _, a := range items {
			if _, blocked := rest[a]; blocked {
				freed = append(freed, a)
				delete(rest, a)
			}
		}
		err = m.blocks.RemoveBlocks(ctx, owner, items)
	}
	if err != nil {
		return nil, err
	}
	l.put(rest, nil)
	m.push(ctx, owner, appendItems(nil, "unblock", items))
	return freed, nil
}

// push tells the sessions that have asked for the list.
func (m *Module) push(ctx context.Context, owner address.Address, payload []byte) {
	for _, s := range m.srv.Sessions(owner) {
		if own := m.slot.Get(s); own != nil && own.asked.Load() {
			_ = s.SendIn(ctx, server.NewIQ(owner, s.JID(), "set", "blocking-"+strconv.FormatUint(m.pushes.Add(1), 10), payload))
		}
	}
}

// forWatchers does something to the presence of each address, and of each watcher
// that a domain stands for.
func (m *Module) forWatchers(ctx context.Context, owner address.Address, list []address.Address, do func(ctx context.Context, owner, to address.Address) error) error {
	var watchers []address.Address
	for _, a := range list {
		if err := do(ctx, owner, a); err != nil {
			return err
		}
		if !a.IsServer() {
			continue
		}
		if watchers == nil {
			var err error
			if watchers, err = m.presence.Watchers(ctx, owner); err != nil {
				return err
			}
		}
		for _, w := range watchers {
			if w.Local != "" && w.Domain == a.Domain {
				if err := do(ctx, owner, w); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
