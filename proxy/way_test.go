package proxy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// TestDNSSEC: what DNS must prove of a domain, what becomes of one that it does not,
// and what its TLSA records let in, in each of the modes.
func TestDNSSEC(t *testing.T) {
	t.Parallel()
	const (
		signed, plain, forged = "signed", "plain", "forged" // how the domain is
		right, wrong, cut     = "right", "wrong", "cut"     // its TLSA records: of the key, of another, taken away
	)
	own, err := lab.NewCA()
	check(t, err)
	stranger, err := own.Leaf(lab.CALeaf{Names: []string{"somebody.example"}, SelfSigned: true, Expired: true})
	check(t, err)
	anybody := func(g *ground, c *lab.ScriptConn) { // a certificate that proves nothing
		c.Good(testDomain, stranger, testUser, testPassword)
		echo(c)
	}
	type row struct {
		zone, tlsa string
		dns        policy.DNSSEC
		tls        policy.TLSMode
		server     func(*ground, *lab.ScriptConn)
		identity   string // in status, where it is let in
		refusal    string // what the client is told, where not
		told       string // in status, with mode = "report"
		report     bool   // it is let in with mode = "report" only
	}
	const notSigned = "the zone example.org. is not signed"
	for _, tt := range []row{
		{zone: signed, dns: policy.DNSSECPrefer, tls: policy.TLSVerify, server: good, identity: "DNS-ID example.org"},
		{zone: signed, dns: policy.DNSSECRequire, tls: policy.TLSVerify, server: good, identity: "DNS-ID example.org"},
		{zone: plain, dns: policy.DNSSECPrefer, tls: policy.TLSVerify, server: good, identity: "DNS-ID example.org"},
		{zone: plain, dns: policy.DNSSECRequire, tls: policy.TLSVerify, server: good, identity: "DNS-ID example.org",
			report: true, refusal: notSigned, told: "what DNS says of the domain is not proven by DNSSEC: " + notSigned},
		{zone: forged, dns: policy.DNSSECPrefer, tls: policy.TLSVerify, server: good, refusal: "somebody may be forging it"},
		{zone: forged, dns: policy.DNSSECRequire, tls: policy.TLSVerify, server: good, refusal: "somebody may be forging it"},
		{zone: forged, dns: policy.DNSSECOff, tls: policy.TLSVerify, server: good, identity: "DNS-ID example.org"},
		{zone: signed, dns: policy.DNSSECUnset, tls: policy.TLSVerify, server: good, refusal: "do not say what proof"},
		// The rules refuse these two; whatever they were let in by, no proof is no proof.
		{zone: signed, tlsa: right, dns: policy.DNSSECOff, tls: policy.TLSDANE, server: anybody, refusal: "do not say what proof"},
		{zone: signed, tlsa: right, dns: policy.DNSSECOff, tls: policy.TLSDANEOnly, server: anybody, refusal: "do not say what proof"},

		{zone: signed, tlsa: right, dns: policy.DNSSECPrefer, tls: policy.TLSDANE, server: anybody, identity: "DANE-EE xmpp.example.org"},
		{zone: signed, tlsa: right, dns: policy.DNSSECPrefer, tls: policy.TLSDANEOnly, server: anybody, identity: "DANE-EE xmpp.example.org"},
		{zone: signed, tlsa: right, dns: policy.DNSSECPrefer, tls: policy.TLSVerify, server: anybody, refusal: "has expired"},
		{zone: signed, tlsa: wrong, dns: policy.DNSSECPrefer, tls: policy.TLSDANE, server: good, refusal: "fits none of the TLSA records"},
		{zone: signed, tlsa: wrong, dns: policy.DNSSECPrefer, tls: policy.TLSDANEOnly, server: good, refusal: "fits none of the TLSA records"},
		{zone: signed, tlsa: cut, dns: policy.DNSSECPrefer, tls: policy.TLSDANE, server: good, refusal: "what DNS says of the server's key (TLSA) cannot be used"},
		{zone: signed, tlsa: cut, dns: policy.DNSSECPrefer, tls: policy.TLSVerify, server: good, identity: "DNS-ID example.org"},
		{zone: signed, dns: policy.DNSSECPrefer, tls: policy.TLSDANE, server: good, identity: "DNS-ID example.org"},
		{zone: signed, dns: policy.DNSSECPrefer, tls: policy.TLSDANE, server: anybody, refusal: "has expired"},
		{zone: signed, dns: policy.DNSSECPrefer, tls: policy.TLSDANEOnly, server: good, refusal: "there are none at _5222._tcp.xmpp.example.org"},
		{zone: plain, tlsa: right, dns: policy.DNSSECPrefer, tls: policy.TLSDANE, server: anybody, refusal: "has expired"},
		{zone: plain, tlsa: wrong, dns: policy.DNSSECPrefer, tls: policy.TLSDANE, server: good, identity: "DNS-ID example.org"},
		{zone: plain, tlsa: right, dns: policy.DNSSECPrefer, tls: policy.TLSDANEOnly, server: anybody, refusal: notSigned + `, and tls = "dane-only" is set`},
		{zone: plain, tlsa: right, dns: policy.DNSSECRequire, tls: policy.TLSDANEOnly, server: anybody, refusal: notSigned},
	} {
		for _, mode := range []policy.Mode{policy.Enforce, policy.Report} {
			t.Run(fmt.Sprintf("%s, TLSA %s, %v, %v, %v, %v", tt.zone, tt.tlsa, tt.dns, tt.tls, tt.identity, mode), func(t *testing.T) {
				t.Parallel()
				var tree *lab.SignedTree
				exchange := func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
					r, err := tree.Exchange(ctx, q)
					for _, rr := range r.Answer {
						if s, ok := rr.(*dns.SRV); ok && tt.zone == forged {
							s.Weight++
						}
					}
					if tt.tlsa == cut && q.Question[0].Qtype == dns.TypeTLSA {
						r.Answer, r.Ns = nil, nil
					}
					return r, err
				}
				socks, err := lab.SOCKSStart("tcp", "127.0.0.1:0", nil)
				check(t, err)
				t.Cleanup(func() { socks.Close() })
				g := newGround(t, tt.server, func(d *policy.Decision, c *Config) {
					set, err := egress.New(egress.Config{Tor: func(context.Context) (string, error) { return socks.Addr(), nil }})
					check(t, err)
					c.Egress = set
					c.Lookup = func(egress.Dialer) resolve.SRVLookup {
						return &lookup{records: []resolve.SRV{srv("xmpp.example.org", 0)}}
					}
					c.Prover = func(context.Context, egress.Dialer) resolve.Prover {
						return dnssec.New(dnssec.Config{Exchange: exchange, Anchors: tree.Anchors()})
					}
					d.Route.Kind, d.Endpoints, d.Upgrade = policy.RouteTor, nil, policy.UpgradeOff
					d.DNSSEC, d.TLS, d.Mode = tt.dns, tt.tls, mode
				})
				socks.Map("xmpp.example.org:5222", g.server.Addr())
				tree = lab.SignTree(time.Now(), lab.SignedZone{Name: "example.org.", Unsigned: tt.zone == plain, Records: records(tt.tlsa, stranger.Leaf.RawSubjectPublicKeyInfo)})

				c := g.dial()
				c.startTLS(g)
				c.auth(testUser, testPassword)
				got := html.UnescapeString(c.expect(`<success[^>]*/>|</stream:error>`))
				if tt.identity == "" || tt.report && mode == policy.Enforce {
					if !strings.Contains(got, "policy-violation") || !strings.Contains(got, tt.refusal) {
						t.Errorf("the client is told %s, want %q", got, tt.refusal)
					}
					return
				}
				if !strings.HasPrefix(got, "<success") {
					t.Fatal(got)
				}
				c.open()
				c.bind()
				n := g.gw.Sessions(t.Context())[0]
				if said := strings.Join(n.Warnings, "\n"); n.Identity != tt.identity || !strings.Contains(said, tt.told) || tt.told == "" && said != "" {
					t.Errorf("status says %q, %q", n.Identity, n.Warnings)
				}
			})
		}
	}
}

// records are those of a domain with a TLSA record of a key, or of another.
func records(tlsa string, key []byte) []string {
	list := []string{"_xmpp-client._tcp.example.org. IN SRV 0 5 5222 xmpp.example.org.", "xmpp.example.org. IN A 192.0.2.1"}
	if tlsa == "" {
		return list
	}
	if tlsa == "wrong" {
		key = []byte("another")
	}
	return append(list, fmt.Sprintf("_5222._tcp.xmpp.example.org. IN TLSA 3 1 1 %x", sha256.Sum256(key)))
}
