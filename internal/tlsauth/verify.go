package tlsauth

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"xmpp-gw/policy"
)

// SPKI is the pin of a certificate's key: "sha256/" and the base64 of the
// SHA-256 of its SubjectPublicKeyInfo (the form of RFC 7469 §2.1.1).
func SPKI(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// judge decides whether a server is the one of the JID's domain, and says what
// proved it.
type judge struct {
	decision policy.Decision
	endpoint policy.Endpoint
	roots    *x509.CertPool // nil: the system's
	extra    *x509.CertPool // nil: none
	now      time.Time
}

// identify looks at what the server showed. It has no side effects: at this
// point of a handshake the server has not yet proved that it has the key.
func (j *judge) identify(cs tls.ConnectionState) (identity string, err error) {
	d := j.decision
	if len(cs.PeerCertificates) == 0 {
		return "", &Error{Kind: ErrHandshake, What: "the server of " + d.Target.Domain + " showed no certificate"}
	}
	leaf := cs.PeerCertificates[0]
	switch {
	case d.TLS == policy.TLSPin:
		if err := j.pinned(leaf); err != nil {
			return "", err
		}
		return "pin", nil
	case j.onionProves():
		return "onion", nil
	case d.TLS == policy.TLSOnion:
		return "", &Error{Kind: ErrRefused, What: "the server of " + d.Target.Domain + " is refused",
			Why:  `its proof is its onion address (tls = "onion"), and it was not reached at the one that the configuration gives`,
			Hint: "set onion in " + section(d.Target.Domain)}
	}
	identity, err = j.verify(leaf, cs.PeerCertificates[1:])
	if err == nil && len(d.Pins) > 0 {
		err = j.pinned(leaf) // the owner named keys: both must hold
	}
	return identity, err
}

// onionProves reports whether the address that was reached is itself the proof:
// Tor leads an onion address to the holder of its key only. That holds for a
// domain that is the address, and for an address that the owner, not DNS, gave
// the domain with tls = "onion".
func (j *judge) onionProves() bool {
	d := j.decision
	if !j.endpoint.Onion() || !d.Route.ViaTor() {
		return false
	}
	if sameHost(j.endpoint.Host, d.Target.Domain) {
		return true
	}
	if d.TLS != policy.TLSOnion {
		return false
	}
	return d.Onion != nil && sameHost(d.Onion.Host, j.endpoint.Host) ||
		slices.ContainsFunc(d.Endpoints, func(e policy.Endpoint) bool { return sameHost(e.Host, j.endpoint.Host) })
}

func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// pinned checks the key against the configured pins.
func (j *judge) pinned(leaf *x509.Certificate) error {
	key := SPKI(leaf)
	for _, pin := range j.decision.Pins {
		want, err := ParsePin(pin)
		if err != nil {
			return &Error{Kind: ErrPin, What: "a pin of " + j.decision.Target.Domain + " cannot be read", Why: err.Error(),
				Hint: "correct pins in " + section(j.decision.Target.Domain)}
		}
		if want == key {
			return nil
		}
	}
	return &Error{Kind: ErrPin, What: "the key of the server of " + j.decision.Target.Domain + " is none of the pinned ones",
		Why:  "it showed " + key + ", so it has a new key or it is somebody else's server",
		Hint: "ask its operator, over another way than this one, and only then correct pins in " + section(j.decision.Target.Domain)}
}

// verify builds a chain from leaf to a trusted authority and looks for the
// domain among the leaf's names (RFC 6120 §13.7.2.1, RFC 9525 §6).
func (j *judge) verify(leaf *x509.Certificate, more []*x509.Certificate) (string, error) {
	domain := j.decision.Target.Domain
	has := namesOf(leaf)
	chains, err := j.chains(leaf, more, has)
	if err != nil {
		return "", chainError(domain, leaf, j.now, err)
	}
	identity, other, ok := has.match(domain)
	if !ok {
		e := &Error{Kind: ErrOtherName, What: "the certificate is not for " + domain,
			Hint: "check the domain in the client; if it is right, this is a misconfigured server or somebody else's"}
		if list := has.String(); list != "" {
			e.Why = "it is for " + list
		} else {
			e.Why = "it names nobody in its subject alternative names (a common name does not count)"
		}
		return "", e
	}
	if other && !slices.ContainsFunc(chains, func(c []*x509.Certificate) bool { return mayName(c[1:], domain) }) {
		return "", chainError(domain, leaf, j.now, x509.CertificateInvalidError{Cert: leaf, Reason: x509.CANotAuthorizedForThisName})
	}
	return identity, nil
}

// chains builds the chains to the domain's own authority or else to the
// system's. Nothing is fetched for them: that would tell who talks to whom.
func (j *judge) chains(leaf *x509.Certificate, more []*x509.Certificate, has names) ([][]*x509.Certificate, error) {
	opts := x509.VerifyOptions{
		Intermediates: x509.NewCertPool(),
		CurrentTime:   j.now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range more {
		opts.Intermediates.AddCert(c)
	}
	// crypto/x509 takes a critical subjectAltName in which it knows no name for
	// one that nobody looked at. We did.
	isSAN := func(id asn1.ObjectIdentifier) bool { return id.Equal(oidSubjectAltName) }
	if len(has.srv)+len(has.xmpp) > 0 && slices.ContainsFunc(leaf.UnhandledCriticalExtensions, isSAN) {
		known := *leaf
		known.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), isSAN)
		leaf = &known
	}
	if j.extra != nil {
		opts.Roots = j.extra
		chains, err := leaf.Verify(opts)
		var unknown x509.UnknownAuthorityError
		if err == nil || !errors.As(err, &unknown) {
			return chains, err
		}
	}
	opts.Roots = j.roots
	return leaf.Verify(opts)
}

// mayName applies the authorities' constraints on DNS names (RFC 5280
// §4.2.1.10) to a domain that a name of another kind gives. By the letter they
// do not reach those kinds, and an authority that is held to its own domains
// could name any other in an XmppAddr.
func mayName(authorities []*x509.Certificate, domain string) bool {
	under := func(base string) bool {
		base = strings.TrimPrefix(strings.ToLower(base), ".")
		return base == "" || domain == base || strings.HasSuffix(domain, "."+base)
	}
	for _, ca := range authorities {
		if slices.ContainsFunc(ca.ExcludedDNSDomains, under) {
			return false
		}
		if len(ca.PermittedDNSDomains) > 0 && !slices.ContainsFunc(ca.PermittedDNSDomains, under) {
			return false
		}
	}
	return true
}
