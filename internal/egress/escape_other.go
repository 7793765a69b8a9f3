//go:build !linux

package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// On these systems nobody tells what became of a packet. Silence is not known to be
// the end of it, and the hop limit is the usual one.

func escapeTCP(ctx context.Context, to netip.AddrPort) (Fate, string) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err == nil {
		conn.Close()
		return FateUnknown, "something answers in the place of an address that nobody has, such as a transparent proxy"
	}
	return ofError(err, to)
}

func escapeUDP(ctx context.Context, to netip.AddrPort, data []byte, _ int, read func([]byte) (Fate, string)) (Fate, string) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", to.String())
	if err != nil {
		return ofError(err, to)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if _, err := conn.Write(data); err != nil {
		return ofError(err, to)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	switch {
	case err == nil && read != nil:
		return read(buf[:n])
	case err == nil:
		return Left, "another machine answered"
	}
	return FateUnknown, "nothing came of it in time"
}

func ofError(err error, to netip.AddrPort) (Fate, string) {
	told := errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.EINVAL) // perhaps by a router
	if fate, how := stopped(err, to); fate == Held && !told {
		return fate, how
	}
	return FateUnknown, "whether it left cannot be seen on this system: " + reason(err)
}
