// Package tlsauth puts TLS on the connection to an XMPP server and decides
// whether the server is the one of the account's domain.
//
// [Client] does both: it takes a connection, the policy's decision for the
// domain and the endpoint that was reached, and gives a TLS connection or an
// [*Error] that says what is wrong and what to do. What proves a server is one
// of these:
//
//   - a certificate that a trusted authority issued for the JID's domain, as
//     DNS-ID, SRV-ID or XmppAddr (RFC 6120 §13.7.1.2), never for the host that
//     DNS gave, and never as common name;
//   - one of the keys that the owner pinned;
//   - the onion address itself, where it is the JID's domain or the owner bound
//     it to the domain.
//
// Besides, [PinStore] remembers each domain's key: trust on first use.
package tlsauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"xmpp-gw/policy"
)

// ALPN is the protocol name of direct TLS (XEP-0368 §4).
const ALPN = "xmpp-client"

// Options say whom to expect.
type Options struct {
	Decision policy.Decision
	Endpoint policy.Endpoint  // the one that was reached
	Roots    *x509.CertPool   // nil: the system's
	Pins     *PinStore        // nil: keys are not remembered
	Now      func() time.Time // nil: time.Now
}

// Result says what was agreed and who is at the other end.
type Result struct {
	Version string // "1.3"
	Cipher  string
	Group   string // of the key exchange, such as X25519MLKEM768

	// Identity is what proved the server: the kind and the name that matched
	// ("DNS example.org", "SRV …", "XmppAddr …", "IP …"), "pin" or "onion".
	Identity string
	SPKI     string // the server's key, as a pin
	PinState PinState
	Warnings []string // sentences for the person

	conn *tls.Conn
}

// State is the connection's state, for SASL channel binding.
func (r *Result) State() tls.ConnectionState { return r.conn.ConnectionState() }

// suites are those of TLS 1.2 that have forward secrecy and authenticated
// encryption (RFC 9325 §4.2); TLS 1.3 has no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Client shakes hands with the server at the other end of conn and judges it by
// the decision. An error is an [*Error], or the cause of ctx's end where that
// was cancelled; conn is of no further use then, and closing it stays with the
// caller. Time is bounded by ctx and conn's deadline alone.
func Client(ctx context.Context, conn net.Conn, o Options) (*tls.Conn, *Result, error) {
	d := o.Decision
	if err := refuse(o); err != nil {
		return nil, nil, err
	}
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	j := &judge{decision: d, endpoint: o.Endpoint, roots: o.Roots, now: now()}
	var err error
	if j.extra, err = readRoots(d); err != nil {
		return nil, nil, err
	}
	cert, err := readClientCert(d)
	if err != nil {
		return nil, nil, err
	}
	r := &Result{}
	h := &handshake{judge: j, cert: cert, pins: o.Pins, result: r}
	conf := &tls.Config{
		ServerName:           d.Target.Domain, // RFC 7590 §3.1, XEP-0368 §4: the JID's, not the host's
		MinVersion:           effectiveMin(d),
		CipherSuites:         suites,
		CurvePreferences:     groups(d.PQ),
		Time:                 now,
		InsecureSkipVerify:   true, // VerifyConnection does it, with the names of XMPP
		VerifyConnection:     h.verify,
		GetClientCertificate: h.certificate,
	}
	if o.Endpoint.Transport == policy.DirectTLS {
		conf.NextProtos = []string{ALPN}
	}
	r.conn = tls.Client(conn, conf)
	err = r.conn.HandshakeContext(ctx)
	h.judge, h.cert, h.pins, h.result = nil, nil, nil, nil // the connection holds h, and a session may be long
	if err != nil {
		return nil, nil, handshakeError(ctx, d, err)
	}
	if err := r.remember(d, o.Pins, j.now); err != nil {
		return nil, nil, err
	}
	return r.conn, r, nil
}

// refuse is the answer to a decision that does not say all that is needed.
func refuse(o Options) error {
	d := o.Decision
	no := func(why string) error {
		return &Error{Kind: ErrRefused, What: "no TLS is tried", Why: why, Hint: "this is a mistake in the program that made the decision"}
	}
	switch {
	case d.Target.Domain == "":
		return no("the decision names no domain")
	case d.TLS < policy.TLSVerify || d.TLS > policy.TLSOnion:
		return no("the decision does not say what proves the server")
	case d.MinTLS != tls.VersionTLS12 && d.MinTLS != tls.VersionTLS13:
		return no("the decision names no version of TLS")
	case d.PQ < policy.PQOff || d.PQ > policy.PQRequire:
		return no("the decision does not say whether the key exchange must be post-quantum")
	case d.Pin < policy.PinOff || d.Pin > policy.PinTOFUStrict:
		return no("the decision does not say what becomes of the server's key")
	case d.Pin == policy.PinTOFUStrict && o.Pins == nil:
		return no("the server's key must be compared with the remembered one, and nothing is remembered")
	case d.TLS == policy.TLSPin && len(d.Pins) == 0:
		return no("the server's key must be a pinned one, and none is")
	case o.Endpoint.Transport != policy.STARTTLS && o.Endpoint.Transport != policy.DirectTLS:
		return no("the endpoint does not say how it speaks TLS")
	}
	return nil
}

// effectiveMin is the lowest version to accept: the post-quantum key exchange
// exists in TLS 1.3 only.
func effectiveMin(d policy.Decision) uint16 {
	if d.PQ == policy.PQRequire {
		return tls.VersionTLS13
	}
	return d.MinTLS
}

// groups are the key exchanges to offer.
func groups(pq policy.PQ) []tls.CurveID {
	switch pq {
	case policy.PQRequire:
		return []tls.CurveID{tls.X25519MLKEM768}
	case policy.PQPrefer:
		return []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
	}
	return []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
}

// handshake is what the callbacks of one handshake need.
type handshake struct {
	judge  *judge
	cert   *tls.Certificate // nil: none
	pins   *PinStore
	result *Result
}

// verify runs when the server has shown its certificate.
func (h *handshake) verify(cs tls.ConnectionState) error {
	d, r := h.judge.decision, h.result
	identity, err := h.judge.identify(cs)
	if err != nil {
		return err
	}
	r.Identity, r.SPKI = identity, SPKI(cs.PeerCertificates[0])
	r.Version = tlsVersion(cs.Version)
	r.Cipher = tls.CipherSuiteName(cs.CipherSuite)
	r.Group = groupName(cs.CurveID)
	if d.Pin == policy.PinTOFUStrict && len(d.Pins) == 0 {
		// Once more after the handshake; here so that a stranger does not get our
		// certificate.
		return changed(d.Target.Domain, r.SPKI, h.pins)
	}
	return nil
}

// certificate gives the server the certificate for SASL EXTERNAL (XEP-0178),
// if it asks and there is one.
func (h *handshake) certificate(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if h.cert == nil {
		return &tls.Certificate{}, nil
	}
	if info.Version < tls.VersionTLS13 {
		h.result.Warnings = append(h.result.Warnings,
			"The client certificate was sent under TLS 1.2, where whoever watches the connection can read the name in it.")
	}
	return h.cert, nil
}

func tlsVersion(v uint16) string { return policy.TLSVersion(v).String() }

// groupName is a key exchange's common name.
func groupName(id tls.CurveID) string {
	switch id {
	case tls.CurveP256:
		return "P-256"
	case tls.CurveP384:
		return "P-384"
	}
	return id.String()
}
