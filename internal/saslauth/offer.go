package saslauth

import (
	"strings"

	"xmpp-gw/internal/xmppstream"
)

// Most that is read of one offer; a server that offers more is broken.
const (
	maxMechanisms = 64
	maxTypes      = 32
)

// Offer is what a server's stream features say about how to log in. The zero
// value offers nothing.
type Offer struct {
	Mechanisms []string // SASL (RFC 6120 §6), in the server's order and spelling
	SASL2      []string // SASL2 (XEP-0388), likewise

	// BindingTypes are the channel binding types (XEP-0440); nil when the server
	// sent no list, which is not the same as an empty one.
	BindingTypes []string

	StartTLS         bool // <starttls/> (RFC 6120 §5.4.1)
	StartTLSRequired bool // with <required/>
	Register         bool // accounts can be made in band (XEP-0077)
}

// ParseOffer reads <stream:features/> of a stream that is not authenticated. It
// must be used for every such features element, before TLS and after it.
//
// The error is [ErrPremature] when the server offers what only an authenticated
// stream may have: it would let us go on without a login, so that nobody proved
// anything, and must be cut off. Roster versioning and stream management do not
// count, because Tigase announces both from the first features on.
func ParseOffer(features *xmppstream.Node) (Offer, error) {
	var o Offer
	if features == nil || features.Space != xmppstream.NSStream || features.Name != "features" {
		return o, errorOf(ErrProtocol, "The server did not send its stream features.")
	}
	for _, f := range features.Children {
		switch {
		case f.Space == xmppstream.NSTLS && f.Name == "starttls":
			o.StartTLS = true
			o.StartTLSRequired = f.Child(xmppstream.NSTLS, "required") != nil
		case f.Space == xmppstream.NSSASL && f.Name == "mechanisms":
			o.Mechanisms = mechanismsOf(f, o.Mechanisms)
		case f.Space == xmppstream.NSSASL2 && f.Name == "authentication":
			o.SASL2 = mechanismsOf(f, o.SASL2)
		case f.Space == xmppstream.NSSASLCB && f.Name == "sasl-channel-binding":
			o.BindingTypes = typesOf(f, o.BindingTypes)
		case f.Space == xmppstream.NSRegFeat && f.Name == "register":
			o.Register = true
		case f.Space == xmppstream.NSBind, f.Space == xmppstream.NSSession, f.Space == xmppstream.NSBind2:
			// Bind 2 belongs inside <authentication/> (XEP-0386 §3.1).
			return o, errorOf(ErrPremature, "The server let us in before any login: it offers <"+CleanText(f.Name)+
				"/>, which only a stream that is logged in may have. This is a broken server or somebody in the middle; nothing was sent.")
		}
	}
	if len(o.Mechanisms) > maxMechanisms || len(o.SASL2) > maxMechanisms || len(o.BindingTypes) > maxTypes {
		return Offer{}, errorOf(ErrProtocol, "The server offers an absurd number of ways to log in.")
	}
	return o, nil
}

// mechanismsOf appends the names of the <mechanism/> children of n to list.
func mechanismsOf(n *xmppstream.Node, list []string) []string {
	for _, c := range n.Children {
		if c.Space == n.Space && c.Name == "mechanism" {
			list = append(list, strings.TrimSpace(c.Text))
		}
	}
	return list
}

// typesOf appends the types of the <channel-binding/> children of n to list,
// which is not nil afterwards.
func typesOf(n *xmppstream.Node, list []string) []string {
	if list == nil {
		list = []string{}
	}
	for _, c := range n.Children {
		if c.Space == xmppstream.NSSASLCB && c.Name == "channel-binding" {
			list = append(list, c.Attr("type"))
		}
	}
	return list
}
