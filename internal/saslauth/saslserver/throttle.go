package saslserver

import (
	"hash/maphash"
	"sync"
	"time"
)

// throttle slows down who guesses passwords. It counts failed logins
//
//   - by account and peer together: beyond a few, this peer is refused for this
//     account for a growing time;
//   - by peer: whoever tries many names is refused as well;
//   - by account: beyond many, each login at it takes a while longer, up to
//     some seconds, whoever comes.
//
// So a stranger cannot keep an account's owner out: the owner comes by another
// peer key and waits a little. Where peers cannot be told apart (an onion service
// without circuit ids) only the last rule holds. Names without an account count
// like those with one. Memory is bounded: when it is full, one of the least
// guilty is forgotten.
type throttle struct {
	seed maphash.Seed
	max  int

	mu      sync.Mutex
	buckets map[uint64]bucket
}

// maxBuckets is the most that is remembered, of about 50 bytes each.
const maxBuckets = 1 << 14

// bucket is a number of failures, of which one is forgiven each while.
type bucket struct {
	failures float64
	at       time.Time // when failures was that
}

// rule is what follows from failures.
type rule struct {
	kind    byte
	free    float64       // failures without a consequence
	step    time.Duration // the consequence of the first one beyond; it doubles with each
	most    time.Duration
	forgive time.Duration
}

// What is forgiven must be less than what is waited for, or the waits stop growing.
var (
	byBoth    = rule{kind: 'b', free: 5, step: time.Second, most: 5 * time.Minute, forgive: 10 * time.Minute}
	byPeer    = rule{kind: 'p', free: 20, step: time.Second, most: time.Minute, forgive: 5 * time.Minute}
	byAccount = rule{kind: 'a', free: 20, step: 100 * time.Millisecond, most: 4 * time.Second, forgive: 5 * time.Second}
)

// penalty is the consequence of a number of failures.
func (r *rule) penalty(failures float64) time.Duration {
	beyond := int(failures - r.free)
	if beyond <= 0 {
		return 0
	}
	return min(r.step<<min(beyond-1, 20), r.most)
}

// left is how many of the failures are not forgiven yet.
func (r *rule) left(b bucket, now time.Time) float64 {
	return max(0, b.failures-max(0, now.Sub(b.at).Seconds()/r.forgive.Seconds()))
}

func newThrottle(most int) *throttle {
	return &throttle{seed: maphash.MakeSeed(), max: most, buckets: make(map[uint64]bucket)}
}

func (t *throttle) key(r *rule, account, peer string) uint64 {
	switch r.kind {
	case byPeer.kind:
		account = ""
	case byAccount.kind:
		peer = ""
	}
	return maphash.Comparable(t.seed, [3]string{string(r.kind), account, peer})
}

// rules are those that hold for a peer.
func rules(peer string) []*rule {
	if peer == "" {
		return []*rule{&byAccount}
	}
	return []*rule{&byAccount, &byBoth, &byPeer}
}

// check says what a login must expect: refused for so long, or else delayed by so
// much.
func (t *throttle) check(account, peer string, now time.Time) (refused, delay time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buckets) == 0 {
		return 0, 0
	}
	for _, r := range rules(peer) {
		b, ok := t.buckets[t.key(r, account, peer)]
		if !ok {
			continue
		}
		if r.kind == byAccount.kind {
			delay = r.penalty(r.left(b, now))
			continue
		}
		// From the last failure on, and not from what is left of it by now: time
		// served is not forgiveness.
		refused = max(refused, b.at.Add(r.penalty(b.failures)).Sub(now))
	}
	return refused, delay
}

// failed counts a failure.
func (t *throttle) failed(account, peer string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range rules(peer) {
		key := t.key(r, account, peer)
		b, ok := t.buckets[key]
		if !ok && len(t.buckets) >= t.max {
			t.forget()
		}
		t.buckets[key] = bucket{failures: r.left(b, now) + 1, at: now}
	}
}

// succeeded forgives this peer what it did wrong at this account.
func (t *throttle) succeeded(account, peer string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buckets) > 0 {
		delete(t.buckets, t.key(&byBoth, account, peer))
	}
}

// forget drops the one with the fewest failures, or the oldest, of a few that
// chance picks.
func (t *throttle) forget() {
	var worst uint64
	var least bucket
	seen := 0
	for key, b := range t.buckets {
		if seen == 0 || b.failures < least.failures || b.failures == least.failures && b.at.Before(least.at) {
			worst, least = key, b
		}
		if seen++; seen == 8 {
			break
		}
	}
	delete(t.buckets, worst)
}
