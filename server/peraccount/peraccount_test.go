package peraccount

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"xmpp-gw/internal/address"
)

func who(n int) address.Address {
	return address.Address{Local: fmt.Sprint("a", n), Domain: "example.org"}
}

func newCounting(max int) (*Cache[int], *atomic.Int64) {
	var loads atomic.Int64
	return New(func(context.Context, address.Address) (*int, error) {
		n := int(loads.Add(1))
		return &n, nil
	}, func(*int) int { return 9 }, max), &loads
}

func hold(t *testing.T, c *Cache[int], n int) *Entry[int] {
	t.Helper()
	e, err := c.Hold(context.Background(), who(n))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// What somebody holds is read once and stays, whatever else comes.
func TestHeldStays(t *testing.T) {
	c, loads := newCounting(20)
	e := hold(t, c, 0)
	for n := 1; n < 50; n++ {
		hold(t, c, n).Release()
	}
	if got := hold(t, c, 0); got != e || loads.Load() != 50 {
		t.Errorf("the held entry was read again: %d readings", loads.Load())
	}
	if c.Loaded(who(0)) != e.Value || c.Loaded(who(49)) == nil || c.Loaded(who(1)) != nil {
		t.Error("Loaded does not say what is in memory")
	}
}

// Nobody's entries stay up to the limit, the last used ones.
func TestIdleBound(t *testing.T) {
	c, loads := newCounting(30) // three of weight 10
	for _, n := range []int{1, 2, 3, 1, 4} {
		hold(t, c, n).Release()
	}
	if loads.Load() != 4 {
		t.Fatalf("%d readings, want 4", loads.Load())
	}
	for n, want := range map[int]bool{1: true, 2: false, 3: true, 4: true} {
		if (c.Loaded(who(n)) != nil) != want {
			t.Errorf("%d in memory: %v, want %v", n, !want, want)
		}
	}
	small, _ := newCounting(0)
	hold(t, small, 1).Release()
	if small.Loaded(who(1)) == nil {
		t.Error("an entry heavier than the limit is not kept at all")
	}
	if c.idleWeight != 30 {
		t.Errorf("the idle ones weigh %d", c.idleWeight)
	}
}

func TestForget(t *testing.T) {
	c, loads := newCounting(100)
	old := hold(t, c, 1)
	c.Forget(who(1))
	c.Forget(who(2))
	fresh := hold(t, c, 1)
	if fresh == old || loads.Load() != 2 {
		t.Error("the entry was not read again")
	}
	old.Release()
	if c.Loaded(who(1)) != fresh.Value {
		t.Error("releasing the old entry removed the new one")
	}
	fresh.Release()
	c.Forget(who(1))
	if c.idleWeight != 0 || c.idle.Len() != 0 || c.Loaded(who(1)) != nil {
		t.Error("a forgotten entry is still there")
	}
}

func TestLoadError(t *testing.T) {
	broken := errors.New("broken")
	fail := true
	c := New(func(context.Context, address.Address) (*int, error) {
		if fail {
			return nil, broken
		}
		return new(int), nil
	}, func(*int) int { return 1 }, 10)
	if _, err := c.Hold(context.Background(), who(1)); !errors.Is(err, broken) {
		t.Fatalf("error %v", err)
	}
	fail = false
	e, err := c.Hold(context.Background(), who(1))
	if err != nil {
		t.Fatalf("the error was kept: %v", err)
	}
	e.Release()
}

// A waiting caller gives up when its own time is over; the reading goes on.
func TestWaitingEnds(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	c := New(func(context.Context, address.Address) (*int, error) {
		close(started)
		<-finish
		return new(int), nil
	}, func(*int) int { return 1 }, 10)
	done := make(chan *Entry[int])
	go func() { e, _ := c.Hold(context.Background(), who(1)); done <- e }()
	<-started
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Hold(ctx, who(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if c.Loaded(who(1)) != nil {
		t.Error("something is loaded before it is read")
	}
	close(finish)
	(<-done).Release()
	if c.Loaded(who(1)) == nil {
		t.Error("the reading was lost")
	}
}

func TestConcurrent(t *testing.T) {
	c, loads := newCounting(50)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				e, err := c.Hold(context.Background(), who((i*7+g)%20))
				if err != nil {
					t.Error(err)
					return
				}
				if i%97 == 0 {
					c.Forget(e.owner)
				}
				c.Loaded(who(i % 20))
				e.Release()
			}
		})
	}
	wg.Wait()
	held := 0
	for i := range c.shards {
		for _, e := range c.shards[i].entries {
			held += e.holders
		}
	}
	if held != 0 || c.idleWeight > 50 || c.idleWeight != 10*c.idle.Len() {
		t.Errorf("%d holders, weight %d of %d entries after %d readings", held, c.idleWeight, c.idle.Len(), loads.Load())
	}
}
