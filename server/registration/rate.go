package registration

import (
	"sync"
	"time"
)

// Rate bounds how often something may be done: Burst times at once, and then once
// every Interval.
type Rate struct {
	Burst    int
	Interval time.Duration
}

func (r Rate) orDefault(d Rate) Rate {
	if r.Burst <= 0 {
		r.Burst = d.Burst
	}
	if r.Interval <= 0 {
		r.Interval = d.Interval
	}
	return r
}

// maxPeers is how many peers are remembered. With more that have tried something
// lately, newcomers have to wait.
const maxPeers = 1 << 16

// limiter bounds what each of many peers does. The zero value has seen nobody.
type limiter struct {
	mu   sync.Mutex
	full map[string]time.Time // when a peer may do its whole burst again
}

// allow takes one from a peer's allowance, if there is one left.
func (l *limiter) allow(peer string, r Rate, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full == nil {
		l.full = map[string]time.Time{}
	}
	at, known := l.full[peer]
	if !known && len(l.full) >= maxPeers {
		for p, full := range l.full {
			if !full.After(now) {
				delete(l.full, p)
			}
		}
		if len(l.full) >= maxPeers {
			return false
		}
	}
	if at.Before(now) {
		at = now
	}
	if at = at.Add(r.Interval); at.Sub(now) > time.Duration(r.Burst)*r.Interval {
		return false
	}
	l.full[peer] = at
	return true
}
