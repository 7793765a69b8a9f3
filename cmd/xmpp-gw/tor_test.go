package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
)

// fakeTor is a Tor that ends when it is told to.
type fakeTor struct {
	socks  string
	done   chan struct{}
	err    error
	closed chan struct{}
	once   sync.Once
	asked  atomic.Int32
	system bool

	mu        sync.Mutex
	refuses   error         // what Publish fails with
	locked    error         // what Authorize fails with
	busy      chan struct{} // Publish waits for it, unless it is nil
	published []onion.Publication
	keys      []onion.ClientKey
	state     onion.State // of all services
}

func newFakeTor(socks string) *fakeTor {
	return &fakeTor{socks: socks, state: onion.StatePublishing, done: make(chan struct{}), closed: make(chan struct{})}
}

func (f *fakeTor) SOCKS() string         { return f.socks }
func (f *fakeTor) Version() string       { return "0.4.9.11" }
func (f *fakeTor) Managed() bool         { return !f.system }
func (f *fakeTor) Done() <-chan struct{} { return f.done }
func (f *fakeTor) Err() error            { return f.err }
func (f *fakeTor) Close() error          { f.once.Do(func() { close(f.closed) }); return nil }
func (f *fakeTor) Publish(_ context.Context, all []onion.Publication) error {
	f.mu.Lock()
	busy := f.busy
	f.mu.Unlock()
	if busy != nil {
		<-busy
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses != nil {
		return f.refuses
	}
	for _, p := range all {
		if f.system && p.CircuitID {
			return &onion.ManagedOnlyError{Service: p.Name, Setting: "circuit ids"}
		}
	}
	f.published = all
	return nil
}
func (f *fakeTor) Authorize(_ context.Context, keys []onion.ClientKey) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locked != nil {
		return f.locked
	}
	f.keys = keys
	return nil
}
func (f *fakeTor) Services() (all []onion.ServiceState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.published {
		all = append(all, onion.ServiceState{Name: p.Name, Address: p.Address, State: f.state, Uploaded: 3, Uploads: 6})
	}
	return all
}
func (f *fakeTor) Health(context.Context) (onion.Health, error) { return onion.Health{}, nil }
func (f *fakeTor) Circuits(context.Context) (map[string]onion.Circuit, error) {
	f.asked.Add(1)
	return map[string]onion.Circuit{"user": {ID: "12", Hops: 3}}, nil
}

// keep runs a keeper whose starts are taken from starts, one by one.
func keep(t *testing.T, starts ...func(context.Context, func(onion.Progress)) (torDaemon, error)) (k *torKeeper, states func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	n := 0
	k = newTorKeeper(func(ctx context.Context, p func(onion.Progress)) (torDaemon, error) {
		if n == len(starts) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		n++
		return starts[n-1](ctx, p)
	}, func(s control.Tor) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%s %d", s.State, s.Bootstrap))
	})
	k.pause = time.Millisecond
	if state := k.Status().State; state != control.StateOff {
		t.Errorf("before Tor is wanted it is %q", state)
	}
	k.want()
	k.want() // again, as a reload does
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { k.run(ctx); close(ended) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Error("the keeper does not end")
		}
	})
	return k, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), seen...)
	}
}

