package audit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
)

// TestHalfSeen has servers that show a part, lie, or are in a hurry to end it: what
// was not seen is unknown, and what is as bad under another name is found.
func TestHalfSeen(t *testing.T) {
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	weak, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	c0 := func(do func(*Endpoint)) func(*Observation) { return func(o *Observation) { do(&o.Endpoints[0]) } }
	const legacy = "http://jabber.org/features/iq-auth auth"
	server := []change{
		{"caa.present", "wildcards alone", func(o *Observation) { o.DNS.CAA.Records = []string{`0 issuewild "ca.example"`} }, Warn, Medium},
		{"caa.accounturi", "wildcards alone", func(o *Observation) {
			o.DNS.CAA.Records = []string{`0 issuewild "ca.example; accounturi=https://a/1; validationmethods=dns-01"`}
		}, Warn, Medium},
		{"dns.srv.c2s", "no record, and an address that nobody can say", func(o *Observation) {
			o.DNS.SRV["_xmpp-client._tcp"], o.DNS.Records["_xmpp-client._tcp"] = Answer{Name: "x", Missing: true}, nil
			o.DNS.Address = Answer{Name: "example.org", Security: Bogus}
		}, Warn, Medium},
		{"dns.dnssec", "this machine", func(o *Observation) { o.Domain = "localhost" }, Skip, High},
		{"dns.srv.c2s", "this machine", func(o *Observation) { o.Domain = "node.localhost" }, Skip, High},
		{"dns.hostmeta", "this machine", func(o *Observation) { o.Domain = "localhost" }, Skip, Low},
		{"dns.hostmeta", "a scheme in capitals", func(o *Observation) {
			o.HostMeta.XMLLinks, o.HostMeta.JSONLinks = []string{"WSS://example.org/ws"}, []string{"WSS://example.org/ws"}
		}, Warn, Low},
		{"dns.hostmeta", "no host", func(o *Observation) {
			o.HostMeta.XMLLinks, o.HostMeta.JSONLinks = []string{"wss:///ws"}, []string{"wss:///ws"}
		}, Warn, Low},
		{"dane.tlsa", "named by SRV that is bogus", func(o *Observation) {
			a := o.DNS.SRV["_xmpp-client._tcp"]
			a.Security = Bogus
			o.DNS.SRV["_xmpp-client._tcp"] = a
		}, Warn, Medium},
		{"tls.cipher", "a version that was not tried", c0(func(e *Endpoint) { delete(e.TLS.Versions, "1.2") }), Unknown, High},
		{"tls.samekey", "two keys on the second host", func(o *Observation) {
			o.Endpoints[2].At.Host, o.Endpoints[3].At.Host = "b.example.org", "b.example.org"
			o.Endpoints[3].TLS.Chain = []*x509.Certificate{issue(t, other, nil)}
		}, Fail, High},
		{"cert.key", "a weak authority", c0(func(e *Endpoint) {
			e.TLS.Verified = []*x509.Certificate{e.TLS.Chain[0], issue(t, weak, func(c *x509.Certificate) { c.Subject.CommonName = "authority" })}
		}), Fail, High},
		{"cert.key", "an old certificate that is not on the way", c0(func(e *Endpoint) {
			old := *e.TLS.Chain[0]
			old.SignatureAlgorithm, old.Issuer.CommonName = x509.SHA1WithRSA, "another"
			e.TLS.Verified = e.TLS.Chain
			e.TLS.Chain = []*x509.Certificate{e.TLS.Chain[0], &old}
		}), Pass, High},
		{"sasl.pretls", "the login before SASL", c0(func(e *Endpoint) { e.Plain.Features = append(e.Plain.Features, legacy) }), Fail, Critical},
		{"sasl.posttls", "the login before SASL", c0(func(e *Endpoint) { e.Secure.Features = append(e.Secure.Features, legacy) }), Fail, Medium},
		{"tls.starttls.required", "the login before SASL", c0(func(e *Endpoint) {
			e.Plain.StartTLS, e.Plain.Features = "offered", append(e.Plain.Features, legacy)
		}), Fail, Critical},
		{"sasl.scram", "a name that is alike", c0(func(e *Endpoint) { e.Secure.Mechanisms, e.Secure.SASL2 = []string{"SCRAM-SHA-X"}, nil }), Fail, Medium},
		{"sasl.plus", "a name that is alike", c0(func(e *Endpoint) { e.Secure.Mechanisms, e.Secure.SASL2 = []string{"X-PLUS", "SCRAM-SHA-256"}, nil }), Warn, Medium},
		{"reg.open", "one of two not seen", func(o *Observation) { o.Endpoints[1].Registration, o.Endpoints[1].Secure = nil, &Stream{Err: "reset"} }, Unknown, Medium},
		{"stream.from", "not seen inside TLS", c0(func(e *Endpoint) { e.Secure = &Stream{Err: "reset"} }), Unknown, Medium},
		{"stream.from", "TLS never came", c0(func(e *Endpoint) { e.Secure, e.TLS = nil, &TLS{Err: "reset"} }), Unknown, Medium},
		{"stream.from", "the id of another connection", c0(func(e *Endpoint) { e.UnknownHost.ID = e.Secure.ID }), Warn, Medium},
		{"stream.from", "letters of another script", func(o *Observation) {
			o.Domain = "xn--bcher-kva.example"
			for i := range o.Endpoints {
				for _, s := range o.Endpoints[i].streams() {
					s.From = "bücher.example"
				}
			}
		}, Pass, Medium},
		{"stream.redirect", "not seen inside TLS", c0(func(e *Endpoint) { e.Secure = &Stream{Err: "reset"} }), Unknown, Medium},
		{"stream.redirect", "letters of another script", func(o *Observation) {
			o.Domain, o.Endpoints[0].Secure.Elsewhere = "xn--bcher-kva.example", "im.Bücher.example:5222"
		}, Warn, Low},
		{"stream.unknown-host", "too busy to say", c0(func(e *Endpoint) { e.UnknownHost = &Stream{Error: "resource-constraint"} }), Unknown, Medium},
		{"stream.http", "a web page without a head", c0(func(e *Endpoint) { e.HTTP = "<html><body>hello" }), Warn, Low},
		{"stream.http", "refused", c0(func(e *Endpoint) { e.HTTP, e.HTTPClosed = "HTTP/1.1 400 Bad Request", true }), Pass, Low},
		{"stream.http", "refused, but it listens on", c0(func(e *Endpoint) { e.HTTP = "HTTP/1.1 400 Bad Request" }), Warn, Low},
		{"stream.http", "another answer", c0(func(e *Endpoint) { e.HTTP, e.HTTPClosed = "HTTP/1.1 404 Not Found", true }), Warn, Low},
		{"stream.http", "a number that begins alike", c0(func(e *Endpoint) { e.HTTP, e.HTTPClosed = "HTTP/1.1 4000", true }), Warn, Low},
		{"limit.pretls", "ended by time alone", c0(func(e *Endpoint) { e.Preauth = &Preauth{Bytes: 1 << 20, Time: 30e9} }), Fail, Medium},
		{"limit.pretls", "ended by time, and not filled", c0(func(e *Endpoint) { e.Preauth = &Preauth{Time: 30e9, Err: "reset"} }), Unknown, Medium},
		{"info.version", "not answered", func(o *Observation) { o.Login.Software, o.Login.SoftwareErr = "", "no answer in time" }, Unknown, Low},
		{"info.version", "a build", func(o *Observation) { o.Login.Software = "Prosody trunk nightly build 1742" }, Warn, Low},
	}
	onion := []change{
		{"onion.desc", "a reply that nobody knows", func(o *Observation) { o.Onion.Reached, o.Onion.Code = false, 0xF9 }, Unknown, High},
		{"onion.deanon", "reached, and no stream", func(o *Observation) {
			e := &o.Endpoints[0]
			e.Plain, e.Secure, e.UnknownHost, e.TLS = &Stream{Err: "no XMPP"}, nil, nil, nil
		}, Unknown, High},
		{"onion.deanon", "no certificate", func(o *Observation) {
			e := &o.Endpoints[0]
			e.Secure, e.TLS = nil, &TLS{Err: "alert"}
		}, Unknown, High},
	}
	for _, k := range []struct {
		good    func(testing.TB) *Observation
		changes []change
	}{{good, server}, {goodOnion, onion}} {
		for _, c := range k.changes {
			o := k.good(t)
			c.do(o)
			findings := run(t, o, c.id)
			if v := worst(findings); v != c.want || len(findings) == 0 {
				t.Errorf("%s, %s: got %s, want %s: %+v", c.id, c.name, v, c.want, findings)
			}
			for _, f := range findings {
				if f.Verdict == c.want && f.Severity != c.sev && (c.want == Fail || c.want == Warn) {
					t.Errorf("%s, %s: severity %s, want %s", c.id, c.name, f.Severity, c.sev)
				}
			}
		}
	}
}

