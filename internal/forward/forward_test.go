package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/haproxy"
)

// scene is a gate, and what its connections are handed to.
type scene struct {
	t    *testing.T
	path string
	log  lockedBuffer
	f    *Forwarder
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func listenUnix(t *testing.T) (net.Listener, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

func play(t *testing.T, o Options, target Target) *scene {
	t.Helper()
	l, path := listenUnix(t)
	s := &scene{t: t, path: path}
	o.Log = slog.New(slog.NewTextHandler(&s.log, nil))
	s.f = To(NewGate(l, o), target)
	t.Cleanup(func() { s.f.Close() })
	return s
}

// dial connects as tor does, for a client of this circuit.
func (s *scene) dial(circuit uint32, text string) *net.UnixConn {
	s.t.Helper()
	c, err := net.Dial("unix", s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	// An error is of a connection that was turned away before it could speak.
	_, _ = c.Write(append(haproxy.ForCircuit(circuit, 5222).Append(nil, haproxy.V1), text...))
	return c.(*net.UnixConn)
}

// echo is a target that says everything back, and then "bye", when the client
// has ended its direction.
// dialled counts who came.
func echo(t *testing.T) (_ Target, dialled *atomic.Int32) {
	l, path := listenUnix(t)
	dialled = new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
				io.WriteString(c, "bye")
			}()
		}
	}()
	return Target{Dial: func(ctx context.Context) (net.Conn, error) {
		dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}, dialled
}

// The header is passed on as asked for, what came with it and after it follows,
// and a client that ended its direction still gets the answer.
func TestForward(t *testing.T) {
	long := strings.Repeat("<presence/>", 20000)
	for _, v := range []haproxy.Version{haproxy.None, haproxy.V1, haproxy.V2} {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			target, _ := echo(t)
			target.Proxy = v
			s := play(t, Options{CircuitID: true, Limits: DefaultLimits()}, target)
			c := s.dial(7, "<stream>")
			go func() {
				io.WriteString(c, long)
				c.CloseWrite()
			}()
			got, err := io.ReadAll(c)
			want := string(haproxy.ForCircuit(7, 5222).Append(nil, v)) + "<stream>" + long + "bye"
			if err != nil || string(got) != want {
				t.Errorf("%d bytes (%v), want %d: %.120q", len(got), err, len(want), got)
			}
		})
	}
}

// Without circuit numbers nothing is taken off.
func TestForwardPlain(t *testing.T) {
	target, _ := echo(t)
	s := play(t, Options{}, target)
	c, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "PROXY hello")
	c.(*net.UnixConn).CloseWrite()
	if got, _ := io.ReadAll(c); string(got) != "PROXY hellobye" {
		t.Errorf("%q", got)
	}
}

// A server that ends its direction first still gets what the client sends, and a
// direction that then stays silent is ended.
func TestHalfClose(t *testing.T) {
	l, path := listenUnix(t)
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.(*net.UnixConn).CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	}()
	s := play(t, Options{CircuitID: true}, Target{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}})
	s.f.drain = 300 * time.Millisecond
	c := s.dial(1, "")
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("read %q, %v", b, err)
	}
	for range 4 { // in all more than the drain time, but never silent that long
		time.Sleep(100 * time.Millisecond)
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Errorf("after the server's end: %v", err)
		}
	}
	select {
	case b := <-got:
		if b != "xxxx" {
			t.Errorf("the server got %q", b)
		}
	case <-time.After(5 * time.Second):
		t.Error("a silent direction is not ended")
	}
}

