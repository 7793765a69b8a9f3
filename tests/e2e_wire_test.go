//go:build e2e

package tests_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// wire passes connections on to a server, and can be cut.
type wire struct {
	l      net.Listener
	target string

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// newWire makes a wire to target until the test ends.
func newWire(t *testing.T, target string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, target: target, open: make(map[net.Conn]struct{})}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { w.pass(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.Cut()
		serving.Wait()
	})
	return w
}

func (w *wire) Addr() string { return w.l.Addr().String() }

// Open is how many connections there are.
func (w *wire) Open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open) / 2
}

// Cut ends all connections at once, without a word in their streams.
func (w *wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		c.Close()
	}
}

func (w *wire) pass(near net.Conn) {
	far, err := net.Dial("tcp", w.target)
	if err != nil {
		near.Close()
		return
	}
	w.mu.Lock()
	w.open[near], w.open[far] = struct{}{}, struct{}{}
	w.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			io.Copy(way[1], way[0])
			near.Close()
			far.Close()
		})
	}
	both.Wait()
	w.mu.Lock()
	delete(w.open, near)
	delete(w.open, far)
	w.mu.Unlock()
}
