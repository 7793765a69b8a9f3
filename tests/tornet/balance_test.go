//go:build e2e

package tornet_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/onion"
	"xmpp-gw/tests/peers"
	"xmpp-gw/tests/tornet"
)

// Two nodes behind one address that OnionBalance publishes: when one of them
// dies, clients come to the other.
func TestOnionBalance(t *testing.T) {
	frontend, key := newAddress(t)
	nodes := make(map[string]*tornet.Service) // by what they say
	for _, name := range []string{"one", "two"} {
		svc, err := network.Backend(t.Context(), frontend, tornet.Port{Virtual: 5222, Target: greeter(t, name)})
		if err != nil {
			t.Fatal(err)
		}
		defer svc.Close()
		nodes[name] = svc
	}
	c, err := network.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ob, err := peers.OnionBalance(strings.TrimPrefix(c.Control(), "unix:"), key, nodes["one"].Onion, nodes["two"].Onion)
	if err != nil {
		t.Fatal(err)
	}
	defer ob.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	if err := ob.Published(ctx, 2); err != nil {
		t.Fatal(err)
	}

	// Each client chooses one of the introduction points, so both nodes get
	// some of them.
	seen := make(map[string]bool)
	for i := 0; len(seen) < 2; i++ {
		if i == 40 {
			t.Fatalf("40 clients were all served by node %v", seen)
		}
		seen[greeting(t, fmt.Sprint("balance", i), frontend)] = true
	}
	nodes["one"].Kill()
	// Where Tor chooses an introduction point of the dead node that does not know
	// of its end yet, it gives up after two minutes only, and then takes another.
	ctx, cancel = context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			for {
				got, err := greeted(ctx, fmt.Sprint("after", i), frontend)
				switch {
				case err == nil && got == "two":
					return
				case err == nil:
					t.Errorf("after the end of node one, %q answers", got)
					return
				case ctx.Err() != nil:
					t.Errorf("after the end of node one, nobody answers: %v", err)
					return
				}
				t.Logf("once more: %v", err)
			}
		})
	}
	wg.Wait()
}

// greeter serves whoever connects with a name, and returns its address.
func greeter(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, name)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// greeting is what a greeter behind an onion address says.
func greeting(t *testing.T, user, onion string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := greeted(ctx, user, onion)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// greeted is greeting for those who may be disappointed.
func greeted(ctx context.Context, user, onion string) (string, error) {
	c, err := dialContext(ctx, managed.SOCKS(), user, onion+":5222")
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	b, err := io.ReadAll(c)
	return string(b), err
}

// newAddress makes an onion address and the file with its key.
func newAddress(t *testing.T) (address, file string) {
	t.Helper()
	key, err := onion.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "hs_ed25519_secret_key")
	if err := os.WriteFile(file, key.Marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
	return key.Address(), file
}
