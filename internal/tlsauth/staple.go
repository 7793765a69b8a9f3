package tlsauth

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"xmpp-gw/internal/ct"
)

// What a stapled OCSP answer can say (RFC 6960 §2.2).
const (
	StapleGood    = "good"
	StapleRevoked = "revoked"
	StapleUnknown = "unknown" // to the authority
)

// stapleSkew is how far the authority's clock may be ahead of ours.
const stapleSkew = 5 * time.Minute

// Staple says what an OCSP answer that the server stapled to the handshake (RFC
// 6066 §8) says of its certificate, the first of chain: one of the Staple values,
// or why it says nothing; "" without an answer. It counts only if the authority
// that issued the certificate signed it, itself or by a certificate for that
// purpose, and while it is fresh.
func Staple(answer []byte, chain []*x509.Certificate, now time.Time) string {
	if len(answer) == 0 || len(chain) == 0 {
		return ""
	}
	issuer := ct.Issuer(chain)
	if issuer == nil {
		return "its signer is not known, as the server sends no certificate of its authority"
	}
	r, err := ocsp.ParseResponseForCert(answer, chain[0], nil)
	if err != nil {
		return "it cannot be used: " + err.Error()
	}
	if err := stapledBy(r, issuer, now); err != nil {
		return err.Error()
	}
	switch {
	case r.ThisUpdate.After(now.Add(stapleSkew)): // RFC 6960 §4.2.2.1
		return "it is of the future"
	case !r.NextUpdate.IsZero() && r.NextUpdate.Before(now):
		return "it is out of date"
	case r.NextUpdate.IsZero() && now.Sub(r.ThisUpdate) > maxStaple:
		return "it is out of date" // it says nothing of its end
	case r.Status == ocsp.Good:
		return StapleGood
	case r.Status == ocsp.Revoked:
		return StapleRevoked
	}
	return StapleUnknown
}

// maxStaple is how old an answer without an end may be: public authorities give
// theirs ten days at most.
const maxStaple = 10 * 24 * time.Hour

// stapledBy holds the signer of an answer to RFC 6960 §4.2.2.2: the issuer, or one
// whom the issuer certified for this. Any other certificate of the issuer's will
// not do: the server has one.
func stapledBy(r *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	by := r.Certificate // has signed it: ParseResponseForCert looked
	switch {
	case by == nil:
		if r.CheckSignatureFrom(issuer) != nil {
			return errors.New("its signature is not the authority's")
		}
	case bytes.Equal(by.Raw, issuer.Raw):
	case by.CheckSignatureFrom(issuer) != nil:
		return errors.New("its signer is not of the authority")
	case !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("its signer may not sign such answers")
	case now.Before(by.NotBefore), now.After(by.NotAfter):
		return errors.New("its signer's certificate is not valid now")
	}
	return nil
}
