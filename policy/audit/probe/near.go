package probe

import (
	"context"
	"net/netip"
	"strings"
	"sync"

	"xmpp-gw/policy/audit"
)

// A domain's DNS and web name places to look at, and whoever looks goes there from
// within a network. So that nobody can have them knock at doors in it, places here are
// looked at only when whoever asked named them.

// here reports whether an address is one of this machine, or of the network around it.
func here(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsUnspecified() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsMulticast()
}

// leadsHere reports whether an answer has such an address.
func leadsHere(a audit.Answer) bool {
	for _, text := range a.Records {
		if ip, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil && here(ip) {
			return true
		}
	}
	return false
}

// near are the hosts that DNS and host-meta name and that lead here. Those of host-meta
// are asked for, since nobody did before.
func (r *run) near(ctx context.Context) map[string]bool {
	hosts := map[string]bool{}
	if r.seen.DNS == nil {
		return hosts
	}
	known := map[string]bool{}
	for _, list := range r.seen.DNS.Records {
		for _, s := range list {
			known[s.Target] = true
			hosts[s.Target] = hosts[s.Target] || leadsHere(s.Addresses)
		}
	}
	var mu sync.Mutex // for hosts
	var wg sync.WaitGroup
	for _, at := range r.webSockets() {
		if _, err := netip.ParseAddr(at.Host); err == nil || at.Onion() || known[at.Host] || len(known) > 2*maxKept {
			continue
		}
		known[at.Host] = true
		wg.Go(func() {
			a := r.addresses(ctx, at.Host)
			mu.Lock()
			defer mu.Unlock()
			hosts[at.Host] = leadsHere(a)
		})
	}
	wg.Wait()
	return hosts
}
