package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"xmpp-gw/internal/haproxy"
)

// drainTime is how long a direction may be silent once the other has ended.
const drainTime = 5 * time.Minute

// Target is the server that a forwarder hands connections to.
type Target struct {
	// Dial connects to it, within a time of its own. The text of its error must
	// hold no address.
	Dial func(ctx context.Context) (net.Conn, error)
	// Proxy is the header that the target gets in front of each connection: tor's
	// own where there is one.
	Proxy haproxy.Version
}

// Forwarder hands the connections of a [Gate] on to a target.
type Forwarder struct {
	gate  *Gate
	proxy haproxy.Version
	probe *Probe
	drain time.Duration

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// To hands the connections of g, which it owns from then on, to t until Close.
func To(g *Gate, t Target) *Forwarder {
	f := &Forwarder{gate: g, proxy: t.Proxy, probe: NewProbe(t.Dial, g.options.Log), drain: drainTime}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.wg.Go(f.run)
	return f
}

func (f *Forwarder) run() {
	for {
		conn, err := f.gate.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.serve(conn.(*Conn)) })
	}
}

// Close ends the gate and every connection, and returns once they are gone.
func (f *Forwarder) Close() error {
	f.stop()
	err := f.gate.Close()
	f.wg.Wait()
	return err
}

// Check says whether the target answers; see [Probe.Check].
func (f *Forwarder) Check(ctx context.Context) error { return f.probe.Check(ctx) }

// Refused is how many connections the limits turned away so far.
func (f *Forwarder) Refused() uint64 { return f.gate.Refused() }

// serve hands one connection on.
func (f *Forwarder) serve(client *Conn) {
	defer client.Close()
	server, err := f.probe.dial(f.ctx)
	if err != nil {
		return
	}
	defer server.Close()
	end := context.AfterFunc(f.ctx, func() { _ = server.Close() })
	defer end()
	if header := client.header.Append(nil, f.proxy); len(header) > 0 {
		if _, err := server.Write(header); err != nil {
			return
		}
	}
	var up sync.WaitGroup
	up.Go(func() { f.move(server, client) })
	f.move(client, server)
	up.Wait()
}

// move copies from one connection to the other, and passes the end on: an end of
// what is sent ends only that direction, a failure ends both. Once it is over,
// the other direction may be silent for the drain time and no longer.
func (f *Forwarder) move(to, from net.Conn) {
	_, err := f.copy(to, from)
	if err == nil {
		err = closeWrite(to)
	}
	if err != nil {
		_ = to.Close()
		_ = from.Close()
		return
	}
	_ = to.SetReadDeadline(time.Now().Add(f.drain))
}

// copy copies until the end. A read deadline, which only the drain sets, is put
// off as long as something moves.
func (f *Forwarder) copy(to, from net.Conn) (moved int64, err error) {
	for {
		n, err := pump(to, from)
		moved += n
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 {
			return moved, err
		}
		_ = from.SetReadDeadline(time.Now().Add(f.drain))
	}
}

// pump copies between the sockets themselves, which the kernel can do alone,
// after what the gate has read already.
func pump(to, from net.Conn) (int64, error) {
	var moved int64
	if c, ok := from.(*Conn); ok {
		if c.rest != nil {
			n, err := io.CopyN(to, c, int64(c.rest.Buffered()))
			if moved += n; err != nil {
				return moved, err
			}
			c.rest = nil
		}
		from = c.Conn
	}
	if c, ok := to.(*Conn); ok {
		to = c.Conn
	}
	n, err := io.Copy(to, from)
	return moved + n, err
}
