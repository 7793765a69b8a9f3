package websocket

import (
	"bytes"
	"slices"

	"xmpp-gw/internal/xmppstream"
)

const (
	nsFraming = "urn:ietf:params:xml:ns:xmpp-framing" // RFC 7395 §3.3.2
	// subprotocol is what both sides must agree on (RFC 7395 §3.1).
	subprotocol = "xmpp"
	// maxFraming bounds <open/> and <close/>.
	maxFraming = 8 << 10
)

// openFrame is the <open/> that says what a stream header says (RFC 7395 §3.4).
func openFrame(header []byte) ([]byte, error) {
	r := xmppstream.NewReader(bytes.NewReader(header), xmppstream.PreAuthLimits())
	defer r.Release()
	h, err := r.ReadHeader()
	if err != nil {
		return nil, err
	}
	b := append([]byte(nil), "<open xmlns='"+nsFraming+"'"...)
	for _, a := range [...][2]string{{"to", h.To}, {"from", h.From}, {"id", h.ID}, {"version", h.Version}, {"xml:lang", h.Lang}} {
		b = attr(b, a[0], a[1])
	}
	return append(b, "/>"...), nil
}

// closeFrame ends a stream (RFC 7395 §3.6).
const closeFrame = "<close xmlns='" + nsFraming + "'/>"

// header is the stream header that says what an <open/> says.
func header(open *xmppstream.Node) []byte {
	b := append([]byte(nil), "<?xml version='1.0'?><stream:stream xmlns='"+xmppstream.NSClient+"' xmlns:stream='"+xmppstream.NSStream+"'"...)
	for _, name := range []string{"from", "to", "id", "version"} {
		b = attr(b, name, open.Attr(name))
	}
	if i := slices.IndexFunc(open.Attrs, func(a xmppstream.Attr) bool { return a.Space == xmppstream.NSXML && a.Name == "lang" }); i >= 0 {
		b = attr(b, "xml:lang", open.Attrs[i].Value)
	}
	return append(b, '>')
}

func attr(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(b, ' '), name...)
	return append(xmppstream.Escape(append(b, "='"...), value), '\'')
}

// alone appends an element of a stream as a document of its own: what it leaned on
// in the stream's header, it declares itself (RFC 7395 §3.3.3).
func alone(dst, raw []byte) []byte {
	r := rootOf(raw)
	dst = append(dst, raw[:r.end]...)
	if !r.standard {
		dst = append(dst, " xmlns='"+xmppstream.NSClient+"'"...)
	}
	if !r.stream && (r.prefix == "stream" || bytes.Contains(raw, []byte("stream:"))) {
		dst = append(dst, " xmlns:stream='"+xmppstream.NSStream+"'"...)
	}
	return append(dst, raw[r.end:]...)
}

// receive turns a message of the server into bytes of a stream. What a message
// leans on beyond itself is refused: it would mean something else to whoever reads
// messages one by one.
func receive(message []byte) ([]byte, error) {
	var s splitter
	n, what, bad := s.next(message)
	if bad || what != element || n != len(message) {
		return nil, garbage("it sent a message that is not one whole XML element")
	}
	r := rootOf(message)
	if r.prefix == "" && !r.standard || r.prefix != "" && !r.own {
		return nil, garbage("it sent an element that does not declare its namespace")
	}
	switch {
	case bytes.IndexByte(r.space, '&') >= 0:
		// Nobody writes a namespace so but to have it read in two ways.
		return nil, garbage("it sent an element whose namespace is disguised")
	case string(r.space) != nsFraming:
		return message, nil
	case len(message) > maxFraming:
		return nil, garbage("it sent a frame that is too long")
	}
	node, err := xmppstream.Parse(message, xmppstream.PreAuthLimits())
	switch {
	case err != nil:
		return nil, garbage("it sent XML that is not well-formed")
	case node.Is(nsFraming, "open"):
		return header(node), nil
	case node.Is(nsFraming, "close"):
		if uri := node.Attr("see-other-uri"); uri != "" { // RFC 7395 §3.6.1
			return nil, &Moved{URI: uri}
		}
		return []byte("</stream:stream>"), nil
	}
	return nil, garbage("it sent a frame that RFC 7395 does not have")
}
