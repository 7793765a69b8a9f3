package localca

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Look reads the certificate of the authority in dir, and makes nothing: the error
// is fs.ErrNotExist where there is none. It is for looking at a set-up, another user's
// too: unlike [Open] it takes the file of anybody, and the answer proves nothing.
func Look(dir string) (*x509.Certificate, error) {
	cert, err := look(filepath.Join(dir, certFile))
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate cannot be used: %w", err)
	}
	return cert, nil
}

func look(file string) (*x509.Certificate, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would keep us waiting
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, err
	}
	return parseCertificate(text)
}

// KeyFile is where the key of the authority in dir is kept.
func KeyFile(dir string) string { return filepath.Join(dir, keyFile) }
