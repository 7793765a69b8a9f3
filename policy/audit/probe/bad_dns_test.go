package probe

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/tests/lab"
)

// dnsRow is a row whose names are in a tree of zones, as validated from its root down.
type dnsRow struct {
	name    string
	zone    lab.SignedZone // of the domain
	records []string       // beside what a good zone has, or in its place where the name is the same
	// change alters the answers on their way.
	change func(q dns.Question, r *dns.Msg, z *lab.SignedZone)
	want   map[string]string
}

// goodZone is what stands in the domain's zone.
var goodZone = []string{
	domain + ". 300 IN A 192.0.2.1",
	"xmpp." + domain + ". 300 IN A 192.0.2.1",
	"_xmpp-client._tcp." + domain + ". 300 IN SRV 0 5 5222 xmpp." + domain + ".",
	"_xmpps-client._tcp." + domain + ". 300 IN SRV 0 5 5223 xmpp." + domain + ".",
}

func (d dnsRow) start(*lot) (Target, Options) {
	records := goodZone
	for _, r := range d.records {
		name, kind := strings.Fields(r)[0], strings.Fields(r)[3]
		records = slices.DeleteFunc(slices.Clone(records), func(have string) bool {
			return strings.Fields(have)[0] == name && (strings.Fields(have)[3] == kind || kind == "CNAME" || kind == "TXT")
		})
	}
	d.zone.Name, d.zone.Records = domain+".", append(slices.Clone(records), d.records...)
	tree := lab.SignTree(time.Now(), lab.SignedZone{Name: "test."}, d.zone)
	exchange := func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		r, err := tree.Exchange(ctx, q)
		if err == nil && d.change != nil {
			d.change(q.Question[0], r, tree.Zone(domain+"."))
		}
		return r, err
	}
	// None of these waits: what takes time is work.
	return Target{}, Options{Lookup: dnssec.New(dnssec.Config{Exchange: exchange, Anchors: tree.Anchors()}).Lookup, Budget: 10 * time.Second, Step: 5 * time.Second}
}

// forType changes the answers to questions for a type.
func forType(qtype uint16, c func(r *dns.Msg, z *lab.SignedZone)) func(dns.Question, *dns.Msg, *lab.SignedZone) {
	return func(q dns.Question, r *dns.Msg, z *lab.SignedZone) {
		if q.Qtype == qtype && strings.HasSuffix(q.Name, domain+".") {
			c(r, z)
		}
	}
}

// services are SRV records of clients.
func services(n int, target func(i int) string) (records []string) {
	for i := range n {
		records = append(records, fmt.Sprintf("_xmpp-client._tcp.%s. 300 IN SRV 0 5 %d %s", domain, 1+i%60000, target(i)))
	}
	return records
}

// sameTag gives n keys with the tag of another: it is a sum of words, whose order is of
// no matter.
func sameTag(k *dns.DNSKEY, n int) (keys []dns.RR) {
	raw, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		panic(err)
	}
	for range n {
		words := slices.Clone(raw)
		mathrand.Shuffle(len(words)/2, func(i, j int) {
			words[2*i], words[2*j], words[2*i+1], words[2*j+1] = words[2*j], words[2*i], words[2*j+1], words[2*i+1]
		})
		c := dns.Copy(k).(*dns.DNSKEY)
		c.PublicKey = base64.StdEncoding.EncodeToString(words)
		keys = append(keys, c)
	}
	return keys
}

