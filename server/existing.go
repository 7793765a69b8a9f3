package server

import (
	"sync"

	"xmpp-gw/internal/address"
)

// existing remembers accounts that there are, so that what comes for somebody who is
// offline need not ask the storage each time. Accounts that there are not it does not
// remember: anybody can make those up.
type existing struct {
	mu    sync.RWMutex
	known map[address.Address]struct{}
	gone  uint64 // accounts that were deleted
}

// maxExisting is how many are remembered, some 10 MB.
const maxExisting = 50_000

// has reports whether an account is known to be there. When it is not, what is read
// from now on may be noted, under gone.
func (e *existing) has(owner address.Address) (known bool, gone uint64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, known = e.known[owner]
	return known, e.gone
}

// note remembers an account that was read, unless one was deleted since.
func (e *existing) note(owner address.Address, gone uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case gone != e.gone:
		return
	case e.known == nil || len(e.known) >= maxExisting:
		e.known = make(map[address.Address]struct{})
	}
	e.known[owner] = struct{}{}
}

// forget is called when an account has been deleted.
func (e *existing) forget(owner address.Address) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.known, owner)
	e.gone++
}
