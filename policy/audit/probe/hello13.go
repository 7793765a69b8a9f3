package probe

import (
	"crypto/rand"
	"crypto/tls"

	"golang.org/x/crypto/cryptobyte"
)

// modern are the suites of TLS 1.3 (RFC 8446 appendix B.4), each a class of its own.
var modern = [...]suite{
	{tls.TLS_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"}, {tls.TLS_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"},
	{tls.TLS_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"},
	{0x1304, "TLS_AES_128_CCM_SHA256"}, {0x1305, "TLS_AES_128_CCM_8_SHA256"},
}

// addVersion13 adds what makes a ClientHello one of TLS 1.3 (RFC 8446 §4.2.1,
// §4.2.8). The key in it is no key: of any 32 bytes X25519 makes something, and
// nothing is exchanged after the answer.
func addVersion13(extension func(id uint16, f func(b *cryptobyte.Builder))) {
	var key [32]byte
	rand.Read(key[:])
	extension(43, func(b *cryptobyte.Builder) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16(tls.VersionTLS13) })
	})
	extension(51, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(uint16(tls.X25519))
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(key[:]) })
		})
	})
}

// version13 is the version that the rest of a ServerHello, or of a HelloRetryRequest,
// names, 0 if it names none (RFC 8446 §4.2.1).
func version13(rest cryptobyte.String) uint16 {
	var extensions cryptobyte.String
	if !rest.Skip(1) || !rest.ReadUint16LengthPrefixed(&extensions) { // compression
		return 0
	}
	for !extensions.Empty() {
		var id, version uint16
		var body cryptobyte.String
		if !extensions.ReadUint16(&id) || !extensions.ReadUint16LengthPrefixed(&body) {
			return 0
		}
		if id == 43 && body.ReadUint16(&version) {
			return version
		}
	}
	return 0
}
