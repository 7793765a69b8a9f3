package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/wire"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// negotiate brings a client from its first byte to the point where stanzas can
// pass. A nil error means that both legs are ready for splice (or that
// passthrough took over).
func (s *session) negotiate() error {
	kind, err := wire.Sniff(s.client.wire)
	if err != nil {
		if s.kind == STARTTLS {
			s.setClient(s.client.wire) // it can be told that its time is over
		}
		return err
	}
	switch {
	case kind == wire.OpeningHTTP:
		return s.answerHTTP()
	case s.kind == DirectTLS && kind != wire.OpeningTLS:
		return s.refusePlaintext()
	case s.kind == DirectTLS:
		return s.directTLS()
	case kind == wire.OpeningTLS:
		return s.refuseTLS()
	}
	first := s.openClient()
	if err := s.clientHeader(); err != nil {
		return err
	}
	if s.hosted() {
		return s.handOver(first.seen)
	}
	first.forget()
	if s.decision.SASL == policy.Passthrough {
		return s.passSTARTTLS()
	}
	return s.clientSTARTTLS()
}

// answerHTTP tells a web client where it landed.
func (s *session) answerHTTP() error {
	const page = "This is an XMPP port, not a web server. Point an XMPP client at it.\n"
	_, _ = s.socket.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
		"Content-Length: 68\r\nConnection: close\r\n\r\n" + page))
	return errWrongProtocol
}

// refusePlaintext answers a stream header on the direct TLS port, in the clear
// because that is what the client reads.
func (s *session) refusePlaintext() error {
	s.setClient(s.client.wire)
	return &xmppstream.Error{Condition: xmppstream.PolicyViolation,
		Text: "This port speaks TLS from the first byte (direct TLS). Use the STARTTLS port, 5222, or switch the client to direct TLS."}
}

// refuseTLS answers a TLS handshake on the STARTTLS port with the fatal alert
// unexpected_message (RFC 8446 §6), which TLS libraries report by name.
func (s *session) refuseTLS() error {
	s.sendAlert(alertUnexpectedMessage)
	return errWrongProtocol
}

// TLS alerts (RFC 8446 §6).
const (
	alertUnexpectedMessage = 10
	alertUnrecognizedName  = 112
)

// sendAlert ends a TLS handshake that has not been answered yet.
func (s *session) sendAlert(alert byte) {
	const record, fatal = 0x15, 2
	_, _ = s.socket.Write([]byte{record, 0x03, 0x03, 0x00, 0x02, fatal, alert})
}

var errWrongProtocol = errors.New("the client speaks another protocol")

// clientHeader reads the client's stream header and asks policy about its
// domain. On a stream that is restarted, the domain must stay the same.
func (s *session) clientHeader() error {
	h, err := s.client.r.ReadHeader()
	if err != nil {
		return err
	}
	switch {
	case h.ContentNS != xmppstream.NSClient:
		return &xmppstream.Error{Condition: xmppstream.InvalidNamespace, Text: "Only clients are served here (jabber:client)."}
	case h.To == "": // RFC 6120 §4.7.2
		return &xmppstream.Error{Condition: xmppstream.ImproperAddressing, Text: "The stream header does not say which domain is meant (to)."}
	case h.Version != "1.0": // RFC 6120 §4.7.5
		return &xmppstream.Error{Condition: xmppstream.UnsupportedVersion, Text: "Only XMPP 1.0 is spoken here."}
	}
	domain, err := policy.NormalizeDomain(h.To)
	if err != nil {
		return &xmppstream.Error{Condition: xmppstream.HostUnknown, Text: "The stream header's domain is not a domain."}
	}
	s.lang = h.Lang
	s.asked = h.To
	if s.domain != "" {
		if s.domain != domain {
			return &xmppstream.Error{Condition: xmppstream.HostUnknown, Text: "The stream is for another domain than before."}
		}
		return nil
	}
	s.domain = domain
	if s.hosted() {
		return nil // no rule is for it
	}
	return s.decide()
}

