package server

import (
	"container/list"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/store"
)

// ListenerKind says what a listener's clients speak first.
type ListenerKind uint8

// The kinds of listener. The zero value is refused.
const (
	ListenerUnset ListenerKind = iota
	STARTTLS                   // a stream header, then STARTTLS (RFC 6120 §5)
	DirectTLS                  // TLS from the first byte (XEP-0368)
)

// Conflict is what happens to a client that asks for a resource that another
// session of its account has (RFC 6120 §7.7.2.2).
type Conflict uint8

// The policies.
const (
	EndOlder    Conflict = iota // the older session ends with <conflict/>
	RefuseNewer                 // the newer one gets the stanza error <conflict/>
	Rename                      // the newer one gets another resource
)

// Config is what a server is made of. Domains, TLS and Store must be set.
type Config struct {
	Domains []string // whose accounts live here
	// TLS gives the configuration under which a domain is served. It is asked at
	// each handshake, so that certificates can be replaced.
	TLS     func(domain string) (*tls.Config, error)
	Store   store.Store
	Modules []Module // in order; see server/standard

	// Secret keeps strangers from telling which names have accounts: at least 32
	// random bytes that stay the same. Nil makes some that last as long as the
	// server.
	Secret []byte
	// AllowPlain takes passwords in the clear inside TLS as well.
	AllowPlain bool
	// NoBinding offers no channel binding (RFC 5802 §6), for clients that get it
	// wrong.
	NoBinding bool
	// ClientRoots are the authorities whose client certificates may name an account
	// (XEP-0178); nil: nobody's.
	ClientRoots *x509.CertPool
	// Iterations is SCRAM's count for new passwords, 0 for the usual one.
	Iterations int

	OnConflict Conflict
	Limits     Limits
	Log        *slog.Logger     // nil: nowhere
	Now        func() time.Time // nil: time.Now
}

// Server is an XMPP server for one or more domains. Make one with [New]; it is
// safe for concurrent use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	hooks    hooks
	domains  map[string]*domain
	names    []string
	table    table
	existing existing
	asked    asked

	ctx  context.Context // ends when everything must end at once
	stop context.CancelFunc

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	links     map[*link]struct{}
	peers     map[string]int // connections by peer
	strangers map[string]int // those of them on which nobody is logged in
	unknown   list.List      // the links on which nobody is logged in, the oldest first
	wg        sync.WaitGroup // one count a connection, and the sweeper's

	down     atomic.Bool   // Shutdown has begun
	sweeping chan struct{} // closed when the sweeper must stop
	tidy     tidy
	lastSeen lastSeen
	features []feature
}

// domain is what is kept for one of the domains.
type domain struct {
	name string
	sasl atomic.Pointer[saslserver.Server]

	mu   sync.Mutex
	made []credential // the last few, newest first
}

// credential is what was made of a configuration for TLS.
type credential struct {
	from *tls.Config // what Config.TLS or ConnOptions.TLS gave
	conf *tls.Config
	leaf *x509.Certificate
}

// ErrClosed is what [Server.Serve] returns after [Server.Shutdown].
var ErrClosed = errors.New("the server is shut down")

// New checks cfg, sets the modules up and starts them. The server takes
// connections from then on; ctx is for the start alone.
func New(ctx context.Context, cfg Config) (*Server, error) {
	switch {
	case len(cfg.Domains) == 0:
		return nil, errors.New("server: no domain is to be served: Config.Domains is empty")
	case cfg.TLS == nil:
		return nil, errors.New("server: no certificates: Config.TLS is nil")
	case cfg.Store == nil:
		return nil, errors.New("server: nowhere to keep accounts: Config.Store is nil")
	}
	cfg.Limits = cfg.Limits.orDefault()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Secret == nil {
		cfg.Secret = make([]byte, 32)
		_, _ = rand.Read(cfg.Secret) // never fails (crypto/rand)
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, domains: make(map[string]*domain),
		listeners: make(map[net.Listener]struct{}), links: make(map[*link]struct{}),
		features: features(), sweeping: make(chan struct{}), peers: make(map[string]int), strangers: make(map[string]int),
	}
	s.hooks.iq = make(map[iqKey]IQHandler)
	s.hooks.nonza = make(map[string]NonzaHandler)
	s.hooks.bindInline = make(map[string]BindHandler)
	s.hooks.visitorIQ = make(map[iqKey]VisitorHandler)
	s.table.init()
	s.asked.init()
	s.ctx, s.stop = context.WithCancel(context.Background())
	for _, name := range cfg.Domains {
		if err := s.addDomain(name); err != nil {
			return nil, err
		}
	}
	if err := s.setup(ctx); err != nil {
		s.stop()
		return nil, err
	}
	s.wg.Go(s.sweep)
	return s, nil
}

// setup sets the modules up and starts them.
func (s *Server) setup(ctx context.Context) error {
	for _, m := range s.cfg.Modules {
		r := &Registry{server: s, module: m.Name(), hooks: &s.hooks}
		if err := m.Setup(r); err != nil {
			return fmt.Errorf("module %s: %w", m.Name(), err)
		}
		if err := errors.Join(r.errs...); err != nil {
			return err
		}
	}
	if err := s.Reoffer(ctx); err != nil { // after the modules, which add to what is offered
		return err
	}
	for i, life := range s.hooks.lives {
		if life.start == nil {
			continue
		}
		if err := life.start(ctx); err != nil {
			s.stopModules(ctx, i)
			return err
		}
	}
	return nil
}

// stopModules stops the first n modules that were started, the last one first.
func (s *Server) stopModules(ctx context.Context, n int) {
	for _, life := range slices.Backward(s.hooks.lives[:n]) {
		if life.stop != nil {
			life.stop(ctx)
		}
	}
}

