package server

import (
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/wire"
	"xmpp-gw/internal/xmppstream"
)

// Without acknowledgements a message counts as received when the socket has taken it,
// and not when it waits above it.
func TestReceivedWhenTheSocketHasIt(t *testing.T) {
	client, conn := net.Pipe()
	defer client.Close()
	w := wire.New(conn)
	o := &outbox{conn: w, sock: w, limit: 1 << 20}
	w.Async(o.flush)
	send := func() (*Stanza, chan struct{}) {
		st := NewMessage(address.Address{}, address.Address{}, "chat", "", []byte("<body>x</body>"))
		received := make(chan struct{})
		st.WhenReceived(func() { close(received) })
		if _, err := o.add(st); err != nil {
			t.Fatal(err)
		}
		o.flush()
		return st, received
	}
	first, received := send()
	select {
	case <-received:
		t.Error("received by nobody")
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := io.ReadFull(client, make([]byte, first.Size())); err != nil {
		t.Fatal(err)
	}
	select {
	case <-received:
	case <-time.After(5 * time.Second):
		t.Error("not received by the one who has it")
	}
	second, received := send()
	third, _ := send()
	_ = client.Close()
	w.Finish(time.Second)
	select {
	case <-received:
		t.Error("received on a connection that was lost")
	case <-time.After(50 * time.Millisecond):
	}
	if left := o.rest(); !slices.Equal(left, []*Stanza{second, third}) {
		t.Errorf("%d messages are left, want the last two in order", len(left))
	}
}

// What was sent before <enabled/> does not count, and what comes behind it does,
// whatever others send at that moment (XEP-0198 §4).
func TestCountingBeginsBehindEnabled(t *testing.T) {
	client, conn := net.Pipe()
	defer client.Close()
	w := wire.New(conn)
	s := &Session{srv: &Server{}, out: &outbox{conn: w, sock: w, limit: 1 << 30}}
	s.srv.cfg.Limits = DefaultLimits()
	st := NewMessage(address.Address{}, address.Address{}, "", "", []byte("<body/>"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var sent atomic.Int64
	wg.Go(func() {
		for ; ; sent.Add(1) {
			select {
			case <-stop:
				return
			default:
				_, _ = s.out.add(st)
			}
		}
	})
	some := func() {
		for before := sent.Load(); sent.Load() < before+100; {
			runtime.Gosched()
		}
	}
	some()
	n, err := xmppstream.Parse([]byte("<enable xmlns='urn:xmpp:sm:3'/>"), parseLimits)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.streamManagement(n); err != nil {
		t.Fatal(err)
	}
	some()
	close(stop)
	wg.Wait()
	_, behind, ok := strings.Cut(string(s.out.buf), "<enabled")
	if n := strings.Count(behind, "<message"); !ok || n != len(s.out.sm.list) || n == 0 {
		t.Errorf("%d messages came behind <enabled/>, and %d count", n, len(s.out.sm.list))
	}
}
