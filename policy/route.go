package policy

import (
	"fmt"
	"strings"
)

// RouteKind says how bytes leave this machine. The zero value refuses.
type RouteKind uint8

// The kinds of route. RouteUnset is the zero value and is refused everywhere.
const (
	RouteUnset     RouteKind = iota
	RouteTor                 // any destination, through Tor
	RouteOnionOnly           // through Tor, and only to onion addresses
	RouteSOCKS               // through the SOCKS5 hop that the configuration names
	RouteDirect              // straight from this machine
	RouteBlock               // not at all
)

// Route is one way out of this machine. Name is set for the kinds that have
// several instances (socks:NAME), and empty otherwise.
type Route struct {
	Kind RouteKind
	Name string
}

// ParseRoute reads a route as the configuration spells it: tor, onion-only,
// socks:NAME, direct or block.
func ParseRoute(s string) (Route, error) {
	switch s {
	case "tor":
		return Route{Kind: RouteTor}, nil
	case "onion-only":
		return Route{Kind: RouteOnionOnly}, nil
	case "direct":
		return Route{Kind: RouteDirect}, nil
	case "block":
		return Route{Kind: RouteBlock}, nil
	}
	if name, ok := strings.CutPrefix(s, "socks:"); ok && name != "" {
		return Route{Kind: RouteSOCKS, Name: name}, nil
	}
	return Route{}, fmt.Errorf("unknown route %q (one of tor, onion-only, socks:NAME, direct, block)", s)
}

// String is the configuration's spelling of r.
func (r Route) String() string {
	switch r.Kind {
	case RouteTor:
		return "tor"
	case RouteOnionOnly:
		return "onion-only"
	case RouteSOCKS:
		return "socks:" + r.Name
	case RouteDirect:
		return "direct"
	case RouteBlock:
		return "block"
	}
	return "unset"
}

// ViaTor reports whether r leaves through Tor.
func (r Route) ViaTor() bool { return r.Kind == RouteTor || r.Kind == RouteOnionOnly }
