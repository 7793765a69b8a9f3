package tlsauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"time"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/dane"
	"xmpp-gw/policy"
)

// alpn is the protocol that a transport asks for: direct TLS has one of its own
// (XEP-0368 §4), a WebSocket begins as HTTP (RFC 6455 §1.3; HTTP/2 has another
// handshake), and in a stream that was upgraded there is none to choose.
func alpn(t policy.Transport) string {
	switch t {
	case policy.DirectTLS:
		return "xmpp-client"
	case policy.WebSocket:
		return "http/1.1"
	}
	return ""
}

// Options say whom to expect.
type Options struct {
	// Decision is what policy demands; its zero value is refused.
	Decision policy.Decision
	// Endpoint is what was reached. It says which protocol goes inside TLS and
	// whether an onion address is the proof; its host is never a name to verify, but
	// where TLSA says so.
	Endpoint policy.Endpoint
	// TLSA is what DNS proves of the endpoint's key; needed where the decision says
	// "dane" or "dane-only".
	TLSA  *dane.Set
	Roots *x509.CertPool   // the trusted authorities; nil: the system's
	Pins  *PinStore        // nil: keys are not remembered
	Logs  *ct.List         // of Certificate Transparency; nil: those that are built in
	Now   func() time.Time // nil: time.Now

	// Witness is a second look over another circuit; nil where the route has none, and
	// for an onion address that something better than one circuit vouches for.
	Witness Look
}

// Result is what is known of a server that was accepted.
type Result struct {
	Version string // "1.3"
	Cipher  string // "TLS_AES_128_GCM_SHA256"
	Group   string // of the key exchange: "X25519MLKEM768"

	// Identity is what proved the server: the form and the name that matched
	// ("DNS-ID example.org", "SRV-ID …", "XmppAddr …", "IP-ID …"), the use and host of a
	// TLSA record ("DANE-EE xmpp.example.net", "DANE-TA xmpp.example.net, DNS-ID …"),
	// "pin" or "onion".
	Identity string
	SPKI     string // the server's key, as a pin
	PinState PinState
	Logs     Fact     // what the public logs say of the certificate, or why nobody asked them
	Witness  Fact     // what a second look saw, or why nobody looked
	Doubted  bool     // a second look did not bear out the key, which is not remembered
	Warnings []string // sentences for the log and for status; they name the domain

	// Objections are demands that the server does not meet and that mode = "report"
	// let be: sentences of the same kind. With mode = "enforce" there are none.
	Objections []string

	conn *tls.Conn
}

// Fact is what came of one question about a server.
type Fact struct {
	Text  string // without names and addresses; "" where there was nothing to ask
	Warns bool   // it is no good, and was let pass; among Warnings too
}

// State is the connection's state, for channel binding. It is made anew at each
// call; an idle session should not keep it.
func (r *Result) State() tls.ConnectionState { return r.conn.ConnectionState() }

// Client shakes hands with the server at the other end of conn and judges it by
// the decision. An error is an [*Error] or, where ctx was cancelled, ctx's own;
// nothing but the handshake was sent then, and closing conn is the caller's. The
// time it may take is bounded by ctx and conn's deadline.
func Client(ctx context.Context, conn net.Conn, o Options) (*tls.Conn, *Result, error) {
	v, err := newVerifier(o)
	if err != nil {
		return nil, nil, err
	}
	conf, err := v.config()
	if err != nil {
		return nil, nil, err
	}
	c := tls.Client(conn, conf)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, nil, v.handshakeError(ctx, err)
	}
	// Only now has the server proved that it has the key: crypto/tls shows the
	// certificate before it checks the signature (RFC 8446 §4.4.3).
	if err := v.witness(ctx, o.Witness); err != nil {
		return nil, nil, err
	}
	if err := v.remember(); err != nil {
		return nil, nil, err
	}
	state := c.ConnectionState()
	r := &Result{
		Version:  policy.TLSVersion(state.Version).String(),
		Cipher:   tls.CipherSuiteName(state.CipherSuite),
		Group:    groupName(state.CurveID),
		Identity: v.identity,
		SPKI:     v.spki,
		PinState: v.pin,
		Logs:     v.logs,
		Witness:  v.seen,
		Doubted:  v.hold,
		Warnings: v.warnings,
		conn:     c,

		Objections: v.objections,
	}
	// The connection keeps its configuration, which keeps v, for as long as the
	// session lasts: let go of what it holds. Empty, it refuses.
	*v = verifier{}
	return c, r, nil
}

