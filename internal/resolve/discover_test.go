package resolve

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"xmpp-gw/policy"
)

// table is an SRVLookup of known answers.
type table map[string]struct {
	records []SRV
	err     error
}

func (t table) SRV(_ context.Context, name string) ([]SRV, error) {
	return t[name].records, t[name].err
}

// nobody fails the test when it is asked.
type nobody struct{ t *testing.T }

func (n nobody) SRV(_ context.Context, name string) ([]SRV, error) {
	n.t.Errorf("%s was asked", name)
	return nil, errors.New("asked")
}

const anOnion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"

// A domain that DNS does not define is its own answer.
func TestDiscoverWithoutDNS(t *testing.T) {
	for domain, want := range map[string]string{
		anOnion:                        "[starttls://" + anOnion + ":5222]",
		strings.ToUpper(anOnion) + ".": "[starttls://" + anOnion + ":5222]",
		"chat." + anOnion:              "[starttls://chat." + anOnion + ":5222]",
		"192.0.2.1":                    "[starttls://192.0.2.1:5222]",
		"[2001:db8::1]":                "[starttls://[2001:db8::1]:5222]",
		"localhost":                    "[starttls://localhost:5222]",
		"a b.example":                  "",
		"":                             "",
	} {
		got, err := Discover(context.Background(), nobody{t}, domain, Options{})
		if want == "" {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%q: %v, %v", domain, got, err)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", domain, got, err, want)
		}
	}
}

func TestDiscover(t *testing.T) {
	type list = []SRV
	dot := list{{Target: "."}}
	at := func(host string, priority uint16) SRV { return SRV{Target: host, Port: 5222, Priority: priority} }
	failed := &Error{Kind: ErrNoAnswer, What: "SERVFAIL"}
	for _, tt := range []struct {
		label   string
		plain   list
		plainE  error
		direct  list
		directE error
		onion   bool
		want    string // endpoints, without the brackets
		kind    error
		hint    string
	}{
		{label: "neither: the domain itself (RFC 6120 §3.2.2)", want: "starttls://example.test:5222"},
		{label: "both are mixed by priority (XEP-0368 §3)", plain: list{at("a", 10), at("c", 30)}, direct: list{at("b", 20)},
			want: "starttls://a:5222 tls://b:5222 starttls://c:5222"},
		{label: "only direct TLS", direct: list{at("b", 20)}, want: "tls://b:5222"},
		{label: "the same host twice", plain: list{at("a", 10), at("a", 10), at("a", 20)}, want: "starttls://a:5222"},
		{label: "direct TLS is a no", plain: list{at("a", 10)}, direct: dot, want: "starttls://a:5222"},
		{label: "STARTTLS is a no", plain: dot, direct: list{at("b", 20)}, want: "tls://b:5222"},
		{label: "both are a no", plain: dot, direct: dot, kind: ErrNoService, hint: "spelling"},
		{label: "one no, no fallback (RFC 6120 §3.2.1)", plain: dot, kind: ErrNoService, hint: "spelling"},
		{label: "direct no, no fallback (XEP-0368 §5)", direct: dot, kind: ErrNoService, hint: "spelling"},
		{label: "a no among records", plain: list{{Target: "."}, at("a", 10)}, want: "starttls://a:5222"},
		{label: "nobody could say", plainE: failed, directE: failed, kind: ErrNoAnswer},
		{label: "nobody could say for one: no fallback", directE: failed, kind: ErrNoAnswer},
		{label: "nobody could say for the other: no fallback", plainE: failed, kind: ErrNoAnswer},
		{label: "a no and nobody", plain: dot, directE: failed, kind: ErrNoAnswer},
		{label: "records and nobody", plain: list{at("a", 10)}, directE: failed, want: "starttls://a:5222"},
		{label: "an IP address as target", plain: list{at("192.0.2.7", 0)}, want: "starttls://192.0.2.7:5222"},
		{label: "an IPv6 address as target", plain: list{at("2001:db8::7", 0)}, want: "starttls://[2001:db8::7]:5222"},
		{label: "an onion without Tor", plain: list{at(anOnion, 0)}, kind: ErrNoService, hint: `route = "tor"`},
		{label: "an onion without Tor among others", plain: list{at(anOnion, 0), at("a", 10)}, want: "starttls://a:5222"},
		{label: "an onion with Tor", plain: list{at(anOnion, 0)}, onion: true, want: "starttls://" + anOnion + ":5222"},
		{label: "port 0", plain: list{{Target: "a"}}, kind: ErrNoService, hint: "operator"},
		{label: "no host names", plain: list{at(`a\032b`, 0), at("a b", 0), at("", 0), at("localhost", 0), at("x.localhost", 0)}, kind: ErrNoService, hint: "operator"},
	} {
		t.Run(tt.label, func(t *testing.T) {
			lookup := table{
				"_xmpp-client._tcp.example.test":  {tt.plain, tt.plainE},
				"_xmpps-client._tcp.example.test": {tt.direct, tt.directE},
			}
			got, err := Discover(context.Background(), lookup, "example.test", Options{Onion: tt.onion})
			if tt.kind != nil {
				if got != nil || !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.hint) {
					t.Fatalf("got %v, %v, want %v with %q", got, err, tt.kind, tt.hint)
				}
				return
			}
			if err != nil || strings.Trim(fmt.Sprint(got), "[]") != tt.want {
				t.Fatalf("got %v, %v, want %s", got, err, tt.want)
			}
		})
	}
}

