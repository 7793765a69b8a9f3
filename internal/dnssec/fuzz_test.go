package dnssec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzAnswers lets somebody between the resolver and us write into every message,
// or put a message of his own in its place. Whatever he does, an end comes soon,
// and what is called secure is what the zone says.
func FuzzAnswers(f *testing.F) {
	questions := []question{{"host.good.test.", dns.TypeA}, {"_xmpp-client._tcp.hashed.test.", dns.TypeSRV}, {"no.such.hashed.test.", dns.TypeA},
		{"any.wild.good.test.", dns.TypeA}, {"x.moved.good.test.", dns.TypeA}, {"in.hashed.test.", dns.TypeA}, {"host.free.optout.test.", dns.TypeA},
		{"host.good.test.", dns.TypeMX}, {"out.good.test.", dns.TypeA}}
	for i := range questions {
		f.Add(uint8(i), uint8(0), []byte{}, []byte{})
		f.Add(uint8(i), uint8(0xff), []byte{0, 12, 1, 0, 40, 255}, []byte{})
		f.Add(uint8(i), uint8(3), []byte{0, 3, 3, 1, 0, 9}, []byte("\x00\x00\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00"))
	}
	f.Fuzz(func(t *testing.T, which, where uint8, flips, other []byte) {
		q := questions[int(which)%len(questions)]
		var mu sync.Mutex
		asked := 0
		v := New(Config{Anchors: tree().Anchors(), Now: func() time.Time { return now },
			Exchange: func(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
				mu.Lock()
				asked++
				mu.Unlock()
				hit := where>>((len(m.Question[0].Name)+int(m.Question[0].Qtype))%8)&1 == 1
				r, err := tree().Exchange(ctx, m)
				if err != nil {
					return nil, err
				}
				wire, err := r.Pack()
				if err != nil {
					return nil, err
				}
				if hit {
					for i := 0; i+2 < len(flips); i += 3 {
						wire[(int(flips[i])<<8|int(flips[i+1]))%len(wire)] ^= flips[i+2]
					}
					if len(other) > 0 {
						wire = append(wire[:min(len(wire), int(where))], other...)
					}
				}
				out := new(dns.Msg)
				if out.Unpack(wire) != nil {
					return nil, errors.New("unreadable")
				}
				out.Question = m.Question // or nearly nothing would be looked at
				out.Response, out.Truncated = true, false
				return out, nil
			}})
		began := time.Now()
		got, err := v.Lookup(context.Background(), q.name, q.qtype)
		if took := time.Since(began); took > 5*time.Second || asked > v.limits.Messages {
			t.Errorf("%v and %d messages", took, asked)
		}
		if err != nil {
			return
		}
		honest, _ := validatorOf(tree().Exchange).Lookup(context.Background(), q.name, q.qtype)
		switch {
		case got.Security < Insecure && (got.Records != nil || got.Missing):
			t.Errorf("%v with an answer: %+v", got.Security, got)
		case got.Security == Secure && honest.Security != Secure,
			got.Security == Secure && texts(got) != texts(honest),
			got.Security == Insecure && honest.Security == Secure:
			t.Errorf("got %+v, where the zone says %+v", got, honest)
		}
	})
}

func validatorOf(e Exchange) *Validator {
	return New(Config{Anchors: tree().Anchors(), Now: func() time.Time { return now }, Exchange: e})
}

// texts is what a result says, without what nobody signs: times to live and the
// order.
func texts(r Result) string {
	var out []string
	for _, rr := range r.Records {
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		out = append(out, dns.CanonicalName(rr.String()))
	}
	slices.Sort(out)
	return fmt.Sprint(r.Missing, slices.Compact(out))
}
