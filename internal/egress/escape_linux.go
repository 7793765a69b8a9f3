package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// escapePause is how often a try is looked at.
const escapePause = 20 * time.Millisecond

// openEscape opens a socket for a try, which tells what becomes of its packets
// (ip(7), IP_RECVERR). hops bounds how far they go; 0 is the usual.
func openEscape(kind int, to netip.AddrPort, hops int) (fd int, err error) {
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if family == unix.AF_INET {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		if err == nil && hops > 0 {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, hops)
		}
	} else {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
		if err == nil && hops > 0 {
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hops)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(to netip.AddrPort) unix.Sockaddr {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	a := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if link, err := net.InterfaceByName(to.Addr().Zone()); err == nil {
		a.ZoneId = uint32(link.Index)
	}
	return a
}

// escapeTCP asks for a connection. Nobody answers at an address that nobody has, so
// that silence says nothing; but the kernel counts a request that it sent once more
// only if it could be sent (tcp_retransmit_skb).
func escapeTCP(ctx context.Context, to netip.AddrPort) (Fate, string) {
	fd, err := openEscape(unix.SOCK_STREAM, to, oneHop)
	if err != nil {
		return Held, stopped(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return Held, stopped(err)
	}
	const established = 1 // TCP_ESTABLISHED
	for {
		if fate, how, ok := told(fd, to); ok {
			return fate, how
		}
		failed, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return FateUnknown, err.Error()
		}
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		switch {
		case err != nil:
			return FateUnknown, err.Error()
		case failed != 0:
			return FateUnknown, "it was refused, by a firewall here or by the next hop (" + unix.Errno(failed).Error() + ")"
		case info.State == established:
			return FateUnknown, "something answers in the place of an address that nobody has, such as a transparent proxy"
		case info.Total_retrans > 0 && info.Retrans > 0:
			return Left, "the request for a connection was sent"
		case info.Total_retrans > 0:
			return Held, "the kernel cannot send it: a firewall, a sandbox, or no network"
		}
		if !wait(ctx) {
			return FateUnknown, "nothing came of it in time"
		}
	}
}

// escapeUDP sends a datagram. The kernel tells when it hands it to a network device
// (timestamping.rst, SOF_TIMESTAMPING_TX_SCHED). read judges an answer; nil: none is
// waited for.
func escapeUDP(ctx context.Context, to netip.AddrPort, data []byte, hops int, read func([]byte) (Fate, string)) (Fate, string) {
	fd, err := openEscape(unix.SOCK_DGRAM, to, hops)
	if err != nil {
		return Held, stopped(err)
	}
	defer unix.Close(fd)
	const flags = unix.SOF_TIMESTAMPING_TX_SCHED | unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	stamped := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags) == nil
	if err := unix.Sendto(fd, data, 0, sockaddr(to)); err != nil {
		return Held, stopped(err)
	}
	buf := make([]byte, 4096)
	for {
		if read != nil {
			if n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT); err == nil {
				return read(buf[:n])
			}
		}
		if fate, how, ok := told(fd, to); ok {
			return fate, how
		}
		if wait(ctx) {
			continue
		}
		if stamped && !to.Addr().IsLoopback() {
			return Held, "no network device took it"
		}
		return FateUnknown, "nothing came of it in time"
	}
}

// wait waits a moment, and reports whether there is time left.
func wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(escapePause):
		return true
	}
}

// told reads what the kernel has to say of what was sent: that it went to a device,
// or what an ICMP message says, and whose (ip(7), sock_extended_err).
func told(fd int, to netip.AddrPort) (fate Fate, how string, ok bool) {
	data, control := make([]byte, 512), make([]byte, 512)
	_, n, _, _, err := unix.Recvmsg(fd, data, control, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if err != nil {
		return 0, "", false
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return 0, "", false
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		const size = 16 // of struct sock_extended_err; the offender's address follows
		if !v4 && !v6 || len(m.Data) < size {
			continue
		}
		errno := unix.Errno(binary.NativeEndian.Uint32(m.Data))
		switch origin := m.Data[4]; origin {
		case unix.SO_EE_ORIGIN_TIMESTAMPING:
			if !to.Addr().IsLoopback() {
				return Left, "a network device took it", true
			}
		case unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
			if offender(m.Data[size:]) {
				return Left, "another machine answered (" + errno.Error() + ")", true
			}
			if errors.Is(errno, unix.ECONNREFUSED) && to.Addr().IsLoopback() {
				return Held, "nothing listens there", true
			}
			return Held, stopped(errno), true
		case unix.SO_EE_ORIGIN_LOCAL:
			return Held, stopped(errno), true
		}
	}
	return 0, "", false
}

// offender reports whether an address of a struct sockaddr is another machine's.
func offender(raw []byte) bool {
	var ip netip.Addr
	switch {
	case len(raw) >= 8 && binary.NativeEndian.Uint16(raw) == unix.AF_INET:
		ip = netip.AddrFrom4([4]byte(raw[4:8]))
	case len(raw) >= 24 && binary.NativeEndian.Uint16(raw) == unix.AF_INET6:
		ip = netip.AddrFrom16([16]byte(raw[8:24]))
	default:
		return false
	}
	own, err := net.InterfaceAddrs()
	if ip.IsLoopback() || ip.IsUnspecified() || err != nil {
		return false
	}
	return !slices.ContainsFunc(own, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == ip.Unmap()
	})
}
