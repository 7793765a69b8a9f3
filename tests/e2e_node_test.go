//go:build e2e

package tests_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xmpp-gw/internal/control"
	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/peers"
)

// testNode: `publish = true` and nothing else makes a server that others reach over
// Tor, at an address that is also the domain of its accounts.
func testNode(t *testing.T, g *world) {
	node := publisher{daemon.Run(t, daemon.Options{
		Config: fmt.Sprintf("[tor]\nmode = \"managed\"\ntorrc = %q\n", g.tor.ExtraTorrc()) + blockOthers + "[node]\npublish = true\n",
	})}
	desk := control.NewClient(filepath.Join(node.Dir, "control.sock"))
	defer desk.Close()
	for _, name := range []string{"romeo", "juliet"} {
		if _, err := desk.AddAccount(t.Context(), control.NewAccount{JID: name, Password: password}); err != nil {
			t.Fatal(err)
		}
	}
	service := node.published(t, "node")
	domain := service.Address
	if len(service.Ports) != 2 || service.Ports[0].Target != "node" {
		t.Errorf("published is %+v", service)
	}
	system, err := g.tor.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { system.Close() })
	far := daemon.Run(t, daemon.Options{Config: fmt.Sprintf("[tor]\nmode = \"system\"\nsocks = [%q]\n", system.SOCKS()) + blockOthers +
		fmt.Sprintf("[domain.%q]\nroute = \"onion-only\"\n", domain)})

	// One of them is on the machine of the node, the other one anywhere.
	jidA, jidB := "romeo@"+domain, "juliet@"+domain
	here := through(node.Daemon, peers.StartTLS, jidA)
	here.Mended = true
	a := peers.Login(t, peers.Slixmpp, here)
	b := peers.Login(t, peers.Slixmpp, through(far, peers.DirectTLS, jidB))
	converse(t, a, jidA, b, jidB)
	if s := only(t, node.Daemon, domain); s.Route != "node" {
		t.Errorf("here: %+v", s)
	}
	if s := only(t, far, domain); s.Route != "onion-only" || !strings.HasPrefix(s.SASL.Mechanism, "SCRAM-SHA-512") || s.SASL.Binding == "" {
		t.Errorf("there: %+v", s)
	}
	if n := node.Report(t).Status.Node; n == nil || n.Sessions != 2 {
		t.Errorf("the node has %+v", n)
	}

	// What is shown to the world tells nothing of the machine.
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if cert, err := os.ReadFile(filepath.Join(node.Dir, "node-tls.pem")); err != nil || strings.Contains(string(cert), host) {
		t.Errorf("the node's certificate: %v", err)
	}
	if _, err := node.Command(t.Context(), "onion rotate", "node"); err == nil {
		t.Error("the domain of the accounts was rotated away")
	}
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := node.published(t, "node"); again.Address != domain {
		t.Errorf("after a crash it is at %s", again.Address)
	}
	arrive(t, through(far, peers.DirectTLS, jidB))
}
