package forward

import (
	"sync"
	"time"
)

// Limits bounds what comes in by one port of a published service; 0 is no bound.
type Limits struct {
	Total     int // connections at a time, of everybody
	Open      int // connections at a time of one circuit
	PerMinute int // new connections of one circuit in a minute
}

// DefaultLimits leave room for a client with many accounts and for another
// server, which come by one circuit each, and bound what a flood may cost.
func DefaultLimits() Limits { return Limits{Total: 2000, Open: 64, PerMinute: 120} }

// circuits counts connections by circuit.
type circuits struct {
	limits Limits
	now    func() time.Time

	mu     sync.Mutex
	total  int
	by     map[uint32]*circuit
	swept  time.Time
	turned uint64 // connections that were refused
	told   time.Time
}

// circuit is one circuit's account. Its tokens are a bucket of PerMinute
// connections, filled evenly in the course of a minute.
type circuit struct {
	open   int
	tokens float64
	last   time.Time
}

func newCircuits(l Limits) *circuits {
	return &circuits{limits: l, now: time.Now, by: make(map[uint32]*circuit)}
}

// enter counts a connection whose circuit is not known yet, or refuses it.
func (c *circuits) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limits.Total > 0 && c.total >= c.limits.Total {
		return false
	}
	c.total++
	return true
}

// admit counts a connection of this circuit, or refuses it.
func (c *circuits) admit(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	c.sweep(now)
	full := float64(c.limits.PerMinute)
	one := c.by[id]
	if one == nil {
		one = &circuit{tokens: full, last: now}
		c.by[id] = one
	}
	one.tokens = min(full, one.tokens+full*now.Sub(one.last).Minutes())
	one.last = now
	if c.limits.Open > 0 && one.open >= c.limits.Open || c.limits.PerMinute > 0 && one.tokens < 1 {
		return false
	}
	one.tokens--
	one.open++
	return true
}

// leave ends the count of a connection.
func (c *circuits) leave(id uint32, admitted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if admitted {
		c.by[id].open--
	}
}

// sweep forgets, once a minute, the circuits that nothing is open on and whose
// buckets are full again.
func (c *circuits) sweep(now time.Time) {
	if now.Sub(c.swept) < time.Minute {
		return
	}
	c.swept = now
	for id, one := range c.by {
		if one.open == 0 && now.Sub(one.last) >= time.Minute {
			delete(c.by, id)
		}
	}
}

// refuse counts a refusal, and says whether it is time to tell of it.
func (c *circuits) refuse(now time.Time) (n uint64, tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turned++
	tell = now.Sub(c.told) >= time.Minute
	if tell {
		c.told = now
	}
	return c.turned, tell
}

func (c *circuits) refusals() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turned
}
