package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// opening is what the first bytes of a connection look like.
type opening uint8

const (
	openingOther opening = iota
	openingXML
	openingTLS  // a TLS record with a handshake message (RFC 8446 §5.1)
	openingHTTP // a browser, a scanner, or a web client on the wrong port
)

// httpVerbs are the methods that show up on a port 5222 in the wild.
var httpVerbs = [][]byte{
	[]byte("GET "), []byte("POST"), []byte("HEAD"), []byte("PUT "),
	[]byte("OPTI"), []byte("CONN"), []byte("DELE"), []byte("PATC"), []byte("PRI "),
}

// sniff reads the first four bytes, fewer when the first one already decides,
// and returns what they look like and a connection that gives them again.
func sniff(conn net.Conn) (opening, net.Conn, error) {
	var b [4]byte
	n, err := io.ReadAtLeast(conn, b[:], 1)
	if err != nil {
		return openingOther, conn, err
	}
	kind := openingOther
	switch b[0] {
	case '<', ' ', '\t', '\r', '\n', 0xEF: // 0xEF begins a byte order mark; the framer judges it
		kind = openingXML
	case 0x16:
		kind = openingTLS
	default:
		for n < len(b) && isVerbPrefix(b[:n]) {
			m, err := conn.Read(b[n:])
			n += m
			if err != nil {
				break
			}
		}
		if n == len(b) && isVerbPrefix(b[:]) {
			kind = openingHTTP
		}
	}
	return kind, &replayConn{Conn: conn, seen: append([]byte(nil), b[:n]...)}, nil
}

func isVerbPrefix(b []byte) bool {
	for _, v := range httpVerbs {
		if bytes.HasPrefix(v, b) {
			return true
		}
	}
	return false
}

// replayConn gives bytes that were read ahead once more, then the connection's
// own.
type replayConn struct {
	net.Conn
	seen []byte
}

func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.seen) > 0 {
		n := copy(p, c.seen)
		if c.seen = c.seen[n:]; len(c.seen) == 0 {
			c.seen = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// clientHello reads a TLS ClientHello and returns its server name (SNI) and a
// connection that gives every byte of it again.
func clientHello(ctx context.Context, conn net.Conn) (string, net.Conn, error) {
	errSeen := errors.New("seen")
	var name string
	var seen bytes.Buffer
	probe := tls.Server(&recordingConn{Conn: conn, seen: &seen}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name = h.ServerName
			return nil, errSeen
		},
	})
	err := probe.HandshakeContext(ctx)
	again := &replayConn{Conn: conn, seen: seen.Bytes()}
	if errors.Is(err, errSeen) {
		err = nil
	}
	return name, again, err
}

// recordingConn remembers what is read and writes nothing, so that an
// interrupted handshake leaves no trace on the wire.
type recordingConn struct {
	net.Conn
	seen *bytes.Buffer
}

func (c *recordingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.seen.Write(p[:n])
	return n, err
}

func (c *recordingConn) Write(p []byte) (int, error) { return len(p), nil }
