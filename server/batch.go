package server

import (
	"context"
	"slices"
	"sync"
)

// batch is the outboxes to which one client's stanzas have added something. They
// are written out when that client has nothing more to read, so that a burst of
// stanzas makes one write for each of those who receive it.
type batch struct {
	mu      sync.Mutex
	running bool // somebody will call flush
	dirty   []*outbox
}

// open says that flush will be called.
func (b *batch) open() {
	b.mu.Lock()
	b.running = true
	b.mu.Unlock()
}

// add reports false when nobody will flush: then the caller does.
func (b *batch) add(o *outbox) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.running {
		return false
	}
	// A few that come again are no harm.
	if !slices.Contains(b.dirty[max(0, len(b.dirty)-8):], o) {
		b.dirty = append(b.dirty, o)
	}
	return true
}

// flush writes all out. Its error is always nil.
func (b *batch) flush() error {
	b.mu.Lock()
	list := b.dirty
	b.dirty, b.running = nil, false
	b.mu.Unlock()
	for _, o := range list {
		o.flush()
	}
	return nil
}

// batchContext carries a session's batch to what its stanzas cause.
type batchContext struct {
	context.Context
	batch *batch
}

type batchKey struct{}

// Value finds the batch behind contexts made from this one.
func (c *batchContext) Value(key any) any {
	if _, ok := key.(batchKey); ok {
		return c.batch
	}
	return c.Context.Value(key)
}

// batchOf is nil where there is none.
func batchOf(ctx context.Context) *batch {
	if c, ok := ctx.(*batchContext); ok {
		return c.batch
	}
	b, _ := ctx.Value(batchKey{}).(*batch)
	return b
}
