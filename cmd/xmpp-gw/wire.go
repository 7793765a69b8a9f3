package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"xmpp-gw/internal/addressbook"
	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/forward"
	"xmpp-gw/internal/localca"
	"xmpp-gw/internal/metrics"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/service"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/onion"
	"xmpp-gw/proxy"
)

// assemble puts the daemon together: the only place that knows all its parts.
//
//	settings ── rules ────────────────► proxy.Gateway ◄── localca (client leg)
//	        └── hops, DNS ─► egress.Set ─┘    ▲    ├───── tlsauth.PinStore
//	                            ▲             │    └────► node (its own domain)
//	                        torKeeper         └ listeners   ▲
//	                                              gates ────┘ (onion service)
//
// The address book of other people's onions goes into the rules, and the gateway
// tells it of logins there.
func assemble(c *console, log *slog.Logger, p paths, s *settings, load func() (*settings, error)) (_ *daemon, err error) {
	d := &daemon{
		console: c, log: log, load: load, settings: s,
		state: "starting", recorder: new(metrics.Recorder), verdicts: newVerdicts(),
	}
	d.started = time.Now().Truncate(time.Second)
	d.loaded = d.started

	tor, err := s.torOptions(p)
	if err != nil {
		return nil, err
	}
	tor.Log = log.With("part", "tor")
	tor.ServicesChanged = func() { d.publisher.changed() }
	d.tor = newTorKeeper(func(ctx context.Context, progress func(onion.Progress)) (torDaemon, error) {
		o := tor
		o.Progress = progress
		if o.Mode == onion.ModeAuto && d.publisher.needsTor() {
			o.Mode = onion.ModeManaged // the system's cannot tell circuits apart
		}
		t, err := onion.Start(ctx, o)
		if err != nil {
			return nil, err // not t, which is a nil pointer in a full interface
		}
		return t, nil
	}, d.reportTor)

	pins, err := tlsauth.OpenPins(p.pins())
	if err != nil {
		return nil, fmt.Errorf("open the remembered server keys: %w", err)
	}
	for _, err := range pins.Problems() {
		log.Warn("a remembered server key cannot be read; its domain is refused until the line is put right", "err", err)
	}
	book := p.book()
	shelf, err := openShelf(p, d.current)
	if err != nil {
		return nil, err
	}
	hosted, err := nodeDomain(shelf.services, s)
	if err != nil {
		return nil, err
	}
	d.wiring = &wiring{paths: p, tor: d.tor.SOCKS, book: book, hosted: hosted}
	live, err := d.wiring.change(s)
	if err != nil {
		return nil, err
	}
	if d.node, err = openNode(context.Background(), p, s, nodeOptions{
		domain: hosted, local: d.wiring.ServerConfig, log: log.With("part", "node"),
		shutdown: func() { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) },
	}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.node.close(context.Background())
		}
	}()
	d.accountDesk = accountDesk{d.node}
	var local proxy.Local
	if d.node != nil { // not a nil pointer in a full interface
		local = d.node
	}
	d.gateway, err = proxy.New(proxy.Config{
		Decide:            live.Decide,
		Egress:            live.Egress,
		Lookup:            live.Lookup,
		Prover:            live.Prover,
		Logs:              live.Logs,
		Limits:            live.Limits,
		PlaintextLoopback: live.PlaintextLoopback,
		Isolate:           new(egress.Isolator).For,
		Certificates:      d.wiring,
		Pins:              pins,
		Onions:            book,
		Saw:               d.verdicts.saw,
		Local:             local,
		Circuit:           d.tor.Circuit,
		Log:               log,
		Observer:          d.recorder,
	})
	if err != nil {
		return nil, err
	}
	g := newGates(filepath.Join(p.runtime, "gates"), func() forward.Limits { return d.current().onionLimits() }, log.With("part", "onion"))
	g.node = d.node
	d.publisher = newPublisher(shelf, d.tor, g, c, func() { service.Status(d.summary()) })
	d.listeners = newListenerSet(d.serve)
	shelf.listening = d.listeners.list
	return d, nil
}

// wiring is the part of the wires that a reload replaces.
type wiring struct {
	paths paths
	tor   func(context.Context) (string, error)
	book  *addressbook.Store
	// hosted is the domain of the node, "" without one.
	hosted string
	ca     atomic.Pointer[localca.CA]

	// replaced: the last change made the authority's certificate anew.
	replaced bool
}

// change makes of s what the gateway decides and dials with. Where it fails,
// nothing is changed.
func (w *wiring) change(s *settings) (proxy.Live, error) {
	set, base, err := waysOut(s, w.tor)
	if err != nil {
		return proxy.Live{}, err
	}
	anchors, err := trustAnchors(s.DNS.TrustAnchors)
	if err != nil {
		return proxy.Live{}, err
	}
	logs, err := ctLogs(s.CT.Logs)
	if err != nil {
		return proxy.Live{}, err
	}
	validator := dnssec.New(dnssec.Config{Anchors: anchors}) // all others are made over this one
	ca, err := localca.Open(w.paths.ca(), s.certificateNames(w.hosted))
	if err != nil {
		return proxy.Live{}, err
	}
	// The authority in use stays while its certificate does: the certificates that
	// it made for the domains are in its memory.
	if old := w.ca.Load(); old == nil || !old.Certificate().Equal(ca.Certificate()) {
		w.ca.Store(ca)
	}
	w.replaced = ca.Changed()
	rules := s.Rules
	rules.Known = w.book.Known
	return proxy.Live{
		Decide: rules.Decide,
		Egress: set,
		Lookup: func(d egress.Dialer) resolve.SRVLookup { return base.Over(d) },
		Prover: func(ctx context.Context, d egress.Dialer) resolve.Prover {
			return validator.Over(dnssec.Once(ctx, base.Over(d).Exchange))
		},
		Logs:              logs,
		Limits:            s.limits(),
		PlaintextLoopback: s.Listen.ClientTLS == "optional",
	}, nil
}

// warning tells that the last change made the authority's certificate another one.
func (w *wiring) warning() string {
	if !w.replaced {
		return ""
	}
	return "the domains that clients may ask for have changed, and with them the authority's certificate: run `xmpp-gw trust install` again"
}

// ServerConfig is the client leg's TLS for a domain, by the authority as it was
// last loaded.
func (w *wiring) ServerConfig(domain string) (*tls.Config, error) {
	return w.ca.Load().ServerConfig(domain)
}
