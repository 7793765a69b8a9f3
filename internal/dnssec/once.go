package dnssec

import (
	"context"
	"fmt"
	"sync"

	"github.com/miekg/dns"
)

// maxOnce bounds the answers that Once keeps.
const maxOnce = 256

// Once gives an exchange that puts each question to e one time while ctx lasts, and
// gives what was answered to all that ask: lookups that go on side by side, such as
// those of one discovery, want the same keys. A question that failed is put again by
// the next who asks. It is safe for concurrent use.
func Once(ctx context.Context, e Exchange) Exchange {
	var mu sync.Mutex
	flights := map[question]*flight{}
	return func(asking context.Context, m *dns.Msg) (*dns.Msg, error) {
		if len(m.Question) != 1 {
			return nil, fmt.Errorf("it is not one question")
		}
		q := question{m.Question[0].Name, m.Question[0].Qtype}
		mu.Lock()
		f := flights[q]
		if f == nil && len(flights) >= maxOnce {
			mu.Unlock()
			return e(asking, m)
		}
		if f == nil {
			f = &flight{done: make(chan struct{})}
			flights[q] = f
			// Not with the context of the first who asks: it ends when that one has
			// what it wants.
			sent := m.Copy()
			go func() {
				defer close(f.done)
				f.reply, f.err = e(ctx, sent)
				if f.err != nil || f.reply == nil {
					mu.Lock()
					delete(flights, q)
					mu.Unlock()
				}
			}()
		}
		mu.Unlock()
		select {
		case <-f.done:
			if f.err != nil || f.reply == nil {
				return nil, f.err
			}
			return f.reply.Copy(), nil // everybody reads in it as they like
		case <-asking.Done():
			return nil, context.Cause(asking)
		}
	}
}

// flight is a question on its way, and then its answer.
type flight struct {
	done  chan struct{}
	reply *dns.Msg
	err   error
}
