package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptoasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
)

const (
	leafLife  = 90 * 24 * time.Hour
	leafRenew = 30 * 24 * time.Hour // before its end
	maxLeaves = 256                 // domains at the same time; beyond it the oldest goes
)

// leaf is a domain's certificate, in the configuration that all its clients
// share.
type leaf struct {
	conf *tls.Config
	ends time.Time
}

// ServerConfig gives the TLS configuration for answering clients of domain, which
// may be any spelling of a name or an address. The certificate is made when it is
// first wanted and again before it ends. The configuration is shared by the
// domain's clients and must not be changed; ALPN is in it for those that use
// direct TLS (XEP-0368) and does not disturb the others. A domain outside the
// authority's constraints is an error.
func (ca *CA) ServerConfig(domain string) (*tls.Config, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	// By the clock on the wall: a machine that slept has aged too.
	if l, ok := ca.leaves[domain]; ok && ca.now().Before(l.ends.Add(-leafRenew)) {
		return l.conf, nil
	}
	name, err := policy.NormalizeDomain(domain)
	if err != nil {
		return nil, fmt.Errorf("no certificate can be made for the client: %w", err)
	}
	if !ca.mayName(name) {
		return nil, fmt.Errorf("no certificate can be made for %s: the machine's authority is bound to the domains of the configuration; add [domain.%q] there", name, name)
	}
	cert, err := ca.sign(name)
	if err != nil {
		return nil, fmt.Errorf("no certificate can be made for %s: %w", name, err)
	}
	l := &leaf{ends: cert.Leaf.NotAfter, conf: &tls.Config{
		Certificates: []tls.Certificate{*cert},
		NextProtos:   []string{"xmpp-client"},
		// This leg stays on the machine, and some clients are old.
		MinVersion:   tls.VersionTLS12,
		CipherSuites: tlsauth.CipherSuites(),
		// Resumption would save little here and keep secrets in memory.
		SessionTicketsDisabled: true,
	}}
	if _, there := ca.leaves[domain]; !there && len(ca.leaves) >= maxLeaves {
		ca.dropOldest()
	}
	ca.leaves[domain] = l
	return l.conf, nil
}

func (ca *CA) dropOldest() {
	var oldest string
	var first *leaf
	for domain, l := range ca.leaves {
		if first == nil || l.ends.Before(first.ends) {
			oldest, first = domain, l
		}
	}
	delete(ca.leaves, oldest)
}

// sign makes the certificate of one domain, with a key that is never written
// down.
func (ca *CA) sign(domain string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	san, err := subjectAltName(domain)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:    serial(),
		Subject:         pkix.Name{CommonName: "xmpp-gw"},
		NotBefore:       ca.now().Add(-backdate),
		NotAfter:        ca.now().Add(leafLife),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		ExtraExtensions: []pkix.Extension{san},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, nil
}

// subjectAltName names domain in both forms that clients look for (RFC 6120
// §13.7.1.2): as a DNS name (or an address), and as an XMPP address, which is in
// U-labels. crypto/x509 cannot write the second.
func subjectAltName(domain string) (pkix.Extension, error) {
	context := func(n uint8) cryptoasn1.Tag { return cryptoasn1.Tag(n).ContextSpecific() }
	tag, value := context(2), []byte(domain) // dNSName
	if ip := net.ParseIP(domain); ip != nil {
		tag, value = context(7), ip // iPAddress
		if v4 := ip.To4(); v4 != nil {
			value = v4
		}
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptoasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(value) })
		b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) { // otherName
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}) // id-on-xmppAddr
			b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(cryptoasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(policy.DisplayDomain(domain))) })
			})
		})
	})
	der, err := b.Bytes()
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}, err
}
