//go:build e2e

package tests_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/peers"
	"xmpp-gw/tests/tornet"
)

// publisher is a gateway that publishes servers through a tor of its own.
type publisher struct{ *daemon.Daemon }

// newPublisher starts a gateway in which nothing is published yet. Its own
// clients get nowhere.
func newPublisher(t *testing.T, g *world) publisher {
	t.Helper()
	return publisher{daemon.Run(t, daemon.Options{
		Config: fmt.Sprintf("[tor]\nmode = \"managed\"\ntorrc = %q\n", g.tor.ExtraTorrc()) + blockOthers,
	})}
}

// command runs a command of xmpp-gw that must succeed.
func command(t *testing.T, d *daemon.Daemon, command string, args ...string) string {
	t.Helper()
	out, err := d.Command(deadline(t), command, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// publish publishes a service and waits until it can be found.
func (p publisher) publish(t *testing.T, name string, args ...string) control.Onion {
	t.Helper()
	return p.decode(t, command(t, p.Daemon, "onion publish", append(append([]string{"--wait", "--json"}, args...), name)...))
}

func (p publisher) decode(t *testing.T, text string) (o control.Onion) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return o
}

// published waits until a service is in the network (again).
func (p publisher) published(t *testing.T, name string) control.Onion {
	t.Helper()
	var last string
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var list struct{ Onions []control.Onion }
		last = command(t, p.Daemon, "onion list", "--json")
		if err := json.Unmarshal([]byte(last), &list); err != nil {
			t.Fatalf("%v in\n%s", err, last)
		}
		for _, o := range list.Onions {
			if o.Name == name && o.State == control.OnionPublished {
				return o
			}
		}
	}
	t.Fatalf("%s is not published again:\n%s", name, last)
	return control.Onion{}
}

// onionWorld is one publisher, and the other side: a tor that is no part of it.
type onionWorld struct {
	*world
	publisher
	system *tornet.Client
}

// consumer is a gateway that reaches a server at an onion address alone.
func (w *onionWorld) consumer(t *testing.T, srv *server, address string) *daemon.Daemon {
	t.Helper()
	return daemon.Run(t, daemon.Options{Config: w.consumerConfig(srv, address)})
}

func (w *onionWorld) consumerConfig(srv *server, address string) string {
	return fmt.Sprintf("[tor]\nmode = \"system\"\nsocks = [%q]\ncontrol = %q\n", w.system.SOCKS(), w.system.Control()) + blockOthers +
		w.domain(srv, `route = "onion-only"`, fmt.Sprintf("onion = %q", net.JoinHostPort(address, "5222")))
}

// socks is how an account logs in without a gateway, over Tor.
func (w *onionWorld) socks(jid, address string) peers.Credentials {
	return peers.Credentials{JID: jid, Password: password, Addr: net.JoinHostPort(address, "5222"), CA: w.ca, SOCKS: w.system.SOCKS()}
}

// testOnion: servers published with one command, and reached.
func testOnion(t *testing.T, g *world) {
	w := &onionWorld{world: g, publisher: newPublisher(t, g)}
	var err error
	if w.system, err = g.tor.Client(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.system.Close() })
	prosody := g.servers["prosody"]
	node := w.publish(t, "node", "--target", prosody.Addr(peers.StartTLS))
	t.Run("side by side", func(t *testing.T) {
		for _, test := range []struct {
			name string
			run  func(*testing.T)
		}{
			{"login", func(t *testing.T) { w.testLogin(t, node.Address) }},
			{"client authorization", w.testClientAuthorization},
			{"rotate", w.testRotate},
			{"PROXY header", w.testProxyHeader},
			{"down", w.testDown},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(t)
			})
		}
	})
	t.Run("killed", func(t *testing.T) { w.testKilled(t, node.Address) })
}

