package dnssec

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// TestCost says what the questions of a discovery are. They are the same whatever other
// sessions asked before: from what is not asked for again, a resolver could tell that
// two circuits are of one machine.
func TestCost(t *testing.T) {
	base := New(Config{Anchors: tree().Anchors(), Now: func() time.Time { return now }})
	discover := func(domain string) []string {
		var mu sync.Mutex
		var asked []string
		v := base.Over(Once(t.Context(), func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
			mu.Lock()
			asked = append(asked, q.Question[0].Name+" "+dns.TypeToString[q.Question[0].Qtype])
			mu.Unlock()
			return tree().Exchange(ctx, q)
		}))
		var all sync.WaitGroup
		for _, service := range []string{"_xmpp-client._tcp.", "_xmpps-client._tcp."} {
			all.Go(func() {
				if r, err := v.Lookup(t.Context(), service+domain, dns.TypeSRV); err != nil || r.Security != Secure {
					t.Errorf("%v, %v", r, err)
				}
			})
		}
		all.Wait()
		slices.Sort(asked)
		return asked
	}
	for _, domain := range []string{"good.test.", "hashed.test.", "good.test."} {
		want := []string{". DNSKEY", "_xmpp-client._tcp." + domain + " SRV", "_xmpps-client._tcp." + domain + " SRV",
			domain + " DNSKEY", domain + " DS", "test. DNSKEY", "test. DS"}
		if got := discover(domain); !slices.Equal(got, want) {
			t.Errorf("%s: asked for %q, want %q", domain, got, want)
		}
	}
}

// TestOnce: whoever asked first may leave; failures are not kept; nobody changes the
// answer of another.
func TestOnce(t *testing.T) {
	var calls atomic.Int32
	hold := make(chan struct{})
	fail := errors.New("no")
	ask := Once(t.Context(), func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		calls.Add(1)
		switch q.Question[0].Name {
		case "fail.":
			return nil, fail
		case "none.":
			return nil, nil
		}
		select {
		case <-hold:
			return new(dns.Msg).SetReply(q), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	question := func(name string) *dns.Msg { return new(dns.Msg).SetQuestion(name, dns.TypeA) }

	gone, leave := context.WithCancelCause(t.Context())
	leave(fail)
	if _, err := ask(gone, question("a.")); !errors.Is(err, fail) {
		t.Errorf("whoever leaves gets %v", err)
	}
	got := make(chan *dns.Msg, 2)
	for range 2 {
		go func() {
			m, err := ask(t.Context(), question("a."))
			if err != nil {
				t.Error(err)
			}
			got <- m
		}()
	}
	close(hold)
	if a, b := <-got, <-got; a == b || a == nil || b == nil {
		t.Errorf("%p and %p", a, b)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	for _, name := range []string{"fail.", "none."} {
		calls.Store(0)
		for range 2 {
			if m, err := ask(t.Context(), question(name)); m != nil || name == "fail." && !errors.Is(err, fail) {
				t.Errorf("%s: %v, %v", name, m, err)
			}
		}
		if n := calls.Load(); n != 2 {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
	if _, err := ask(t.Context(), new(dns.Msg)); err == nil {
		t.Error("no question was asked")
	}
	calls.Store(0)
	for i := range 2 * maxOnce {
		if _, err := ask(t.Context(), question(string(rune('a'+i%26))+dns.Fqdn(string(rune('a'+i/26))))); err != nil {
			t.Fatal(err)
		}
	}
	if n := calls.Load(); n < maxOnce {
		t.Errorf("asked %d times", n)
	}
}

// TestRounds: over Tor each question takes a second, so all that a discovery needs
// must be asked at once.
func TestRounds(t *testing.T) {
	tree()
	for _, tt := range []struct {
		name string
		want Security
	}{
		{"_xmpp-client._tcp.good.test.", Secure},
		{"_xmpps-client._tcp.good.test.", Secure}, // there is none
		{"_xmpp-client._tcp.plain.test.", Insecure},
		{"_xmpp-client._tcp.hashed.test.", Secure},
		{"_xmpp-client._tcp.expired.test.", Bogus},
		{"_5222._tcp.host.good.test.", Secure},
	} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			v := New(Config{Anchors: tree().Anchors(), Now: func() time.Time { return now }, Exchange: func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
				select {
				case <-time.After(time.Second):
					return tree().Exchange(ctx, q)
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}})
			r, err := v.Lookup(t.Context(), tt.name, dns.TypeSRV)
			if took := time.Since(begin); err != nil || r.Security != tt.want || took > time.Second {
				t.Errorf("%s: %v after %v, %v", tt.name, r.Security, took, err)
			}
		})
	}
}