func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A session that comes before Tor is up waits for it.
func TestTorIsWaitedFor(t *testing.T) {
	tor := newFakeTor("unix:/tor")
	release := make(chan struct{})
	k, states := keep(t, func(_ context.Context, p func(onion.Progress)) (torDaemon, error) {
		p(onion.Progress{Percent: 45, Summary: "Loading relay descriptors"})
		<-release
		p(onion.Progress{Percent: 100})
		return tor, nil
	})

	brief, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := k.SOCKS(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a budget that ran out gave %v", err)
	}
	got := make(chan string)
	go func() {
		socks, err := k.SOCKS(short(t))
		got <- fmt.Sprint(socks, err)
	}()
	close(release)
	if s := <-got; s != "unix:/tor<nil>" {
		t.Errorf("SOCKS = %s", s)
	}
	for range 3 {
		if circuit, err := k.Circuit(short(t), "user"); err != nil || circuit == "" {
			t.Errorf("Circuit = %q, %v", circuit, err)
		}
	}
	if _, err := k.Circuit(short(t), "nobody"); !errors.Is(err, onion.ErrNoCircuit) {
		t.Errorf("Circuit of nobody = %v", err)
	}
	if n := tor.asked.Load(); n != 1 {
		t.Errorf("Tor was asked %d times for its circuits", n)
	}
	if s := k.Status(); s.State != control.StateReady || !s.Managed || s.Version != "0.4.9.11" {
		t.Errorf("Status = %+v", s)
	}
	want := "[starting 45 starting 100 ready 100]"
	if got := fmt.Sprint(states()); got != want {
		t.Errorf("states %s, want %s", got, want)
	}
}

// Without a tor program a session is told so at once, and Tor is tried again.
func TestTorIsMissingThenThere(t *testing.T) {
	tor := newFakeTor("unix:/tor")
	installed := make(chan struct{})
	k, _ := keep(t,
		func(context.Context, func(onion.Progress)) (torDaemon, error) { return nil, onion.ErrNotInstalled },
		func(context.Context, func(onion.Progress)) (torDaemon, error) {
			<-installed
			return tor, nil
		})
	for k.Status().State != control.StateFailed {
		time.Sleep(time.Millisecond)
	}
	_, err := k.SOCKS(short(t))
	if !errors.Is(err, onion.ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install tor") {
		t.Errorf("SOCKS = %v", err)
	}
	if _, err := k.Circuit(short(t), "u"); !errors.Is(err, onion.ErrNoCircuit) {
		t.Errorf("Circuit = %v", err)
	}
	close(installed)
	for k.Status().State != control.StateReady {
		time.Sleep(time.Millisecond)
	}
	if socks, err := k.SOCKS(short(t)); socks != "unix:/tor" {
		t.Errorf("SOCKS = %q, %v", socks, err)
	}
}

func TestTorDiesAndComesBack(t *testing.T) {
	first, second := newFakeTor("unix:/1"), newFakeTor("unix:/2")
	give := func(f *fakeTor) func(context.Context, func(onion.Progress)) (torDaemon, error) {
		return func(context.Context, func(onion.Progress)) (torDaemon, error) { return f, nil }
	}
	k, states := keep(t, give(first), give(second))
	if socks, err := k.SOCKS(short(t)); socks != "unix:/1" {
		t.Fatalf("SOCKS = %q, %v", socks, err)
	}
	first.err = errors.New("exit status 1")
	close(first.done)
	<-first.closed
	for k.Status().State != control.StateReady || len(states()) < 3 {
		time.Sleep(time.Millisecond)
	}
	if socks, err := k.SOCKS(short(t)); socks != "unix:/2" {
		t.Errorf("SOCKS = %q, %v", socks, err)
	}
	if got, want := fmt.Sprint(states()), "[ready 100 failed 0 ready 100]"; got != want {
		t.Errorf("states %s, want %s", got, want)
	}
}

func TestTorOff(t *testing.T) {
	k, _ := keep(t, func(context.Context, func(onion.Progress)) (torDaemon, error) { return nil, onion.ErrOff })
	for k.Status().State != control.StateOff {
		time.Sleep(time.Millisecond)
	}
	if _, err := k.SOCKS(short(t)); !errors.Is(err, onion.ErrOff) {
		t.Errorf("SOCKS = %v", err)
	}
}

// Stopping stops a Tor that is up.
func TestTorIsStopped(t *testing.T) {
	tor := newFakeTor("unix:/tor")
	t.Run("inner", func(t *testing.T) {
		k, _ := keep(t, func(context.Context, func(onion.Progress)) (torDaemon, error) { return tor, nil })
		if _, err := k.SOCKS(short(t)); err != nil {
			t.Fatal(err)
		}
	})
	select {
	case <-tor.closed:
	case <-time.After(5 * time.Second):
		t.Error("tor was left running")
	}
}
