package saslauth

import (
	"crypto/tls"
	"crypto/x509"
	"hash"
)

// What package saslserver, the other server side, has in common with this one.

// Space is the namespace of the protocol's elements.
func (p Protocol) Space() string { return p.space() }

// Decode reads the base64 of an element, strictly but for whitespace around it.
// "=" is empty data (RFC 6120 §6.4.2).
func Decode(text string) (data []byte, ok bool) { return decode(text) }

// ParsePlain reads the message of PLAIN as [Receive] does; an error is a [*Failure].
func ParsePlain(msg []byte, domains ...string) (*Credentials, error) { return parsePlain(msg, domains) }

// ServerBinding is the data of a channel binding type on the server's side of a
// connection: own is the certificate that the server showed in its handshake, nil
// if that is not known. ok is false when the connection has no such data.
func ServerBinding(state *tls.ConnectionState, own *x509.Certificate, typ string) (data []byte, ok bool) {
	if state == nil {
		return nil, false
	}
	if typ == TLSServerEndPoint { // which is the hash of the server's certificate on both sides
		if own == nil {
			return nil, false
		}
		of := tls.ConnectionState{HandshakeComplete: state.HandshakeComplete, PeerCertificates: []*x509.Certificate{own}}
		state = &of
	}
	cb, ok := binding(state, typ)
	return cb.Data, ok
}

// BindingTypes are all types of channel binding, best first.
func BindingTypes() []string { return append([]string(nil), preferred...) }

// DowngradeHash is the hash of what a server offers (XEP-0474 §6.1). types is nil
// when it sends no list of channel binding types (XEP-0440).
func DowngradeHash(newHash func() hash.Hash, mechanisms, types []string) []byte {
	return downgradeHash(newHash, mechanisms, types)
}
