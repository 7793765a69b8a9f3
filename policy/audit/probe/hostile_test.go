package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/tests/lab"
)

// TestFedUp is a server that ends connections once it had some, as one does that
// counts them: that is no refusal of what was asked.
func TestFedUp(t *testing.T) {
	l := newLot(t)
	good := server{cert: l.cert(lab.CALeaf{Names: []string{domain}}), direct: true}
	good.conf = func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 }
	var n atomic.Int32
	l.start("fed.test:5223", func(c *lab.ScriptConn) {
		if n.Add(1) == 1 {
			good.run(c)
			return
		}
		_ = c.Close()
	})
	seen := look(t, Target{Domain: domain, Endpoints: []policy.Endpoint{at("tls://fed.test:5223")}}, Options{Dialer: l.net, Roots: l.ca.Pool()})
	for _, f := range audit.Judge(seen, audit.Checks()) {
		if (f.ID == "tls.version" || f.ID == "tls.cipher") && f.Verdict != audit.Unknown {
			t.Errorf("%s: %s, %s", f.ID, f.Verdict, f.Evidence)
		}
	}
}

// TestLongAnswers is zones with more records than are kept, where the last one counts,
// and answers that are half forged.
func TestLongAnswers(t *testing.T) {
	lookup := func(_ context.Context, name string, qtype uint16) (dnssec.Result, error) {
		r := dnssec.Result{Security: dnssec.Secure, Name: name}
		switch {
		case qtype == dns.TypeCAA:
			for i := range 40 {
				r.Records = append(r.Records, &dns.CAA{Hdr: dns.RR_Header{Name: name + ".", Rrtype: qtype}, Tag: "issue", Value: fmt.Sprintf("ca%d.test", i)})
			}
		case qtype == dns.TypeA:
			return r, context.DeadlineExceeded
		case qtype == dns.TypeAAAA:
			r.Security, r.Why = dnssec.Bogus, "a signature that does not fit"
		default:
			r.Missing = true
		}
		return r, nil
	}
	seen := look(t, Target{Domain: domain}, Options{Dialer: &network{}, Lookup: lookup})
	if !strings.Contains(seen.DNS.CAA.Err, "40 records") {
		t.Errorf("CAA: %+v", seen.DNS.CAA)
	}
	if seen.DNS.Address.Security != audit.Bogus {
		t.Errorf("addresses: %+v", seen.DNS.Address)
	}
}

// TestManyPlaces is a domain with more places than are looked at: nothing that is said
// of all places passes.
func TestManyPlaces(t *testing.T) {
	l := newLot(t)
	good := server{cert: l.cert(lab.CALeaf{Names: []string{domain}}), direct: true}
	z := zone{}
	for i := range maxEndpoints + 3 {
		host := fmt.Sprintf("h%d.test", i)
		l.start(host+":5223", good.run)
		z["_xmpps-client._tcp."+domain] = append(z["_xmpps-client._tcp."+domain], "SRV 0 0 5223 "+host+".")
		z[host] = []string{"A 192.0.2.1"}
	}
	seen := look(t, Target{Domain: domain}, Options{Dialer: l.net, Lookup: z.lookup, Roots: l.ca.Pool()})
	for _, id := range []string{"cert.chain", "tls.samekey", "stream.http"} {
		checks, _ := audit.Select([]string{id})
		if !slices.ContainsFunc(audit.Judge(seen, checks), func(f audit.Finding) bool {
			return f.Verdict == audit.Unknown && strings.Contains(f.Evidence, "not looked at")
		}) {
			t.Errorf("%s says nothing of the places that were left out", id)
		}
	}
}

// TestOtherOnion is a domain at two onion addresses, of which one is down.
func TestOtherOnion(t *testing.T) {
	a, b := strings.Repeat("a", 56)+".onion", strings.Repeat("b", 56)+".onion"
	seen := onionOf(Target{Domain: domain}, []audit.Endpoint{{At: at("starttls://" + a), Err: "gone", Code: 0xF0}, {At: at("starttls://" + b), Plain: &audit.Stream{}}})
	if seen.Address != a || seen.Reached || seen.Code != 0xF0 || seen.Err != "gone" {
		t.Errorf("%+v", seen)
	}
}

// TestSilence is a server that ends who is silent: of how much it takes from others that
// says nothing.
func TestSilence(t *testing.T) {
	l := newLot(t)
	l.start("short.test:5222", server{hangUp: true}.run)
	e := &audit.Endpoint{Preauth: &audit.Preauth{Bytes: fillBytes}}
	r := &run{Options: Options{Idle: 5 * time.Second}}
	r.idle(t.Context(), spot{at: at("starttls://short.test:5222"), service: audit.C2S, domain: domain, dialer: l.net}, e, func() {})
	if e.Preauth.Time == 0 || e.Preauth.Limited {
		t.Errorf("%+v", e.Preauth)
	}
}

// TestNear is a domain that names doors in the network of whoever looks.
func TestNear(t *testing.T) {
	l := newLot(t)
	cert := l.cert(lab.CALeaf{Names: []string{domain}})
	l.start(domain+":443", func(c *lab.ScriptConn) {
		c.HTTPS(cert)
		page(xrd + "<Link rel='urn:xmpp:alt-connections:websocket' href='wss://router.test/reboot'/>" +
			"<Link rel='urn:xmpp:alt-connections:websocket' href='wss://192.168.1.1/reboot'/></XRD>")(c)
	})
	z := zone{
		"_xmpp-client._tcp." + domain:  {"SRV 0 0 22 gate.test."},
		"_xmpps-client._tcp." + domain: {"SRV 0 0 443 10.0.0.1."},
		"gate.test":                    {"A 192.0.2.1", "AAAA ::ffff:127.0.0.1"},
		"router.test":                  {"A 192.168.1.1"},
	}
	seen := look(t, Target{Domain: domain}, Options{Dialer: l.net, Lookup: z.lookup, Roots: l.ca.Pool()})
	for _, a := range l.net.dialed {
		if a != domain+":443" {
			t.Errorf("dialled %s", a)
		}
	}
	for _, e := range seen.Endpoints {
		if !e.Left {
			t.Errorf("%v: %q", e.At, e.Err)
		}
	}
	if len(seen.Endpoints) != 2 {
		t.Errorf("%d places", len(seen.Endpoints))
	}
}
