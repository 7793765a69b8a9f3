//go:build e2e

package node_test

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/standard"
	"xmpp-gw/server/store"
	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
)

const nodeDomain = "node.example"

// bundled is the bundled server with its modules, as programs see it that embed it.
type bundled struct {
	domain  string
	plain   bool   // it takes PLAIN
	ca      string // PEM file
	addr    map[peers.TLSMode]string
	account func(t *testing.T, jid string)
}

// startBundled starts one in this process, over a database on disk.
func startBundled(t *testing.T) *bundled {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ca, err := lab.NewCA()
	must(err)
	must(ca.Write(dir))
	leaf, err := ca.Leaf(lab.CALeaf{Names: []string{nodeDomain}})
	must(err)
	conf := &tls.Config{Certificates: []tls.Certificate{leaf}}
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "state", "node.db"), store.Options{})
	must(err)
	s, err := server.New(t.Context(), server.Config{
		Domains: []string{nodeDomain}, Store: db, AllowPlain: true, // go-sendxmpp 0.5 knows nothing better
		TLS:     func(string) (*tls.Config, error) { return conf, nil },
		Modules: standard.Modules(db, standard.Options{}),
	})
	must(err)
	b := &bundled{domain: nodeDomain, plain: true, ca: filepath.Join(dir, "ca.pem"), addr: map[peers.TLSMode]string{}}
	for mode, kind := range map[peers.TLSMode]server.ListenerKind{peers.StartTLS: server.STARTTLS, peers.DirectTLS: server.DirectTLS} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		b.addr[mode] = l.Addr().String()
		go s.Serve(l, kind)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	b.account = func(t *testing.T, jid string) {
		t.Helper()
		owner, err := address.Parse(jid)
		if err == nil {
			err = s.CreateAccount(t.Context(), owner, passwordOf(jid), false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// runBundled runs one as `xmpp-gw run` does.
func runBundled(t *testing.T) *bundled {
	t.Helper()
	gw := daemon.Run(t, daemon.Options{Config: "[tor]\nmode = \"off\"\n[default]\nroute = \"block\"\n[node]\ndomain = \"localhost\"\n"})
	return &bundled{
		domain: "localhost", ca: gw.CA,
		addr: map[peers.TLSMode]string{peers.StartTLS: gw.C2S, peers.DirectTLS: gw.C2STLS},
		account: func(t *testing.T, jid string) {
			t.Helper()
			cmd, err := daemon.Command(t.Context(), "account", "add", "--config", filepath.Join(gw.Dir, "config.toml"), "--state-dir", gw.Dir, "--password-stdin", jid)
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdin = strings.NewReader(passwordOf(jid) + "\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("account add: %v\n%s", err, out)
			}
		},
	}
}

func passwordOf(jid string) string { return "the secret of " + jid }

// credentials make an account and say how to log in.
func (b *bundled) credentials(t *testing.T, name string, mode peers.TLSMode) peers.Credentials {
	t.Helper()
	jid := name + "@" + b.domain
	b.account(t, jid)
	return peers.Credentials{JID: jid, Password: passwordOf(jid), Addr: b.addr[mode], TLS: mode, CA: b.ca, Mended: true}
}

// Real clients, and what people do with them.
func TestNode(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *bundled{"embedded": startBundled, "xmpp-gw run": runBundled} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			for name, test := range map[string]func(*testing.T, *bundled){
				"chat": testNodeChat, "contacts": testNodeContacts, "offline and archive": testNodeLater, "carbons": testNodeCarbons,
				"blocking": testNodeBlocking, "resumption": testNodeResumption, "publishing": testNodePublishing,
			} {
				t.Run(name, func(t *testing.T) { test(t, b) })
			}
		})
	}
}

