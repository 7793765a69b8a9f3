package dnssec

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The changes that follow are what somebody between the resolver and us may do.

// on limits a change to the answers for one question.
func on(name string, qtype uint16, c func(r *dns.Msg)) change {
	return func(q dns.Question, r *dns.Msg) {
		if q.Name == name && q.Qtype == qtype {
			c(r)
		}
	}
}

// both makes two changes.
func both(a, b change) change {
	return func(q dns.Question, r *dns.Msg) { a(q, r); b(q, r) }
}

func isType(types ...uint16) func(dns.RR) bool {
	return func(rr dns.RR) bool {
		if sig, ok := rr.(*dns.RRSIG); ok && slices.Contains(types, sig.TypeCovered) {
			return true
		}
		return slices.Contains(types, rr.Header().Rrtype)
	}
}

// strip takes records and their signatures out.
func strip(types ...uint16) func(r *dns.Msg) {
	return func(r *dns.Msg) {
		r.Answer = slices.DeleteFunc(r.Answer, isType(types...))
		r.Ns = slices.DeleteFunc(r.Ns, isType(types...))
	}
}

// stripOwner takes what one name has out of the proofs.
func stripOwner(name string) func(r *dns.Msg) {
	return func(r *dns.Msg) {
		r.Ns = slices.DeleteFunc(r.Ns, func(rr dns.RR) bool { return rr.Header().Name == name })
	}
}

// replay puts the answer to another question in place of the right one.
func replay(name string, qtype uint16) func(r *dns.Msg) {
	return func(r *dns.Msg) {
		q := new(dns.Msg)
		q.SetQuestion(name, qtype)
		other, _ := tree().Exchange(context.Background(), q)
		r.Answer, r.Ns, r.Rcode = other.Answer, other.Ns, other.Rcode
	}
}

// fake puts unsigned records in place of the answer.
func fake(lines ...string) func(r *dns.Msg) {
	return func(r *dns.Msg) {
		r.Answer, r.Ns, r.Rcode = nil, nil, dns.RcodeSuccess
		for _, l := range lines {
			rr, err := dns.NewRR(l)
			if err != nil {
				panic(err)
			}
			r.Answer = append(r.Answer, rr)
		}
	}
}

// resign signs the answer's records anew with a zone's key.
func resign(zone string, alter func(*dns.RRSIG), edit func([]dns.RR) []dns.RR) func(r *dns.Msg) {
	return func(r *dns.Msg) {
		set := slices.DeleteFunc(r.Answer, isType(dns.TypeRRSIG))
		set = slices.DeleteFunc(set, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG })
		if edit != nil {
			set = edit(set)
		}
		r.Answer = append(set, tree().Zone(zone).Sign(set, alter))
	}
}

const hostA = "host.good.test. 300 IN A 203.0.113.66"

