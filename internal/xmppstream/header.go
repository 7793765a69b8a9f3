package xmppstream

// readHeader reads the stream header that b starts with (RFC 6120 §4.7), XML declaration and
// whitespace before it included, and returns the index after it, or errMore.
func (s *scanner) readHeader(b []byte, first bool) (*Header, int, error) {
	if err := opening(b); err != nil {
		return nil, 0, err
	}
	i := 0
	if !first {
		i = skipSpace(b, 0) // it still belongs to the stream before
	}
	i, err := declaration(b, i)
	if err != nil {
		return nil, 0, err
	}
	i = skipSpace(b, i)
	if i+1 >= len(b) {
		if i < len(b) && b[i] != '<' {
			return nil, 0, malformed("something other than a stream header")
		}
		return nil, 0, errMore
	}
	switch {
	case b[i] != '<':
		return nil, 0, malformed("something other than a stream header")
	case b[i+1] == '!':
		return nil, 0, restricted("a comment or a document type declaration")
	case b[i+1] == '?':
		return nil, 0, restricted("a processing instruction")
	}
	s.reset()
	end, err := s.startTag(b, i)
	if err != nil {
		return nil, 0, err
	}
	def, err := s.declare(b, -1)
	if err == nil {
		err = s.resolveTag(b, def)
	}
	if err != nil {
		return nil, 0, err
	}
	h, err := s.takeHeader(b, def)
	return h, end, err
}

// opening tells apart what is no XMPP at all by its first bytes.
func opening(b []byte) error {
	if len(b) == 0 {
		return errMore
	}
	two := uint16(b[0]) << 8
	if len(b) > 1 {
		two |= uint16(b[1])
	}
	switch {
	case b[0] == 0xFE || b[0] == 0xFF || b[0] == 0 || len(b) > 1 && two == '<'<<8:
		return &Error{UnsupportedEncoding, "the stream is not in UTF-8 (it looks like UTF-16 or UTF-32)"}
	case b[0] == 0xEF:
		// RFC 6120 §11.6; expat skips a byte order mark, encoding/xml takes it for text.
		return &Error{UnsupportedEncoding, "a byte order mark before the stream header"}
	case b[0] == 0x16:
		return malformed("TLS where a plain stream header was expected: use the port for direct TLS, or STARTTLS")
	case b[0] >= 'A' && b[0] <= 'Z':
		return malformed("this is a port for XMPP streams, not for HTTP or another protocol")
	}
	return nil
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && class[b[i]]&space != 0 {
		i++
	}
	return i
}

// declaration reads the XML declaration (XML 1.0 §2.8) if one stands at b[i], and returns the
// index after it.
func declaration(b []byte, i int) (int, error) {
	const start = "<?xml"
	n := min(len(b)-i, len(start))
	if string(b[i:i+n]) != start[:n] {
		return i, nil
	}
	if n < len(start) || i+n == len(b) {
		return 0, errMore
	}
	i += n
	if class[b[i]]&space == 0 {
		return 0, restricted("a processing instruction")
	}
	seen := 0 // how many of the names below have come: each at most once, in this order
	for {
		from := i
		i = skipSpace(b, i)
		if i >= len(b) {
			return 0, errMore
		}
		if b[i] == '?' {
			if i+1 == len(b) {
				return 0, errMore
			}
			if b[i+1] != '>' || seen == 0 {
				return 0, malformed("an XML declaration without a version")
			}
			return i + 2, nil
		}
		name, value, end, err := pseudoAttr(b, i)
		if err != nil {
			return 0, err
		}
		known := false
		switch {
		case i == from:
		case name == "version" && seen == 0:
			seen, known = 1, true
			if value != "1.0" {
				return 0, malformed("an XML version other than 1.0")
			}
		case name == "encoding" && seen == 1:
			seen, known = 2, true
			if !isUTF8(value) {
				return 0, &Error{UnsupportedEncoding, "an encoding other than UTF-8"} // RFC 6120 §11.6
			}
		case name == "standalone" && (seen == 1 || seen == 2):
			seen, known = 3, value == "yes" || value == "no"
		}
		if !known {
			return 0, malformed("an XML declaration that is not well-formed")
		}
		i = end
	}
}

