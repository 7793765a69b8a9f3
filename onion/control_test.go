package onion

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fakeControl is a control port with answers of the test's own. Authentication
// needs no cookie.
type fakeControl struct {
	addr  string
	conns atomic.Int32
	// answer gives the whole reply to a command, lines and all; empty: none.
	answer func(command string) string
	// event is sent to every connection that subscribed.
	event chan string
}

func newFakeControl(t *testing.T, answer func(command string) string) *fakeControl {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeControl{addr: "unix:" + path, answer: answer, event: make(chan string)}
	end := make(chan struct{})
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.conns.Add(1)
			open.Go(func() { f.serve(c, end) })
		}
	})
	t.Cleanup(func() { close(end); l.Close(); open.Wait() })
	return f
}

func (f *fakeControl) serve(c net.Conn, end <-chan struct{}) {
	defer context.AfterFunc(ended(end), func() { c.Close() })()
	defer c.Close()
	in := bufio.NewScanner(c)
	for in.Scan() {
		var reply string
		switch command, _, _ := strings.Cut(in.Text(), " "); command {
		case "PROTOCOLINFO":
			reply = "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250 OK\r\n"
		case "AUTHENTICATE":
			reply = "250 OK\r\n"
		case "SETEVENTS":
			fmt.Fprint(c, "250 OK\r\n")
			for {
				select {
				case e := <-f.event:
					if e == "" {
						return
					}
					fmt.Fprint(c, e)
				case <-end:
					return
				}
			}
		default:
			reply = f.answer(in.Text())
		}
		fmt.Fprint(c, reply)
	}
}

// ended is a context that is over once ch is closed.
func ended(ch <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-ch; cancel() }()
	return ctx
}

