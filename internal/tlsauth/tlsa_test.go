package tlsauth

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ocsp"

	"xmpp-gw/internal/dane"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// record is one of a certificate's key, by SHA-256.
func record(usage uint8, c *x509.Certificate) dane.Record {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return dane.Record{Usage: usage, Selector: 1, Matching: 1, Data: sum[:]}
}

// set is what DNS proves of the endpoint.
func set(records ...dane.Record) *dane.Set {
	s := &dane.Set{Records: records, Hosts: []string{starttls.Host}}
	if len(records) == 0 {
		s.Missing = "there are none at _5222._tcp.xmpp.example.net"
	}
	return s
}

// TestTLSA: what TLSA records let in and what they keep out, by tls = "dane" and by
// "dane-only" (RFC 7673 §4, RFC 7671 §5).
func TestTLSA(t *testing.T) {
	public, own, stranger := newCA(t), newCA(t), newCA(t)
	both := []policy.TLSMode{policy.TLSDANE, policy.TLSDANEOnly}
	lone := []policy.TLSMode{policy.TLSDANE}
	only := []policy.TLSMode{policy.TLSDANEOnly}
	for _, c := range []struct {
		name     string
		modes    []policy.TLSMode
		ca       *lab.CA // public if nil
		leaf     lab.CALeaf
		records  func(leaf, ca *x509.Certificate) []dane.Record
		identity string
		kind     error
		says     string
	}{
		{name: "EE, own certificate of another name, expired", modes: both, leaf: lab.CALeaf{Names: []string{"a.test"}, SelfSigned: true, Expired: true},
			records:  func(leaf, _ *x509.Certificate) []dane.Record { return []dane.Record{record(dane.DANEEE, leaf)} },
			identity: "DANE-EE xmpp.example.net"},
		{name: "EE, the second of two", modes: both, leaf: lab.CALeaf{Names: []string{"a.test"}, SelfSigned: true},
			records: func(leaf, ca *x509.Certificate) []dane.Record {
				return []dane.Record{record(dane.DANEEE, ca), record(dane.DANEEE, leaf)}
			},
			identity: "DANE-EE xmpp.example.net"},
		{name: "EE of another key, with a certificate that everybody trusts", modes: both, leaf: lab.CALeaf{Names: []string{domain}},
			records: func(_, ca *x509.Certificate) []dane.Record { return []dane.Record{record(dane.DANEEE, ca)} },
			kind:    ErrTLSA, says: "fits none of the TLSA records of xmpp.example.net (DANE-EE)"},
		{name: "TA, for the account's domain", modes: both, ca: own, leaf: lab.CALeaf{Names: []string{domain}},
			records:  func(_, ca *x509.Certificate) []dane.Record { return []dane.Record{record(dane.DANETA, ca)} },
			identity: "DANE-TA xmpp.example.net, DNS-ID example.org"},
		{name: "TA, for the host", modes: both, ca: own, leaf: lab.CALeaf{Names: []string{"xmpp.example.net"}},
			records:  func(_, ca *x509.Certificate) []dane.Record { return []dane.Record{record(dane.DANETA, ca)} },
			identity: "DANE-TA xmpp.example.net, DNS-ID xmpp.example.net"},
		{name: "TA, an XmppAddr marked critical", modes: both, ca: own, leaf: lab.CALeaf{XMPPAddr: []string{domain}, CriticalSAN: true},
			records:  func(_, ca *x509.Certificate) []dane.Record { return []dane.Record{record(dane.DANETA, ca)} },
			identity: "DANE-TA xmpp.example.net, XmppAddr example.org"},
		{name: "TA, for somebody else", modes: both, ca: own, leaf: lab.CALeaf{Names: []string{"example.net"}, SRV: []string{"_xmpp-client.xmpp.example.net"}},
			records: func(_, ca *x509.Certificate) []dane.Record { return []dane.Record{record(dane.DANETA, ca)} },
			kind:    ErrName},
		{name: "TA, expired", modes: both, ca: own, leaf: lab.CALeaf{Names: []string{domain}, Expired: true},
			records: func(_, ca *x509.Certificate) []dane.Record { return []dane.Record{record(dane.DANETA, ca)} },
			kind:    ErrTLSA},
		{name: "TA, for clients", modes: both, ca: own, leaf: lab.CALeaf{Names: []string{domain}, Client: true},
			records: func(_, ca *x509.Certificate) []dane.Record { return []dane.Record{record(dane.DANETA, ca)} },
			kind:    ErrTLSA},
		{name: "TA of a stranger", modes: both, leaf: lab.CALeaf{Names: []string{domain}},
			records: func(_, _ *x509.Certificate) []dane.Record {
				return []dane.Record{record(dane.DANETA, stranger.Certificate())}
			},
			kind: ErrTLSA, says: "(DANE-TA)"},
		{name: "PKIX-EE", modes: both, leaf: lab.CALeaf{Names: []string{domain}},
			records:  func(leaf, _ *x509.Certificate) []dane.Record { return []dane.Record{record(dane.PKIXEE, leaf)} },
			identity: "PKIX-EE xmpp.example.net, DNS-ID example.org"},
		{name: "PKIX-EE, for the host", modes: both, leaf: lab.CALeaf{Names: []string{"xmpp.example.net"}},
			records:  func(leaf, _ *x509.Certificate) []dane.Record { return []dane.Record{record(dane.PKIXEE, leaf)} },
			identity: "PKIX-EE xmpp.example.net, DNS-ID xmpp.example.net"},
		{name: "PKIX-EE, not trusted", modes: both, ca: own, leaf: lab.CALeaf{Names: []string{domain}},
			records: func(leaf, _ *x509.Certificate) []dane.Record { return []dane.Record{record(dane.PKIXEE, leaf)} },
			kind:    ErrTLSA},
		{name: "PKIX-TA", modes: both, leaf: lab.CALeaf{Names: []string{domain}},
			records:  func(_, ca *x509.Certificate) []dane.Record { return []dane.Record{record(dane.PKIXTA, ca)} },
			identity: "PKIX-TA xmpp.example.net, DNS-ID example.org"},
		{name: "PKIX-TA, not trusted", modes: both, ca: own, leaf: lab.CALeaf{Names: []string{domain}},
			records: func(_, ca *x509.Certificate) []dane.Record { return []dane.Record{record(dane.PKIXTA, ca)} },
			kind:    ErrTLSA},

		{name: "none, trusted", modes: lone, leaf: lab.CALeaf{Names: []string{domain}}, identity: "DNS-ID example.org"},
		{name: "none, not trusted", modes: lone, ca: own, leaf: lab.CALeaf{Names: []string{domain}}, kind: ErrAuthority},
		{name: "none, for the host", modes: lone, leaf: lab.CALeaf{Names: []string{"xmpp.example.net"}}, kind: ErrName},
		{name: "none, and nothing else may", modes: only, leaf: lab.CALeaf{Names: []string{domain}}, kind: ErrTLSA, says: "no TLSA records prove its key: there are none at _5222"},
		{name: "none of use", modes: lone, leaf: lab.CALeaf{Names: []string{domain}},
			records: func(_, _ *x509.Certificate) []dane.Record {
				return []dane.Record{{Usage: 3, Selector: 1, Matching: 9, Data: []byte{1}}}
			},
			identity: "DNS-ID example.org"},
		{name: "none of use, and nothing else may", modes: only, leaf: lab.CALeaf{Names: []string{domain}},
			records: func(_, _ *x509.Certificate) []dane.Record {
				return []dane.Record{{Usage: 3, Selector: 1, Matching: 9, Data: []byte{1}}}
			},
			kind: ErrTLSA, says: "none of those that it has can be used"},
		{name: "a weak digest beside a strong one", modes: both, leaf: lab.CALeaf{Names: []string{domain}},
			records: func(leaf, _ *x509.Certificate) []dane.Record {
				sum := sha512.Sum512([]byte("another"))
				return []dane.Record{record(dane.DANEEE, leaf), {Usage: 3, Selector: 1, Matching: 2, Data: sum[:]}}
			},
			kind: ErrTLSA},
	} {
		for _, mode := range c.modes {
			t.Run(c.name+", "+mode.String(), func(t *testing.T) {
				ca := c.ca
				if ca == nil {
					ca = public
				}
				cert := newLeaf(t, ca, c.leaf)
				cert.Certificate = append(cert.Certificate[:1:1], ca.Certificate().Raw)
				tlsa := set()
				if c.records != nil {
					tlsa = set(c.records(cert.Leaf, ca.Certificate())...)
				}
				d := decision()
				d.TLS = mode
				r, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: public.Pool(), TLSA: tlsa}, serverWith(cert))
				if c.kind != nil {
					wantError(t, err, c.kind, c.says)
					return
				}
				if err != nil || r.Identity != c.identity {
					t.Errorf("%v, %+v, want %q", err, r, c.identity)
				}
			})
		}
	}
}

