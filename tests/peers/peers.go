// Package peers starts real XMPP servers and real clients from Debian's
// packages, for tests and for the demonstration.
//
// A server is a child process with a directory, a configuration and loopback
// ports of its own; nothing of the system's installation is read or changed,
// and port 5222 is never used:
//
//	srv := peers.Start(t, peers.Prosody, peers.Options{
//		Domain: "example.test", Cert: "cert.pem", Key: "key.pem",
//		Accounts: []peers.Account{{"alice", "secret"}, {"bob", "secret"}},
//	})
//	alice := peers.Login(t, peers.Slixmpp, peers.Credentials{
//		JID: "alice@example.test", Password: "secret",
//		Addr: srv.Addr(peers.StartTLS), TLS: peers.StartTLS, CA: "ca.pem",
//	})
//	err := alice.Send(ctx, "bob@example.test", "hello")
//
// [Servers] and [Clients] list them by name, so that a test can be a matrix.
// Whoever is not a test calls the constructors themselves and closes what
// they return. A program that is not installed is an error with the name of
// its package in it, never a skip.
package peers

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TLSMode is how a client and a server come to speak TLS.
type TLSMode string

const (
	StartTLS  TLSMode = "starttls" // upgraded in the stream, RFC 6120 §5
	DirectTLS TLSMode = "direct"   // from the first byte, XEP-0368
	NoTLS     TLSMode = "none"     // never; for the client leg of a gateway on loopback
)

// An Account is one user of a server.
type Account struct{ Username, Password string }

// Options say what a server offers. Domain, Cert and Key are required.
type Options struct {
	Domain    string
	Cert, Key string    // PEM files; Cert begins with the leaf
	Accounts  []Account // there from the start

	// Mechanisms is all the server may offer, of those it has; empty leaves
	// the server's own choice.
	Mechanisms []string
	// Hash is what passwords are stored as: "SHA-1" (the servers' default,
	// also for ""), "SHA-256" or, in ejabberd only, "SHA-512". It decides
	// which SCRAM the server offers.
	Hash string

	Register bool // accounts may be made in-band, XEP-0077
	NoTLS    bool // TLS is offered and not demanded
	MAM      bool // messages are archived, XEP-0313

	WebSocket bool // in prosody only: at wss://…/xmpp-websocket too, RFC 7395
	// Portable is a folder in which the server keeps its accounts, a file each in the
	// format of XEP-0227; in prosody only.
	Portable string
	Proxied  bool // in ejabberd only: a third port, whose connections begin with a PROXY header

	// Configure writes the server's whole configuration in place of the one that is
	// made here; then the fields above, but for Domain, Cert, Key, Accounts and Weak, say
	// nothing. Who writes it takes care that all stays within Place.
	Configure func(Place) (string, error)

	// The TLS versions accepted: tls.VersionTLS12 or tls.VersionTLS13. Zero
	// means 1.2 for MinTLS and 1.3 for MaxTLS.
	MinTLS, MaxTLS uint16
	// Weak makes the server take what OpenSSL still can of what nobody should: TLS 1.0
	// and 1.1, and every cipher suite, without encryption or authentication too; in
	// prosody only.
	Weak bool
}

// Place is what a server may use on this machine.
type Place struct {
	Dir                 string // its own, and empty but for data or db
	StartTLS, DirectTLS int    // loopback ports
	More                [4]int // others; for the last one, which may be of UDP, nobody waits
}

// place is one with more free ports.
func place(dir string, starttls, direct int) (Place, error) {
	p := Place{Dir: dir, StartTLS: starttls, DirectTLS: direct}
	for i := 0; i < len(p.More); {
		ports, err := freePorts()
		if err != nil {
			return p, err
		}
		for _, port := range ports {
			if port != starttls && port != direct && !slices.Contains(p.More[:i], port) {
				p.More[i] = port
				i++
			}
		}
	}
	return p, nil
}

// configure writes the configuration: that of the caller, or else ours.
func (o *Options) configure(dir string, starttls, direct int, to io.Writer, ours func() error) (Place, error) {
	if o.Configure == nil {
		return Place{}, ours()
	}
	p, err := place(dir, starttls, direct)
	if err != nil {
		return p, err
	}
	text, err := o.Configure(p)
	if err == nil {
		_, err = io.WriteString(to, text)
	}
	return p, err
}

// used are the ports that a configuration names.
func (p Place) used(config string) (ports []int) {
	for _, port := range append([]int{p.StartTLS, p.DirectTLS}, p.More[:3]...) {
		if strings.Contains(config, strconv.Itoa(port)) {
			ports = append(ports, port)
		}
	}
	return ports
}