func TestForgedAnswers(t *testing.T) {
	const host, hashed = "host.good.test.", "host.hashed.test."
	tests := []struct {
		what   string
		change change
		lookupTest
	}{
		{"the signature taken away", on(host, dns.TypeA, strip(dns.TypeRRSIG)), lookupTest{host, dns.TypeA, Bogus, 0, "no signature"}},
		{"all signatures taken away", func(_ dns.Question, r *dns.Msg) { strip(dns.TypeRRSIG)(r) }, lookupTest{host, dns.TypeA, Bogus, 0, "the DNSKEY records of . have no signature"}},
		{"another address", on(host, dns.TypeA, func(r *dns.Msg) { r.Answer[0].(*dns.A).A = []byte{203, 0, 113, 66} }), lookupTest{host, dns.TypeA, Bogus, 0, "is wrong"}},
		{"a record more", on(host, dns.TypeA, func(r *dns.Msg) { rr, _ := dns.NewRR(hostA); r.Answer = append(r.Answer, rr) }), lookupTest{host, dns.TypeA, Bogus, 0, "is wrong"}},
		{"another spelling of the name", on(host, dns.TypeA, func(r *dns.Msg) { r.Answer[0].Header().Name = "hOst.good.test." }), lookupTest{host, dns.TypeA, Secure, 1, ""}},
		{"a longer time to live", on(host, dns.TypeA, func(r *dns.Msg) { r.Answer[0].Header().Ttl = 1 << 30 }), lookupTest{host, dns.TypeA, Secure, 1, ""}},
		{"signed by a zone beside", on(host, dns.TypeA, resign("hashed.test.", nil, nil)), lookupTest{host, dns.TypeA, Bogus, 0, "no signature"}},
		{"signed by a zone beside in the right name", on(host, dns.TypeA, resign("hashed.test.", func(s *dns.RRSIG) { s.SignerName = "good.test." }, nil)), lookupTest{host, dns.TypeA, Bogus, 0, "does not have"}},
		{"signed with a key of the same tag", on(host, dns.TypeA, resign("hashed.test.", func(s *dns.RRSIG) {
			s.SignerName, s.KeyTag = "good.test.", tree().Zone("good.test.").Key.KeyTag()
		}, nil)), lookupTest{host, dns.TypeA, Bogus, 0, "is wrong"}},
		{"signed as another algorithm", on(host, dns.TypeA, func(r *dns.Msg) { r.Answer[1].(*dns.RRSIG).Algorithm = dns.RSASHA1 }), lookupTest{host, dns.TypeA, Bogus, 0, "RSASHA1"}},
		{"signed for longer than it was", on("host.expired.test.", dns.TypeA, func(r *dns.Msg) { r.Answer[1].(*dns.RRSIG).Expiration += 1 << 20 }), lookupTest{"host.expired.test.", dns.TypeA, Bogus, 0, "expired"}},
		{"ends before it begins", on(host, dns.TypeA, resign("good.test.", func(s *dns.RRSIG) { s.Inception, s.Expiration = s.Expiration, s.Inception }, nil)), lookupTest{host, dns.TypeA, Bogus, 0, "ends before"}},
		{"too many labels", on(host, dns.TypeA, func(r *dns.Msg) { r.Answer[1].(*dns.RRSIG).Labels = 9 }), lookupTest{host, dns.TypeA, Bogus, 0, "too many labels"}},
		{"a record without data", on(host, dns.TypeA, func(r *dns.Msg) {
			r.Answer = append(r.Answer, &dns.ANY{Hdr: dns.RR_Header{Name: "HOST.good.test.", Rrtype: dns.TypeA, Class: dns.ClassINET}})
		}), lookupTest{host, dns.TypeA, Bogus, 0, "is wrong"}},
		{"the answer of another name", on(host, dns.TypeA, replay("any.wild.good.test.", dns.TypeA)), lookupTest{host, dns.TypeA, Bogus, 0, "nothing proves"}},

		{"the delegation's DS taken away", on("good.test.", dns.TypeDS, strip(dns.TypeDS)), lookupTest{host, dns.TypeA, Bogus, 0, "nothing proves that good.test. is not signed"}},
		{"the DS and the signatures below", both(on("good.test.", dns.TypeDS, strip(dns.TypeDS)), on(host, dns.TypeA, fake(hostA))), lookupTest{host, dns.TypeA, Bogus, 0, "good.test."}},
		{"DS denied by the gap of an unsigned zone", both(on("good.test.", dns.TypeDS, replay("plain.test.", dns.TypeDS)), on(host, dns.TypeA, fake(hostA))), lookupTest{host, dns.TypeA, Bogus, 0, "good.test. is not signed"}},
		{"DS denied by the child", both(on("good.test.", dns.TypeDS, replay("good.test.", dns.TypeMX)), on(host, dns.TypeA, fake(hostA))), lookupTest{host, dns.TypeA, Bogus, 0, "good.test. is not signed"}},
		{"DS denied by a name that does not exist", both(on("good.test.", dns.TypeDS, replay("nothing.test.", dns.TypeDS)), on(host, dns.TypeA, fake(hostA))), lookupTest{host, dns.TypeA, Bogus, 0, "good.test."}},
		{"an unsigned alias in place of DS", both(on("good.test.", dns.TypeDS, fake("good.test. 300 IN CNAME plain.test.")), on(host, dns.TypeA, fake(hostA))), lookupTest{host, dns.TypeA, Bogus, 0, "CNAME"}},
		{"an opt-out gap that does not cover it", on("free.optout.test.", dns.TypeDS, replay("_xmpp-client._tcp.optout.test.", dns.TypeDS)), lookupTest{"host.free.optout.test.", dns.TypeA, Bogus, 0, "free.optout.test."}},
		{"a DS of an own key", on("good.test.", dns.TypeDS, fake("good.test. 300 IN DS 1 13 2 00")), lookupTest{host, dns.TypeA, Bogus, 0, "no signature"}},
		{"a DS with a wrong digest, signed", on("good.test.", dns.TypeDS, resign("test.", nil, func(set []dns.RR) []dns.RR {
			set[0].(*dns.DS).Digest = strings.Repeat("ab", 32)
			return set
		})), lookupTest{host, dns.TypeA, Bogus, 0, "vouched"}},
		{"a DS with an unknown digest, signed", on("good.test.", dns.TypeDS, resign("test.", nil, func(set []dns.RR) []dns.RR {
			set[0].(*dns.DS).DigestType = 99
			return set
		})), lookupTest{host, dns.TypeA, Insecure, 1, "proves nothing"}},
		{"a wrong digest beside a right one of SHA-1", on("good.test.", dns.TypeDS, resign("test.", nil, func(set []dns.RR) []dns.RR {
			set[0].(*dns.DS).Digest = strings.Repeat("ab", 32)
			return append(set, tree().Zone("good.test.").Key.ToDS(dns.SHA1))
		})), lookupTest{host, dns.TypeA, Bogus, 0, "vouched"}},
		{"the keys of another zone", on("good.test.", dns.TypeDNSKEY, func(r *dns.Msg) {
			replay("hashed.test.", dns.TypeDNSKEY)(r)
			for _, rr := range r.Answer {
				rr.Header().Name = "good.test."
			}
		}), lookupTest{host, dns.TypeA, Bogus, 0, "vouched"}},
		{"a revoked key", on("good.test.", dns.TypeDNSKEY, func(r *dns.Msg) { r.Answer[0].(*dns.DNSKEY).Flags |= dns.REVOKE }), lookupTest{host, dns.TypeA, Bogus, 0, "vouched"}},
		{"no keys", on("good.test.", dns.TypeDNSKEY, fake()), lookupTest{host, dns.TypeA, Bogus, 0, "shows no keys"}},
		{"the keys cannot be had", on("good.test.", dns.TypeDNSKEY, func(r *dns.Msg) { r.Rcode = dns.RcodeServerFailure }), lookupTest{host, dns.TypeA, Indeterminate, 0, "SERVFAIL"}},

		{"a name denied without proof", on(host, dns.TypeA, fake()), lookupTest{host, dns.TypeA, Bogus, 0, "nothing proves"}},
		{"a name denied by another's proof", on(host, dns.TypeA, replay("no.such.good.test.", dns.TypeA)), lookupTest{host, dns.TypeA, Bogus, 0, "nothing proves"}},
		{"a type denied by the name's own record", on(host, dns.TypeA, replay(host, dns.TypeMX)), lookupTest{host, dns.TypeA, Bogus, 0, "itself says"}},
		{"a name denied by the zone above", on(host, dns.TypeA, replay("plain.test.", dns.TypeDS)), lookupTest{host, dns.TypeA, Bogus, 0, "nothing proves"}},
		{"a name denied by its delegation", on(host, dns.TypeA, replayGap("test.", "good.test.")), lookupTest{host, dns.TypeA, Bogus, 0, "nothing proves"}},
		{"the zone's own records denied by its delegation", on("good.test.", dns.TypeMX, replayGap("test.", "good.test.")), lookupTest{"good.test.", dns.TypeMX, Bogus, 0, "zone above"}},
		{"an alias hidden by the proof of its name", on("alias1.good.test.", dns.TypeA, replayGap("good.test.", "alias1.good.test.")), lookupTest{"alias1.good.test.", dns.TypeA, Bogus, 0, "alias at"}},
		{"a DNAME hidden by the proof of its name", on("host.moved.good.test.", dns.TypeA, replayGap("good.test.", "moved.good.test.")), lookupTest{"host.moved.good.test.", dns.TypeA, Bogus, 0, "nothing proves"}},
		{"a DNAME without signature", on("host.moved.good.test.", dns.TypeA, func(r *dns.Msg) {
			r.Answer = slices.DeleteFunc(r.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG })
		}), lookupTest{"host.moved.good.test.", dns.TypeA, Bogus, 0, "DNAME"}},
		{"no proof against the wildcard", on("no.such.good.test.", dns.TypeA, stripOwner("good.test.")), lookupTest{"no.such.good.test.", dns.TypeA, Bogus, 0, "wildcard *.good.test."}},
		{"hashed: a name denied by another's proof", on(hashed, dns.TypeA, replay("no.such.hashed.test.", dns.TypeA)), lookupTest{hashed, dns.TypeA, Bogus, 0, "nothing proves"}},
		{"hashed: a type denied by the name's own record", on(hashed, dns.TypeA, replay(hashed, dns.TypeMX)), lookupTest{hashed, dns.TypeA, Bogus, 0, "itself says"}},
		{"hashed: an alias hidden by the proof of its name", on("alias1.hashed.test.", dns.TypeA, replayGap("hashed.test.", "alias1.hashed.test.")), lookupTest{"alias1.hashed.test.", dns.TypeA, Bogus, 0, "alias at"}},
		{"hashed: no signature on the proof", on("no.such.hashed.test.", dns.TypeA, strip(dns.TypeRRSIG)), lookupTest{"no.such.hashed.test.", dns.TypeA, Bogus, 0, "nothing proves"}},
		{"hashed: no proof against the wildcard", on("no.such.hashed.test.", dns.TypeA, replayGap("hashed.test.", "hashed.test.", "such.hashed.test.")),
			lookupTest{"no.such.hashed.test.", dns.TypeA, Bogus, 0, "wildcard *.hashed.test."}},
		{"hashed: no proof against a name above", on("no.such.hashed.test.", dns.TypeA, replayGap("hashed.test.", "hashed.test.", "*.hashed.test.")),
			lookupTest{"no.such.hashed.test.", dns.TypeA, Bogus, 0, "nothing proves"}},
		{"hashed: a name denied by its delegation", on("host.signed.hashed.test.", dns.TypeA, replayGap("hashed.test.", "signed.hashed.test.", "host.signed.hashed.test.", "*.signed.hashed.test.")),
			lookupTest{"host.signed.hashed.test.", dns.TypeA, Bogus, 0, "nothing proves"}},
		{"hashed: a DNAME hidden by the proof of its name", on("host.moved.hashed.test.", dns.TypeA, replayGap("hashed.test.", "moved.hashed.test.", "host.moved.hashed.test.", "*.moved.hashed.test.")),
			lookupTest{"host.moved.hashed.test.", dns.TypeA, Bogus, 0, "nothing proves"}},
		{"hashed: costly proof forged", on("no.such.hashed.test.", dns.TypeA, func(r *dns.Msg) {
			for _, rr := range r.Ns {
				if n, ok := rr.(*dns.NSEC3); ok {
					n.Iterations = 2500
				}
			}
		}), lookupTest{"no.such.hashed.test.", dns.TypeA, Bogus, 0, "is wrong"}},

		{"a wildcard without its proof", on("any.wild.good.test.", dns.TypeA, strip(dns.TypeNSEC)), lookupTest{"any.wild.good.test.", dns.TypeA, Bogus, 0, "wildcard"}},
		{"hashed: a wildcard without its proof", on("any.wild.hashed.test.", dns.TypeA, strip(dns.TypeNSEC3)), lookupTest{"any.wild.hashed.test.", dns.TypeA, Bogus, 0, "wildcard"}},
		{"a wildcard for a name that has its own", on("deep.name.wild.good.test.", dns.TypeA, expand("any.wild.good.test.")), lookupTest{"deep.name.wild.good.test.", dns.TypeA, Bogus, 0, "wildcard"}},
		{"hashed: a wildcard for a name that has its own", on("deep.name.wild.hashed.test.", dns.TypeA, expand("any.wild.hashed.test.")), lookupTest{"deep.name.wild.hashed.test.", dns.TypeA, Bogus, 0, "wildcard"}},
		{"a wildcard past a closer name", on("x.name.wild.good.test.", dns.TypeA, func(r *dns.Msg) {
			expand("any.wild.good.test.")(r)
			r.Ns = append(r.Ns, gapOf("good.test.", "deep.name.wild.good.test.")...)
		}), lookupTest{"x.name.wild.good.test.", dns.TypeA, Bogus, 0, "wildcard"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			v, _ := validator(t, tree(), tt.change, Limits{})
			tt.run(t, v)
		})
	}
}