// closed reports whether the far end ends the connection without a word.
func closed(c net.Conn) bool {
	n, err := c.Read(make([]byte, 1))
	return n == 0 && err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func answers(c net.Conn) bool {
	_, err := io.WriteString(c, "?")
	b := make([]byte, 1)
	_, rerr := io.ReadFull(c, b)
	return err == nil && rerr == nil && b[0] == '?'
}

func TestLimitOfOneCircuit(t *testing.T) {
	target, _ := echo(t)
	s := play(t, Options{CircuitID: true, Limits: Limits{Open: 2}}, target)
	first, second := s.dial(1, ""), s.dial(1, "")
	if !answers(first) || !answers(second) {
		t.Fatal("the limit is not reached yet")
	}
	if !closed(s.dial(1, "")) {
		t.Error("a third connection of the circuit comes in")
	}
	if !answers(s.dial(2, "")) {
		t.Error("another circuit is turned away")
	}
	if s.f.gate.Refused() != 1 || !strings.Contains(s.log.String(), "turns connections away") {
		t.Errorf("%d refused; log: %s", s.f.gate.Refused(), &s.log)
	}
	first.Close()
	for deadline := time.Now().Add(5 * time.Second); !answers(s.dial(1, "")); {
		if time.Now().After(deadline) {
			t.Fatal("the end of one makes no room for the next")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestLimitOfAll(t *testing.T) {
	target, _ := echo(t)
	s := play(t, Options{Limits: Limits{Total: 1}}, target)
	dial := func() net.Conn {
		c, err := net.Dial("unix", s.path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	first := dial()
	if !answers(first) {
		t.Error("the first is turned away")
	}
	if !closed(dial()) {
		t.Error("a second connection comes in")
	}
	first.Close()
	for deadline := time.Now().Add(5 * time.Second); !answers(dial()); {
		if time.Now().After(deadline) {
			t.Fatal("the end of one makes no room for the next")
		}
	}
}

func TestLimitOfAMinute(t *testing.T) {
	now := time.Unix(1000, 0)
	c := newCircuits(Limits{PerMinute: 6})
	c.now = func() time.Time { return now }
	admitted := func(id uint32) (n int) {
		for range 20 {
			if !c.enter() {
				t.Fatal("there is no limit of all")
			}
			ok := c.admit(id)
			if ok {
				n++
			}
			c.leave(id, ok)
		}
		return n
	}
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 6}, {time.Second, 0}, {19 * time.Second, 2}, {10 * time.Minute, 6}} {
		now = now.Add(step.after)
		if n := admitted(1); n != step.want {
			t.Errorf("after %v more: %d, want %d", step.after, n, step.want)
		}
	}
	if n := admitted(2); n != 6 {
		t.Errorf("another circuit: %d", n)
	}
	now = now.Add(2 * time.Minute)
	admitted(3)
	if len(c.by) != 1 || c.total != 0 {
		t.Errorf("%d circuits are remembered, %d connections counted", len(c.by), c.total)
	}
}

// A target that is not there: the client is turned away, the log says so once,
// and Check gives the reason until it is there.
func TestTargetIsDown(t *testing.T) {
	var mu sync.Mutex
	down := errors.New("the target does not answer: nothing listens there")
	up, _ := echo(t)
	s := play(t, Options{CircuitID: true}, Target{Dial: func(ctx context.Context) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if down != nil {
			return nil, down
		}
		return up.Dial(ctx)
	}})
	for range 3 {
		if !closed(s.dial(1, "<stream>")) {
			t.Error("there is somebody")
		}
	}
	if n := strings.Count(s.log.String(), "turned away"); n != 1 {
		t.Errorf("told %d times: %s", n, &s.log)
	}
	if err := s.f.Check(context.Background()); err != down {
		t.Errorf("Check = %v", err)
	}
	mu.Lock()
	down = nil
	mu.Unlock()
	if !answers(s.dial(1, "")) {
		t.Error("it is not tried again")
	}
	if err := s.f.Check(context.Background()); err != nil || !strings.Contains(s.log.String(), "answers again") {
		t.Errorf("Check = %v; log: %s", err, &s.log)
	}
}

// Check tries a target that nobody has used yet.
func TestCheckTries(t *testing.T) {
	tried := 0
	f := To(NewGate(nothing{}, Options{}), Target{Dial: func(context.Context) (net.Conn, error) {
		tried++
		return nil, errors.New("no")
	}})
	for range 3 {
		if err := f.Check(context.Background()); err == nil {
			t.Error("it answers")
		}
	}
	if tried != 1 {
		t.Errorf("tried %d times in a row", tried)
	}
	f.Close()
}

type nothing struct{}

func (nothing) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (nothing) Close() error              { return nil }
func (nothing) Addr() net.Addr            { return &net.UnixAddr{} }

// What is not tor does not come through, and a connection that says nothing is
// not waited for by the others.
func TestNoHeader(t *testing.T) {
	target, dialled := echo(t)
	s := play(t, Options{CircuitID: true}, target)
	for _, text := range []string{"<?xml version='1.0'?>", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY UNKNOWN\r\n"} {
		c, err := net.Dial("unix", s.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, text)
		if !closed(c) {
			t.Errorf("%q comes in", text)
		}
	}
	silent, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if !answers(s.dial(1, "")) {
		t.Error("a silent connection is in the way")
	}
	if n := dialled.Load(); n != 1 {
		t.Errorf("the target was dialled %d times", n)
	}
}

// A gate is a listener for a server in this process.
func TestGateIsAListener(t *testing.T) {
	l, path := listenUnix(t)
	g := NewGate(l, Options{CircuitID: true})
	defer g.Close()
	s := &scene{t: t, path: path}
	s.dial(42, "hello")
	c, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if id, ok := c.(*Conn).Circuit(); id != 42 || !ok {
		t.Errorf("Circuit = %d, %v", id, ok)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	g.Close()
	if _, err := g.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close = %v", err)
	}
	if _, err := c.Write(b); err == nil {
		t.Error("Close leaves a connection open")
	}
}

// Closing in the middle of everything leaves neither goroutines nor descriptors.
func TestNothingIsLeft(t *testing.T) {
	count := func() (goroutines, fds int) {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(open)
	}
	target, _ := echo(t)
	goroutines, fds := count()
	for range 10 {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		f := To(NewGate(l, Options{CircuitID: true}), target)
		s := &scene{t: t, path: l.Addr().String()}
		var conns []net.Conn
		for i := range 5 {
			conns = append(conns, s.dial(uint32(i), "x"))
		}
		conns[0].Close()
		f.Close()
		for _, c := range conns {
			c.Close()
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		g, n := count()
		if g <= goroutines && n <= fds {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines and %d descriptors, before %d and %d", g, n, goroutines, fds)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
