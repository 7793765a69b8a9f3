package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/internal/wire"
	"xmpp-gw/internal/xmppstream"
)

// negotiation is what is known of a client before it has a session.
type negotiation struct {
	domain  *domain
	claimed address.Address // the stream header's from, which decides nothing
	tls     *tls.Conn
	leaf    *x509.Certificate // ours
	sasl    *saslserver.Conn  // of the stream that is open
	login   *saslserver.Login
	visitor *Visitor
	bound   bool
	after   bool // stream features are due without a new header (XEP-0388 §2.6)
	steps   int
}

// maxSteps is how many elements a negotiation may have.
const maxSteps = 100

// randomID is a stream id (RFC 6120 §4.7.3: unique and not to be guessed).
func randomID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// errTLS is for TLS handshakes that failed.
var errTLS = errors.New("TLS with the client failed")

// negotiate brings a client from its first byte to a bound session.
func (l *link) negotiate(ctx context.Context) error {
	_ = l.socket.SetDeadline(time.Now().Add(l.srv.cfg.Limits.Negotiation))
	kind, err := wire.Sniff(l.wire)
	if err != nil {
		return blame(err)
	}
	direct := l.opts.Kind == DirectTLS
	switch {
	case kind == wire.OpeningHTTP:
		return l.refuseHTTP()
	case direct && kind == wire.OpeningTLS:
		if err := l.secure(ctx, ""); err != nil {
			return err
		}
	case direct: // in the clear because that is what the client reads
		return streamError(xmppstream.PolicyViolation, "This port speaks TLS from the first byte (direct TLS).")
	case kind == wire.OpeningTLS:
		// The alert unexpected_message (RFC 8446 §6), which TLS libraries report by name.
		_, _ = l.socket.Write([]byte{0x15, 0x03, 0x03, 0x00, 0x02, 2, 10})
		return errTLS
	}
	if l.r == nil {
		l.r = xmppstream.NewReader(l.conn, l.srv.cfg.Limits.PreAuth)
	}
	for !l.n.bound {
		if err := l.stream(ctx); err != nil {
			return blame(err)
		}
	}
	return nil
}

// refuseHTTP tells a web client where it landed.
func (l *link) refuseHTTP() error {
	const page = "This is an XMPP port, not a web server. Point an XMPP client at it.\n"
	_, _ = fmt.Fprintf(l.socket, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(page), page)
	return errLost
}

// stream negotiates one stream, until it must be opened anew or a session is bound.
func (l *link) stream(ctx context.Context) error {
	if err := l.header(); err != nil {
		return err
	}
	l.newStream()
	if err := l.sendFeatures(ctx); err != nil {
		return err
	}
	for {
		e, err := l.next()
		if err != nil {
			return err
		}
		step, err := l.element(ctx, e)
		if err != nil || step != stay || l.n.bound {
			return err
		}
		if l.n.after {
			l.n.after = false
			if err := l.sendFeatures(ctx); err != nil {
				return err
			}
		}
	}
}

// header reads the client's stream header (RFC 6120 §4.7) and answers it.
func (l *link) header() error {
	l.mu.Lock()
	l.opened = false
	l.mu.Unlock()
	h, err := l.r.ReadHeader()
	if err != nil {
		return err
	}
	if h.ContentNS == xmppstream.NSServer {
		return streamError(xmppstream.InvalidNamespace, "Only clients are served here (jabber:client).")
	}
	if !version1(h.Version) { // §4.7.5
		return streamError(xmppstream.UnsupportedVersion, "Only XMPP 1.0 is spoken here.")
	}
	if h.To == "" { // §4.7.2
		return streamError(xmppstream.ImproperAddressing, "The stream header does not say which domain is meant (to).")
	}
	to, err := address.Parse(h.To)
	if err != nil || !to.IsServer() {
		return streamError(xmppstream.HostUnknown, "The stream header's domain is not a domain.")
	}
	d := l.srv.domains[to.Domain]
	switch {
	case d == nil:
		return streamError(xmppstream.HostUnknown, "This server does not serve the domain.")
	case l.n.domain != nil && l.n.domain != d:
		return streamError(xmppstream.HostUnknown, "The stream is for another domain than before.")
	}
	l.n.domain = d
	l.mu.Lock()
	l.name = d.name
	l.mu.Unlock()
	l.n.claimed, _ = address.Parse(h.From)
	if l.n.login != nil && h.From != "" && l.n.claimed.Bare() != l.n.login.Account { // §4.9.3.9
		return streamError("invalid-from", "The stream header's from is not who logged in.")
	}
	if l.lang = h.Lang; len(l.lang) > maxLang {
		l.lang = ""
	}
	l.mu.Lock()
	l.opened = true
	l.mu.Unlock()
	to = address.Address{}
	if l.n.login != nil { // §4.7.1: the address is not repeated before it is proven
		to = l.n.login.Account
	}
	return l.out.raw(appendHeader(nil, d.name, to.String()))
}

// maxLang is the longest language tag that is repeated on stanzas (RFC 5646 §4.4.1).
const maxLang = 35

// version1 reports whether a stream is XMPP 1.x; a version with a higher minor
// number is answered with 1.0 (RFC 6120 §4.7.5).
func version1(v string) bool {
	major, minor, ok := strings.Cut(v, ".")
	digits := func(s string) bool {
		return s != "" && len(s) < 5 && strings.Trim(s, "0123456789") == ""
	}
	return ok && digits(major) && digits(minor) && strings.TrimLeft(major, "0") == "1"
}

