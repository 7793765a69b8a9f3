package roster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server/store"
)

// account is one roster in memory.
//
// Its locks are taken in this order, and nothing is routed to another account with
// any but steps and order held, so that two accounts never wait for each other.
type account struct {
	owner address.Address

	// steps keeps the owner's own subscription stanzas in one order, here and at
	// the contacts. Who sends takes the contact's as well (take); what is received
	// takes none.
	steps sync.Mutex
	// write is held by whoever changes the roster: over the storage and the pushes,
	// which so come in the order of their versions.
	write sync.Mutex
	// order keeps the owner's presence in one order for whoever sees it. Routing
	// presence takes no lock of the account that receives it.
	order sync.Mutex

	// mu guards the rest. Items are never changed in place.
	mu      sync.RWMutex
	items   map[address.Address]*store.RosterItem
	removed map[address.Address]uint64 // contacts that left, by the version at which
	version uint64
	since   uint64
	visible int // items in the roster
	waiting int // requests of contacts that wait for the owner
	asking  int // requests of the owner that wait for contacts

	requests limiter // guarded by steps

	watchers atomic.Pointer[[]address.Address] // who has a subscription from the owner; nil: count anew
}

func (m *Module) load(ctx context.Context, owner address.Address) (*account, error) {
	r, err := m.rosters.Roster(ctx, owner)
	if err != nil {
		return nil, err
	}
	a := &account{
		owner: owner, version: r.Version, since: r.Since,
		items:   make(map[address.Address]*store.RosterItem, len(r.Items)),
		removed: make(map[address.Address]uint64, len(r.Removed)),
	}
	for i := range r.Items {
		it := r.Items[i]
		a.items[it.Contact] = &it
		a.count(&it, 1)
	}
	for _, it := range r.Removed {
		a.removed[it.Contact] = it.Version
	}
	return a, nil
}

// count adds an item to the counters, or takes it out of them.
func (a *account) count(it *store.RosterItem, by int) {
	if it.InRoster {
		a.visible += by
	}
	if it.Request != nil {
		a.waiting += by
	}
	if it.Ask {
		a.asking += by
	}
}

// item is what is known of a contact, a zero item for nothing.
func (a *account) item(contact address.Address) store.RosterItem {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if it := a.items[contact]; it != nil {
		return *it
	}
	return store.RosterItem{Contact: contact}
}

// weight is how many items there are. A session that another has ended may still be at
// it when it is let go.
func (a *account) weight() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.items)
}

// set puts an item into memory, which is in the storage. write is held.
func (a *account) set(it store.RosterItem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.items[it.Contact]
	if old != nil {
		a.count(old, -1)
	}
	if old == nil || old.Sub&store.SubFrom != it.Sub&store.SubFrom {
		a.watchers.Store(nil)
	}
	a.items[it.Contact] = &it
	a.count(&it, 1)
	a.version = max(a.version, it.Version)
	delete(a.removed, it.Contact)
}

// remove takes an item out of memory. write is held.
func (a *account) remove(contact address.Address, version uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.items[contact]
	if old == nil {
		return
	}
	a.count(old, -1)
	a.watchers.Store(nil)
	delete(a.items, contact)
	a.version = max(a.version, version)
	a.removed[contact] = version
	if len(a.removed) > maxRemoved {
		a.forgetOldest()
	}
}

// maxRemoved is how many contacts that left are remembered in memory.
const maxRemoved = 256

func (a *account) forgetOldest() {
	var oldest address.Address
	at := a.version + 1
	for c, v := range a.removed {
		if v < at {
			oldest, at = c, v
		}
	}
	delete(a.removed, oldest)
	a.since = max(a.since, at)
}

// watching is who sees the owner's presence. It must not be changed.
func (a *account) watching() []address.Address {
	if w := a.watchers.Load(); w != nil {
		return *w
	}
	// The lock that changes take: what is stored here cannot be older than they are.
	a.mu.Lock()
	defer a.mu.Unlock()
	w := []address.Address{}
	for c, it := range a.items {
		if it.Sub&store.SubFrom != 0 {
			w = append(w, c)
		}
	}
	a.watchers.Store(&w)
	return w
}

// watched is whose presence the owner sees.
func (a *account) watched() (list []address.Address) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for c, it := range a.items {
		if it.Sub&store.SubTo != 0 {
			list = append(list, c)
		}
	}
	return list
}

// pending is every stored request that waits for the owner.
func (a *account) pending() (list [][]byte) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.waiting == 0 {
		return nil
	}
	for _, it := range a.items {
		if it.Request != nil {
			list = append(list, it.Request)
		}
	}
	return list
}

// limiter lets burst requests pass at once, and then one every interval. The zero
// value is full.
type limiter struct {
	full time.Time // when it is full again
}

func (l *limiter) allow(now time.Time, burst int, interval time.Duration) bool {
	if l.full.Before(now) {
		l.full = now
	}
	next := l.full.Add(interval)
	if next.Sub(now) > time.Duration(burst)*interval {
		return false
	}
	l.full = next
	return true
}
