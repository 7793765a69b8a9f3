package probe

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
)

// answer is what a server makes of a ClientHello: its choice, or why there is none.
type answer struct {
	version, suite uint16
}

// greet sends a ClientHello of one version and reads the answer's first message. It
// is written by hand because crypto/tls offers no suite that is really bad, nor lets
// choose one of TLS 1.3, and a server's choice is all that is asked: nothing is
// exchanged after it. What is a no of the server is a [refusal].
func greet(conn net.Conn, version uint16, suites []uint16, name string, alpn []string) (answer, error) {
	hello, err := clientHello(version, suites, name, alpn)
	if err != nil {
		return answer{}, err
	}
	if _, err := conn.Write(hello); err != nil {
		return answer{}, err
	}
	a, err := readHello(conn)
	switch {
	case err != nil && (over(err) || errors.Is(err, errNotTLS)):
		// Some end the connection without an alert: ejabberd's fast_tls, for one.
		return answer{}, &refusal{how: reason(err), ended: over(err)}
	case err == nil && a.version != version:
		return answer{}, &refusal{how: "it answers with TLS " + versionName(a.version)}
	}
	return a, err
}

// refusal is a server that was asked and would not.
type refusal struct {
	how   string
	ended bool // it said nothing, and ended the connection
}

func (r *refusal) Error() string { return r.how }

// refused is how err says that the server would not; ok is false for everything
// else, which says nothing of the server.
func refused(err error) (how string, ok bool) {
	var no *refusal
	var alert alertError
	if errors.As(err, &no) || errors.As(err, &alert) {
		return clip(err.Error()), true
	}
	return "", false
}

// clientHello is one record with the message of RFC 5246 §7.4.1.2.
func clientHello(version uint16, suites []uint16, name string, alpn []string) ([]byte, error) {
	var random [32]byte
	rand.Read(random[:])
	var b cryptobyte.Builder
	b.AddUint8(22) // handshake
	b.AddUint16(tls.VersionTLS10)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1) // client_hello
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(min(version, tls.VersionTLS12)) // RFC 8446 §4.1.2
			b.AddBytes(random[:])
			b.AddUint8(0) // no session
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addAll(b, suites) })
			b.AddBytes([]byte{1, 0}) // no compression
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addExtensions(b, version, name, alpn) })
		})
	})
	return b.Bytes()
}

func addAll(b *cryptobyte.Builder, list []uint16) {
	for _, n := range list {
		b.AddUint16(n)
	}
}

func addExtensions(b *cryptobyte.Builder, version uint16, name string, alpn []string) {
	extension := func(id uint16, f func(b *cryptobyte.Builder)) {
		b.AddUint16(id)
		b.AddUint16LengthPrefixed(f)
	}
	list := func(numbers ...uint16) func(b *cryptobyte.Builder) {
		return func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addAll(b, numbers) })
		}
	}
	if _, err := netip.ParseAddr(name); err != nil { // RFC 6066 §3: no addresses
		extension(0, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint8(0)
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
			})
		})
	}
	extension(10, list(29, 23, 24, 25, 256))                                 // groups: X25519, P-256, P-384, P-521, ffdhe2048
	extension(11, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0}) })  // uncompressed points
	extension(23, func(*cryptobyte.Builder) {})                              // extended master secret
	extension(0xFF01, func(b *cryptobyte.Builder) { b.AddBytes([]byte{0}) }) // secure renegotiation (RFC 5746 §3.4)
	if version == tls.VersionTLS13 {
		addVersion13(extension)
	}
	if version >= tls.VersionTLS12 {
		extension(13, list( // signatures, the old ones too
			0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B,
			0x0401, 0x0501, 0x0601, 0x0303, 0x0301, 0x0203, 0x0201, 0x0202, 0x0402))
	}
	if len(alpn) > 0 {
		extension(16, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, p := range alpn {
					b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(p)) })
				}
			})
		})
	}
}

// alertError is an alert that the server answered with.
type alertError uint8

func (a alertError) Error() string { return "it ended the handshake: " + tls.AlertError(a).Error() }

var errNotTLS = errors.New("it answers with something that is not TLS")

// maxHello bounds what is read for a ServerHello.
const maxHello = 32 << 10

// readHello reads a ServerHello (RFC 5246 §7.4.1.3), which may lie in more than one
// record, or an alert.
func readHello(r io.Reader) (answer, error) {
	var message []byte
	for len(message) < maxHello {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return answer{}, err
		}
		size := int(head[3])<<8 | int(head[4])
		if head[1] != 3 || head[0] != 21 && head[0] != 22 || size == 0 || size > 1<<14+2048 {
			return answer{}, errNotTLS
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return answer{}, err
		}
		if head[0] == 21 {
			// A warning does not end anything: unrecognized_name (RFC 6066 §3).
			if len(body) == 2 && body[0] == 1 && body[1] != 0 {
				continue
			}
			return answer{}, alertError(body[len(body)-1])
		}
		message = append(message, body...)
		in := cryptobyte.String(message)
		var kind uint8
		var hello cryptobyte.String
		if !in.ReadUint8(&kind) || kind != 2 {
			return answer{}, errNotTLS
		}
		if !in.ReadUint24LengthPrefixed(&hello) {
			continue
		}
		var a answer
		var session cryptobyte.String
		if !hello.ReadUint16(&a.version) || !hello.Skip(32) || !hello.ReadUint8LengthPrefixed(&session) || !hello.ReadUint16(&a.suite) {
			return answer{}, errNotTLS
		}
		if v := version13(hello); v != 0 {
			a.version = v
		}
		return a, nil
	}
	return answer{}, fmt.Errorf("it sent more than %d bytes in place of a ServerHello", maxHello)
}