// newStream makes what belongs to the stream that has just been opened.
func (l *link) newStream() {
	n := l.n
	if n.login != nil {
		return
	}
	link := saslserver.Link{Private: l.opts.Private, Peer: l.opts.Peer, From: n.claimed, Certificate: n.leaf}
	if n.tls != nil {
		state := n.tls.ConnectionState()
		link.TLS = &state
	}
	n.sasl = n.domain.sasl.Load().Conn(link)
	n.visitor = &Visitor{Domain: n.domain.name, Peer: l.opts.Peer, Secure: l.safe(), Value: make(map[any]any)}
}

// safe reports whether nobody can listen.
func (l *link) safe() bool { return l.n.tls != nil || l.opts.Private }

// next is the client's next element; keepalives are skipped.
func (l *link) next() (*xmppstream.Element, error) {
	for {
		l.out.flush()
		e, err := l.r.Next()
		if err != nil {
			return nil, err
		}
		if l.n.steps++; l.n.steps > maxSteps {
			return nil, streamError(xmppstream.PolicyViolation, "The negotiation does not come to an end.")
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

// Send and Next make a link the stream that SASL runs on.
func (l *link) Send(raw []byte) error {
	if err := l.out.raw(raw); err != nil {
		return err
	}
	l.out.flush()
	return nil
}

// Next is the client's next element, whatever it is.
func (l *link) Next() (*xmppstream.Element, error) { return l.r.Next() }

// secure shakes hands. After STARTTLS the domain is known; else the client's SNI
// names it, and without SNI it is the first one.
func (l *link) secure(ctx context.Context, name string) error {
	srv := l.srv
	l.quiet(true)
	if name == "" {
		sni, err := wire.ClientHello(ctx, l.wire)
		if err != nil {
			return errTLS
		}
		if name = srv.names[0]; sni != "" {
			if name = srv.bySNI(sni); name == "" {
				_, _ = l.socket.Write([]byte{0x15, 0x03, 0x03, 0x00, 0x02, 2, 112}) // unrecognized_name
				return errTLS
			}
			l.n.domain = srv.domains[name]
		}
	}
	get := srv.cfg.TLS
	if l.opts.TLS != nil {
		get = l.opts.TLS
	}
	conf, leaf, err := srv.domains[name].tls(get)
	if err != nil {
		l.quiet(false)
		srv.log.Error("no certificate for a domain", "error", err)
		return streamError(xmppstream.InternalServerError, "The server has no certificate for the domain.")
	}
	l.wire.StartTLS()
	conn := tls.Server(l.wire, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return errTLS
	}
	l.n.tls, l.n.leaf = conn, leaf
	if l.r != nil {
		l.r.Release()
	}
	l.r = xmppstream.NewReader(conn, srv.cfg.Limits.PreAuth)
	l.out.secure(conn)
	l.mu.Lock()
	l.conn, l.opened, l.silent = conn, false, false
	l.mu.Unlock()
	return nil
}

// bySNI finds the domain of a TLS server name, which is in A-labels; "" for none.
func (s *Server) bySNI(sni string) string {
	a, err := address.Parse(sni)
	if err != nil || s.domains[a.Domain] == nil {
		return ""
	}
	return a.Domain
}

// tls gives the configuration of a domain. What [Config.TLS] gives is completed
// once for each that it gives: records are as long as they can be, client
// certificates are asked for (XEP-0178), and ALPN is answered (XEP-0368).
func (d *domain) tls(get func(string) (*tls.Config, error)) (*tls.Config, *x509.Certificate, error) {
	from, err := get(d.name)
	if err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.made, func(c credential) bool { return c.from == from }); i >= 0 {
		return d.made[i].conf, d.made[i].leaf, nil
	}
	conf := from.Clone()
	conf.DynamicRecordSizingDisabled = true
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	if conf.CipherSuites == nil {
		conf.CipherSuites = tlsauth.CipherSuites()
	}
	if conf.ClientAuth == tls.NoClientCert {
		conf.ClientAuth = tls.RequestClientCert
	}
	if !slices.Contains(conf.NextProtos, "xmpp-client") {
		conf.NextProtos = append(slices.Clone(conf.NextProtos), "xmpp-client")
	}
	c := credential{from: from, conf: conf}
	if len(conf.Certificates) == 1 && conf.GetCertificate == nil && conf.GetConfigForClient == nil {
		if c.leaf = conf.Certificates[0].Leaf; c.leaf == nil && len(conf.Certificates[0].Certificate) > 0 {
			c.leaf, _ = x509.ParseCertificate(conf.Certificates[0].Certificate[0])
		}
	}
	// One for each way in, and the ones before them while these are replaced.
	const kept = 4
	d.made = append([]credential{c}, d.made[:min(len(d.made), kept-1)]...)
	return c.conf, c.leaf, nil
}

// login logs a client in (RFC 6120 §6, XEP-0388).
func (l *link) login(ctx context.Context, e *xmppstream.Element) (step, error) {
	first, err := e.Node()
	if err != nil {
		return stay, err
	}
	login, err := l.n.sasl.Authenticate(ctx, l, first)
	var f *saslauth.Failure
	switch {
	case errors.As(err, &f):
		return stay, nil // it was told so, and may try again
	case err != nil:
		return stay, err
	}
	l.n.login = login
	l.mu.Lock()
	l.account = login.Account
	l.mu.Unlock()
	l.known()
	l.r.SetLimits(l.srv.cfg.Limits.Session)
	_ = l.socket.SetDeadline(time.Now().Add(l.srv.cfg.Limits.Negotiation))
	if login.Protocol == saslauth.SASL1 {
		if err := l.Send(login.Success(login.Account)); err != nil {
			return stay, err
		}
		l.r.Restart()
		return restart, nil
	}
	return l.inline(ctx, login)
}
