package server

import (
	"context"
	"sync"
	"time"

	"xmpp-gw/internal/address"
)

// lastSeen gathers when accounts' last sessions ended. Nobody waits for that to be
// on disk, and a write of its own for each would be a good part of what a short
// session costs.
type lastSeen struct {
	mu      sync.Mutex
	at      map[address.Address]time.Time
	writing sync.Mutex // held while they are written
}

// lastSeenDelay is for how long they gather, and what is lost of them in a crash.
const lastSeenDelay = time.Second

// seen notes that the last session of an account has ended.
func (srv *Server) seen(owner address.Address) {
	l := &srv.lastSeen
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = make(map[address.Address]time.Time)
		time.AfterFunc(lastSeenDelay, srv.writeSeen)
	}
	l.at[owner] = srv.Now()
}

// writeSeen writes what has gathered, and returns when all of it is on disk.
func (srv *Server) writeSeen() {
	l := &srv.lastSeen
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	at := l.at
	l.at = nil
	l.mu.Unlock()
	if at == nil {
		return
	}
	if err := srv.cfg.Store.SetLastSeen(context.WithoutCancel(srv.ctx), at); err != nil {
		srv.log.Error("it could not be written when accounts were there last", "error", err)
	}
}
