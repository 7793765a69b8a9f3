package xmppstream

import (
	"bytes"
	"strconv"
)

// Node is an element as a small tree, for negotiation (stream features, SASL, errors) and for
// payloads that are looked at. Text is all direct character data joined; a Node that was read is
// written with its text between its children as it was, one that was made with its text before them.
type Node struct {
	Space, Name string
	Attrs       []Attr // without namespace declarations
	Text        string
	Children    []*Node

	at []int32 // how much of Text is before each child; nil: all of it
}

// Attr is an attribute; Space is empty for one without a prefix.
type Attr struct{ Space, Name, Value string }

// Attr returns the value of the attribute without a namespace, "" when absent.
func (n *Node) Attr(name string) string {
	for _, a := range n.Attrs {
		if a.Space == "" && a.Name == name {
			return a.Value
		}
	}
	return ""
}

// Is reports whether the node has this namespace and local name.
func (n *Node) Is(space, name string) bool { return n.Space == space && n.Name == name }

// Child returns the first direct child of this name, nil when there is none. It may be called on
// a nil Node, so that paths can be chained.
func (n *Node) Child(space, name string) *Node {
	if n == nil {
		return nil
	}
	for _, c := range n.Children {
		if c.Is(space, name) {
			return c
		}
	}
	return nil
}

// ChildText returns the text of the first direct child of this name, "" when there is none.
func (n *Node) ChildText(space, name string) string {
	if c := n.Child(space, name); c != nil {
		return c.Text
	}
	return ""
}

// Node reads the element as a tree. Like the element's slices it must be called before the
// Reader's next call; the tree itself stays. It fails for other kinds than Stanza.
func (e *Element) Node() (*Node, error) {
	if e.Kind != Stanza || e.reader == nil {
		return nil, malformed("an element was expected")
	}
	s := &e.reader.scan
	s.begin()
	n, _, err := s.node(e.Raw, 0)
	return n, err
}

// Parse reads one element that stands alone, within lim.
func Parse(raw []byte, lim Limits) (*Node, error) {
	s := scanner{lim: lim}
	s.reset()
	if len(raw) == 0 || raw[0] != '<' || len(raw) > lim.Bytes {
		return nil, malformed("one element was expected")
	}
	end, err := s.element(raw)
	if err == errMore || err == nil && end < len(raw) {
		err = malformed("one element was expected")
	}
	if err != nil {
		return nil, err
	}
	s.begin()
	n, _, err := s.node(raw, 0)
	return n, err
}

// node builds the tree of the element at b[i], which element has accepted before.
func (s *scanner) node(b []byte, i int) (*Node, int, error) {
	i, err := s.startTag(b, i)
	if err == nil {
		err = s.enter(b)
	}
	if err != nil {
		return nil, 0, err
	}
	t := &s.tag
	n := &Node{Space: string(s.bytes(b, t.uri)), Name: local(b, t.name, t.colon)}
	for k := range s.attrs {
		a := &s.attrs[k]
		if a.decl {
			continue
		}
		n.Attrs = append(n.Attrs, Attr{string(s.bytes(b, a.uri)), local(b, a.name, a.colon), string(s.bytes(b, s.value(b, a)))})
	}
	if t.empty {
		return n, i, nil
	}
	var text []byte
	for {
		end := i + bytes.IndexByte(b[i:], '<')
		text = unescape(text, b[i:end], false)
		i = end
		switch b[i+1] {
		case '/':
			n.Text = string(text)
			n.mixed()
			i, err = s.endTag(b, i)
			return n, i, err
		case '!':
			i += len("<![CDATA[")
			end := i + bytes.Index(b[i:], []byte("]]>"))
			text = lineEnds(text, b[i:end])
			i = end + len("]]>")
		default:
			var child *Node
			if child, i, err = s.node(b, i); err != nil {
				return nil, 0, err
			}
			if len(text) > 0 && n.at == nil {
				n.at = make([]int32, len(n.Children), len(n.Children)+4)
			}
			if n.at != nil {
				n.at = append(n.at, int32(len(text)))
			}
			n.Children = append(n.Children, child)
		}
	}
}

// mixed completes n.at when all of the text is known, which is nil for the most usual elements:
// those with text alone, with children alone, or with text before the children.
func (n *Node) mixed() {
	switch {
	case n.at == nil && n.Text != "" && len(n.Children) > 0:
		n.at = make([]int32, len(n.Children))
	case n.at != nil && int(n.at[0]) == len(n.Text):
		n.at = nil
	}
}

func local(b []byte, name span, colon int32) string {
	from := name.off
	if colon > 0 {
		from += colon + 1
	}
	return string(b[from : name.off+name.n])
}

// Append appends the node as XML for a stream whose header declares jabber:client as the default
// namespace and "stream" for NSStream.
func (n *Node) Append(dst []byte) []byte { return n.append(dst, NSClient) }

func (n *Node) append(dst []byte, outer string) []byte {
	name, inner := n.Name, outer
	dst = append(dst, '<')
	if n.Space == NSStream {
		name = "stream:" + n.Name
		dst = append(dst, name...)
	} else {
		dst = append(dst, name...)
		if n.Space != outer {
			inner = n.Space
			dst = appendAttr(dst, "xmlns", n.Space)
		}
	}
	for k, a := range n.Attrs {
		switch a.Space {
		case "":
			dst = appendAttr(dst, a.Name, a.Value)
		case NSXML:
			dst = appendAttr(dst, "xml:"+a.Name, a.Value)
		default:
			prefix := "a" + strconv.Itoa(k)
			dst = appendAttr(dst, "xmlns:"+prefix, a.Space)
			dst = appendAttr(dst, prefix+":"+a.Name, a.Value)
		}
	}
	if n.Text == "" && len(n.Children) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	text, done := n.Text, 0
	between := len(n.at) == len(n.Children) && len(n.at) > 0 && int(n.at[len(n.at)-1]) <= len(text)
	if !between {
		dst, done = Escape(dst, text), len(text)
	}
	for i, c := range n.Children {
		if between {
			dst, done = Escape(dst, text[done:n.at[i]]), int(n.at[i])
		}
		dst = c.append(dst, inner)
	}
	dst = Escape(dst, text[done:])
	dst = append(dst, "</"...)
	dst = append(dst, name...)
	return append(dst, '>')
}

func appendAttr(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, "='"...)
	dst = Escape(dst, value)
	return append(dst, '\'')
}

// Escape appends s as character data or as an attribute value in either quotes, so that every XML
// processor reads s again: the five special characters, and tab and line ends, become references.
// What XML cannot express (control characters, bytes that are not UTF-8) becomes U+FFFD.
func Escape(dst []byte, s string) []byte {
	plain := 0
	for plain < len(s) && class[s[plain]]&valuePlain != 0 && s[plain] != '>' && s[plain] != '\'' && s[plain] != '"' {
		plain++
	}
	dst = append(dst, s[:plain]...)
	for _, r := range s[plain:] {
		switch r {
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		case '&':
			dst = append(dst, "&amp;"...)
		case '\'':
			dst = append(dst, "&apos;"...)
		case '"':
			dst = append(dst, "&quot;"...)
		case '\t':
			dst = append(dst, "&#9;"...)
		case '\n':
			dst = append(dst, "&#10;"...)
		case '\r':
			dst = append(dst, "&#13;"...)
		default:
			if !legalRune(r) {
				r = '\uFFFD'
			}
			dst = append(dst, string(r)...)
		}
	}
	return dst
}
