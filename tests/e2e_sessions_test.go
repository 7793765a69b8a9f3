//go:build e2e

package tests_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/peers"
)

// deadline bounds what a client is waited for.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// loginFailure logs a client in that must fail, and gives what it says.
func loginFailure(t *testing.T, cred peers.Credentials) *peers.LoginError {
	t.Helper()
	c, err := peers.Slixmpp(deadline(t), cred)
	if err == nil {
		c.Close()
		t.Fatal("the client logged in")
	}
	failed, ok := errors.AsType[*peers.LoginError](err)
	if !ok {
		t.Fatal(err)
	}
	return failed
}

// testRegistration: an account is made in-band (XEP-0077) where it is allowed.
func testRegistration(t *testing.T, g *world) {
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			srv := g.servers[name]
			section := func(registration string) string {
				return blockOthers + g.domain(srv, `route = "direct"`, fmt.Sprintf("endpoints = [%q]", srv.endpoint(peers.StartTLS)),
					fmt.Sprintf("registration = %q", registration))
			}
			gw := daemon.Run(t, daemon.Options{Config: section("allow")})
			cred := through(gw, peers.StartTLS, "new-here@"+srv.Domain)
			cred.Register = true
			alice := peers.Login(t, peers.Slixmpp, cred)
			if err := alice.Ping(deadline(t)); err != nil {
				t.Error(err)
			}
			if _, err := alice.Await(deadline(t), 0, func(e peers.Event) bool { return e.Event == "registered" }); err != nil {
				t.Errorf("it was there already: %v", err)
			}

			if err := gw.Configure(daemon.Options{Config: section("deny")}); err != nil {
				t.Fatal(err)
			}
			if err := gw.Reload(deadline(t)); err != nil {
				t.Fatal(err)
			}
			cred = through(gw, peers.StartTLS, "not-here@"+srv.Domain)
			cred.Register = true
			// It is not offered, so the client goes on to log in.
			if failed := loginFailure(t, cred); failed.Kind != "authentication" {
				t.Errorf("got %v", failed)
			}
			if err := alice.Ping(deadline(t)); err != nil {
				t.Errorf("the session from before: %v", err)
			}
		})
	}
}

// testRelay: the client's own SCRAM goes to the server, from a client leg in the
// clear on loopback.
func testRelay(t *testing.T, g *world) {
	config := blockOthers
	for _, name := range []string{"prosody", "ejabberd"} {
		s := g.servers[name]
		config += g.domain(s, `route = "direct"`, `sasl = "relay"`, fmt.Sprintf("endpoints = [%q]", s.endpoint(peers.DirectTLS)))
	}
	gw := daemon.Run(t, daemon.Options{Config: config, Listen: `client_tls = "optional"`})
	for name, mechanism := range map[string]string{"prosody": "SCRAM-SHA-256", "ejabberd": "SCRAM-SHA-512"} {
		t.Run(name, func(t *testing.T) {
			srv := g.servers[name]
			jidA, jidB := srv.account(t), srv.account(t)
			relayed := func(mode peers.TLSMode, jid string) peers.Credentials {
				c := through(gw, mode, jid)
				c.Mechanism = mechanism // slixmpp would try -PLUS without TLS, too
				return c
			}
			alice := peers.Login(t, peers.Slixmpp, relayed(peers.NoTLS, jidA))
			if alice.TLS() != "" || alice.Mechanism() != mechanism {
				t.Errorf("the client used %s over %q, want %s without TLS", alice.Mechanism(), alice.TLS(), mechanism)
			}
			s := only(t, gw, srv.Domain)
			if s.ClientTLS != "none" || s.SASL.Mode != "relay" || s.SASL.Mechanism != mechanism || s.TLS.Version != "TLS 1.3" {
				t.Errorf("status shows %+v", s)
			}
			bob := peers.Login(t, peers.Slixmpp, relayed(peers.NoTLS, jidB))
			converse(t, alice, jidA, bob, jidB)

			wrong := relayed(peers.NoTLS, jidA)
			wrong.Password = "wrong"
			if failed := loginFailure(t, wrong); failed.Kind != "authentication" {
				t.Errorf("a wrong password: %v", failed)
			}
			plain := relayed(peers.StartTLS, jidA)
			plain.Mechanism = "PLAIN"
			if failed := loginFailure(t, plain); failed.Kind != "authentication" {
				t.Errorf("PLAIN, which policy forbids: %v", failed)
			}
		})
	}
	t.Run("STARTTLS", func(t *testing.T) {
		srv := g.servers["prosody"]
		cred := through(gw, peers.StartTLS, srv.account(t))
		alice := peers.Login(t, peers.Slixmpp, cred)
		if s := only(t, gw, srv.Domain); s.ClientTLS != "TLS 1.3" || alice.TLS() != "TLSv1.3" {
			t.Errorf("the client leg is %s, to the client %s", s.ClientTLS, alice.TLS())
		}
	})
	t.Run("bound to the client leg", func(t *testing.T) {
		// Where the server offers to bind the login to TLS and the client does
		// so, the server notices that somebody stands between.
		cred := through(gw, peers.StartTLS, g.servers["ejabberd"].account(t))
		if failed := loginFailure(t, cred); failed.Kind != "authentication" {
			t.Errorf("got %v", failed)
		}
	})
}

