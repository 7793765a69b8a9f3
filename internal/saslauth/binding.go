package saslauth

import (
	"crypto/tls"
	"slices"

	"github.com/xdg-go/scram"
)

// The channel binding types we speak, by their IANA names.
const (
	TLSExporter       = string(scram.ChannelBindingTLSExporter)       // RFC 9266
	TLSUnique         = string(scram.ChannelBindingTLSUnique)         // RFC 5929 §3
	TLSServerEndPoint = string(scram.ChannelBindingTLSServerEndpoint) // RFC 5929 §4
)

// preferred orders the types by what they bind to: this very connection before
// the certificate alone, which whoever stole its key also has (XEP-0440 §3).
var preferred = []string{TLSExporter, TLSUnique, TLSServerEndPoint}

// binding gives the data of one type for a connection; ok is false when the
// connection has none. Both sides derive the data from the same handshake.
func binding(state *tls.ConnectionState, typ string) (cb scram.ChannelBinding, ok bool) {
	if state == nil || !state.HandshakeComplete {
		return cb, false
	}
	var err error
	switch typ {
	case TLSExporter:
		cb.Type = scram.ChannelBindingTLSExporter
		cb.Data, err = exporter(state)
	case TLSUnique:
		// crypto/tls exports keys under TLS 1.2 only with the extended master
		// secret, and without that tls-unique falls to the triple handshake
		// attack (RFC 7627 §1).
		if _, err = exporter(state); err == nil {
			cb = scram.NewTLSUniqueBinding(state.TLSUnique)
		}
	case TLSServerEndPoint:
		// Fails for certificates whose signature has no one hash function,
		// such as Ed25519 (RFC 5929 §4.1 leaves them undefined).
		cb, err = scram.NewTLSServerEndpointBinding(state)
	}
	return cb, err == nil && cb.IsSupported()
}

// exporter is the data of tls-exporter (RFC 9266 §2). It fails under TLS 1.2
// without the extended master secret, as it must (§4 there).
//
// The context is empty, and not left out, which under TLS 1.2 is another value
// (RFC 5705 §4); the scram library leaves it out.
func exporter(state *tls.ConnectionState) ([]byte, error) {
	return state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
}

// bindingFor chooses the best type of the server's list that state can give.
func bindingFor(state *tls.ConnectionState, types []string) (scram.ChannelBinding, bool) {
	for _, typ := range preferred {
		if slices.Contains(types, typ) {
			if cb, ok := binding(state, typ); ok {
				return cb, true
			}
		}
	}
	return scram.ChannelBinding{}, false
}

// defaultBinding is the type for a server that sent no list: the default that
// RFC 9266 §3 sets for TLS 1.3 and RFC 5802 §6.1 for what came before it.
func defaultBinding(state *tls.ConnectionState) (scram.ChannelBinding, bool) {
	if state.Version >= tls.VersionTLS13 {
		return binding(state, TLSExporter)
	}
	if cb, ok := binding(state, TLSUnique); ok {
		return cb, true
	}
	return binding(state, TLSServerEndPoint)
}
