package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// dialIP opens a TCP connection to an address that is a number. Every byte that
// leaves this machine leaves through here or through dialUnix; neither can
// resolve a name.
func dialIP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr.String())
}

// dialUnix opens a connection to a unix socket.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// local is the address of a proxy: a unix socket or IP addresses, tried in turn.
type local struct {
	path  string
	addrs []netip.AddrPort
}

// parseLocal reads "unix:/PATH", "IP:PORT" or "localhost:PORT". Another name is
// an error: finding its address would be a lookup outside any route.
func parseLocal(s string) (local, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return local{}, fmt.Errorf("the socket path is empty (write unix:/PATH)")
		}
		return local{path: path}, nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() != 0 {
		return local{addrs: []netip.AddrPort{ap}}, nil
	}
	if port, ok := strings.CutPrefix(s, "localhost:"); ok {
		var l local
		for _, ip := range loopback() {
			if ap, err := netip.ParseAddrPort(net.JoinHostPort(ip.String(), port)); err == nil && ap.Port() != 0 {
				l.addrs = append(l.addrs, ap)
			}
		}
		if len(l.addrs) > 0 {
			return l, nil
		}
	}
	return local{}, fmt.Errorf("the proxy's address is not IP:PORT, localhost:PORT or unix:/PATH (a name would have to be looked up outside the route)")
}

// dial connects to the proxy. The error is that of the first address.
func (l local) dial(ctx context.Context) (net.Conn, error) {
	if l.path != "" {
		return dialUnix(ctx, l.path)
	}
	var first error
	for _, a := range l.addrs {
		conn, err := dialIP(ctx, a)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = fmt.Errorf("the proxy has no address")
	}
	return nil, first
}

// guarded runs f, which reads and writes conn, so that the end of ctx ends it at
// once, and returns f's error. Only a conn for which it fails is left with a
// deadline in the past.
func guarded(ctx context.Context, conn net.Conn, f func() error) error {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	return err
}
