// Package peraccount keeps in memory what a module knows of accounts: read from the
// storage when it is first asked for, there as long as somebody holds it, such as a
// session, and afterwards until its room is needed.
//
//	e, err := cache.Hold(ctx, owner)
//	if err != nil {
//		return err
//	}
//	defer e.Release()
//	… e.Value …
package peraccount

import (
	"container/list"
	"context"
	"hash/maphash"
	"sync"

	"xmpp-gw/internal/address"
)

// Cache holds one *T for each account in use. It is made by [New].
type Cache[T any] struct {
	load   func(ctx context.Context, owner address.Address) (*T, error)
	weight func(*T) int
	max    int

	seed   maphash.Seed
	shards [32]shard[T]

	// idle are the entries that nobody holds, the longest unused in front.
	idleMu     sync.Mutex
	idle       list.List
	idleWeight int
}

type shard[T any] struct {
	sync.RWMutex
	entries map[address.Address]*Entry[T]
}

// Entry is what is held. Value is never nil, and its own to guard.
type Entry[T any] struct {
	Value *T

	cache *Cache[T]
	owner address.Address
	ready chan struct{} // closed when Value or err is set
	err   error

	holders int  // guarded by the shard
	gone    bool // guarded by the shard: forgotten, not in the map any more

	idleAt *list.Element // guarded by idleMu, as is weight
	weight int
}

// New makes a cache. load reads an account's value; of those that nobody holds, it
// keeps as many as weigh no more than max together, and at least one.
func New[T any](load func(ctx context.Context, owner address.Address) (*T, error), weight func(*T) int, max int) *Cache[T] {
	c := &Cache[T]{load: load, weight: weight, max: max, seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = map[address.Address]*Entry[T]{}
	}
	return c
}

func (c *Cache[T]) shard(owner address.Address) *shard[T] {
	return &c.shards[maphash.Comparable(c.seed, owner)%uint64(len(c.shards))]
}

// Hold gives an account's value, reading it if need be. Several who ask at the same
// time wait for one reading. Release must be called on what it returns.
func (c *Cache[T]) Hold(ctx context.Context, owner address.Address) (*Entry[T], error) {
	s := c.shard(owner)
	s.Lock()
	e, known := s.entries[owner]
	if !known {
		e = &Entry[T]{cache: c, owner: owner, ready: make(chan struct{})}
		s.entries[owner] = e
	}
	e.holders++
	first := e.holders == 1
	s.Unlock()

	switch {
	case !known:
		// Others may wait for it, and the first one's end is not theirs.
		e.Value, e.err = c.load(context.WithoutCancel(ctx), owner)
		close(e.ready)
	case first:
		c.wake(e)
	}
	select {
	case <-e.ready:
	case <-ctx.Done():
		e.Release()
		return nil, ctx.Err()
	}
	if e.err != nil {
		c.drop(e)
		e.Release()
		return nil, e.err
	}
	return e, nil
}

// Loaded gives an account's value if it is in memory, else nil. It is for a glance:
// the value is not held.
func (c *Cache[T]) Loaded(owner address.Address) *T {
	s := c.shard(owner)
	s.RLock()
	defer s.RUnlock()
	e := s.entries[owner]
	if e == nil {
		return nil
	}
	select {
	case <-e.ready:
		return e.Value
	default:
		return nil
	}
}

// Forget makes the next Hold read the account anew. Who holds the value keeps it.
func (c *Cache[T]) Forget(owner address.Address) {
	s := c.shard(owner)
	s.RLock()
	e := s.entries[owner]
	s.RUnlock()
	if e != nil {
		c.drop(e)
	}
}

// Release ends a Hold.
func (e *Entry[T]) Release() {
	s := e.cache.shard(e.owner)
	s.Lock()
	e.holders--
	last := e.holders == 0 && !e.gone
	s.Unlock()
	if last {
		e.cache.rest(e)
	}
}

// drop takes e out of the map.
func (c *Cache[T]) drop(e *Entry[T]) {
	s := c.shard(e.owner)
	s.Lock()
	e.gone = true
	if s.entries[e.owner] == e {
		delete(s.entries, e.owner)
	}
	s.Unlock()
	c.wake(e)
}

// wake takes e from the idle ones.
func (c *Cache[T]) wake(e *Entry[T]) {
	c.idleMu.Lock()
	defer c.idleMu.Unlock()
	if e.idleAt != nil {
		c.idle.Remove(e.idleAt)
		c.idleWeight -= e.weight
		e.idleAt = nil
	}
}

// rest puts e among the idle ones, and forgets the longest unused of them.
func (c *Cache[T]) rest(e *Entry[T]) {
	weight := 1 + c.weight(e.Value)
	c.idleMu.Lock()
	defer c.idleMu.Unlock()
	if e.idleAt == nil {
		e.idleAt, e.weight = c.idle.PushBack(e), weight
		c.idleWeight += weight
	}
	for c.idleWeight > c.max && c.idle.Len() > 1 {
		old := c.idle.Remove(c.idle.Front()).(*Entry[T])
		c.idleWeight -= old.weight
		old.idleAt = nil
		c.leave(old)
	}
}

// leave takes e out of the map unless somebody has taken hold of it meanwhile.
func (c *Cache[T]) leave(e *Entry[T]) {
	s := c.shard(e.owner)
	s.Lock()
	defer s.Unlock()
	if e.holders == 0 && s.entries[e.owner] == e {
		e.gone = true
		delete(s.entries, e.owner)
	}
}
