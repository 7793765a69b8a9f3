package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"time"

	"xmpp-gw/internal/ownfile"
	"xmpp-gw/policy"
)

// certify sets what the node's clients are shown. The configuration's certificate
// is for everybody. Without one, clients on this machine get one of the machine's
// own authority, and those of the onion service one that tells them nothing: the
// authority's name has the machine's in it.
func (n *node) certify(p paths, s *settings, local certificates) error {
	if s.Node.Certificate != "" {
		own, err := nodeCertificate(s, n.domain)
		if err != nil {
			return err
		}
		n.setLocal(own)
		n.public = n.certificateNow
		return nil
	}
	n.setLocal(local)
	if !n.onion && !s.Node.Publish {
		n.public = lazyCertificate(p, n.domain)
		return nil
	}
	public, err := plainCertificate(filepath.Join(p.state, "node-tls.pem"), n.domain)
	n.public = public
	return err
}

// lazyCertificate is plainCertificate for a node that is perhaps never published.
func lazyCertificate(p paths, domain string) certificates {
	return func(name string) (*tls.Config, error) {
		c, err := plainCertificate(filepath.Join(p.state, "node-tls.pem"), domain)
		if err != nil {
			return nil, err
		}
		return c(name)
	}
}

func (n *node) setLocal(c certificates) { n.local.Store(&c) }

func (n *node) certificateNow(domain string) (*tls.Config, error) { return (*n.local.Load())(domain) }

// recertify reads the configuration's certificate again, unless that has another
// domain now, which holds from the next start on.
func (n *node) recertify(s *settings) error {
	if n == nil || s.Node.Certificate == "" || policy.DisplayDomain(s.Node.Domain) != n.domain {
		return nil
	}
	own, err := nodeCertificate(s, n.domain)
	if err == nil {
		n.setLocal(own)
	}
	return err
}

// nodeCertificate reads the certificate that the configuration names.
func nodeCertificate(s *settings, domain string) (certificates, error) {
	mistake := func(why error, hint string) error {
		return &problem{what: "the node's certificate cannot be used", why: why.Error(), hint: hint, code: exitMistake, err: why}
	}
	pair, err := tls.LoadX509KeyPair(s.Node.Certificate, s.Node.Key)
	if err != nil {
		return nil, mistake(err, "certificate and key under [node] are PEM files that belong together")
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, mistake(err, "")
		}
	}
	name, err := policy.NormalizeDomain(domain)
	if err == nil {
		err = pair.Leaf.VerifyHostname(name)
	}
	if err != nil {
		return nil, mistake(err, "it must be for the domain under [node]")
	}
	return one(&tls.Config{Certificates: []tls.Certificate{pair}}), nil
}

// one is the same configuration for every domain.
func one(c *tls.Config) certificates {
	return func(string) (*tls.Config, error) { return c, nil }
}

// plainCertificate reads the certificate that signs itself, or makes it. It is kept
// because clients remember it; one for another domain is replaced.
func plainCertificate(file, domain string) (certificates, error) {
	name, err := policy.NormalizeDomain(domain)
	if err != nil {
		return nil, err
	}
	text, err := ownfile.Read(file, ownfile.NoAccess, 64<<10)
	switch {
	case err == nil:
		pair, err := tls.X509KeyPair(text, text)
		if err == nil && pair.Leaf != nil && pair.Leaf.VerifyHostname(name) == nil && time.Until(pair.Leaf.NotAfter) > 0 {
			return one(&tls.Config{Certificates: []tls.Certificate{pair}}), nil
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, &problem{what: "the node's certificate for its onion service cannot be read", why: err.Error(), err: err}
	}
	if text, err = selfSigned(name); err != nil {
		return nil, err
	}
	if err := ownfile.Replace(file, text); err != nil {
		return nil, fmt.Errorf("write the node's certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(text, text)
	return one(&tls.Config{Certificates: []tls.Certificate{pair}}), err
}

// selfSigned makes a certificate and its key, as PEM. It holds the domain and
// nothing else: no name of this machine, and no time to the second.
func selfSigned(domain string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	from := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, -1, 0)
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "XMPP server"},
		NotBefore: from, NotAfter: from.AddDate(20, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: []string{domain},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}
