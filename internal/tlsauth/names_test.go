package tlsauth

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

func san(t testing.TB, l lab.CALeaf) []byte {
	t.Helper()
	leaf := newLeaf(t, newCA(t), l).Leaf
	for _, ext := range leaf.Extensions {
		if ext.Id.Equal(oidSAN) {
			return ext.Value
		}
	}
	t.Fatal("no names")
	return nil
}

// TestMalformedNames: what is broken is left out or refused, never guessed.
func TestMalformedNames(t *testing.T) {
	good := san(t, lab.CALeaf{XMPPAddr: []string{"example.org"}, SRV: []string{"_xmpp-client.example.org"}})
	if srv, xmpp, err := otherNames(good); err != nil || len(srv) != 1 || len(xmpp) != 1 {
		t.Fatalf("%q, %q, %v", srv, xmpp, err)
	}
	for i := range good {
		if srv, xmpp, err := otherNames(good[:i]); err == nil {
			t.Errorf("cut at %d: %q, %q", i, srv, xmpp)
		}
	}
	if _, _, err := otherNames(append(bytes.Clone(good), 0)); err == nil {
		t.Error("bytes behind the end")
	}
	for _, l := range []lab.CALeaf{
		{XMPPAddr: []string{""}}, {XMPPAddr: []string{"a\x00example.org"}}, {XMPPAddr: []string{"\xff"}},
		{XMPPAddr: []string{strings.Repeat("x", maxName+1)}}, {SRV: []string{"_xmpp-client.b\xc3\xbccher"}},
	} {
		if srv, xmpp, err := otherNames(san(t, l)); err != nil || len(srv)+len(xmpp) > 0 {
			t.Errorf("%+v: %q, %q, %v", l, srv, xmpp, err)
		}
	}
	// An XmppAddr that is no UTF8String (12) but an IA5String (22).
	wrong := bytes.Replace(san(t, lab.CALeaf{XMPPAddr: []string{"example.org"}}), []byte("\x0c\x0bexample.org"), []byte("\x16\x0bexample.org"), 1)
	if _, xmpp, err := otherNames(wrong); err != nil || len(xmpp) > 0 {
		t.Errorf("%q, %v", xmpp, err)
	}
}

// TestSharedCertificate: crypto/tls keeps one copy of a certificate for all
// connections to a server, so judging must not change it.
func TestSharedCertificate(t *testing.T) {
	ca := newCA(t)
	leaf := newLeaf(t, ca, lab.CALeaf{XMPPAddr: []string{domain}, CriticalSAN: true}).Leaf
	before := len(leaf.UnhandledCriticalExtensions)
	v, err := newVerifier(Options{Decision: decision(), Endpoint: starttls, Roots: ca.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.verify(tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{leaf}}); err != nil {
		t.Error(err)
	}
	if before != 1 || len(leaf.UnhandledCriticalExtensions) != 1 {
		t.Errorf("unhandled extensions: %d, then %d", before, len(leaf.UnhandledCriticalExtensions))
	}
}

// FuzzSAN: any bytes in the place of names are read without harm, and what is
// read is text within bounds that is matched and shown without harm.
func FuzzSAN(f *testing.F) {
	f.Add(san(f, lab.CALeaf{Names: []string{"example.org", "192.0.2.7"}}))
	f.Add(san(f, lab.CALeaf{SRV: []string{"_xmpp-client.example.org"}, XMPPAddr: []string{"example.org", "bücher.example"}}))
	f.Add([]byte{0x30, 0})
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		srv, xmpp, err := otherNames(der)
		if err != nil && len(srv)+len(xmpp) > 0 {
			t.Fatalf("names %q %q in spite of %v", srv, xmpp, err)
		}
		n := names{srv: srv, xmpp: xmpp}
		for _, s := range append(srv, xmpp...) {
			if s == "" || len(s) > maxName || strings.ContainsRune(s, 0) || !utf8.ValidString(s) || !bytes.Contains(der, []byte(s)) {
				t.Fatalf("name %q", s)
			}
		}
		for _, r := range n.list() {
			if (r < ' ' || r > '~') && r != '…' {
				t.Fatalf("%q is shown", n.list())
			}
		}
		for _, s := range xmpp {
			if d, err := policy.NormalizeDomain(s); err == nil {
				if net.ParseIP(d) != nil { // for those only an IP-ID counts
					continue
				}
				if form, _ := n.match(d, "xmpp-client"); form == "" {
					t.Fatalf("%q is not for %q", n, d)
				}
			}
		}
		if form, name := n.match("example.org", "xmpp-client"); form != "" && !strings.Contains(strings.ToLower(string(der)), "example") && !strings.Contains(name, "example.org") {
			t.Fatalf("%q matches as %s %s", der, form, name)
		}
	})
}
