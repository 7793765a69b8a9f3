package store

import (
	"errors"
	"sync"
	"time"

	"xmpp-gw/internal/address"
)

// Owners have a number that stands for them in every table. It is given with the
// first thing that they own, and taken back with the account.

// ownerCache knows the numbers that are on disk.
type ownerCache struct {
	mu  sync.RWMutex
	ids map[address.Address]int64
}

// maxOwners is how many are remembered, about 15 MB.
const maxOwners = 100_000

func (c *ownerCache) get(a address.Address) (int64, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	id, ok := c.ids[a]
	return id, ok
}

func (c *ownerCache) add(ids map[address.Address]int64) {
	if len(ids) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ids)+len(ids) > maxOwners {
		clear(c.ids)
	}
	for a, id := range ids {
		c.ids[a] = id
	}
}

func (c *ownerCache) remove(a address.Address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ids, a)
}

// owner is the number of an owner for a read; ErrNotFound for one that owns nothing.
func (d *DB) owner(s session, a address.Address) (int64, error) {
	a = a.Bare()
	if id, ok := d.owners.get(a); ok {
		return id, nil
	}
	// What a read finds is not remembered: the account might be removed at this
	// very moment, and only the writer knows in which order.
	var id int64
	err := s.get(`SELECT id FROM owner WHERE domain = ? AND local = ?`, []any{a.Domain, a.Local}, &id)
	return id, err
}

// owner is the number of an owner for a write, a new one if need be.
func (t *tx) owner(a address.Address) (int64, error) {
	id, err := t.knownOwner(a)
	if !errors.Is(err, ErrNotFound) {
		return id, err
	}
	a = a.Bare()
	// The roster's version begins at the time: a client that kept the version of
	// an account that was removed and made anew must not find it valid.
	now := time.Now().UnixMicro() // nobody changes a roster so often that its version overtakes the time
	err = t.get(`INSERT INTO owner (local, domain, roster_version, roster_since) VALUES (?, ?, ?, ?) RETURNING id`,
		[]any{a.Local, a.Domain, now, now}, &id)
	if err != nil {
		return 0, err
	}
	t.owners[a] = id
	return id, nil
}

// knownOwner is ErrNotFound for an owner that owns nothing.
func (t *tx) knownOwner(a address.Address) (int64, error) {
	a = a.Bare()
	if id, ok := t.owners[a]; ok {
		return id, nil
	}
	if id, ok := t.db.owners.get(a); ok && !t.gone[a] {
		return id, nil
	}
	var id int64
	err := t.get(`SELECT id FROM owner WHERE domain = ? AND local = ?`, []any{a.Domain, a.Local}, &id)
	if err == nil {
		t.owners[a] = id
	}
	return id, err
}
