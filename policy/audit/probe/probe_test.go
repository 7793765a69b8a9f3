package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/tests/lab"
)

// zone answers DNS questions from a table, as proven.
type zone map[string][]string

func (z zone) lookup(_ context.Context, name string, qtype uint16) (dnssec.Result, error) {
	r := dnssec.Result{Security: dnssec.Secure, Name: name, Missing: true}
	for _, line := range z[name] {
		rr, err := dns.NewRR(name + ". 60 IN " + line)
		if err != nil {
			return r, err
		}
		if rr.Header().Rrtype == qtype {
			r.Records, r.Missing = append(r.Records, rr), false
		}
	}
	return r, nil
}

// look runs a probe that may take ten seconds at most.
func look(t *testing.T, target Target, o Options) *audit.Observation {
	t.Helper()
	if o.Budget == 0 {
		o.Budget = 8 * time.Second
	}
	begin := time.Now()
	seen, err := Probe(t.Context(), target, o)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > o.Budget+time.Second {
		t.Errorf("it took %v of %v", took, o.Budget)
	}
	return seen
}

// TestGoodServer looks at a whole domain: names, host-meta, and an endpoint of each
// kind.
func TestGoodServer(t *testing.T) {
	l := newLot(t)
	good := server{cert: l.cert(lab.CALeaf{Names: []string{domain}})}
	direct, s2s, web := good, good, good
	direct.direct, s2s.s2s = true, true
	s2s.cert = l.cert(lab.CALeaf{SRV: []string{"_xmpp-server." + domain}})
	l.start("xmpp.test:5222", good.run)
	l.start("xmpp.test:5223", direct.run)
	l.start("xmpp.test:5269", s2s.run)
	l.start(domain+":443", func(c *lab.ScriptConn) {
		req := c.HTTPS(web.cert)
		switch req.URL.Path {
		case "/.well-known/host-meta":
			body := "<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'><Link rel='urn:xmpp:alt-connections:websocket' href='wss://" + domain + "/ws'/><Link rel='other' href='https://else.test'/></XRD>"
			c.Answer(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body))
		case "/ws":
			c.WebSocket(req, "xmpp")
			c.WebOpen(domain, sasl)
			c.Expect("<iq ")
			c.Send("<iq xmlns='jabber:client' type='error' id='form'/>")
			c.Hang()
		}
		c.Answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	z := zone{
		"_xmpp-client._tcp." + domain:  {"SRV 0 5 5222 XMPP.test."},
		"_xmpps-client._tcp." + domain: {"SRV 0 5 5223 xmpp.test."},
		"_xmpp-server._tcp." + domain:  {"SRV 0 5 5269 xmpp.test.", "SRV 9 5 5269 localhost."},
		"_xmpps-server._tcp." + domain: {"SRV 0 0 0 ."},
		"xmpp.test":                    {"A 192.0.2.1", "AAAA 2001:db8::1"},
		"test":                         {`CAA 0 issue "ca.test"`},
		"_5223._tcp.xmpp.test":         {"TLSA 3 1 1 0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3"},
	}
	var lines []string
	seen := look(t, Target{Domain: "Example.TEST"}, Options{Via: "tor", Dialer: l.net, Second: l.net, Lookup: z.lookup, Roots: l.ca.Pool(), S2S: true,
		Progress: func(s string) { lines = append(lines, s) }})

	is := func(what string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	is("domain", seen.Domain, domain)
	is("services", len(seen.DNS.SRV), 4)
	is("SRV", seen.DNS.SRV["_xmpp-client._tcp"].Records, "[0 5 5222 XMPP.test.]")
	is("standing", seen.DNS.SRV["_xmpps-server._tcp"].Security, audit.Secure)
	is("addresses", seen.DNS.Records["_xmpp-client._tcp"][0].Addresses.Records, "[2001:db8::1 192.0.2.1]")
	is("no address", seen.DNS.Address.Missing, true)
	is("CAA", seen.DNS.CAA.Name+" "+strings.Join(seen.DNS.CAA.Records, ","), `test 0 issue "ca.test"`)
	is("TLSA", seen.DNS.TLSA["5223 xmpp.test"].Records, "[3 1 1 0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3]")
	is("no TLSA", seen.DNS.TLSA["5222 xmpp.test"].Missing, true)
	is("links", seen.HostMeta.XMLLinks, "[wss://"+domain+"/ws]")
	is("no JSON", seen.HostMeta.JSONMissing, true)
	if len(seen.Endpoints) != 4 {
		t.Fatalf("endpoints: %v", seen.Endpoints)
	}
	for i, e := range seen.Endpoints {
		name := string(e.Service) + " " + e.At.String() + ": "
		is(name+"error", e.Err, "")
		is(name+"TLS error", e.TLS.Err, "")
		is(name+"chain", e.TLS.ChainErr, "")
		is(name+"name", e.TLS.NameErr, "")
		is(name+"identity", e.TLS.Identity, map[audit.Service]string{audit.C2S: "DNS-ID " + domain, audit.S2S: "SRV-ID _xmpp-server." + domain}[e.Service])
		is(name+"group", e.TLS.Group, "X25519MLKEM768")
		is(name+"PQ", e.TLS.PQ, true)
		is(name+"exporter", e.TLS.Exporter, true)
		is(name+"1.3", e.TLS.Versions["1.3"], "")
		is(name+"1.2", e.TLS.Versions["1.2"], "")
		is(name+"1.1 is refused", strings.Contains(e.TLS.Versions["1.1"], "protocol version"), true)
		is(name+"versions", len(e.TLS.Versions), 4)
		slices.Sort(e.TLS.Accepted["1.2"])
		is(name+"suites", e.TLS.Accepted["1.2"], "[TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]")
		is(name+"secure", e.Secure.Err+e.Secure.Error, "")
		is(name+"from", e.Secure.From, domain)
		is(name+"key", e.Witness, tlsauth.SPKI(e.TLS.Chain[0]))
		is(name+"client certificate", e.TLS.AsksCert, e.Service == audit.S2S)
		is(name+"unknown host", e.UnknownHost.Error, map[bool]string{true: "", false: "host-unknown"}[i == 2])
		if e.At.Transport != policy.WebSocket {
			is(name+"limited", e.Preauth.Limited, true)
			is(name+"bytes", e.Preauth.Bytes >= limitOf && e.Preauth.Bytes < fillBytes, true)
		}
		if e.At.Transport == policy.STARTTLS {
			is(name+"starttls", e.Plain.StartTLS, "required")
			is(name+"mechanisms before TLS", len(e.Plain.Mechanisms), 0)
			is(name+"injection", *e.Injection, audit.Injection{})
		}
		if e.Service == audit.C2S && e.At.Transport != policy.WebSocket {
			is(name+"mechanisms", e.Secure.Mechanisms, "[SCRAM-SHA-256-PLUS SCRAM-SHA-256]")
			is(name+"SASL2", e.Secure.SASL2, "[SCRAM-SHA-256-PLUS]")
			is(name+"FAST", e.Secure.FAST, true)
			is(name+"bindings", e.Secure.Bindings, "[tls-exporter]")
			is(name+"limits", *e.Secure.Limits, audit.AdvertisedLimits{MaxBytes: 10000, IdleSeconds: 60})
			is(name+"caps", e.Secure.CapsNode, "https://soft.test")
			is(name+"registration", *e.Registration, audit.Registration{})
		}
	}
	is("ALPN", seen.Endpoints[1].TLS.ALPN, "xmpp-client")
	is("source", seen.Endpoints[2].Source, "host-meta")
	is("HTTP", seen.Endpoints[0].HTTPTried, true)
	is("EXTERNAL", seen.Endpoints[3].Secure.Mechanisms, "[EXTERNAL]")
	is("dialback", seen.Endpoints[3].Secure.Dialback, true)
	if len(lines) < 30 || !slices.Contains(lines, "c2s starttls://xmpp.test:5222: injection") {
		t.Errorf("progress: %q", lines)
	}
	for _, a := range l.net.dialed {
		if !slices.Contains([]string{"xmpp.test:5222", "xmpp.test:5223", "xmpp.test:5269", domain + ":443"}, a) {
			t.Errorf("dialled %s", a)
		}
	}
}

// TestBadServers makes one thing wrong at a time.
func TestBadServers(t *testing.T) {
	l := newLot(t)
	right := l.cert(lab.CALeaf{Names: []string{domain}})
	plainSASL := lab.FeatureSTARTTLS[:strings.Index(lab.FeatureSTARTTLS, "<required")] + "</starttls>" + lab.FeatureSASL("PLAIN")
	for i, tt := range []struct {
		name string
		s    server
		see  func(e audit.Endpoint) any
		want any
	}{
		{"no STARTTLS", server{plain: lab.FeatureSASL("PLAIN")}, func(e audit.Endpoint) any { return e.Plain.Mechanisms[0] + ", " + e.TLS.Err }, "PLAIN, it offers no STARTTLS"},
		{"TLS offered", server{plain: plainSASL}, func(e audit.Endpoint) any { return fmt.Sprint(e.Plain.StartTLS, e.Plain.Mechanisms) }, "offered[PLAIN]"},
		{"injection", server{inject: true}, func(e audit.Endpoint) any { return e.Injection.Accepted }, true},
		{"injection, any host", server{inject: true, anyHost: true}, func(e audit.Endpoint) any { return e.Injection.Accepted }, true},
		{"injection, any host, always the same", server{inject: true, anyHost: true, always: true}, func(e audit.Endpoint) any { return e.Injection.Accepted }, true},
		{"any host, always the same", server{anyHost: true, always: true}, func(e audit.Endpoint) any { return fmt.Sprintf("%+v %v", *e.Injection, e.UnknownHost.Error) }, "{Err: Accepted:false AfterClear:} "},
		{"another domain inside TLS", server{later: true}, func(e audit.Endpoint) any { return e.UnknownHost.Error }, "host-unknown"},
		{"injection, noticed", server{wary: true}, func(e audit.Endpoint) any { return *e.Injection }, audit.Injection{}},
		{"in the clear", server{clear: "<message/>"}, func(e audit.Endpoint) any { return e.Injection.AfterClear }, "<message/>"},
		{"any host", server{anyHost: true}, func(e audit.Endpoint) any { return e.UnknownHost.From + e.UnknownHost.Error }, "unknown-host.invalid"},
		{"no limit", server{endless: true}, func(e audit.Endpoint) any { return fmt.Sprint(e.Preauth.Bytes, e.Preauth.Limited) }, fmt.Sprint(fillBytes, false)},
		{"hangs up", server{hangUp: true}, func(e audit.Endpoint) any { return e.Preauth.Time > 0 && e.Preauth.Limited }, true},
		{"injection, busy", server{wary: true, excuse: "resource-constraint"}, func(e audit.Endpoint) any { return e.Injection.Err }, "the server ended the stream for another reason: resource-constraint"},
		{"a form, busy", server{busy: true}, func(e audit.Endpoint) any { return e.Registration.Err }, "the server could not say: resource-constraint"},
		{"a form on the web", server{form: "<x xmlns='jabber:x:oob'><url>https://www.test/new</url></x>"}, func(e audit.Endpoint) any { return e.Registration.Instructions }, "https://www.test/new"},
		{"HTTP, refused", server{http: "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"}, func(e audit.Endpoint) any { return fmt.Sprint(e.HTTP, e.HTTPClosed) }, "HTTP/1.1 400 Bad Requesttrue"},
		{"HTTP, and more", server{http: "HTTP/1.1 400 Bad Request\r\n\r\n", listens: true}, func(e audit.Endpoint) any { return fmt.Sprint(e.HTTP, e.HTTPClosed) }, "HTTP/1.1 400 Bad Requestfalse"},
		{"another name in the stream", server{from: "other.test"}, func(e audit.Endpoint) any { return e.Secure.From }, "other.test"},
		{"HTTP", server{http: "HTTP/1.1 200 OK\r\n\r\n"}, func(e audit.Endpoint) any { return e.HTTP }, "HTTP/1.1 200 OK"},
		{"redirect", server{error: "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>else.test:5222</see-other-host>"},
			func(e audit.Endpoint) any { return e.Plain.Error + " " + e.Plain.Elsewhere }, "see-other-host else.test:5222"},
		{"a form", server{form: "<instructions>Choose</instructions><username/><password/>"},
			func(e audit.Endpoint) any { return fmt.Sprintf("%+v", *e.Registration) }, "{Err: Offered:true Fields:[username password] Captcha:false Invite:false Instructions:Choose}"},
		{"a form with a captcha", server{form: "<instructions>Look</instructions><x xmlns='jabber:x:data' type='form'><field type='hidden' var='FORM_TYPE'><value>urn:xmpp:captcha</value></field>" +
			"<field var='username'/><field var='ocr'><media xmlns='urn:xmpp:media-element'/></field></x>"},
			func(e audit.Endpoint) any { return fmt.Sprint(e.Registration.Captcha, e.Registration.Fields) }, "true [username ocr]"},
		{"let in", server{secure: lab.FeatureBind + sasl}, func(e audit.Endpoint) any { return fmt.Sprint(e.Secure.Features[0], len(e.Secure.Mechanisms)) }, "urn:ietf:params:xml:ns:xmpp-bind bind2"},
		{"expired", server{cert: l.cert(lab.CALeaf{Names: []string{domain}, Expired: true})}, func(e audit.Endpoint) any { return strings.Contains(e.TLS.ChainErr, "expired") && e.TLS.NameErr == "" }, true},
		{"self-signed", server{cert: l.cert(lab.CALeaf{Names: []string{domain}, SelfSigned: true})}, func(e audit.Endpoint) any {
			return strings.Contains(e.TLS.ChainErr, "self-signed") && e.Secure.Err == ""
		}, true},
		{"another's certificate", server{cert: l.cert(lab.CALeaf{Names: []string{"other.test"}})}, func(e audit.Endpoint) any {
			return strings.Contains(e.TLS.NameErr, "other.test") && e.TLS.ChainErr == ""
		}, true},
		{"old TLS alone", server{conf: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }},
			func(e audit.Endpoint) any {
				return fmt.Sprint(e.TLS.Versions["1.0"] == "", e.TLS.Versions["1.1"] == "", e.TLS.Versions["1.3"] == "", e.TLS.Accepted["1.0"])
			}, "true false false [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA]"},
		{"RC4", server{conf: func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA}
		}}, func(e audit.Endpoint) any { return e.TLS.Accepted["1.2"] }, []string{"TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"}},
		{"no post-quantum", server{conf: func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }}, func(e audit.Endpoint) any { return fmt.Sprint(e.TLS.Group, e.TLS.PQ) }, "CurveP256false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := &lot{t: t, ca: l.ca, net: &network{to: map[string]string{}}}
			if tt.s.cert.Certificate == nil {
				tt.s.cert = right
			}
			host := fmt.Sprintf("host%d.test", i)
			l.start(host+":5222", tt.s.run)
			seen := look(t, Target{Domain: domain, Endpoints: []policy.Endpoint{at("starttls://" + host)}}, Options{Dialer: l.net, Roots: l.ca.Pool(), Idle: 200 * time.Millisecond})
			e := seen.Endpoints[0]
			if e.Err != "" || e.Plain == nil {
				t.Fatalf("nothing seen: %q", e.Err)
			}
			if got := tt.see(e); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v, want %v\n%+v\n%+v\n%+v", got, tt.want, e, e.TLS, e.Preauth)
			}
		})
	}
}

