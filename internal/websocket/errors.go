package websocket

import (
	"fmt"

	"xmpp-gw/internal/sentence"
)

// Error is a server that was reached and does not speak XMPP over WebSocket as it
// should. Its text holds nothing of the server's own but numbers.
type Error struct {
	What string // what happened
	Why  string // why
	Hint string // what to do
	Err  error  // the cause; may be nil
}

// Error is one sentence: what happened, why, and what to do.
func (e *Error) Error() string { return sentence.Of(e.What, e.Why, e.Hint) }

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// Moved is a server that closes the stream and names another place (RFC 7395
// §3.6.1). Whether to go there is policy's to say; the URI is as it came.
type Moved struct{ URI string }

func (e *Moved) Error() string { return "the server sent us to another WebSocket" }

// garbage is a server that broke the protocol in the middle.
func garbage(why string) *Error {
	return &Error{What: "the server does not speak XMPP over WebSocket as RFC 7395 says", Why: why,
		Hint: "tell its operator, or use another endpoint"}
}

// refused is a server that answers the handshake with something else.
func refused(why, hint string, cause error) *Error {
	return &Error{What: "the server speaks no XMPP over WebSocket there", Why: why, Hint: hint, Err: cause}
}

const hintPath = "check host, port and path of the wss:// endpoint"

// status is a handshake that was answered with another status than 101.
func status(code int) *Error {
	why := fmt.Sprintf("it answers the handshake with HTTP status %d", code)
	switch {
	case code >= 300 && code < 400:
		return refused(why+", which sends us elsewhere and is not followed", "ask its operator for the address itself", nil)
	case code == 401 || code == 403:
		return refused(why+": it does not let us in", "ask its operator", nil)
	case code >= 500:
		return refused(why+": it has a fault, or what stands behind it is down", "try again later", nil)
	}
	return refused(why, hintPath, nil)
}
