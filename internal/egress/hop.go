package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/proxy"

	"xmpp-gw/policy"
)

// hop is a SOCKS5 proxy of the configuration.
type hop struct {
	where local
	auth  *proxy.Auth // from its URL; nil when that names no user
}

// parseHop reads a hop's URL.
func parseHop(u *url.URL) (*hop, error) {
	if u == nil {
		return nil, errors.New("no url is set (write url = \"socks5://127.0.0.1:1080\")")
	}
	addr := ""
	switch u.Scheme {
	case "socks5", "socks5h": // names are always resolved by the proxy
		addr = u.Host
		if u.Port() == "" {
			addr = net.JoinHostPort(u.Hostname(), "1080") // RFC 1928 §3
		}
		if strings.Trim(u.Path, "/") != "" {
			return nil, errors.New("the url has a path (write socks5://IP:PORT)")
		}
	case "socks5+unix":
		addr = "unix:" + u.Path
	default:
		return nil, fmt.Errorf("unknown scheme %q (socks5 or socks5+unix)", u.Scheme)
	}
	where, err := parseLocal(addr)
	if err != nil {
		return nil, err
	}
	h := &hop{where: where}
	if u.User != nil {
		password, _ := u.User.Password()
		h.auth = &proxy.Auth{User: u.User.Username(), Password: password}
	}
	return h, nil
}

// hopDialer is a socks:NAME route, spoken by x/net's SOCKS5 client.
type hopDialer struct {
	route   policy.Route
	hop     *hop
	iso     Isolation
	budgets Budgets
}

// DialContext connects to address through the hop, which resolves the name.
func (d *hopDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dst, err := parseDestination(d.route, network, address)
	if err != nil {
		return nil, err
	}
	if policy.IsOnion(dst.host) {
		// RFC 7686 §2: only Tor may see the name; another proxy would ask DNS.
		return nil, refuse(d.route, "an onion address is reached through Tor alone", `set route = "tor" for this domain`)
	}
	auth := d.hop.auth
	if auth == nil && d.iso != (Isolation{}) {
		auth = &proxy.Auth{User: d.iso.User, Password: d.iso.Password}
	}
	// The forward dialer knows where the proxy is; the client's idea of it, an
	// address to be dialed or looked up, is not used.
	client, err := proxy.SOCKS5("tcp", "127.0.0.1:0", auth, forward{d})
	if err != nil {
		return nil, &Error{Route: d.route, Kind: ErrProxy, What: "the proxy cannot be used", Why: err.Error(), Err: err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.budgets.SOCKS, errBudget)
	defer cancel()
	conn, err := client.(Dialer).DialContext(ctx, "tcp", dst.String())
	if err == nil {
		return conn, nil
	}
	return nil, d.failed(ctx, err)
}

// failed turns x/net's error into a sentence. That client has the proxy's reply
// code only in its text, so the text is the reason.
func (d *hopDialer) failed(ctx context.Context, err error) error {
	if own := (*Error)(nil); errors.As(err, &own) {
		return own
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		<-ctx.Done() // x/net gave the context's deadline to the socket, whose clock may be ahead
	}
	if ctx.Err() != nil {
		return ended(ctx, d.route, "no connection through the proxy",
			"check that the proxy is online, then try again")
	}
	why := reason(err)
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		why = strings.TrimPrefix(reason(op.Err), "unknown error ")
	}
	return &Error{Route: d.route, Kind: ErrProxy, What: "the proxy did not connect", Why: why,
		Hint: "check host and port, and the log of the proxy", Err: err}
}

// forward reaches the proxy itself. It is the only dialer that x/net's client
// is given, so that it never picks one of its own.
type forward struct{ d *hopDialer }

// DialContext ignores the address: there is one proxy.
func (f forward) DialContext(parent context.Context, _, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(parent, f.d.budgets.Hello, errBudget)
	defer cancel()
	conn, err := f.d.hop.where.dial(ctx)
	if err == nil {
		return conn, nil
	}
	if parent.Err() != nil {
		return nil, parent.Err()
	}
	return nil, &Error{Route: f.d.route, Kind: ErrHopDown, What: "the proxy cannot be reached", Why: reason(err),
		Hint: "start it, or correct the url of this hop", Err: err}
}

// Dial makes forward a proxy.Dialer; x/net prefers DialContext.
func (f forward) Dial(network, address string) (net.Conn, error) {
	return f.DialContext(context.Background(), network, address)
}