// TestHostile is servers that lie, stall and flood: each look ends in its time and
// says that it saw nothing.
func TestHostile(t *testing.T) {
	l := newLot(t)
	cert := l.cert(lab.CALeaf{Names: []string{domain}})
	many := cert
	for size := 0; size < 10<<20; size += len(cert.Certificate[0]) {
		many.Certificate = append(many.Certificate, cert.Certificate[0])
	}
	flood := func(begin, piece string) func(*lab.ScriptConn) {
		return func(c *lab.ScriptConn) {
			c.Expect("<stream:stream")
			c.Send(begin)
			for {
				c.Send(strings.Repeat(piece, 1000))
			}
		}
	}
	plain := func(e audit.Endpoint) string { return e.Err }
	inTLS := func(e audit.Endpoint) string {
		if e.TLS == nil {
			return e.Err
		}
		return e.TLS.Err
	}
	secure := func(e audit.Endpoint) string {
		if e.Secure == nil {
			return inTLS(e)
		}
		return e.Secure.Err
	}
	header := server{}.header()
	var all sync.WaitGroup
	for i, tt := range []struct {
		name string
		run  func(*lab.ScriptConn)
		err  func(e audit.Endpoint) string
		want string
	}{
		{"silent", func(c *lab.ScriptConn) { c.Hang() }, plain, "time"},
		{"gone at once", func(*lab.ScriptConn) {}, plain, "closed"},
		{"another protocol", func(c *lab.ScriptConn) { c.Send("SSH-2.0-x\r\n"); c.Hang() }, plain, "no XMPP"},
		{"bytes", func(c *lab.ScriptConn) { c.Send("\x00\xff\x16\x03"); c.Hang() }, plain, "no XMPP"},
		{"a header without end", flood("<stream:stream a='", "x"), plain, "no XMPP"},
		{"features without end", flood(header+"<stream:features>", "<a/>"), plain, "no XMPP"},
		{"whitespace without end", flood(header, " \n"), plain, ""},
		{"stanzas in place of features", flood(header, "<message/>"), plain, "in place of features"},
		{"no features", func(c *lab.ScriptConn) { c.Expect("<stream:stream"); c.Send(header); c.Hang() }, plain, "time"},
		{"entities", flood("<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]>"+header, ""), plain, "no XMPP"},
		{"one byte at a time", func(c *lab.ScriptConn) {
			for _, b := range header + strings.Repeat(" ", 1<<10) {
				c.Send(string(b))
				time.Sleep(50 * time.Millisecond)
			}
		}, plain, "time"},
		{"no word on STARTTLS", func(c *lab.ScriptConn) { c.Open(domain, lab.FeatureSTARTTLS); c.Hang() }, inTLS, "time"},
		{"STARTTLS refused", func(c *lab.ScriptConn) {
			c.Open(domain, lab.FeatureSTARTTLS)
			c.Expect("<starttls")
			c.Send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
		}, inTLS, "<failure/>"},
		{"silent in TLS", func(c *lab.ScriptConn) {
			c.Open(domain, lab.FeatureSTARTTLS)
			c.Expect("<starttls")
			c.Send(lab.Proceed)
			c.Hang()
		}, inTLS, "time"},
		{"ten million bytes of certificates", server{cert: many}.run, inTLS, ""},
		{"nobody inside", server{cert: cert, secure: strings.Repeat("<a>", 40)}.run, secure, "no XMPP"},
		{"absurdly many mechanisms", server{cert: cert, secure: lab.FeatureSASL(strings.Split(strings.Repeat("X ", 500), " ")...)}.run,
			secure, "absurd"},
	} {
		// Side by side, as they are all waiting: t.Parallel would run a few at a time.
		all.Go(func() {
			l := &lot{t: t, ca: l.ca, net: &network{to: map[string]string{}}}
			host := fmt.Sprintf("hostile%d.test", i)
			l.start(host+":5222", tt.run)
			seen, err := Probe(t.Context(), Target{Domain: domain, Endpoints: []policy.Endpoint{at("starttls://" + host)}},
				Options{Dialer: l.net, Roots: l.ca.Pool(), Budget: 20 * time.Second, Step: 700 * time.Millisecond})
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				return
			}
			// An empty want is for what takes time itself: any error is right.
			if got := tt.err(seen.Endpoints[0]); !strings.Contains(got, tt.want) || got == "" {
				t.Errorf("%s: got %q, want %q in it", tt.name, got, tt.want)
			}
		})
	}
	begin := time.Now()
	all.Wait()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestWholeRun is more silent servers than there is time for one after the other.
