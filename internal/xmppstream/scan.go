package xmppstream

import "bytes"

// span is a piece of the bytes being scanned, or, where off is negative, of the arena at ^off.
type span struct{ off, n int32 }

// binding is a namespace declaration in scope; an empty prefix is the default namespace.
type binding struct{ prefix, uri span }

// open is an element whose end tag has not come yet.
type open struct {
	name  span  // as written
	scope int32 // bindings that stay when it closes
	def   int32 // binding of the default namespace inside it, -1: none
}

// attr is an attribute of the tag being read.
type attr struct {
	name  span
	colon int32 // length of its prefix, 0: none
	value span  // as written
	uri   span  // resolved namespace, empty for attributes without a prefix and for declarations
	plain bool  // the value stands for itself: no references, no whitespace but spaces
	decl  bool  // declares a namespace
}

// maxScope bounds the namespace declarations in scope at one place, as each prefix is looked up
// in all of them.
const maxScope = 256

// scanner checks one top-level element. Offsets count from the element's first byte, so the bytes
// may move between calls. What it has understood it keeps: each byte is looked at a bounded number
// of times, however the element is cut into reads.
type scanner struct {
	lim Limits

	at       int  // scanned so far
	inCDATA  bool // at is inside a CDATA section
	inTag    bool // at is the '<' of a tag whose end has not been seen up to probe
	probe    int
	probeQ   byte // the quote that probe is inside of
	elements int

	stack []open
	scope []binding
	attrs []attr
	arena []byte // the header's declarations, then decoded values of this element

	base base
	tag  tag
	head head
}

// base is what the stream header left in scope.
type base struct {
	scope, arena int       // how much of the scanner's slices belongs to the header
	def          int32     // binding of the default namespace, -1: none
	carry        []carried // declarations that another stream's header does not have
	ownDefault   bool      // carry has one of the default namespace
	ownStream    bool      // carry has one of the prefix "stream"
}

// carried is a declaration of the header and how it is written on an element, with a leading space.
type carried struct{ prefix, text string }

// tag is the start tag just read.
type tag struct {
	name     span
	colon    int32
	uri      span // resolved
	empty    bool // <a/>
	decls    int  // number of namespace declarations
	prefixed bool // has prefixed attributes other than declarations
	end      int  // index after it
}

// local is the name without its prefix.
func (t *tag) local() span {
	if t.colon == 0 {
		return t.name
	}
	return span{t.name.off + t.colon + 1, t.name.n - t.colon - 1}
}

// head collects what Element tells. Values are -1 long when absent.
type head struct {
	root, uri          span
	to, from, id, kind span
	lang               span
	fromAttr, toAttr   span // the attributes whole, with the space before them; empty when absent
	insert             int32
	end                int  // of the root's start tag
	closed             bool // the root is an empty-element tag
	defaulted          bool // the root declares the default namespace, or will with decls
	streamed           bool // likewise the prefix "stream"
	decls              span
	children           []childSpan
}

type childSpan struct {
	name, uri  span
	start, end int
}

var absent = span{0, -1}

// begin makes ready for the next top-level element.
func (s *scanner) begin() {
	s.at, s.inCDATA, s.inTag, s.elements = 0, false, false, 0
	s.stack = s.stack[:0]
	s.scope = s.scope[:s.base.scope]
	s.arena = s.arena[:s.base.arena]
	s.head.children = s.head.children[:0]
}

// bytes returns what p stands for, b being the element's bytes.
func (s *scanner) bytes(b []byte, p span) []byte {
	if p.off >= 0 {
		return b[p.off : p.off+p.n : p.off+p.n]
	}
	return s.arena[^p.off : ^p.off+p.n : ^p.off+p.n]
}

// keep puts v into the arena.
func (s *scanner) keep(v []byte) span {
	p := span{^int32(len(s.arena)), int32(len(v))}
	s.arena = append(s.arena, v...)
	return p
}

// value returns the attribute's value with references decoded.
func (s *scanner) value(b []byte, a *attr) span {
	if a.plain {
		return a.value
	}
	from := len(s.arena)
	s.arena = unescape(s.arena, s.bytes(b, a.value), true)
	return span{^int32(from), int32(len(s.arena) - from)}
}

