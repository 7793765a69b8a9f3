//go:build e2e

package tests_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
)

// Two clients that know nothing of WebSocket talk through the gateway to a real
// Prosody that is reached by nothing else (RFC 7395).
func TestE2EWebSocket(t *testing.T) {
	const domain = "web.test"
	dir := t.TempDir()
	authority, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	o := peers.Options{Domain: domain, Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Hash: "SHA-256", WebSocket: true,
		Accounts: []peers.Account{{Username: username(1), Password: password}, {Username: username(2), Password: password}}}
	leaf, err := authority.Leaf(lab.CALeaf{Names: []string{domain}})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.WriteCertificate(leaf, o.Cert, o.Key); err != nil {
		t.Fatal(err)
	}
	if err := authority.Write(dir); err != nil {
		t.Fatal(err)
	}
	srv := peers.Start(t, peers.Prosody, o)
	endpoint := fmt.Sprintf("wss://127.0.0.1:%d/xmpp-websocket", srv.WebSocket)
	gw := daemon.Run(t, daemon.Options{Config: blockOthers + fmt.Sprintf("[domain.%q]\nroute = \"direct\"\nca = %q\nendpoints = [%q]\n", domain, filepath.Join(dir, "ca.pem"), endpoint)})
	for name, client := range peers.Clients() {
		if name == "go-sendxmpp" {
			continue // sends and goes; it does not converse
		}
		t.Run(name, func(t *testing.T) {
			jidA, jidB := username(1)+"@"+domain, username(2)+"@"+domain
			a := peers.Login(t, client, through(gw, peers.StartTLS, jidA))
			b := peers.Login(t, peers.Slixmpp, through(gw, peers.DirectTLS, jidB))
			converse(t, a, jidA, b, jidB)
			if name == "slixmpp" { // in a screenful, the other one would not be found
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				big := strings.Repeat("a long message, ", 4000)
				if err := b.Send(ctx, jidA, big); err != nil {
					t.Fatal(err)
				}
				if err := a.Receive(ctx, jidB, big); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range gw.Sessions(t, domain) {
				if s.Endpoint != endpoint || s.TLS.Version != "TLS 1.3" || !strings.HasPrefix(s.SASL.Mechanism, "SCRAM-SHA-256") {
					t.Errorf("status shows %+v", s)
				}
				t.Logf("%s, binding %q", s.SASL.Mechanism, s.SASL.Binding)
			}
		})
	}
}
