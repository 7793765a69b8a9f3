// Package scrub keeps what must not be written down out of the log: network
// addresses and host names, JIDs, stanzas and secrets.
//
// [NewHandler] wraps any slog handler. It looks at the message, at the keys and
// at the values of every kind (strings, errors, Stringers, LogValuers, groups,
// structs), and puts a word in brackets in the place of what it finds:
//
//	log := slog.New(scrub.NewHandler(slog.NewTextHandler(os.Stderr, nil), scrub.Show{}))
//	log.Warn("upstream failed", "err", err) // … dial [address]: connection refused
//
// The operator may ask to see addresses and host names, or JIDs, each with a
// switch of its own ([Show]). Nothing shows a secret: a value under a key that
// names one (password, token, …), the user part of a URL, and a [Secret] are
// hidden at every level and with every switch.
//
// It errs on the side of hiding: a Go identifier such as "tls.Conn" in an error
// text looks like a host name and is hidden like one.
package scrub

import (
	"fmt"
	"log/slog"
)

// What stands in the place of what was hidden.
const (
	hiddenAddress = "[address]"
	hiddenJID     = "[jid]"
	hiddenSecret  = "[secret]"
	hiddenXML     = "[xml]"
)

// Show says what the operator asked to see. The zero value shows nothing.
type Show struct {
	Addresses bool // IP addresses, host and domain names, onion addresses, with their ports
	JIDs      bool // whole JIDs, with the domain and the resource in them
}

// Secret is a string that every way of printing hides: fmt's verbs, slog, JSON
// and text encoders. Convert it to a string to use it.
type Secret string

// String hides the secret.
func (Secret) String() string { return hiddenSecret }

// Format hides the secret from every verb of package fmt, %#v and %x included.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hiddenSecret) }

// LogValue hides the secret from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hiddenSecret) }

// MarshalText hides the secret from encoding/json and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(hiddenSecret), nil }