func (o *Options) check() error {
	if o.Domain == "" || o.Cert == "" || o.Key == "" {
		return errors.New("peers: a server needs Domain, Cert and Key")
	}
	if o.MinTLS == 0 {
		o.MinTLS = tls.VersionTLS12
	}
	if o.MaxTLS == 0 {
		o.MaxTLS = tls.VersionTLS13
	}
	if o.MinTLS < tls.VersionTLS12 || o.MaxTLS > tls.VersionTLS13 || o.MinTLS > o.MaxTLS {
		return errors.New("peers: MinTLS and MaxTLS must be TLS 1.2 or 1.3, the lower one first")
	}
	var err error
	if o.Cert, err = filepath.Abs(o.Cert); err != nil {
		return err
	}
	o.Key, err = filepath.Abs(o.Key)
	return err
}

// known are the SASL mechanisms that either server may have.
var known = []string{
	"PLAIN", "DIGEST-MD5", "X-OAUTH2",
	"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS",
	"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS",
	"SCRAM-SHA-512", "SCRAM-SHA-512-PLUS",
}

// disabled returns the known mechanisms that the options do not allow.
func (o *Options) disabled() []string {
	if len(o.Mechanisms) == 0 {
		return nil
	}
	allowed := strings.Join(o.Mechanisms, " ") + " "
	var off []string
	for _, m := range known {
		if !strings.Contains(allowed, m+" ") {
			off = append(off, m)
		}
	}
	return off
}

// A Server is a running server.
type Server struct {
	Kind      string // "prosody" or "ejabberd"
	Domain    string
	Host      string // always "127.0.0.1"
	StartTLS  int    // port
	DirectTLS int    // port
	WebSocket int    // port; 0 without Options.WebSocket
	Proxied   int    // port for STARTTLS behind a PROXY header, if there is one
	Place     Place  // with Options.Configure

	proc     *process
	await    []int // ports, if they are others than StartTLS and DirectTLS
	register func(Account) error
}

// Addr returns host:port for a way to reach TLS.
func (s *Server) Addr(mode TLSMode) string {
	port := s.StartTLS
	if mode == DirectTLS {
		port = s.DirectTLS
	}
	return net.JoinHostPort(s.Host, strconv.Itoa(port))
}

// PID is the server's process.
func (s *Server) PID() int { return s.proc.pid }

// Register makes one more account while the server runs.
func (s *Server) Register(a Account) error { return s.register(a) }

// Log returns what the server has written so far: its output and its log.
func (s *Server) Log() string { return s.proc.log() }

// Close stops the server, waits until all its processes have ended and
// removes its directory. It may be called more than once.
func (s *Server) Close() error { return s.proc.close() }

// Kill ends the server as a crash would: at once, without a word to anyone.
func (s *Server) Kill() { s.proc.kill() }

// A ServerFunc starts a server and returns when it answers on both ports.
type ServerFunc func(Options) (*Server, error)

// Servers are the servers by name.
func Servers() map[string]ServerFunc {
	return map[string]ServerFunc{"prosody": Prosody, "ejabberd": Ejabberd}
}

// startTimeout is how long a server may take to answer, on a busy machine.
const startTimeout = 60 * time.Second

// launch runs start with two free ports until it succeeds: between choosing a
// port and listening on it somebody else may have taken it.
func launch(o Options, start func(o Options, starttls, direct int) (*Server, error)) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	var err error
	for range 3 {
		var ports [2]int
		if ports, err = freePorts(); err != nil {
			return nil, err
		}
		var s *Server
		if s, err = start(o, ports[0], ports[1]); err == nil {
			return s, nil
		}
		if !errors.Is(err, errNotReady) {
			break
		}
	}
	return nil, err
}

// awaitPorts waits until the server accepts connections on its ports.
func (s *Server) awaitPorts() error {
	end := time.Now().Add(startTimeout)
	if s.await == nil {
		s.await = []int{s.StartTLS, s.DirectTLS}
	}
	for _, port := range s.await {
		addr := net.JoinHostPort(s.Host, strconv.Itoa(port))
		for {
			c, err := net.DialTimeout("tcp", addr, time.Second)
			if err == nil {
				c.Close()
				break
			}
			select {
			case <-s.proc.done:
				return s.notReady("ended at once")
			case <-time.After(50 * time.Millisecond):
			}
			if time.Now().After(end) {
				return s.notReady("does not answer on " + addr)
			}
		}
	}
	return nil
}

var errNotReady = errors.New("not ready")

// notReady stops the server and returns why, with the end of its log.
func (s *Server) notReady(why string) error {
	log := tail(s.Log(), 30)
	s.Close()
	return fmt.Errorf("peers: %s %s (%w). Its log ends:\n%s", s.Kind, why, errNotReady, log)
}

// TB is the part of testing.TB that the helpers for tests need.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Name() string
}

// Start starts a server for a test: it stops with the test, and the end of
// its log is shown if the test failed.
func Start(t TB, start ServerFunc, o Options) *Server {
	t.Helper()
	s, err := start(o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s ends:\n%s", s.Kind, tail(s.Log(), 60))
		}
		if err := s.Close(); err != nil {
			t.Logf("stopping %s: %v", s.Kind, err)
		}
	})
	return s
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