func TestWholeRun(t *testing.T) {
	l := newLot(t)
	var all []policy.Endpoint
	for i := range maxEndpoints {
		host := fmt.Sprintf("silent%d.test", i)
		l.start(host+":5222", func(c *lab.ScriptConn) { c.Hang() })
		all = append(all, at("starttls://"+host))
	}
	seen := look(t, Target{Domain: domain, Endpoints: all}, Options{Dialer: l.net, Budget: time.Second, Step: 400 * time.Millisecond, Parallel: 2})
	if len(seen.Endpoints) != maxEndpoints {
		t.Fatalf("%d endpoints", len(seen.Endpoints))
	}
	over := 0
	for _, e := range seen.Endpoints {
		if e.Err == "" {
			t.Errorf("%v: no error", e.At)
		}
		if e.Err == errOver.Error() {
			over++
		}
	}
	if over == 0 {
		t.Error("the run had time for all")
	}
}

// TestDNSFlood is a zone that names ten thousand hosts, and one that never answers.
func TestDNSFlood(t *testing.T) {
	n := &network{to: map[string]string{}}
	var mu sync.Mutex
	asked := 0
	lookup := func(_ context.Context, name string, qtype uint16) (dnssec.Result, error) {
		mu.Lock()
		asked++
		mu.Unlock()
		r := dnssec.Result{Security: dnssec.Insecure, Why: "the zone is not signed", Name: name}
		if qtype == dns.TypeSRV {
			for i := range 10000 {
				r.Records = append(r.Records, &dns.SRV{Hdr: dns.RR_Header{Name: name + ".", Rrtype: qtype, Class: dns.ClassINET}, Port: uint16(i + 1), Target: fmt.Sprintf("h%d.test.", i)})
			}
		}
		return r, nil
	}
	seen := look(t, Target{Domain: domain}, Options{Dialer: n, Lookup: lookup, S2S: true})
	if len(seen.Endpoints) != 2*maxEndpoints+2 || len(seen.DNS.SRV["_xmpp-client._tcp"].Records) != maxKept || asked > 500 {
		t.Errorf("%d endpoints, %d records, %d questions", len(seen.Endpoints), len(seen.DNS.SRV["_xmpp-client._tcp"].Records), asked)
	}
	for _, e := range seen.Endpoints {
		if !strings.Contains(e.Err, "nothing is at") && !e.Left {
			t.Errorf("%v: %q", e.At, e.Err)
		}
	}
	hang := func(ctx context.Context, _ string, _ uint16) (dnssec.Result, error) {
		<-ctx.Done()
		return dnssec.Result{}, ctx.Err()
	}
	n.to[domain+":443"], n.to[domain+":5222"] = "", ""
	seen = look(t, Target{Domain: domain}, Options{Dialer: n, Lookup: hang, Budget: time.Second, Step: 300 * time.Millisecond})
	if seen.DNS.SRV["_xmpp-client._tcp"].Err == "" || seen.DNS.Address.Err == "" || seen.HostMeta.XMLErr == "" || seen.Endpoints[0].Err == "" {
		t.Errorf("%+v %+v %+v", seen.DNS, seen.HostMeta, seen.Endpoints)
	}
}