// element goes on scanning b, which starts with the element, and returns the index after its end,
// or errMore.
func (s *scanner) element(b []byte) (int, error) {
	i := s.at
	var err error
	for {
		switch {
		case s.inCDATA:
			i, err = s.cdata(b, i)
			s.at = i
			if err != nil {
				return 0, err
			}
			s.inCDATA = false
			continue
		case s.inTag:
			if !s.tagEnds(b) {
				return 0, errMore
			}
			s.inTag = false
		case i < len(b) && b[i] == '<': // as between tags
		default:
			i, err = text(b, i)
			s.at = i
			if err != nil {
				return 0, err
			}
		}
		// b[i] is '<'.
		if i+1 == len(b) {
			return 0, errMore
		}
		switch b[i+1] {
		case '/':
			i, err = s.endTag(b, i)
		case '!':
			if i, err = s.openCDATA(b, i); err == nil {
				s.inCDATA = true
				continue
			}
			return 0, err
		case '?':
			return 0, restricted("a processing instruction")
		default:
			if i, err = s.startTag(b, i); err == nil {
				err = s.enter(b)
			}
		}
		if err != nil {
			if err == errMore {
				s.inTag, s.probe, s.probeQ = true, s.at, 0
			}
			return 0, err
		}
		switch len(s.stack) {
		case 0:
			return i, nil
		case 1: // a child has ended here, or the root has begun
			if n := len(s.head.children); n > 0 {
				s.head.children[n-1].end = i
			}
		}
		s.at = i
	}
}

// lastWord makes the next call of element judge an unfinished tag as it is, as no more bytes come.
func (s *scanner) lastWord() { s.inTag = false }

// text checks character data from i on and returns the index of the next '<', or with errMore the
// index to go on from.
func text(b []byte, i int) (int, error) {
	for {
		i = skipText(b, i)
		if i == len(b) {
			return i, errMore
		}
		var err error
		switch b[i] {
		case '<':
			return i, nil
		case '&':
			if _, i, err = reference(b, i); err != nil {
				return i, err
			}
		case ']':
			// XML 1.0 §2.4: "]]>" must not stand in text.
			rest := b[i+1:]
			if len(rest) > 0 && rest[0] != ']' {
				i++
				continue
			}
			if len(rest) < 2 {
				return i, errMore
			}
			if rest[1] == '>' {
				return i, malformed("]]> outside a CDATA section")
			}
			i++
		default:
			if i, err = chars(b, i); err != nil {
				return i, err
			}
		}
	}
}

// openCDATA reads "<![CDATA[". Everything else that starts with "<!" is forbidden.
func (s *scanner) openCDATA(b []byte, i int) (int, error) {
	const start = "<![CDATA["
	n := min(len(b)-i, len(start))
	if string(b[i:i+n]) != start[:n] || len(s.stack) == 0 {
		return 0, restricted("a comment, a document type declaration, or a CDATA section between stanzas")
	}
	if n < len(start) {
		return 0, errMore
	}
	return i + n, nil
}

// cdata goes on inside a CDATA section and returns the index after it, or with errMore the index
// to go on from.
func (s *scanner) cdata(b []byte, i int) (int, error) {
	var err error
	for {
		for i < len(b) && class[b[i]]&textPlain != 0 {
			i++
		}
		if i == len(b) {
			return i, errMore
		}
		switch b[i] {
		case '<', '&':
			i++
		case ']':
			if bytes.HasPrefix(b[i:], []byte("]]>")) {
				return i + 3, nil
			}
			if len(b)-i < 3 && bytes.HasPrefix([]byte("]]>"), b[i:]) {
				return i, errMore
			}
			i++
		default:
			if i, err = chars(b, i); err != nil {
				return i, err
			}
		}
	}
}

// tagEnds looks on from probe for the '>' that ends the tag at at. It only saves reading the tag
// again at each read; what stands in the tag is judged by startTag and endTag.
func (s *scanner) tagEnds(b []byte) bool {
	for i := s.probe; i < len(b); i++ {
		if s.probeQ != 0 {
			n := bytes.IndexByte(b[i:], s.probeQ)
			if n < 0 {
				break
			}
			i, s.probeQ = i+n, 0
			continue
		}
		switch b[i] {
		case '>':
			return true
		case '\'', '"':
			s.probeQ = b[i]
		}
	}
	s.probe = len(b)
	return false
}

// endTag reads the end tag at b[i].
func (s *scanner) endTag(b []byte, i int) (int, error) {
	if len(s.stack) == 0 {
		return 0, malformed("an end tag without a start tag")
	}
	top := &s.stack[len(s.stack)-1]
	i += 2
	name := b[top.name.off : top.name.off+top.name.n]
	end := i + len(name)
	if end >= len(b) {
		if string(b[i:]) != string(name[:min(len(name), len(b)-i)]) {
			return 0, malformed("an end tag of another name than its start tag")
		}
		return 0, errMore
	}
	if string(b[i:end]) != string(name) {
		return 0, malformed("an end tag of another name than its start tag")
	}
	for class[b[end]]&space != 0 {
		if end++; end == len(b) {
			return 0, errMore
		}
	}
	if b[end] != '>' {
		return 0, malformed("an end tag of another name than its start tag")
	}
	s.scope = s.scope[:top.scope]
	s.stack = s.stack[:len(s.stack)-1]
	return end + 1, nil
}

