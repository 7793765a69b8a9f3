package saslserver

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"unicode/utf8"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/tlsauth"
)

// owner is an account that a client certificate stands for.
type owner struct {
	account address.Address
	// resources are those of the full addresses in the certificate; nil when it
	// names the bare one, or none.
	resources []string
}

// owners are the accounts that the client's certificate stands for: those that
// accept it by name (XEP-0257), and, where its signature is trusted, those whose
// addresses it carries (XEP-0178 §2). TLS has shown that the client has its key.
func (s *Server) owners(ctx context.Context, l *Link) []owner {
	if l.TLS == nil || !l.TLS.HandshakeComplete || len(l.TLS.PeerCertificates) == 0 {
		return nil
	}
	leaf := l.TLS.PeerCertificates[0]
	now := s.cfg.Now()
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) { // XEP-0257 §3
		return nil
	}
	var named []address.Address
	for _, text := range tlsauth.XMPPAddrs(leaf) {
		if a, err := address.Parse(text); err == nil && a.Local != "" && a.Domain == s.cfg.Domain {
			named = append(named, a)
		}
	}
	var accounts []address.Address
	if s.cfg.Certificates != nil {
		// A lookup that fails is as none: the client has other mechanisms.
		accounts, _ = s.cfg.Certificates.CertificateOwners(ctx, sha256.Sum256(leaf.Raw))
	}
	if len(named) > 0 && s.trusted(l.TLS.PeerCertificates) {
		accounts = append(accounts, named...)
	}
	var list []owner
	seen := make(map[address.Address]bool)
	for _, a := range accounts {
		if a = a.Bare(); a.Local != "" && a.Domain == s.cfg.Domain && !seen[a] {
			seen[a] = true
			list = append(list, owner{a, resourcesOf(named, a)})
		}
	}
	return list
}

// resourcesOf are the resources that a certificate restricts an account to
// (XEP-0257 §3): nil when it names the account's bare address, or not at all.
func resourcesOf(named []address.Address, account address.Address) []string {
	var list []string
	for _, a := range named {
		switch {
		case a == account:
			return nil
		case a.Bare() == account:
			list = append(list, a.Resource)
		}
	}
	return list
}

// trusted reports whether a chain ends at one of the configured roots.
func (s *Server) trusted(chain []*x509.Certificate) bool {
	if s.cfg.ClientRoots == nil {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: s.cfg.ClientRoots, Intermediates: between, CurrentTime: s.cfg.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// externalMachine is EXTERNAL (RFC 4422 appendix A).
type externalMachine struct{ conn *Conn }

func (m *externalMachine) next(ctx context.Context, msg []byte) ([]byte, *proof, error) {
	if len(msg) > 3*address.MaxPart+2 || !utf8.Valid(msg) {
		return nil, nil, errMalformed
	}
	// Once more, for a certificate may have been revoked since the offer.
	owners := m.conn.srv.owners(ctx, &m.conn.link)
	o, err := pick(owners, string(msg))
	if err != nil {
		return nil, nil, err
	}
	if err := m.conn.state(ctx, o.account); err != nil {
		return nil, nil, err
	}
	return nil, &proof{account: o.account, allowed: o.resources, authzid: len(msg) > 0}, nil
}

// pick chooses the account that is meant (XEP-0178 §2 step 11).
func pick(owners []owner, authzid string) (owner, error) {
	if len(owners) == 0 {
		return owner{}, &saslauth.Failure{Condition: saslauth.NotAuthorized, Text: "The client's certificate belongs to no account here."}
	}
	if authzid == "" {
		if len(owners) > 1 {
			return owner{}, &saslauth.Failure{Condition: saslauth.InvalidAuthzid, Text: "The client's certificate belongs to several accounts: name one."}
		}
		return owners[0], nil
	}
	a, err := address.Parse(authzid)
	if err != nil {
		return owner{}, errAuthzid
	}
	for _, o := range owners {
		if a == o.account {
			return o, nil
		}
		for _, r := range o.resources { // XEP-0257 §3: an address with its resource
			if a.Bare() == o.account && a.Resource == r {
				return owner{o.account, []string{r}}, nil
			}
		}
	}
	return owner{}, errAuthzid
}
