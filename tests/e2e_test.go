//go:build e2e

package tests_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"xmpp-gw/internal/control"
	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
	"xmpp-gw/tests/tornet"
)

// world is what all end-to-end tests stand on: real servers, one private Tor
// network in front of them, and names that only its exits can resolve.
type world struct {
	dir     string
	ca      string // PEM file of the servers' authority
	dns     *lab.DNSServer
	tor     *tornet.Network
	servers map[string]*server // by name: prosody, ejabberd, and prosody12, ejabberd12 with TLS 1.2 at most
}

// server is a real server with a domain of its own, NAME.test.
type server struct {
	*peers.Server
	accounts atomic.Int32 // handed out so far
}

// accountsEach is how many accounts a server has from the start.
const accountsEach = 40

func username(i int32) string { return fmt.Sprint("user", i) }

const password = "not so secret, this one"

// TestE2E is the whole program with the real thing at every end: Tor, Prosody,
// ejabberd and clients of Debian's. The world is prepared once.
func TestE2E(t *testing.T) {
	g := prepare(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"routes", testRoutes},
		{"TLS 1.2", testTLS12},
		{"registration", testRegistration},
		{"relay", testRelay},
		{"passthrough", testPassthrough},
		{"resumption", testResumption},
		{"reload", testReload},
		{"drain", testDrain},
		{"onion", testOnion},
		{"OnionBalance", testOnionBalance},
		{"node", testNode},
		{"check", testCheck},
		{"self", testSelf},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, g)
		})
	}
}

// prepare starts everything at the same time: the servers are up by the time
// that the Tor network is.
func prepare(t *testing.T) *world {
	t.Helper()
	start := time.Now()
	g := &world{dir: t.TempDir(), servers: make(map[string]*server)}
	authority, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Write(g.dir); err != nil {
		t.Fatal(err)
	}
	g.ca = filepath.Join(g.dir, "ca.pem")
	if g.dns, err = lab.DNSStart(nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.dns.Close() })

	var all errgroup.Group
	for _, s := range []struct {
		name    string
		start   peers.ServerFunc
		options peers.Options
	}{
		{"prosody", peers.Prosody, peers.Options{Hash: "SHA-256", Register: true}},
		{"ejabberd", peers.Ejabberd, peers.Options{Hash: "SHA-512", Register: true, Proxied: true}},
		{"prosody12", peers.Prosody, peers.Options{MaxTLS: tls.VersionTLS12}},
		{"ejabberd12", peers.Ejabberd, peers.Options{MaxTLS: tls.VersionTLS12, Hash: "SHA-512"}},
	} {
		srv := new(server)
		g.servers[s.name] = srv
		o := s.options
		o.Domain = s.name + ".test"
		o.Cert, o.Key = filepath.Join(g.dir, s.name+".pem"), filepath.Join(g.dir, s.name+"-key.pem")
		leaf, err := authority.Leaf(lab.CALeaf{Names: []string{o.Domain}})
		if err != nil {
			t.Fatal(err)
		}
		if err := lab.WriteCertificate(leaf, o.Cert, o.Key); err != nil {
			t.Fatal(err)
		}
		n := int32(accountsEach)
		if o.MaxTLS == tls.VersionTLS12 {
			n = 4
		}
		for i := range n {
			o.Accounts = append(o.Accounts, peers.Account{Username: username(i + 1), Password: password})
		}
		all.Go(func() (err error) {
			if srv.Server, err = s.start(o); err == nil {
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("the log of %s ends:\n%s", s.name, last(srv.Log(), 60))
					}
					srv.Close()
				})
			}
			return err
		})
	}
	all.Go(func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		g.tor, err = tornet.Start(ctx, tornet.Config{Dir: filepath.Join(g.dir, "tor"), Nameserver: g.dns.Addr()})
		if err == nil {
			t.Cleanup(func() { g.tor.Close() })
		}
		return err
	})
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("servers and Tor network were up after %.1f s", time.Since(start).Seconds())
	return g
}

// account is one of the server's, for one test alone.
func (s *server) account(t *testing.T) string {
	t.Helper()
	i := s.accounts.Add(1)
	if i > accountsEach {
		t.Fatalf("%s has only %d accounts", s.Domain, accountsEach)
	}
	return username(i) + "@" + s.Domain
}

// endpoint is the server's address in the configuration's words.
func (s *server) endpoint(mode peers.TLSMode) string {
	scheme := "starttls://"
	if mode == peers.DirectTLS {
		scheme = "tls://"
	}
	return scheme + s.Addr(mode)
}

// domain is the section of a configuration for one of the servers.
func (g *world) domain(s *server, lines ...string) string {
	return fmt.Sprintf("[domain.%q]\nca = %q\n%s\n", s.Domain, g.ca, strings.Join(lines, "\n"))
}

const blockOthers = "[default]\nroute = \"block\"\n"

// through is how an account logs in through a gateway.
func through(gw *daemon.Daemon, mode peers.TLSMode, jid string) peers.Credentials {
	c := peers.Credentials{JID: jid, Password: password, Addr: gw.C2S, TLS: mode, CA: gw.CA}
	if mode == peers.DirectTLS {
		c.Addr = gw.C2STLS
	}
	return c
}

// converse sends a message each way and waits for both.
func converse(t *testing.T, a peers.Client, jidA string, b peers.Client, jidB string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, way := range []struct {
		from, to       peers.Client
		jidFrom, jidTo string
	}{{a, b, jidA, jidB}, {b, a, jidB, jidA}} {
		body := fmt.Sprintf("from %s <&> \"to\" %s, %d", way.jidFrom, way.jidTo, time.Now().UnixNano())
		if err := way.from.Send(ctx, way.jidTo, body); err != nil {
			t.Fatal(err)
		}
		if err := way.to.Receive(ctx, way.jidFrom, body); err != nil {
			t.Fatalf("from %s to %s: %v", way.jidFrom, way.jidTo, err)
		}
	}
}

// the only session of a domain that is online.
func only(t *testing.T, gw *daemon.Daemon, domain string) control.Session {
	t.Helper()
	list := gw.Sessions(t, domain)
	if len(list) != 1 {
		t.Fatalf("%d sessions of %s are online, want 1: %+v", len(list), domain, list)
	}
	return list[0]
}

// last is the last n lines.
func last(text string, n int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
