package xmppstream

import "unicode/utf8"

func decode(b []byte) rune { r, _ := utf8.DecodeRune(b); return r }

// enter resolves the start tag just read, opens its element and notes what the head tells.
func (s *scanner) enter(b []byte) error {
	t := &s.tag
	depth := len(s.stack)
	if s.elements++; s.elements > s.lim.Elements {
		return overLimit("too many elements in one stanza")
	}
	if depth >= s.lim.Depth {
		return overLimit("elements nested too deeply")
	}
	outer, def := int32(len(s.scope)), s.base.def
	if depth > 0 {
		def = s.stack[depth-1].def
	}
	if t.decls > 0 {
		var err error
		if def, err = s.declare(b, def); err != nil {
			return err
		}
	}
	if err := s.resolveTag(b, def); err != nil {
		return err
	}
	switch depth {
	case 0:
		s.noteRoot(b)
	case 1:
		name := t.local()
		s.head.children = extend(s.head.children)
		c := &s.head.children[len(s.head.children)-1]
		c.name, c.uri = name, t.uri
		c.start, c.end = int(t.name.off)-1, 0
	}
	if t.empty {
		s.scope = s.scope[:outer]
		return nil
	}
	s.stack = extend(s.stack)
	o := &s.stack[len(s.stack)-1]
	o.name, o.scope, o.def = t.name, outer, def
	return nil
}

// declare puts the tag's namespace declarations in scope and returns the default namespace's.
func (s *scanner) declare(b []byte, def int32) (int32, error) {
	for k, left := 0, s.tag.decls; left > 0; k++ {
		a := &s.attrs[k]
		if !a.decl {
			continue
		}
		left--
		var prefix span
		if a.colon > 0 {
			prefix = span{a.name.off + 6, a.name.n - 6}
		}
		uri := s.value(b, a)
		if err := checkDecl(s.bytes(b, prefix), s.bytes(b, uri)); err != nil {
			return 0, err
		}
		if len(s.scope) >= maxScope {
			return 0, overLimit("too many namespace declarations")
		}
		if a.colon == 0 {
			def = int32(len(s.scope))
		}
		s.scope = extend(s.scope)
		d := &s.scope[len(s.scope)-1]
		d.prefix, d.uri = prefix, uri
	}
	return def, nil
}

// checkDecl obeys Namespaces in XML 1.0 §3 (reserved prefixes) and §2.2 (no empty prefix binding).
func checkDecl(prefix, uri []byte) error {
	switch {
	case string(prefix) == "xmlns" || string(uri) == nsXMLNS || (string(prefix) == "xml") != (string(uri) == NSXML):
		return malformed("a declaration that rebinds the reserved prefixes xml and xmlns")
	case len(prefix) > 0 && len(uri) == 0:
		return malformed("a prefix that is bound to no namespace")
	}
	return nil
}

// The XML namespace, always in scope as "xml"; its bytes are at the start of every arena.
var xmlSpan = span{^0, int32(len(NSXML))}

// lookup returns the namespace that the prefix is bound to.
func (s *scanner) lookup(b []byte, prefix []byte) (span, error) {
	for k := len(s.scope) - 1; k >= 0; k-- {
		p := s.scope[k].prefix
		if int(p.n) == len(prefix) && string(s.bytes(b, p)) == string(prefix) {
			return s.scope[k].uri, nil
		}
	}
	if string(prefix) == "xml" {
		return xmlSpan, nil
	}
	return span{}, malformed("a namespace prefix that is not declared")
}

// resolveTag finds the namespace of the tag and checks those of its attributes.
func (s *scanner) resolveTag(b []byte, def int32) error {
	t := &s.tag
	if t.colon > 0 {
		prefix := b[t.name.off : t.name.off+t.colon]
		if string(prefix) == "xmlns" {
			return malformed("an element with the reserved prefix xmlns")
		}
		var err error
		if t.uri, err = s.lookup(b, prefix); err != nil {
			return err
		}
	} else {
		t.uri = span{}
		if def >= 0 {
			t.uri = s.scope[def].uri
		}
		// encoding/xml leaves this one name out of the default namespace.
		if t.name.n == 5 && string(b[t.name.off:t.name.off+5]) == "xmlns" {
			return malformed("an element of the reserved name xmlns")
		}
	}
	if !t.prefixed {
		return nil
	}
	return s.resolveAttrs(b)
}

// resolveAttrs checks that the prefixes of attributes are declared and that no two attributes
// have the same expanded name (Namespaces in XML 1.0 §6.3).
func (s *scanner) resolveAttrs(b []byte) error {
	for k := range s.attrs {
		a := &s.attrs[k]
		if a.colon == 0 || a.decl {
			continue
		}
		name := b[a.name.off : a.name.off+a.name.n]
		var err error
		if a.uri, err = s.lookup(b, name[:a.colon]); err != nil {
			return err
		}
		for j := range s.attrs[:k] {
			o := &s.attrs[j]
			if o.uri.n == a.uri.n && o.name.n-o.colon == a.name.n-a.colon &&
				string(b[o.name.off+o.colon:o.name.off+o.name.n]) == string(name[a.colon:]) &&
				string(s.bytes(b, o.uri)) == string(s.bytes(b, a.uri)) {
				return malformed("an attribute that stands twice in one tag")
			}
		}
	}
	return nil
}

// noteRoot fills the head from the root's start tag.
func (s *scanner) noteRoot(b []byte) {
	h, t := &s.head, &s.tag
	h.uri, h.root = t.uri, t.local()
	h.insert = t.name.off + t.name.n
	h.to, h.from, h.id, h.kind, h.lang = absent, absent, absent, absent, absent
	h.fromAttr, h.toAttr = span{}, span{}
	h.end, h.closed = t.end, t.empty
	h.defaulted, h.streamed = s.base.ownDefault, s.base.ownStream
	if t.decls > 0 {
		h.defaulted = h.defaulted || s.declares(b, "")
		h.streamed = h.streamed || s.declares(b, "stream")
	}
	h.decls = span{}
	if len(s.base.carry) > 0 {
		h.decls = s.carry(b)
	}
	for k := range s.attrs {
		a := &s.attrs[k]
		if a.name.n != 2 && a.name.n != 4 && a.name.n != 8 {
			continue
		}
		switch string(b[a.name.off : a.name.off+a.name.n]) {
		case "to":
			h.to, h.toAttr = s.value(b, a), a.whole()
		case "from":
			h.from, h.fromAttr = s.value(b, a), a.whole()
		case "id":
			h.id = s.value(b, a)
		case "type":
			h.kind = s.value(b, a)
		case "xml:lang":
			h.lang = s.value(b, a)
		}
	}
}

// whole is the attribute with the space before it.
func (a *attr) whole() span { return span{a.name.off - 1, a.value.off + a.value.n + 2 - a.name.off} }

// carry puts into the arena the declarations that the root needs on another stream: those of the
// header, without those that the root makes itself.
func (s *scanner) carry(b []byte) span {
	from := len(s.arena)
	for _, c := range s.base.carry {
		if !s.declares(b, c.prefix) {
			s.arena = append(s.arena, c.text...)
		}
	}
	return span{^int32(from), int32(len(s.arena) - from)}
}

// declares reports whether the root declares the prefix. Only its declarations follow the header's.
func (s *scanner) declares(b []byte, prefix string) bool {
	for _, d := range s.scope[s.base.scope:] {
		if string(s.bytes(b, d.prefix)) == prefix {
			return true
		}
	}
	return false
}
