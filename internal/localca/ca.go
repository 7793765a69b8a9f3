// Package localca is the machine's own certificate authority, under which the
// gateway answers clients for the domain of their account. Its key is made on
// this machine, never leaves it, and is one of its crown jewels: whoever has it
// can be any server to the clients that trust it.
//
//	ca, err := localca.Open(dir, domains)
//	conf, err := ca.ServerConfig("example.org")
//
// With domains, the authority is constrained to them (RFC 5280 §4.2.1.10): then
// even its key cannot make certificates for the rest of the world.
package localca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// The files of an authority.
const (
	certFile = "ca.pem"
	keyFile  = "ca-key.pem"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	backdate = time.Hour // for a client whose clock is behind
)

// CA is the authority. It is safe for concurrent use.
type CA struct {
	dir     string
	cert    *x509.Certificate
	key     crypto.Signer
	changed bool

	mu     sync.Mutex
	leaves map[string]*leaf
}

// Open loads the authority in dir, or makes one there. constrain are the only
// domains it may speak for; empty is no constraint. When they differ from those
// in its certificate, that is made anew with the same key, and Changed reports
// it: clients must then be given the new one.
func Open(dir string, constrain []string) (*CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the directory of the machine's certificate authority cannot be made: %w", err)
	}
	if err := checkPrivate(dir, true); err != nil {
		return nil, err
	}
	ca := &CA{dir: dir, leaves: map[string]*leaf{}}
	var err error
	if ca.key, err = loadOrMakeKey(filepath.Join(dir, keyFile)); err != nil {
		return nil, err
	}
	constrain = slices.Compact(slices.Sorted(slices.Values(constrain)))
	ca.cert, err = loadCertificate(filepath.Join(dir, certFile))
	switch {
	case err == nil && ca.fits(constrain):
		return ca, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the certificate of the machine's authority cannot be used: %w. Remove %s to have it made anew", err, filepath.Join(dir, certFile))
	}
	ca.changed = err == nil
	return ca, ca.issue(constrain)
}

// fits reports whether the certificate is of the key, valid for a while, and
// constrained to the same names.
func (ca *CA) fits(constrain []string) bool {
	pub, ok := ca.key.Public().(*ecdsa.PublicKey)
	return ok && pub.Equal(ca.cert.PublicKey) &&
		time.Until(ca.cert.NotAfter) > 30*24*time.Hour &&
		slices.Equal(slices.Sorted(slices.Values(ca.cert.PermittedDNSDomains)), constrain)
}

// issue signs the authority's own certificate.
func (ca *CA) issue(constrain []string) error {
	host, _ := os.Hostname()
	t := &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     pkix.Name{CommonName: "xmpp-gw on " + host, Organization: []string{"xmpp-gw local authority"}},
		NotBefore:                   time.Now().Add(-backdate),
		NotAfter:                    time.Now().Add(caLife),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign,
		PermittedDNSDomains:         constrain,
		PermittedDNSDomainsCritical: len(constrain) > 0,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, ca.key.Public(), ca.key)
	if err != nil {
		return fmt.Errorf("the certificate of the machine's authority cannot be made: %w", err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return replaceFile(filepath.Join(ca.dir, certFile), text, 0o644)
}

// Changed reports whether Open had to replace the authority's certificate.
func (ca *CA) Changed() bool { return ca.changed }

// File is the authority's certificate, which clients are to trust.
func (ca *CA) File() string { return filepath.Join(ca.dir, certFile) }

// Certificate is the same, parsed.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Fingerprint is the SHA-256 of the certificate as people compare it: hex pairs
// with colons.
func (ca *CA) Fingerprint() string {
	sum := sha256.Sum256(ca.cert.Raw)
	s := fmt.Sprintf("% X", sum[:])
	b := []byte(s)
	for i, c := range b {
		if c == ' ' {
			b[i] = ':'
		}
	}
	return string(b)
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return n
}

// loadOrMakeKey reads the key, or makes it where there is none. A key that is
// there is never written over.
func loadOrMakeKey(file string) (crypto.Signer, error) {
	if err := checkPrivate(file, false); err == nil {
		return loadKey(file)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	err = createFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if errors.Is(err, fs.ErrExist) {
		return loadKey(file) // another start of ours was quicker
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the machine's authority cannot be kept: %w", err)
	}
	return key, nil
}

func loadKey(file string) (crypto.Signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the key of the machine's authority cannot be read: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key. If it is lost, remove it together with %s and install the new authority", file, certFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no usable key: %w", file, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds a key of another kind than ECDSA", file)
	}
	return key, nil
}

func loadCertificate(file string) (*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it holds no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}
