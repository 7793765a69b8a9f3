package policy

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Transport is how an XMPP stream is carried to an endpoint. The zero value
// refuses.
type Transport uint8

// The transports: RFC 6120 §5 (STARTTLS), XEP-0368 (direct TLS), and RFC 7395
// (WebSocket) inside TLS or, to an onion address that proves itself, without.
const (
	TransportUnset Transport = iota
	STARTTLS
	DirectTLS
	WebSocket
	PlainWebSocket
)

// String is the scheme that the configuration uses for t.
func (t Transport) String() string {
	switch t {
	case STARTTLS:
		return "starttls"
	case DirectTLS:
		return "tls"
	case WebSocket:
		return "wss"
	case PlainWebSocket:
		return "ws"
	}
	return "unset"
}

// OverWebSocket reports whether t carries the stream in WebSocket messages.
func (t Transport) OverWebSocket() bool { return t == WebSocket || t == PlainWebSocket }

// Endpoint is one place to try: a host (a name, an IP address or an onion
// address), a port, a transport and, for WebSocket, the path to ask for.
type Endpoint struct {
	Transport Transport
	Host      string
	Port      uint16
	Path      string // begins with "/"; may have a query; empty but for WebSocket
}

// ParseEndpoint reads starttls://HOST:PORT, tls://HOST:PORT, wss://HOST:PORT/PATH
// or, for an onion address alone, ws://HOST:PORT/PATH; the port may be left out
// (5222, 5223, 443 and 80), and so may the path. The host is normalised as
// NormalizeDomain does.
func ParseEndpoint(s string) (Endpoint, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Endpoint{}, fmt.Errorf("endpoint %q has no scheme (write starttls://HOST:PORT, tls://HOST:PORT or wss://HOST/PATH)", s)
	}
	e := Endpoint{}
	switch scheme {
	case "starttls":
		e.Transport, e.Port = STARTTLS, 5222
	case "tls":
		e.Transport, e.Port = DirectTLS, 5223
	case "wss":
		e.Transport, e.Port = WebSocket, 443
	case "ws":
		e.Transport, e.Port = PlainWebSocket, 80
	default:
		return Endpoint{}, fmt.Errorf("endpoint %q has the unknown scheme %q (starttls, tls or wss)", s, scheme)
	}
	if e.Transport.OverWebSocket() {
		var err error
		if rest, e.Path, err = splitPath(rest); err != nil {
			return Endpoint{}, fmt.Errorf("the path of endpoint %q cannot be used: %w", s, err)
		}
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
	if e.Transport == PlainWebSocket && !e.Onion() {
		return Endpoint{}, fmt.Errorf("endpoint %q has no encryption, which only an onion address can do without (write wss://)", s)
	}
	return e, nil
}

// maxPath bounds the path of a WebSocket endpoint.
const maxPath = 1024

// splitPath parts HOST:PORT from the path and query behind it (RFC 3986 §3.3 and
// §3.4). A fragment is refused: it never goes to a server (RFC 6455 §3).
func splitPath(s string) (host, path string, err error) {
	i := strings.IndexAny(s, "/?#")
	if i < 0 {
		return s, "/", nil
	}
	host, path = s[:i], s[i:]
	if path[0] == '?' {
		path = "/" + path
	}
	if len(path) > maxPath {
		return "", "", fmt.Errorf("it is longer than %d bytes", maxPath)
	}
	for j, c := range []byte(path) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/?-._~!$&'()*+,;=:@", c) >= 0:
		case c == '%' && j+2 < len(path) && isHex(path[j+1]) && isHex(path[j+2]):
		default:
			return "", "", errors.New("it has a character that must be written as %XX (RFC 3986 §2.1)")
		}
	}
	return host, path, nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
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
func (e Endpoint) String() string { return e.Transport.String() + "://" + e.Address() + e.Path }

// Onion reports whether e is an onion address (RFC 7686).
func (e Endpoint) Onion() bool { return IsOnion(e.Host) }

// IsOnion reports whether host is under .onion (RFC 7686 §2): such a name is
// never looked up in DNS.
func IsOnion(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "onion" || strings.HasSuffix(host, ".onion")
}
