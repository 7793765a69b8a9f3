package inspect

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"xmpp-gw/internal/localca"
	"xmpp-gw/policy/audit"
)

// Authority looks at the machine's own authority in dir, and for it in the stores,
// by their names. Nothing is made where there is none.
func Authority(dir string, owner int, stores map[string]localca.Store) (*audit.CA, []audit.TrustStore) {
	cert, err := localca.Look(dir)
	key, there := look(localca.KeyFile(dir), Place{Is: "the authority's key", Max: 0o600, Secret: true}, owner)
	if errors.Is(err, fs.ErrNotExist) && !there {
		return &audit.CA{Missing: true}, nil
	}
	ca := &audit.CA{}
	if there {
		ca.Key = key
	}
	switch {
	case err != nil:
		ca.Err = err.Error()
		return ca, nil
	case !there:
		ca.Err = "its key is not there: " + localca.KeyFile(dir)
	}
	ca.NotAfter, ca.Constrained = cert.NotAfter, constrained(cert)
	var trust []audit.TrustStore
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		trust = append(trust, trustOf(name, stores[name], cert))
	}
	return ca, trust
}

// constrained reports whether an authority may speak for names of its own alone
// (RFC 5280 §4.2.1.10).
func constrained(c *x509.Certificate) bool {
	return c.PermittedDNSDomainsCritical && len(c.PermittedDNSDomains) > 0
}

func trustOf(name string, store localca.Store, cert *x509.Certificate) audit.TrustStore {
	t := audit.TrustStore{Store: name}
	list, err := store.SameKey(cert)
	if err != nil {
		t.Err = err.Error()
		return t
	}
	t.Trusted = len(list) > 0
	t.Current = t.Trusted && !slices.ContainsFunc(list, func(c *x509.Certificate) bool { return !c.Equal(cert) })
	return t
}
