//go:build e2e

package tests_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"xmpp-gw/onion"
	"xmpp-gw/tests/peers"
)

// testOnionBalance: two gateways publish one server behind one address. When
// the one that a client came by is stopped, the client goes on over the other.
func testOnionBalance(t *testing.T, g *world) {
	srv := g.servers["prosody"]
	key, err := onion.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "frontend.key")
	if err := os.WriteFile(file, key.Marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
	// The wires show which node somebody came by.
	wires := []*wire{newWire(t, srv.Addr(peers.StartTLS)), newWire(t, srv.Addr(peers.StartTLS))}
	nodes := make([]publisher, 2)
	addresses := make([]string, 2)
	for i := range nodes {
		nodes[i] = newPublisher(t, g)
		o := nodes[i].publish(t, "node", "--target", wires[i].Addr(), "--backend-of", key.Address())
		addresses[i] = o.Address
	}
	w := &onionWorld{world: g}
	if w.system, err = g.tor.Client(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.system.Close() })
	own, err := g.tor.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	balancer, err := peers.OnionBalance(strings.TrimPrefix(own.Control(), "unix:"), file, addresses...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { balancer.Close() })
	if err := balancer.Published(deadline(t), 2); err != nil {
		t.Fatal(err)
	}

	// Both get some of those who come.
	var used [2]bool
	for i := 0; !used[0] || !used[1]; i++ {
		if i == 40 {
			t.Fatalf("of 40 connections none came by one of the nodes: %v", used)
		}
		c := w.dial(t, fmt.Sprint("visitor", i), key.Address())
		for end := time.Now().Add(10 * time.Second); wires[0].Open()+wires[1].Open() == 0 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		for n := range used {
			used[n] = used[n] || wires[n].Open() > 0
		}
		c.Close()
		for end := time.Now().Add(10 * time.Second); wires[0].Open()+wires[1].Open() > 0 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}

	jidA, jidB := srv.account(t), srv.account(t)
	gw := w.consumer(t, srv, key.Address())
	cred := through(gw, peers.StartTLS, jidA)
	cred.Resume = true
	alice := peers.Login(t, peers.Slixmpp, cred)
	bob := peers.Login(t, peers.Slixmpp, peers.Credentials{JID: jidB, Password: password, Addr: srv.Addr(peers.StartTLS), CA: g.ca})
	converse(t, alice, jidA, bob, jidB)

	here, other := 0, 1
	if wires[1].Open() > 0 {
		here, other = 1, 0
	}
	gone := time.Now()
	if err := nodes[here].Close(); err != nil {
		t.Fatal(err)
	}
	if err := bob.Send(deadline(t), jidA, "while you were away"); err != nil {
		t.Fatal(err)
	}
	alice, resumed := w.again(t, alice, cred)
	t.Logf("back after %.1f s", time.Since(gone).Seconds())
	if resumed { // a session that was given up has lost it; this Prosody keeps nothing
		if err := alice.Receive(deadline(t), jidB, "while you were away"); err != nil {
			t.Error(err)
		}
	}
	if wires[other].Open() != 1 || wires[here].Open() != 0 {
		t.Errorf("%d connections come by the node that was stopped, %d by the other", wires[here].Open(), wires[other].Open())
	}
	converse(t, alice, jidA, bob, jidB)
}

// again waits until a client whose connection broke has resumed its session, or
// is logged in anew: where Tor chose an introduction point of the dead node that
// does not know of its end yet, it gives up after two minutes only.
func (w *onionWorld) again(t *testing.T, c *peers.SlixmppClient, cred peers.Credentials) (_ *peers.SlixmppClient, resumed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	_, err := c.Await(ctx, 0, func(e peers.Event) bool { return e.Event == "resumed" })
	resumed = err == nil
	for err != nil {
		if ctx.Err() != nil {
			t.Fatalf("after the end of the node the client is not back: %v", err)
		}
		t.Logf("once more: %v", err)
		c, err = peers.Slixmpp(ctx, cred)
	}
	t.Cleanup(func() { c.Close() })
	return c, resumed
}

// dial connects to an onion service over Tor, on a circuit of user's own.
func (w *onionWorld) dial(t *testing.T, user, address string) net.Conn {
	t.Helper()
	d, err := proxy.SOCKS5("unix", strings.TrimPrefix(w.system.SOCKS(), "unix:"), &proxy.Auth{User: user, Password: "p"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.(proxy.ContextDialer).DialContext(deadline(t), "tcp", net.JoinHostPort(address, "5222"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
