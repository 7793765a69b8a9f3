package server

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/wire"
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