func (s *Server) addDomain(name string) error {
	a, err := address.Parse(name)
	if err != nil || !a.IsServer() {
		return fmt.Errorf("server: %q is not a domain", name)
	}
	if s.domains[a.Domain] != nil {
		return fmt.Errorf("server: the domain %s is listed twice", a.Domain)
	}
	s.domains[a.Domain] = &domain{name: a.Domain}
	s.names = append(s.names, a.Domain)
	return nil
}

// addSASL makes a domain one that accounts log in to.
func (s *Server) addSASL(ctx context.Context, d *domain) error {
	hashes, err := s.hashes(ctx, d.name)
	if err != nil {
		return err
	}
	sasl, err := saslserver.New(saslserver.Config{
		Domain:       d.name,
		Accounts:     (*accounts)(s),
		Certificates: s.cfg.Store,
		ClientRoots:  s.cfg.ClientRoots,
		Tokens:       (*tokens)(s),
		Secret:       s.cfg.Secret,
		Hashes:       hashes,
		Iterations:   s.cfg.Iterations,
		AllowPlain:   s.cfg.AllowPlain,
		NoBinding:    s.cfg.NoBinding,
		Inline:       s.inlineFeatures(),
		Now:          s.cfg.Now,
	})
	if err != nil {
		return err
	}
	d.sasl.Store(sasl)
	return nil
}

// Hosts reports whether a domain's accounts live here. It is compared as it is:
// normalised, in U-labels.
func (s *Server) Hosts(domain string) bool { return s.domains[domain] != nil }

// Domains are the domains served.
func (s *Server) Domains() []string { return slices.Clone(s.names) }

// Store is what the server keeps its data in.
func (s *Server) Store() store.Store { return s.cfg.Store }

// Log is the server's log.
func (s *Server) Log() *slog.Logger { return s.log }

// Now is the time.
func (s *Server) Now() time.Time { return s.cfg.Now() }

// Limits are those that hold.
func (s *Server) Limits() Limits { return s.cfg.Limits }

// Disco is what service discovery says of the domains, or of accounts.
func (s *Server) Disco(at Where) Disco {
	if at == AtServer {
		return s.hooks.atServer
	}
	return s.hooks.atAccount
}

// Serve accepts clients on l until l fails or the server shuts down, when it
// returns [ErrClosed]. It closes l. A client's key for throttling is its IP
// address, unless that is a loopback address, which tells nothing.
func (s *Server) Serve(l net.Listener, kind ListenerKind) error {
	defer func() {
		_ = l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	if kind != STARTTLS && kind != DirectTLS {
		return errors.New("server: a listener of no kind: want STARTTLS or DirectTLS")
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	delay := time.Duration(0)
	for {
		conn, err := l.Accept()
		if err != nil {
			if s.down.Load() {
				return ErrClosed
			}
			// Out of descriptors passes; a closed listener does not.
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.log.Warn("accept failed, trying again", "error", err, "in", delay)
			time.Sleep(delay)
			continue
		}
		delay = 0
		if l, err := s.admit(conn, ConnOptions{Kind: kind, Peer: peerOf(conn)}); err == nil {
			go l.run()
		}
	}
}

// peerOf is the throttling key of a connection that was accepted.
func peerOf(conn net.Conn) string {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		return a.IP.String()
	}
	return ""
}

// ConnOptions says what is known of a connection.
type ConnOptions struct {
	Kind ListenerKind
	// Peer tells clients apart for limits and throttling: a circuit, or an address.
	// It is empty where they cannot be told apart.
	Peer string
	// Greeting is what was read of the connection already.
	Greeting []byte
	// TLS stands in the place of [Config.TLS] for this connection, as where its
	// clients trust other authorities than those of other ways in; nil: Config.TLS.
	TLS func(domain string) (*tls.Config, error)
	// Private says that nobody can listen although there is no TLS, as on an onion
	// service or inside this process: a login without TLS is allowed then.
	Private bool
}

// ServeConn serves one client, and returns when the connection has ended: nil when
// it ended in good order, else why. When ctx ends the connection does. It closes
// conn.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn, o ConnOptions) error {
	if o.Kind != STARTTLS && o.Kind != DirectTLS {
		_ = conn.Close()
		return errors.New("server: a connection of no kind: want STARTTLS or DirectTLS")
	}
	l, err := s.admit(conn, o)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.end(errShutdown) })()
	l.run()
	return l.result()
}

// Shutdown stops accepting, tells every client that the server goes down, waits
// for the connections to close in good order and stops the modules. When ctx ends
// first, what is left is cut off and ctx's error returned. It does not close the
// store.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closing = true
	s.down.Store(true)
	for l := range s.listeners {
		_ = l.Close()
	}
	open := make([]*link, 0, len(s.links))
	for l := range s.links {
		open = append(open, l)
	}
	s.mu.Unlock()
	s.tidy.stop()
	for _, l := range open {
		go l.end(errShutdown)
	}
	for _, one := range s.table.all() {
		if one.waiting() {
			s.wg.Go(func() { one.gone(errShutdown) }) // they share the storage's transactions
		}
	}
	s.stopSweep()
	err := s.await(ctx)
	for _, one := range s.table.all() {
		one.gone(errShutdown)
	}
	s.writeSeen()
	s.stopModules(context.WithoutCancel(ctx), len(s.hooks.lives))
	s.stop()
	return err
}

// await waits for all connections to end, and makes them once ctx has ended.
func (s *Server) await(ctx context.Context) error {
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.stop()
	s.mu.Lock()
	for l := range s.links {
		l.cut()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

var errShutdown = &xmppstream.Error{Condition: xmppstream.SystemShutdown, Text: "The server is shutting down."}
