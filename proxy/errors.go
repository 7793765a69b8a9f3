package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/internal/websocket"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// Refused is an upstream that was reached and must not be used. Text is a
// sentence for the person at the client.
type Refused struct {
	class string
	Text  string
}

func (e *Refused) Error() string { return e.Text }

// serverError is a stream error of the server during the negotiation.
type serverError struct{ condition, text string }

func (e *serverError) Error() string { return "the server ended the stream: " + e.condition }

// upstreamLost is an upstream leg that broke, in the middle of its negotiation
// or later.
type upstreamLost struct {
	err         error
	negotiating bool
}

func (e *upstreamLost) Error() string { return "the upstream leg broke: " + e.err.Error() }
func (e *upstreamLost) Unwrap() error { return e.err }

// describe is the class, the stream error condition and the sentence.
func (e *upstreamLost) describe() (class, condition, text string) {
	var stream *xmppstream.Error
	var timeout net.Error
	condition = xmppstream.RemoteConnFailed
	switch {
	case errors.As(e.err, &stream):
		return "garbage", condition, "The server sent what is not allowed in XMPP (" + stream.Condition + "); the gateway ended the stream."
	case errors.Is(e.err, errNoAnswer):
		return "silent", condition, "The server did not answer for a while: the circuit or the connection is dead. Connect again."
	case e.negotiating && errors.As(e.err, &timeout) && timeout.Timeout():
		return "stalled", condition, "The server accepted the connection and then did not answer in time."
	case e.negotiating:
		return "hung-up", condition, "The server, or the route to it, closed the connection while it was being set up."
	}
	return "lost", condition, "The connection between the gateway and the server broke. Connect again."
}

// Ends that are not errors of anybody, or not of the network.
var (
	errFinished           = errors.New("both halves closed")
	errMoved              = errors.New("the server sent the client elsewhere")
	errNoAnswer           = errors.New("no answer to a ping")
	errServerRenegotiates = &Refused{class: "protocol", Text: "The server started to negotiate again in the middle of the session; the gateway ended it."}
)

// what one party is told at the end.
type farewell uint8

const (
	cutting farewell = iota // nothing: the connection just closes
	leaving                 // nothing more, once what was said has arrived
	closing                 // </stream:stream>
	telling                 // a stream error
)

// ending is how a session ends.
type ending struct {
	class     string // for logs and metrics: a word, no data
	toClient  farewell
	toServer  farewell
	condition string // of the stream error (RFC 6120 §4.9.3)
	text      string // for the person at the client
	quiet     bool   // an everyday end, not worth a warning
	upstream  bool   // the far side's doing, counted as such
}

