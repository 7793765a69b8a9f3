// Package egress is the only place of this program that opens a connection to
// somewhere else. A [Set] knows the ways out of this machine; [Set.Dialer]
// gives the one that policy decided:
//
//	set, err := egress.New(egress.Config{Tor: tor.SOCKSAddress, SOCKS: hops, Lookup: dns.Addrs})
//	d, err := set.Dialer(decision.Route, isolator.For("account", local, domain))
//	conn, err := d.DialContext(ctx, "tcp", endpoint.Address())
//
// Three rules hold everywhere in it:
//
//   - Nothing falls back. A route that is unset, unknown, not configured or
//     broken is an error, never another route; so is the zero value of each type.
//   - No name is resolved by the machine's own resolver. The tor and socks:NAME
//     routes hand the name to the proxy; direct asks the lookup it was given,
//     which is the gateway's own DNS client. Dialing itself takes an address
//     that is already a number, so the standard library has nothing to look up.
//   - A failure is an [Error]: what happened, why, and what a person can do.
//     Its text holds no address of the far end.
//
// One part goes by no route: [Escape] and [AskResolver] try to get past them, for
// `xmpp-gw check --egress`, and tell nobody anything. A test sees that nothing else
// uses them.
//
// The returned dialers are safe for concurrent use. Cancelling the context of a
// dial ends it at once and leaves neither goroutine nor socket behind.
package egress

import (
	"context"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/net/proxy"

	"xmpp-gw/policy"
)

// Dialer is one way out: the seam between routes and everything that speaks a
// protocol. It is an alias of x/net's interface so that hops can be stacked.
type Dialer = proxy.ContextDialer

// Lookup gives the addresses of a host name, over the route that the caller
// chose for DNS. It is asked only for names, never for IP literals, "localhost"
// or names under .onion.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// Budgets are the most that one DialContext may take, from the first packet to
// a connection that is ready for use. They are apart from each other because
// the routes are: an onion circuit has six relays and a rendezvous to arrange,
// an exit circuit three, a direct connection none. A zero field means its
// default; the context given to DialContext may always end a dial sooner.
type Budgets struct {
	// Onion is for onion addresses through Tor: descriptor, introduction and
	// rendezvous. Default 120 s, which is also Tor's own SocksTimeout.
	Onion time.Duration
	// Exit is for other destinations through Tor: a circuit and a connection
	// made by its exit. Default 60 s.
	Exit time.Duration
	// SOCKS is for destinations through a socks:NAME hop. Default 60 s.
	SOCKS time.Duration
	// Direct is for name lookup and all addresses of the name. Default 20 s.
	Direct time.Duration
	// Hello is the part of Onion, Exit and SOCKS in which the proxy must accept
	// the connection (and Tor answer the login), so that a dead one is noticed
	// soon. Default 10 s.
	Hello time.Duration
}

// withDefaults fills the fields that are zero.
func (b Budgets) withDefaults() Budgets {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&b.Onion, 120 * time.Second},
		{&b.Exit, 60 * time.Second},
		{&b.SOCKS, 60 * time.Second},
		{&b.Direct, 20 * time.Second},
		{&b.Hello, 10 * time.Second},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return b
}

// Config says what ways out there are. A way that is left out is refused.
type Config struct {
	// Tor gives the address of Tor's SOCKS port, "unix:/PATH" or "IP:PORT". It
	// is asked at each dial, because a managed Tor may restart elsewhere. An
	// error from it means that Tor is not running.
	Tor func(ctx context.Context) (string, error)
	// SOCKS are the hops of the socks:NAME routes by name:
	// socks5://[USER:PASSWORD@]IP:PORT (socks5h is the same) or
	// socks5+unix:///PATH.
	SOCKS map[string]*url.URL
	// Lookup resolves names for the direct route.
	Lookup Lookup
	// Budgets bound each dial.
	Budgets Budgets
}

// Set is the ways out of this machine. The zero value and nil refuse every
// route.
type Set struct {
	tor     func(ctx context.Context) (string, error)
	hops    map[string]*hop
	lookup  Lookup
	budgets Budgets
}

// New checks cfg and returns its Set. The errors name the hop that is wrong.
func New(cfg Config) (*Set, error) {
	s := &Set{
		tor:     cfg.Tor,
		hops:    make(map[string]*hop, len(cfg.SOCKS)),
		lookup:  cfg.Lookup,
		budgets: cfg.Budgets.withDefaults(),
	}
	for name, u := range cfg.SOCKS {
		h, err := parseHop(u)
		if err != nil {
			return nil, hopError(name, err)
		}
		s.hops[name] = h
	}
	return s, nil
}

// Dialer returns the way out that route names, or an [Error] that is
// [ErrRefused] when there is none: an unset, blocked, unknown or unconfigured
// route is never replaced by another.
//
// Connections of different iso never share a Tor circuit; the direct route does
// not use it, and a socks hop gets it only when its URL names no user. The
// zero iso asks for no isolation.
func (s *Set) Dialer(route policy.Route, iso Isolation) (Dialer, error) {
	if s == nil {
		return nil, refuse(route, "no way out of this machine is set up",
			"this is a fault of the program; report it")
	}
	switch route.Kind {
	case policy.RouteTor, policy.RouteOnionOnly:
		if s.tor == nil {
			return nil, refuse(route, "Tor is switched off in the configuration",
				`set mode = "auto" under [tor], or choose another route for this domain`)
		}
		return &torDialer{route: route, socks: s.tor, iso: iso, budgets: s.budgets}, nil
	case policy.RouteSOCKS:
		h := s.hops[route.Name]
		if h == nil {
			return nil, refuse(route, "the configuration has no hop of this name",
				"add a table [socks.NAME] with its url, or correct the name in the route")
		}
		return &hopDialer{route: route, hop: h, iso: iso, budgets: s.budgets}, nil
	case policy.RouteDirect:
		if s.lookup == nil {
			return nil, refuse(route, "no name lookup is set up for direct connections",
				"set servers under [dns]")
		}
		return &directDialer{route: route, lookup: s.lookup, budget: s.budgets.Direct}, nil
	case policy.RouteBlock:
		return nil, refuse(route, "policy blocks this destination",
			"xmpp-gw policy explain DOMAIN shows the line that says so")
	default:
		return nil, refuse(route, "no route was decided for this destination",
			"this is a fault of the program; report it")
	}
}
