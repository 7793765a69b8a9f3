package inspect

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"xmpp-gw/internal/egress"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// Ways say which ways out a configuration needs. What is not among them should be
// closed.
type Ways struct {
	Set   *egress.Set
	Rules policy.Rules // what their routes need is not tried
	// ResolvConf is the file that names the system's resolvers; empty:
	// /etc/resolv.conf.
	ResolvConf string
}

// The addresses that nobody has (RFC 5737, RFC 3849), and the ports that clients of
// XMPP, calls and the web would use.
var nobody = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

const (
	tcpPort = 5222
	udpPort = 443
)

// Egress tries all ways out that should be closed, from where this program runs:
// its network namespace, its unit's restrictions, the machine's firewall. What is
// sent tells nobody anything (see [egress.Escape], [egress.AskResolver] and
// [egress.Set.AskProxy]). It ends within some seconds.
func Egress(ctx context.Context, w Ways) *audit.EgressObservation {
	var tries []func() []audit.Attempt
	add := func(f func() []audit.Attempt) { tries = append(tries, f) }
	add(func() []audit.Attempt { return w.resolvers(ctx) })
	for _, ip := range nobody {
		add(func() []audit.Attempt { return []audit.Attempt{w.tcp(ctx, netip.AddrPortFrom(ip, tcpPort))} })
		add(func() []audit.Attempt { return []audit.Attempt{escape(ctx, "udp", netip.AddrPortFrom(ip, udpPort))} })
	}
	add(func() []audit.Attempt { return w.proxies(ctx) })

	found := make([][]audit.Attempt, len(tries))
	var wg sync.WaitGroup
	for i, try := range tries {
		wg.Go(func() { found[i] = try() })
	}
	wg.Wait()
	return &audit.EgressObservation{Attempts: slices.Concat(found...)}
}

// attempt writes down what came of a try.
func attempt(way, to string, fate egress.Fate, how string) audit.Attempt {
	outcome := map[egress.Fate]audit.Outcome{egress.Held: audit.Stopped, egress.Left: audit.GotOut}[fate]
	return audit.Attempt{Way: way, To: to, Outcome: outcome, How: how}
}

func escape(ctx context.Context, network string, to netip.AddrPort) audit.Attempt {
	fate, how := egress.Escape(ctx, network, to)
	return attempt(network, to.String(), fate, how)
}

// each calls f with every rule that has a route, until it says no.
func (w Ways) each(f func(policy.Rule) bool) {
	if !f(w.Rules.Default) {
		return
	}
	for _, domain := range slices.Sorted(maps.Keys(w.Rules.Domains)) {
		if r := w.Rules.Domains[domain]; r.Route.IsSet() && !f(r) {
			return
		}
	}
}

// direct reports whether a route is made of connections. Those to a server on this
// machine need nothing open.
func (w Ways) direct() bool {
	for r := range w.each {
		if _, away := routeRisk(r); away && r.Route.V.Kind == policy.RouteDirect {
			return true
		}
	}
	return false
}

// tcp tries a connection, unless a route is made of such.
func (w Ways) tcp(ctx context.Context, to netip.AddrPort) audit.Attempt {
	if w.direct() {
		return audit.Attempt{Way: "tcp", To: to.String(), Outcome: audit.NoSuchWay, How: `a rule says route = "direct", which needs it open`}
	}
	return escape(ctx, "tcp", to)
}

// resolvers asks the system's.
func (w Ways) resolvers(ctx context.Context) []audit.Attempt {
	file := w.ResolvConf
	if file == "" {
		file = "/etc/resolv.conf"
	}
	list, err := egress.SystemResolvers(file)
	if err != nil {
		return []audit.Attempt{{Way: "dns", To: file, How: "the system's resolvers are not known: " + withoutPath(err)}}
	}
	found := make([]audit.Attempt, len(list))
	var wg sync.WaitGroup
	for i, at := range list {
		wg.Go(func() {
			fate, how := egress.AskResolver(ctx, at)
			found[i] = attempt("dns", at.String(), fate, how)
		})
	}
	wg.Wait()
	return found
}

// proxies asks the proxies of the routes for what they must refuse, side by side: one
// that does not answer takes its time.
func (w Ways) proxies(ctx context.Context) []audit.Attempt {
	type question struct {
		name, what, words string
		route             policy.Route
	}
	var all []question
	clearnet := false
	for r := range w.each {
		clearnet = clearnet || r.Route.V.Kind == policy.RouteTor
	}
	for r := range w.each {
		route := r.Route.V
		name := route.String()
		if route.ViaTor() {
			name = "tor"
		} else if route.Kind != policy.RouteSOCKS {
			continue
		}
		if slices.ContainsFunc(all, func(q question) bool { return q.name == name }) {
			continue
		}
		all = append(all, question{name, "associate", "a way for datagrams", route}, question{name, "bind", "a port for others", route})
		if route.ViaTor() && !clearnet {
			all = append(all, question{name, "clearnet", "an address that is no onion service", route})
		}
	}
	if len(all) == 0 {
		return []audit.Attempt{{Way: "socks", To: "proxies", Outcome: audit.NoSuchWay, How: "no route goes through a proxy"}}
	}
	found := make([]audit.Attempt, len(all))
	var wg sync.WaitGroup
	for i, q := range all {
		wg.Go(func() {
			to := q.name + ": " + q.words
			fate, how, err := w.Set.AskProxy(ctx, q.route, q.what)
			found[i] = attempt("socks", to, fate, how)
			if err != nil {
				found[i] = audit.Attempt{Way: "socks", To: to, How: "not tried: " + err.Error()}
			}
		})
	}
	wg.Wait()
	return found
}

// NotTried is what is known where nothing could be tried, for the reason why.
func NotTried(why string) *audit.EgressObservation {
	seen := &audit.EgressObservation{}
	for _, way := range []string{"dns", "tcp", "udp", "socks"} {
		seen.Attempts = append(seen.Attempts, audit.Attempt{Way: way, To: "this machine", How: why})
	}
	return seen
}
