package tlsauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"

	"xmpp-gw/internal/sentence"
	"xmpp-gw/policy"
)

// The kinds of failure, for errors.Is. Every error of this package is an
// [*Error] of one of them, or the end of the caller's context.
var (
	ErrSettings    = errors.New("refused by the settings") // incomplete or contradicting; nothing was sent
	ErrExpired     = errors.New("certificate expired")
	ErrNotYet      = errors.New("certificate not valid yet")
	ErrName        = errors.New("certificate of another name")
	ErrAuthority   = errors.New("unknown certificate authority") // self-signed too
	ErrCertificate = errors.New("unusable certificate")          // wrong use, broken, forbidden to its authority
	ErrPin         = errors.New("another key than the pinned")
	ErrTLSA        = errors.New("another key than DNS says")         // or none, where only DNS may say
	ErrKeyChanged  = errors.New("another key than seen before")      // trust on first use, strict
	ErrWitness     = errors.New("another key over a second circuit") // or none
	ErrUnlogged    = errors.New("certificate that no log vouches for")
	ErrRevoked     = errors.New("certificate revoked")
	ErrVersion     = errors.New("TLS version too low")
	ErrPQ          = errors.New("no post-quantum key exchange") // although required
	ErrALPN        = errors.New("another protocol than XMPP")
	ErrNotTLS      = errors.New("no TLS at the other end")
	ErrCut         = errors.New("connection cut in the handshake")
	ErrTimeout     = errors.New("TLS handshake timed out")
	ErrHandshake   = errors.New("TLS handshake failed") // for any other reason
)

// Error is a server that was not accepted.
type Error struct {
	What string // what happened
	Why  string // why, as far as it is known
	Hint string // what the person can do
	Kind error  // one of the package's Err values
	Err  error  // the cause, which may name addresses; nil if there is none
}

// Error is one sentence: what happened, why, and what to do.
func (e *Error) Error() string { return sentence.Of(e.What, e.Why, e.Hint) }

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error { return sentence.Causes(e.Kind, e.Err) }

// The alerts that say more than "no" (RFC 8446 §6, RFC 7301 §3.2).
const (
	alertHandshakeFailure     = 40
	alertProtocolVersion      = 70
	alertInsufficientSecurity = 71
	alertUnrecognizedName     = 112
	alertNoALPN               = 120
)

// handshakeError says what a failed handshake means.
func (v *verifier) handshakeError(ctx context.Context, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // the caller gave up
	}
	e := &Error{Kind: ErrHandshake, Err: err}
	var header tls.RecordHeaderError
	var ne net.Error
	code, alerted := alertOf(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		e.Kind = ErrTimeout
		e.What = "the server of " + v.domain + " did not finish the TLS handshake in time"
		e.Hint = "it or the route to it is stuck or overloaded: try again later"
	case errors.As(err, &header):
		e.Kind = ErrNotTLS
		e.What = "the server of " + v.domain + " does not speak TLS here"
		e.Why = "it sent something else when TLS was started"
		e.Hint = "check the port and whether the endpoint is written starttls:// or tls://"
	case alerted:
		return v.alertError(code, err)
	case strings.Contains(err.Error(), "selected unsupported protocol version"):
		// A server that knows only old versions answers with one of them, and
		// crypto/tls has no more than this text for it.
		return v.tooOld(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Kind = ErrCut
		e.What = "the connection to the server of " + v.domain + " was cut in the TLS handshake"
		e.Why = "the server, or somebody on the way, closed it"
		e.Hint = "try again; if it stays so, the network may block the server: try another route"
	default:
		e.What = "the TLS handshake with the server of " + v.domain + " failed"
		e.Why = withoutAddress(err)
		e.Hint = "tell the server's operator"
	}
	return e
}

// alertError is the server's own word on why it ended the handshake.
func (v *verifier) alertError(code uint8, err error) *Error {
	e := &Error{Kind: ErrHandshake, Err: err, What: "the server of " + v.domain + " ended the TLS handshake"}
	refused := code == alertHandshakeFailure || code == alertInsufficientSecurity
	switch {
	case code == alertProtocolVersion:
		return v.tooOld(err)
	case refused && v.decision.PQ == policy.PQRequire:
		return v.notPostQuantum(err)
	case refused:
		e.Why = "it knows none of the ciphers and key exchanges that are allowed here"
		e.Hint = "ask its operator to update it"
	case code == alertUnrecognizedName:
		e.Kind = ErrName
		e.Why = "it says that it does not serve " + v.domain
		e.Hint = "check the domain and the endpoint; if they are right, tell the server's operator"
	case code == alertNoALPN:
		e.Kind = ErrALPN
		e.Why = "it does not serve XMPP clients on this port"
		e.Hint = hintPort
		if v.endpoint.Transport == policy.WebSocket {
			e.Why, e.Hint = "it serves no HTTP/1.1 there, which a WebSocket begins with", "check host and port of the wss:// endpoint"
		}
	default:
		e.Why = fmt.Sprintf("it sent the alert %q", withoutAddress(err))
		e.Hint = "tell the server's operator"
	}
	return e
}

const hintPort = "check the port; direct TLS for XMPP clients is usually on 5223"

