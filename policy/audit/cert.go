package audit

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/ct"
)

// Bounds of what a server may show before it is a finding.
const (
	maxChain      = 8        // certificates
	maxChainBytes = 64 << 10 // all together
	lateDays      = 14       // a certificate that is not renewed by then is forgotten
	minRSA        = 2048     // bits; RFC 9325 §4.5
	minEC         = 256      // bits
	longChainText = "the chain has %d certificates and %d bytes"
)

func certChecks() []question {
	renew := fix(prosodyCertificate, ejabberdCertificate, "")
	return []question{
		{"cert.chain", "the certificate leads to a root that people trust", Critical, "RFC 7590 §3.4",
			renew, askChain},
		{"cert.expiry", "the certificate is valid, and not about to end", Critical, "RFC 5280 §4.1.2.5", renew, askExpiry},
		{"cert.key", "key and signatures are strong", High, "RFC 9325 §4.5",
			fix("", "", "ask for a new certificate with an ECDSA P-256 key: certbot certonly --key-type ecdsa -d DOMAIN"), askKey},
		{"cert.name", "the certificate is for the domain", Critical, "RFC 6120 §13.7.1.2",
			fix(prosodyName, ejabberdName, ""), askName},
		{"cert.revocation", "the certificate was not revoked", Info, "RFC 6960 §2.2", renew, askRevocation},
		{"cert.sct", "the certificate stands in public logs", Medium, "RFC 6962 §3.3",
			fix("", "", "take a certificate of an authority that logs what it issues, and embeds the proofs (all public ones do)"), askSCT},
		{"cert.s2s-eku", "the certificate may be used as a client's, for SASL EXTERNAL between servers", Medium, "RFC 5280 §4.2.1.12",
			fix("", "", "ask for a certificate with clientAuth as long as your authority has such a profile; some servers, in recent versions, take one without it"), askEKU},
	}
}

// eachLeaf is each, for the endpoints whose certificate was seen.
func (j *judge) eachLeaf(f func(e *Endpoint, leaf *x509.Certificate, target string), filters ...filter) {
	j.eachTLS("endpoint with a certificate", func(e *Endpoint, target string) {
		if len(e.TLS.Chain) == 0 || e.TLS.Chain[0] == nil {
			j.unknown(target, "no certificate was seen")
			return
		}
		f(e, e.TLS.Chain[0], target)
	}, filters...)
}

// addressIsKey reports whether what a certificate says does not matter, since the
// target is an onion address and the endpoint is at it.
func (j *judge) addressIsKey(e *Endpoint) bool { return j.onion() && e.At.Onion() }

func askChain(j *judge) {
	j.eachLeaf(func(e *Endpoint, leaf *x509.Certificate, target string) {
		size := 0
		for _, c := range e.TLS.Chain {
			size += len(c.Raw)
		}
		switch {
		case e.TLS.ChainErr != "" && j.addressIsKey(e):
			j.pass(target, "%s; at an onion address the address is the key", e.TLS.ChainErr).at(Info)
		case e.TLS.ChainErr != "":
			j.fail(target, "%s", e.TLS.ChainErr)
		case len(e.TLS.Chain) > maxChain || size > maxChainBytes:
			j.warn(target, longChainText, len(e.TLS.Chain), size).at(Medium)
		default:
			j.pass(target, "issued by %s", leaf.Issuer)
		}
	})
}

func askExpiry(j *judge) {
	j.eachLeaf(func(e *Endpoint, leaf *x509.Certificate, target string) {
		const day = 24 * time.Hour
		left, life := leaf.NotAfter.Sub(j.At), leaf.NotAfter.Sub(leaf.NotBefore)
		until := leaf.NotAfter.UTC().Format(time.DateOnly)
		switch {
		case j.At.IsZero():
			j.unknown(target, "the time of the check is not known")
		case left <= 0:
			j.fail(target, "the certificate ended on %s", until)
		case j.At.Before(leaf.NotBefore):
			j.fail(target, "the certificate begins on %s", leaf.NotBefore.UTC().Format(time.DateOnly))
		case left < min(lateDays*day, life/5): // short-lived ones are renewed later
			j.warn(target, "the certificate ends on %s, in %d days", until, int(left/day)).at(High)
		default:
			j.pass(target, "until %s", until)
		}
	})
}

func askKey(j *judge) {
	j.eachLeaf(func(e *Endpoint, leaf *x509.Certificate, target string) {
		way := e.TLS.Verified // what else was shown nobody relies on
		if len(way) == 0 {
			way = e.TLS.Chain
		}
		name, strong := keyOf(leaf)
		if !strong {
			j.fail(target, "%s", name)
			return
		}
		for _, c := range way {
			if name, strong := keyOf(c); !strong {
				j.fail(target, "%s of %s", name, c.Subject)
				return
			}
			root := c.Subject.String() == c.Issuer.String() // nobody checks the signature of a root
			switch c.SignatureAlgorithm {
			case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
				if !root || c == leaf {
					j.fail(target, "%s is signed with %s", c.Subject, c.SignatureAlgorithm)
					return
				}
			}
		}
		j.pass(target, "%s, signed with %s", name, leaf.SignatureAlgorithm)
	})
}

