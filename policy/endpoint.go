package policy

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Transport is how an XMPP stream is carried to an endpoint. The zero value
// refuses.
type Transport uint8

// The transports of RFC 6120 §5 (STARTTLS) and XEP-0368 (direct TLS).
const (
	TransportUnset Transport = iota
	STARTTLS
	DirectTLS
)

// String is the scheme that the configuration uses for t.
func (t Transport) String() string {
	switch t {
	case STARTTLS:
		return "starttls"
	case DirectTLS:
		return "tls"
	}
	return "unset"
}

// Endpoint is one place to try: a host (a name, an IP address or an onion
// address), a port and a transport.
type Endpoint struct {
	Transport Transport
	Host      string
	Port      uint16
}

// ParseEndpoint reads starttls://HOST:PORT or tls://HOST:PORT; the port may be
// left out (5222 and 5223). The host is normalised as NormalizeDomain does.
func ParseEndpoint(s string) (Endpoint, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Endpoint{}, fmt.Errorf("endpoint %q has no scheme (write starttls://HOST:PORT or tls://HOST:PORT)", s)
	}
	e := Endpoint{}
	switch scheme {
	case "starttls":
		e.Transport, e.Port = STARTTLS, 5222
	case "tls":
		e.Transport, e.Port = DirectTLS, 5223
	default:
		return Endpoint{}, fmt.Errorf("endpoint %q has the unknown scheme %q (starttls or tls)", s, scheme)
	}
	if rest == "" {
		return Endpoint{}, fmt.Errorf("endpoint %q has no host (write %[1]sHOST:PORT)", s)
	}
	host, port, err := splitHostPort(rest)
	if err != nil {
		return Endpoint{}, err
	}
	e.Host = host
	if port != 0 {
		e.Port = port
	}
	return e, nil
}

// splitHostPort is net.SplitHostPort with an optional port (0 when left out) and
// a normalised host.
func splitHostPort(s string) (string, uint16, error) {
	host, port := s, ""
	bare6 := strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "[") // an IPv6 address alone
	if !bare6 && strings.Contains(s, ":") && !strings.HasSuffix(s, "]") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", 0, fmt.Errorf("%q is not HOST:PORT", s)
		}
		if port == "" {
			port = "missing" // HOST: is a mistake, not a way to leave it out
		}
	}
	host, err := NormalizeDomain(host)
	if err != nil {
		return "", 0, fmt.Errorf("the host of %q cannot be used: %w", s, err)
	}
	if port == "" {
		return host, 0, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("the port of %q is not a number from 1 to 65535", s)
	}
	return host, uint16(n), nil
}

// Address is HOST:PORT, with brackets around an IPv6 address.
func (e Endpoint) Address() string {
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// String is the configuration's spelling of e.
func (e Endpoint) String() string { return e.Transport.String() + "://" + e.Address() }

// Onion reports whether e is an onion address (RFC 7686).
func (e Endpoint) Onion() bool { return IsOnion(e.Host) }

// IsOnion reports whether host is under .onion (RFC 7686 §2): such a name is
// never looked up in DNS.
func IsOnion(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "onion" || strings.HasSuffix(host, ".onion")
}
