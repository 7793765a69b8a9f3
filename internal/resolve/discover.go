package resolve

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"xmpp-gw/policy"
)

// SRVLookup gives the SRV records of a name: none and no error when there are
// none. [Client] is one.
type SRVLookup interface {
	SRV(ctx context.Context, name string) ([]SRV, error)
}

// Options are the choices of a discovery.
type Options struct {
	// Onion says that the route is Tor and onion addresses are welcome: they come
	// before all others. Without it those that SRV records name are left out.
	Onion bool
	// OnionOnly leaves out all but onion addresses.
	OnionOnly bool
	// Links gives onion endpoints that the domain names elsewhere, in its
	// host-meta; it is asked beside DNS where Onion is set, and may go on for
	// longer than it is waited for. Nil: nowhere.
	Links func(ctx context.Context, domain string) []policy.Endpoint
	// Patience is how long Links is waited for when DNS has answered and named no
	// onion address; zero means DefaultPatience.
	Patience time.Duration
	// IntN gives a number from 0 to n-1, for RFC 2782's choice by weight; nil
	// means math/rand/v2's (the choice spreads load and is no secret).
	IntN func(n int) int
}

// DefaultPatience is what a web server may cost a login that needs nothing of it.
const DefaultPatience = 3 * time.Second

// plainPort is the client port of RFC 6120 §3.2.2.
const plainPort = 5222

// Discover gives the places where the server of a JID's domain may be, in the
// order in which to try them; the list is never empty without an error. The
// domain may be in any form that ToASCII takes.
//
// An onion address, an IP literal and localhost are their own answer, and no
// query is made. Otherwise _xmpp-client and _xmpps-client are asked at the same
// time and their records mixed as one set (XEP-0368 §3). Where there is neither,
// the domain itself at port 5222 is the answer (RFC 6120 §3.2.2).
//
// With Onion, onion addresses of either come first, and then those of Links.
//
// The errors are ErrNoService when the domain says that it offers none (a
// target of "."), or nothing that this route can use, and ErrNoAnswer when DNS
// could not say.
func Discover(ctx context.Context, dns SRVLookup, domain string, o Options) ([]policy.Endpoint, error) {
	domain, err := ToASCII(domain)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(domain); err == nil || policy.IsOnion(domain) || isLocalhost(domain) {
		return []policy.Endpoint{{Transport: policy.STARTTLS, Host: domain, Port: plainPort}}, nil
	}

	links := o.startLinks(ctx, domain)
	direct := make(chan service, 1)
	go func() { direct <- askService(ctx, dns, "_xmpps-client._tcp."+domain, policy.DirectTLS) }()
	starttls := askService(ctx, dns, "_xmpp-client._tcp."+domain, policy.STARTTLS)
	found, err := o.choose(domain, []service{starttls, <-direct})

	onions, others := slices.Clone(found), found
	onions = slices.DeleteFunc(onions, func(e policy.Endpoint) bool { return !e.Onion() })
	others = slices.DeleteFunc(others, policy.Endpoint.Onion)
	for _, e := range o.awaitLinks(ctx, links, len(onions) > 0) {
		if !slices.Contains(onions, e) {
			onions = append(onions, e)
		}
	}
	switch {
	case len(onions) == 0 && err != nil:
		return nil, err
	case !o.OnionOnly:
		return append(onions, others...), nil
	case len(onions) == 0:
		return nil, &Error{Kind: ErrNoService, What: "the domain names no onion address now", Why: "neither its SRV records nor its host-meta have one"}
	}
	return onions, nil
}

// startLinks asks for links beside DNS; nil where nobody is asked.
func (o Options) startLinks(ctx context.Context, domain string) <-chan []policy.Endpoint {
	if !o.Onion || o.Links == nil {
		return nil
	}
	ch := make(chan []policy.Endpoint, 1)
	go func() { ch <- o.Links(ctx, domain) }()
	return ch
}

