package haproxy

import (
	"bufio"
	"net/netip"
	"strconv"
	"strings"
)

// maxV1 is the longest line, its end included (§2.1).
const maxV1 = 107

// readV1 reads a line of version 1 (§2.1):
//
//	PROXY TCP4|TCP6 SOURCE DESTINATION SPORT DPORT CR LF
//	PROXY UNKNOWN … CR LF
func readV1(r *bufio.Reader) (Header, error) {
	line := make([]byte, 0, maxV1)
	for {
		c, err := r.ReadByte()
		if err != nil {
			return Header{}, short(err)
		}
		line = append(line, c)
		if c == '\n' {
			break
		}
		if len(line) == maxV1 {
			return Header{}, bad("the line is longer than %d bytes", maxV1)
		}
		// What is no header is refused at its first wrong byte, so that a peer
		// which sends none is not waited for.
		if n := len(line); n <= len("PROXY ") && line[n-1] != "PROXY "[n-1] {
			return Header{}, bad("it begins with %q", line)
		}
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok {
		return Header{}, bad("the line does not end in CR LF")
	}
	return parseV1(strings.TrimPrefix(text, "PROXY "))
}

// parseV1 reads what stands behind "PROXY ".
func parseV1(text string) (Header, error) {
	// The receiver must ignore what follows UNKNOWN.
	if text == "UNKNOWN" || strings.HasPrefix(text, "UNKNOWN ") {
		return Header{}, nil
	}
	words := strings.Split(text, " ") // exactly one space in between
	if len(words) != 5 {
		return Header{}, bad("the line has %d words", len(words)+1)
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		addr, err := netip.ParseAddr(words[1+i])
		if err != nil || addr.Zone() != "" {
			return Header{}, bad("%q is no address", words[1+i])
		}
		if want := map[bool]string{true: "TCP4", false: "TCP6"}[addr.Is4()]; words[0] != want {
			return Header{}, bad("the protocol is %q, and one address of %s", words[0], want)
		}
		port, err := parsePort(words[3+i])
		if err != nil {
			return Header{}, err
		}
		ends[i] = netip.AddrPortFrom(addr, port)
	}
	return Header{Source: ends[0], Destination: ends[1]}, nil
}

// parsePort reads a port in decimal, without zeros in front (§2.1).
func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || s != strconv.FormatUint(n, 10) {
		return 0, bad("%q is no port", s)
	}
	return uint16(n), nil
}

func (h Header) appendV1(b []byte) []byte {
	protocol := " TCP6 "
	switch h.family() {
	case 0:
		return append(b, "PROXY UNKNOWN\r\n"...)
	case 4:
		protocol = " TCP4 "
	}
	b = append(b, "PROXY"+protocol...)
	b = append(h.Source.Addr().WithZone("").AppendTo(b), ' ')
	b = append(h.Destination.Addr().WithZone("").AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(h.Source.Port()), 10), ' ')
	b = strconv.AppendUint(b, uint64(h.Destination.Port()), 10)
	return append(b, "\r\n"...)
}
