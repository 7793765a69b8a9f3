package tlsauth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"xmpp-gw/policy"
)

const pinPrefix = "sha256/"

// ParsePin reads a pin and gives its one spelling.
func ParsePin(s string) (string, error) {
	text, ok := strings.CutPrefix(s, pinPrefix)
	if !ok {
		return "", errors.New(`a pin is "sha256/" and the base64 of a SHA-256`)
	}
	sum, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimSuffix(text, "="))
	if err != nil || len(sum) != sha256.Size {
		return "", errors.New(`what follows "sha256/" is not the base64 of a SHA-256 (44 characters)`)
	}
	return pinPrefix + base64.StdEncoding.EncodeToString(sum), nil
}

// PinState says how a server's key compares with the remembered one.
type PinState uint8

// The pin states.
const (
	PinIgnored PinState = iota // keys are not remembered
	PinFirst                   // the first key seen for the domain
	PinKnown                   // the remembered key
	PinReplaced                // another than the remembered key, which it replaced
)

// String is one word.
func (s PinState) String() string {
	return [...]string{"ignored", "first", "known", "replaced"}[s&3]
}

// changed is an error if another key is remembered for domain.
func changed(domain, key string, pins *PinStore) error {
	p, ok := pins.Lookup(domain)
	if !ok || p.SPKI == "" || p.SPKI == key {
		return nil
	}
	return &Error{Kind: ErrPinChanged, What: "the key of the server of " + domain + " has changed",
		Why: "it was " + p.SPKI + " since " + date(p.First) + " and is now " + key +
			", so the operator replaced it or this is somebody else's server",
		Hint: "ask the operator, over another way than this one; then delete the line of " + domain + " in " + pins.Path()}
}

// remember compares the server's key with the remembered one, once the
// handshake has proved that the server has it.
func (r *Result) remember(d policy.Decision, pins *PinStore, now time.Time) error {
	if d.Pin == policy.PinOff || pins == nil {
		return nil
	}
	domain := d.Target.Domain
	named := len(d.Pins) > 0 // the owner named the key, so that its change is the owner's
	if d.Pin == policy.PinTOFUStrict && !named {
		if err := changed(domain, r.SPKI, pins); err != nil {
			return err
		}
	}
	state, old, err := pins.note(domain, r.SPKI, now)
	r.PinState = state
	if state == PinReplaced && !named {
		r.Warnings = append(r.Warnings, "The key of the server of "+domain+" has changed: it was "+old.SPKI+
			" since "+date(old.First)+" and is now "+r.SPKI+". Operators do this at times; so does somebody who listens in.")
	}
	if err != nil {
		r.Warnings = append(r.Warnings, "The key of the server of "+domain+" could not be remembered: "+err.Error())
	}
	return nil
}
