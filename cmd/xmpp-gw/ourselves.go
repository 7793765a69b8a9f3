package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"xmpp-gw/internal/control"
)

// notOurselves refuses a target where this program listens for its owner: whoever
// knew the onion address could go out by the owner's routes, or, through the
// control socket, have all keys.
func (s *onionShelf) notOurselves(target string) error {
	if !slices.ContainsFunc(s.ours(), func(place string) bool { return leadsTo(target, place) }) {
		return nil
	}
	return &control.Error{
		What: "the target " + target + " is this gateway itself",
		Why:  "strangers would go out by your routes, or command it",
		Hint: "name the server that is to be published; give it, or listen.c2s, another port if both want this one",
	}
}

// ours is where this program listens for its owner, as far as it is known: for a
// daemon its listeners, else what the configuration says. The node's are for
// others.
func (s *onionShelf) ours() []string {
	list := slices.Clone(s.sockets)
	add := func(kind, address string) {
		if kind != kindNodeSTARTTLS && kind != kindNodeDirectTLS {
			list = append(list, address)
		}
	}
	if s.listening != nil {
		for _, l := range s.listening() {
			add(l.Kind, l.Address)
		}
		return list
	}
	for _, p := range s.settings().places() {
		add(p.kind, p.address)
	}
	return list
}

// leadsTo reports whether a connection to target arrives at a listener at place,
// however the two are spelled. Both are IP:PORT or unix:PATH; localhost is a
// number by now.
func leadsTo(target, place string) bool {
	path, unix := strings.CutPrefix(target, "unix:")
	other, otherUnix := strings.CutPrefix(place, "unix:")
	if unix || otherUnix {
		return unix && otherUnix && samePath(path, other)
	}
	t, err := netip.ParseAddrPort(target)
	p, perr := netip.ParseAddrPort(place)
	if err != nil || perr != nil || t.Port() != p.Port() {
		return false
	}
	to, at := t.Addr().Unmap().WithZone(""), p.Addr().Unmap().WithZone("")
	switch {
	case to == at:
		return true
	case at.IsUnspecified(): // every address of this machine
		return to.IsUnspecified() || to.IsLoopback() || isOwn(to)
	}
	// Linux takes a connection to 0.0.0.0 or :: for one to its loopback address.
	return to.IsUnspecified() && at.IsLoopback()
}

// isOwn reports whether a is an address of this machine, or nobody can tell.
func isOwn(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(all, func(own net.Addr) bool {
		prefix, err := netip.ParsePrefix(own.String())
		return err == nil && prefix.Addr().Unmap().WithZone("") == a
	})
}

func samePath(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	two, err := os.Stat(b)
	return err == nil && os.SameFile(one, two)
}
