package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"xmpp-gw/internal/control"
	"xmpp-gw/internal/service"
)

// The kinds of listener, by the names that configuration, socket units and
// status give them.
const (
	kindSTARTTLS  = "c2s"
	kindDirectTLS = "c2s-tls"
	kindMetrics   = "metrics"

	// Those of the node's clients alone.
	kindNodeSTARTTLS  = "node-c2s"
	kindNodeDirectTLS = "node-c2s-tls"
)

// place is where to listen, and for what.
type place struct{ kind, address string }

// listen opens the listener at address: IP:PORT, or unix:PATH with mode 0600.
// No name is accepted, as it would be looked up.
func listen(p place) (net.Listener, error) {
	l, err := open(p.address)
	if err != nil {
		return nil, listenProblem(p, err)
	}
	return l, nil
}

func open(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return openUnix(path)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is not IP:PORT or unix:PATH", address)
	}
	return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(ap))
}

// openUnix listens at path, where a daemon that was killed may have left its
// socket. The lock of the control socket keeps a second daemon out; that of
// another program is noticed by trying.
func openUnix(path string) (net.Listener, error) {
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if errors.Is(err, syscall.EADDRINUSE) && control.Stale(path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = net.ListenUnix("unix", addr)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// missingIPv6 reports whether err says that this machine has not the address
// family or the loopback address of an IPv6 place. The defaults listen on ::1
// too, and a machine without IPv6 is none to refuse.
func missingIPv6(p place, err error) bool {
	ap, parseErr := netip.ParseAddrPort(p.address)
	return parseErr == nil && ap.Addr() == netip.IPv6Loopback() &&
		(errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT))
}

// listenProblem is what a person is told of a place that cannot be listened at.
func listenProblem(p place, err error) error {
	key := "listen." + strings.ReplaceAll(p.kind, "-", "_")
	if name, ok := strings.CutPrefix(p.kind, "node-"); ok {
		key = "node." + strings.ReplaceAll(name, "-", "_")
	}
	problem := &problem{
		what: fmt.Sprintf("cannot listen at %s (%s)", p.address, kindText(p.kind)),
		why:  err.Error(),
		hint: fmt.Sprintf("give %s another address in the configuration", key),
		err:  err,
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		problem.why = "another program listens there"
		problem.hint = fmt.Sprintf("it may be another xmpp-gw (`xmpp-gw status` tells) or an XMPP server such as Prosody or ejabberd; "+
			"stop it, or give %s another port in the configuration", key)
	case errors.Is(err, fs.ErrPermission):
		problem.why = "this user may not"
		if !strings.HasPrefix(p.address, "unix:") {
			problem.hint = fmt.Sprintf("ports below 1024 are root's: give %s a higher one, or let systemd open the socket (systemd/)", key)
		}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		problem.why = "this machine has no such address"
	case errors.Is(err, fs.ErrNotExist):
		problem.why = "the folder does not exist"
	}
	return problem
}

// activated are the sockets that the service manager opened, by kind.
func activated() (map[string][]net.Listener, error) {
	sockets, err := service.Listeners(kindSTARTTLS, kindDirectTLS, kindMetrics)
	if err != nil {
		return nil, &problem{what: "the sockets of the service manager cannot be used", why: err.Error()}
	}
	byKind := make(map[string][]net.Listener)
	for _, s := range sockets {
		byKind[s.Name] = append(byKind[s.Name], s.Listener)
	}
	return byKind, nil
}

// placesOf are the places of such sockets.
func placesOf(sockets map[string][]net.Listener) (list []control.Listener) {
	for _, kind := range slices.Sorted(maps.Keys(sockets)) {
		for _, l := range sockets[kind] {
			list = append(list, control.Listener{Kind: kind, Address: addressText(l)})
		}
	}
	return list
}

// addressText is where l listens, as status shows it.
func addressText(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}