// gapOf gives the NSEC or NSEC3 record of a name, signed, from its zone.
func gapOf(zone, name string) []dns.RR {
	z := tree().Zone(zone)
	set := z.Gap(name)
	return append(set, z.Sign(set, nil))
}

// replayGap denies with the records of some names.
func replayGap(zone string, names ...string) func(r *dns.Msg) {
	return func(r *dns.Msg) {
		r.Answer, r.Ns = nil, nil
		for _, name := range names {
			r.Ns = append(r.Ns, gapOf(zone, name)...)
		}
	}
}

// expand answers with what a wildcard gave to another name.
func expand(other string) func(r *dns.Msg) {
	return func(r *dns.Msg) {
		name := r.Question[0].Name
		replay(other, dns.TypeA)(r)
		for _, rr := range r.Answer {
			rr.Header().Name = name
		}
	}
}

func TestLimits(t *testing.T) {
	const host = "host.good.test."
	garbage := func(n int) []dns.RR {
		var out []dns.RR
		z := tree().Zone("good.test.")
		for i := range n {
			sig := make([]byte, 64)
			for j := range sig {
				sig[j] = byte(rand.IntN(256))
			}
			out = append(out, &dns.RRSIG{Hdr: dns.RR_Header{Name: host, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: 60},
				TypeCovered: dns.TypeA, Algorithm: dns.ECDSAP256SHA256, Labels: 3, OrigTtl: 300 + uint32(i), SignerName: "good.test.", KeyTag: z.Key.KeyTag(),
				Inception: uint32(z.Begin.Unix()), Expiration: uint32(z.End.Unix()), Signature: base64.StdEncoding.EncodeToString(sig)})
		}
		return out
	}
	// The DNSKEY set that KeyTrap uses, signed by the zone's real key, which comes
	// first or last.
	keys := func(n int, last bool) func(r *dns.Msg) {
		return resign("good.test.", nil, func(set []dns.RR) []dns.RR {
			more := colliding(set[0].(*dns.DNSKEY), n)
			if last {
				return append(more, set[0])
			}
			return append(set, more...)
		})
	}
	tests := []struct {
		what   string
		limits Limits
		change change
		lookupTest
	}{
		{"500 wrong signatures", Limits{}, on(host, dns.TypeA, func(r *dns.Msg) { r.Answer = append(r.Answer[:1], garbage(500)...) }),
			lookupTest{host, dns.TypeA, Bogus, 0, "more than 16"}},
		{"500 keys of one tag, the first is right", Limits{}, on("good.test.", dns.TypeDNSKEY, keys(500, false)),
			lookupTest{host, dns.TypeA, Secure, 1, ""}},
		{"500 keys of one tag, the last is right", Limits{}, on("good.test.", dns.TypeDNSKEY, keys(500, true)),
			lookupTest{host, dns.TypeA, Bogus, 0, "vouched"}},
		{"500 keys of one tag and 500 wrong signatures", Limits{}, both(on("good.test.", dns.TypeDNSKEY, keys(500, false)),
			on(host, dns.TypeA, func(r *dns.Msg) { r.Answer = append(r.Answer[:1], garbage(500)...) })),
			lookupTest{host, dns.TypeA, Bogus, 0, "more than 16"}},
		{"3 checks", Limits{Checks: 3}, nil, lookupTest{host, dns.TypeA, Bogus, 0, "3 signature checks"}},
		{"4 questions", Limits{Messages: 4}, nil, lookupTest{host, dns.TypeA, Bogus, 0, "4 questions"}},
		{"a name of 100 labels that nobody signed", Limits{}, func(q dns.Question, r *dns.Msg) {
			if q.Qtype == dns.TypeA {
				fake(q.Name + " 1 IN A 192.0.2.1")(r)
			}
		}, lookupTest{strings.Repeat("a.", 100) + "good.test.", dns.TypeA, Bogus, 0, "no signature"}},
		{"hashing a name of 100 labels", Limits{}, nil, lookupTest{strings.Repeat("a.", 100) + "hashed.test.", dns.TypeA, Secure, 0, ""}},
		{"50 hashes", Limits{Hashes: 50}, nil, lookupTest{strings.Repeat("a.", 100) + "hashed.test.", dns.TypeA, Bogus, 0, "50 hashed names"}},
		{"one alias", Limits{Aliases: 1}, nil, lookupTest{"alias1.good.test.", dns.TypeA, Bogus, 0, "more than 1 aliases"}},
		{"1,500 records", Limits{}, on("_xmpp-client._tcp.good.test.", dns.TypeSRV, resign("good.test.", nil, func(set []dns.RR) []dns.RR {
			for i := range 1500 {
				rr := dns.Copy(set[0]).(*dns.SRV)
				rr.Port, rr.Target = uint16(i), "."
				set = append(set, rr)
			}
			return set
		})), lookupTest{"_xmpp-client._tcp.good.test.", dns.TypeSRV, Bogus, 0, "more than 1024"}},
		{"1,000 gaps", Limits{}, on("no.such.good.test.", dns.TypeA, func(r *dns.Msg) {
			var many []dns.RR
			for i := range 1000 {
				many = append(many, &dns.NSEC{Hdr: dns.RR_Header{Name: fmt.Sprintf("g%d.good.test.", i), Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 1}, NextDomain: "z.good.test."})
			}
			r.Ns = append(many, r.Ns...)
		}), lookupTest{"no.such.good.test.", dns.TypeA, Bogus, 0, "nothing proves"}},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			v, asked := validator(t, tree(), tt.change, tt.limits)
			tt.run(t, v)
			if n := int(asked.Load()); n > v.limits.Messages {
				t.Errorf("%d questions", n)
			}
		})
	}
}