// testLogin: from a second gateway and from a client that goes over Tor itself;
// two accounts have two circuits, which tor's control port confirms.
func (w *onionWorld) testLogin(t *testing.T, address string) {
	srv := w.servers["prosody"]
	jidA, jidB, jidC := srv.account(t), srv.account(t), srv.account(t)
	gw := w.consumer(t, srv, address)
	alice := peers.Login(t, peers.Slixmpp, through(gw, peers.StartTLS, jidA))
	carol := peers.Login(t, peers.Slixmpp, through(gw, peers.DirectTLS, jidC))
	bob := peers.Login(t, peers.Slixmpp, w.socks(jidB, address))
	converse(t, alice, jidA, bob, jidB)
	converse(t, carol, jidC, bob, jidB)

	ctl, err := onion.DialControl(t.Context(), w.system.Control())
	if err != nil {
		t.Fatal(err)
	}
	defer ctl.Close()
	list := (&route{circuit: "hs_client_rend"}).sessions(t, gw, srv)
	if len(list) != 2 {
		t.Fatalf("%d sessions are online, want 2", len(list))
	}
	streams, err := ctl.Info(t.Context(), "stream-status")
	if err != nil {
		t.Fatal(err)
	}
	circuits := make(map[string]bool)
	for _, s := range list {
		id := circuitID(s)
		circuits[id] = true
		// control-spec §3.9, stream-status: ID STATUS CIRCUIT TARGET …
		if !strings.Contains(streams, " SUCCEEDED "+id+" "+address) {
			t.Errorf("tor knows no stream to the service on circuit %s", id)
		}
	}
	if len(circuits) != 2 {
		t.Errorf("both accounts go over circuit %v", circuits)
	}

	tor, err := w.Tor()
	if err != nil {
		t.Fatal(err)
	}
	if ports, err := daemon.Listening(tor); err != nil || len(ports) > 0 {
		t.Errorf("the tor that publishes listens at %v, %v", ports, err)
	}
}

// testClientAuthorization: without a key, with a wrong one, with the right one,
// and with one that was withdrawn.
func (w *onionWorld) testClientAuthorization(t *testing.T) {
	srv := w.servers["prosody"]
	private := w.publish(t, "private", "--target", srv.Addr(peers.StartTLS))
	gw := w.consumer(t, srv, private.Address)
	jid := srv.account(t)
	refused := func(why string) {
		t.Helper()
		// Directories and clients keep a descriptor until the next one comes.
		var text string
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
			c, err := peers.Slixmpp(deadline(t), through(gw, peers.StartTLS, jid))
			if err == nil {
				text = "it was let in"
				c.Close()
				continue
			}
			if text = err.Error(); strings.Contains(text, why) {
				return
			}
		}
		t.Errorf("got %q, want %q", text, why)
	}
	juliet := strings.TrimSpace(command(t, w.Daemon, "onion client add", "private", "juliet"))
	romeo := strings.TrimSpace(command(t, w.Daemon, "onion client add", "private", "romeo"))
	w.published(t, "private")
	refused("(SOCKS code F4); ask its operator for a key")

	// The key of somebody who was never let in.
	other := w.publish(t, "other", "--target", srv.Addr(peers.StartTLS))
	stranger := strings.TrimSpace(command(t, w.Daemon, "onion client add", "other", "stranger"))
	wrong := strings.Replace(stranger, strings.TrimSuffix(other.Address, ".onion"), strings.TrimSuffix(private.Address, ".onion"), 1)
	command(t, gw, "onion auth add", wrong)
	refused("is wrong or was withdrawn (SOCKS code F5); ask its operator for a new key")

	command(t, gw, "onion auth remove", private.Address)
	command(t, gw, "onion auth add", juliet)
	alice := arrive(t, through(gw, peers.StartTLS, jid))
	if err := alice.Ping(deadline(t)); err != nil {
		t.Error(err)
	}
	alice.Close()

	command(t, w.Daemon, "onion client remove", "private", "juliet")
	w.published(t, "private")
	refused("is wrong or was withdrawn (SOCKS code F5); ask its operator for a new key")
	command(t, gw, "onion auth remove", private.Address)
	command(t, gw, "onion auth add", romeo)
	arrive(t, through(gw, peers.StartTLS, jid))
}