// TestTLSANotAsked: a caller that did not look is refused before anything is sent,
// but where an address proves itself.
func TestTLSANotAsked(t *testing.T) {
	ca := newCA(t)
	cert := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
	for _, mode := range []policy.TLSMode{policy.TLSDANE, policy.TLSDANEOnly} {
		d := decision()
		d.TLS = mode
		for _, tlsa := range []*dane.Set{nil, {}, {Hosts: []string{starttls.Host}}, {Records: []dane.Record{record(dane.DANEEE, cert.Leaf)}}} {
			_, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: ca.Pool(), TLSA: tlsa}, serverWith(cert))
			wantError(t, err, ErrSettings, "TLSA records")
		}
		const onion = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaam2dqd.onion"
		d.Target.Domain = onion
		at := policy.Endpoint{Transport: policy.STARTTLS, Host: onion, Port: 5222}
		if r, err := meet(t, Options{Decision: d, Endpoint: at, Roots: ca.Pool()}, serverWith(cert)); err != nil || r.Identity != "onion" {
			t.Errorf("%v: an onion address: %v, %+v", mode, err, r)
		}
	}
	d := decision()
	d.TLS = policy.TLSOnion + 1
	_, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: ca.Pool()}, serverWith(cert))
	wantError(t, err, ErrSettings, "")
}

