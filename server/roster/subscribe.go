package roster

import (
	"context"
	"errors"
	"strconv"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// maxRequest is how much of a request that waits is kept, in bytes. What is longer
// is kept without its content.
const maxRequest = 8 << 10

// Subscription does what a presence stanza of this type from the owner to a contact
// would do: subscribe, subscribed, unsubscribe or unsubscribed.
func (m *Module) Subscription(ctx context.Context, owner, contact address.Address, typ string) error {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return err
	}
	defer e.Release()
	return m.send(ctx, e.Value, server.NewPresence(owner, contact.Bare(), typ, ""))
}

// Approve notes that a contact's request is granted when it comes, as the owner's own
// pre-approval does (RFC 6121 §3.4). It sends the contact nothing, so that it may be
// called from a hook that looks at that very request.
func (m *Module) Approve(ctx context.Context, owner, contact address.Address) error {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return err
	}
	defer e.Release()
	a := e.Value
	a.write.Lock()
	defer a.write.Unlock()
	it := a.item(contact.Bare())
	old := it
	if stateOf(&it)&From == 0 {
		it.Approved, it.InRoster = true, true
	}
	return m.write(ctx, a, &old, it)
}

// send handles the owner's own subscription stanza, between bare addresses
// (RFC 6121 §3.1.2, §3.1.5, §3.2.2, §3.3.2, §3.4.2).
func (m *Module) send(ctx context.Context, a *account, st *server.Stanza) error {
	contact := st.To
	if contact == a.owner {
		return nil // everybody sees themselves
	}
	done, err := m.take(ctx, a, contact)
	if err != nil {
		return err
	}
	defer done()
	before, step, err := m.sendStep(ctx, a, contact, st.Type)
	if err != nil || !step.Pass {
		return err
	}
	if st.Type == "unsubscribed" && before&From != 0 {
		m.hide(ctx, a, contact) // §3.2.2
	}
	if err := m.srv.Route(ctx, st); err != nil {
		return err
	}
	if st.Type == "subscribed" {
		m.show(ctx, a, contact) // §3.1.5
	}
	return nil
}

// take locks the steps of an account and, where that lives here too, of the contact:
// what the two say to each other at the same time, answers of the server included,
// happens one after the other, or they would come to stand differently.
func (m *Module) take(ctx context.Context, a *account, contact address.Address) (done func(), err error) {
	here, err := m.srv.Exists(ctx, contact)
	if err != nil {
		return nil, err
	}
	if !here || contact == a.owner {
		a.steps.Lock()
		return a.steps.Unlock, nil
	}
	e, err := m.accounts.Hold(ctx, contact)
	if err != nil {
		return nil, err
	}
	first, second := &a.steps, &e.Value.steps
	if contact.String() < a.owner.String() { // everybody takes two in the same order
		first, second = second, first
	}
	first.Lock()
	second.Lock()
	return func() {
		second.Unlock()
		first.Unlock()
		e.Release()
	}, nil
}

// sendStep makes the change of the owner's roster.
func (m *Module) sendStep(ctx context.Context, a *account, contact address.Address, typ string) (before State, step Step, err error) {
	a.write.Lock()
	defer a.write.Unlock()
	it := a.item(contact)
	old := it
	before = stateOf(&it)
	step = Outbound(before, typ)
	if typ == "subscribe" {
		if !a.requests.allow(m.srv.Now(), m.limits.Burst, m.limits.Interval) {
			return before, step, server.ErrResourceConstraint.Because("so many requests at a time are not allowed; try again in a while")
		}
		if step.State&^before&PendingOut != 0 && a.asking >= m.limits.Asking {
			return before, step, server.ErrResourceConstraint.Because("too many requests are unanswered")
		}
	}
	setState(&it, step.State, nil)
	switch {
	case step.Approve: // §3.4.2: also for somebody who is not in the roster yet
		it.Approved = true
	case step.Revoke:
		it.Approved = false
	}
	if step.Approve || step.Pass && (typ == "subscribe" || typ == "subscribed") {
		it.InRoster = true
	}
	return before, step, m.write(ctx, a, &old, it)
}

// receive handles a contact's subscription stanza to the owner (RFC 6121 §3.1.3,
// §3.1.6, §3.2.3, §3.3.3). It is delivered here.
func (m *Module) receive(ctx context.Context, a *account, st *server.Stanza) error {
	contact := st.From.Bare()
	before, step, err := m.receiveStep(ctx, a, contact, st)
	if err != nil {
		return err
	}
	if step.Reply {
		if err := m.srv.Route(ctx, server.NewPresence(a.owner, contact, "subscribed", "")); err != nil {
			return err
		}
		m.show(ctx, a, contact)
	}
	if st.Type == "unsubscribe" && before&From != 0 {
		m.hide(ctx, a, contact) // §3.3.3
	}
	if before&To == 0 && step.State&To != 0 {
		for _, f := range m.approved {
			f(ctx, a.owner, contact)
		}
	}
	return nil
}

