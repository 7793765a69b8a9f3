package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// Opening is what the first bytes of a connection look like.
type Opening uint8

const (
	OpeningOther Opening = iota
	OpeningXML
	OpeningTLS  // a TLS record with a handshake message (RFC 8446 §5.1)
	OpeningHTTP // a browser, a scanner, or a web client on the wrong port
)

// httpVerbs are the methods that show up on a port 5222 in the wild.
var httpVerbs = [][]byte{
	[]byte("GET "), []byte("POST"), []byte("HEAD"), []byte("PUT "),
	[]byte("OPTI"), []byte("CONN"), []byte("DELE"), []byte("PATC"), []byte("PRI "),
}

// Sniff looks at the first four bytes, fewer when the first one already decides.
func Sniff(w *Conn) (Opening, error) {
	var b [4]byte
	n, err := w.Read(b[:])
	if err != nil {
		return OpeningOther, err
	}
	kind := OpeningOther
	switch b[0] {
	case '<', ' ', '\t', '\r', '\n', 0xEF: // 0xEF begins a byte order mark; the framer judges it
		kind = OpeningXML
	case 0x16:
		kind = OpeningTLS
	default:
		for n < len(b) && isVerbPrefix(b[:n]) {
			m, err := w.Read(b[n:])
			if n += m; err != nil {
				break
			}
		}
		if n == len(b) && isVerbPrefix(b[:]) {
			kind = OpeningHTTP
		}
	}
	w.Push(b[:n])
	return kind, nil
}

func isVerbPrefix(b []byte) bool {
	for _, v := range httpVerbs {
		if bytes.HasPrefix(v, b) {
			return true
		}
	}
	return false
}

// ClientHello looks at a TLS ClientHello for its server name (SNI).
func ClientHello(ctx context.Context, w *Conn) (string, error) {
	errSeen := errors.New("seen")
	var name string
	recorder := &recordingConn{Conn: w}
	probe := tls.Server(recorder, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name = h.ServerName
			return nil, errSeen
		},
	})
	err := probe.HandshakeContext(ctx)
	w.Push(recorder.seen)
	if errors.Is(err, errSeen) {
		err = nil
	}
	return name, err
}

// recordingConn remembers what is read and writes nothing, so that an
// interrupted handshake leaves no trace on the wire.
type recordingConn struct {
	net.Conn
	seen []byte
}

func (c *recordingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.seen = append(c.seen, p[:n]...)
	return n, err
}

func (c *recordingConn) Write(p []byte) (int, error) { return len(p), nil }
