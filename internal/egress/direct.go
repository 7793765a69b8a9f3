package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"xmpp-gw/policy"
)

const (
	// stagger is how long an attempt runs alone (RFC 8305 §5, Connection
	// Attempt Delay).
	stagger = 250 * time.Millisecond
	// maxAddresses bounds the attempts for one name, whatever its DNS says.
	maxAddresses = 16
)

// directDialer is the direct route.
type directDialer struct {
	route  policy.Route
	lookup Lookup
	budget time.Duration
}

// DialContext connects to address from this machine.
func (d *directDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dst, err := parseDestination(d.route, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.budget, errBudget)
	defer cancel()
	ips, err := d.addresses(ctx, dst)
	if err != nil {
		return nil, err
	}
	ips = keepFamily(ips, network)
	if len(ips) == 0 {
		return nil, &Error{Route: d.route, Kind: ErrNoName, What: "the host cannot be found", Why: "its name has no address",
			Hint: "check the spelling of the domain and of its SRV records"}
	}
	addrs := make([]netip.AddrPort, 0, maxAddresses)
	for _, ip := range interleave(ips) {
		if len(addrs) == maxAddresses {
			break
		}
		addrs = append(addrs, netip.AddrPortFrom(ip, dst.port))
	}
	conn, err := race(ctx, addrs, stagger, dialIP)
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, ended(ctx, d.route, "the server did not answer",
			"check that this machine is online and that no firewall is in between")
	}
	kind := ErrUnreachable
	if errors.Is(err, syscall.ETIMEDOUT) {
		kind = ErrTimeout
	}
	return nil, &Error{Route: d.route, Kind: kind, What: "the server cannot be connected to", Why: reason(err),
		Hint: "check host and port and that this machine is online", Err: err}
}

// addresses gives the addresses of dst. Only a real name is looked up.
func (d *directDialer) addresses(ctx context.Context, dst destination) ([]netip.Addr, error) {
	switch {
	case dst.ip.IsValid():
		return []netip.Addr{dst.ip}, nil
	case localhost(dst.host):
		return loopback(), nil
	case policy.IsOnion(dst.host):
		// RFC 7686 §2: never in DNS.
		return nil, refuse(d.route, "an onion address is reached through Tor alone", `set route = "tor" for this domain`)
	}
	ips, err := d.lookup(ctx, dst.host)
	if err == nil {
		return ips, nil
	}
	if ctx.Err() != nil {
		return nil, ended(ctx, d.route, "the name could not be looked up", "check the servers under [dns]")
	}
	return nil, &Error{Route: d.route, Kind: ErrNoName, What: "the host cannot be found", Why: err.Error(), Err: err}
}

// keepFamily drops the addresses that network (tcp4, tcp6) excludes, and those
// that are none.
func keepFamily(ips []netip.Addr, network string) []netip.Addr {
	kept := make([]netip.Addr, 0, len(ips))
	for _, ip := range ips {
		ip = ip.Unmap()
		if !ip.IsValid() || network == "tcp4" && !ip.Is4() || network == "tcp6" && ip.Is4() {
			continue
		}
		kept = append(kept, ip)
	}
	return kept
}

// interleave orders addresses by alternating families, beginning with that of
// the first (RFC 8305 §4); the order within a family stays.
func interleave(ips []netip.Addr) []netip.Addr {
	var a, b []netip.Addr
	for _, ip := range ips {
		if ip.Is4() == ips[0].Is4() {
			a = append(a, ip)
		} else {
			b = append(b, ip)
		}
	}
	out := make([]netip.Addr, 0, len(ips))
	for i := range max(len(a), len(b)) {
		if i < len(a) {
			out = append(out, a[i])
		}
		if i < len(b) {
			out = append(out, b[i])
		}
	}
	return out
}

// race starts an attempt for each address, the next one when delay has gone by
// or the last one failed, and returns the first connection (RFC 8305 §5). It
// returns only when the other attempts have ended and their connections are
// closed. The error is the one that says most.
func race(parent context.Context, addrs []netip.AddrPort, delay time.Duration,
	dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	results := make(chan result)
	start := func(a netip.AddrPort) {
		conn, err := dial(ctx, a)
		results <- result{conn, err}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()

	var won net.Conn
	var worst error
	next, running := 0, 0
	for next < len(addrs) && won == nil && parent.Err() == nil || running > 0 {
		tick := timer.C
		if next == len(addrs) || won != nil || parent.Err() != nil {
			tick = nil // only the end of what runs is awaited
		}
		select {
		case <-tick:
			go start(addrs[next])
			next, running = next+1, running+1
			timer.Reset(delay)
		case r := <-results:
			running--
			switch {
			case r.err != nil:
				if won == nil {
					worst = better(worst, r.err)
				}
				timer.Reset(0)
			case won == nil:
				won = r.conn
				cancel()
			default:
				r.conn.Close()
			}
		}
	}
	if won != nil {
		return won, nil
	}
	if worst == nil {
		worst = parent.Err()
	}
	return nil, worst
}

// better picks the error that says more about the server: on a machine without
// IPv6 every IPv6 address is unreachable, which is no news.
func better(a, b error) error {
	if a == nil || errors.Is(a, syscall.ENETUNREACH) || errors.Is(a, syscall.EADDRNOTAVAIL) {
		return b
	}
	return a
}
