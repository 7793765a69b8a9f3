package audit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"
)

// ids is the table of the checks, which never changes but by growing.
const ids = `dns.srv.c2s dns.srv.c2s-tls dns.srv.s2s dns.srv.s2s-tls dns.hostmeta dns.dnssec dane.tlsa caa.present caa.accounturi
tls.starttls.offered tls.starttls.required tls.version tls.cipher tls.group.pq tls.alpn.direct tls.injection tls.samekey
cert.chain cert.expiry cert.key cert.name cert.revocation cert.sct cert.s2s-eku sasl.pretls sasl.posttls sasl.scram sasl.plus
cb.types cb.endpoint cb.exporter sasl.downgrade sasl.sasl2 sasl.fast reg.open s2s.required s2s.dialback-only s2s.external
stream.from stream.unknown-host stream.redirect stream.http limit.pretls limit.advertised info.version info.contact
onion.desc onion.reach onion.auth onion.deanon onion.twin witness.key suite.core suite.web suite.im suite.mobile suite.av
self.listen self.files self.ca self.trust self.policy self.tor self.clock egress.dns egress.tcp egress.udp egress.socks`

func TestIDs(t *testing.T) {
	var got []string
	for _, c := range Checks() {
		got = append(got, c.ID)
		if c.Asks == "" || c.Reference == "" || c.Run == nil {
			t.Errorf("%s is not whole: %+v", c.ID, c)
		}
	}
	if want := strings.Fields(ids); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestSelect(t *testing.T) {
	some, err := Select([]string{"cb", "tls.version", "cb.types"})
	var got []string
	for _, c := range some {
		got = append(got, c.ID)
	}
	if err != nil || !slices.Equal(got, []string{"tls.version", "cb.types", "cb.endpoint", "cb.exporter"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := Select([]string{"tls.versio"}); err == nil {
		t.Error("an id that is none was taken")
	}
	if all, err := Select(nil); err != nil || len(all) != len(Checks()) {
		t.Errorf("none is not all: %d, %v", len(all), err)
	}
}

// worst is the worst verdict of a check.
func worst(findings []Finding) Verdict {
	v := Skip
	for _, f := range findings {
		if f.Verdict.badness() < v.badness() {
			v = f.Verdict
		}
	}
	return v
}

func run(t *testing.T, o *Observation, id string) []Finding {
	t.Helper()
	checks, err := Select([]string{id})
	if err != nil {
		t.Fatal(err)
	}
	checks = slices.DeleteFunc(checks, func(c Check) bool { return c.ID != id })
	return Judge(o, checks)
}

// A change is one thing that is not as in the good observation.
type change struct {
	id   string
	name string
	do   func(*Observation)
	want Verdict
	sev  Severity // of the worst one; 99: not looked at
}

const anySeverity Severity = 99

func serverChanges(t *testing.T) []change {
	var all []change
	add := func(id, name string, want Verdict, sev Severity, do func(*Observation)) {
		all = append(all, change{id, name, do, want, sev})
	}
	c0 := func(do func(*Endpoint)) func(*Observation) { return func(o *Observation) { do(&o.Endpoints[0]) } }
	s0 := func(do func(*Endpoint)) func(*Observation) { return func(o *Observation) { do(&o.Endpoints[2]) } }
	noServers := func(o *Observation) {
		o.Endpoints = slices.DeleteFunc(o.Endpoints, func(e Endpoint) bool { return e.Service == S2S })
	}
	for id, label := range map[string]string{"dns.srv.c2s": "_xmpp-client._tcp", "dns.srv.c2s-tls": "_xmpps-client._tcp", "dns.srv.s2s": "_xmpp-server._tcp", "dns.srv.s2s-tls": "_xmpps-server._tcp"} {
		none := func(o *Observation) {
			o.DNS.SRV[label], o.DNS.Records[label] = Answer{Name: "x", Security: Secure, Missing: true}, nil
		}
		first := func(do func(*SRV)) func(*Observation) { return func(o *Observation) { do(&o.DNS.Records[label][0]) } }
		add(id, "no record", Warn, anySeverity, none)
		add(id, "CNAME", Warn, Medium, first(func(r *SRV) { r.Addresses.CNAME = true }))
		add(id, "port 0", Fail, Medium, first(func(r *SRV) { r.Port = 0 }))
		add(id, "an address as target", Fail, Medium, first(func(r *SRV) { r.Target = "192.0.2.1" }))
		add(id, "does not resolve", Fail, Medium, first(func(r *SRV) { r.Addresses = Answer{Name: "x", Missing: true} }))
		add(id, "a dot among others", Fail, Medium, func(o *Observation) { o.DNS.Records[label] = append(o.DNS.Records[label], SRV{Target: "."}) })
		add(id, "ten thousand", Warn, Medium, func(o *Observation) { o.DNS.Records[label] = slices.Repeat(o.DNS.Records[label], 10000) })
		add(id, "no answer", Unknown, Medium, func(o *Observation) { o.DNS.SRV[label] = Answer{Name: "x", Err: "timeout"} })
		add(id, "bogus", Unknown, Medium, func(o *Observation) { o.DNS.SRV[label] = Answer{Name: "x", Security: Bogus} })
		add(id, "not asked", Unknown, Medium, func(o *Observation) { delete(o.DNS.SRV, label) })
		add(id, "no DNS", Unknown, Medium, func(o *Observation) { o.DNS = nil })
		add(id, "onion", Skip, Medium, func(o *Observation) { o.Domain = address })
	}
	dot := func(label string) func(*Observation) {
		return func(o *Observation) { o.DNS.Records[label] = []SRV{{Target: "."}} }
	}
	add("dns.srv.c2s", "a dot, with direct TLS", Pass, Medium, dot("_xmpp-client._tcp"))
	add("dns.srv.c2s", "a dot, and nothing else", Fail, Medium, func(o *Observation) { dot("_xmpp-client._tcp")(o); dot("_xmpps-client._tcp")(o) })
	add("dns.srv.s2s", "a dot", Skip, Medium, dot("_xmpp-server._tcp"))
	add("dns.srv.c2s", "nothing at all", Fail, Medium, func(o *Observation) {
		o.DNS.SRV["_xmpp-client._tcp"], o.DNS.Records["_xmpp-client._tcp"] = Answer{Name: "x", Missing: true}, nil
		o.DNS.Address = Answer{Name: "example.org", Missing: true}
	})

	add("dns.hostmeta", "clear link", Fail, Low, func(o *Observation) { o.HostMeta.JSONLinks = []string{"ws://example.org/ws"} })
	add("dns.hostmeta", "none", Warn, Low, func(o *Observation) { o.HostMeta = &HostMeta{XMLMissing: true, JSONMissing: true} })
	add("dns.hostmeta", "one", Warn, Low, func(o *Observation) { o.HostMeta.JSONMissing = true })
	add("dns.hostmeta", "differ", Warn, Low, func(o *Observation) { o.HostMeta.JSONLinks = o.HostMeta.JSONLinks[:1] })
	add("dns.hostmeta", "empty", Warn, Low, func(o *Observation) { o.HostMeta = &HostMeta{} })
	add("dns.hostmeta", "error", Unknown, Low, func(o *Observation) { o.HostMeta.XMLErr = "timeout" })
	add("dns.hostmeta", "not asked", Unknown, Low, func(o *Observation) { o.HostMeta = nil })
	add("dns.hostmeta", "onion", Skip, Low, func(o *Observation) { o.HostMeta, o.Domain = nil, address })

	standing := func(s Security) func(*Observation) { return func(o *Observation) { o.DNS.Address.Security = s } }
	add("dns.dnssec", "bogus", Fail, High, standing(Bogus))
	add("dns.dnssec", "insecure", Warn, Medium, standing(Insecure))
	add("dns.dnssec", "indeterminate", Unknown, High, standing(Indeterminate))
	add("dns.dnssec", "not looked at", Unknown, High, standing(""))
	add("dns.dnssec", "a target is bogus", Fail, High, func(o *Observation) { o.DNS.Records["_xmpp-server._tcp"][0].Addresses.Security = Bogus })
	add("dns.dnssec", "TLSA is insecure", Warn, Medium, func(o *Observation) { o.DNS.TLSA["443 example.org"] = Answer{Name: "x", Security: Insecure} })
	add("dns.dnssec", "nothing", Unknown, High, func(o *Observation) { o.DNS = &DNS{} })
	add("dns.dnssec", "onion", Skip, High, func(o *Observation) { o.Domain = address })

	tlsa := func(a Answer) func(*Observation) {
		return func(o *Observation) { o.DNS.TLSA["5222 xmpp.example.org"] = a }
	}
	add("dane.tlsa", "another key", Fail, High, tlsa(Answer{Security: Secure, Records: []string{"3 1 1 " + strings.Repeat("00", 32)}}))
	add("dane.tlsa", "none of use", Fail, High, tlsa(Answer{Security: Secure, Records: []string{"9 1 1 00", "3 1 1 zz", ""}}))
	add("dane.tlsa", "authority that is not there", Fail, High, func(o *Observation) {
		for k, a := range o.DNS.TLSA {
			a.Records = []string{"2" + a.Records[0][1:]}
			o.DNS.TLSA[k] = a
		}
	})
	add("dane.tlsa", "bogus", Fail, High, tlsa(Answer{Security: Bogus, Why: "signature"}))
	add("dane.tlsa", "unsigned", Warn, Medium, func(o *Observation) { a := o.DNS.TLSA["5222 xmpp.example.org"]; a.Security = Insecure; tlsa(a)(o) })
	add("dane.tlsa", "none", Warn, Low, tlsa(Answer{Security: Secure, Missing: true}))
	add("dane.tlsa", "no answer", Unknown, High, tlsa(Answer{Err: "timeout"}))
	add("dane.tlsa", "not asked", Unknown, High, func(o *Observation) { o.DNS.TLSA = nil })
	add("dane.tlsa", "PKIX-EE without a root", Fail, High, func(o *Observation) {
		a := o.DNS.TLSA["5222 xmpp.example.org"]
		a.Records = []string{"1" + a.Records[0][1:]}
		tlsa(a)(o)
		o.Endpoints[0].TLS.Verified = nil
	})
	add("dane.tlsa", "PKIX-EE with a root", Pass, High, func(o *Observation) {
		for k, a := range o.DNS.TLSA {
			a.Records = []string{"1" + a.Records[0][1:]}
			o.DNS.TLSA[k] = a
		}
		for _, e := range o.Endpoints {
			e.TLS.Verified = e.TLS.Chain
		}
	})
	add("dane.tlsa", "named by SRV that is not signed", Warn, Medium, func(o *Observation) {
		a := o.DNS.SRV["_xmpps-client._tcp"]
		a.Security = Insecure
		o.DNS.SRV["_xmpps-client._tcp"] = a
	})
	add("dane.tlsa", "onion", Skip, High, func(o *Observation) { o.Domain = address })

	caa := func(records ...string) func(*Observation) {
		return func(o *Observation) { o.DNS.CAA.Records = records }
	}
	for _, id := range []string{"caa.present", "caa.accounturi"} {
		add(id, "none", Warn, Medium, caa())
		add(id, "only iodef", Warn, Medium, caa(`0 iodef "mailto:a@example.org"`))
		add(id, "unsigned", Warn, Low, func(o *Observation) { o.DNS.CAA.Security = Insecure })
		add(id, "no answer", Unknown, Medium, func(o *Observation) { o.DNS.CAA = Answer{Err: "timeout"} })
		add(id, "not asked", Unknown, Medium, func(o *Observation) { o.DNS.CAA = Answer{} })
		add(id, "onion", Skip, Medium, func(o *Observation) { o.Domain = address })
	}
	add("caa.accounturi", "any account", Warn, Medium, caa(`0 issue "ca.example"`))
	add("caa.accounturi", "nobody may", Pass, Medium, caa(`0 issue ";"`))

	for _, id := range []string{"tls.starttls.offered", "tls.starttls.required"} {
		add(id, "not offered", Fail, Critical, c0(func(e *Endpoint) { e.Plain.StartTLS = "" }))
		add(id, "not looked at", Unknown, Critical, c0(func(e *Endpoint) { e.Plain = nil }))
		add(id, "no stream", Unknown, Critical, c0(func(e *Endpoint) { e.Plain.Err = "reset" }))
		add(id, "no connection", Unknown, Critical, c0(func(e *Endpoint) { e.Err = "refused" }))
		add(id, "only direct TLS", Skip, Critical, func(o *Observation) { o.Endpoints = o.Endpoints[1:2] })
		add(id, "no endpoint", Unknown, Critical, func(o *Observation) { o.Endpoints = nil })
		add(id, "an onion address", Warn, Low, c0(func(e *Endpoint) { e.Plain.StartTLS = ""; e.At.Host = address }))
	}
	add("tls.starttls.required", "optional, with a login", Fail, Critical, c0(func(e *Endpoint) { e.Plain.StartTLS, e.Plain.Mechanisms = "offered", []string{"SCRAM-SHA-1"} }))
	add("tls.starttls.required", "optional, with dialback", Fail, Critical, s0(func(e *Endpoint) { e.Plain.StartTLS, e.Plain.Dialback = "offered", true }))
	add("tls.starttls.required", "not marked", Warn, Low, c0(func(e *Endpoint) { e.Plain.StartTLS = "offered" }))

	for _, id := range []string{"tls.version", "tls.cipher", "tls.group.pq", "cert.chain", "cert.expiry", "cert.key", "cert.name", "cert.revocation", "cert.sct", "tls.samekey", "dane.tlsa"} {
		add(id, "no handshake", Unknown, anySeverity, c0(func(e *Endpoint) { e.TLS.Err = "alert" }))
		add(id, "no TLS", Unknown, anySeverity, c0(func(e *Endpoint) { e.TLS = nil }))
		add(id, "TLS not offered", Unknown, anySeverity, c0(func(e *Endpoint) { e.TLS = nil; e.Plain.StartTLS = "" }))
		add(id, "no connection", Unknown, anySeverity, c0(func(e *Endpoint) { e.Err = "refused" }))
		if !strings.HasPrefix(id, "tls.v") && !strings.HasPrefix(id, "tls.c") && !strings.HasPrefix(id, "tls.g") {
			add(id, "no certificate", Unknown, anySeverity, c0(func(e *Endpoint) { e.TLS.Chain = nil }))
		}
	}
	onlyClearWeb := func(o *Observation) {
		o.Endpoints = []Endpoint{{At: endpoint(t, "ws://"+address+"/"), Service: C2S, Plain: goodSecure()}}
	}
	for _, id := range []string{"tls.version", "tls.cipher", "tls.group.pq", "tls.alpn.direct", "cert.chain", "cert.expiry", "cert.key", "cert.name", "cert.s2s-eku", "tls.samekey"} {
		add(id, "nothing with TLS", Skip, anySeverity, onlyClearWeb)
	}
	version := func(v, how string) func(*Observation) { return c0(func(e *Endpoint) { e.TLS.Versions[v] = how }) }
	add("tls.version", "1.0", Fail, High, version("1.0", ""))
	add("tls.version", "1.1", Fail, High, version("1.1", ""))
	add("tls.version", "no 1.3", Warn, Medium, version("1.3", "alert"))
	add("tls.version", "no 1.2", Pass, High, version("1.2", "alert"))
	add("tls.version", "not tried", Unknown, High, c0(func(e *Endpoint) { delete(e.TLS.Versions, "1.0") }))
	add("tls.version", "none", Fail, High, c0(func(e *Endpoint) { e.TLS.Versions["1.2"], e.TLS.Versions["1.3"] = "x", "x" }))
	suite := func(s ...string) func(*Observation) {
		return c0(func(e *Endpoint) { e.TLS.Accepted = map[string][]string{"1.2": s} })
	}
	for _, s := range []string{"TLS_RSA_WITH_NULL_SHA", "TLS_RSA_WITH_RC4_128_SHA", "TLS_DH_anon_WITH_AES_128_CBC_SHA", "TLS_RSA_EXPORT_WITH_RC4_40_MD5", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_RSA_WITH_DES_CBC_SHA"} {
		add("tls.cipher", s, Fail, High, suite(s))
	}
	add("tls.cipher", "no forward secrecy", Warn, Low, suite("TLS_RSA_WITH_AES_128_GCM_SHA256"))
	add("tls.cipher", "short tags", Warn, Low, suite("TLS_AES_128_CCM_8_SHA256"))
	add("tls.cipher", "no answer", Unknown, High, c0(func(e *Endpoint) { e.TLS.Untried = []string{"TLS 1.2, RC4"} }))
	add("tls.cipher", "CBC", Warn, Low, suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"))
	add("tls.cipher", "good", Pass, High, suite("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"))
	add("tls.cipher", "not tried", Unknown, High, c0(func(e *Endpoint) { e.TLS.Accepted = nil }))
	add("tls.group.pq", "classical", Warn, Low, c0(func(e *Endpoint) { e.TLS.PQ, e.TLS.Group = false, "X25519" }))
	add("tls.group.pq", "not seen", Unknown, Low, c0(func(e *Endpoint) { e.TLS.PQ, e.TLS.Group = false, "" }))
	direct := func(do func(*Endpoint)) func(*Observation) { return func(o *Observation) { do(&o.Endpoints[1]) } }
	add("tls.alpn.direct", "none", Warn, Low, direct(func(e *Endpoint) { e.TLS.ALPN = "" }))
	add("tls.alpn.direct", "another", Fail, Low, direct(func(e *Endpoint) { e.TLS.ALPN = "h2" }))
	add("tls.alpn.direct", "no handshake", Unknown, Low, direct(func(e *Endpoint) { e.TLS = nil }))
	add("tls.alpn.direct", "a guess that nobody answers", Pass, Low, direct(func(e *Endpoint) { e.Err, e.Source = "refused", "default port" }))
	add("tls.alpn.direct", "none of that kind", Skip, Low, func(o *Observation) { o.Endpoints = o.Endpoints[:1] })
	add("tls.injection", "accepted", Fail, Critical, c0(func(e *Endpoint) { e.Injection.Accepted = true }))
	add("tls.injection", "behind proceed", Fail, Critical, c0(func(e *Endpoint) { e.Injection.AfterClear = "<x/>" }))
	add("tls.injection", "error", Unknown, Critical, c0(func(e *Endpoint) { e.Injection.Err = "reset" }))
	add("tls.injection", "not tried", Unknown, Critical, c0(func(e *Endpoint) { e.Injection = nil }))
	add("tls.injection", "not offered", Unknown, Critical, c0(func(e *Endpoint) { e.Plain.StartTLS = "" }))
	add("tls.injection", "only direct TLS", Skip, Critical, func(o *Observation) { o.Endpoints = o.Endpoints[1:2] })

	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	small, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(do func(*x509.Certificate)) func(*Observation) {
		return c0(func(e *Endpoint) { e.TLS.Chain = []*x509.Certificate{issue(t, sharedKey, do)} })
	}
	add("tls.samekey", "another key on a port of the host", Fail, High, direct(func(e *Endpoint) { e.TLS.Chain = []*x509.Certificate{issue(t, other, nil)} }))
	add("tls.samekey", "another key on another host", Warn, Medium, direct(func(e *Endpoint) {
		e.At.Host, e.TLS.Chain = "b.example.org", []*x509.Certificate{issue(t, other, nil)}
	}))
	add("tls.samekey", "a renewed certificate", Pass, High, leaf(func(c *x509.Certificate) { c.SerialNumber.SetInt64(2) }))
	add("tls.samekey", "only one", Skip, High, func(o *Observation) { o.Endpoints = o.Endpoints[:1] })

	add("cert.chain", "no root", Fail, Critical, c0(func(e *Endpoint) { e.TLS.ChainErr = "unknown authority" }))
	add("cert.chain", "long", Warn, Medium, c0(func(e *Endpoint) { e.TLS.Chain = slices.Repeat(e.TLS.Chain, 9) }))
	add("cert.expiry", "over", Fail, Critical, leaf(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }))
	add("cert.expiry", "not yet", Fail, Critical, leaf(func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }))
	add("cert.expiry", "soon", Warn, High, leaf(func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, 5) }))
	add("cert.expiry", "short life", Pass, Critical, leaf(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(0, 0, -2), now.AddDate(0, 0, 4) }))
	add("cert.expiry", "what time is it", Unknown, Critical, func(o *Observation) { o.At = time.Time{} })
	add("cert.key", "P-224", Fail, High, c0(func(e *Endpoint) { e.TLS.Chain = []*x509.Certificate{issue(t, small, nil)} }))
	add("cert.key", "RSA 1024", Fail, High, c0(func(e *Endpoint) {
		e.TLS.Chain = []*x509.Certificate{{PublicKey: &weak.PublicKey, PublicKeyAlgorithm: x509.RSA}}
	}))
	add("cert.key", "SHA-1", Fail, High, c0(func(e *Endpoint) {
		c := *e.TLS.Chain[0]
		c.SignatureAlgorithm = x509.SHA1WithRSA
		e.TLS.Chain = []*x509.Certificate{&c}
	}))
	add("cert.name", "another", Fail, Critical, c0(func(e *Endpoint) { e.TLS.NameErr = "not for example.org" }))
	add("cert.name", "not compared", Unknown, Critical, c0(func(e *Endpoint) { e.TLS.Identity = "" }))
	add("cert.revocation", "revoked", Fail, Critical, c0(func(e *Endpoint) { e.TLS.Staple = "revoked" }))
	add("cert.revocation", "no OCSP", Pass, Info, c0(func(e *Endpoint) { e.TLS.Staple = "" }))
	add("cert.revocation", "no OCSP anywhere", Skip, Info, func(o *Observation) {
		for i := range o.Endpoints {
			o.Endpoints[i].TLS.Staple = ""
		}
	})
	add("cert.revocation", "not stapled", Warn, Info, func(o *Observation) {
		leaf(func(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.example"} })(o)
		o.Endpoints[0].TLS.Staple = ""
	})
	add("cert.revocation", "error", Unknown, Info, c0(func(e *Endpoint) { e.TLS.Staple = "cannot be read" }))
	scts := func(s ...SCT) func(*Observation) { return c0(func(e *Endpoint) { e.TLS.SCTs = s }) }
	add("cert.sct", "none", Warn, Medium, scts())
	add("cert.sct", "the same log twice", Warn, Medium, scts(SCT{Log: "a", Valid: true}, SCT{Log: "a", Valid: true}))
	add("cert.sct", "one operator", Warn, Medium, scts(SCT{Log: "a", Operator: "o", Valid: true}, SCT{Log: "b", Operator: "o", Valid: true}))
	add("cert.sct", "wrong", Fail, Medium, scts(SCT{Log: "a", Valid: true}, SCT{Log: "b"}))
	add("cert.sct", "wrong beside enough", Warn, Low, scts(SCT{Log: "a", Operator: "o", Valid: true}, SCT{Log: "b", Operator: "p", Valid: true}, SCT{Log: "c"}))
	add("cert.sct", "unknown logs", Unknown, Medium, scts(SCT{}, SCT{Valid: true}))
	add("cert.sct", "an own authority", Skip, Medium, func(o *Observation) { o.Endpoints = o.Endpoints[:1]; scts()(o); o.OwnRoots = true })
	add("cert.sct", "an own authority beside public ones", Fail, Medium, func(o *Observation) { scts(SCT{Log: "a", Valid: true}, SCT{Log: "b"})(o); o.OwnRoots = true })
	add("cert.sct", "private", Skip, Medium, func(o *Observation) { o.Endpoints = o.Endpoints[:1]; o.Endpoints[0].TLS.ChainErr = "x" })
	add("cert.s2s-eku", "server only", Warn, Medium, s0(func(e *Endpoint) {
		e.TLS.Chain = []*x509.Certificate{issue(t, sharedKey, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}
	}))
	add("cert.s2s-eku", "no TLS", Unknown, Medium, s0(func(e *Endpoint) { e.TLS = nil }))
	add("cert.s2s-eku", "no servers", Skip, Medium, noServers)

	add("sasl.pretls", "PLAIN", Fail, Critical, c0(func(e *Endpoint) { e.Plain.Mechanisms = []string{"SCRAM-SHA-1", "plain"} }))
	add("sasl.pretls", "SASL2 PLAIN", Fail, Critical, c0(func(e *Endpoint) { e.Plain.SASL2 = []string{"PLAIN"} }))
	add("sasl.pretls", "SCRAM", Fail, High, c0(func(e *Endpoint) { e.Plain.Mechanisms = []string{"SCRAM-SHA-1"} }))
	add("sasl.pretls", "onion", Warn, Low, c0(func(e *Endpoint) { e.At.Host = address; e.Plain.Mechanisms = []string{"PLAIN"} }))
	add("sasl.pretls", "no stream", Unknown, Critical, c0(func(e *Endpoint) { e.Plain = nil }))
	add("sasl.pretls", "only direct TLS", Skip, Critical, func(o *Observation) { o.Endpoints = o.Endpoints[1:2] })
	offers := func(m ...string) func(*Observation) {
		return c0(func(e *Endpoint) { e.Secure.Mechanisms, e.Secure.SASL2, e.Secure.Bindings = m, nil, nil })
	}
	for _, id := range []string{"sasl.posttls", "sasl.scram", "sasl.plus", "cb.types", "cb.endpoint", "cb.exporter", "sasl.sasl2", "sasl.fast", "limit.advertised", "info.version"} {
		add(id, "no stream", Unknown, anySeverity, c0(func(e *Endpoint) { e.Secure = nil }))
		add(id, "broken stream", Unknown, anySeverity, c0(func(e *Endpoint) { e.Secure.Err = "reset" }))
	}
	for _, id := range []string{"sasl.posttls", "sasl.scram", "sasl.plus", "cb.types", "sasl.sasl2"} {
		add(id, "no clients", Skip, anySeverity, func(o *Observation) { o.Endpoints = o.Endpoints[2:4] })
	}
	add("sasl.posttls", "nothing", Fail, High, offers())
	add("sasl.posttls", "DIGEST-MD5", Fail, Medium, offers("DIGEST-MD5", "SCRAM-SHA-1"))
	add("sasl.posttls", "only PLAIN", Warn, Medium, offers("PLAIN"))
	add("sasl.scram", "none", Fail, Medium, offers("PLAIN"))
	add("sasl.scram", "SHA-1", Warn, Medium, offers("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"))
	add("sasl.scram", "SHA-512", Pass, Medium, offers("SCRAM-SHA-512"))
	add("sasl.scram", "certificates only", Skip, Medium, func(o *Observation) { o.Endpoints = o.Endpoints[:1]; offers("EXTERNAL")(o) })
	add("sasl.plus", "none", Warn, Medium, offers("SCRAM-SHA-256"))
	one := func(do func(*Observation)) func(*Observation) {
		return func(o *Observation) { o.Endpoints = o.Endpoints[:1]; do(o) }
	}
	for _, id := range []string{"cb.types", "cb.endpoint", "cb.exporter"} {
		add(id, "no PLUS", Skip, Medium, one(offers("SCRAM-SHA-256")))
	}
	add("cb.types", "no list", Warn, Medium, offers("SCRAM-SHA-256-PLUS"))
	add("cb.types", "a list and no PLUS", Fail, Medium, c0(func(e *Endpoint) { e.Secure.Mechanisms, e.Secure.SASL2 = []string{"SCRAM-SHA-256"}, nil }))
	add("cb.types", "tls-unique in 1.3", Warn, Medium, c0(func(e *Endpoint) { e.TLS.Versions["1.2"], e.Secure.Bindings = "alert", []string{"tls-unique"} }))
	add("cb.endpoint", "no list", Unknown, Medium, offers("SCRAM-SHA-256-PLUS"))
	add("cb.exporter", "no list", Unknown, Medium, offers("SCRAM-SHA-256-PLUS"))
	add("cb.endpoint", "the other", Warn, Medium, c0(func(e *Endpoint) { e.Secure.Bindings = []string{"tls-exporter"} }))
	add("cb.exporter", "the other", Warn, Medium, c0(func(e *Endpoint) { e.Secure.Bindings = []string{"tls-server-end-point"} }))
	add("cb.exporter", "not to be had", Warn, Medium, c0(func(e *Endpoint) { e.TLS.Exporter = false }))
	login := func(do func(*Login)) func(*Observation) { return func(o *Observation) { do(o.Login) } }
	for _, id := range []string{"sasl.downgrade", "info.contact", "suite.core", "suite.web", "suite.im", "suite.mobile", "suite.av"} {
		add(id, "no account", Skip, anySeverity, func(o *Observation) { o.Login = nil })
		add(id, "login failed", Unknown, anySeverity, login(func(l *Login) { l.Err = "not-authorized" }))
	}
	add("sasl.downgrade", "wrong binding accepted", Fail, High, login(func(l *Login) { l.Downgrade = "accepted" }))
	add("sasl.downgrade", "hidden -PLUS accepted", Fail, Medium, login(func(l *Login) { l.Hidden = "accepted" }))
	add("sasl.downgrade", "wrong hash, so no login", Fail, Critical, login(func(l *Login) { l.Protection, l.Err = "wrong", "refused" }))
	add("sasl.downgrade", "wrong hash", Fail, Critical, login(func(l *Login) { l.Protection = "wrong" }))
	add("sasl.downgrade", "no hash", Warn, Medium, login(func(l *Login) { l.Protection = "absent" }))
	add("sasl.downgrade", "not tried", Unknown, Medium, login(func(l *Login) { l.Protection, l.Downgrade = "", "" }))
	add("sasl.downgrade", "half tried", Unknown, Medium, login(func(l *Login) { l.Protection = "" }))
	add("sasl.sasl2", "none", Warn, Low, c0(func(e *Endpoint) { e.Secure.SASL2 = nil }))
	add("sasl.fast", "none", Warn, Low, c0(func(e *Endpoint) { e.Secure.FAST = false }))
	add("sasl.fast", "no SASL2", Skip, Low, one(func(o *Observation) { o.Endpoints[0].Secure.FAST, o.Endpoints[0].Secure.SASL2 = false, nil }))

	reg := func(r *Registration) func(*Observation) { return c0(func(e *Endpoint) { e.Registration = r }) }
	add("reg.open", "open", Fail, Medium, c0(func(e *Endpoint) { e.Registration, e.Secure.Register = &Registration{Offered: true}, true }))
	add("reg.open", "a form alone", Warn, Low, reg(&Registration{Offered: true}))
	add("reg.open", "with invitations", Unknown, Low, c0(func(e *Endpoint) {
		e.Registration, e.Secure.Register = &Registration{Offered: true}, true
		e.Secure.Features = append(e.Secure.Features, "urn:xmpp:ibr-token:0 register")
	}))
	add("stream.http", "a stream", Pass, Low, c0(func(e *Endpoint) { e.HTTP = "<stream:stream id='1'>" }))
	add("dns.srv.c2s", "nobody there", Warn, Medium, c0(func(e *Endpoint) { e.Err = "refused" }))
	add("sasl.posttls", "redirect", Unknown, High, c0(func(e *Endpoint) { e.Secure.Features, e.Secure.Mechanisms, e.Secure.Error = nil, nil, "see-other-host" }))
	add("sasl.pretls", "ended", Unknown, Critical, c0(func(e *Endpoint) { e.Plain.Features, e.Plain.Error = nil, "undefined-condition" }))
	add("reg.open", "captcha", Pass, Medium, reg(&Registration{Offered: true, Captcha: true}))
	add("reg.open", "invite", Pass, Medium, reg(&Registration{Offered: true, Invite: true}))
	add("reg.open", "error", Unknown, Medium, reg(&Registration{Err: "reset"}))
	add("reg.open", "not tried", Unknown, Medium, func(o *Observation) {
		for i := range o.Endpoints {
			o.Endpoints[i].Registration = nil
		}
	})
	add("reg.open", "no clients", Skip, Medium, func(o *Observation) { o.Endpoints = o.Endpoints[2:4] })

	for _, id := range []string{"s2s.required", "s2s.dialback-only", "s2s.external"} {
		add(id, "no servers", Skip, High, noServers)
		add(id, "no connection", Unknown, High, s0(func(e *Endpoint) { e.Err = "refused" }))
		add(id, "no streams", Unknown, High, s0(func(e *Endpoint) { e.Plain, e.Secure = nil, nil }))
	}
	add("s2s.required", "optional", Fail, High, s0(func(e *Endpoint) { e.Plain.StartTLS, e.Plain.Dialback = "offered", true }))
	add("s2s.required", "not marked", Warn, Low, s0(func(e *Endpoint) { e.Plain.StartTLS = "offered" }))
	dialback := func(e *Endpoint) {
		e.Secure.Mechanisms, e.Secure.SASL2, e.TLS.AsksCert, e.Secure.Dialback = nil, nil, false, true
	}
	add("s2s.dialback-only", "so it is", Fail, High, s0(dialback))
	add("s2s.dialback-only", "neither", Unknown, High, s0(func(e *Endpoint) { dialback(e); e.Secure.Dialback = false }))
	add("s2s.dialback-only", "it asks", Pass, High, s0(func(e *Endpoint) { dialback(e); e.TLS.AsksCert = true }))
	add("s2s.external", "no", Warn, Medium, s0(dialback))
	add("s2s.external", "it asks", Pass, High, s0(func(e *Endpoint) { dialback(e); e.TLS.AsksCert = true }))

	noWhere := func(o *Observation) { o.Endpoints = nil }
	for _, id := range []string{"stream.from", "stream.unknown-host", "stream.redirect", "stream.http", "limit.pretls", "limit.advertised", "reg.open", "info.version"} {
		add(id, "no endpoint", Unknown, anySeverity, noWhere)
		add(id, "no connection", Unknown, anySeverity, c0(func(e *Endpoint) { e.Err = "refused" }))
	}
	add("stream.from", "another", Fail, Medium, c0(func(e *Endpoint) { e.Secure.From = "example.net" }))
	add("stream.from", "none", Fail, Medium, c0(func(e *Endpoint) { e.Plain.From = "" }))
	add("stream.from", "the id twice", Warn, Medium, c0(func(e *Endpoint) { e.Secure.ID = e.Plain.ID }))
	add("stream.from", "capitals", Pass, Medium, c0(func(e *Endpoint) { e.Secure.From = "Example.ORG" }))
	add("stream.from", "no stream", Unknown, Medium, c0(func(e *Endpoint) { e.Plain, e.Secure = nil, nil }))
	add("stream.unknown-host", "goes on", Fail, Medium, c0(func(e *Endpoint) { e.UnknownHost = &Stream{} }))
	add("stream.unknown-host", "another error", Pass, Medium, c0(func(e *Endpoint) { e.UnknownHost = &Stream{Error: "policy-violation"} }))
	add("stream.unknown-host", "reset", Unknown, Medium, c0(func(e *Endpoint) { e.UnknownHost = &Stream{Err: "reset"} }))
	add("stream.unknown-host", "not tried", Unknown, Medium, c0(func(e *Endpoint) { e.UnknownHost = nil }))
	add("stream.redirect", "away, before TLS", Fail, High, c0(func(e *Endpoint) { e.Plain.Elsewhere = "evil.example:5222" }))
	add("stream.redirect", "away", Fail, Medium, c0(func(e *Endpoint) { e.Secure.Elsewhere = "[2001:db8::1]:5222" }))
	add("stream.redirect", "a name that ends alike", Fail, Medium, c0(func(e *Endpoint) { e.Secure.Elsewhere = "notexample.org" }))
	add("stream.redirect", "within", Warn, Low, c0(func(e *Endpoint) { e.Secure.Elsewhere = "b.example.org:5222" }))
	add("stream.redirect", "resume elsewhere", Fail, Medium, login(func(l *Login) { l.Location = "evil.example:5222" }))
	add("stream.redirect", "no stream", Unknown, Medium, c0(func(e *Endpoint) { e.Plain, e.Secure = nil, nil }))
	add("stream.http", "a web server", Warn, Low, c0(func(e *Endpoint) { e.HTTP = "HTTP/1.1 400 Bad Request" }))
	add("stream.http", "silence", Pass, Low, c0(func(e *Endpoint) { e.HTTP = "" }))
	add("stream.http", "not tried", Unknown, Low, c0(func(e *Endpoint) { e.HTTPTried = false }))
	add("stream.http", "only a WebSocket", Skip, Low, func(o *Observation) { o.Endpoints = o.Endpoints[4:] })
	add("limit.pretls", "none", Fail, Medium, c0(func(e *Endpoint) { e.Preauth.Limited = false }))
	add("limit.pretls", "large", Warn, Medium, c0(func(e *Endpoint) { e.Preauth.Bytes = 5 << 20 }))
	add("limit.pretls", "long", Warn, Medium, c0(func(e *Endpoint) { e.Preauth.Time = time.Hour }))
	add("limit.pretls", "error", Unknown, Medium, c0(func(e *Endpoint) { e.Preauth = &Preauth{Err: "x"} }))
	add("limit.pretls", "not tried", Unknown, Medium, c0(func(e *Endpoint) { e.Preauth = nil }))
	add("limit.advertised", "not told", Warn, Info, c0(func(e *Endpoint) { e.Secure.Limits = nil }))
	add("info.version", "in caps", Warn, Low, c0(func(e *Endpoint) { e.Secure.CapsNode = "http://prosody.im/0.12" }))
	add("info.version", "told", Warn, Low, login(func(l *Login) { l.Software = "Prosody 0.12.3" }))
	add("info.contact", "none", Warn, Info, login(func(l *Login) { l.Contacts = nil }))
	add("info.contact", "no answer", Unknown, Info, login(func(l *Login) { l.Server.Err = "timeout" }))
	add("witness.key", "differs", Fail, High, c0(func(e *Endpoint) { e.Witness = "sha256//other" }))
	add("witness.key", "second circuit failed", Unknown, High, c0(func(e *Endpoint) { e.Witness, e.WitnessErr = "", "timeout" }))
	add("witness.key", "nobody looked", Skip, High, func(o *Observation) {
		for i := range o.Endpoints {
			o.Endpoints[i].Witness = ""
		}
	})
	for _, id := range []string{"onion.desc", "onion.reach", "onion.auth", "onion.deanon", "onion.twin"} {
		add(id, "clearnet", Skip, anySeverity, func(*Observation) {})
	}

	add("suite.core", "no disco", Warn, Info, login(func(l *Login) { l.Server.Features = nil }))
	add("suite.core", "no answer", Unknown, Info, login(func(l *Login) { l.Account.Err = "timeout" }))
	add("suite.web", "no WebSocket", Warn, Info, func(o *Observation) { o.Endpoints = o.Endpoints[:4] })
	add("suite.web", "no BOSH", Warn, Info, func(o *Observation) { o.HostMeta = &HostMeta{XMLMissing: true, JSONMissing: true} })
	add("suite.web", "no host-meta seen", Unknown, Info, func(o *Observation) { o.HostMeta, o.Endpoints = nil, o.Endpoints[:4] })
	add("suite.core", "only a server's TLS", Warn, Info, func(o *Observation) { o.Endpoints = o.Endpoints[2:4] })
	add("suite.im", "nobody at the rooms", Unknown, Info, login(func(l *Login) { l.Components["rooms.example.org"] = Disco{Err: "timeout"} }))
	add("suite.mobile", "not core", Warn, Info, login(func(l *Login) { l.Server.Features = l.Server.Features[1:] }))
	add("suite.av", "not core", Warn, Info, login(func(l *Login) { l.Server.Features = l.Server.Features[1:] }))
	add("suite.im", "no rooms", Warn, Info, login(func(l *Login) { delete(l.Components, "rooms.example.org") }))
	add("suite.im", "not core", Warn, Info, func(o *Observation) { o.Login.Server.Features = o.Login.Server.Features[1:] })
	add("suite.mobile", "no csi", Warn, Info, login(func(l *Login) { l.Features = l.Features[:1] }))
	add("suite.av", "no TURN", Warn, Info, login(func(l *Login) { l.Server.Features = l.Server.Features[:5] }))
	return all
}

// TestChecks changes one thing at a time, and sees that the check notices.
func TestChecks(t *testing.T) {
	seen := map[string]map[Verdict]bool{}
	for _, kind := range []struct {
		name    string
		good    func(testing.TB) *Observation
		changes []change
	}{{"server", good, serverChanges(t)}, {"onion", goodOnion, onionChanges(t)}, {"self", goodSelf, selfChanges()}, {"egress", goodEgress, egressChanges()}} {
		for _, c := range Checks() { // without a change all that is not skipped passes
			findings := run(t, kind.good(t), c.ID)
			v := worst(findings)
			if len(findings) > 0 && v != Pass && v != Skip {
				t.Errorf("%s, %s, unchanged: %+v", kind.name, c.ID, findings)
			}
			if seen[c.ID] == nil {
				seen[c.ID] = map[Verdict]bool{}
			}
			if len(findings) > 0 {
				seen[c.ID][v] = true
			}
		}
		for _, c := range kind.changes {
			o := kind.good(t)
			c.do(o)
			findings := run(t, o, c.id)
			if v := worst(findings); v != c.want || len(findings) == 0 {
				t.Errorf("%s, %s: got %s, want %s: %+v", c.id, c.name, v, c.want, findings)
				continue
			}
			seen[c.id][c.want] = true
			for _, f := range findings {
				if f.Verdict == c.want && c.sev != anySeverity && f.Severity != c.sev && (c.want == Fail || c.want == Warn) {
					t.Errorf("%s, %s: severity %s, want %s", c.id, c.name, f.Severity, c.sev)
				}
				if bad := f.Verdict == Fail || f.Verdict == Warn; bad && c.id != "onion.twin" && len(f.Fix) == 0 || !bad && f.Fix != nil {
					t.Errorf("%s, %s: a fix goes with a warning or a failure, and with nothing else: %+v", c.id, c.name, f)
				}
				if f.Target == "" || f.Evidence == "" || f.Reference == "" {
					t.Errorf("%s, %s: not whole: %+v", c.id, c.name, f)
				}
			}
		}
	}
	always := map[string][]Verdict{ // what a check never says, and need not
		"stream.from": {Skip}, "stream.unknown-host": {Skip}, "stream.redirect": {Skip}, "limit.pretls": {Skip}, "limit.advertised": {Skip}, "info.version": {Skip},
		"self.policy": {Skip}, "self.clock": {Skip},
	}
	for _, c := range Checks() {
		s := seen[c.ID]
		for _, v := range []Verdict{Pass, Unknown, Skip} {
			if !s[v] && !slices.Contains(always[c.ID], v) {
				t.Errorf("no test sees %s say %s", c.ID, v)
			}
		}
		if !s[Warn] && !s[Fail] {
			t.Errorf("no test sees %s say warn or fail", c.ID)
		}
	}
}

// TestEmpty asks every check about a domain of which nothing was seen: nothing
// passes.
func TestEmpty(t *testing.T) {
	for _, o := range []*Observation{{Domain: "example.org"}, {Domain: address}, {Self: &SelfObservation{}}, {Egress: &EgressObservation{}}} {
		for _, f := range Judge(o, Checks()) {
			if f.Verdict == Pass {
				t.Errorf("passes without having been seen: %+v", f)
			}
		}
	}
}