// colliding gives keys with the tag of another: the tag is a sum of 16-bit words,
// so their order is of no matter.
func colliding(k *dns.DNSKEY, n int) []dns.RR {
	raw, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		panic(err)
	}
	var out []dns.RR
	for range n {
		words := slices.Clone(raw)
		rand.Shuffle(len(words)/2, func(i, j int) {
			words[2*i], words[2*j] = words[2*j], words[2*i]
			words[2*i+1], words[2*j+1] = words[2*j+1], words[2*i+1]
		})
		c := dns.Copy(k).(*dns.DNSKEY)
		c.PublicKey = base64.StdEncoding.EncodeToString(words)
		if c.KeyTag() != k.KeyTag() {
			panic("another tag")
		}
		out = append(out, c)
	}
	return out
}

func TestSilence(t *testing.T) {
	silent := func(name string, qtype uint16) *Validator {
		return New(Config{Anchors: tree().Anchors(), Now: func() time.Time { return now }, Limits: Limits{Time: 300 * time.Millisecond},
			Exchange: func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
				if q.Question[0].Name == name && q.Question[0].Qtype == qtype {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return tree().Exchange(ctx, q)
			}})
	}
	lookupTest{"host.good.test.", dns.TypeA, Indeterminate, 0, "DS records of good.test."}.run(t, silent("good.test.", dns.TypeDS))
	lookupTest{"alias1.good.test.", dns.TypeA, Secure, 1, ""}.run(t, silent("host.good.test.", dns.TypeA)) // not needed
	if res, err := silent("host.good.test.", dns.TypeA).Lookup(context.Background(), "host.good.test", dns.TypeA); err == nil {
		t.Errorf("got %+v without an answer", res)
	}
}