// decide asks policy about the client's domain.
func (s *session) decide() error {
	d, err := s.live.Decide(policy.Target{Domain: s.domain})
	d.Why = nil // is for explain; a session that lasts for days need not hold it
	s.mu.Lock()
	s.name, s.decision = policy.DisplayDomain(s.domain), d
	s.mu.Unlock()
	s.info.set(func(n *SessionInfo) {
		n.Domain = s.domain
		n.Route = d.Route.String()
		n.Mode = d.SASL.String()
	})
	return err
}

// respondHeader opens our stream toward the client (RFC 6120 §4.7).
func (s *session) respondHeader() error {
	s.mu.Lock()
	s.opened = true
	s.mu.Unlock()
	return s.client.w.Header(xmppstream.Header{From: s.name, ID: randomID(), Lang: "en"})
}

// restartClient expects a new header of the client, as after SASL; ours is due
// as well.
func (s *session) restartClient() {
	s.client.r.Restart()
	s.mu.Lock()
	s.opened = false
	s.mu.Unlock()
}

// clientSTARTTLS offers STARTTLS on the stream that has begun and goes on inside
// it; where the owner lets loopback clients stay in the clear, a login without
// TLS is taken as well.
func (s *session) clientSTARTTLS() error {
	optional := s.live.PlaintextLoopback && isLocal(s.socket)
	if err := s.respondHeader(); err != nil {
		return err
	}
	starttls := "<starttls xmlns='" + xmppstream.NSTLS + "'><required/></starttls>"
	if optional {
		starttls = "<starttls xmlns='" + xmppstream.NSTLS + "'/>"
		if s.decision.SASL == policy.Relay {
			// The server's own mechanisms are what the client must see, so the
			// upstream leg comes first.
			s.info.set(func(n *SessionInfo) { n.ClientTLS = "none" })
			return s.relayLogin(starttls)
		}
		starttls += string(s.loginFeatures())
	}
	if err := s.client.Send([]byte("<stream:features>" + starttls + "</stream:features>")); err != nil {
		return err
	}
	e, err := s.nextFromClient()
	if err != nil {
		return err
	}
	if e.Is(xmppstream.NSTLS, "starttls") {
		return s.upgradeClient()
	}
	if !optional {
		return &xmppstream.Error{Condition: xmppstream.PolicyViolation, Text: "Encryption comes first here: the client must use STARTTLS."}
	}
	s.info.set(func(n *SessionInfo) { n.ClientTLS = "none" })
	return s.login(e)
}

// upgradeClient answers <starttls/> and goes on inside TLS.
func (s *session) upgradeClient() error {
	if err := s.nothingBehindSTARTTLS(); err != nil {
		return err
	}
	conf, err := s.gw.cfg.Certificates.ServerConfig(s.domain)
	if err != nil {
		return &certificateRefused{err}
	}
	if err := s.proceed(); err != nil {
		return err
	}
	return s.insideTLS(conf)
}

// nothingBehindSTARTTLS ends the stream when the client, or somebody before it,
// sent something in the clear behind <starttls/> (never 4). Whitespace is
// dropped: RFC 6120 §5.3.3 forbids it, go-sendxmpp sends a line end
// nevertheless, and nobody reads it.
func (s *session) nothingBehindSTARTTLS() error {
	s.client.r.DropSpace()
	s.client.wire.DropSpace()
	if s.client.waiting() {
		return &xmppstream.Error{Condition: xmppstream.PolicyViolation, Text: "Bytes in the clear came behind the request for encryption."}
	}
	return nil
}

// proceed tells the client to start TLS and waits until it does. The line end of
// a client that sends one may come as late as now. Nothing more is said in the
// clear: the client would take it for TLS.
func (s *session) proceed() error {
	if err := s.client.Send([]byte("<proceed xmlns='" + xmppstream.NSTLS + "'/>")); err != nil {
		return err
	}
	s.mu.Lock()
	s.client.w = nil
	s.mu.Unlock()
	const patience = 4
	for range patience {
		kind, err := wire.Sniff(s.client.wire)
		if err != nil || kind == wire.OpeningTLS {
			return err
		}
		if s.client.wire.DropSpace() == 0 {
			break
		}
	}
	return errWrongProtocol
}