// TestNothingSeen has only checks that do not apply: that is not good.
func TestNothingSeen(t *testing.T) {
	o := good(t)
	o.Endpoints = o.Endpoints[:2]
	r := NewReport(o, run(t, o, "s2s.required"))
	if r.Exit(Info) != ExitWarnings || r.Grade != "" {
		t.Errorf("grade %q, exit %d, %+v", r.Grade, r.Exit(Info), r.Findings)
	}
}

// TestJUnitPolicy: with a policy, what it lets be does not fail.
func TestJUnitPolicy(t *testing.T) {
	o := good(t)
	o.Endpoints[0].TLS.PQ, o.Endpoints[0].TLS.Group = false, "X25519"
	r := judged(o)
	r.Met = (&Policy{Name: "ours", Level: High}).Compare(r.Findings, now)
	var b bytes.Buffer
	if err := (Output{}).JUnit(&b, []*Report{r}); err != nil || strings.Contains(b.String(), "<failure") || r.Exit(Info) != ExitGood {
		t.Errorf("%v, exit %d\n%s", err, r.Exit(Info), b.String())
	}
}

// TestLeftOut: a place at which nobody looked is unknown, and not among those that were
// looked at.
func TestLeftOut(t *testing.T) {
	o := good(t)
	o.Endpoints = append(o.Endpoints, Endpoint{At: endpoint(t, "tls://far.example.org"), Service: C2S, Err: "too many", Left: true})
	r := judged(o)
	if places := r.places(); slices.Contains(places, "tls://far.example.org:5223") || len(places) != 5 {
		t.Errorf("looked at %v", places)
	}
	if r.Exit(Info) != ExitWarnings || worst(run(t, o, "cert.chain")) != Unknown || worst(run(t, o, "dns.srv.c2s-tls")) != Pass {
		t.Errorf("grade %s, exit %d", r.Grade, r.Exit(Info))
	}
}