// testNodeChat: each client logs in both ways, and each pair of them talks.
func testNodeChat(t *testing.T, b *bundled) {
	clients := peers.Clients()
	clients["aioxmpp"] = func(ctx context.Context, cred peers.Credentials) (peers.Client, error) {
		c, err := peers.Aioxmpp(ctx, cred)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	if !b.plain {
		// go-sendxmpp 0.5 knows PLAIN alone, which the node does not take.
		if c, err := peers.GoSendXMPP(deadline(t), b.credentials(t, "plain", peers.StartTLS)); err == nil {
			c.Close()
			t.Error("go-sendxmpp logged in with PLAIN")
		}
		delete(clients, "go-sendxmpp")
	}
	type one struct {
		peers.Client
		name, jid string
	}
	var all []one
	for _, mode := range []peers.TLSMode{peers.StartTLS, peers.DirectTLS} {
		for name, login := range clients {
			cred := b.credentials(t, name+"-"+string(mode), mode)
			c := peers.Login(t, login, cred)
			t.Logf("%s, %s: %s", name, mode, c.Mechanism())
			if name == "slixmpp" && c.Mechanism() != "SCRAM-SHA-512" && c.Mechanism() != "SCRAM-SHA-256-PLUS" && c.Mechanism() != "SCRAM-SHA-512-PLUS" {
				t.Errorf("slixmpp logged in with %s", c.Mechanism())
			}
			all = append(all, one{c, name + " " + string(mode), cred.JID})
		}
	}
	ctx := deadline(t)
	for _, from := range all {
		for _, to := range all {
			if from.jid == to.jid {
				continue
			}
			body := "from " + from.name + " to " + to.name
			if err := from.Send(ctx, to.jid, body); err != nil {
				t.Errorf("%s: %v", body, err)
			}
			if err := to.Receive(ctx, from.jid, body); err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
}

// testNodeContacts: contacts both ways, between different clients.
func testNodeContacts(t *testing.T, b *bundled) {
	ctx := deadline(t)
	alice := peers.Login(t, peers.Slixmpp, b.credentials(t, "alice", peers.StartTLS))
	bob := peers.Login(t, peers.Aioxmpp, b.credentials(t, "bob", peers.StartTLS))
	bobJID, aliceJID := "bob@"+b.domain, "alice@"+b.domain
	do(t, alice, "subscribe", "asked", "jid", bobJID)
	for _, c := range []struct {
		*peers.SlixmppClient
		contact string
	}{{alice, bobJID}, {bob, aliceJID}} {
		for {
			e, err := c.Do(ctx, "roster", "roster")
			if err != nil {
				t.Fatal(err)
			}
			if e.Subscriptions[c.contact] == "both" {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// testNodeLater: what comes while somebody is away is there at the login, and in
// the archive.
func testNodeLater(t *testing.T, b *bundled) {
	ctx := deadline(t)
	carol := peers.Login(t, peers.Slixmpp, b.credentials(t, "carol", peers.StartTLS))
	away := b.credentials(t, "dave", peers.StartTLS)
	carolJID := "carol@" + b.domain
	for _, body := range []string{"first", "second"} {
		if err := carol.Send(ctx, away.JID, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := carol.Ping(ctx); err != nil { // it was dealt with
		t.Fatal(err)
	}
	dave := peers.Login(t, peers.Slixmpp, away)
	for _, body := range []string{"first", "second"} {
		if err := dave.Receive(ctx, carolJID, body); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		*peers.SlixmppClient
		with string
	}{{carol, away.JID}, {dave, carolJID}} {
		if e := do(t, c.SlixmppClient, "archive", "archive", "jid", c.with); !slices.Equal(e.Items, []string{"first", "second"}) {
			t.Errorf("the archive with %s has %q", c.with, e.Items)
		}
	}
	// A client that knows no archive sees them no second time.
	dave.Close()
	again := peers.Login(t, peers.Slixmpp, away)
	do(t, again, "ping", "pong")
	if e, err := again.Await(short(t), 0, func(e peers.Event) bool { return e.Event == "message" }); err == nil {
		t.Errorf("it came again: %q", e.Body)
	}
}

// testNodeCarbons: the other device sees what comes and what is sent.
func testNodeCarbons(t *testing.T, b *bundled) {
	ctx := deadline(t)
	cred := b.credentials(t, "erin", peers.StartTLS)
	phone := peers.Login(t, peers.Slixmpp, cred)
	tablet := peers.Login(t, peers.Aioxmpp, cred)
	frank := peers.Login(t, peers.Slixmpp, b.credentials(t, "frank", peers.StartTLS))
	do(t, phone, "carbons", "carbons")
	do(t, tablet, "carbons", "carbons")
	carbon := func(c *peers.SlixmppClient, from, body string) {
		t.Helper()
		if _, err := c.Await(ctx, 0, func(e peers.Event) bool { return e.Event == "carbon" && e.From == from && e.Body == body }); err != nil {
			t.Errorf("no carbon of %q: %v", body, err)
		}
	}
	if err := frank.Send(ctx, phone.JID(), "to your phone"); err != nil {
		t.Fatal(err)
	}
	carbon(tablet, "frank@"+b.domain, "to your phone")
	if err := tablet.Send(ctx, "frank@"+b.domain, "from my tablet"); err != nil {
		t.Fatal(err)
	}
	carbon(phone, cred.JID, "from my tablet")
	if err := frank.Receive(ctx, cred.JID, "from my tablet"); err != nil {
		t.Error(err)
	}
}

// testNodeBlocking: who is blocked does not get through, and afterwards does.
func testNodeBlocking(t *testing.T, b *bundled) {
	ctx := deadline(t)
	for name, client := range map[string]func(context.Context, peers.Credentials) (*peers.SlixmppClient, error){"slixmpp": peers.Slixmpp, "aioxmpp": peers.Aioxmpp} {
		grace := peers.Login(t, client, b.credentials(t, "grace-"+name, peers.StartTLS))
		mallory := peers.Login(t, peers.Slixmpp, b.credentials(t, "mallory-"+name, peers.StartTLS))
		graceJID, malloryJID := "grace-"+name+"@"+b.domain, "mallory-"+name+"@"+b.domain
		if e := do(t, grace, "block", "blocked", "jid", malloryJID); !slices.Equal(e.Items, []string{malloryJID}) {
			t.Errorf("%s: blocked are %q", name, e.Items)
		}
		if err := mallory.Send(ctx, graceJID, "while blocked"); err != nil {
			t.Fatal(err)
		}
		if _, err := mallory.Await(ctx, 0, func(e peers.Event) bool { return e.Event == "error" && e.Condition == "service-unavailable" }); err != nil {
			t.Errorf("%s: the message was not refused: %v", name, err)
		}
		do(t, grace, "unblock", "unblocked", "jid", malloryJID)
		if err := mallory.Send(ctx, graceJID, "afterwards"); err != nil {
			t.Fatal(err)
		}
		e, err := grace.Await(ctx, 0, func(e peers.Event) bool { return e.Event == "message" })
		if err != nil || e.Body != "afterwards" {
			t.Errorf("%s: got %q, %v", name, e.Body, err)
		}
	}
}

// testNodeResumption: a connection that is cut loses nothing (XEP-0198).
func testNodeResumption(t *testing.T, b *bundled) {
	ctx := deadline(t)
	for name, client := range map[string]func(context.Context, peers.Credentials) (*peers.SlixmppClient, error){"slixmpp": peers.Slixmpp, "aioxmpp": peers.Aioxmpp} {
		cred := b.credentials(t, "heidi-"+name, peers.StartTLS)
		cred.Resume = true
		heidi := peers.Login(t, client, cred)
		ivan := peers.Login(t, peers.Slixmpp, b.credentials(t, "ivan-"+name, peers.StartTLS))
		for round := range 3 {
			start := heidi.Events()
			if err := heidi.Cut(); err != nil {
				t.Fatal(err)
			}
			body := "while you were cut off " + string(rune('a'+round))
			if err := ivan.Send(ctx, heidi.JID(), body); err != nil {
				t.Fatal(err)
			}
			if _, err := heidi.Await(ctx, start, func(e peers.Event) bool { return e.Event == "resumed" }); err != nil {
				t.Fatalf("%s: the session was not resumed: %v", name, err)
			}
			if _, err := heidi.Await(ctx, start, func(e peers.Event) bool { return e.Event == "message" && e.Body == body }); err != nil {
				t.Errorf("%s: the message was lost: %v", name, err)
			}
		}
	}
}

// testNodePublishing: a vCard, an avatar and an OMEMO device list, by the account
// and seen by others.
func testNodePublishing(t *testing.T, b *bundled) {
	ctx := deadline(t)
	judy := peers.Login(t, peers.Slixmpp, b.credentials(t, "judy", peers.StartTLS))
	ken := peers.Login(t, peers.Slixmpp, b.credentials(t, "ken", peers.StartTLS))
	judyJID, kenJID := "judy@"+b.domain, "ken@"+b.domain
	do(t, ken, "subscribe", "asked", "jid", judyJID)
	for { // who sees somebody's presence is told what they publish
		if e := do(t, judy, "roster", "roster"); e.Subscriptions[kenJID] == "both" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	const devices = "eu.siacs.conversations.axolotl.devicelist"
	do(t, ken, "interest", "interested", "node", devices)
	do(t, ken, "ping", "pong")
	start := ken.Events()
	do(t, judy, "setdevices", "setdevices", "devices", "4711 4712")
	if _, err := ken.Await(ctx, start, func(e peers.Event) bool {
		return e.Event == "published" && e.From == judyJID && e.Node == devices
	}); err != nil {
		t.Errorf("the device list did not come by itself: %v", err)
	}
	if e := do(t, ken, "getdevices", "getdevices", "jid", judyJID); !slices.Equal(e.Items, []string{"4711", "4712"}) {
		t.Errorf("the devices are %q", e.Items)
	}
	do(t, judy, "setvcard", "setvcard", "name", "Judy Example")
	do(t, judy, "setavatar", "setavatar")
	// The avatar is in the vCard too (XEP-0398).
	if e := do(t, ken, "getvcard", "getvcard", "jid", judyJID); e.Text != "Judy Example" || !slices.Equal(e.Items, []string{"image/png"}) {
		t.Errorf("the vCard has the name %q and the pictures %q", e.Text, e.Items)
	}
}

// do is a command that must succeed.
func do(t *testing.T, c *peers.SlixmppClient, command, answer string, args ...string) peers.Event {
	t.Helper()
	e, err := c.Do(deadline(t), command, answer, args...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// deadline bounds what a client is waited for.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// short bounds the wait for what should not come.
func short(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
