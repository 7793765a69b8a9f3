package server

import (
	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
)

// StanzaError is what a stanza is answered with when it cannot be processed
// (RFC 6120 §8.3). Those below are not to be changed; [StanzaError.Because] gives
// a copy with a text.
type StanzaError struct {
	Type      string // "auth", "cancel", "continue", "modify" or "wait"
	Condition string // of RFC 6120 §8.3.3
	Text      string // for the person at the other end; may be empty
	By        address.Address
	App       []byte // an application-specific condition, a whole element; nil for none
}

// The errors of RFC 6120 §8.3.3, each with the type that the RFC recommends.
var (
	ErrBadRequest            = &StanzaError{Type: "modify", Condition: "bad-request"}
	ErrConflict              = &StanzaError{Type: "cancel", Condition: "conflict"}
	ErrFeatureNotImplemented = &StanzaError{Type: "cancel", Condition: "feature-not-implemented"}
	ErrForbidden             = &StanzaError{Type: "auth", Condition: "forbidden"}
	ErrGone                  = &StanzaError{Type: "cancel", Condition: "gone"}
	ErrInternalServerError   = &StanzaError{Type: "cancel", Condition: "internal-server-error"}
	ErrItemNotFound          = &StanzaError{Type: "cancel", Condition: "item-not-found"}
	ErrJIDMalformed          = &StanzaError{Type: "modify", Condition: "jid-malformed"}
	ErrNotAcceptable         = &StanzaError{Type: "modify", Condition: "not-acceptable"}
	ErrNotAllowed            = &StanzaError{Type: "cancel", Condition: "not-allowed"}
	ErrNotAuthorized         = &StanzaError{Type: "auth", Condition: "not-authorized"}
	ErrPolicyViolation       = &StanzaError{Type: "modify", Condition: "policy-violation"}
	ErrRecipientUnavailable  = &StanzaError{Type: "wait", Condition: "recipient-unavailable"}
	ErrRedirect              = &StanzaError{Type: "modify", Condition: "redirect"}
	ErrRegistrationRequired  = &StanzaError{Type: "auth", Condition: "registration-required"}
	ErrRemoteServerNotFound  = &StanzaError{Type: "cancel", Condition: "remote-server-not-found"}
	ErrRemoteServerTimeout   = &StanzaError{Type: "wait", Condition: "remote-server-timeout"}
	ErrResourceConstraint    = &StanzaError{Type: "wait", Condition: "resource-constraint"}
	ErrServiceUnavailable    = &StanzaError{Type: "cancel", Condition: "service-unavailable"}
	ErrSubscriptionRequired  = &StanzaError{Type: "auth", Condition: "subscription-required"}
	ErrUndefinedCondition    = &StanzaError{Type: "modify", Condition: "undefined-condition"}
	ErrUnexpectedRequest     = &StanzaError{Type: "wait", Condition: "unexpected-request"}
)

func (e *StanzaError) Error() string {
	if e.Text != "" {
		return "stanza error " + e.Condition + ": " + e.Text
	}
	return "stanza error " + e.Condition
}

// Is makes errors.Is look at type and condition alone.
func (e *StanzaError) Is(target error) bool {
	t, ok := target.(*StanzaError)
	return ok && t.Type == e.Type && t.Condition == e.Condition
}

// Because is a copy with a text for the person at the other end.
func (e *StanzaError) Because(text string) *StanzaError {
	c := *e
	c.Text = text
	return &c
}

// Append appends the <error/> element.
func (e *StanzaError) Append(dst []byte) []byte {
	dst = append(dst, "<error"...)
	if !e.By.IsZero() {
		dst = append(xmppstream.Escape(append(dst, " by='"...), e.By.String()), '\'')
	}
	dst = append(append(append(dst, " type='"...), e.Type...), "'><"...)
	dst = append(append(dst, e.Condition...), " xmlns='"+xmppstream.NSStanzaErr+"'/>"...)
	if e.Text != "" {
		dst = append(dst, "<text xmlns='"+xmppstream.NSStanzaErr+"' xml:lang='en'>"...)
		dst = append(xmppstream.Escape(dst, e.Text), "</text>"...)
	}
	return append(append(dst, e.App...), "</error>"...)
}

// Error is the reply to the stanza that says e (RFC 6120 §8.3.1). What came is
// not repeated in it.
func (st *Stanza) Error(e *StanzaError) *Stanza {
	return build(st.Kind, st.To, st.From, "error", st.ID, [][]byte{e.Append(nil)})
}

// Result is the reply to an IQ, with a payload or without.
func (st *Stanza) Result(payload []byte) *Stanza {
	return build(IQStanza, st.To, st.From, "result", st.ID, [][]byte{payload})
}

// answerable reports whether an error may be sent to the sender: never to an
// error, nor to a result (RFC 6120 §8.3.1, §8.2.3).
func (st *Stanza) answerable() bool {
	return st.Type != "error" && !(st.Kind == IQStanza && st.Type == "result")
}
