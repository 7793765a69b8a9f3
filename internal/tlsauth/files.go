package tlsauth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"os"

	"xmpp-gw/policy"
)

// maxFile bounds a file of certificates.
const maxFile = 1 << 20

// readRoots reads the domain's own authorities, nil if it has none. Files are
// read at each handshake: that costs little beside it, and a renewed file
// counts at once.
func readRoots(d policy.Decision) (*x509.CertPool, error) {
	if d.CAFile == "" {
		return nil, nil
	}
	pem, err := readFile(d.CAFile)
	if err != nil {
		return nil, fileError(d, "ca", d.CAFile, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fileError(d, "ca", d.CAFile, errors.New("there is no certificate in it"))
	}
	return pool, nil
}

// readClientCert reads the certificate and key for SASL EXTERNAL, nil if there
// is none.
func readClientCert(d policy.Decision) (*tls.Certificate, error) {
	if d.ClientCert == "" {
		return nil, nil
	}
	info, err := os.Stat(d.ClientCert)
	if err == nil && info.Mode().Perm()&0o007 != 0 {
		err = errors.New("it holds a private key that everybody on this machine may read (run chmod o= on it)")
	}
	if err != nil {
		return nil, fileError(d, "client_cert", d.ClientCert, err)
	}
	pem, err := readFile(d.ClientCert)
	if err != nil {
		return nil, fileError(d, "client_cert", d.ClientCert, err)
	}
	defer clear(pem)
	cert, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return nil, fileError(d, "client_cert", d.ClientCert, err)
	}
	return &cert, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = errors.New("it is larger than a megabyte")
	}
	return b, err
}

func fileError(d policy.Decision, key, path string, err error) error {
	why := err.Error()
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		why = pathErr.Err.Error()
	}
	return &Error{Kind: ErrFile, What: "the file " + path + " cannot be used", Why: clean(why, 160),
		Hint: "correct it, or " + key + " in " + section(d.Target.Domain), Err: err}
}