// testPassthrough: the client's TLS goes through to the server, whose
// certificate it judges itself.
func testPassthrough(t *testing.T, g *world) {
	config := blockOthers
	for _, name := range []string{"prosody", "ejabberd"} {
		s := g.servers[name]
		config += g.domain(s, `route = "direct"`, `sasl = "passthrough"`,
			fmt.Sprintf("endpoints = [%q, %q]", s.endpoint(peers.StartTLS), s.endpoint(peers.DirectTLS)))
	}
	gw := daemon.Run(t, daemon.Options{Config: config})
	for _, name := range []string{"prosody", "ejabberd"} {
		t.Run(name, func(t *testing.T) {
			srv := g.servers[name]
			jidA, jidB := srv.account(t), srv.account(t)
			credA, credB := through(gw, peers.StartTLS, jidA), through(gw, peers.DirectTLS, jidB)
			credA.CA, credB.CA = g.ca, g.ca
			alice := peers.Login(t, peers.Slixmpp, credA)
			bob := peers.Login(t, peers.Slixmpp, credB)
			converse(t, alice, jidA, bob, jidB)
			for _, s := range gw.Sessions(t, srv.Domain) {
				if s.SASL.Mode != "passthrough" || s.SASL.Mechanism != "" {
					t.Errorf("status shows %+v", s)
				}
			}
			credA.CA = gw.CA
			if failed := loginFailure(t, credA); failed.Kind != "certificate" {
				t.Errorf("with the gateway's CA: %v", failed)
			}
		})
	}
}

// testResumption: when a connection breaks, on either side of the gateway, a
// client with XEP-0198 goes on where it was, and nothing is lost.
func testResumption(t *testing.T, g *world) {
	for _, name := range []string{"prosody", "ejabberd"} {
		srv := g.servers[name]
		t.Run(name+", the server's side", func(t *testing.T) {
			wire := newWire(t, srv.Addr(peers.StartTLS))
			gw := daemon.Run(t, daemon.Options{Config: blockOthers + g.domain(srv, `route = "direct"`,
				fmt.Sprintf("endpoints = [%q]", "starttls://"+wire.Addr()))})
			resume(t, g, srv, gw, gw.C2S, wire)
		})
		t.Run(name+", the client's side", func(t *testing.T) {
			gw := daemon.Run(t, daemon.Options{Config: g.direct(peers.DirectTLS)})
			wire := newWire(t, gw.C2S)
			resume(t, g, srv, gw, wire.Addr(), wire)
		})
	}
}