// endingFor turns the reason for an end into what each party is told. With
// resumable, the server (XEP-0198) keeps the session for a client that was cut
// off, so a lost connection is passed on as just that: a stream error or a
// </stream:stream> would end what could have been resumed.
func endingFor(cause error, resumable bool) ending {
	var (
		stream  *xmppstream.Error
		lost    *upstreamLost
		refused *Refused
		server  *serverError
		moved   *redirect
		blocked *policy.Refusal
		route   *egress.Error
		cert    *tlsauth.Error
		sasl    *saslauth.Error
		dns     *resolve.Error
		web     *websocket.Error
		onion   *onionFailed

		handshake *clientTLSError
		local     *localFile
		authority *certificateRefused
	)
	polite := closing
	if resumable {
		polite = cutting
	}
	upstream := func(class, condition, text string) ending {
		return ending{class: class, toClient: telling, toServer: closing, condition: condition, text: text, upstream: true}
	}
	switch {
	case errors.As(cause, &onion):
		e := endingFor(onion.err, resumable)
		if e.toClient == telling {
			e.text = onion.with(e.text)
		}
		return e
	case errors.Is(cause, errFinished):
		return ending{class: "closed", toClient: closing, toServer: closing, quiet: true}
	case errors.Is(cause, errClientGone):
		return ending{class: "client-gone", toClient: cutting, toServer: polite, quiet: true}
	case errors.Is(cause, errShutdown):
		return ending{class: "shutdown", toClient: telling, toServer: polite, quiet: true,
			condition: xmppstream.SystemShutdown, text: "The gateway is shutting down."}
	case errors.Is(cause, errMoved):
		return ending{class: "moved", toClient: telling, toServer: closing, quiet: true, condition: xmppstream.Reset,
			text: "The server wants its clients to connect anew; the gateway finds out where when you do."}
	case errors.Is(cause, errWrongProtocol):
		return ending{class: "wrong-protocol", toClient: leaving, quiet: true}
	case errors.Is(cause, errNoServerName):
		return ending{class: "no-sni", toClient: leaving}
	case errors.As(cause, &local):
		return ending{class: "local-file", toClient: telling, condition: xmppstream.InternalServerError,
			text: "The gateway cannot use a file that its configuration names (" + local.key + "); its log says more."}
	case errors.As(cause, &authority):
		return ending{class: "authority", toClient: telling, condition: xmppstream.PolicyViolation,
			text: "The gateway's authority on this machine makes no certificate for this domain. Give the domain a section in the configuration, and install the authority anew."}
	case errors.As(cause, &handshake):
		return ending{class: "client-tls", toClient: leaving}
	case errors.As(cause, &refused):
		return upstream(refused.class, xmppstream.PolicyViolation, refused.Text)
	case errors.As(cause, &web):
		return upstream("websocket", xmppstream.RemoteConnFailed, web.Error())
	case errors.As(cause, &moved): // too late to follow: it came after the features
		return upstream("redirect", xmppstream.PolicyViolation, "The server sent us to another host in the middle of the login, where the gateway does not follow.")
	case errors.As(cause, &lost):
		e := upstream(lost.describe())
		if resumable && e.class != "garbage" {
			e.toClient, e.toServer = cutting, cutting
		}
		return e
	case errors.As(cause, &stream):
		return ending{class: "client-" + stream.Condition, toClient: telling, toServer: closing, condition: stream.Condition, text: stream.Text}
	case errors.As(cause, &blocked):
		return ending{class: "blocked", toClient: telling, condition: xmppstream.PolicyViolation, text: blocked.Error()}
	case errors.As(cause, &route):
		return upstream("unreachable", xmppstream.RemoteConnFailed, route.Error())
	case errors.As(cause, &dns) && unproven(cause):
		return upstream("dns", xmppstream.PolicyViolation, dns.Error())
	case errors.As(cause, &dns):
		return upstream("dns", xmppstream.RemoteConnFailed, dns.Error())
	case errors.As(cause, &cert):
		return upstream("tls", xmppstream.PolicyViolation, cert.Error())
	case errors.As(cause, &sasl):
		return upstream("sasl", xmppstream.PolicyViolation, sasl.Error())
	case errors.As(cause, &server):
		return upstream("server-"+server.condition, conditionFromServer(server.condition), server.sentence())
	case errors.Is(cause, io.EOF), errors.Is(cause, context.Canceled):
		return ending{class: "client-gone", toClient: cutting, toServer: polite, quiet: true}
	case errors.Is(cause, os.ErrDeadlineExceeded):
		return ending{class: "timeout", toClient: telling, toServer: closing, condition: xmppstream.ConnectionTimeout,
			text: "Nothing came for too long."}
	case isNetError(cause):
		return ending{class: "client-gone", toClient: cutting, toServer: polite, quiet: true}
	}
	return ending{class: "internal", toClient: telling, toServer: closing, condition: xmppstream.InternalServerError,
		text: "The gateway failed inside; its log says more."}
}

// conditionFromServer passes a server's stream error condition on where it says
// the client something.
func conditionFromServer(condition string) string {
	switch condition {
	case xmppstream.HostUnknown, xmppstream.HostGone, xmppstream.SystemShutdown,
		xmppstream.ResourceConstraint, xmppstream.PolicyViolation:
		return condition
	}
	return xmppstream.RemoteConnFailed
}

// sentence says what the server said.
func (e *serverError) sentence() string {
	s := "The server ended the stream (" + e.condition
	if e.text != "" {
		s += ": " + saslauth.CleanText(e.text)
	}
	return s + ")."
}

// isRefusal reports whether err is a judgement about a server that was reached,
// rather than a failure to reach it.
func isRefusal(err error) bool {
	var refused *Refused
	var cert *tlsauth.Error
	var sasl *saslauth.Error
	var web *websocket.Error
	return errors.As(err, &refused) || errors.As(err, &cert) || errors.As(err, &sasl) || errors.As(err, &web) || unproven(err)
}

// unproven reports whether err is a judgement about what DNS says.
func unproven(err error) bool {
	return errors.Is(err, resolve.ErrBogus) || errors.Is(err, resolve.ErrInsecure)
}

// isNetError reports whether err is of a connection rather than of what came
// over it.
func isNetError(err error) bool {
	var op net.Error
	var record tls.RecordHeaderError
	return errors.As(err, &record) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.As(err, &op)
}