// startTag reads the start tag at b[i] into s.tag and s.attrs and returns the index after it.
func (s *scanner) startTag(b []byte, i int) (int, error) {
	t := &s.tag
	t.empty, t.decls, t.prefixed = false, 0, false
	s.attrs = s.attrs[:0]
	i++
	start := i
	i, colon, err := name(b, i)
	if err != nil {
		return 0, err
	}
	t.name, t.colon = span{int32(start), int32(i - start)}, colon
	for {
		if i >= len(b) {
			return 0, errMore
		}
		spaced := false
		for class[b[i]]&space != 0 {
			spaced = true
			if i++; i == len(b) {
				return 0, errMore
			}
		}
		switch b[i] {
		case '>':
			t.end = i + 1
			return i + 1, nil
		case '/':
			if i+1 == len(b) {
				return 0, errMore
			}
			if b[i+1] != '>' {
				return 0, malformed("a slash inside a tag")
			}
			t.empty, t.end = true, i+2
			return i + 2, nil
		}
		if !spaced {
			return 0, malformed("a name or an attribute that is followed by neither space nor end")
		}
		if i, err = s.attribute(b, i); err != nil {
			return 0, err
		}
	}
}

// attribute reads the attribute at b[i] onto s.attrs and returns the index after it.
func (s *scanner) attribute(b []byte, i int) (int, error) {
	start, colon := i, int32(0)
	var err error
	if i = skipName(b, i); i == len(b) || b[i] != '=' || class[b[start]]&nameStart == 0 {
		if i, colon, err = name(b, start); err != nil {
			return 0, err
		}
	}
	own := b[start:i]
	for k := range s.attrs {
		o := &s.attrs[k].name
		if int(o.n) == len(own) && string(b[o.off:o.off+o.n]) == string(own) {
			return 0, malformed("an attribute that stands twice in one tag")
		}
	}
	if len(s.attrs) >= s.lim.Attrs {
		return 0, overLimit("too many attributes")
	}
	s.attrs = extend(s.attrs)
	a := &s.attrs[len(s.attrs)-1]
	a.name.off, a.name.n = int32(start), int32(len(own))
	a.colon, a.uri.n = colon, 0
	a.plain, a.decl = true, false
	switch {
	case (colon == 5 || colon == 0 && len(own) == 5) && string(own[:5]) == "xmlns":
		a.decl = true
		s.tag.decls++
	case colon > 0:
		s.tag.prefixed = true
	}
	for i < len(b) && b[i] != '=' {
		if class[b[i]]&space == 0 {
			return 0, malformed("an attribute without a value")
		}
		i++
	}
	i++
	for i < len(b) && class[b[i]]&space != 0 {
		i++
	}
	if i >= len(b) {
		return 0, errMore
	}
	quote := b[i]
	if quote != '\'' && quote != '"' {
		return 0, malformed("an attribute value without quotes")
	}
	i++
	a.value.off = int32(i)
	for {
		i = skipValue(b, i, quote)
		if i == len(b) {
			return 0, errMore
		}
		switch c := b[i]; {
		case c == quote:
			a.value.n = int32(i) - a.value.off
			return i + 1, nil
		case c == '<':
			return 0, malformed("a less-than sign in an attribute value")
		case c == '&':
			a.plain = false
			if _, i, err = reference(b, i); err != nil {
				return 0, err
			}
		default:
			if c < ' ' {
				a.plain = false
			}
			if i, err = chars(b, i); err != nil {
				return 0, err
			}
		}
	}
}

// extend makes s one longer. What the new element holds is left from before: its fields are set
// one by one, which is several times faster than appending a struct just made.
func extend[T any](s []T) []T {
	if len(s) < cap(s) {
		return s[:len(s)+1]
	}
	var zero T
	return append(s, zero)
}

// name reads the qualified name at b[i] and returns the index after it and the length of its
// prefix (Namespaces in XML 1.0 §4: at most one colon, with a name on each side).
func name(b []byte, i int) (end int, colon int32, err error) {
	start, part := i, i
	for {
		if i == len(b) {
			return 0, 0, errMore
		}
		if class[b[i]]&nameStart != 0 {
			i++
		} else if i, err = wideName(b, i, true); err != nil {
			return 0, 0, err
		}
		for {
			if i = skipName(b, i); i == len(b) {
				return 0, 0, errMore
			}
			if b[i] < 0x80 {
				break
			}
			if i, err = wideName(b, i, false); err != nil {
				return 0, 0, err
			}
		}
		if b[i] != ':' {
			return i, colon, nil
		}
		if part != start {
			return 0, 0, malformed("a name with two colons")
		}
		colon = int32(i - start)
		i++
		part = i
	}
}

// wideName checks the character at b[i], which is not an ASCII name character, and returns the
// index after it.
func wideName(b []byte, i int, first bool) (int, error) {
	end, err := char(b, i)
	if err != nil {
		return 0, err
	}
	if b[i] < 0x80 || !nameRune(decode(b[i:end]), first) {
		return 0, malformed("a name with a character that names must not have")
	}
	return end, nil
}
