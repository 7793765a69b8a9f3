package dnssec

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/tests/lab"
)

var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// tree has a zone for each way in which one can be.
var tree = sync.OnceValue(func() *lab.SignedTree {
	return lab.SignTree(now,
		lab.SignedZone{Name: ".", Algorithm: dns.RSASHA256},
		lab.SignedZone{Name: "test."},
		lab.SignedZone{Name: "good.test.", Records: zoneRecords("good.test.")},
		lab.SignedZone{Name: "hashed.test.", NSEC3: true, Salt: "abcd", Rounds: 5, Records: zoneRecords("hashed.test.")},
		lab.SignedZone{Name: "optout.test.", NSEC3: true, OptOut: true, Records: zoneRecords("optout.test.")},
		lab.SignedZone{Name: "free.optout.test.", Unsigned: true, Records: zoneRecords("free.optout.test.")},
		lab.SignedZone{Name: "costly.test.", NSEC3: true, Rounds: 2500, Records: zoneRecords("costly.test.")},
		lab.SignedZone{Name: "plain.test.", Unsigned: true, Records: zoneRecords("plain.test.")},
		lab.SignedZone{Name: "signed.hashed.test.", Records: zoneRecords("signed.hashed.test.")},
		lab.SignedZone{Name: "plain.hashed.test.", Unsigned: true, Records: zoneRecords("plain.hashed.test.")},
		lab.SignedZone{Name: "island.test.", NoDS: true, Records: zoneRecords("island.test.")},
		lab.SignedZone{Name: "expired.test.", Begin: now.Add(-48 * time.Hour), End: now.Add(-time.Hour), Records: zoneRecords("expired.test.")},
		lab.SignedZone{Name: "future.test.", Begin: now.Add(time.Hour), End: now.Add(48 * time.Hour), Records: zoneRecords("future.test.")},
		lab.SignedZone{Name: "sha1.test.", Algorithm: dns.RSASHA1, Records: zoneRecords("sha1.test.")},
		lab.SignedZone{Name: "olddigest.test.", Digest: dns.SHA1, Records: zoneRecords("olddigest.test.")},
		lab.SignedZone{Name: "sha384.test.", Digest: dns.SHA384, Algorithm: dns.ECDSAP384SHA384, Records: zoneRecords("sha384.test.")},
		lab.SignedZone{Name: "ed25519.test.", Algorithm: dns.ED25519, Records: zoneRecords("ed25519.test.")},
		lab.SignedZone{Name: "sha512.test.", Algorithm: dns.RSASHA512, Records: zoneRecords("sha512.test.")},
	)
})

// zoneRecords are the same in each zone.
func zoneRecords(zone string) []string {
	lines := strings.ReplaceAll(`
host.ZONE IN A 192.0.2.1
host.ZONE IN AAAA 2001:db8::1
_xmpp-client._tcp.ZONE IN SRV 0 5 5222 Host.ZONE
_xmpp-client._tcp.ZONE IN SRV 1 5 5223 host.ZONE
*.wild.ZONE IN A 192.0.2.2
deep.name.wild.ZONE IN A 192.0.2.3
*.alias.ZONE IN CNAME host.ZONE
alias1.ZONE IN CNAME alias2.ZONE
alias2.ZONE IN CNAME host.ZONE
out.ZONE IN CNAME host.plain.test.
in.ZONE IN CNAME host.good.test.
nowhere.ZONE IN CNAME not.there.good.test.
circle1.ZONE IN CNAME circle2.ZONE
circle2.ZONE IN CNAME circle1.ZONE
moved.ZONE IN DNAME good.test.
`, "ZONE", zone)
	return strings.Split(strings.TrimSpace(lines), "\n")
}

// change alters an answer on its way.
type change func(q dns.Question, r *dns.Msg)

func validator(t *testing.T, tr *lab.SignedTree, c change, l Limits) (*Validator, *atomic.Int32) {
	t.Helper()
	asked := new(atomic.Int32)
	return New(Config{Anchors: tr.Anchors(), Now: func() time.Time { return now }, Limits: l,
		Exchange: func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
			asked.Add(1)
			if !q.CheckingDisabled || q.IsEdns0() == nil || !q.IsEdns0().Do() {
				return nil, errors.New("a question without CD or DO")
			}
			r, err := tr.Exchange(ctx, q)
			if err == nil && c != nil {
				c(q.Question[0], r)
			}
			return pass(t, r), err
		}}), asked
}

// pass sends a message over the wire.
func pass(t *testing.T, m *dns.Msg) *dns.Msg {
	t.Helper()
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		t.Error("the test's own message:", err)
		return nil
	}
	out := new(dns.Msg)
	if err := out.Unpack(wire); err != nil {
		t.Error("the test's own message:", err)
		return nil
	}
	return out
}

type lookupTest struct {
	name    string
	qtype   uint16
	want    Security
	records int    // 0: Missing, unless there are no good answers
	why     string // a part of it
}

func (tt lookupTest) run(t *testing.T, v *Validator) {
	t.Helper()
	began := time.Now()
	got, err := v.Lookup(context.Background(), tt.name, tt.qtype)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got.Security != tt.want || len(got.Records) != tt.records || !strings.Contains(got.Why, tt.why) {
		t.Errorf("got %v, %d records, %q; want %v, %d records, %q", got.Security, len(got.Records), got.Why, tt.want, tt.records, tt.why)
	}
	if (got.Why == "") != (got.Security == Secure) {
		t.Errorf("%v with the reason %q", got.Security, got.Why)
	}
	if missing := tt.records == 0 && tt.want >= Insecure; got.Missing != missing {
		t.Errorf("Missing is %v", got.Missing)
	}
}

