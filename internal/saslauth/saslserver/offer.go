package saslserver

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"slices"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
)

const (
	external = "EXTERNAL"
	plain    = "PLAIN"
	plus     = "-PLUS"
)

// offer is what one kind of connection is offered. There are few kinds, so each
// is put together once.
type offer struct {
	mechanisms []string // of SASL and SASL2 alike
	types      []string // of channel binding; nil: none, and no list is sent
	fast       []string // mechanisms for FAST tokens, in SASL2 alone
	sasl2      bool
	features   []byte
	hash       [SHA512 + 1]string // XEP-0474's, in base64
}

// What tells the kinds of connection apart, as bits; the first three are those of
// saslauth.BindingTypes in its order.
const (
	hasExporter = 1 << iota
	hasUnique
	hasEndPoint
	hasCertificate
	hasTLS
	offerVariants = 1 << iota
)

// offerFor is what a connection is offered; nil when it must not log in.
func (s *Server) offerFor(ctx context.Context, l *Link) *offer {
	variant := 0
	if l.TLS == nil && !l.Private {
		return nil
	}
	if l.TLS != nil {
		variant |= hasTLS
		for i, typ := range saslauth.BindingTypes() {
			if !s.cfg.NoBinding && bindable(l, typ) {
				variant |= 1 << i
			}
		}
		if len(s.owners(ctx, l)) > 0 {
			variant |= hasCertificate
		}
	}
	if o := s.offers[variant].Load(); o != nil {
		return o
	}
	o := s.newOffer(variant)
	s.offers[variant].Store(o)
	return o
}

// bindable reports whether a connection has data of a type, which for the most
// usual ones needs no computing.
func bindable(l *Link, typ string) bool {
	if l.TLS.Version >= tls.VersionTLS13 && typ != saslauth.TLSServerEndPoint {
		return typ == saslauth.TLSExporter && l.TLS.HandshakeComplete // RFC 9266 §3; RFC 8446 appendix C.5
	}
	_, ok := saslauth.ServerBinding(l.TLS, l.Certificate, typ)
	return ok
}

func (s *Server) newOffer(variant int) *offer {
	o := &offer{sasl2: variant&hasTLS != 0} // XEP-0388 §3: after TLS only
	for i, typ := range saslauth.BindingTypes() {
		if variant&(1<<i) != 0 {
			o.types = append(o.types, typ)
		}
	}
	if variant&hasCertificate != 0 {
		o.mechanisms = append(o.mechanisms, external)
	}
	if o.types != nil {
		for _, h := range s.cfg.Hashes {
			o.mechanisms = append(o.mechanisms, h.mechanism()+plus)
		}
	}
	for _, h := range s.cfg.Hashes {
		o.mechanisms = append(o.mechanisms, h.mechanism())
	}
	if s.cfg.AllowPlain && o.sasl2 {
		o.mechanisms = append(o.mechanisms, plain)
	}
	if s.cfg.Tokens != nil && o.sasl2 {
		for _, f := range fastMechanisms {
			if f.binding == "" || slices.Contains(o.types, f.binding) {
				o.fast = append(o.fast, f.name)
			}
		}
	}
	for _, h := range Hashes() {
		o.hash[h] = base64.StdEncoding.EncodeToString(saslauth.DowngradeHash(h.new, o.mechanisms, o.types))
	}
	o.features = o.appendFeatures(nil, s.cfg.Inline)
	return o
}

func (o *offer) appendFeatures(b, inline []byte) []byte {
	b = append(b, "<mechanisms xmlns='"+xmppstream.NSSASL+"'>"...)
	b = appendEach(b, "mechanism", o.mechanisms)
	b = append(b, "</mechanisms>"...)
	if o.types != nil { // XEP-0440
		b = append(b, "<sasl-channel-binding xmlns='"+xmppstream.NSSASLCB+"'>"...)
		for _, typ := range o.types {
			b = append(b, "<channel-binding type='"+typ+"'/>"...)
		}
		b = append(b, "</sasl-channel-binding>"...)
	}
	if !o.sasl2 {
		return b
	}
	b = append(b, "<authentication xmlns='"+xmppstream.NSSASL2+"'>"...)
	b = appendEach(b, "mechanism", o.mechanisms)
	if len(inline) > 0 || o.fast != nil {
		b = append(b, "<inline>"...)
		b = append(b, inline...)
		if o.fast != nil {
			b = append(b, "<fast xmlns='"+nsFast+"'>"...)
			b = appendEach(b, "mechanism", o.fast)
			b = append(b, "</fast>"...)
		}
		b = append(b, "</inline>"...)
	}
	return append(b, "</authentication>"...)
}

func appendEach(b []byte, name string, list []string) []byte {
	for _, s := range list {
		b = append(b, "<"+name+">"+s+"</"+name+">"...)
	}
	return b
}
