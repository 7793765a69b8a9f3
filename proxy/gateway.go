// Package proxy is the gateway itself: it accepts XMPP clients, asks policy
// where each of them may go, opens and verifies the upstream leg, logs in, and
// then moves stanzas both ways until both halves have closed.
//
// A session passes through these rooms, in this order:
//
//	gateway.go      accept and count; shut down
//	session.go      what a session holds, its deadlines, its end
//	client.go       the client's stream header, its TLS, its features
//	login.go        originate: the client's PLAIN in, the strongest SASL out
//	relaymode.go    relay: the client's own SASL handed through
//	passthrough.go  passthrough: the client's own TLS handed through
//	local.go        the clients of a server in this process, handed over
//	register.go     an account made from within the client (XEP-0077)
//	places.go       where to go: rules, address book, discovery
//	way.go          by which way: route, DNS over it, what proves that
//	connect.go      the upstream leg up to verified TLS and its features
//	witness.go      a second look at the server's key, over another circuit
//	object.go       what mode = "report" lets through, and tells of
//	sight.go        what a login showed of its server, for others to judge
//	splice.go       stanzas both ways, keepalives, the closing handshake
//	pinger.go       is the server still there?
//	errors.go       what went wrong, as the stream error the client is shown
//
// Below and beside them:
//
//	info.go         what status shows
//	tidy.go         memory given back after a burst
package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// ListenerKind says what a listener's clients speak first.
type ListenerKind uint8

// The kinds of listener. The zero value is refused.
const (
	ListenerUnset ListenerKind = iota
	STARTTLS                   // a stream header, then STARTTLS (RFC 6120 §5)
	DirectTLS                  // TLS from the first byte (XEP-0368)
)

// Egress gives the dialer of a route; [egress.Set] is the real one. It must
// return an error, never another route, for what it cannot do.
type Egress interface {
	Dialer(policy.Route, egress.Isolation) (egress.Dialer, error)
}

// Certificates gives the TLS configuration under which the gateway answers a
// client for a domain; the machine's own CA is the real one.
type Certificates interface {
	ServerConfig(domain string) (*tls.Config, error)
}

// Observer is told what happens, for metrics. Implementations must be quick
// and safe for concurrent use; no domain and no JID is passed.
type Observer interface {
	SessionStarted()
	SessionEnded()
	UpstreamConnected(route string)
	UpstreamFailed(class string)
	Moved(upBytes, downBytes, upStanzas, downStanzas uint64)
}

// Limits bounds what a client may cost.
type Limits struct {
	Connections int               // at the same time; 0: no bound
	PreAuth     xmppstream.Limits // of one element before authentication
	Session     xmppstream.Limits // of one stanza after it
	Negotiation time.Duration     // for what the client has to say until it is logged in; anew after each wait for upstream
	IdlePing    time.Duration     // silence from upstream after which it is pinged
	PingTimeout time.Duration     // silence after that ping which ends the session
	Drain       time.Duration     // inactivity allowed while the second half closes
}

// DefaultLimits are generous to a slow circuit and strict to a stranger.
func DefaultLimits() Limits {
	return Limits{
		Connections: 1000,
		PreAuth:     xmppstream.PreAuthLimits(),
		Session:     xmppstream.SessionLimits(),
		Negotiation: time.Minute,
		IdlePing:    90 * time.Second,
		PingTimeout: 60 * time.Second,
		Drain:       5 * time.Second,
	}
}

// Config is what a gateway is made of. Decide, Egress, Isolate, Lookup and
// Certificates are needed; New says which one is missing.
type Config struct {
	Decide       func(policy.Target) (policy.Decision, error)
	Egress       Egress
	Isolate      func(parts ...string) egress.Isolation
	Lookup       func(egress.Dialer) resolve.SRVLookup // DNS over one session's own route
	Certificates Certificates

	// Prover gives DNSSEC over one session's own route, for as long as the context
	// lasts; nil: domains are looked up only where dns = "off".
	Prover func(context.Context, egress.Dialer) resolve.Prover

	Pins   *tlsauth.PinStore // nil: keys are not remembered
	Roots  *x509.CertPool    // nil: the system's
	Logs   *ct.List          // of Certificate Transparency; nil: those that are built in
	Onions OnionMemory       // nil: logins at onion addresses are not remembered
	Local  Local             // nil: no domain is served in this process

	// Saw is told of each login that succeeded, and what it showed of the server;
	// nil: nobody is. It must be quick. A passthrough session shows nothing.
	Saw func(Sight)

	// PlaintextLoopback lets clients on loopback and unix listeners stay without
	// TLS ("client_tls = optional").
	PlaintextLoopback bool

	// Circuit describes the Tor circuit that carries the streams of a SOCKS user;
	// nil where there is no control port.
	Circuit func(ctx context.Context, user string) (string, error)

	Limits   Limits
	Log      *slog.Logger
	Observer Observer // nil: nobody
}

// Gateway serves XMPP clients. Make one with New; it is safe for concurrent
// use.
type Gateway struct {
	cfg  Config
	live atomic.Pointer[Live]

	ctx  context.Context // ends when sessions must end at once
	stop context.CancelFunc

	mu        sync.Mutex
	draining  bool
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	wg        sync.WaitGroup // one count a session

	links  resolve.Links // what domains' web servers said
	broken atomic.Uint64 // upstream legs that could not be opened, or broke
	tidy   tidy
}

