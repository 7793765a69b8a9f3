package saslauth

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What went wrong with a login, for errors.Is. Each comes wrapped in an [*Error]
// whose text a person can read.
var (
	// ErrRules: the rules are incomplete (a zero value) or refuse by themselves.
	ErrRules = errors.New("saslauth: refused by the rules")
	// ErrTooWeak: the server offers nothing that reaches the owner's floor.
	ErrTooWeak = errors.New("saslauth: the server's mechanisms are too weak")
	// ErrBinding: channel binding is required and cannot be had.
	ErrBinding = errors.New("saslauth: channel binding cannot be had")
	// ErrRatchet: the domain was bound before and cannot be now.
	ErrRatchet = errors.New("saslauth: channel binding is gone")
	// ErrDowngrade: the offer contradicts itself or the server's own hash of it.
	ErrDowngrade = errors.New("saslauth: the server's offer was altered")
	// ErrServerSignature: the server did not prove that it knows the password.
	ErrServerSignature = errors.New("saslauth: the server did not prove itself")
	// ErrPremature: features of an authenticated stream before authentication.
	ErrPremature = errors.New("saslauth: authentication was skipped")
	// ErrProtocol: the server broke the rules of SASL or of its mechanism.
	ErrProtocol = errors.New("saslauth: protocol error")
	// ErrMoreSteps: the server wants more than a password (XEP-0388 tasks).
	ErrMoreSteps = errors.New("saslauth: the server wants another step")
	// ErrCredentials: the name or the password cannot be used at all.
	ErrCredentials = errors.New("saslauth: unusable credentials")
	// ErrClosed: the stream ended during the login.
	ErrClosed = errors.New("saslauth: the stream ended")
)

// Error is a login that did not come to a result of the server's own. Kind is
// one of the sentinels above; Text says what happened and what to do.
type Error struct {
	Kind error
	Text string
}

func (e *Error) Error() string { return e.Text }

// Unwrap lets errors.Is find the kind.
func (e *Error) Unwrap() error { return e.Kind }

func errorOf(kind error, text string) error { return &Error{Kind: kind, Text: text} }

// Condition is a SASL failure condition of RFC 6120 §6.5.
type Condition string

// The conditions of RFC 6120 §6.5.
const (
	Aborted              Condition = "aborted"
	AccountDisabled      Condition = "account-disabled"
	CredentialsExpired   Condition = "credentials-expired"
	EncryptionRequired   Condition = "encryption-required"
	IncorrectEncoding    Condition = "incorrect-encoding"
	InvalidAuthzid       Condition = "invalid-authzid"
	InvalidMechanism     Condition = "invalid-mechanism"
	MalformedRequest     Condition = "malformed-request"
	MechanismTooWeak     Condition = "mechanism-too-weak"
	NotAuthorized        Condition = "not-authorized"
	TemporaryAuthFailure Condition = "temporary-auth-failure"
)

// defined reports whether c is one of RFC 6120 §6.5.
func (c Condition) defined() bool {
	switch c {
	case Aborted, AccountDisabled, CredentialsExpired, EncryptionRequired,
		IncorrectEncoding, InvalidAuthzid, InvalidMechanism, MalformedRequest,
		MechanismTooWeak, NotAuthorized, TemporaryAuthFailure:
		return true
	}
	return false
}

// Failure is a <failure/> of either side. As an error of [Authenticate] it is
// the server's verdict, and Text is the server's own text (cleaned of control
// characters and shortened, but a stranger's words all the same). As an error of
// [Receive] it is what the client must be told.
type Failure struct {
	Condition Condition
	Text      string
}

func (f *Failure) Error() string {
	if f.Text == "" {
		return "login refused: " + string(f.Condition)
	}
	return "login refused: " + string(f.Condition) + " (" + f.Text + ")"
}

// ClientFailure says what an error of the upstream login means to the client.
//
// The server's verdict on the account is passed on. Whatever the gateway and the
// server did not manage between them is not the client's fault: it becomes
// temporary-auth-failure, or mechanism-too-weak where a demand of the owner was
// not met. Neither makes a client ask its user for another password, which would
// then be typed into a connection that somebody may have tampered with.
func ClientFailure(err error) Failure {
	var own *Error
	var verdict *Failure
	switch {
	case errors.As(err, &verdict):
		return verdict.forClient()
	case errors.Is(err, ErrCredentials):
		return Failure{NotAuthorized, err.Error()}
	case errors.Is(err, ErrRules), errors.Is(err, ErrTooWeak), errors.Is(err, ErrBinding),
		errors.Is(err, ErrRatchet), errors.Is(err, ErrDowngrade):
		return Failure{MechanismTooWeak, err.Error()}
	case errors.As(err, &own):
		return Failure{TemporaryAuthFailure, own.Text}
	}
	// Errors of the network may carry addresses: their text stays here.
	return Failure{TemporaryAuthFailure, "The gateway could not finish the login at the server: the connection failed. Try again; the gateway's log says more."}
}

// forClient turns the server's verdict on our login into one on the client's.
func (f *Failure) forClient() Failure {
	said := string(f.Condition)
	if f.Text != "" {
		said += ": " + f.Text
	}
	switch f.Condition {
	case NotAuthorized, AccountDisabled, CredentialsExpired, InvalidAuthzid,
		MechanismTooWeak, EncryptionRequired, TemporaryAuthFailure:
		return Failure{f.Condition, "The server refused the login (" + said + ")."}
	}
	// About the exchange between gateway and server, which the client did not
	// write: a client told "malformed-request" would look for its own mistake.
	return Failure{TemporaryAuthFailure, "The server did not accept the gateway's way of logging in (" + said + ")."}
}

// maxText is the most that is kept of a text that the other side wrote, in bytes.
const maxText = 256

// CleanText makes a stranger's text fit for a log line and for a client's dialog.
func CleanText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxText {
		cut := maxText
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}
