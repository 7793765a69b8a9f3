package wire

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

func TestAsyncNeverWaits(t *testing.T) {
	pair := func(t *testing.T) (client, server net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		defer l.Close()
		client, err = net.Dial("tcp", l.Addr().String())
		check(t, err)
		server, err = l.Accept()
		check(t, err)
		t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
		return client, server
	}
	pipe := func(*testing.T) (client, server net.Conn) { return net.Pipe() }
	for name, open := range map[string]func(*testing.T) (client, server net.Conn){"socket": pair, "pipe": pipe} {
		t.Run(name, func(t *testing.T) {
			client, server := open(t)
			w := New(server)
			drained := make(chan bool, 100)
			w.Async(func() { drained <- w.Blocked() })
			var all []byte
			for i := range 100 { // more than the sockets' buffers take
				p := bytes.Repeat([]byte{byte(i)}, 200<<10)
				if n, err := w.Write(p); n != len(p) || err != nil {
					t.Fatalf("write %d: %d, %v", i, n, err)
				}
				all = append(all, p...)
			}
			if !w.Blocked() {
				t.Error("20 MB went into a socket that nobody reads")
			}
			got := make([]byte, len(all))
			_, err := io.ReadFull(client, got)
			check(t, err)
			if !bytes.Equal(got, all) {
				t.Error("the bytes came in another order")
			}
			if <-drained {
				t.Error("called while there was more to write")
			}
			w.Finish(time.Second)
			if w.Blocked() {
				t.Error("blocked with nothing to write")
			}
			_ = client.Close()
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if _, err = w.Write([]byte("x")); err != nil {
					break
				}
			}
			if err == nil {
				t.Error("a write to a closed connection goes on without an error")
			}
		})
	}
}

func TestAsyncFinishGivesUp(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	w := New(server)
	w.Async(func() {})
	_, _ = w.Write([]byte("never read"))
	begin := time.Now()
	w.Finish(50 * time.Millisecond)
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("waited %v", took)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("after a write that failed the next one goes on")
	}
}
