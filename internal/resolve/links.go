package resolve

import (
	"context"
	"sync"
	"time"

	"xmpp-gw/policy"
)

// Links remembers for a while what the host-meta of domains says, so that a domain
// without onion addresses costs one request in that time and not one a login. It
// may be shared: what was proven by TLS for the domain is known to all, whoever fetched
// it; that nothing came, which nobody proves, is known to the circuit where it was so.
// The zero value is ready for use, by several goroutines.
type Links struct {
	// Budget is the most that one fetch may take; zero means DefaultTimeout.
	Budget time.Duration

	mu    sync.Mutex
	known map[asked]linked
}

// asked is whom an answer holds for: a circuit, or all where that is empty.
type asked struct{ circuit, domain string }

// linked is what is known of one domain.
type linked struct {
	onions []policy.Endpoint
	until  time.Time
}

const (
	keepLinks   = 6 * time.Hour
	keepFailure = 15 * time.Minute
	maxLinked   = 4096 // answers
)

// Over is a function for Options.Links that asks by h, on the circuit of that name. A
// fetch goes on to its end when the login that began it does not wait any more: the next
// one finds the answer.
func (l *Links) Over(h HostMeta, circuit string) func(ctx context.Context, domain string) []policy.Endpoint {
	return func(ctx context.Context, domain string) []policy.Endpoint {
		for _, by := range []asked{{"", domain}, {circuit, domain}} {
			if onions, ok := l.remembered(by); ok {
				return onions
			}
		}
		budget := l.Budget
		if budget == 0 {
			budget = DefaultTimeout
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budget)
		defer cancel()
		onions, err := h.Onions(ctx, domain)
		if err != nil {
			l.remember(asked{circuit, domain}, nil, keepFailure)
			return nil
		}
		l.remember(asked{"", domain}, onions, keepLinks)
		return onions
	}
}

// Forget lets go of what is known of a domain: something spoke against it.
func (l *Links) Forget(domain string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, asked{"", domain})
}

// remembered is what is known and fresh.
func (l *Links) remembered(by asked) ([]policy.Endpoint, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.known[by]
	if !ok || time.Now().After(k.until) {
		return nil, false
	}
	return k.onions, true
}

func (l *Links) remember(by asked, onions []policy.Endpoint, keep time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= maxLinked {
		l.known = map[asked]linked{} // it costs a request each, and no more
	}
	l.known[by] = linked{onions, time.Now().Add(keep)}
}