// TestTLSAKeys: what is remembered of keys holds beside the records.
func TestTLSAKeys(t *testing.T) {
	ca := newCA(t)
	cert := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}, SelfSigned: true})
	pins, err := OpenPins(t.TempDir() + "/pins")
	if err != nil {
		t.Fatal(err)
	}
	d := decision()
	d.TLS, d.Pin = policy.TLSDANEOnly, policy.PinTOFUStrict
	login := func(cert tls.Certificate) error {
		_, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: ca.Pool(), Pins: pins, TLSA: set(record(dane.DANEEE, cert.Leaf))}, serverWith(cert))
		return err
	}
	if err := login(cert); err != nil {
		t.Fatal(err)
	}
	if err := login(newLeaf(t, ca, lab.CALeaf{SelfSigned: true})); !errors.Is(err, ErrKeyChanged) {
		t.Errorf("another key than before: %v", err)
	}
	d.Pins = []string{SPKI(newLeaf(t, ca, lab.CALeaf{SelfSigned: true}).Leaf)}
	if err := login(cert); !errors.Is(err, ErrPin) {
		t.Errorf("another key than the pinned: %v", err)
	}
}

// TestTLSAAuthority: a record that names an authority and not the key leaves room for
// another certificate of that authority. What is asked of public authorities is asked
// of it too.
func TestTLSAAuthority(t *testing.T) {
	public, own := newCA(t), newCA(t)
	const key, authority = "not asked: TLSA records in DNS prove the key", "not asked: TLSA records in DNS prove the authority"
	const unlogged, seen = "not vouched for", "the same key over a second circuit"
	for _, c := range []struct {
		usages  []uint8
		ca      *lab.CA // public if nil
		revoked bool
		sct     policy.SCT
		kind    error
		logs    string
		witness string
	}{
		{usages: []uint8{dane.PKIXTA}, sct: policy.SCTWarn, logs: unlogged, witness: seen},
		{usages: []uint8{dane.PKIXTA}, sct: policy.SCTRequire, kind: ErrUnlogged},
		{usages: []uint8{dane.PKIXTA}, sct: policy.SCTOff, revoked: true, kind: ErrRevoked},
		{usages: []uint8{dane.PKIXEE}, sct: policy.SCTWarn, logs: unlogged, witness: key},
		{usages: []uint8{dane.PKIXEE}, sct: policy.SCTRequire, kind: ErrUnlogged},
		{usages: []uint8{dane.PKIXEE}, sct: policy.SCTOff, revoked: true, kind: ErrRevoked},
		{usages: []uint8{dane.DANETA}, sct: policy.SCTRequire, logs: authority, witness: seen}, // RFC 7671 §4.2
		{usages: []uint8{dane.DANETA}, sct: policy.SCTOff, revoked: true, kind: ErrRevoked},
		{usages: []uint8{dane.DANETA}, ca: own, sct: policy.SCTRequire, logs: authority, witness: authority},
		{usages: []uint8{dane.DANETA}, ca: own, sct: policy.SCTOff, revoked: true, kind: ErrRevoked},
		{usages: []uint8{dane.DANEEE}, sct: policy.SCTRequire, revoked: true, logs: key, witness: key}, // RFC 7671 §5.1
		{usages: []uint8{dane.PKIXTA, dane.DANEEE}, sct: policy.SCTRequire, logs: key, witness: key},
		{usages: []uint8{dane.DANEEE, dane.PKIXTA}, sct: policy.SCTRequire, logs: key, witness: key},
		{usages: []uint8{dane.DANETA, dane.PKIXEE}, sct: policy.SCTWarn, logs: unlogged, witness: key},
	} {
		ca := c.ca
		if ca == nil {
			ca = public
		}
		cert := newLeaf(t, ca, lab.CALeaf{Names: []string{domain}})
		cert.Certificate = append(cert.Certificate[:1:1], ca.Certificate().Raw)
		if c.revoked {
			staple, err := ca.Staple(cert.Leaf, lab.CAStaple{Status: ocsp.Revoked})
			if err != nil {
				t.Fatal(err)
			}
			cert.OCSPStaple = staple
		}
		tlsa := set()
		for _, usage := range c.usages {
			of := cert.Leaf
			if usage == dane.PKIXTA || usage == dane.DANETA {
				of = ca.Certificate()
			}
			tlsa.Records = append(tlsa.Records, record(usage, of))
		}
		d := decision()
		d.TLS, d.SCT, d.Witness = policy.TLSDANEOnly, c.sct, policy.WitnessAlways
		look := func(context.Context) (string, error) { return SPKI(cert.Leaf), nil }
		r, err := meet(t, Options{Decision: d, Endpoint: starttls, Roots: public.Pool(), TLSA: tlsa, Witness: look}, serverWith(cert))
		if c.kind != nil {
			wantError(t, err, c.kind, "")
			continue
		}
		if err != nil || !strings.HasPrefix(r.Logs.Text, c.logs) || r.Witness.Text != c.witness {
			t.Errorf("%+v: %v, %+v", c, err, r)
		}
	}
}
