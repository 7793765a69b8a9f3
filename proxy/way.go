package proxy

import (
	"context"
	"errors"
	"sync"

	"xmpp-gw/internal/dane"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/policy"
)

// way is how one upstream leg leaves this machine: the decided route, and DNS asked
// and judged over it.
type way struct {
	egress.Dialer
	circuit string // whose it is
	secure  resolve.Secure

	// insecure says why it is not proven where DNS says that the server is; nil where
	// it is, and where the owner said it.
	insecure error
}

// way opens one; its lookups end with ctx.
func (s *session) way(ctx context.Context, d policy.Decision, isolation egress.Isolation) (*way, error) {
	dialer, err := s.live.Egress.Dialer(d.Route, isolation)
	if err != nil {
		return nil, err
	}
	w := &way{Dialer: dialer, circuit: isolation.User}
	if s.live.Prover != nil {
		w.secure.Prover = s.live.Prover(ctx, dialer)
	}
	return w, nil
}

// find looks for the domain's server in DNS, with the proof that the decision wants.
func (s *session) find(ctx context.Context, d policy.Decision, w *way, o resolve.Options) (found []policy.Endpoint, err error) {
	switch d.DNSSEC {
	case policy.DNSSECOff:
		if d.TLS.UsesTLSA() { // of a host that anybody may have named; the rules refuse it too
			break
		}
		return resolve.Discover(ctx, s.live.Lookup(w), d.Target.Domain, o)
	case policy.DNSSECPrefer, policy.DNSSECRequire:
		found, w.insecure, err = w.secure.Discover(ctx, d.Target.Domain, o)
		switch {
		case err != nil || w.insecure == nil:
			return found, err
		case d.TLS == policy.TLSDANEOnly: // which is proof of the server, and not for mode to waive
			return nil, needsProof(w.insecure)
		case d.DNSSEC == policy.DNSSECRequire:
			return found, s.object(w.insecure)
		}
		return found, nil
	}
	return nil, errNoDNSSEC
}

var errNoDNSSEC = &Refused{class: "policy", Text: "The rules do not say what proof they want of what DNS says; this is a fault of the gateway, please report it."}

// needsProof is a domain that is not signed, where TLSA records must prove the server.
func needsProof(insecure error) error {
	dns, ok := errors.AsType[*resolve.Error](insecure)
	if !ok {
		return insecure
	}
	return &resolve.Error{Kind: resolve.ErrInsecure, Err: insecure, What: dns.What,
		Why:  dns.Why + `, and tls = "dane-only" is set, for which all of it must be`,
		Hint: `ask the domain's operator for DNSSEC and TLSA records, or set tls = "dane" for the domain`}
}

// askTLSA asks for the TLSA records of e where they may decide, beside what else goes
// on; the function that it gives waits for them, each time. Nil: nobody wants them.
func (w *way) askTLSA(ctx context.Context, d policy.Decision, e policy.Endpoint) func() (*dane.Set, error) {
	if !d.TLS.UsesTLSA() || d.SASL == policy.Passthrough || d.OnionProves(e) {
		return nil
	}
	if w.insecure != nil {
		// RFC 7673 §3.1: then those of a host that anybody may have named prove nothing.
		set := &dane.Set{Missing: w.insecure.Error()}
		if dns, ok := errors.AsType[*resolve.Error](w.insecure); ok {
			set.Missing = dns.Why
		}
		return func() (*dane.Set, error) { return set, nil }
	}
	type answer struct {
		set dane.Set
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		var a answer
		a.set, a.err = w.secure.TLSA(ctx, e.Host, e.Port)
		ch <- a
	}()
	return sync.OnceValues(func() (*dane.Set, error) { // a second look waits for them too
		a := <-ch
		return &a.set, a.err
	})
}
