package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"time"
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
	made time.Time
}

// ServerConfig gives the TLS configuration for answering clients of domain, a
// name in A-labels. The certificate is made when it is first wanted and again
// before it ends. The configuration is shared: clone it before changing it.
func (ca *CA) ServerConfig(domain string) (*tls.Config, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if l, ok := ca.leaves[domain]; ok && time.Since(l.made) < leafLife-leafRenew {
		return l.conf, nil
	}
	cert, err := ca.sign(domain)
	if err != nil {
		return nil, fmt.Errorf("no certificate can be made for the client leg: %w", err)
	}
	if len(ca.leaves) >= maxLeaves {
		ca.dropOldest()
	}
	conf := &tls.Config{
		Certificates: []tls.Certificate{*cert},
		// This leg stays on the machine, and some clients are old.
		MinVersion: tls.VersionTLS12,
		// Resumption would save little on loopback and keep secrets in memory.
		SessionTicketsDisabled: true,
	}
	ca.leaves[domain] = &leaf{conf: conf, made: time.Now()}
	return conf, nil
}

func (ca *CA) dropOldest() {
	var oldest string
	for name, l := range ca.leaves {
		if oldest == "" || l.made.Before(ca.leaves[oldest].made) {
			oldest = name
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
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "xmpp-gw"},
		NotBefore:    time.Now().Add(-backdate),
		NotAfter:     time.Now().Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(domain); ip != nil {
		t.IPAddresses = []net.IP{ip}
	} else {
		t.DNSNames = []string{domain}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: key}, nil
}
