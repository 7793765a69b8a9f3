package main

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"

	"xmpp-gw/internal/control"
)

// listenerSet is where the daemon listens. A reload changes it in two steps, so
// that a place which cannot be opened leaves everything as it was.
type listenerSet struct {
	// serve starts to serve l, and returns what ends that; it closes l too.
	serve func(l net.Listener, kind string) io.Closer

	mu    sync.Mutex
	open  map[place]*openListener
	order []place
	fixed map[string]bool // kinds whose sockets the service manager opened
}

type openListener struct {
	net.Listener
	end io.Closer
}

func newListenerSet(serve func(net.Listener, string) io.Closer) *listenerSet {
	return &listenerSet{serve: serve, open: make(map[place]*openListener), fixed: make(map[string]bool)}
}

// adopt serves the sockets of the service manager. They stay, and stand in the
// place of all that the configuration says of their kind.
func (s *listenerSet) adopt(byKind map[string][]net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kind := range []string{kindSTARTTLS, kindDirectTLS, kindMetrics} {
		for _, l := range byKind[kind] {
			s.fixed[kind] = true
			s.add(place{kind, addressText(l)}, l)
		}
	}
}

func (s *listenerSet) add(p place, l net.Listener) {
	s.open[p] = &openListener{l, s.serve(l, p.kind)}
	s.order = append(s.order, p)
}

// change is a set of listeners that was opened and serves nobody yet.
type change struct {
	set     *listenerSet
	want    []place
	opened  map[place]net.Listener
	Skipped []place // IPv6 loopback on a machine without it
}

// prepare opens the places of want that are not open. The change must be applied
// or abandoned.
func (s *listenerSet) prepare(want []place) (*change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &change{set: s, want: want, opened: make(map[place]net.Listener)}
	for _, p := range want {
		if s.open[p] != nil || c.opened[p] != nil || s.fixed[p.kind] {
			continue
		}
		l, err := listen(p)
		if err != nil {
			if missingIPv6(p, err) {
				c.Skipped = append(c.Skipped, p)
				continue
			}
			c.abandon()
			return nil, err
		}
		c.opened[p] = l
	}
	return c, nil
}

// abandon closes what was opened.
func (c *change) abandon() {
	for _, l := range c.opened {
		l.Close()
	}
}

// apply serves what was opened, and closes the places that are not wanted any
// more. The sessions that came through them go on.
func (c *change) apply() {
	s := c.set
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = slices.DeleteFunc(s.order, func(p place) bool {
		if s.fixed[p.kind] || slices.Contains(c.want, p) {
			return false
		}
		s.open[p].end.Close()
		delete(s.open, p)
		return true
	})
	for _, p := range c.want {
		if l := c.opened[p]; l != nil {
			delete(c.opened, p) // it may be wanted twice
			s.add(p, l)
		}
	}
}

// list is where the daemon listens, in the order in which it was opened.
func (s *listenerSet) list() []control.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]control.Listener, 0, len(s.order))
	for _, p := range s.order {
		list = append(list, control.Listener{Kind: p.kind, Address: addressText(s.open[p])})
	}
	return list
}

// Close closes all of them.
func (s *listenerSet) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, l := range s.open {
		if err := l.end.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	clear(s.open)
	s.order = nil
	return errors.Join(errs...)
}