// pseudoAttr reads name="value" at b[i].
func pseudoAttr(b []byte, i int) (name, value string, end int, err error) {
	start := i
	for i < len(b) && b[i] >= 'a' && b[i] <= 'z' {
		i++
	}
	name = string(b[start:i])
	i = skipSpace(b, i)
	if i < len(b) && b[i] != '=' {
		return "", "", 0, malformed("an XML declaration that is not well-formed")
	}
	i = skipSpace(b, min(i+1, len(b)))
	if i >= len(b) {
		return "", "", 0, errMore
	}
	quote := b[i]
	if quote != '\'' && quote != '"' {
		return "", "", 0, malformed("an XML declaration that is not well-formed")
	}
	i++
	for start = i; i < len(b) && b[i] != quote; i++ {
		if b[i] <= ' ' || b[i] >= 0x7F || b[i] == '<' || b[i] == '&' {
			return "", "", 0, malformed("an XML declaration that is not well-formed")
		}
	}
	if i == len(b) {
		return "", "", 0, errMore
	}
	return name, string(b[start:i]), i + 1, nil
}

func isUTF8(s string) bool {
	if len(s) != 5 {
		return false
	}
	for i := range s {
		c := s[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != "UTF-8"[i] {
			return false
		}
	}
	return true
}

// reset forgets the header of a stream before.
func (s *scanner) reset() {
	s.arena = append(s.arena[:0], NSXML...) // see xmlSpan
	s.base = base{arena: len(NSXML), def: -1}
	s.begin()
}

// takeHeader makes a Header of the tag just read and its declarations the base of what follows.
func (s *scanner) takeHeader(b []byte, def int32) (*Header, error) {
	t := &s.tag
	if string(s.bytes(b, t.uri)) != NSStream {
		return nil, &Error{InvalidNamespace, "the stream header is not in the namespace " + NSStream}
	}
	h := &Header{}
	if t.colon > 0 {
		h.Prefix = string(b[t.name.off : t.name.off+t.colon])
	}
	if string(s.bytes(b, t.local())) != "stream" {
		return nil, &Error{BadFormat, "the first element is not a stream header"}
	}
	if t.empty {
		return nil, &Error{BadFormat, "the stream is closed in its own header"}
	}
	if err := s.headerAttrs(b, h); err != nil {
		return nil, err
	}
	s.takeScope(b, h, def)
	// RFC 6120 §4.8.2: the content namespace is one of two, or declared by each stanza.
	switch h.ContentNS {
	case NSClient, NSServer, "":
		return h, nil
	}
	return nil, &Error{InvalidNamespace, "the default namespace of the stream is neither " + NSClient + " nor " + NSServer}
}

func (s *scanner) headerAttrs(b []byte, h *Header) error {
	for k := range s.attrs {
		a := &s.attrs[k]
		var to *string
		switch string(b[a.name.off : a.name.off+a.name.n]) {
		case "to":
			to = &h.To
		case "from":
			to = &h.From
		case "id":
			to = &h.ID
		case "version":
			to = &h.Version
		case "xml:lang":
			to = &h.Lang
		default:
			continue
		}
		*to = string(s.bytes(b, s.value(b, a)))
	}
	return nil
}

// takeScope copies the header's declarations out of the read buffer.
func (s *scanner) takeScope(b []byte, h *Header, def int32) {
	if def >= 0 {
		if uri := string(s.bytes(b, s.scope[def].uri)); uri != NSStream {
			h.ContentNS = uri
		}
	}
	decls := make([]Decl, len(s.scope))
	for k, d := range s.scope {
		decls[k] = Decl{string(s.bytes(b, d.prefix)), string(s.bytes(b, d.uri))}
	}
	s.reset()
	s.base.def = def
	defaultNS := ""
	for _, d := range decls {
		s.scope = append(s.scope, binding{s.keep([]byte(d.Prefix)), s.keep([]byte(d.URI))})
		switch {
		case d.Prefix == "":
			defaultNS = d.URI
			continue
		case d.Prefix != h.Prefix:
			h.Decls = append(h.Decls, d)
		}
		if d.Prefix != "stream" || d.URI != NSStream {
			s.base.carry = append(s.base.carry, carried{d.Prefix, declText(d)})
			s.base.ownStream = s.base.ownStream || d.Prefix == "stream"
		}
	}
	if defaultNS != NSClient {
		s.base.carry = append(s.base.carry, carried{"", declText(Decl{"", defaultNS})})
		s.base.ownDefault = true
	}
	s.base.scope, s.base.arena = len(s.scope), len(s.arena)
}

func declText(d Decl) string {
	text := " xmlns"
	if d.Prefix != "" {
		text += ":" + d.Prefix
	}
	return text + "='" + string(Escape(nil, d.URI)) + "'"
}