// TestOnion is an onion address that is not there, and one that shows too much.
func TestOnion(t *testing.T) {
	const onion = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaid.onion"
	down := &network{to: map[string]string{}, fail: &egress.Error{Code: 0xF2, What: "the onion service does not answer", Kind: egress.ErrOnionDown}}
	seen := look(t, Target{Domain: onion}, Options{Dialer: down})
	if o := seen.Onion; o == nil || o.Code != 0xF2 || o.Reached || seen.HostMeta != nil || seen.DNS != nil {
		t.Errorf("down: %+v", seen.Onion)
	}
	l := newLot(t)
	s := server{cert: l.cert(lab.CALeaf{Names: []string{"shop.example.test"}}), error: "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>else.test:5222</see-other-host>"}
	l.start(onion+":5223", server{cert: s.cert, direct: true, from: domain, anyHost: true}.run)
	l.start(onion+":5222", s.run)
	other := &lot{t: t, ca: l.ca, net: &network{to: map[string]string{onion + ":5222": l.net.to[onion+":5222"]}}}
	other.start(onion+":5223", server{cert: l.cert(lab.CALeaf{Names: []string{onion}}), direct: true, anyHost: true}.run)
	seen = look(t, Target{Domain: onion, Endpoints: []policy.Endpoint{at("starttls://" + onion), at("tls://" + onion)}}, Options{Dialer: l.net, Second: other.net, Roots: l.ca.Pool()})
	o := seen.Onion
	if want := []string{"else.test in redirect", "example.test in stream before TLS", "example.test in stream for an unknown host", "shop.example.test in certificate"}; !o.Reached || !slices.Equal(o.Clearnet, want) {
		t.Errorf("reached: %+v", o)
	}
	if o.FirstKey == "" || o.SecondKey == "" || o.FirstKey == o.SecondKey {
		t.Errorf("keys: %q, %q", o.FirstKey, o.SecondKey)
	}
}

// TestNoWayOut is what there is nothing to look at for.
func TestNoWayOut(t *testing.T) {
	if seen, err := Probe(t.Context(), Target{Domain: domain}, Options{}); err == nil || seen != nil {
		t.Error("a nil dialer was taken")
	}
	if _, err := Probe(t.Context(), Target{Domain: "no domain"}, Options{Dialer: &network{}}); err == nil {
		t.Error("a bad domain was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := &network{to: map[string]string{domain + ":5222": "", domain + ":443": ""}}
	time.AfterFunc(100*time.Millisecond, cancel)
	begin := time.Now()
	if _, err := Probe(ctx, Target{Domain: domain}, Options{Dialer: n}); err != nil || time.Since(begin) > 2*time.Second {
		t.Errorf("called off: %v after %v", err, time.Since(begin))
	}
}