// arrive logs in, and tries again as a person would: where a service has just changed
// its introduction points, Tor may wait in vain at an old one, for two minutes.
func arrive(t *testing.T, cred peers.Credentials) *peers.SlixmppClient {
	t.Helper()
	for tries := 1; ; tries++ {
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		c, err := peers.Slixmpp(ctx, cred)
		cancel()
		if err == nil {
			t.Cleanup(func() { c.Close() })
			return c
		}
		if tries == 4 {
			t.Fatal(err)
		}
		t.Logf("try %d: %v", tries, err)
	}
}

// testRotate: for the time of the overlap both addresses answer.
func (w *onionWorld) testRotate(t *testing.T) {
	srv := w.servers["prosody"]
	before := w.publish(t, "moving", "--target", srv.Addr(peers.StartTLS))
	command(t, w.Daemon, "onion rotate", "--overlap", "1h", "moving")
	after := w.published(t, "moving")
	if after.Address == before.Address || len(after.Previous) != 1 || after.Previous[0].Address != before.Address {
		t.Fatalf("before %s, after %+v", before.Address, after)
	}
	jidA, jidB := srv.account(t), srv.account(t)
	alice := peers.Login(t, peers.Slixmpp, w.socks(jidA, before.Address))
	bob := peers.Login(t, peers.Slixmpp, w.socks(jidB, after.Address))
	converse(t, alice, jidA, bob, jidB)
}

// testProxyHeader: the server is told which circuit a client came by, in place
// of an address.
func (w *onionWorld) testProxyHeader(t *testing.T) {
	srv := w.servers["ejabberd"]
	target := net.JoinHostPort(srv.Host, fmt.Sprint(srv.Proxied))
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			o := w.publish(t, "proxied-"+version, "--target", target, "--proxy", version)
			jid := srv.account(t)
			gw := w.consumer(t, srv, o.Address)
			alice := peers.Login(t, peers.Slixmpp, through(gw, peers.StartTLS, jid))
			if err := alice.Ping(deadline(t)); err != nil {
				t.Error(err)
			}
			// HiddenServiceExportCircuitID writes the circuit as an address of
			// this network.
			if !told(srv.Log(), jid, "fc00:dead:beef:4dad:") {
				t.Error("the server's log does not show the circuit")
			}
		})
	}
}

// told finds a line of a log that has all words.
func told(log string, words ...string) bool {
lines:
	for line := range strings.Lines(log) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		return true
	}
	return false
}

// testDown: an address that nobody publishes. (One that was published a moment
// ago is no test: introduction points go on to take requests for a while, and
// tor waits for two minutes then.)
func (w *onionWorld) testDown(t *testing.T) {
	srv := w.servers["prosody"]
	key, err := onion.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	jid := srv.account(t)
	gw := w.consumer(t, srv, key.Address())
	if failed := loginFailure(t, through(gw, peers.StartTLS, jid)); !strings.Contains(failed.Text, "the onion service cannot be found") {
		t.Errorf("F0: %v", failed)
	}
}

// testKilled: the address answers again, whoever was killed.
func (w *onionWorld) testKilled(t *testing.T, address string) {
	srv := w.servers["prosody"]
	jid := srv.account(t)
	gw := w.consumer(t, srv, address)
	again := func(what string) {
		t.Helper()
		if o := w.published(t, "node"); o.Address != address {
			t.Fatalf("after the end of %s the address is %s, and was %s", what, o.Address, address)
		}
		start := time.Now()
		for {
			c, err := peers.Slixmpp(deadline(t), through(gw, peers.StartTLS, jid))
			if err == nil {
				t.Logf("after the end of %s a client is in again %.1f s after it is published", what, time.Since(start).Seconds())
				c.Close()
				return
			}
			if time.Since(start) > time.Minute {
				t.Fatalf("after the end of %s: %v", what, err)
			}
		}
	}
	tor, err := w.Tor()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(tor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if now, err := w.Tor(); err == nil && now != tor {
			break
		} else if time.Now().After(end) {
			t.Fatal("tor is not started again")
		}
	}
	again("tor")
	if err := w.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	again("the daemon")
}