func TestBadQuestions(t *testing.T) {
	v, asked := validator(t, tree(), nil, Limits{})
	for _, q := range []question{{"", dns.TypeA}, {"a..b", dns.TypeA}, {strings.Repeat("a.", 200), dns.TypeA},
		{strings.Repeat("a", 64) + ".test.", dns.TypeA}, {"good.test.", dns.TypeANY}, {"good.test.", dns.TypeRRSIG}, {"good.test.", 0}} {
		if res, err := v.Lookup(context.Background(), q.name, q.qtype); err == nil {
			t.Errorf("%q %d: got %+v", q.name, q.qtype, res)
		}
	}
	if _, err := new(Validator).Lookup(context.Background(), "good.test.", dns.TypeA); err == nil {
		t.Error("a validator without an exchange found something")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d questions went out", n)
	}
}

func TestAnchors(t *testing.T) {
	t.Run("below the root only", func(t *testing.T) {
		v := New(Config{Anchors: []*dns.DS{tree().Zone("good.test.").Key.ToDS(dns.SHA256)}, Exchange: tree().Exchange, Now: func() time.Time { return now }})
		lookupTest{"host.good.test.", dns.TypeA, Secure, 1, ""}.run(t, v)
		lookupTest{"host.hashed.test.", dns.TypeA, Indeterminate, 0, "no trust anchor"}.run(t, v)
	})
	t.Run("none", func(t *testing.T) {
		v := New(Config{Anchors: []*dns.DS{}, Exchange: tree().Exchange})
		lookupTest{"host.good.test.", dns.TypeA, Indeterminate, 0, "no trust anchor"}.run(t, v)
	})
	t.Run("those of the real root", func(t *testing.T) {
		v := New(Config{Exchange: tree().Exchange, Now: func() time.Time { return now }})
		lookupTest{"host.good.test.", dns.TypeA, Bogus, 0, "vouched"}.run(t, v)
	})
}