// Live is the part of a gateway's configuration that a reload replaces; the
// sessions that are under way keep what they were decided with.
type Live struct {
	Decide            func(policy.Target) (policy.Decision, error)
	Lookup            func(egress.Dialer) resolve.SRVLookup
	Prover            func(context.Context, egress.Dialer) resolve.Prover
	Egress            Egress
	Logs              *ct.List
	Limits            Limits
	PlaintextLoopback bool
}

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("gateway is shut down")

// New checks cfg and makes a gateway of it.
func New(cfg Config) (*Gateway, error) {
	switch {
	case cfg.Decide == nil:
		return nil, errors.New("proxy: no policy: Config.Decide is nil")
	case cfg.Egress == nil:
		return nil, errors.New("proxy: no way out: Config.Egress is nil")
	case cfg.Isolate == nil:
		return nil, errors.New("proxy: no circuit isolation: Config.Isolate is nil")
	case cfg.Lookup == nil:
		return nil, errors.New("proxy: no name service: Config.Lookup is nil")
	case cfg.Certificates == nil:
		return nil, errors.New("proxy: no certificates for the client leg: Config.Certificates is nil")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	g := &Gateway{
		cfg:       cfg,
		listeners: make(map[net.Listener]struct{}),
		sessions:  make(map[*session]struct{}),
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.Reload(Live{
		Decide:            cfg.Decide,
		Lookup:            cfg.Lookup,
		Prover:            cfg.Prover,
		Egress:            cfg.Egress,
		Logs:              cfg.Logs,
		Limits:            cfg.Limits,
		PlaintextLoopback: cfg.PlaintextLoopback,
	})
	return g, nil
}

// Reload replaces policy and limits for the sessions that start from now on.
func (g *Gateway) Reload(l Live) { g.live.Store(&l) }

// Serve accepts clients on l until l fails or the gateway shuts down, when it
// returns ErrClosed. It closes l.
func (g *Gateway) Serve(l net.Listener, kind ListenerKind) error {
	defer func() {
		_ = l.Close()
		g.mu.Lock()
		delete(g.listeners, l)
		g.mu.Unlock()
	}()
	if kind != STARTTLS && kind != DirectTLS {
		return errors.New("proxy: a listener of no kind: want STARTTLS or DirectTLS")
	}
	g.mu.Lock()
	if g.draining {
		g.mu.Unlock()
		return ErrClosed
	}
	g.listeners[l] = struct{}{}
	g.mu.Unlock()

	delay := time.Duration(0)
	for {
		conn, err := l.Accept()
		if err != nil {
			if g.isDraining() {
				return ErrClosed
			}
			// Out of descriptors passes; a closed listener does not.
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			g.cfg.Log.Warn("accept failed, trying again", "error", err, "in", delay)
			time.Sleep(delay)
			continue
		}
		delay = 0
		g.accept(conn, kind)
	}
}

// accept counts the connection before anything is read from it, so that a flood
// costs no more than the refusals.
func (g *Gateway) accept(conn net.Conn, kind ListenerKind) {
	live := g.live.Load()
	g.mu.Lock()
	full := live.Limits.Connections > 0 && len(g.sessions) >= live.Limits.Connections
	if g.draining || full {
		g.mu.Unlock()
		go refuse(conn, kind, full)
		return
	}
	s := newSession(g, live, conn, kind)
	g.sessions[s] = struct{}{}
	g.wg.Add(1)
	g.mu.Unlock()
	g.cfg.Observer.SessionStarted()
	go s.run()
}

// refuse turns a client away that never became a session.
func refuse(conn net.Conn, kind ListenerKind, full bool) {
	defer conn.Close()
	if kind != STARTTLS {
		return // no TLS handshake is spent on a connection that is refused
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	w := xmppstream.NewWriter(conn)
	if full {
		_ = w.Error("resource-constraint", "The gateway has as many connections as its owner allows (max_connections); try again later.")
		return
	}
	_ = w.Error("system-shutdown", "The gateway is shutting down.")
}

// forget ends the gateway's account of s.
func (g *Gateway) forget(s *session) {
	g.mu.Lock()
	delete(g.sessions, s)
	g.mu.Unlock()
	g.cfg.Observer.SessionEnded()
	g.tidy.later()
	g.wg.Done()
}

func (g *Gateway) isDraining() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.draining
}

// Shutdown stops accepting, tells every client that the gateway goes down and
// waits for the sessions to close in good order. When ctx ends first, what is
// left is cut off and ctx's error returned.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	g.draining = true
	for l := range g.listeners {
		_ = l.Close()
	}
	open := make([]*session, 0, len(g.sessions))
	for s := range g.sessions {
		open = append(open, s)
	}
	g.mu.Unlock()
	for _, s := range open {
		go s.end(errShutdown)
	}

	defer g.tidy.stop()
	done := make(chan struct{})
	go func() { g.wg.Wait(); close(done) }()
	select {
	case <-done:
		g.stop()
		return nil
	case <-ctx.Done():
	}
	g.stop()
	g.mu.Lock()
	for s := range g.sessions {
		s.cut()
	}
	g.mu.Unlock()
	<-done
	return ctx.Err()
}

type nobody struct{}

func (nobody) SessionStarted()                           {}
func (nobody) SessionEnded()                             {}
func (nobody) UpstreamConnected(string)                  {}
func (nobody) UpstreamFailed(string)                     {}
func (nobody) Moved(upBytes, downBytes, up, down uint64) {}
