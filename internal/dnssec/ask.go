package dnssec

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

type question struct {
	name  string
	qtype uint16
}

// future is an answer that is on its way.
type future struct {
	done chan struct{}
	m    *message
	err  error
}

// ask puts a question, unless this lookup has done so already, and waits for the
// answer.
func (r *run) ask(name string, qtype uint16) (*message, error) {
	f, err := r.begin(name, qtype)
	if err != nil {
		return nil, err
	}
	select {
	case <-f.done:
		return f.m, f.err
	case <-r.ctx.Done():
		return nil, fmt.Errorf("no answer for the %s records of %s: %w", typeName(qtype), name, context.Cause(r.ctx))
	}
}

// begin puts a question without waiting.
func (r *run) begin(name string, qtype uint16) (*future, error) {
	q := question{name, qtype}
	if f := r.asked[q]; f != nil {
		return f, nil
	}
	if r.left.Messages--; r.left.Messages < 0 {
		return nil, overworked("proving this takes more than %d questions", r.v.limits.Messages)
	}
	f := &future{done: make(chan struct{})}
	r.asked[q] = f
	r.asking.Go(func() {
		defer close(f.done)
		f.m, f.err = fetch(r.ctx, r.v.exchange, q)
	})
	return f, nil
}

// start puts a question together with what the walk to its name will want.
func (r *run) start(name string, qtype uint16) (*message, error) {
	if _, err := r.begin(name, qtype); err != nil {
		return nil, err
	}
	r.prefetch(name)
	return r.ask(name, qtype)
}

// prefetch asks at once for what the walk to name will want, where that is easy to
// guess. The walk would ask step by step, and a step over Tor is a second. Whether
// an answer comes does not matter here.
func (r *run) prefetch(name string) {
	var zones []string
	for n := name; ; n = parent(n) {
		// Names that begin with an underscore hold services; they are no zones.
		if _, known := r.v.cached(n, r.now); !known && !strings.HasPrefix(n, "_") {
			zones = append(zones, n)
		}
		if n == "." || r.v.anchors[n] != nil {
			break
		}
	}
	for _, z := range zones[max(0, len(zones)-maxPrefetch):] {
		if r.v.anchors[z] == nil {
			r.begin(z, dns.TypeDS)
		}
		r.begin(z, dns.TypeDNSKEY)
	}
}

// fetch asks and reads the answer.
func fetch(ctx context.Context, exchange Exchange, q question) (*message, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.qtype)
	m.CheckingDisabled = true // RFC 4035 §4.9.2: what is bogus is to be seen, not withheld
	m.SetEdns0(1232, true)    // RFC 4035 §4.9.1: with the signatures
	reply, err := exchange(ctx, m)
	switch {
	case err != nil:
		return nil, err
	case reply == nil:
		return nil, errors.New("no answer")
	case !reply.Response, len(reply.Question) != 1,
		reply.Question[0].Qtype != q.qtype, reply.Question[0].Qclass != dns.ClassINET,
		dns.CanonicalName(reply.Question[0].Name) != q.name:
		return nil, errors.New("the answer is to another question")
	case reply.Truncated:
		return nil, errors.New("the answer is cut short")
	case reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("the server answered %s", dns.RcodeToString[reply.Rcode])
	}
	return read(reply), nil
}