// tooOld is a server whose best version of TLS is not enough.
func (v *verifier) tooOld(err error) *Error {
	return &Error{Kind: ErrVersion, What: "the server of " + v.domain + " does not speak " + tls.VersionName(v.minVersion()), Err: err,
		Hint: "ask its operator to update it" + v.hintOldServer(", or, until then, set ")}
}

// notPostQuantum is a server that does not know the key exchange that is
// required.
func (v *verifier) notPostQuantum(err error) *Error {
	why := "X25519MLKEM768 is required here, and it ended the handshake with it"
	if err == nil {
		why = "X25519MLKEM768 is required here, and it chose another key exchange"
	}
	return &Error{Kind: ErrPQ, What: "the server of " + v.domain + " has no post-quantum key exchange", Err: err, Why: why,
		Hint: `set pq = "prefer" in ` + v.section() + ", or ask its operator to update it"}
}

// hintOldServer is the way to an old server, where there is one left.
func (v *verifier) hintOldServer(before string) string {
	if v.minVersion() < tls.VersionTLS13 || v.decision.PQ == policy.PQRequire {
		return ""
	}
	return before + `min_tls = "1.2" in ` + v.section()
}

// section is where the domain's own settings go.
func (v *verifier) section() string { return `[domain."` + v.domain + `"]` }

// alertOf is the code of an alert that the peer sent. The standard library keeps
// the alert's type to itself, but it is a number.
func alertOf(err error) (code uint8, ok bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0, false
	}
	n := reflect.ValueOf(op.Err)
	if n.Kind() != reflect.Uint8 {
		return 0, false
	}
	return uint8(n.Uint()), true
}

// withoutAddress is err's text without the addresses that package net puts
// into it.
func withoutAddress(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	return printable(err.Error(), 200)
}

// printable is at most n bytes of s, which came from the far end, with anything
// but printable ASCII replaced.
func printable(s string, n int) string {
	b := []byte(s)
	cut := len(b) > n
	if cut {
		b = b[:n]
	}
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	if cut {
		return string(b) + "…"
	}
	return string(b)
}

// chainError says what is wrong with the server's certificate.
func (v *verifier) chainError(leaf *x509.Certificate, err error) *Error {
	e := &Error{Kind: ErrCertificate, Err: err, What: "the certificate of the server of " + v.domain + " cannot be used"}
	own := "; if it is a server of your own, set tls = \"pin\" and pins = [\"" + SPKI(leaf) + "\"] in " + v.section()
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var roots x509.SystemRootsError
	switch {
	case errors.As(err, &unknown) && string(leaf.RawIssuer) == string(leaf.RawSubject):
		e.Kind = ErrAuthority
		e.What = "the certificate of the server of " + v.domain + " is self-signed"
		e.Why = "nobody but the server itself says whose it is"
		e.Hint = "do not go on unless you can compare its key with the operator's" + own
	case errors.As(err, &unknown):
		e.Kind = ErrAuthority
		e.What = "the certificate of the server of " + v.domain + " is from an unknown authority"
		e.Why = "it was issued by " + issuer(leaf) + ", which this machine does not trust, or the server does not send the certificates in between"
		e.Hint = `if you trust that authority, name its file with ca = "FILE" in ` + v.section() + own
	case errors.As(err, &roots):
		e.Kind = ErrAuthority
		e.Why = "this machine has no list of trusted authorities"
		e.Hint = "install it, on Debian with: sudo apt install ca-certificates"
	case errors.As(err, &invalid):
		v.explainInvalid(e, leaf, invalid)
	default:
		e.Why = withoutAddress(err)
		e.Hint = "tell the server's operator"
	}
	return e
}

func (v *verifier) explainInvalid(e *Error, leaf *x509.Certificate, invalid x509.CertificateInvalidError) {
	e.Hint = "tell the server's operator"
	cert := invalid.Cert
	if cert == nil {
		cert = leaf
	}
	whose := "the certificate of the server of " + v.domain
	if !cert.Equal(leaf) {
		whose = "a certificate that the server of " + v.domain + " relies on"
	}
	const day = "2006-01-02 15:04 MST"
	switch invalid.Reason {
	case x509.Expired:
		if v.now.Before(cert.NotBefore) {
			e.Kind = ErrNotYet
			e.What = whose + " is not valid yet"
			e.Why = "it begins on " + cert.NotBefore.UTC().Format(day) + " and this machine's clock says " + v.now.UTC().Format(day)
			e.Hint = "check the clock of this machine; if it is right, tell the server's operator"
			return
		}
		e.Kind = ErrExpired
		e.What = whose + " has expired"
		e.Why = "it ended on " + cert.NotAfter.UTC().Format(day)
		e.Hint = "its operator has to renew it; check also that the clock of this machine is right (it says " + v.now.UTC().Format(day) + ")"
	case x509.IncompatibleUsage:
		e.Why = "it was issued for another purpose than a server"
	case x509.CANotAuthorizedForThisName:
		e.Why = "its authority may not issue certificates for such names"
	default:
		e.Why = withoutAddress(invalid)
	}
}

// issuer is the name that a certificate gives its authority.
func issuer(c *x509.Certificate) string {
	for _, s := range []string{c.Issuer.CommonName, first(c.Issuer.Organization)} {
		if s != "" {
			return `"` + printable(s, 64) + `"`
		}
	}
	return "an authority without a name"
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
