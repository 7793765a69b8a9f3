//go:build e2e

package tornet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/onion"
	"xmpp-gw/tests/tornet"
)

func TestProgress(t *testing.T) {
	if len(progress) < 3 || progress[len(progress)-1].Percent != 100 {
		t.Fatalf("progress was %v, want steps up to 100 %%", progress)
	}
	if !slices.IsSortedFunc(progress, func(a, b onion.Progress) int { return a.Percent - b.Percent }) {
		t.Errorf("progress went back: %v", progress)
	}
	for _, p := range progress {
		if p.Tag == "" || p.Summary == "" {
			t.Errorf("%d %% has no phase", p.Percent)
		}
	}
}

func TestThroughExit(t *testing.T) {
	addr := echo(t)
	open(t, managed.SOCKS(), "exit", addr.String())

	t.Run("a name that only the exits' server knows", func(t *testing.T) {
		open(t, managed.SOCKS(), "exit", net.JoinHostPort(nameOfEcho, fmt.Sprint(addr.Port)))
	})
	t.Run("a name that does not exist", func(t *testing.T) {
		if c, err := dial(t, managed.SOCKS(), "exit", "nobody.tornet.test:5222"); err == nil {
			c.Close()
			t.Error("it was connected to")
		}
	})
	t.Run("DNS over TCP", func(t *testing.T) {
		c, err := dial(t, managed.SOCKS(), "exit", nameserver)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		conn := &dns.Conn{Conn: c}
		if err := conn.WriteMsg(new(dns.Msg).SetQuestion(nameOfEcho+".", dns.TypeSRV)); err != nil {
			t.Fatal(err)
		}
		answer, err := conn.ReadMsg()
		if err != nil || len(answer.Answer) != 1 {
			t.Errorf("the answer was %v, %v", answer, err)
		}
	})
}

// The exits ask whom they are told to, while they run.
func TestSetNameserver(t *testing.T) {
	const host = "other.tornet.test"
	other, err := serveNames(host)
	if err != nil {
		t.Fatal(err)
	}
	if err := network.SetNameserver(other); err != nil {
		t.Fatal(err)
	}
	defer network.SetNameserver(nameserver)
	addr := net.JoinHostPort(host, fmt.Sprint(echo(t).Port))
	for end := time.Now().Add(10 * time.Second); ; {
		c, err := dial(t, managed.SOCKS(), fmt.Sprint("exit", time.Now()), addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestHiddenService(t *testing.T) {
	addr := echo(t)
	svc, err := network.HiddenService(t.Context(), tornet.Port{Virtual: 5222, Target: addr.String()})
	if err != nil {
		t.Fatal(err)
	}
	defer svc.Close()
	if len(svc.Onion) != 62 || !strings.HasSuffix(svc.Onion, ".onion") {
		t.Errorf("the address is %q", svc.Onion)
	}
	open(t, managed.SOCKS(), "onion", svc.Onion+":5222")
	c, err := managed.Circuit(t.Context(), "onion")
	if err != nil || c.Purpose != "hs_client_rend" || c.Streams != 1 {
		t.Errorf("its circuit is %v with %d streams, %v", c, c.Streams, err)
	}
	if c, err := dial(t, managed.SOCKS(), "onion", svc.Onion+":5269"); err == nil {
		c.Close()
		t.Error("a port that the service has not was connected to")
	}
	svc.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := onion.DialControl(ctx, svc.Control()); err == nil {
		t.Error("a killed service still has a control port")
	}
}

// Two users never share a circuit, and one user's streams keep to its own.
func TestIsolation(t *testing.T) {
	addr := echo(t).String()
	for _, user := range []string{"alice", "bob", "alice"} {
		open(t, managed.SOCKS(), user, addr)
	}
	all, err := managed.Circuits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := all["alice"], all["bob"]
	if alice.ID == "" || bob.ID == "" || alice.ID == bob.ID {
		t.Errorf("alice has circuit %v, bob has %v", alice, bob)
	}
	if alice.Streams < 1 || bob.Streams != 1 {
		t.Errorf("alice has %d streams, bob has %d", alice.Streams, bob.Streams)
	}
	one, err := managed.Circuit(t.Context(), "bob")
	if err != nil || one.ID != bob.ID {
		t.Errorf("asked for bob alone, got %v, %v", one, err)
	}
	if one.Hops != 3 || len(one.Relays()) != 3 {
		t.Errorf("the way to an exit has %d hops and %d relays, want 3", one.Hops, len(one.Relays()))
	}
	shown, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	for _, relay := range one.Relays() {
		if !strings.HasPrefix(relay, "relay") && !strings.HasPrefix(relay, "authority ") {
			t.Errorf("a relay is called %q", relay)
		}
		if strings.Contains(fmt.Sprintf("%s %+v %#v", shown, one, one), relay) {
			t.Errorf("the relay %s is shown unasked", relay)
		}
	}
	if _, err := managed.Circuit(t.Context(), "carol"); !errors.Is(err, onion.ErrNoCircuit) {
		t.Errorf("for a user without streams: %v", err)
	}
}

// Many at once: one control connection serves them in turn.
func TestCircuitsConcurrently(t *testing.T) {
	open(t, managed.SOCKS(), "dave", echo(t).String())
	errs := make(chan error)
	const users = 50
	for i := range users {
		go func() {
			ctx := t.Context()
			if i%5 == 0 { // these give up in the middle
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*20*time.Microsecond)
				defer cancel()
			}
			c, err := managed.Circuit(ctx, "dave")
			if ctx.Err() == nil && (err != nil || c.ID == "") {
				errs <- fmt.Errorf("%v, %w", c, err)
				return
			}
			errs <- nil
		}()
	}
	for range users {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
