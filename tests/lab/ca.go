package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptoasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// CA is a certificate authority that issues right and wrong certificates.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes an authority. With permitted, it is constrained to these domains
// (RFC 5280 §4.2.1.10).
func NewCA(permitted ...string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:                serial,
		Subject:                     pkix.Name{CommonName: "Test authority " + serial.Text(62)[:6]},
		NotBefore:                   time.Now().Add(-365 * 24 * time.Hour),
		NotAfter:                    time.Now().Add(365 * 24 * time.Hour),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		KeyUsage:                    x509.KeyUsageCertSign,
		PermittedDNSDomains:         permitted,
		PermittedDNSDomainsCritical: len(permitted) > 0,
	}
	cert, err := sign(t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &CA{cert: cert, key: key}, nil
}

// Certificate is the authority's own.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Pool holds the authority alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Write puts the authority's certificate into ca.pem in dir.
func (ca *CA) Write(dir string) error {
	return os.WriteFile(filepath.Join(dir, "ca.pem"), certPEM(ca.cert.Raw), 0o644)
}

// CALeaf says what a certificate is like. The zero value is valid for a day, for
// a server, and names nobody.
type CALeaf struct {
	Names       []string // DNS-IDs, or IP addresses
	SRV         []string // SRV-IDs: "_xmpp-client.example.org"
	XMPPAddr    []string // XMPP addresses
	CommonName  string
	CriticalSAN bool // mark the list of names critical

	Expired     bool // since an hour
	NotYetValid bool // for another hour
	SelfSigned  bool // by its own key
	Client      bool // for a client (SASL EXTERNAL) in place of a server
	OCSPSigning bool // for signing OCSP answers in place of a server
	Days        int  // how long it is valid; 0: one

	// SCTs are timestamps of logs in the certificate; nil: none.
	SCTs SCTs

	Key crypto.Signer // nil: a new one
}

// Leaf issues a certificate.
func (ca *CA) Leaf(l CALeaf) (tls.Certificate, error) {
	var none tls.Certificate
	key := l.Key
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return none, err
		}
	}
	serial, err := serialNumber()
	if err != nil {
		return none, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: l.CommonName, SerialNumber: serial.Text(62)},
		NotBefore:    time.Now().Add(-2 * time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if l.Client {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if l.OCSPSigning {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	}
	if l.Days > 0 {
		t.NotAfter = t.NotBefore.Add(time.Duration(l.Days) * 24 * time.Hour)
	}
	if l.Expired {
		t.NotAfter = time.Now().Add(-time.Hour)
	}
	if l.NotYetValid {
		t.NotBefore = time.Now().Add(time.Hour)
	}
	if len(l.Names)+len(l.SRV)+len(l.XMPPAddr) > 0 {
		ext, err := l.subjectAltName()
		if err != nil {
			return none, err
		}
		t.ExtraExtensions = []pkix.Extension{ext}
	}
	parent, signer := ca.cert, crypto.Signer(ca.key)
	if l.SelfSigned {
		parent, signer = t, key
	}
	if err := l.embed(t, parent, key.Public(), signer); err != nil {
		return none, err
	}
	cert, err := sign(t, parent, key.Public(), signer)
	if err != nil {
		return none, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// subjectAltName builds the extension (RFC 5280 §4.2.1.6), since crypto/x509
// writes no otherName.
func (l CALeaf) subjectAltName() (pkix.Extension, error) {
	var b cryptobyte.Builder
	context := func(n uint8) cryptoasn1.Tag { return cryptoasn1.Tag(n).ContextSpecific() }
	otherName := func(b *cryptobyte.Builder, id asn1.ObjectIdentifier, tag cryptoasn1.Tag, value string) {
		b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(id)
			b.AddASN1(context(0).Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
			})
		})
	}
	b.AddASN1(cryptoasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, name := range l.Names {
			tag, value := context(2), []byte(name)
			if ip := net.ParseIP(name); ip != nil {
				tag, value = context(7), ip
				if v4 := ip.To4(); v4 != nil {
					value = v4
				}
			}
			b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(value) })
		}
		for _, name := range l.SRV { // RFC 4985 §2
			otherName(b, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}, cryptoasn1.IA5String, name)
		}
		for _, addr := range l.XMPPAddr { // RFC 6120 §13.7.1.4
			otherName(b, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}, cryptoasn1.UTF8String, addr)
		}
	})
	der, err := b.Bytes()
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: l.CriticalSAN, Value: der}, err
}

// WriteCertificate puts a certificate and its key into PEM files, which may be
// one and the same (as for client_cert).
func WriteCertificate(cert tls.Certificate, certFile, keyFile string) error {
	var text []byte
	for _, der := range cert.Certificate {
		text = append(text, certPEM(der)...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if certFile == keyFile {
		return os.WriteFile(certFile, append(text, key...), 0o600)
	}
	return errors.Join(os.WriteFile(certFile, text, 0o644), os.WriteFile(keyFile, key, 0o600))
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
}

func sign(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
