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
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"xmpp-gw/internal/ownfile"
	"xmpp-gw/policy"
)

// The files of an authority.
const (
	certFile = "ca.pem"
	keyFile  = "ca-key.pem"
	maxFile  = 64 << 10
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	caRenew  = 180 * 24 * time.Hour // before its end; more than any leaf lives
	backdate = time.Hour            // for a client whose clock is behind
)

// commonName begins the authority's name; the host's follows.
const commonName = "xmpp-gw on "

// CA is the authority. It is safe for concurrent use.
type CA struct {
	dir       string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	constrain []string // normalised and sorted; empty: any
	changed   bool
	now       func() time.Time

	mu     sync.Mutex
	leaves map[string]*leaf
}

// Open loads the authority in dir, or makes one there. constrain are the only
// domains that it may speak for, with those under them; empty is no constraint.
// When they differ from those in its certificate, or that comes to its end, it is
// made anew with the same key, and Changed reports it: clients must then be given
// the new one. A directory or a key that others may use is an error.
func Open(dir string, constrain []string) (*CA, error) {
	return open(dir, constrain, time.Now)
}

func open(dir string, constrain []string, now func() time.Time) (*CA, error) {
	ca := &CA{dir: dir, now: now, leaves: make(map[string]*leaf)}
	for _, domain := range constrain {
		d, err := policy.NormalizeDomain(domain)
		if err != nil {
			return nil, fmt.Errorf("the machine's authority cannot be bound to the domain %q: %w", domain, err)
		}
		ca.constrain = append(ca.constrain, d)
	}
	slices.Sort(ca.constrain)
	ca.constrain = slices.Compact(ca.constrain)
	if err := ownfile.Dir(dir, ownfile.NoAccess); err != nil {
		return nil, fmt.Errorf("the machine's authority has no safe place: %w", err)
	}
	var err error
	if ca.key, err = openKey(filepath.Join(dir, keyFile)); err != nil {
		return nil, err
	}
	ca.cert, err = readCertificate(ca.File())
	switch {
	case err == nil && ca.fits():
		return ca, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the certificate of the machine's authority cannot be used: %w; delete %s to have it made anew", err, ca.File())
	}
	ca.changed = err == nil
	return ca, ca.issue()
}

// fits reports whether the certificate is of our key, has long to go, and says
// what one made now would say.
func (ca *CA) fits() bool {
	want := ca.template()
	return ca.key.PublicKey.Equal(ca.cert.PublicKey) && ca.cert.IsCA && ca.cert.MaxPathLenZero &&
		ca.now().Before(ca.cert.NotAfter.Add(-caRenew)) &&
		slices.Equal(ca.cert.PermittedDNSDomains, want.PermittedDNSDomains) &&
		slices.EqualFunc(ca.cert.PermittedIPRanges, want.PermittedIPRanges, sameRange) &&
		slices.EqualFunc(ca.cert.ExcludedIPRanges, want.ExcludedIPRanges, sameRange)
}

func sameRange(a, b *net.IPNet) bool { return a.String() == b.String() }

// template is the authority's own certificate as it should be.
func (ca *CA) template() *x509.Certificate {
	host, _ := os.Hostname()
	t := &x509.Certificate{
		Subject:                     pkix.Name{CommonName: commonName + host, Organization: []string{"xmpp-gw local authority"}},
		NotBefore:                   ca.now().Add(-backdate),
		NotAfter:                    ca.now().Add(caLife),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true, // it issues no other authorities
		KeyUsage:                    x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: len(ca.constrain) > 0,
	}
	for _, domain := range ca.constrain {
		if ip := net.ParseIP(domain); ip != nil {
			t.PermittedIPRanges = append(t.PermittedIPRanges, oneAddress(ip))
		} else {
			t.PermittedDNSDomains = append(t.PermittedDNSDomains, domain)
		}
	}
	// RFC 5280 §4.2.1.10: a kind of name that is not mentioned is not constrained.
	if len(ca.constrain) > 0 && len(t.PermittedIPRanges) == 0 {
		t.ExcludedIPRanges = []*net.IPNet{allOf(net.IPv4len), allOf(net.IPv6len)}
	}
	if len(ca.constrain) > 0 && len(t.PermittedDNSDomains) == 0 {
		t.PermittedDNSDomains = []string{"invalid"} // RFC 6761 §6.4: nobody has it
	}
	return t
}

func oneAddress(ip net.IP) *net.IPNet {
	if v4 := ip.To4(); v4 != nil {
		ip = v4
	}
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(len(ip)*8, len(ip)*8)}
}

func allOf(length int) *net.IPNet {
	return &net.IPNet{IP: make(net.IP, length), Mask: make(net.IPMask, length)}
}

// issue signs the authority's own certificate.
func (ca *CA) issue() error {
	t := ca.template()
	t.SerialNumber = serial()
	der, err := x509.CreateCertificate(rand.Reader, t, t, ca.key.Public(), ca.key)
	if err != nil {
		return fmt.Errorf("the certificate of the machine's authority cannot be made: %w", err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	if err := ownfile.Replace(ca.File(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return fmt.Errorf("the certificate of the machine's authority cannot be kept: %w", err)
	}
	return nil
}

// mayName reports whether the constraints let the authority speak for domain.
func (ca *CA) mayName(domain string) bool {
	return len(ca.constrain) == 0 || slices.ContainsFunc(ca.constrain, func(base string) bool {
		return domain == base || strings.HasSuffix(domain, "."+base) && net.ParseIP(domain) == nil
	})
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
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return n
}

// openKey reads the key, or makes it where there is none. A key that is there is
// never written over.
func openKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := readKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	defer clear(text)
	defer clear(der)
	err = ownfile.Create(file, text)
	if errors.Is(err, fs.ErrExist) {
		return readKey(file) // another start of ours was quicker
	}
	if err != nil {
		return nil, fmt.Errorf("the key of the machine's authority cannot be kept: %w", err)
	}
	return key, nil
}

func readKey(file string) (*ecdsa.PrivateKey, error) {
	text, err := ownfile.Read(file, ownfile.NoAccess, maxFile)
	if err != nil {
		return nil, fmt.Errorf("the key of the machine's authority cannot be used: %w", err)
	}
	defer clear(text)
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, unusable(file)
	}
	defer clear(block.Bytes)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, unusable(file)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, unusable(file)
	}
	return key, nil
}

// unusable names the file and nothing of what is in it.
func unusable(file string) error {
	return fmt.Errorf("%s does not hold the key of the machine's authority: put it back from a copy, or delete it and install the authority that is made then (xmpp-gw trust install)", file)
}

func readCertificate(file string) (*x509.Certificate, error) {
	text, err := ownfile.Read(file, ownfile.NoWriters, maxFile)
	if err != nil {
		return nil, err
	}
	return parseCertificate(text)
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it holds no certificate in PEM form")
	}
	return x509.ParseCertificate(block.Bytes)
}
