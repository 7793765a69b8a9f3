package resolve

import (
	"context"
	"sync"
	"time"

	"xmpp-gw/policy"
)

// Links remembers for a while what the host-meta of domains says, so that a domain
// without onion addresses costs one request in that time and not one a login. It
// may be shared: what it holds was proven by TLS for the domain, whoever fetched
// it. The zero value is ready for use, by several goroutines.
type Links struct {
	// Budget is the most that one fetch may take; zero means DefaultTimeout.
	Budget time.Duration

	mu    sync.Mutex
	known map[string]linked
}

// linked is what is known of one domain.
type linked struct {
	onions []policy.Endpoint
	until  time.Time
}

const (
	keepLinks   = 6 * time.Hour
	keepFailure = 15 * time.Minute
	maxLinked   = 4096 // domains
)

// Over is a function for Options.Links that asks by h. A fetch goes on to
// its end when the login that began it does not wait any more: the next one finds
// the answer.
func (l *Links) Over(h HostMeta) func(ctx context.Context, domain string) []policy.Endpoint {
	return func(ctx context.Context, domain string) []policy.Endpoint {
		if onions, ok := l.remembered(domain); ok {
			return onions
		}
		budget := l.Budget
		if budget == 0 {
			budget = DefaultTimeout
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
		defer cancel()
		onions, err := h.Onions(ctx, domain)
		keep := keepLinks
		if err != nil {
			keep = keepFailure
		}
		l.remember(domain, onions, keep)
		return onions
	}
}

// remembered is what is known and fresh.
func (l *Links) remembered(domain string) ([]policy.Endpoint, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.known[domain]
	if !ok || time.Now().After(k.until) {
		return nil, false
	}
	return k.onions, true
}

func (l *Links) remember(domain string, onions []policy.Endpoint, keep time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= maxLinked {
		l.known = map[string]linked{} // it costs a request each, and no more
	}
	l.known[domain] = linked{onions, time.Now().Add(keep)}
}
