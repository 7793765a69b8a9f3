package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const address = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaad.onion"

var sharedKey = func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k }()

// issue makes a certificate that signs itself; change says what is special.
func issue(t testing.TB, key crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.org"}, DNSNames: []string{"example.org"},
		NotBefore: now.AddDate(0, 0, -30), NotAfter: now.AddDate(0, 0, 60), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(c)
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func endpoint(t testing.TB, s string) policy.Endpoint {
	t.Helper()
	e, err := policy.ParseEndpoint(s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func goodTLS(leaf *x509.Certificate, alpn string) *TLS {
	return &TLS{
		Versions: map[string]string{"1.0": "alert", "1.1": "alert", "1.2": "", "1.3": ""},
		Accepted: map[string][]string{"1.2": {}, "1.3": {}}, Group: "X25519MLKEM768", PQ: true, ALPN: alpn,
		Chain: []*x509.Certificate{leaf}, Identity: "example.org", Staple: "good", Exporter: true, AsksCert: true,
		SCTs: []SCT{{Log: "one", Operator: "a", Valid: true}, {Log: "two", Operator: "b", Valid: true}},
	}
}

func goodSecure() *Stream {
	return &Stream{From: "example.org", ID: "b", Mechanisms: []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN"}, SASL2: []string{"SCRAM-SHA-256-PLUS"},
		Bindings: []string{"tls-exporter", "tls-server-end-point"}, FAST: true, Limits: &AdvertisedLimits{MaxBytes: 1, IdleSeconds: 1}, CapsNode: "http://prosody.im"}
}

// good is a server that passes all it can.
func good(t testing.TB) *Observation {
	leaf := issue(t, sharedKey, nil)
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	tlsa := "3 1 1 " + hex.EncodeToString(sum[:])
	secure := func(name, kind string, records ...string) Answer {
		return Answer{Name: name, Type: kind, Security: Secure, Records: records}
	}
	o := &Observation{Domain: "example.org", Via: "tor", At: now, DNS: &DNS{
		SRV: map[string]Answer{}, Records: map[string][]SRV{}, TLSA: map[string]Answer{}, Address: secure("example.org", "A", "192.0.2.1"),
		CAA: secure("example.org", "CAA", `128 issue "ca.example; validationmethods=dns-01; accounturi=https://ca.example/1"`)}}
	o.HostMeta = &HostMeta{XMLLinks: []string{"wss://example.org/ws", "https://example.org/bosh"}, JSONLinks: []string{"https://example.org/bosh", "wss://example.org/ws"}}
	for _, x := range []struct {
		label, url, port string
		service          Service
		alpn             string
		n                uint16
	}{{"_xmpp-client._tcp", "starttls://xmpp.example.org:5222", "5222", C2S, "", 5222}, {"_xmpps-client._tcp", "tls://xmpp.example.org:5223", "5223", C2S, "xmpp-client", 5223},
		{"_xmpp-server._tcp", "starttls://xmpp.example.org:5269", "5269", S2S, "", 5269}, {"_xmpps-server._tcp", "tls://xmpp.example.org:5270", "5270", S2S, "xmpp-server", 5270}} {
		o.DNS.SRV[x.label] = secure(x.label+".example.org", "SRV", "5 1 "+x.port+" xmpp.example.org.")
		o.DNS.Records[x.label] = []SRV{{5, 1, x.n, "xmpp.example.org.", secure("xmpp.example.org", "A", "192.0.2.1")}}
		o.DNS.TLSA[x.port+" xmpp.example.org"] = secure("_"+x.port+"._tcp.xmpp.example.org", "TLSA", tlsa)
		e := Endpoint{At: endpoint(t, x.url), Service: x.service, Source: "SRV", Secure: goodSecure(), TLS: goodTLS(leaf, x.alpn),
			UnknownHost: &Stream{Error: "host-unknown"}, Preauth: &Preauth{Bytes: 10000, Time: time.Second, Limited: true}, HTTPTried: true, HTTP: "<?xml version='1.0'?>", Witness: tlsauth.SPKI(leaf)}
		if x.service == C2S {
			e.Registration = &Registration{}
		} else {
			e.Secure.Mechanisms = []string{"EXTERNAL"}
		}
		if e.At.Transport == policy.STARTTLS {
			e.Plain, e.Injection = &Stream{From: "example.org", ID: "a", StartTLS: "required", Features: []string{"urn:ietf:params:xml:ns:xmpp-tls starttls"}}, &Injection{}
		}
		o.Endpoints = append(o.Endpoints, e)
	}
	web := Endpoint{At: endpoint(t, "wss://example.org/ws"), Service: C2S, Source: "host-meta", Secure: goodSecure(), TLS: goodTLS(leaf, ""),
		UnknownHost: &Stream{Error: "host-unknown"}, Preauth: &Preauth{Bytes: 10000, Limited: true}, Registration: &Registration{}, Witness: tlsauth.SPKI(leaf)}
	o.DNS.TLSA["443 example.org"] = secure("_443._tcp.example.org", "TLSA", tlsa)
	o.Endpoints = append(o.Endpoints, web)
	muc := Disco{Features: []string{"http://jabber.org/protocol/muc", "urn:xmpp:mam:2"}}
	o.Login = &Login{Mechanism: "SCRAM-SHA-256-PLUS", Binding: "tls-exporter", Downgrade: "refused", Protection: "verified", Contacts: []string{"mailto:abuse@example.org"}, Software: "Prosody",
		Features: []string{"urn:xmpp:sm:3 sm", "urn:xmpp:csi:0 csi"}, Components: map[string]Disco{"rooms.example.org": muc, "upload.example.org": {Features: []string{"urn:xmpp:http:upload:0"}}},
		Server:  Disco{Features: []string{"http://jabber.org/protocol/disco#info", "vcard-temp", "urn:xmpp:carbons:2", "urn:xmpp:blocking", "jabber:iq:private", "urn:xmpp:extdisco:2"}},
		Account: Disco{Identities: []string{"pubsub/pep"}, Features: []string{"urn:xmpp:mam:2", "urn:xmpp:push:0", "urn:xmpp:pep-vcard-conversion:0", "urn:xmpp:bookmarks:1#compat", "http://jabber.org/protocol/pubsub#publish-options"}}}
	return o
}

// goodOnion is an onion service that passes all it can.
func goodOnion(t testing.TB) *Observation {
	yes := true
	s := goodSecure()
	s.From = address
	leaf := issue(t, sharedKey, func(c *x509.Certificate) { c.DNSNames = []string{address} })
	o := &Observation{Domain: address, Via: "tor", At: now, Onion: &Onion{Address: address, Reached: true, Twin: "example.net", TwinSame: &yes, FirstKey: "k", SecondKey: "k"}}
	tls := goodTLS(leaf, "")
	tls.ChainErr, tls.Identity = "signed by itself", address
	o.Endpoints = []Endpoint{{At: endpoint(t, "starttls://"+address+":5222"), Service: C2S, Secure: s, TLS: tls,
		Plain: &Stream{From: address, ID: "a", StartTLS: "required"}, Injection: &Injection{}, UnknownHost: &Stream{Error: "host-unknown"},
		Preauth: &Preauth{Limited: true, Bytes: 1}, HTTPTried: true, Registration: &Registration{}}}
	return o
}

// goodSelf is a machine where all is well.
func goodSelf(testing.TB) *Observation {
	key := File{Path: "/state/ca.key", Is: "authority's key", Mode: 0o600, Max: 0o600, OwnOK: true, Secret: true}
	return &Observation{At: now, Self: &SelfObservation{
		Listeners: []Listener{{Address: "127.0.0.1:5222", Kind: "c2s", TLS: "required"}, {Address: "unix:/run/x", Kind: "c2s", TLS: "none"}},
		Files:     []File{key}, CA: &CA{Key: key, NotAfter: now.AddDate(1, 0, 0), Constrained: true},
		Settings: true, Logins: []LoginMode{{"all domains", "originate", "built-in default"}, {"example.org", "passthrough", "c:7"}}, Trust: []TrustStore{{Store: "system", Trusted: true, Current: true}},
		Tor: &TorState{Used: true, Running: true, Version: "0.4.8.1", Status: "recommended", Bootstrapped: 100, Isolated: true}, Clock: &Clock{Offset: time.Second}}}
}

// goodEgress is a machine from which nothing gets out.
func goodEgress(testing.TB) *Observation {
	o := &Observation{At: now, Egress: &EgressObservation{}}
	for _, way := range []string{"dns", "tcp", "udp", "socks"} {
		o.Egress.Attempts = append(o.Egress.Attempts, Attempt{Way: way, To: "192.0.2.1", Outcome: Stopped, How: "refused"})
	}
	return o
}
