package roster

import (
	"context"
	"slices"
	"strconv"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// query answers roster gets and sets (RFC 6121 §2.1.3, §2.1.5).
func (m *Module) query(ctx context.Context, q *server.IQ) ([]byte, error) {
	if !q.Own() {
		return nil, server.ErrForbidden // §2.3.3
	}
	s := m.slot.Get(q.Session)
	if q.Type == "get" {
		return nil, m.get(ctx, q, s)
	}
	c, bad := readSet(q.Owner, q.Payload)
	if bad != nil {
		return nil, bad
	}
	if c.remove {
		return nil, m.remove(ctx, s.account(), c.contact)
	}
	return nil, m.update(ctx, s.account(), c)
}

// update adds a contact or changes its name and groups (§2.3, §2.4).
func (m *Module) update(ctx context.Context, a *account, c change) error {
	a.write.Lock()
	defer a.write.Unlock()
	it := a.item(c.contact)
	old := it
	it.InRoster, it.Name, it.Groups = true, c.name, c.groups
	return m.write(ctx, a, &old, it)
}

// remove takes a contact off the roster and ends the subscriptions both ways (§2.5.2).
func (m *Module) remove(ctx context.Context, a *account, contact address.Address) error {
	done, err := m.take(ctx, a, contact)
	if err != nil {
		return err
	}
	defer done()
	a.write.Lock()
	old := a.item(contact)
	if !old.InRoster {
		a.write.Unlock()
		return server.ErrItemNotFound // §2.5.3
	}
	err = m.write(ctx, a, &old, store.RosterItem{Contact: contact})
	a.write.Unlock()
	if err != nil {
		return err
	}
	return m.part(ctx, a, contact, stateOf(&old))
}

// part tells a contact that is gone from the owner's roster what that ends.
func (m *Module) part(ctx context.Context, a *account, contact address.Address, s State) error {
	if s&(To|PendingOut) != 0 {
		if err := m.srv.Route(ctx, server.NewPresence(a.owner, contact, "unsubscribe", "")); err != nil {
			return err
		}
	}
	if s&From != 0 {
		m.hide(ctx, a, contact)
	}
	if s&(From|PendingIn) != 0 {
		return m.srv.Route(ctx, server.NewPresence(a.owner, contact, "unsubscribed", ""))
	}
	return nil
}

// get answers a roster get. The answer is queued here and not returned: with the
// lock of changes held, so that no push overtakes it.
func (m *Module) get(ctx context.Context, q *server.IQ, s *session) error {
	a := s.account()
	a.write.Lock()
	defer a.write.Unlock()
	s.interested.Store(true)

	have, versioned := version(q.Payload)
	a.mu.RLock()
	now := a.version
	var changes []news
	if versioned = versioned && a.since <= have && have <= now; versioned {
		changes = a.newsSince(have)
	}
	var payload []byte
	// §2.6.2: an empty result and pushes, unless the whole is shorter
	if !versioned || len(changes) > a.visible {
		versioned = false
		payload = make([]byte, 0, 128+96*a.visible)
		payload = appendQuery(payload, now, func(b []byte) []byte {
			for _, it := range a.items {
				if it.InRoster {
					b = appendItem(b, it)
				}
			}
			return b
		})
	}
	a.mu.RUnlock()

	if err := q.Session.SendIn(ctx, q.Stanza.Result(payload)); err != nil {
		return err
	}
	if versioned {
		for _, c := range changes {
			_ = q.Session.SendIn(ctx, rosterPush(a.owner, q.Session.JID(), c.version, c.append))
		}
	}
	return server.ErrAnswered
}

// news is one contact that has changed since some version.
type news struct {
	version uint64
	append  func([]byte) []byte
}

// newsSince is what has changed in the roster, oldest first. a.mu is held.
func (a *account) newsSince(have uint64) (list []news) {
	for _, it := range a.items {
		if it.Version > have && it.InRoster {
			list = append(list, news{it.Version, func(b []byte) []byte { return appendItem(b, it) }})
		}
	}
	for c, v := range a.removed {
		if v > have {
			list = append(list, news{v, func(b []byte) []byte { return appendRemoved(b, c) }})
		}
	}
	slices.SortFunc(list, func(x, y news) int { return int(int64(x.version - y.version)) })
	return list
}

// push tells the owner's interested resources of one item (§2.1.6).
func (m *Module) push(ctx context.Context, owner address.Address, version uint64, item func([]byte) []byte) {
	for _, s := range m.srv.Sessions(owner) {
		if m.interested(s) {
			_ = s.SendIn(ctx, rosterPush(owner, s.JID(), version, item))
		}
	}
}

func rosterPush(owner, to address.Address, version uint64, item func([]byte) []byte) *server.Stanza {
	return server.NewIQ(owner, to, "set", "roster-"+strconv.FormatUint(version, 10), appendQuery(nil, version, item))
}

// accountGone ends all subscriptions of an account that is about to be deleted, so
// that nobody's roster shows them any more.
func (m *Module) accountGone(ctx context.Context, owner address.Address) error {
	e, err := m.accounts.Hold(ctx, owner)
	if err != nil {
		return err
	}
	defer e.Release()
	a := e.Value
	a.mu.RLock()
	items := make([]*store.RosterItem, 0, len(a.items))
	for _, it := range a.items {
		items = append(items, it)
	}
	a.mu.RUnlock()
	for _, it := range items {
		if err := m.part(ctx, a, it.Contact, stateOf(it)); err != nil {
			return err
		}
		a.write.Lock()
		a.remove(it.Contact, 0)
		a.write.Unlock()
	}
	return nil
}
