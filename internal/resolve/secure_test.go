package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/tests/lab"
)

// signedTree has a signed and an unsigned domain, and one whose signatures are old.
func signedTree() *lab.SignedTree {
	now := time.Now()
	records := func(z string) []string {
		return []string{"_xmpp-client._tcp." + z + " IN SRV 0 5 5222 xmpp." + z, "xmpp." + z + " IN A 127.0.0.9",
			"_5222._tcp.xmpp." + z + " IN TLSA 3 1 1 " + fmt.Sprintf("%064d", 7)}
	}
	return lab.SignTree(now,
		lab.SignedZone{Name: "good.example.", Records: records("good.example.")},
		lab.SignedZone{Name: "plain.example.", Unsigned: true, Records: records("plain.example.")},
		lab.SignedZone{Name: "old.example.", Begin: now.Add(-9 * time.Hour), End: now.Add(-time.Hour), Records: records("old.example.")})
}

func TestSecureDiscovery(t *testing.T) {
	tree := signedTree()
	v := dnssec.New(dnssec.Config{Exchange: tree.Exchange, Anchors: tree.Anchors()})
	for _, tt := range []struct {
		domain   string
		want     error
		insecure error
	}{
		{"good.example", nil, nil},
		{"plain.example", nil, ErrInsecure},
		{"old.example", ErrBogus, nil},
	} {
		t.Run(tt.domain, func(t *testing.T) {
			s := Secure{Prover: v}
			found, insecure, err := s.Discover(t.Context(), tt.domain, Options{})
			if !errors.Is(err, tt.want) || tt.want == nil && (len(found) != 1 || found[0].Host != "xmpp."+tt.domain) {
				t.Errorf("got %v, %v", found, err)
			}
			if !errors.Is(insecure, tt.insecure) || tt.insecure != nil && !strings.Contains(insecure.Error(), "the zone plain.example. is not signed") {
				t.Errorf("proven, but %v", insecure)
			}
		})
	}
	for _, domain := range []string{"192.0.2.1", "localhost"} {
		if _, insecure, err := (Secure{}).Discover(t.Context(), domain, Options{}); insecure != nil || err != nil {
			t.Errorf("%s, of which DNS is not asked: %v, %v", domain, insecure, err)
		}
	}
	if _, err := (&noting{}).SRV(t.Context(), "good.example"); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("without a prover: %v", err)
	}
	for _, name := range []string{"x.onion", "localhost", "a.localhost"} {
		if _, err := (&noting{secure: Secure{Prover: v}}).SRV(t.Context(), name); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// speechless says that nothing is signed, and not why.
type speechless struct{}

func (speechless) Lookup(context.Context, string, uint16) (dnssec.Result, error) {
	return dnssec.Result{Security: dnssec.Insecure}, nil
}

// That something is not proven is not a question of what is said about it.
func TestSecureSpeechless(t *testing.T) {
	s := Secure{Prover: speechless{}}
	if _, insecure, err := s.Discover(t.Context(), "good.example", Options{}); !errors.Is(insecure, ErrInsecure) || err != nil {
		t.Errorf("%v, %v", insecure, err)
	}
}

// A server that takes all signatures away looks like a tree that nobody signs, to
// whoever does not start at the root.
func TestSecureStripped(t *testing.T) {
	tree := signedTree()
	v := dnssec.New(dnssec.Config{Anchors: tree.Anchors(), Exchange: func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		r, err := tree.Exchange(ctx, q)
		signed := func(rr dns.RR) bool {
			return slices.Contains([]uint16{dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDS, dns.TypeDNSKEY}, rr.Header().Rrtype)
		}
		r.Answer, r.Ns = slices.DeleteFunc(r.Answer, signed), slices.DeleteFunc(r.Ns, signed)
		return r, err
	}})
	if found, _, err := (Secure{Prover: v}).Discover(t.Context(), "good.example", Options{}); !errors.Is(err, ErrBogus) {
		t.Errorf("got %v, %v", found, err)
	}
}

func TestExchange(t *testing.T) {
	s, err := lab.DNSStart(lab.DNSZone{"example.test": {"A 127.0.0.1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	servers, err := ParseServers([]string{s.TCP()})
	if err != nil {
		t.Fatal(err)
	}
	c := New(servers, new(net.Dialer), nil)
	q := new(dns.Msg)
	q.SetQuestion("example.test.", dns.TypeA)
	q.Id = 7
	r, err := c.Exchange(t.Context(), q)
	if err != nil || len(r.Answer) != 1 {
		t.Errorf("got %v, %v", r, err)
	}
	if q.Id != 7 || r.Id == 7 && len(s.Queries()) != 1 {
		t.Error("the caller's message was changed")
	}
	for _, name := range []string{"x.onion.", "localhost."} {
		q.SetQuestion(name, dns.TypeA)
		if _, err := c.Exchange(t.Context(), q); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Exchange(t.Context(), new(dns.Msg)); !errors.Is(err, ErrRefused) {
		t.Errorf("no question: %v", err)
	}
	if n := len(s.Queries()); n != 1 {
		t.Errorf("%d queries", n)
	}
}
