// Package haproxy reads and writes the PROXY protocol: a few bytes in front of a
// connection that say who is really at its other end.
//
//	h, err := haproxy.Read(r)          // r is a *bufio.Reader over the connection
//	id, ok := h.Circuit()              // where tor wrote it
//	conn.Write(h.Append(nil, haproxy.V2))
//
// Section numbers in this package are those of HAProxy's document "The PROXY
// protocol, versions 1 & 2". What it leaves open is refused here: a header is
// taken only as a sender of either version has to write it.
//
// Tor speaks version 1 to the target of an onion service
// (HiddenServiceExportCircuitID haproxy in tor(1)). Its clients have no address;
// the source is one of a private range whose last 32 bits number the circuit.
package haproxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Version is a version of the protocol. The zero value writes no header.
type Version uint8

// The versions, as settings name them: "", "v1" and "v2".
const (
	None Version = 0
	V1   Version = 1 // one line of text
	V2   Version = 2 // binary
)

// ParseVersion reads "", "v1" or "v2".
func ParseVersion(s string) (Version, error) {
	switch s {
	case "":
		return None, nil
	case "v1":
		return V1, nil
	case "v2":
		return V2, nil
	}
	return None, fmt.Errorf("%q is no version of the PROXY protocol: v1 or v2", s)
}

// ErrHeader is what every header that cannot be accepted is.
var ErrHeader = errors.New("no valid PROXY header")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrHeader, fmt.Sprintf(format, args...))
}

// Header is what a header says: the two ends of the connection that is passed
// on. Both are invalid where the sender knows none (UNKNOWN, LOCAL); else they
// are of the same family.
type Header struct {
	Source, Destination netip.AddrPort
}

// signature begins a header of version 2 (§2.2).
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// Read reads a header of either version from the start of a connection, and
// nothing behind it. What is there and is no header is [ErrHeader]; other errors
// are those of the connection.
func Read(r *bufio.Reader) (Header, error) {
	first, err := r.Peek(1)
	if err != nil {
		return Header{}, err
	}
	switch first[0] {
	case 'P':
		return readV1(r)
	case signature[0]:
		return readV2(r)
	}
	return Header{}, bad("it begins with %q", first)
}

// Append appends the header to b. With version [None] it appends nothing.
func (h Header) Append(b []byte, v Version) []byte {
	switch v {
	case V1:
		return h.appendV1(b)
	case V2:
		return h.appendV2(b)
	}
	return b
}

// family is the family of both ends: 4, 6, or 0 for an unknown one.
func (h Header) family() int {
	s, d := h.Source.Addr(), h.Destination.Addr()
	switch {
	case s.Is4() && d.Is4():
		return 4
	case s.Is6() && d.Is6():
		return 6
	}
	return 0
}

// circuits is the range in which tor numbers circuits: the last 32 bits are the
// circuit's global identifier (tor(1), HiddenServiceExportCircuitID).
var circuits = netip.MustParsePrefix("fc00:dead:beef:4dad::/96")

// Circuit is the number of the circuit that a client came by, where the header
// is tor's. It tells clients apart as long as tor runs, and says nothing about
// who they are.
func (h Header) Circuit() (id uint32, ok bool) {
	a := h.Source.Addr()
	if !circuits.Contains(a) {
		return 0, false
	}
	b := a.As16()
	return binary.BigEndian.Uint32(b[12:]), true
}

// ForCircuit is the header that tor writes for a client of this circuit.
func ForCircuit(id uint32, port uint16) Header {
	b := circuits.Addr().As16()
	binary.BigEndian.PutUint32(b[12:], id)
	return Header{
		Source:      netip.AddrPortFrom(netip.AddrFrom16(b), uint16(id)),
		Destination: netip.AddrPortFrom(netip.IPv6Loopback(), port),
	}
}