// awaitLinks waits for the links; with enough it takes only what is there.
func (o Options) awaitLinks(ctx context.Context, links <-chan []policy.Endpoint, enough bool) []policy.Endpoint {
	if links == nil {
		return nil
	}
	patience := o.Patience
	switch {
	case enough:
		patience = 0
	case patience == 0:
		patience = DefaultPatience
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case l := <-links:
		return l
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// choose makes endpoints of what DNS says.
func (o Options) choose(domain string, services []service) ([]policy.Endpoint, error) {
	var all []candidate
	none := true
	for _, s := range services {
		all = append(all, s.offers...)
		none = none && !s.exists
	}
	usable := slices.DeleteFunc(all, func(c candidate) bool {
		return c.Port == 0 || !validHost(c.Target) && !isLiteral(c.Target) || isLocalhost(c.Target) ||
			policy.IsOnion(c.Target) && (!o.Onion || policy.CheckOnion(c.Target) != nil)
	})
	if len(usable) > 0 {
		// RFC 6120 §3.2.1 rule 8: with records there is no fallback. That the
		// other service could not be asked does not make these worse.
		return endpoints(order(usable, o.IntN)), nil
	}
	for _, s := range services {
		// RFC 6120 §3.2.1 rule 9 would let a query without response fall back as
		// well. Here that is an error: a domain that delegates its service by SRV
		// runs something else on its own host, and whoever can silence a resolver
		// should not choose where the client goes.
		if s.err != nil {
			return nil, s.err
		}
	}
	if none {
		return []policy.Endpoint{{Transport: policy.STARTTLS, Host: domain, Port: plainPort}}, nil
	}
	return nil, noService(services, o)
}

// service is what DNS says of one service.
type service struct {
	exists bool        // there is a record, be it only "."
	onion  bool        // an onion address is among the offers
	offers []candidate // the records that name a host
	err    error       // nobody could say
}

// candidate is an SRV record and the transport of its service.
type candidate struct {
	SRV
	transport policy.Transport
}

// askService asks for one service.
func askService(ctx context.Context, dns SRVLookup, name string, t policy.Transport) service {
	records, err := dns.SRV(ctx, name)
	s := service{exists: len(records) > 0, err: err}
	for _, r := range records[:min(len(records), MaxRecords)] {
		if r.Target == "." { // RFC 2782: decidedly not available
			continue
		}
		s.onion = s.onion || policy.IsOnion(r.Target)
		s.offers = append(s.offers, candidate{r, t})
	}
	return s
}

// noService is the error for a domain whose records lead nowhere.
func noService(services []service, o Options) *Error {
	e := &Error{Kind: ErrNoService, What: "the domain offers no XMPP service",
		Why:  `its SRV records say so with the target "."`,
		Hint: "check the spelling of the domain; if it is right, accounts live on another one"}
	for _, s := range services {
		switch {
		case s.onion && !o.Onion:
			e.Why = "its SRV records name only onion addresses, which this route does not reach, or the rules leave aside"
			e.Hint = `set route = "tor" and onion_upgrade = "sticky" for this domain`
			return e
		case len(s.offers) > 0:
			e.Why = "its SRV records name no usable host"
			e.Hint = "tell the domain's operator"
		}
	}
	return e
}

// isLiteral reports whether an SRV target is an IP address. RFC 2782 wants a
// name, but the meaning is plain and operators do write it.
func isLiteral(target string) bool {
	_, err := netip.ParseAddr(target)
	return err == nil
}

// order sorts by priority, and within one priority draws by weight (RFC 2782,
// "Weight"): records of weight 0 stand first, then a number from 0 to the sum of
// the weights picks the record at which the running sum reaches it.
func order(in []candidate, intN func(int) int) []candidate {
	if intN == nil {
		intN = rand.IntN
	}
	in = slices.Clone(in)
	slices.SortStableFunc(in, func(a, b candidate) int {
		if a.Priority != b.Priority {
			return int(a.Priority) - int(b.Priority)
		}
		return min(int(a.Weight), 1) - min(int(b.Weight), 1)
	})
	out := make([]candidate, 0, len(in))
	for len(in) > 0 {
		sum, same := 0, 0
		for same < len(in) && in[same].Priority == in[0].Priority {
			sum += int(in[same].Weight)
			same++
		}
		draw, pick := intN(sum+1), 0
		for running := int(in[0].Weight); running < draw; running += int(in[pick].Weight) {
			pick++
		}
		out = append(out, in[pick])
		in = slices.Delete(in, pick, pick+1)
	}
	return out
}

// endpoints turns records into endpoints, each one once.
func endpoints(in []candidate) []policy.Endpoint {
	var out []policy.Endpoint
	for _, c := range in {
		e := policy.Endpoint{Transport: c.transport, Host: c.Target, Port: c.Port}
		if !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}
