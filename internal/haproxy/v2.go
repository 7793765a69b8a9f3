package haproxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
)

// maxV2 bounds the addresses and extensions of version 2. The field for their
// length allows 64 KiB; 536 is what a sender may count on (§2.2), and this leaves
// room for certificates' names.
const maxV2 = 4096

// The bytes that say what follows the signature (§2.2).
const (
	local = 0x20 // version 2, the sender's own connection
	proxy = 0x21 // version 2, somebody's that is passed on

	unspec = 0x00
	inet   = 0x10
	inet6  = 0x20
	unix   = 0x30
	stream = 0x01
)

// readV2 reads a header of version 2 (§2.2): signature, version and command,
// family and protocol, length, addresses, extensions.
func readV2(r *bufio.Reader) (Header, error) {
	var fixed [16]byte
	for i := range signature {
		c, err := r.ReadByte()
		if err != nil {
			return Header{}, short(err)
		}
		if c != signature[i] {
			return Header{}, bad("the signature is wrong at byte %d", i+1)
		}
	}
	if _, err := io.ReadFull(r, fixed[12:]); err != nil {
		return Header{}, short(err)
	}
	command, family, length := fixed[12], fixed[13], int(binary.BigEndian.Uint16(fixed[14:]))
	switch {
	case command != local && command != proxy:
		return Header{}, bad("version and command are %#02x", command)
	case length > maxV2:
		return Header{}, bad("it is %d bytes long", length)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return Header{}, short(err)
	}
	if command == local {
		return Header{}, nil // the receiver must ignore the rest
	}
	size, ok := map[byte]int{unspec: 0, inet | stream: 12, inet6 | stream: 36, unix | stream: 216}[family]
	switch {
	case !ok:
		return Header{}, bad("family and protocol are %#02x", family)
	case length < size:
		return Header{}, bad("%d bytes are too few for its addresses", length)
	case family == unspec:
		return Header{}, nil
	}
	if err := checkExtensions(body[size:]); err != nil {
		return Header{}, err
	}
	switch family {
	case inet | stream:
		return ends(body[:size], 4), nil
	case inet6 | stream:
		return ends(body[:size], 16), nil
	}
	return Header{}, nil // paths of unix sockets, which tell nothing
}

// ends reads two addresses of n bytes each and their ports.
func ends(b []byte, n int) Header {
	source, _ := netip.AddrFromSlice(b[:n])
	destination, _ := netip.AddrFromSlice(b[n : 2*n])
	return Header{
		Source:      netip.AddrPortFrom(source, binary.BigEndian.Uint16(b[2*n:])),
		Destination: netip.AddrPortFrom(destination, binary.BigEndian.Uint16(b[2*n+2:])),
	}
}

// checkExtensions goes over the extensions (§2.2, type, length, value). None is
// of use here, but what does not add up is no header.
func checkExtensions(b []byte) error {
	for len(b) > 0 {
		if len(b) < 3 || len(b)-3 < int(binary.BigEndian.Uint16(b[1:])) {
			return bad("an extension is cut off")
		}
		b = b[3+int(binary.BigEndian.Uint16(b[1:])):]
	}
	return nil
}

func (h Header) appendV2(b []byte) []byte {
	b = append(b, signature...)
	family := byte(inet6 | stream)
	switch h.family() {
	case 0:
		return append(b, local, unspec, 0, 0)
	case 4:
		family = inet | stream
	}
	source, destination := h.Source.Addr().AsSlice(), h.Destination.Addr().AsSlice()
	b = append(b, proxy, family)
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(source)+4))
	b = append(append(b, source...), destination...)
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	return binary.BigEndian.AppendUint16(b, h.Destination.Port())
}

// short is err of a connection that ended within a header.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
