package policy

import (
	"slices"
	"strings"
)

// OnionProves reports whether e, reached by the decision's route, proves the
// domain's server by its address alone: the address is the key. That is so when
// the account's domain is that onion address, or when the owner bound it to the
// domain by name (tls = "onion"). An onion address that DNS gave proves nothing.
func (d Decision) OnionProves(e Endpoint) bool {
	if !e.Onion() || !d.Route.ViaTor() {
		return false
	}
	if sameHost(e.Host, d.Target.Domain) {
		return true
	}
	bound := d.Onion != nil && sameHost(d.Onion.Host, e.Host) ||
		slices.ContainsFunc(d.Endpoints, func(own Endpoint) bool { return sameHost(own.Host, e.Host) })
	return d.TLS == TLSOnion && bound
}

func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}
