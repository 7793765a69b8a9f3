package resolve

import (
	"errors"

	"xmpp-gw/internal/sentence"
)

// The kinds of failure, for errors.Is.
var (
	ErrRefused   = errors.New("name not for DNS")        // nothing was asked
	ErrNoAnswer  = errors.New("no dns server answered")  // nobody could say
	ErrNoName    = errors.New("no such name")            // it has no address
	ErrNoService = errors.New("no xmpp service offered") // the domain says so itself
)

// Error is a search that failed.
type Error struct {
	What string // what happened
	Why  string // why, as far as it is known
	Hint string // what the person can do
	Kind error  // one of the package's Err values
	Err  error  // the cause; nil if there is none
}

// Error is one sentence: what happened, why, and what to do.
func (e *Error) Error() string { return sentence.Of(e.What, e.Why, e.Hint) }

// Reason is what happened and why, without what to do.
func (e *Error) Reason() string { return sentence.Of(e.What, e.Why, "") }

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error { return sentence.Causes(e.Kind, e.Err) }