// directTLS serves a client that starts with TLS (XEP-0368): the server name in
// its first message is the domain.
func (s *session) directTLS() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.live.Limits.Negotiation)
	defer cancel()
	name, err := wire.ClientHello(ctx, s.client.wire)
	if err != nil {
		return err
	}
	domain, err := policy.NormalizeDomain(name)
	if err != nil {
		s.sendAlert(alertUnrecognizedName)
		return errNoServerName
	}
	s.domain = domain
	if s.hosted() {
		return s.handOver(nil)
	}
	refusal := s.decide()
	if refusal == nil && s.decision.SASL == policy.Passthrough {
		return s.passDirectTLS()
	}
	conf, err := s.gw.cfg.Certificates.ServerConfig(domain)
	if err != nil {
		s.sendAlert(alertUnrecognizedName) // a domain outside the CA's constraints
		return cmp.Or[error](refusal, &certificateRefused{err})
	}
	if refusal == nil {
		return s.insideTLS(conf)
	}
	// Outside TLS the client would see no more of the refusal than an end.
	if err := s.secureClient(conf); err != nil {
		return err
	}
	return refusal
}

var errNoServerName = errors.New("the client's TLS names no domain (SNI)")

// secureClient shakes hands with the client.
func (s *session) secureClient(conf *tls.Config) error {
	s.client.wire.StartTLS()
	inner := tls.Server(s.client.wire, conf)
	ctx, cancel := context.WithTimeout(s.ctx, s.live.Limits.Negotiation)
	defer cancel()
	if err := inner.HandshakeContext(ctx); err != nil {
		return &clientTLSError{err}
	}
	s.secure = true
	s.setClient(inner)
	version := tls.VersionName(inner.ConnectionState().Version)
	s.info.set(func(n *SessionInfo) { n.ClientTLS = version })
	return nil
}

// insideTLS shakes hands with the client and serves it inside TLS.
func (s *session) insideTLS(conf *tls.Config) error {
	if err := s.secureClient(conf); err != nil {
		return err
	}
	if err := s.clientHeader(); err != nil {
		return err
	}
	if err := s.respondHeader(); err != nil {
		return err
	}
	if s.decision.SASL == policy.Relay {
		return s.relayLogin("")
	}
	if err := s.client.Send([]byte("<stream:features>" + string(s.loginFeatures()) + "</stream:features>")); err != nil {
		return err
	}
	e, err := s.nextFromClient()
	if err != nil {
		return err
	}
	return s.login(e)
}

// certificateRefused is a domain for which the machine's authority makes no
// certificate, most often because it is constrained to others.
type certificateRefused struct{ err error }

func (e *certificateRefused) Error() string { return e.err.Error() }
func (e *certificateRefused) Unwrap() error { return e.err }

// clientTLSError is a TLS handshake with the client that failed: most often a
// client that does not trust the machine's own CA.
type clientTLSError struct{ err error }

func (e *clientTLSError) Error() string { return "TLS with the client failed: " + e.err.Error() }
func (e *clientTLSError) Unwrap() error { return e.err }

// loginFeatures is what is offered to a client that logs in to the gateway.
func (s *session) loginFeatures() []byte {
	f := saslauth.ClientFeatures(s.secure)
	if s.decision.Registration == policy.RegistrationAllow {
		f = append(f, "<register xmlns='"+xmppstream.NSRegFeat+"'/>"...)
	}
	return f
}

// nextFromClient is the client's next element during the negotiation; keepalives
// are skipped, and </stream:stream> is its going away.
func (s *session) nextFromClient() (*xmppstream.Element, error) {
	for {
		e, err := s.client.r.Next()
		if err != nil {
			return nil, err
		}
		switch e.Kind {
		case xmppstream.Whitespace:
			continue
		case xmppstream.End:
			return nil, errFinished
		}
		return e, nil
	}
}

// isLocal reports whether conn cannot have crossed a network.
func isLocal(conn net.Conn) bool {
	switch a := conn.RemoteAddr().(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	}
	return false
}

// pause is what a wrong password costs before the answer, so that guessing over
// the gateway is slow (RFC 6120 §13.8.3).
const pause = 500 * time.Millisecond
