package server

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"xmpp-gw/internal/address"
)

// table holds the accounts that have sessions. It is cut into shards, and the
// sessions of an account are read without a lock, so that messages between
// different people never wait for each other.
type table struct {
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu       sync.RWMutex
	accounts map[address.Address]*account
}

// account is one that has sessions.
type account struct {
	owner address.Address
	list  atomic.Pointer[[]*Session] // replaced, never changed; in the order of binding
}

// sessions are all bound ones. The slice is not to be changed.
func (a *account) sessions() []*Session {
	if l := a.list.Load(); l != nil {
		return *l
	}
	return nil
}

func (t *table) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].accounts = make(map[address.Address]*account)
	}
}

func (t *table) shard(owner address.Address) *shard {
	return &t.shards[maphash.String(t.seed, owner.Local)%uint64(len(t.shards))]
}

// get is nil for an account without sessions.
func (t *table) get(owner address.Address) *account {
	sh := t.shard(owner)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.accounts[owner]
}

// add gives a session its place. It fails, and returns who has it, when the
// resource is taken, or when there would be more than most sessions.
func (t *table) add(s *Session, most int) (holder *Session, full bool) {
	sh := t.shard(s.owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a := sh.accounts[s.owner]
	if a == nil {
		a = &account{owner: s.owner}
		sh.accounts[s.owner] = a
	}
	list := a.sessions()
	if i := slices.IndexFunc(list, func(o *Session) bool { return o.jid == s.jid }); i >= 0 {
		return list[i], false
	}
	if over(len(list)+1, most) {
		return nil, true
	}
	list = append(slices.Clone(list), s)
	a.list.Store(&list)
	return nil, false
}

// remove takes a session's place away.
func (t *table) remove(s *Session) (last bool) {
	sh := t.shard(s.owner)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a := sh.accounts[s.owner]
	if a == nil {
		return false
	}
	list := slices.DeleteFunc(slices.Clone(a.sessions()), func(o *Session) bool { return o == s })
	a.list.Store(&list)
	if len(list) == 0 {
		delete(sh.accounts, s.owner)
	}
	return len(list) == 0
}

// all are the sessions of all accounts.
func (t *table) all() []*Session {
	var list []*Session
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.RLock()
		for _, a := range sh.accounts {
			list = append(list, a.sessions()...)
		}
		sh.mu.RUnlock()
	}
	return list
}

// Sessions are all sessions of an account, in the order in which they were bound,
// also those that wait to be resumed. The slice is not to be changed.
func (s *Server) Sessions(owner address.Address) []*Session {
	if a := s.table.get(owner.Bare()); a != nil {
		return a.sessions()
	}
	return nil
}

// Session is the session of a full address, nil for none.
func (s *Server) Session(full address.Address) *Session {
	for _, one := range s.Sessions(full) {
		if one.jid == full {
			return one
		}
	}
	return nil
}

// EachSession calls f with every session of the server until it returns false.
func (s *Server) EachSession(f func(*Session) bool) {
	for _, one := range s.table.all() {
		if !f(one) {
			return
		}
	}
}
