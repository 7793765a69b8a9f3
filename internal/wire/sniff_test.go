package wire

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"
)

func TestSniff(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		want       Opening
	}{
		{"stream header", "<?xml version='1.0'?><stream:stream", OpeningXML},
		{"header without declaration", "<stream:stream", OpeningXML},
		{"whitespace first", "\n <stream:stream", OpeningXML},
		{"byte order mark", "\xef\xbb\xbf<?xml", OpeningXML},
		{"TLS", "\x16\x03\x01\x02\x00", OpeningTLS},
		{"GET", "GET / HTTP/1.1\r\n", OpeningHTTP},
		{"POST", "POST / HTTP/1.1\r\n", OpeningHTTP},
		{"HTTP/2", "PRI * HTTP/2.0\r\n", OpeningHTTP},
		{"nearly GET", "GETX", OpeningOther},
		{"SSH", "SSH-2.0-x", OpeningOther},
		{"a single letter", "G", OpeningOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, slow := range []bool{false, true} {
				client, server := net.Pipe()
				go func() {
					_, _ = client.Write([]byte(c.sent))
					_ = client.Close()
				}()
				var conn net.Conn = server
				if slow {
					conn = &slowConn{Conn: server, r: iotest.OneByteReader(server)}
				}
				w := New(conn)
				got, err := Sniff(w)
				if err != nil || got != c.want {
					t.Fatalf("sniff = %v, %v; want %v", got, err, c.want)
				}
				all, _ := io.ReadAll(w)
				if string(all) != c.sent {
					t.Fatalf("after sniff the bytes are %q, want %q", all, c.sent)
				}
			}
		})
	}
}

type slowConn struct {
	net.Conn
	r io.Reader
}

func (c *slowConn) Read(p []byte) (int, error) { return c.r.Read(p) }

func TestClientHello(t *testing.T) {
	client, server := net.Pipe()
	go func() { _ = tls.Client(client, &tls.Config{ServerName: "example.org"}).Handshake() }()
	w := New(server)
	name, err := ClientHello(t.Context(), w)
	if err != nil || name != "example.org" {
		t.Fatalf("ClientHello = %q, %v", name, err)
	}
	// The same handshake must be readable once more.
	second, err := ClientHello(t.Context(), w)
	if err != nil || second != "example.org" {
		t.Fatalf("the replayed handshake gives %q, %v", second, err)
	}
}

func TestClientHelloGarbage(t *testing.T) {
	client, server := net.Pipe()
	go func() {
		_, _ = client.Write([]byte("\x16\x03\x01\x00\x04abcd"))
		_ = client.Close()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if name, err := ClientHello(ctx, New(server)); err == nil {
		t.Fatalf("garbage was read as a ClientHello for %q", name)
	}
}

func TestWatchHangup(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	gone := make(chan struct{})
	stop := WatchHangup(server, func() { close(gone) })
	defer stop()
	// Bytes that wait unread must not hide the close behind them.
	_, _ = client.Write([]byte("unread"))
	select {
	case <-gone:
		t.Fatal("a client that wrote was taken for one that went away")
	case <-time.After(1500 * time.Millisecond):
	}
	_ = client.Close()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Fatal("nobody noticed that the client went away")
	}
	var b [6]byte
	if _, err := io.ReadFull(server, b[:]); err != nil || string(b[:]) != "unread" {
		t.Fatalf("the watch took bytes: %q, %v", b, err)
	}
}
