package xmppstream

import "bytes"

// AppendAddressed is [Element.Append] with other addresses on the root: from and to, and lang where
// the root has no xml:lang; an empty one is left out. A child's place in what was appended is its
// own plus shift.
func (e *Element) AppendAddressed(dst []byte, from, to, lang string) (out []byte, shift int) {
	h := &e.reader.scan.head
	before := len(dst)
	dst = append(dst, e.Raw[:e.insert]...)
	if from != "" {
		dst = appendAttr(dst, "from", from)
	}
	if to != "" {
		dst = appendAttr(dst, "to", to)
	}
	if lang != "" && e.Lang == nil {
		dst = appendAttr(dst, "xml:lang", lang)
	}
	dst = append(dst, e.decls...)
	at := int32(e.insert)
	first, second := h.fromAttr, h.toAttr
	if first.off > second.off {
		first, second = second, first
	}
	for _, cut := range [...]span{first, second} {
		if cut.n > 0 {
			dst = append(dst, e.Raw[at:cut.off]...)
			at = cut.off + cut.n
		}
	}
	dst = append(dst, e.Raw[at:]...)
	return dst, len(dst) - before - len(e.Raw)
}

// Root tells how the root's start tag can be changed in what Append or AppendAddressed gave.
type Root struct {
	Name  int  // index after the name in it, where attributes can be put
	Empty bool // it is an empty-element tag
	// Default and Stream say that, to stand outside a stream, the root needs a declaration of
	// the default namespace, and one of the prefix "stream".
	Default, Stream bool
}

// Root is valid as long as the element is.
func (e *Element) Root() Root {
	h := &e.reader.scan.head
	return Root{
		Name: e.insert, Empty: h.closed, Default: !h.defaulted,
		Stream: !h.streamed && bytes.Contains(e.Raw, []byte("stream:")),
	}
}

// ParseElement reads one element as it stands on a stream whose header declares jabber:client as
// the default namespace and "stream" for [NSStream], within lim. The element leans on raw.
func ParseElement(raw []byte, lim Limits) (*Element, error) {
	r := &Reader{lim: lim, state: ended}
	r.el.reader = r
	r.scan.lim = lim
	r.scan.reset()
	for _, d := range [...]Decl{{"", NSClient}, {"stream", NSStream}} {
		r.scan.scope = append(r.scan.scope, binding{r.scan.keep([]byte(d.Prefix)), r.scan.keep([]byte(d.URI))})
	}
	r.scan.base.def, r.scan.base.scope, r.scan.base.arena = 0, len(r.scan.scope), len(r.scan.arena)
	if len(raw) == 0 || raw[0] != '<' || len(raw) > lim.Bytes {
		return nil, malformed("one element was expected")
	}
	r.scan.begin()
	end, err := r.scan.element(raw)
	if err == errMore || err == nil && end < len(raw) {
		err = malformed("one element was expected")
	}
	if err != nil {
		return nil, err
	}
	e := r.yield(Stanza, raw, end)
	r.fillHead(e, e.Raw)
	return e, nil
}
