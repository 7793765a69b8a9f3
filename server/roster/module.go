// Package roster is contact lists and presence (RFC 6121 §2, §3 and §4): who is on
// whose roster, who sees whom, and who is there.
//
// A roster is in memory while its account is online, so that a presence finds its
// watchers without the storage; the rosters of others are read when a contact does
// something about them, and some of them kept ([Limits.Idle]).
//
// What the RFC's tables say of subscriptions is in [Outbound] and [Inbound].
package roster

import (
	"context"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/peraccount"
	"xmpp-gw/server/store"
)

// Limits bounds what one account can have. Zero fields are the defaults.
type Limits struct {
	// Items is how many contacts a roster has at most (default 10,000).
	Items int
	// Waiting is how many requests of others wait for an account at most; what
	// comes beyond is dropped without an answer (default 200).
	Waiting int
	// Asking is how many of its own requests may be unanswered (default 2,000).
	Asking int
	// Burst requests may be sent at once (default 200), and then one every Interval
	// (default a second).
	Burst    int
	Interval time.Duration
	// Directed is how many addresses a session may have sent directed presence to
	// that are not among its watchers (default 500).
	Directed int
	// Idle is how many items of rosters whose owners are offline stay in memory
	// (default 50,000, some 15 MB).
	Idle int
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{{&l.Items, 10000}, {&l.Waiting, 200}, {&l.Asking, 2000}, {&l.Burst, 200}, {&l.Directed, 500}, {&l.Idle, 50000}} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	if l.Interval <= 0 {
		l.Interval = time.Second
	}
	return l
}

// Module is rosters and presence.
type Module struct {
	limits   Limits
	srv      *server.Server
	rosters  store.Rosters
	accounts *peraccount.Cache[account]
	slot     server.SessionSlot[session]
	blocked  func(ctx context.Context, owner, other address.Address) bool
	approved []func(ctx context.Context, owner, contact address.Address)
}

// New makes the module.
func New(l Limits) *Module {
	return &Module{
		limits:  l.withDefaults(),
		blocked: func(context.Context, address.Address, address.Address) bool { return false },
	}
}

// HideFrom makes the module send no presence of an account to whom it has blocked.
// It is called before the server runs.
func (m *Module) HideFrom(blocked func(ctx context.Context, owner, other address.Address) bool) {
	m.blocked = blocked
}

// Approved registers who is told that an owner has come to see a contact's presence,
// before the server runs. It is called while the contact's subscription stanza is
// dealt with, and must not send one.
func (m *Module) Approved(f func(ctx context.Context, owner, contact address.Address)) {
	m.approved = append(m.approved, f)
}

// Name implements [server.Module].
func (m *Module) Name() string { return "roster" }

// Setup implements [server.Module].
func (m *Module) Setup(r *server.Registry) error {
	m.srv = r.Server()
	m.rosters = m.srv.Store()
	m.accounts = peraccount.New(m.load, (*account).weight, m.limits.Idle)
	m.slot = server.NewSessionSlot[session](r)

	r.IQ(server.AtAccount, nsRoster, "query", m.query)
	r.StreamFeature(func(context.Context, *server.Session) []byte {
		// RFC 6121 §2.6.1 and §3.4.1
		return []byte("<ver xmlns='urn:xmpp:features:rosterver'/><sub xmlns='urn:xmpp:features:pre-approval'/>")
	})
	r.Bound(m.bound)
	r.Outbound(m.outbound)
	r.Inbound(m.inbound)
	r.Unbound(m.unbound)
	r.AccountGone(m.accountGone)
	r.Forget(m.accounts.Forget)
	return nil
}

// Sees reports whether contact has a subscription to the owner's presence, or is
// the owner.
func (m *Module) Sees(ctx context.Context, owner, contact address.Address) (bool, error) {
	s, err := m.State(ctx, owner, contact)
	return s&From != 0 || owner == contact.Bare(), err
}

// State is where the owner stands with a contact.
func (m *Module) State(ctx context.Context, owner, contact address.Address) (State, error) {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return None, err
	}
	defer e.Release()
	it := e.Value.item(contact.Bare())
	return stateOf(&it), nil
}

// Groups is which of the owner's groups a contact is in.
func (m *Module) Groups(ctx context.Context, owner, contact address.Address) ([]string, error) {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return nil, err
	}
	defer e.Release()
	return e.Value.item(contact.Bare()).Groups, nil
}

// Watchers is who has a subscription to the owner's presence. It must not be changed.
func (m *Module) Watchers(ctx context.Context, owner address.Address) ([]address.Address, error) {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return nil, err
	}
	defer e.Release()
	return e.Value.watching(), nil
}

// Watching is whose presence the owner has a subscription to.
func (m *Module) Watching(ctx context.Context, owner address.Address) ([]address.Address, error) {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return nil, err
	}
	defer e.Release()
	return e.Value.watched(), nil
}

// InRoster reports whether the owner sees a contact in the roster.
func (m *Module) InRoster(ctx context.Context, owner, contact address.Address) (bool, error) {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return false, err
	}
	defer e.Release()
	return e.Value.item(contact.Bare()).InRoster, nil
}

// Reload reads an account's roster anew, as after an import. Its sessions learn of
// what has changed when they ask for the roster.
func (m *Module) Reload(ctx context.Context, owner address.Address) error {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return err
	}
	defer e.Release()
	a := e.Value
	a.write.Lock()
	defer a.write.Unlock()
	fresh, err := m.load(ctx, owner)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.items, a.removed, a.version, a.since = fresh.items, fresh.removed, fresh.version, fresh.since
	a.visible, a.waiting, a.asking = fresh.visible, fresh.waiting, fresh.asking
	a.watchers.Store(nil)
	return nil
}
