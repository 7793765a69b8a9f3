package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"xmpp-gw/internal/sentence"
	"xmpp-gw/policy"
)

// The kinds of failure, for errors.Is. Every error of this package is one of
// them, or the end of the caller's context.
var (
	ErrRefused     = errors.New("route refused")          // by policy or configuration; nothing was sent
	ErrTorDown     = errors.New("tor is not running")     // or does not answer
	ErrHopDown     = errors.New("socks hop is down")      // or does not speak SOCKS5
	ErrOnionDown   = errors.New("onion service down")     // not found, or no circuit to it
	ErrOnionAuth   = errors.New("onion service private")  // client authorization missing or wrong
	ErrBadAddress  = errors.New("bad onion address")      // mistyped, or an old v2 one
	ErrNoName      = errors.New("no such name")           // or it has no address
	ErrUnreachable = errors.New("destination refused")    // or no path to it
	ErrTimeout     = errors.New("destination timed out")  // the route's budget is spent
	ErrProxy       = errors.New("socks protocol failure") // the proxy said or sent something else
)

// Error is a dial that failed.
type Error struct {
	Route policy.Route
	Code  byte   // the SOCKS5 reply code; 0 when there was none
	What  string // what happened
	Why   string // why, as far as it is known
	Hint  string // what the person can do
	Kind  error  // one of the package's Err values
	Err   error  // the cause, which may name addresses; nil if there is none
}

// Error is one sentence: what happened, why, and what to do.
func (e *Error) Error() string {
	return sentence.Of("route "+e.Route.String()+": "+e.What, e.Why, e.Hint)
}

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error { return sentence.Causes(e.Kind, e.Err) }

// refuse is the error of a route that may not be used, before anything is sent.
func refuse(route policy.Route, why, hint string) *Error {
	return &Error{Route: route, Kind: ErrRefused, What: "refused", Why: why, Hint: hint}
}

// hopError is the error of a hop's URL.
func hopError(name string, err error) error {
	return fmt.Errorf("socks.%s: %w", name, err)
}

// words are one row of the table of reply codes.
type words struct {
	kind            error
	what, why, hint string
}

// replies says what each SOCKS5 reply code means (RFC 1928 §6, and from 0xF0
// Tor's own, torrc's ExtendedErrors). Where Tor uses a code in a narrower
// sense than the RFC, the sentence says what Tor means by it.
var replies = map[byte]words{
	0x01: {ErrUnreachable, "the far end cannot be connected to",
		"nothing listens on that port, or no Tor exit could open it; at an onion address, the service is there and the server behind it is not",
		"check host and port; if they are right, the server is down or shuts Tor out: try again later, or use its onion address if it has one"},
	0x02: {ErrRefused, "the proxy does not allow this connection",
		"its own rules forbid the destination",
		"change the rules of the proxy, for Tor its SocksPolicy and ReachableAddresses"},
	0x03: {ErrUnreachable, "the network of the far end is unreachable",
		"the proxy has no path to it",
		"check that this machine is online, then try again"},
	0x04: {ErrNoName, "the host cannot be found",
		"its name has no address, or no path leads to it",
		"check the spelling of the domain and of its SRV records"},
	0x05: {ErrUnreachable, "the connection was refused",
		"nothing listens on that port of the destination, or the onion service has no such port",
		"check the port; XMPP servers use 5222 and 5223 for clients"},
	0x06: {ErrTimeout, "the connection took too long",
		"Tor gave up building a circuit to the destination",
		"check that this machine is online, then try again in a minute"},
	0x07: {ErrProxy, "the proxy cannot make connections",
		"it does not know the CONNECT command",
		"check that the address is that of a SOCKS5 proxy"},
	0x08: {ErrProxy, "the proxy does not take this kind of address",
		"it knows no IPv6, or no names",
		"use a proxy that resolves names itself"},
	0xF0: {ErrOnionDown, "the onion service cannot be found",
		"the Tor network has no descriptor for its address: it is offline, just starting, or the address is wrong",
		"check the address letter by letter, then try again in a minute"},
	0xF1: {ErrOnionDown, "the onion service's descriptor is invalid",
		"it could not be read or its signature is wrong",
		"update tor here and at the service; try again later"},
	0xF2: {ErrOnionDown, "the onion service does not answer",
		"it is not at the introduction points that its descriptor names: it has most likely gone offline, or is just restarting",
		"try again in a few minutes, or ask its operator whether it is up"},
	0xF3: {ErrOnionDown, "the onion service could not be met",
		"the rendezvous circuit failed, because of load or a bad path",
		"try again; a new circuit takes another path"},
	0xF4: {ErrOnionAuth, "the onion service is private",
		"it asks for a client authorization key, and there is none here, or one that it has withdrawn",
		"ask its operator for a key and add it with: xmpp-gw onion auth add (`xmpp-gw onion auth list` shows whether there is one)"},
	0xF5: {ErrOnionAuth, "the onion service does not accept this client's key",
		"the client authorization key that is kept here for its address is wrong or was withdrawn",
		"ask its operator for a new key, which takes the place of the old one with: xmpp-gw onion auth add"},
	0xF6: {ErrBadAddress, "that is no onion address",
		"its length, letters or checksum are wrong, or it is an old address of version 2",
		"copy the address again; a valid one has 56 letters and digits before .onion"},
	0xF7: {ErrOnionDown, "the onion service did not answer in time",
		"no introduction point replied before Tor gave up",
		"try again in a few minutes; the service, or the Tor network, may be under load"},
}

// replyError is the error for the reply code that a proxy sent.
func replyError(route policy.Route, code byte) *Error {
	s, ok := replies[code]
	if !ok {
		s = words{ErrProxy, "the proxy failed", "it gave a reason that is not known here",
			"look into the proxy's own log"}
	}
	return &Error{Route: route, Code: code, Kind: s.kind,
		What: s.what, Why: fmt.Sprintf("%s (SOCKS code %02X)", s.why, code), Hint: s.hint}
}

// errBudget is the cause of a context that this package ended.
var errBudget = errors.New("time budget spent")

// ended is the error for a context that is over: the caller's own end is passed
// on as it is, a spent budget becomes a sentence.
func ended(ctx context.Context, route policy.Route, what, hint string) error {
	if context.Cause(ctx) != errBudget {
		return ctx.Err()
	}
	return &Error{Route: route, Kind: ErrTimeout, What: what,
		Why: "the time allowed for it is over", Hint: hint, Err: context.DeadlineExceeded}
}

// reason is err without the addresses that the net package writes into it.
func reason(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there (connection refused)"
	case errors.Is(err, os.ErrNotExist):
		return "its socket file does not exist"
	case errors.Is(err, os.ErrPermission):
		return "this user may not open it (permission denied)"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "no network path leads there"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "no answer came in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it closed the connection"
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}