func (m *Module) receiveStep(ctx context.Context, a *account, contact address.Address, st *server.Stanza) (before State, step Step, err error) {
	a.write.Lock()
	defer a.write.Unlock()
	it := a.item(contact)
	old := it
	before = stateOf(&it)
	step = Inbound(before, st.Type, it.Approved)
	if step.State&^before&PendingIn != 0 && a.waiting >= m.limits.Waiting {
		return before, Step{State: before}, nil // unanswered, so that nobody learns of it
	}
	setState(&it, step.State, request(st, step.State))
	// The storage first: what resources are told is true. Then the stanza, then the
	// push that shows what came of it (§3.1.6).
	changed, removed, err := m.save(ctx, a, &old, &it)
	if err != nil {
		return before, step, err
	}
	if step.Pass {
		m.deliver(ctx, a.owner, st)
	}
	m.pushSaved(ctx, a, &old, &it, changed, removed)
	return before, step, nil
}

// request is what is kept of a request that waits.
func request(st *server.Stanza, after State) []byte {
	if after&PendingIn == 0 {
		return nil
	}
	if raw := st.Standalone(); len(raw) <= maxRequest {
		return raw
	}
	return server.NewPresence(st.From, st.To, st.Type, "").Standalone()
}

// deliver gives the owner's resources a subscription stanza: those that are available
// a request (RFC 6121 §3.1.3), those that asked for the roster what came of theirs
// (§3.1.6, §3.2.3, §3.3.3).
func (m *Module) deliver(ctx context.Context, owner address.Address, st *server.Stanza) {
	for _, s := range m.srv.Sessions(owner) {
		if st.Type == "subscribe" && s.Available() || st.Type != "subscribe" && m.interested(s) {
			_ = s.SendIn(ctx, st) // a session that takes no more is ended by the core
		}
	}
}

// write saves an item that has changed and pushes it. a.write is held.
func (m *Module) write(ctx context.Context, a *account, old *store.RosterItem, it store.RosterItem) error {
	changed, removed, err := m.save(ctx, a, old, &it)
	if err == nil {
		m.pushSaved(ctx, a, old, &it, changed, removed)
	}
	return err
}

// save writes an item into the storage and into memory, if it differs from the old
// one: removed from both when it says nothing any more. a.write is held.
func (m *Module) save(ctx context.Context, a *account, old, it *store.RosterItem) (changed, removed bool, err error) {
	if sameItem(old, it) {
		return false, false, nil
	}
	// Half a change must not come of a session that ends.
	ctx = context.WithoutCancel(ctx)
	if !it.InRoster && !it.Approved && stateOf(it) == None {
		v, err := m.rosters.DeleteRosterItem(ctx, a.owner, it.Contact)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, false, err
		}
		a.remove(it.Contact, v)
		it.Version = v
		return true, true, nil
	}
	a.mu.RLock()
	full := it.InRoster && !old.InRoster && a.visible >= m.limits.Items
	a.mu.RUnlock()
	if full {
		return false, false, server.ErrResourceConstraint.Because("the roster has " + strconv.Itoa(m.limits.Items) + " contacts, which is the most it can have")
	}
	v, err := m.rosters.PutRosterItem(ctx, a.owner, *it, m.limits.Items+m.limits.Waiting)
	if errors.Is(err, store.ErrFull) {
		err = server.ErrResourceConstraint.Because("the roster is full")
	}
	if err != nil {
		return false, false, err
	}
	it.Version = v
	a.set(*it)
	return true, false, nil
}

// pushSaved tells the interested resources what save has done. Who only waits for an
// answer is not in the roster that the owner sees.
func (m *Module) pushSaved(ctx context.Context, a *account, old, it *store.RosterItem, changed, removed bool) {
	switch {
	case removed && old.InRoster:
		m.push(ctx, a.owner, it.Version, func(b []byte) []byte { return appendRemoved(b, it.Contact) })
	case changed && it.InRoster && !sameView(old, it):
		m.push(ctx, a.owner, it.Version, func(b []byte) []byte { return appendItem(b, it) })
	}
}

// sameView reports whether two items look alike to the owner.
func sameView(a, b *store.RosterItem) bool {
	if a.InRoster != b.InRoster || a.Sub != b.Sub || a.Ask != b.Ask || a.Approved != b.Approved ||
		a.Name != b.Name || len(a.Groups) != len(b.Groups) {
		return false
	}
	for i := range a.Groups {
		if a.Groups[i] != b.Groups[i] {
			return false
		}
	}
	return true
}

func sameItem(a, b *store.RosterItem) bool {
	return sameView(a, b) && (a.Request == nil) == (b.Request == nil)
}
