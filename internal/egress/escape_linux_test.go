package egress

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStopped: what forbids a try, or has no way for it, stopped it. A program that
// could not try was not stopped by anybody.
func TestStopped(t *testing.T) {
	far, near := netip.MustParseAddrPort("192.0.2.1:5222"), netip.MustParseAddrPort("[fe80::1]:53")
	for _, tt := range []struct {
		err  error
		to   netip.AddrPort
		want Fate
	}{
		{unix.EPERM, far, Held}, {unix.EACCES, far, Held}, {unix.ENETUNREACH, far, Held}, {unix.EAFNOSUPPORT, far, Held},
		{unix.EINVAL, far, Held}, // a route of the kind "blackhole"
		{unix.EINVAL, near, FateUnknown},
		{unix.EMFILE, far, FateUnknown}, {unix.ENFILE, far, FateUnknown}, {unix.ENOBUFS, far, FateUnknown}, {unix.ENOMEM, far, FateUnknown},
		{unix.EAGAIN, far, FateUnknown}, {unix.EINTR, far, FateUnknown}, {unix.ENOSYS, far, FateUnknown},
	} {
		if fate, how := stopped(tt.err, tt.to); fate != tt.want || how == "" {
			t.Errorf("%v: %v, %q; want %v", tt.err, fate, how, tt.want)
		}
	}
}

// TestFromUs: only an address of ours is ours.
func TestFromUs(t *testing.T) {
	own := []net.Addr{&net.IPNet{IP: net.IPv4(198, 51, 100, 7), Mask: net.CIDRMask(24, 32)}}
	from := func(ip string) []byte {
		raw := make([]byte, 16)
		binary.NativeEndian.PutUint16(raw, unix.AF_INET)
		copy(raw[4:], net.ParseIP(ip).To4())
		return raw
	}
	for _, tt := range []struct {
		name        string
		raw         []byte
		own         []net.Addr
		ours, known bool
	}{
		{"ours", from("198.51.100.7"), own, true, true},
		{"loopback, of whose addresses nobody tells", from("127.0.0.1"), nil, true, true},
		{"a router", from("198.51.100.1"), own, false, true},
		{"nobody", make([]byte, 16), own, false, false},
		{"no address", nil, own, false, false},
		{"0.0.0.0", from("0.0.0.0"), own, false, false},
	} {
		if ours, known := fromUs(tt.raw, tt.own); ours != tt.ours || known != tt.known {
			t.Errorf("%s: %v, %v", tt.name, ours, known)
		}
	}
}

// TestStamps: this kernel tells what it hands to a device, so that its silence means
// something.
func TestStamps(t *testing.T) {
	if !stamps() {
		t.Error("a datagram to ourselves had no timestamp")
	}
}
