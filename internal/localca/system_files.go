//go:build linux || freebsd

package localca

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/smallstep/truststore"
)

// SameKey looks among the files that our own installations left: they are named
// after the authority.
func (system) SameKey(cert *x509.Certificate) ([]*x509.Certificate, error) {
	if truststore.SystemTrustFilename == "" {
		return nil, truststore.ErrNotSupported
	}
	return sameKeyIn(fmt.Sprintf(truststore.SystemTrustFilename, strings.ReplaceAll(commonName, " ", "_")+"*"), cert)
}

// sweep takes out what an uninstallation leaves: update-ca-certificates drops the
// certificate from the bundle, but its links in the directory, which then point
// nowhere, only when it begins afresh.
func sweep() error {
	tool := truststore.SystemTrustCommand
	if len(tool) != 1 || filepath.Base(tool[0]) != "update-ca-certificates" {
		return nil
	}
	cmd := truststore.CommandWithSudo(tool[0], "--fresh")
	if out, err := cmd.CombinedOutput(); err != nil {
		return truststore.NewCmdError(err, cmd, out)
	}
	return nil
}

func sameKeyIn(pattern string, cert *x509.Certificate) ([]*x509.Certificate, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	key, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	var list []*x509.Certificate
	for _, file := range files {
		c, err := truststore.ReadCertificate(file)
		if err == nil && ok && key.Equal(c.PublicKey) { // else it is another program's
			list = append(list, c)
		}
	}
	return list, nil
}
