package wire

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// async is the writing half of a Conn that never waits.
type async struct {
	mu       sync.Mutex
	raw      syscall.RawConn // nil where the connection is no socket
	try      func(fd uintptr) bool
	p        []byte // what try is to write
	n        int    // what it wrote
	err      error
	backlog  []byte        // not written yet; a goroutine is at it
	draining chan struct{} // closed when the goroutine is through; nil without one
	drained  func()
}

// Async makes writes on w return at once from now on: what the socket does not
// take is kept and written by a goroutine that exists only so long, and drained is
// called when all of it is written, or has failed. Who writes looks at
// [Conn.Blocked] first, as what is kept is not bounded here.
func (w *Conn) Async(drained func()) {
	a := &async{drained: drained, raw: w.raw}
	a.try = func(fd uintptr) bool {
		a.n, a.err = writeOnce(fd, a.p)
		return true
	}
	w.out = a
}

// Blocked reports whether bytes of an earlier write are still to be written.
func (w *Conn) Blocked() bool {
	a := w.out
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.draining != nil
}

// Failed is why a write of what was kept failed, nil if none did.
func (w *Conn) Failed() error {
	a := w.out
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Finish waits until what is kept is written, or has failed, but not beyond d.
func (w *Conn) Finish(d time.Duration) {
	_ = w.SetWriteDeadline(time.Now().Add(d))
	a := w.out
	if a == nil {
		return
	}
	a.mu.Lock()
	through := a.draining
	a.mu.Unlock()
	if through != nil {
		<-through
	}
}

// Write writes p; see [Conn.Async].
func (w *Conn) Write(p []byte) (int, error) {
	a := w.out
	if a == nil {
		return w.Conn.Write(p)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return 0, a.err
	}
	rest := p
	if a.raw != nil && a.draining == nil {
		a.p, a.n = p, 0
		if err := a.raw.Write(a.try); err != nil && a.err == nil {
			a.err = err
		}
		a.p = nil
		if a.err != nil {
			return a.n, a.err
		}
		rest = p[a.n:]
	}
	if len(rest) == 0 {
		return len(p), nil
	}
	a.backlog = append(a.backlog, rest...)
	if a.draining == nil {
		a.draining = make(chan struct{})
		go a.drain(w.Conn)
	}
	return len(p), nil
}

// drain writes what is kept, waiting for the peer.
func (a *async) drain(to net.Conn) {
	for {
		a.mu.Lock()
		b := a.backlog
		a.backlog = nil
		if len(b) == 0 || a.err != nil {
			close(a.draining)
			a.draining = nil
			a.mu.Unlock()
			a.drained()
			return
		}
		a.mu.Unlock()
		if _, err := to.Write(b); err != nil {
			a.mu.Lock()
			a.err = err
			a.mu.Unlock()
		}
	}
}
