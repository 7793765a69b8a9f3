package egress

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"xmpp-gw/policy"
)

// destination is where a dial leads: a name or an address, and a port.
type destination struct {
	host string     // without brackets and final dot
	ip   netip.Addr // valid when host is an IP literal
	port uint16
}

// String is HOST:PORT, with brackets around an IPv6 address.
func (d destination) String() string {
	return net.JoinHostPort(d.host, strconv.Itoa(int(d.port)))
}

// parseDestination reads the arguments of a DialContext. Its errors are
// refusals: nothing is sent for an address that cannot be read.
func parseDestination(route policy.Route, network, address string) (destination, error) {
	const hint = "use HOST:PORT with a host name in ASCII (A-labels) or an IP address"
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return destination{}, refuse(route, "network "+strconv.Quote(network)+" is not TCP", hint)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return destination{}, refuse(route, "the destination is not HOST:PORT", hint)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return destination{}, refuse(route, "the port is not a number from 1 to 65535", hint)
	}
	d := destination{host: strings.TrimSuffix(host, "."), port: uint16(n)}
	if ip, err := netip.ParseAddr(host); err == nil {
		d.ip = ip.Unmap()
		d.host = d.ip.String()
		if d.ip.Zone() != "" && route.Kind != policy.RouteDirect {
			return destination{}, refuse(route, "a link-local address means nothing to a proxy", hint)
		}
		return d, nil
	}
	// RFC 1928 §5 has one byte for the length of a name.
	if d.host == "" || len(d.host) > 255 {
		return destination{}, refuse(route, "the host name is empty or longer than 255 bytes", hint)
	}
	for _, c := range []byte(d.host) {
		if c <= ' ' || c >= 0x7f {
			return destination{}, refuse(route, "the host name has a character that no name in DNS has", hint)
		}
	}
	return d, nil
}

// localhost reports whether host is this machine by definition (RFC 6761 §6.3).
func localhost(host string) bool {
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// loopback are the addresses of a localhost name. IPv4 is first, because that
// is where local proxies and servers listen.
func loopback() []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
}