func TestHonestAnswers(t *testing.T) {
	tests := []lookupTest{
		{"good.test", dns.TypeSOA, Secure, 1, ""},
		{"GOOD.test.", dns.TypeDNSKEY, Secure, 1, ""},
		{"good.test.", dns.TypeDS, Secure, 1, ""},
		{".", dns.TypeNS, Secure, 1, ""},
		{".", dns.TypeDS, Secure, 0, ""},
		{"nothing.", dns.TypeA, Secure, 0, ""},
		{"plain.test.", dns.TypeDS, Secure, 0, ""},
		{"plain.test.", dns.TypeSOA, Insecure, 1, "plain.test. is not signed"},
		{"host.plain.test.", dns.TypeMX, Insecure, 0, "not signed"},
		{"no.such.name.plain.test.", dns.TypeA, Insecure, 0, "not signed"},
		{"host.plain.hashed.test.", dns.TypeA, Insecure, 1, "plain.hashed.test. is not signed"},
		{"host.free.optout.test.", dns.TypeA, Insecure, 1, "opt-out"},
		{"free.optout.test.", dns.TypeDS, Insecure, 0, "opt-out"},
		{"no.such.optout.test.", dns.TypeA, Insecure, 0, "opt-out"},
		{"host.island.test.", dns.TypeA, Insecure, 1, "island.test. is not signed"},
		{"host.sha1.test.", dns.TypeA, Insecure, 1, "RSASHA1"},
		{"no.such.sha1.test.", dns.TypeA, Insecure, 0, "RSASHA1"},
		{"host.expired.test.", dns.TypeA, Bogus, 0, "expired on 2026-05-04 02:02:01 UTC"},
		{"host.future.test.", dns.TypeA, Bogus, 0, "not valid before 2026-05-04 04:02:01 UTC"},
		{"host.olddigest.test.", dns.TypeA, Secure, 1, ""},
		{"host.sha384.test.", dns.TypeA, Secure, 1, ""},
		{"host.ed25519.test.", dns.TypeA, Secure, 1, ""},
		{"host.sha512.test.", dns.TypeA, Secure, 1, ""},
		{"host.costly.test.", dns.TypeA, Secure, 1, ""},
		{"no.such.costly.test.", dns.TypeA, Insecure, 0, "2500 times"},
		{"host.costly.test.", dns.TypeMX, Insecure, 0, "2500 times"},
		{"x.wild.costly.test.", dns.TypeA, Insecure, 1, "2500 times"},
	}
	for _, zone := range []string{"good.test.", "hashed.test."} {
		tests = append(tests, []lookupTest{
			{"host." + zone, dns.TypeA, Secure, 1, ""},
			{"_xmpp-client._tcp." + zone, dns.TypeSRV, Secure, 2, ""},
			{"host." + zone, dns.TypeMX, Secure, 0, ""},
			{"_tcp." + zone, dns.TypeA, Secure, 0, ""}, // empty
			{"wild." + zone, dns.TypeA, Secure, 0, ""}, // empty, above a wildcard
			{"no.such." + zone, dns.TypeA, Secure, 0, ""},
			{"no.such." + zone, dns.TypeDS, Secure, 0, ""},
			{"any.wild." + zone, dns.TypeA, Secure, 1, ""},
			{"a.b.c.wild." + zone, dns.TypeA, Secure, 1, ""},
			{"any.wild." + zone, dns.TypeMX, Secure, 0, ""},
			{"*.wild." + zone, dns.TypeA, Secure, 1, ""},
			{"other.name.wild." + zone, dns.TypeA, Secure, 0, ""}, // name.wild is the closest
			{"alias1." + zone, dns.TypeA, Secure, 1, ""},
			{"alias1." + zone, dns.TypeCNAME, Secure, 1, ""},
			{"alias1." + zone, dns.TypeMX, Secure, 0, ""},
			{"any.alias." + zone, dns.TypeA, Secure, 1, ""},
			{"in." + zone, dns.TypeAAAA, Secure, 1, ""},
			{"out." + zone, dns.TypeA, Insecure, 1, "plain.test."},
			{"nowhere." + zone, dns.TypeA, Secure, 0, ""},
			{"host.moved." + zone, dns.TypeA, Secure, 1, ""},
			{"no.such.moved." + zone, dns.TypeA, Secure, 0, ""},
			{"circle1." + zone, dns.TypeA, Bogus, 0, "circle"},
		}...)
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+dns.TypeToString[tt.qtype], func(t *testing.T) {
			v, _ := validator(t, tree(), nil, Limits{})
			tt.run(t, v)
		})
	}
	t.Run("one validator for all", func(t *testing.T) {
		v, _ := validator(t, tree(), nil, Limits{})
		for range 2 {
			for _, tt := range tests {
				tt.run(t, v)
			}
		}
	})
}

func TestResultOfAliases(t *testing.T) {
	v, _ := validator(t, tree(), nil, Limits{})
	got, err := v.Lookup(context.Background(), "Alias1.good.test", dns.TypeA)
	if err != nil || got.Name != "host.good.test." || strings.Join(got.Aliases, " ") != "alias2.good.test. host.good.test." {
		t.Errorf("got %+v, %v", got, err)
	}
}
