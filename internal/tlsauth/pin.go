package tlsauth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
)

const pinPrefix = "sha256/"

// SPKI is the pin of a certificate's key: "sha256/" and the base64 of the
// SHA-256 of its SubjectPublicKeyInfo (the form of RFC 7469 §2.4). It outlives
// renewals that keep the key.
func SPKI(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// CheckPin says what is wrong with a pin; nil if nothing is. There is one
// spelling of each key, so that pins compare as strings.
func CheckPin(pin string) error {
	b64, ok := strings.CutPrefix(pin, pinPrefix)
	if !ok {
		return fmt.Errorf("pin %q does not begin with %q", printable(pin, 80), pinPrefix)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil || len(raw) != sha256.Size || strings.ContainsAny(b64, "\r\n") { // which the decoder steps over
		return fmt.Errorf("pin %q is not the base64 of 32 bytes (44 characters)", printable(pin, 80))
	}
	return nil
}

// PinState says how the server's key compares with those that are remembered.
type PinState uint8

// The pin states.
const (
	PinNotUsed    PinState = iota // keys are not remembered
	PinFirst                      // the first key of this domain
	PinKnown                      // seen before
	PinNew                        // another than seen before
	PinConfigured                 // one of the owner's list
)

// String is the state in one word.
func (p PinState) String() string {
	switch p {
	case PinFirst:
		return "first"
	case PinKnown:
		return "known"
	case PinNew:
		return "new"
	case PinConfigured:
		return "configured"
	}
	return "not-used"
}
