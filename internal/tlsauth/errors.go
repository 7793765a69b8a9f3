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
	"strings"
	"syscall"
	"time"

	"xmpp-gw/policy"
)

// The kinds of failure, for errors.Is. Every error of [Client] is one of them,
// or the end of the caller's context.
var (
	ErrRefused     = errors.New("refused by policy")         // before anything was sent
	ErrFile        = errors.New("file unusable")             // a file that the configuration names
	ErrExpired     = errors.New("certificate expired")       // or one of those it hangs on
	ErrNotYetValid = errors.New("certificate not yet valid") // or this machine's clock is wrong
	ErrOtherName   = errors.New("certificate of another name")
	ErrUntrusted   = errors.New("certificate of no trusted authority")
	ErrPin         = errors.New("key is none of the pinned ones")
	ErrPinChanged  = errors.New("key changed")
	ErrVersion     = errors.New("TLS version too old")
	ErrPQ          = errors.New("no post-quantum key exchange")
	ErrProtocol    = errors.New("another protocol behind TLS") // ALPN
	ErrHandshake   = errors.New("handshake failed")            // cut off, or no TLS at all
	ErrTimeout     = errors.New("handshake timed out")
)

// Error is a server that could not be reached by TLS or did not prove to be the
// domain's.
type Error struct {
	Kind error  // one of the package's Err values
	What string // what happened
	Why  string // why, as far as it is known
	Hint string // what the person can do
	Err  error  // the cause, which may name addresses; nil if there is none
}

// Error is one sentence: what happened, why, and what to do.
func (e *Error) Error() string {
	s := e.What
	if e.Why != "" {
		s += ": " + e.Why
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// section names the place in the configuration for a domain's own settings.
func section(domain string) string { return fmt.Sprintf("[domain.%q]", domain) }

// date is how an error gives a day.
func date(t time.Time) string { return t.UTC().Format("2006-01-02") }

// handshakeError turns what crypto/tls says into a sentence. What our own
// verification said comes through as it is.
func handshakeError(ctx context.Context, d policy.Decision, err error) error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx)
	}
	domain := d.Target.Domain
	fail := func(kind error, why, hint string) error {
		return &Error{Kind: kind, What: "no TLS with the server of " + domain, Why: why, Hint: hint, Err: err}
	}
	var notTLS tls.RecordHeaderError
	var op *net.OpError
	var netErr net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return fail(ErrTimeout, "it did not finish the handshake in time", "try again later")
	case errors.As(err, &notTLS):
		return fail(ErrHandshake, "what answers there does not speak TLS", "check the endpoint's scheme and port (starttls:// or tls://)")
	case tooOld(err):
		if effectiveMin(d) > tls.VersionTLS12 && d.PQ != policy.PQRequire {
			return fail(ErrVersion, "it does not speak TLS 1.3", `if it can do no better, set min_tls = "1.2" in `+section(domain))
		}
		return fail(ErrVersion, "it does not speak TLS "+policy.TLSVersion(effectiveMin(d)).String()+" or later", "ask its operator to update it")
	case isAlert(err, alertNoApplicationProtocol):
		return fail(ErrProtocol, "the port serves other protocols than XMPP clients (ALPN)", "check the endpoint")
	case isAlert(err, alertHandshakeFailure) && d.PQ == policy.PQRequire:
		return fail(ErrPQ, "it shares no key exchange with us, and only X25519MLKEM768 is allowed", `set pq = "prefer" in `+section(domain)+" if that is not needed")
	case isAlert(err, alertHandshakeFailure):
		return fail(ErrHandshake, "it shares no cipher suite or key exchange with us", "ask its operator to update it")
	case isAlert(err, alertUnrecognizedName):
		return fail(ErrHandshake, "it says that it does not serve this domain", "check the domain and the endpoint")
	case isAlert(err, alertCertificateRequired), isAlert(err, alertBadCertificate), isAlert(err, alertUnknownCA):
		return fail(ErrHandshake, "it refused our side's certificate or wants one", "check client_cert in "+section(domain))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return fail(ErrHandshake, "the connection was cut during the handshake", "try again; if it stays so, somebody on the way may be blocking it")
	case errors.As(err, &op): // its own text has addresses in it
		return fail(ErrHandshake, clean(op.Err.Error(), 120), "")
	}
	return fail(ErrHandshake, clean(err.Error(), 120), "")
}

// The alerts that get a sentence of their own (RFC 8446 §6).
const (
	alertHandshakeFailure      tls.AlertError = 40
	alertBadCertificate        tls.AlertError = 42
	alertUnknownCA             tls.AlertError = 48
	alertProtocolVersion       tls.AlertError = 70
	alertUnrecognizedName      tls.AlertError = 112
	alertCertificateRequired   tls.AlertError = 116
	alertNoApplicationProtocol tls.AlertError = 120
)

// isAlert reports whether err is that alert from the server. crypto/tls has an
// exported type for alerts and returns another one with the same text.
func isAlert(err error, alert tls.AlertError) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == alert.Error()
}

// tooOld reports whether the server answered with a version below ours. One
// that knows of newer versions sends an alert; for one that does not, crypto/tls
// has only a text.
func tooOld(err error) bool {
	return isAlert(err, alertProtocolVersion) || strings.Contains(err.Error(), "unsupported protocol version") ||
		strings.Contains(err.Error(), "protocol version not supported")
}

// clean makes a text that the other side had a hand in fit to be shown: what
// does not print is replaced, and length is bounded.
func clean(s string, most int) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() >= most {
			b.WriteString("…")
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// chainError turns what crypto/x509 says of a chain into a sentence.
func chainError(domain string, leaf *x509.Certificate, now time.Time, err error) error {
	fail := func(kind error, why, hint string) error {
		return &Error{Kind: kind, What: "the certificate of " + domain + " is not valid", Why: why, Hint: hint, Err: err}
	}
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		cert, whose := invalid.Cert, "it"
		if cert == nil {
			cert = leaf
		}
		if !cert.Equal(leaf) {
			whose = "the certificate of its authority"
		}
		if now.Before(cert.NotBefore) {
			return fail(ErrNotYetValid, whose+" is valid only from "+date(cert.NotBefore)+", and this machine says it is "+date(now),
				"check this machine's clock")
		}
		return fail(ErrExpired, whose+" expired on "+date(cert.NotAfter), "the operator has to renew it; check this machine's clock if it is fine elsewhere")
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return fail(ErrUntrusted, "it was not issued for servers (extended key usage)", "the operator needs another one")
	case errors.As(err, &invalid) && (invalid.Reason == x509.CANotAuthorizedForThisName || invalid.Reason == x509.CANotAuthorizedForExtKeyUsage):
		return fail(ErrUntrusted, "its authority may not issue such certificates (name or usage constraints)", "the operator needs another one")
	case errors.As(err, &unknown):
		why := "no authority that this machine trusts issued it"
		if string(leaf.RawIssuer) == string(leaf.RawSubject) {
			why = "it is self-signed"
		}
		return fail(ErrUntrusted, why, fmt.Sprintf("for a server of your own, name its authority (ca = \"FILE\") or its key (tls = \"pin\", pins = [%q], once compared with the server's) in %s",
			SPKI(leaf), section(domain)))
	}
	return fail(ErrUntrusted, clean(err.Error(), 120), "")
}
