package resolve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/tests/lab"
)

// Records count only where they and the addresses are proven, and that there are none
// only where that is.
func TestTLSA(t *testing.T) {
	now := time.Now()
	digest := strings.Repeat("ab", 32)
	tree := lab.SignTree(now,
		lab.SignedZone{Name: "good.example.", Records: []string{
			"xmpp.good.example. IN A 127.0.0.9",
			"_5222._tcp.xmpp.good.example. IN TLSA 3 1 1 " + digest,
			"_5223._tcp.xmpp.good.example. IN TLSA 9 9 9 00",
			"none.good.example. IN AAAA ::1",
			// An alias inside: its end has records, and then only its beginning.
			"alias.good.example. IN CNAME end.good.example.",
			"end.good.example. IN A 127.0.0.9",
			"_5222._tcp.alias.good.example. IN TLSA 3 1 2 " + digest + digest,
			"_5222._tcp.end.good.example. IN TLSA 2 1 1 " + digest,
			"_5223._tcp.alias.good.example. IN TLSA 3 1 2 " + digest + digest,
			// An alias of the records themselves, in and out.
			"xmpp2.good.example. IN A 127.0.0.9",
			"_5222._tcp.xmpp2.good.example. IN CNAME _5222._tcp.xmpp.good.example.",
			"_5223._tcp.xmpp2.good.example. IN CNAME _5222._tcp.xmpp.plain.example.",
			"out.good.example. IN CNAME xmpp.plain.example.",
			"_5222._tcp.out.good.example. IN TLSA 3 1 1 " + digest,
			"broken.good.example. IN CNAME xmpp.old.example.",
		}},
		lab.SignedZone{Name: "plain.example.", Unsigned: true, Records: []string{
			"xmpp.plain.example. IN A 127.0.0.9", "_5222._tcp.xmpp.plain.example. IN TLSA 3 1 1 " + digest}},
		lab.SignedZone{Name: "old.example.", Begin: now.Add(-9 * time.Hour), End: now.Add(-time.Hour), Records: []string{
			"xmpp.old.example. IN A 127.0.0.9", "_5222._tcp.xmpp.old.example. IN TLSA 3 1 1 " + digest}})

	// The answers about some names are spoiled on their way.
	exchange := func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
		name := q.Question[0].Name
		if q.Question[0].Qtype == dns.TypeTLSA && strings.HasPrefix(name, "_666._tcp.") {
			return nil, errors.New("no answer")
		}
		r, err := tree.Exchange(ctx, q)
		switch {
		case q.Question[0].Qtype == dns.TypeTLSA && strings.HasPrefix(name, "_667._tcp."): // "there are none", without proof
			r.Answer, r.Ns, r.Rcode = nil, nil, dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeAAAA && name == "xmpp2.good.example.": // one family is forged
			r.Ns = nil
		}
		return r, err
	}
	s := Secure{Prover: dnssec.New(dnssec.Config{Exchange: exchange, Anchors: tree.Anchors()})}
	for _, tt := range []struct {
		host        string
		port        uint16
		want, hosts string
		missing     string
		err         error
	}{
		{host: "xmpp.good.example", port: 5222, want: "[DANE-EE]", hosts: "[xmpp.good.example]"},
		{host: "XMPP.good.example.", port: 5222, want: "[DANE-EE]", hosts: "[xmpp.good.example]"},
		{host: "xmpp.good.example", port: 5223, want: "[usage 9]", hosts: "[xmpp.good.example]"},
		{host: "none.good.example", port: 5222, want: "[]", hosts: "[none.good.example]", missing: "there are none at _5222._tcp.none.good.example"},
		{host: "alias.good.example", port: 5222, want: "[DANE-TA]", hosts: "[alias.good.example end.good.example]"},
		{host: "alias.good.example", port: 5223, want: "[DANE-EE]", hosts: "[alias.good.example end.good.example]"},
		{host: "alias.good.example", port: 1, want: "[]", hosts: "[alias.good.example end.good.example]", missing: "there are none"},
		{host: "xmpp2.good.example", port: 5222, want: "[DANE-EE]", hosts: "[xmpp2.good.example]"},
		{host: "xmpp2.good.example", port: 5223, want: "[]", hosts: "[xmpp2.good.example]", missing: "plain.example. is not signed"},
		{host: "out.good.example", port: 5222, want: "[]", hosts: "[]", missing: "plain.example. is not signed"},
		{host: "xmpp.plain.example", port: 5222, want: "[]", hosts: "[]", missing: "plain.example. is not signed"},
		{host: "xmpp.plain.example", port: 666, want: "[]", hosts: "[]", missing: "plain.example. is not signed"},
		{host: "xmpp.good.example", port: 666, err: ErrNoAnswer},
		{host: "xmpp.good.example", port: 667, err: ErrBogus},
		{host: "xmpp.old.example", port: 5222, err: ErrBogus},
		{host: "broken.good.example", port: 5222, err: ErrBogus},
		{host: "not a host", port: 5222, err: ErrRefused},
		{host: "192.0.2.1", port: 5222, want: "[]", hosts: "[]", missing: "only hosts with a name"},
		{host: "x.onion", port: 5222, want: "[]", hosts: "[]", missing: "only hosts with a name"},
		{host: "localhost", port: 5222, want: "[]", hosts: "[]", missing: "only hosts with a name"},
	} {
		got, err := s.TLSA(t.Context(), tt.host, tt.port)
		if tt.err != nil {
			if !errors.Is(err, tt.err) || len(got.Records) > 0 || tt.err != ErrRefused && !strings.Contains(err.Error(), "TLSA") {
				t.Errorf("%s %d: %v, %v", tt.host, tt.port, got, err)
			}
			continue
		}
		if err != nil || fmt.Sprint(got.Records) != tt.want || fmt.Sprint(got.Hosts) != tt.hosts ||
			!strings.Contains(got.Missing, tt.missing) || (got.Missing == "") != (len(got.Records) > 0) {
			t.Errorf("%s %d: %v, %v, %q, %v", tt.host, tt.port, got.Records, got.Hosts, got.Missing, err)
		}
	}
	if _, err := (Secure{}).TLSA(t.Context(), "xmpp.good.example", 5222); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("without a prover: %v", err)
	}
}