func dialFake(t *testing.T, f *fakeControl) *Control {
	t.Helper()
	c, err := DialControl(t.Context(), f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestControlRequests(t *testing.T) {
	f := newFakeControl(t, func(command string) string {
		switch key := strings.TrimPrefix(command, "GETINFO "); key {
		case "one":
			return "250-one=1 and only\r\n250 OK\r\n"
		case "many":
			return "250+many=\r\na\r\n..b\r\n.\r\n250 OK\r\n"
		case "other":
			return "250-another=1\r\n250 OK\r\n"
		case "garbage":
			return "what?\r\n"
		}
		return "552 Unrecognized key\r\n"
	})
	c := dialFake(t, f)
	if got, err := c.Info(t.Context(), "one"); got != "1 and only" || err != nil {
		t.Errorf("one: %q, %v", got, err)
	}
	if got, err := c.Info(t.Context(), "many"); got != "a\n.b" || err != nil {
		t.Errorf("many: %q, %v", got, err)
	}
	if _, err := c.Info(t.Context(), "other"); err == nil {
		t.Error("the value of another key was taken")
	}
	var refused *textproto.Error
	if _, err := c.Info(t.Context(), "none"); !errors.As(err, &refused) || refused.Code != 552 {
		t.Errorf("none: %v", err)
	}
	if _, err := c.Request(t.Context(), "GETINFO one\r\nSIGNAL HALT"); err == nil {
		t.Error("two commands went as one")
	}
	if n := f.conns.Load(); n != 1 {
		t.Errorf("%d connections for what one can do", n)
	}
	if _, err := c.Info(t.Context(), "garbage"); err == nil {
		t.Error("garbage was understood")
	}
	if _, err := c.Info(t.Context(), "one"); err != nil || f.conns.Load() != 2 {
		t.Errorf("after garbage: %v, %d connections, want a new one", err, f.conns.Load())
	}
}

// Whoever gives up must not leave its answer to the next.
func TestControlCancelled(t *testing.T) {
	var slow sync.WaitGroup
	slow.Add(1)
	f := newFakeControl(t, func(command string) string {
		if command == "GETINFO slow" {
			slow.Wait()
			return "250-slow=late\r\n250 OK\r\n"
		}
		key := strings.TrimPrefix(command, "GETINFO ")
		return "250-" + key + "=" + key + "\r\n250 OK\r\n"
	})
	c := dialFake(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Info(ctx, "slow"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	slow.Done()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			key := fmt.Sprint("key", i)
			if got, err := c.Info(t.Context(), key); got != key || err != nil {
				t.Errorf("%s: %q, %v", key, got, err)
			}
		})
	}
	all.Wait()
}

func TestControlClose(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	asked := make(chan struct{}, 1)
	f := newFakeControl(t, func(string) string { asked <- struct{}{}; <-hang; return "" })
	c := dialFake(t, f)
	answer := make(chan error)
	go func() { _, err := c.Info(t.Context(), "x"); answer <- err }()
	<-asked
	c.Close()
	if err := <-answer; !errors.Is(err, ErrControlClosed) {
		t.Errorf("under way: %v", err)
	}
	if _, err := c.Info(t.Context(), "x"); !errors.Is(err, ErrControlClosed) {
		t.Errorf("afterwards: %v", err)
	}
	c.Close()
}

// A stranger on the port must not fill the memory.
func TestControlReplyLimit(t *testing.T) {
	f := newFakeControl(t, func(string) string {
		return strings.Repeat("250-x="+strings.Repeat("x", 1000)+"\r\n", replyLimit/1000) + "250 OK\r\n"
	})
	if _, err := dialFake(t, f).Info(t.Context(), "x"); err == nil {
		t.Error("a reply without end was read")
	}
}

// bootstrapOf runs bootstrap against a control port that tells first and then
// the events.
func bootstrapOf(t *testing.T, ctx context.Context, quiet time.Duration, first string, events ...string) ([]Progress, error) {
	t.Helper()
	f := newFakeControl(t, func(string) string {
		return "250-status/bootstrap-phase=" + first + "\r\n250 OK\r\n"
	})
	c := dialFake(t, f)
	ev, err := c.Events(t.Context(), "STATUS_CLIENT")
	if err != nil {
		t.Fatal(err)
	}
	defer ev.Close()
	over := make(chan struct{})
	defer close(over)
	go func() {
		for _, e := range events {
			if e != "" {
				e = "650 " + e + "\r\n"
			}
			select {
			case f.event <- e:
			case <-over:
				return
			}
		}
	}()
	var seen []Progress
	err = bootstrap(ctx, c, ev, Options{Budget: quiet, Progress: func(p Progress) { seen = append(seen, p) }})
	return seen, err
}

func TestBootstrap(t *testing.T) {
	phase := func(severity string, percent int, more string) string {
		return fmt.Sprintf("STATUS_CLIENT %s BOOTSTRAP PROGRESS=%d TAG=t%d SUMMARY=\"s\"%s", severity, percent, percent, more)
	}
	start := strings.TrimPrefix(phase("NOTICE", 5, ""), "STATUS_CLIENT ")

	t.Run("ready at once", func(t *testing.T) {
		seen, err := bootstrapOf(t, t.Context(), time.Minute, `NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"`)
		if err != nil || len(seen) != 1 || seen[0].Percent != 100 {
			t.Errorf("%v, %v", seen, err)
		}
	})
	t.Run("step by step", func(t *testing.T) {
		seen, err := bootstrapOf(t, t.Context(), time.Minute, start,
			"STATUS_CLIENT NOTICE CIRCUIT_ESTABLISHED", phase("NOTICE", 5, ""), phase("WARN", 5, ` WARNING="refused"`),
			phase("NOTICE", 50, ""), phase("NOTICE", 10, ""), phase("NOTICE", 100, ""))
		want := []Progress{{5, "t5", "s", ""}, {5, "t5", "s", "refused"}, {50, "t50", "s", ""}, {100, "t100", "s", ""}}
		if err != nil || fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("%v, %v, want %v", seen, err, want)
		}
	})
	t.Run("stuck", func(t *testing.T) {
		_, err := bootstrapOf(t, t.Context(), 50*time.Millisecond, start, phase("NOTICE", 20, ""),
			phase("WARN", 20, ` WARNING="no route"`), "STATUS_GENERAL WARN CLOCK_SKEW SKEW=7200 SOURCE=CONSENSUS")
		var stuck *BootstrapError
		if !errors.As(err, &stuck) || stuck.Last.Percent != 20 || stuck.Last.Warning != "no route" || stuck.Skew != 2*time.Hour || stuck.Quiet == 0 {
			t.Errorf("%v", err)
		}
	})
	t.Run("no step at all", func(t *testing.T) {
		_, err := bootstrapOf(t, t.Context(), 20*time.Millisecond, start)
		var stuck *BootstrapError
		if !errors.As(err, &stuck) || stuck.Last.Percent != 5 || stuck.Skew != 0 {
			t.Errorf("%v", err)
		}
	})
	t.Run("given up", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := bootstrapOf(t, ctx, time.Minute, start)
		var stuck *BootstrapError
		if !errors.As(err, &stuck) || !errors.Is(err, context.DeadlineExceeded) || stuck.Quiet != 0 {
			t.Errorf("%v", err)
		}
	})
	t.Run("gone", func(t *testing.T) {
		_, err := bootstrapOf(t, t.Context(), time.Minute, start, phase("NOTICE", 20, ""), "")
		var stuck *BootstrapError
		if err == nil || errors.As(err, &stuck) {
			t.Errorf("%v", err)
		}
	})
	t.Run("not understood", func(t *testing.T) {
		if _, err := bootstrapOf(t, t.Context(), time.Minute, "fine, thanks"); err == nil {
			t.Error("no error")
		}
	})
}
