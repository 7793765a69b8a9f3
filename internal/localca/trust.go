package localca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/smallstep/truststore"
)

// Store is a set of authorities that programs trust.
type Store interface {
	// SameKey are the certificates in the store that have cert's key.
	SameKey(cert *x509.Certificate) ([]*x509.Certificate, error)
	Add(cert *x509.Certificate) error
	Remove(cert *x509.Certificate) error
}

// System is the store of this system, which most programs use. Changing it takes
// root, by sudo where that is there.
func System() Store { return system{} }

type system struct{}

func (system) Add(cert *x509.Certificate) error { return explain(truststore.Install(cert)) }

func (system) Remove(cert *x509.Certificate) error {
	if err := truststore.Uninstall(cert); err != nil {
		return explain(err)
	}
	return explain(sweep())
}

// explain adds what a failed command had to say.
func explain(err error) error {
	var failed *truststore.CmdError
	if !errors.As(err, &failed) {
		return err
	}
	said := strings.Join(strings.Fields(string(failed.Out())), " ")
	if len(said) > 300 {
		said = said[:300] + "…"
	}
	return fmt.Errorf("%w: %s", err, said)
}

// Trusted reports whether s has the authority's certificate as it is now.
func (ca *CA) Trusted(s Store) (bool, error) {
	list, err := s.SameKey(ca.cert)
	for _, c := range list {
		if c.Equal(ca.cert) {
			return true, nil
		}
	}
	return false, err
}

// Install puts the authority's certificate into s, and takes out earlier ones of
// the same key, which may be constrained to other domains or to none. It reports
// whether there was anything to do.
func (ca *CA) Install(s Store) (changed bool, err error) {
	list, err := s.SameKey(ca.cert)
	if err != nil {
		return false, err
	}
	there := false
	for _, c := range list {
		if c.Equal(ca.cert) {
			there = true
			continue
		}
		if err := s.Remove(c); err != nil {
			return changed, err
		}
		changed = true
	}
	if there {
		return changed, nil
	}
	return true, s.Add(ca.cert)
}

// Uninstall takes all certificates of the authority's key out of s, and reports
// whether there were any.
func (ca *CA) Uninstall(s Store) (found bool, err error) {
	list, err := s.SameKey(ca.cert)
	if err != nil {
		return false, err
	}
	for _, c := range list {
		if err := s.Remove(c); err != nil {
			return true, err
		}
	}
	return len(list) > 0, nil
}

// Advice says how a person makes their clients trust the authority where the
// system's store is not the way.
func (ca *CA) Advice() string {
	return fmt.Sprintf(`Gajim, Dino, Profanity, Pidgin, Psi and most others trust whom the system trusts:
once the authority is installed, start them again, and that is all. Otherwise:

  in a Flatpak or Snap   the system's store is not seen from inside; take the client
                         from your distribution instead
  Profanity              copy the certificate into a directory of its own, run
                         "openssl rehash" on that, then /tls certpath set DIRECTORY
  Python (slixmpp)       start it with SSL_CERT_FILE=%s
  Android                install the certificate in the system settings, as a CA
                         certificate; an app may still ask before it believes that

Do not tell a client to accept the gateway's own certificate for good: that one is
made anew at each start, and then the client complains again.
`, ca.File())
}
