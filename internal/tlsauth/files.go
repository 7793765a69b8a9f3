package tlsauth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"xmpp-gw/internal/ownfile"
	"xmpp-gw/policy"
)

// Files of certificates are read at each handshake: that costs little beside it,
// and a renewed file counts at once.

// maxPEM bounds such a file.
const maxPEM = 1 << 20

// noOthers: a service's key often belongs to root, and its group may read it.
const noOthers ownfile.Access = 0o027

// readRoots reads the domain's own authorities.
func readRoots(path string) (*x509.CertPool, error) {
	pem, err := ownfile.Read(path, ownfile.NoWriters, maxPEM)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(path + " holds no certificate in PEM form")
	}
	return pool, nil
}

// Roots is roots (nil: the system's) and the authority that d adds for its domain,
// for what else the domain must prove: its web server.
func Roots(roots *x509.CertPool, d policy.Decision) (*x509.CertPool, error) {
	if d.CAFile == "" {
		return roots, nil
	}
	pem, err := ownfile.Read(d.CAFile, ownfile.NoWriters, maxPEM)
	if err != nil {
		return nil, err
	}
	if roots != nil {
		roots = roots.Clone()
	} else if roots, err = x509.SystemCertPool(); err != nil {
		return nil, err
	}
	roots.AppendCertsFromPEM(pem)
	return roots, nil
}

// readClientCert reads the certificate and the key for SASL EXTERNAL, which
// stand in one file.
func readClientCert(path string) (*tls.Certificate, error) {
	pem, err := ownfile.Read(path, noOthers, maxPEM)
	if err != nil {
		return nil, err
	}
	defer clear(pem)
	cert, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return nil, errors.New(path + " does not hold a certificate and its key in PEM form")
	}
	return &cert, nil
}
