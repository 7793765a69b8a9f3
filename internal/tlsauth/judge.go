package tlsauth

import (
	"crypto/x509"
	"errors"
	"time"

	"xmpp-gw/policy"
)

// Judgement is what a certificate is worth for a domain, in two parts that do not
// hang on each other.
type Judgement struct {
	Chain    error  // why it does not lead to an authority, an [*Error]; nil if it does
	Name     error  // why it is not for the domain, an [*Error]; nil if it is
	Identity string // the form and the name that fits: "DNS-ID example.org"

	// Verified is one way from the certificate to an authority, with the certificates
	// that the server left out as the authority's own is; nil if there is none.
	Verified []*x509.Certificate
}

// Judge looks at the certificates that a server showed by the rules of [Client]
// with tls = "verify", and goes on where Client would stop. Service is the one that
// an SRV-ID must name: "xmpp-client" or "xmpp-server", or empty where none counts,
// as for a web server. Nil roots are the system's. Nothing is fetched.
func Judge(chain []*x509.Certificate, domain, service string, roots *x509.CertPool, now time.Time) Judgement {
	v := &verifier{domain: "the domain", roots: roots, now: now}
	normal, err := policy.NormalizeDomain(domain)
	if err != nil || len(chain) == 0 {
		none := v.refuse("the server was not accepted", "it showed no certificate, or the domain cannot be used", "")
		return Judgement{Chain: none, Name: none}
	}
	v.domain = normal
	var j Judgement
	has := namesOf(chain[0])
	chains, err := v.chains(chain[0], chain[1:], has)
	if err != nil {
		j.Chain = v.chainError(chain[0], err)
	} else {
		j.Verified = chains[0]
	}
	if service == "" {
		has.srv, has.xmpp = nil, nil
	}
	form, name := has.match(normal, service)
	if form == "" {
		j.Name = v.nameError(has)
		return j
	}
	j.Identity = form + " " + printable(name, 260)
	if err == nil && !v.mayBe(form, chains) {
		j.Chain = v.chainError(chain[0], x509.CertificateInvalidError{Cert: chain[0], Reason: x509.CANotAuthorizedForThisName})
	}
	return j
}

// Reason is what happened and why, of an error of this package, without the hint:
// that is for the owner of a gateway.
func Reason(err error) string {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		short := *e
		short.Hint = ""
		return short.Error()
	}
	return err.Error()
}