// CipherSuites are those of TLS 1.2 that have forward secrecy and authenticated
// encryption (RFC 9325 §4.2), for both ends; TLS 1.3 has no others.
func CipherSuites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// config is the TLS configuration of one connection.
func (v *verifier) config() (*tls.Config, error) {
	conf := &tls.Config{
		ServerName:       v.domain, // the account's domain, not the host that DNS named (RFC 7590 §3.1, XEP-0368 §4)
		MinVersion:       v.offered(),
		CipherSuites:     CipherSuites(),
		CurvePreferences: groups(v.decision.PQ, v.lenient()),
		Time:             v.clock,
		// No ClientSessionCache: a ticket would tie one session to the next.

		// crypto/tls knows the names of the web only; the judgement is in verify.
		InsecureSkipVerify: true,
		VerifyConnection:   v.verify,
	}
	if p := alpn(v.endpoint.Transport); p != "" {
		conf.NextProtos = []string{p}
	}
	if v.decision.ClientCert == "" {
		return conf, nil
	}
	var err error
	if v.cert, err = readClientCert(v.decision.ClientCert); err != nil {
		return nil, v.refuse("the client certificate for "+v.domain+" cannot be used", err.Error(), "correct client_cert in "+v.section())
	}
	conf.GetClientCertificate = v.certificate
	return conf, nil
}

// certificate answers a server that asks for one (SASL EXTERNAL, XEP-0178).
// TLS 1.2 would send it in the clear, with the account's address in it.
func (v *verifier) certificate(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if v.cert != nil && asked.Version >= tls.VersionTLS13 {
		return v.cert, nil
	}
	const why = "TLS 1.2 shows it, and the account's address in it, to whoever watches the connection"
	if v.decision.AuthMin == policy.AuthExternal {
		return nil, &Error{Kind: ErrVersion, What: "the client certificate was not sent to the server of " + v.domain, Why: why,
			Hint: "ask the server's operator for TLS 1.3, or log in by password"}
	}
	v.warnings = append(v.warnings, "the client certificate was not sent to the server of "+v.domain+": "+why)
	return new(tls.Certificate), nil
}

// minVersion is the lowest version to accept. The post-quantum key exchange
// exists in TLS 1.3 only.
func (v *verifier) minVersion() uint16 {
	if v.decision.PQ == policy.PQRequire {
		return tls.VersionTLS13
	}
	return v.decision.MinTLS
}

// offered is the lowest version that the ClientHello offers: with mode = "report"
// a server with an older one is reached, and told of.
func (v *verifier) offered() uint16 {
	if v.lenient() {
		return tls.VersionTLS12
	}
	return v.minVersion()
}

// groups are the key exchanges to offer; lenient ones are those of a server that
// is told of where it falls short.
func groups(pq policy.PQ, lenient bool) []tls.CurveID {
	switch {
	case pq == policy.PQRequire && !lenient:
		return []tls.CurveID{tls.X25519MLKEM768}
	case pq == policy.PQRequire, pq == policy.PQPrefer:
		return []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
	}
	return []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
}

// groupName is the usual name of a key exchange.
func groupName(id tls.CurveID) string {
	if bits, ok := strings.CutPrefix(id.String(), "CurveP"); ok {
		return "P-" + bits
	}
	return id.String()
}