// resume cuts the wire between a client that connects to addr and its server.
func resume(t *testing.T, g *world, srv *server, gw *daemon.Daemon, addr string, wire *wire) {
	jidA, jidB := srv.account(t), srv.account(t)
	cred := through(gw, peers.StartTLS, jidA)
	cred.Addr, cred.Resume = addr, true
	alice := peers.Login(t, peers.Slixmpp, cred)
	bob := peers.Login(t, peers.Slixmpp, peers.Credentials{JID: jidB, Password: password, Addr: srv.Addr(peers.StartTLS), CA: g.ca})
	converse(t, alice, jidA, bob, jidB)
	before := only(t, gw, srv.Domain)

	start := alice.Events()
	wire.Cut()
	// Sent while she is away: the server keeps it for her.
	ctx := deadline(t)
	if err := bob.Send(ctx, jidA, "while you were away"); err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Await(ctx, start, func(e peers.Event) bool { return e.Event == "resumed" }); err != nil {
		t.Fatalf("it was not resumed: %v", err)
	}
	if err := alice.Receive(ctx, jidB, "while you were away"); err != nil {
		t.Error(err)
	}
	converse(t, alice, jidA, bob, jidB)
	if after := only(t, gw, srv.Domain); after.ID == before.ID {
		t.Error("status shows the session of before")
	}
}

// testReload: a session that is up stays, and the next one is decided anew.
func testReload(t *testing.T, g *world) {
	srv := g.servers["prosody"]
	gw := daemon.Run(t, daemon.Options{Config: g.direct(peers.StartTLS)})
	jidA := srv.account(t)
	alice := peers.Login(t, peers.Slixmpp, through(gw, peers.StartTLS, jidA))
	before := only(t, gw, srv.Domain)

	blocked := blockOthers + g.domain(srv, `route = "block"`)
	if err := gw.Configure(daemon.Options{Config: blocked}); err != nil {
		t.Fatal(err)
	}
	if err := gw.Reload(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := alice.Ping(deadline(t)); err != nil {
		t.Error(err)
	}
	if after := only(t, gw, srv.Domain); after.ID != before.ID {
		t.Error("the session is another one")
	}
	if failed := loginFailure(t, through(gw, peers.StartTLS, jidA)); failed.Condition != "policy-violation" || failed.Text == "" {
		t.Errorf("a login to a domain that is blocked now: %v", failed)
	}

	// A mistake changes nothing.
	if err := gw.Configure(daemon.Options{Config: blocked + "rout = \"direct\"\n"}); err != nil {
		t.Fatal(err)
	}
	if err := gw.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for ctx := deadline(t); gw.Report(t).Status.ConfigError == ""; time.Sleep(20 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("status does not tell of the mistake")
		}
	}
	if err := alice.Ping(deadline(t)); err != nil {
		t.Error(err)
	}
}

// testDrain: SIGTERM closes every session in good order, both to the client and
// to the server, and the daemon goes.
func testDrain(t *testing.T, g *world) {
	srv := g.servers["ejabberd"]
	gw := daemon.Run(t, daemon.Options{Config: g.direct(peers.DirectTLS)})
	jidA, jidB := srv.account(t), srv.account(t)
	alice := peers.Login(t, peers.Slixmpp, through(gw, peers.StartTLS, jidA))
	bob := peers.Login(t, peers.Slixmpp, through(gw, peers.DirectTLS, jidB))
	converse(t, alice, jidA, bob, jidB)
	if err := gw.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*peers.SlixmppClient{alice, bob} {
		e, err := c.Await(deadline(t), 0, func(e peers.Event) bool { return e.Event == "failed" })
		if err != nil || e.Kind != "stream" || e.Condition != "system-shutdown" {
			t.Errorf("the client was told %+v, %v", e, err)
		}
	}
	select {
	case <-gw.Ended():
		if gw.ExitCode() != 0 {
			t.Errorf("exit code %d", gw.ExitCode())
		}
	case <-time.After(10 * time.Second):
		t.Error("the daemon does not end")
	}
	if !strings.Contains(gw.Log(), "\nstopped:") {
		t.Error("the daemon does not say that it stopped")
	}
}