// keyTrap is what CVE-2023-50387 sends: every key fits every signature by its tag, and
// none does.
func keyTrap(q dns.Question, r *dns.Msg, z *lab.SignedZone) {
	switch {
	case q.Qtype == dns.TypeDNSKEY && q.Name == z.Name:
		set := append(sameTag(z.Key, 500), z.Key)
		r.Answer = append(set, z.Sign(set, nil))
	case len(r.Answer) > 0 && strings.HasSuffix(q.Name, domain+".") && q.Qtype != dns.TypeDS:
		sig := make([]byte, 64)
		for range 500 {
			_, _ = rand.Read(sig)
			r.Answer = append(r.Answer, &dns.RRSIG{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: 300},
				TypeCovered: q.Qtype, Algorithm: z.Algorithm, Labels: uint8(dns.CountLabel(q.Name)), OrigTtl: 300, SignerName: z.Name, KeyTag: z.Key.KeyTag(),
				Inception: uint32(z.Begin.Unix()), Expiration: uint32(z.End.Unix()), Signature: base64.StdEncoding.EncodeToString(sig)})
		}
	}
}

// TestBadDNS is zones, resolvers and whoever stands between.
func TestBadDNS(t *testing.T) {
	now := time.Now()
	self := "_xmpp-client._tcp." + domain + "."
	unsigned := lab.SignedZone{Unsigned: true}
	var rows []bad
	for _, d := range []dnsRow{
		{name: "SRV that leads to itself", records: services(1, func(int) string { return self }), want: wants("dns.srv.c2s", "fail")},
		{name: "SRV to aliases in a circle", records: append(services(1, func(int) string { return "a." + domain + "." }),
			"a."+domain+". 300 IN CNAME b."+domain+".", "b."+domain+". 300 IN CNAME a."+domain+"."), want: wants("dns.srv.c2s", "unknown fail")},
		{name: "SRV to many aliases", records: append(services(1, func(int) string { return "a0." + domain + "." }), aliases(40)...), want: wants("dns.srv.c2s", "unknown fail")},
		{name: "SRV is an alias of itself", records: []string{self + " 300 IN CNAME " + self}, want: wants("dns.srv.c2s", "unknown fail")},
		{name: "SRV to this machine", records: services(1, func(int) string { return "localhost." }), want: wants("dns.srv.c2s", "unknown fail")},
		{name: "SRV to an address", records: services(1, func(int) string { return "127.0.0.1." }), want: wants("dns.srv.c2s", "unknown fail")},
		{name: "10,000 SRV records, signed", records: services(10000, func(i int) string { return fmt.Sprintf("h%d.%s.", i, domain) }), want: wants("dns.srv.c2s", "unknown")},
		{name: "10,000 SRV records", zone: unsigned, records: services(10000, func(i int) string { return fmt.Sprintf("h%d.%s.", i, domain) }), want: wants("dns.srv.c2s", "unknown warn fail")},
		{name: "33 good SRV records", records: services(33, func(i int) string { return "xmpp." + domain + "." }), want: wants("dns.srv.c2s", "warn")},
		{name: "a bogus signature", change: forType(dns.TypeSRV, func(r *dns.Msg, _ *lab.SignedZone) {
			for _, rr := range r.Answer {
				if s, ok := rr.(*dns.SRV); ok {
					s.Target = "evil.test."
				}
			}
		}), want: wants("dns.dnssec dns.srv.c2s", "fail unknown")},
		{name: "an expired signature", zone: lab.SignedZone{Begin: now.Add(-48 * time.Hour), End: now.Add(-time.Hour)}, want: wants("dns.dnssec", "fail")},
		{name: "a signature of tomorrow", zone: lab.SignedZone{Begin: now.Add(24 * time.Hour), End: now.Add(48 * time.Hour)}, want: wants("dns.dnssec", "fail")},
		{name: "no signatures", change: forType(dns.TypeSRV, func(r *dns.Msg, _ *lab.SignedZone) {
			r.Answer = slices.DeleteFunc(r.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG })
		}), want: wants("dns.dnssec", "fail")},
		{name: "a denial that is signed", records: []string{self + " 300 IN TXT none", "_xmpps-client._tcp." + domain + ". 300 IN TXT none"},
			want: wants("dns.srv.c2s", "warn")},
		{name: "a denial that nobody signed", change: forType(dns.TypeSRV, func(r *dns.Msg, _ *lab.SignedZone) {
			r.Answer, r.Ns, r.Rcode = nil, nil, dns.RcodeNameError
		}), want: wants("dns.dnssec dns.srv.c2s", "fail unknown")},
		{name: "NSEC3 with 2,500 iterations", zone: lab.SignedZone{NSEC3: true, Rounds: 2500, Salt: "abcd"}, want: wants("dns.dnssec", "fail warn unknown")},
		{name: "KeyTrap", change: keyTrap, want: wants("dns.dnssec dns.srv.c2s", "fail unknown")},
		{name: "a delegation denied without proof", change: func(q dns.Question, r *dns.Msg, z *lab.SignedZone) {
			if q.Qtype == dns.TypeDS && q.Name == domain+"." {
				r.Answer, r.Ns = nil, nil
			}
		}, want: wants("dns.dnssec", "fail unknown")},
		{name: "records of another name", change: forType(dns.TypeSRV, func(r *dns.Msg, _ *lab.SignedZone) {
			for _, rr := range r.Answer {
				rr.Header().Name = "other." + rr.Header().Name
			}
		}), want: wants("dns.srv.c2s dns.dnssec", "fail unknown")},
		{name: "a thousand records beside the answer", change: func(_ dns.Question, r *dns.Msg, _ *lab.SignedZone) {
			for i := range 1000 {
				r.Extra = append(r.Extra, &dns.A{Hdr: dns.RR_Header{Name: fmt.Sprintf("x%d.test.", i), Rrtype: dns.TypeA, Class: dns.ClassINET}, A: []byte{192, 0, 2, 1}})
			}
		}, want: wants("tls.version", "unknown")},
	} {
		rows = append(rows, bad{name: d.name, start: d.start, want: d.want})
	}
	for name, fault := range map[string]lab.DNSFault{
		"the server hangs up":                  {Hangup: true},
		"the server is silent":                 {Silent: true},
		"the server answers others' questions": {OtherQuestion: true},
		"the server answers under another id":  {OtherID: true},
		"the server cuts everything short":     {Truncate: true},
		"the server has failed":                {Rcode: dns.RcodeServerFailure},
		"the server sends garbage":             {Raw: []byte(strings.Repeat("\xff", 4096))},
		"the server sends nothing":             {Raw: []byte{}},
		"the server floods":                    {Flood: 5000},
	} {
		rows = append(rows, bad{name: name, holds: 32 << 20, want: wants("dns.srv.c2s dns.dnssec", "unknown warn fail"), start: func(l *lot) (Target, Options) {
			return l.resolver(fault)
		}})
	}
	all(t, rows, 8, "10,000 SRV records, signed", "10,000 SRV records", "KeyTrap", "NSEC3 with 2,500 iterations", "the server floods")
}

// aliases are a0 → a1 → … with an address at the end.
func aliases(n int) (records []string) {
	for i := range n {
		records = append(records, fmt.Sprintf("a%d.%s. 300 IN CNAME a%d.%s.", i, domain, i+1, domain))
	}
	return append(records, fmt.Sprintf("a%d.%s. 300 IN A 192.0.2.1", n, domain))
}

// resolver is one real server of DNS over TCP, with a fault, and a tree that nobody
// signed.
func (l *lot) resolver(fault lab.DNSFault) (Target, Options) {
	l.t.Helper()
	s, err := lab.DNSStart(lab.DNSZone{"_xmpp-client._tcp." + domain: {"SRV 0 5 5222 xmpp." + domain + "."}, "xmpp." + domain: {"A 192.0.2.1"}}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { s.Close() })
	s.SetFault("", fault)
	l.net.to[s.Addr()] = s.Addr()
	servers, err := resolve.ParseServers([]string{s.TCP()})
	if err != nil {
		l.t.Fatal(errors.Join(err))
	}
	client := resolve.New(servers, l.net, nil)
	return Target{}, Options{Lookup: dnssec.New(dnssec.Config{Exchange: client.Exchange}).Lookup}
}
