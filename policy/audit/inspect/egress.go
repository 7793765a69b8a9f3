package inspect

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"

	"xmpp-gw/internal/egress"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// Ways say which ways out a configuration needs. What is not among them should be
// closed.
type Ways struct {
	Set    *egress.Set
	Routes []policy.Route // all that rules use; what they need is not tried
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

// tcp tries a connection, unless a route is made of such.
func (w Ways) tcp(ctx context.Context, to netip.AddrPort) audit.Attempt {
	if slices.ContainsFunc(w.Routes, func(r policy.Route) bool { return r.Kind == policy.RouteDirect }) {
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
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && len(list) == 0:
		return []audit.Attempt{{Way: "dns", To: file, Outcome: audit.NoSuchWay, How: "the system has no resolver"}}
	case err != nil:
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

// proxies asks the proxies of the routes for what they must refuse.
func (w Ways) proxies(ctx context.Context) []audit.Attempt {
	var list []audit.Attempt
	clearnet := slices.ContainsFunc(w.Routes, func(r policy.Route) bool { return r.Kind == policy.RouteTor })
	asked := map[string]bool{}
	for _, r := range w.Routes {
		name := r.String()
		if r.ViaTor() {
			name = "tor"
		} else if r.Kind != policy.RouteSOCKS {
			continue
		}
		if asked[name] {
			continue
		}
		asked[name] = true
		ask := func(what, words string) {
			to := name + ": " + words
			fate, how, err := w.Set.AskProxy(ctx, r, what)
			if err != nil {
				list = append(list, audit.Attempt{Way: "socks", To: to, How: "not tried: " + err.Error()})
				return
			}
			list = append(list, attempt("socks", to, fate, how))
		}
		ask("associate", "a way for datagrams")
		ask("bind", "a port for others")
		if r.ViaTor() && !clearnet {
			ask("clearnet", "an address that is no onion service")
		}
	}
	if len(asked) == 0 {
		return []audit.Attempt{{Way: "socks", To: "proxies", Outcome: audit.NoSuchWay, How: "no route goes through a proxy"}}
	}
	return list
}
