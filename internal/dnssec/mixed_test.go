package dnssec

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestMixedAnswers puts truths together wrongly, as whoever has all that the zones ever
// signed could: the records of other answers in place of the right ones or among them,
// and some left out. Whatever comes of it, what is signed is never taken for unsigned,
// nor for anything else than it is.
func TestMixedAnswers(t *testing.T) {
	types := []uint16{dns.TypeA, dns.TypeSRV, dns.TypeDS, dns.TypeDNSKEY, dns.TypeMX, dns.TypeTLSA}
	prefixes := []string{"", "host.", "_xmpp-client._tcp.", "_tcp.", "any.wild.", "wild.", "*.wild.", "deep.name.wild.",
		"x.alias.", "out.", "in.", "moved.", "host.moved.", "nothing.", "alias1."}
	var signed []*dns.Msg // all that there is to choose from
	for _, zone := range []string{"test.", "good.test.", "hashed.test.", "signed.hashed.test.", "plain.hashed.test.",
		"optout.test.", "free.optout.test.", "plain.test.", "island.test.", "costly.test."} {
		for _, prefix := range prefixes {
			for _, qtype := range types {
				r, err := tree().Exchange(t.Context(), new(dns.Msg).SetQuestion(prefix+zone, qtype))
				if err != nil {
					t.Fatal(err)
				}
				signed = append(signed, r)
			}
		}
	}
	clock := func() time.Time { return now }
	honest := New(Config{Anchors: tree().Anchors(), Now: clock, Exchange: tree().Exchange})
	zones := []string{"good.test.", "hashed.test.", "signed.hashed.test.", "optout.test."}
	seen := map[Security]int{}
	for round := range uint64(1200) {
		random := rand.New(rand.NewPCG(round, 0))
		name, qtype := prefixes[random.IntN(len(prefixes))]+zones[random.IntN(len(zones))], types[random.IntN(len(types))]
		want, err := honest.Lookup(t.Context(), name, qtype)
		if err != nil {
			t.Fatal(err)
		}
		if want.Security != Secure {
			continue
		}
		exchange := func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
			r, err := tree().Exchange(ctx, q)
			// The same for the same question, in whatever order they come.
			random := rand.New(rand.NewPCG(round, uint64(len(q.Question[0].Name))<<16|uint64(q.Question[0].Qtype)))
			if err == nil && random.IntN(4) == 0 {
				mix(r, signed, random)
			}
			return r, err
		}
		got, err := New(Config{Anchors: tree().Anchors(), Now: clock, Exchange: exchange}).Lookup(t.Context(), name, qtype)
		if err != nil {
			t.Fatal(err)
		}
		seen[got.Security]++
		if got.Security == Insecure || got.Security == Secure && texts(got) != texts(want) {
			t.Errorf("round %d: %s %s: %v %v %q, want %v", round, name, dns.TypeToString[qtype], got.Security, got.Records, got.Why, want.Records)
		}
	}
	if seen[Secure] < 100 || seen[Bogus] < 100 {
		t.Errorf("this shows nothing: %v", seen)
	}
}

// mix changes an answer with the help of others.
func mix(r *dns.Msg, others []*dns.Msg, random *rand.Rand) {
	other := func() *dns.Msg { return others[random.IntN(len(others))].Copy() }
	some := func(dns.RR) bool { return random.IntN(3) == 0 }
	for range 1 + random.IntN(3) {
		switch o := other(); random.IntN(8) {
		case 0:
			r.Answer = o.Answer
		case 1:
			r.Ns = o.Ns
		case 2:
			r.Answer, r.Ns, r.Rcode = o.Answer, o.Ns, o.Rcode
		case 3:
			r.Ns = append(r.Ns, o.Ns...)
		case 4:
			r.Answer = append(r.Answer, o.Answer...)
		case 5:
			r.Answer = slices.DeleteFunc(r.Answer, some)
		case 6:
			r.Ns = slices.DeleteFunc(r.Ns, some)
		case 7:
			r.Answer, r.Ns = nil, nil
		}
	}
}
