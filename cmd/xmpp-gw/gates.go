package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/forward"
	"xmpp-gw/internal/haproxy"
	"xmpp-gw/onion"
	"xmpp-gw/server"
)

// maxSocketPath leaves room in a unix socket's address (unix(7): 108 bytes).
const maxSocketPath = 100

// gates are the daemon's sockets between tor and the targets of the published
// services: one a port where tor tells circuits apart. Where it does not, tor
// connects to the target itself, and the gate only knows whether that answers.
type gates struct {
	dir    string
	limits func() forward.Limits
	log    *slog.Logger
	node   *node // nil: there is none

	mu        sync.Mutex
	open      map[gateKey]*gate
	temporary string // a folder of our own, where dir's path is too long
}

type gateKey struct {
	service string
	port    int
}

// gate is one of them.
type gate struct {
	settings  gateSettings
	forwarder *forward.Forwarder // nil: tor connects to the target, or it is the node
	probe     *forward.Probe     // where tor connects to the target
	inside    *forward.Gate      // where the node is the target
	at        string             // what tor connects to; "": the target
}

type gateSettings struct {
	target, proxy string
	circuits      bool
	limits        forward.Limits
}

func newGates(dir string, limits func() forward.Limits, log *slog.Logger) *gates {
	return &gates{dir: dir, limits: limits, log: log, open: make(map[gateKey]*gate)}
}

// targets opens the gates of a service and gives what tor shall connect to. A
// gate whose settings changed is replaced, and its connections end.
func (g *gates) targets(service onion.Service) ([]onion.Port, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ports []onion.Port
	for _, p := range service.Ports {
		key := gateKey{service.Name, p.Virtual}
		want := gateSettings{p.Target, service.Proxy, service.CircuitID, g.limits()}
		if old := g.open[key]; old != nil && old.settings != want {
			old.close()
			delete(g.open, key)
		}
		if g.open[key] == nil {
			one, err := g.make(key, want)
			if err != nil {
				return nil, err
			}
			g.open[key] = one
		}
		if at := g.open[key].at; at != "" {
			p.Target = at
		}
		ports = append(ports, p)
	}
	return ports, nil
}

func (g *gates) make(key gateKey, s gateSettings) (*gate, error) {
	if kind, ok := nodeTarget(s.target); ok {
		return g.makeNode(key, s, kind)
	}
	target, err := egress.ParseLocal(s.target)
	if err != nil {
		return nil, err
	}
	log := g.log.With("service", key.service, "port", key.port)
	one := &gate{settings: s}
	if !s.circuits {
		one.probe = forward.NewProbe(target.DialContext, log)
		return one, nil
	}
	version, err := haproxy.ParseVersion(s.proxy)
	if err != nil {
		return nil, err
	}
	l, err := g.socket(key)
	if err != nil {
		return nil, err
	}
	one.at = addressText(l)
	one.forwarder = forward.To(forward.NewGate(l, forward.Options{CircuitID: true, Limits: s.limits, Log: log}),
		forward.Target{Dial: target.DialContext, Proxy: version})
	return one, nil
}

// makeNode makes a gate behind which the node is.
func (g *gates) makeNode(key gateKey, s gateSettings, kind server.ListenerKind) (*gate, error) {
	if err := g.node.notForOthers(); err != nil {
		return nil, err
	}
	if s.proxy != "" {
		return nil, errors.New("the node knows the circuits without a PROXY header; publish it again with --proxy none")
	}
	var l net.Listener
	var err error
	if s.circuits {
		l, err = g.socket(key)
	} else { // perhaps the system's tor, another user, who may not connect to our sockets
		l, err = open("127.0.0.1:0")
	}
	if err != nil {
		return nil, err
	}
	one := &gate{settings: s, at: addressText(l)}
	one.inside = forward.NewGate(l, forward.Options{
		CircuitID: s.circuits, Limits: s.limits, Log: g.log.With("service", key.service, "port", key.port),
	})
	go g.node.serveOnion(one.inside, kind)
	return one, nil
}

// socket opens the socket of a port.
func (g *gates) socket(key gateKey) (net.Listener, error) {
	dir, err := g.folder()
	if err != nil {
		return nil, err
	}
	l, err := openUnix(filepath.Join(dir, fmt.Sprintf("%s-%d", key.service, key.port)))
	if err != nil {
		return nil, fmt.Errorf("open the socket for an onion service: %w", err)
	}
	return l, nil
}

// folder is where the sockets are: this user's alone, and with a path that the
// kernel takes.
func (g *gates) folder() (string, error) {
	if len(g.dir)+len("/-65535")+32 <= maxSocketPath { // names have 32 letters at most
		return g.dir, os.MkdirAll(g.dir, 0o700)
	}
	var err error
	if g.temporary == "" {
		g.temporary, err = os.MkdirTemp("", "xmpp-gw-") // 0700
	}
	return g.temporary, err
}

// keep closes the gates of all other services than these, and of their ports.
func (g *gates) keep(services []onion.Service) {
	wanted := make(map[gateKey]bool)
	for _, s := range services {
		for _, p := range s.Ports {
			wanted[gateKey{s.Name, p.Virtual}] = true
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, one := range g.open {
		if !wanted[key] {
			one.close()
			delete(g.open, key)
		}
	}
}

// close closes all of them and removes the sockets.
func (g *gates) close() {
	g.keep(nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.temporary != "" {
		os.RemoveAll(g.temporary)
	}
	os.Remove(g.dir) // empty now
}

// check says whether the target of a port answers, and how many connections its
// limits turned away.
func (g *gates) check(ctx context.Context, service string, port int) (refused uint64, err error) {
	g.mu.Lock()
	one := g.open[gateKey{service, port}]
	g.mu.Unlock()
	switch {
	case one == nil:
		return 0, nil
	case one.inside != nil:
		return one.inside.Refused(), nil
	case one.forwarder == nil:
		return 0, one.probe.Check(ctx)
	}
	return one.forwarder.Refused(), one.forwarder.Check(ctx)
}

func (o *gate) close() {
	if o.forwarder != nil {
		o.forwarder.Close()
	}
	if o.inside != nil {
		o.inside.Close()
	}
}
