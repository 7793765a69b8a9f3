package localca

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
)

// Look reads the certificate of the authority in dir, and makes nothing: the error
// is fs.ErrNotExist where there is none.
func Look(dir string) (*x509.Certificate, error) {
	cert, err := readCertificate(filepath.Join(dir, certFile))
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate cannot be used: %w", err)
	}
	return cert, nil
}

// KeyFile is where the key of the authority in dir is kept.
func KeyFile(dir string) string { return filepath.Join(dir, keyFile) }