// keyOf names the leaf's key, and whether it is strong enough.
func keyOf(leaf *x509.Certificate) (name string, strong bool) {
	switch k := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d, exponent %d", k.N.BitLen(), k.E), k.N.BitLen() >= minRSA && k.E >= 65537
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name, k.Curve.Params().BitSize >= minEC
	case ed25519.PublicKey:
		return "Ed25519", true
	}
	return leaf.PublicKeyAlgorithm.String() + " key, which is not known", false
}

func askName(j *judge) {
	j.eachLeaf(func(e *Endpoint, leaf *x509.Certificate, target string) {
		names := list(leaf.DNSNames, "no DNS name")
		switch {
		case e.TLS.NameErr != "" && j.addressIsKey(e):
			j.pass(target, "%s; at an onion address the address is the key", e.TLS.NameErr).at(Info)
		case e.TLS.NameErr != "":
			if !strings.Contains(e.TLS.NameErr, names) {
				names = "; it is for " + names
			} else {
				names = ""
			}
			j.fail(target, "%s%s", e.TLS.NameErr, names)
		case e.TLS.Identity == "":
			j.unknown(target, "the name was not compared; it is for %s", names)
		default:
			j.pass(target, "%s", e.TLS.Identity)
		}
	})
}

// mustStaple is the TLS feature extension with status_request (RFC 7633 §4.2.3).
func mustStaple(c *x509.Certificate) bool {
	feature := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}
	for _, x := range c.Extensions {
		var numbers []int
		if x.Id.Equal(feature) {
			if _, err := asn1.Unmarshal(x.Value, &numbers); err == nil && slices.Contains(numbers, 5) {
				return true
			}
		}
	}
	return false
}

func askRevocation(j *judge) {
	j.eachLeaf(func(e *Endpoint, leaf *x509.Certificate, target string) {
		switch staple := e.TLS.Staple; {
		case staple == "good":
			j.pass(target, "stapled: good")
		case staple == "revoked":
			j.fail(target, "stapled: revoked").at(Critical)
		case staple == "" && mustStaple(leaf):
			j.fail(target, "the certificate demands a stapled OCSP answer, and there is none").at(High).Reference = "RFC 7633 §4.2.3"
		case staple == "" && len(leaf.OCSPServer) == 0:
			j.skip(target, "the authority has no OCSP for it")
		case staple == "":
			j.warn(target, "no stapled OCSP answer; %s was not asked, for it would learn who looks", list(leaf.OCSPServer, ""))
		default:
			j.unknown(target, "stapled: %s", staple)
		}
	})
}

func askSCT(j *judge) {
	j.eachLeaf(func(e *Endpoint, leaf *x509.Certificate, target string) {
		switch v := ct.Judge(leaf, e.TLS.SCTs); {
		case j.addressIsKey(e):
			j.skip(target, "at an onion address the address is the key")
		case e.TLS.ChainErr != "":
			j.skip(target, "the certificate is not of a public authority")
		case j.OwnRoots && len(e.TLS.SCTs) == 0:
			j.skip(target, "an authority of your own is trusted here, and those are in no log")
		case v.Missing == "" && len(v.Wrong) == 0:
			j.pass(target, "%s", list(v.Logs, ""))
		case v.Missing == "":
			j.warn(target, "%s; not counted: %s", list(v.Logs, ""), list(v.Wrong, "")).at(Low)
		case len(v.Wrong) > 0:
			j.fail(target, "%s", v.Why())
		case len(v.Unclear) > 0:
			j.unknown(target, "%s", v.Why())
		default:
			j.warn(target, "%s", v.Why())
		}
	})
}

func askEKU(j *judge) {
	j.eachLeaf(func(e *Endpoint, leaf *x509.Certificate, target string) {
		uses := leaf.ExtKeyUsage
		may := len(uses)+len(leaf.UnknownExtKeyUsage) == 0 || slices.Contains(uses, x509.ExtKeyUsageClientAuth) || slices.Contains(uses, x509.ExtKeyUsageAny)
		var names []string
		for _, u := range uses {
			names = append(names, strings.TrimPrefix(u.String(), "ExtKeyUsage"))
		}
		if may {
			j.pass(target, "extended key usage: %s", list(names, "any"))
			return
		}
		j.warn(target, "extended key usage: %s; servers that insist on clientAuth fall back to dialback or refuse", list(names, "others"))
	}, s2s)
}