// barrier answers only when both services have been asked.
type barrier chan struct{}

func (b barrier) SRV(ctx context.Context, name string) ([]SRV, error) {
	select {
	case b <- struct{}{}:
	case <-b:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return []SRV{{Target: "a", Port: 1}}, nil
}

// Both services are asked at the same time.
func TestDiscoverAsksAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if got, err := Discover(ctx, make(barrier), "example.test", Options{}); err != nil || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
}

// A lookup with any number of records costs a bounded list.
func TestDiscoverBounds(t *testing.T) {
	var many []SRV
	for i := range 10000 {
		many = append(many, SRV{Target: fmt.Sprintf("h%d", i), Port: 5222})
	}
	got, err := Discover(context.Background(), table{"_xmpp-client._tcp.example.test": {many, nil}}, "example.test", Options{})
	if err != nil || len(got) != MaxRecords {
		t.Errorf("%d endpoints, %v", len(got), err)
	}
}

// RFC 2782's draw, step by step: the running sums of the records that are left
// against the number drawn from 0 to their sum.
func TestOrderDraws(t *testing.T) {
	in := []candidate{}
	for _, r := range []SRV{{Target: "low", Priority: 9}, {Target: "w10", Weight: 10}, {Target: "zero"}, {Target: "w60", Weight: 60}} {
		in = append(in, candidate{r, policy.STARTTLS})
	}
	for _, tt := range []struct {
		draws []int // of the three records of priority 0, which stand zero, w10, w60
		sums  string
		want  string
	}{
		{[]int{0, 0, 0, 0}, "[71 71 61 1]", "zero w10 w60 low"},
		{[]int{1, 0, 0, 0}, "[71 61 61 1]", "w10 zero w60 low"},
		{[]int{10, 1, 0, 0}, "[71 61 1 1]", "w10 w60 zero low"},
		{[]int{11, 0, 0, 0}, "[71 11 11 1]", "w60 zero w10 low"},
		{[]int{70, 10, 0, 0}, "[71 11 1 1]", "w60 w10 zero low"},
	} {
		var sums []int
		next := func(n int) int {
			sums = append(sums, n)
			return tt.draws[len(sums)-1]
		}
		var got []string
		for _, c := range order(in, next) {
			got = append(got, c.Target)
		}
		if s := strings.Join(got, " "); s != tt.want || fmt.Sprint(sums) != tt.sums {
			t.Errorf("draws %v: %s from 0 to below %v, want %s of %s", tt.draws, s, sums, tt.want, tt.sums)
		}
	}
}

// Over many draws a weight is a share.
func TestOrderShares(t *testing.T) {
	in := []candidate{{SRV{Target: "a", Weight: 75}, policy.STARTTLS}, {SRV{Target: "b", Weight: 25}, policy.DirectTLS}}
	r := rand.New(rand.NewPCG(1, 2))
	first := 0
	const rounds = 10000
	for range rounds {
		if order(in, r.IntN)[0].Target == "a" {
			first++
		}
	}
	if share := float64(first) / rounds; share < 0.73 || share > 0.77 {
		t.Errorf("the record of weight 75 of 100 came first in %.3f of the draws", share)
	}
}