func TestParseAnchors(t *testing.T) {
	// The keys as IANA publishes them; their digests must be the built-in ones.
	const keys = `
. IN DNSKEY 257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3+/4RgWOq7HrxRixHlFlExOLAJr5emLvN7SWXgnLh4+B5xQlNVz8Og8kvArMtNROxVQuCaSnIDdD5LKyWbRd2n9WGe2R8PzgCmr3EgVLrjyBxWezF0jLHwVN8efS3rCj/EWgvIWgb9tarpVUDK/b58Da+sqqls3eNbuv7pr+eoZG+SrDK6nWeL3c6H5Apxz7LjVc1uTIdsIXxuOLYA4/ilBmSVIzuDWfdRUfhHdY6+cn8HFRm+2hM8AnXGXws9555KrUB5qihylGa8subX2Nn6UwNR1AkUTV74bU= ; keytag 20326
. IN DNSKEY 257 3 8 AwEAAa96jeuknZlaeSrvyAJj6ZHv28hhOKkx3rLGXVaC6rXTsDc449/cidltpkyGwCJNnOAlFNKF2jBosZBU5eeHspaQWOmOElZsjICMQMC3aeHbGiShvZsx4wMYSjH8e7Vrhbu6irwCzVBApESjbUdpWWmEnhathWu1jo+siFUiRAAxm9qyJNg/wOZqqzL/dL/q8PkcRU5oUKEpUge71M3ej2/7CPqpdVwuMoTvoB+ZOT4YeGyxMvHmbrxlFzGOHOijtzN+u1TQNatX2XBuzZNQ1K+s2CXkPIZo7s6JgZyvaBevYtxPvYLw4z9mR7K2vaF18UYH9Z9GNUUeayffKC73PYc= ; keytag 38696
`
	got, err := ParseAnchors(strings.NewReader(keys))
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	for i, want := range RootAnchors() {
		if !strings.EqualFold(got[i].Digest, want.Digest) || got[i].KeyTag != want.KeyTag {
			t.Errorf("got %v, built in is %v", got[i], want)
		}
	}
	for name, bad := range map[string]string{
		"empty":             "; nothing\n",
		"other records":     ". IN NS a.\n",
		"garbage":           "what is this",
		"old algorithm":     ". IN DS 1 5 1 " + strings.Repeat("00", 20),
		"a revoked key":     strings.ReplaceAll(keys, " 257 ", " 385 "),
		"too many":          strings.Repeat(". IN DS 1 8 2 "+strings.Repeat("00", 32)+"\n", 100),
		"includes are none": "$INCLUDE /etc/passwd\n",
	} {
		if a, err := ParseAnchors(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: got %v", name, a)
		}
	}
}

func TestMemory(t *testing.T) {
	v, asked := validator(t, tree(), nil, Limits{})
	lookupTest{"host.good.test.", dns.TypeA, Secure, 1, ""}.run(t, v)
	before := asked.Load()
	lookupTest{"host.good.test.", dns.TypeAAAA, Secure, 1, ""}.run(t, v)
	if n := asked.Load() - before; n > 3 { // the question, and what was fetched of a guess
		t.Errorf("%d questions with all keys known", n)
	}
	// Keys are not remembered for longer than their signatures hold.
	late := now.Add(25 * time.Hour)
	v.now = func() time.Time { return late }
	lookupTest{"host.good.test.", dns.TypeA, Bogus, 0, "expired"}.run(t, v)
	for i := range 3 * maxCuts {
		v.remember(fmt.Sprintf("%d.test.", i), cut{})
	}
	if len(v.cuts) > maxCuts {
		t.Errorf("%d zones remembered", len(v.cuts))
	}
}
