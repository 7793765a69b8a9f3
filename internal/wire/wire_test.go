package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// chunks is a connection that gives its bytes in the pieces of a list.
type chunks struct {
	net.Conn
	list  [][]byte
	reads int
}

func (c *chunks) Read(p []byte) (int, error) {
	c.reads++
	if len(c.list) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.list[0])
	if c.list[0] = c.list[0][n:]; len(c.list[0]) == 0 {
		c.list = c.list[1:]
	}
	return n, nil
}

func record(n int, fill byte) []byte {
	b := append([]byte{23, 3, 3, 0, 0}, bytes.Repeat([]byte{fill}, n)...)
	binary.BigEndian.PutUint16(b[3:], uint16(n))
	return b
}

// However the socket cuts its bytes, a read never goes beyond a record, and none
// is lost.
func TestWireGivesRecords(t *testing.T) {
	sizes := []int{1, 0, 300, 16384 + 256, 5, 507, 508, 40, 9000, 16640, 1}
	var all []byte
	ends := map[int]bool{}
	for i, n := range sizes {
		all = append(all, record(n, byte('a'+i))...)
		ends[len(all)] = true
	}
	for _, cut := range []int{1, 2, 4, 5, 6, 511, 512, 513, 4096, 32 << 10, 1 << 20} {
		for _, ask := range []int{5, 517, 600, 32 << 10} {
			src := &chunks{}
			for rest := all; len(rest) > 0; {
				n := min(cut, len(rest))
				src.list = append(src.list, rest[:n:n])
				rest = rest[n:]
			}
			w := New(src)
			w.StartTLS()
			var got []byte
			p := make([]byte, ask)
			for {
				n, err := w.Read(p)
				before := len(got)
				got = append(got, p[:n]...)
				for end := range ends {
					if before < end && end < len(got) {
						t.Fatalf("cut %d, ask %d: a read went from %d to %d over the end of a record at %d", cut, ask, before, len(got), end)
					}
				}
				if err != nil {
					break
				}
			}
			if !bytes.Equal(got, all) {
				t.Fatalf("cut %d, ask %d: %d bytes came of %d", cut, ask, len(got), len(all))
			}
			if w.pooled != nil || w.data != nil {
				t.Errorf("cut %d, ask %d: a wire with nothing to give holds a buffer", cut, ask)
			}
		}
	}
}

// The other leg is flushed before each wait for the socket, and not between
// records that came together.
func TestWireFlushesBeforeWaiting(t *testing.T) {
	three := append(append(record(10, 'a'), record(10, 'b')...), record(10, 'c')...)
	src := &chunks{list: [][]byte{three, record(10, 'd')}}
	w := New(src)
	w.StartTLS()
	waits := 0
	w.BeforeWait = func() error { waits++; return nil }
	p := make([]byte, 600)
	for i := range 3 {
		if _, err := w.Read(p); err != nil || waits != 1 {
			t.Fatalf("record %d: %v, %d waits", i, err, waits)
		}
		if w.Ready() != (i < 2) {
			t.Errorf("after record %d ready() = %v", i, w.Ready())
		}
	}
	if _, err := w.Read(p); err != nil || waits != 2 {
		t.Errorf("the fourth record: %v, %d waits, want 2", err, waits)
	}
	w.BeforeWait = func() error { return os.ErrInvalid }
	if _, err := w.Read(p); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("a failed flush gives %v", err)
	}
}

func TestWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	server, err := l.Accept()
	check(t, err)
	defer server.Close()
	w := New(server)

	_ = server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if err := w.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("with nothing to read: %v", err)
	}
	if w.pooled != nil || w.tiny != nil {
		t.Error("who waits holds a buffer")
	}
	_ = server.SetReadDeadline(time.Time{})
	_, _ = client.Write([]byte("xy"))
	p := make([]byte, 1)
	for _, want := range "xy" { // the second time there is nothing to wait for
		check(t, w.Wait())
		if n, err := w.Read(p); n != 1 || err != nil || p[0] != byte(want) {
			t.Errorf("read %q, %v, want %q", p[:n], err, want)
		}
	}
	big := make([]byte, 3*bufferSize/2)
	if testing.AllocsPerRun(100, func() {
		_, _ = client.Write(big[:100])
		_ = w.Wait()
		_, _ = w.Read(big)
	}) != 0 {
		t.Error("waiting allocates")
	}
	go func() { _, _ = client.Write(make([]byte, len(big))) }()
	for got := 0; got < len(big); { // more than a buffer
		check(t, w.Wait())
		n, err := w.Read(big)
		check(t, err)
		got += n
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = client.Close() })
	for range 2 { // an end is told by the read, as often as it is asked
		check(t, w.Wait())
		if n, err := w.Read(p); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
