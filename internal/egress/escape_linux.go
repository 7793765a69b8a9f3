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

// escapePatience is how long silence must last to mean something: a neighbour that
// is not there is given up after three seconds (arp(7), ucast_solicit).
const escapePatience = escapeTime - escapeTime/8

// openEscape opens a socket for a try, which tells what becomes of its packets
// (ip(7), IP_RECVERR). hops bounds how far they go; 0 is the usual. Where there is
// none, fd is negative, and fate and how say what that means: a system that does not
// let us listen has stopped nothing.
func openEscape(kind int, to netip.AddrPort, hops int) (fd int, fate Fate, how string) {
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		fate, how = stopped(err, to)
		return -1, fate, how
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
		return -1, FateUnknown, "this system does not tell what becomes of packets (" + err.Error() + ")"
	}
	return fd, FateUnknown, ""
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
	fd, fate, how := openEscape(unix.SOCK_STREAM, to, oneHop)
	if fd < 0 {
		return fate, how
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return stopped(err, to)
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
			if fate, how, ok := told(fd, to); ok { // it came in between
				return fate, how
			}
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
	fd, fate, how := openEscape(unix.SOCK_DGRAM, to, hops)
	if fd < 0 {
		return fate, how
	}
	defer unix.Close(fd)
	stamped := askStamps(fd) == nil
	start := time.Now()
	if err := unix.Sendto(fd, data, 0, sockaddr(to)); err != nil {
		return stopped(err, to)
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
		if stamped && !to.Addr().IsLoopback() && time.Since(start) >= escapePatience && stamps() {
			return Held, "no network device took it"
		}
		return FateUnknown, "nothing came of it in time"
	}
}

// askStamps makes the kernel tell when it hands a socket's datagrams to a device.
func askStamps(fd int) error {
	const flags = unix.SOF_TIMESTAMPING_TX_SCHED | unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags)
}

// stamps reports whether the kernel does tell, by a datagram to ourselves: one that
// takes the option and knows nothing of it (a sandbox that plays the kernel) would
// make every silence look like a stop.
func stamps() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) != nil || askStamps(fd) != nil {
		return false
	}
	self, err := unix.Getsockname(fd)
	if err != nil || unix.Sendto(fd, []byte("?"), 0, self) != nil {
		return false
	}
	for range 10 {
		_, n, _, _, err := unix.Recvmsg(fd, make([]byte, 512), make([]byte, 512), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err == nil && n > 0 {
			return true // nothing else was asked for
		}
		time.Sleep(escapePause)
	}
	return false
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
			own, err := net.InterfaceAddrs()
			switch ours, known := fromUs(m.Data[size:], own); {
			case !known || !ours && err != nil:
				return FateUnknown, "something answered, and whether that was this machine cannot be seen (" + errno.Error() + ")", true
			case !ours:
				return Left, "another machine answered (" + errno.Error() + ")", true
			case errors.Is(errno, unix.ECONNREFUSED) && to.Addr().IsLoopback():
				return Held, "nothing listens there", true
			case errors.Is(errno, unix.ECONNREFUSED):
				return Held, "this machine refuses it (" + errno.Error() + ")", true
			}
			fate, how := stopped(errno, to)
			return fate, how, true
		case unix.SO_EE_ORIGIN_LOCAL:
			fate, how := stopped(errno, to)
			return fate, how, true
		}
	}
	return 0, "", false
}

// fromUs reports whether an address of a struct sockaddr is this machine's, whose
// interfaces have the addresses own; known is false where there is no address.
func fromUs(raw []byte, own []net.Addr) (ours, known bool) {
	var ip netip.Addr
	switch {
	case len(raw) >= 8 && binary.NativeEndian.Uint16(raw) == unix.AF_INET:
		ip = netip.AddrFrom4([4]byte(raw[4:8]))
	case len(raw) >= 24 && binary.NativeEndian.Uint16(raw) == unix.AF_INET6:
		ip = netip.AddrFrom16([16]byte(raw[8:24]))
	}
	if !ip.IsValid() || ip.IsUnspecified() {
		return false, false
	}
	return ip.IsLoopback() || slices.ContainsFunc(own, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == ip.Unmap()
	}), true
}
