package saslserver

import (
	"context"
	"crypto/x509"
	"strings"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
)

// Login is somebody who has proven who they are and was not told so yet.
type Login struct {
	Account   address.Address // bare
	Protocol  saslauth.Protocol
	Mechanism string
	Binding   string // channel binding type; empty when the login is not bound
	UserAgent UserAgent

	// Request is SASL2's <authenticate/>, in which the client may ask for features
	// inline; nil for SASL. They are processed before Success is sent.
	Request *xmppstream.Node

	// Certificate is the client's, after EXTERNAL. Resources are those that it
	// allows, nil for any (XEP-0257 §3).
	Certificate *x509.Certificate
	Resources   []string

	data  []byte // of the mechanism
	token []byte // FAST's element
}

// UserAgent is what a client says of itself in SASL2 (XEP-0388 §2.3). None of it
// is for other people's eyes.
type UserAgent struct {
	ID       string // of the installation; empty if there is none, or an odd one
	Software string
	Device   string
}

// Success is the <success/> to be sent. identity is the address that the client
// has now: the full one if a resource was bound, else the bare one. inline are
// the results of what Request asked for, whole elements. SASL knows neither.
//
// After SASL2 the stream goes on with its features at once; after SASL the client
// opens it anew.
func (l *Login) Success(identity address.Address, inline ...[]byte) []byte {
	dst := make([]byte, 0, 512)
	if l.Protocol == saslauth.SASL1 {
		return l.Protocol.AppendSuccess(dst, l.data, "")
	}
	if l.token != nil {
		inline = append(inline[:len(inline):len(inline)], l.token)
	}
	return l.Protocol.AppendSuccess(dst, l.data, identity.String(), inline...)
}

// Refuse is the <failure/> to be sent where the server cannot take the client
// after all.
func (l *Login) Refuse(f saslauth.Failure) []byte { return l.Protocol.Failure(f) }

// login makes the Login of what was proven.
func (c *Conn) login(ctx context.Context, p *proof) (*Login, error) {
	x := c.x
	if x.proto == saslauth.SASL2 && p.authzid && !c.link.From.IsZero() && c.link.From.Bare() != p.account { // XEP-0388 §2.3
		return nil, &saslauth.Failure{Condition: saslauth.InvalidAuthzid, Text: "The authorization identity is not the address that the stream was opened with."}
	}
	l := &Login{
		Account: p.account, Protocol: x.proto, Mechanism: x.mechanism, Binding: p.binding,
		Request: x.request, Resources: p.allowed, data: p.data,
	}
	if x.mechanism == external {
		l.Certificate = c.link.TLS.PeerCertificates[0]
	}
	if x.request != nil {
		l.UserAgent = userAgent(x.request)
	}
	c.srv.throttle.succeeded(p.account.Local, c.link.Peer)
	// After a certificate no token: it would be good for longer than the certificate,
	// and for more than the certificate allows (XEP-0257 §2).
	if c.srv.cfg.Tokens != nil && x.request != nil && l.Certificate == nil {
		if t := c.issue(ctx, l, p.token); t != nil {
			l.token = appendToken(nil, t)
		}
	}
	return l, nil
}

// maxClient is the longest id of a user agent, in bytes. It is a UUID, of 36.
const maxClient = 64

func userAgent(request *xmppstream.Node) (u UserAgent) {
	n := request.Child(xmppstream.NSSASL2, "user-agent")
	if n == nil {
		return u
	}
	if id := n.Attr("id"); len(id) <= maxClient && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		u.ID = id
	}
	u.Software = saslauth.CleanText(n.ChildText(xmppstream.NSSASL2, "software"))
	u.Device = saslauth.CleanText(n.ChildText(xmppstream.NSSASL2, "device"))
	return u
}

// appendToken appends <token/> (XEP-0484 §3.3).
func appendToken(b []byte, t *Token) []byte {
	b = append(b, "<token xmlns='"+nsFast+"' expiry='"...)
	b = t.Expires.UTC().AppendFormat(b, time.RFC3339)
	b = append(b, "' token='"...)
	b = xmppstream.Escape(b, string(t.Secret))
	return append(b, "'/>"...)
}
