package xmppstream

import (
	"bytes"
	"encoding/xml"
	"io"
	"sort"
	"strconv"
	"strings"
	"testing/iotest"
)

// tree is an element as a parser reports it, text where it stood.
type tree struct {
	Name  string   // {namespace}local
	Attrs []string // {namespace}local=value, sorted
	Kids  []any    // string or *tree, no two strings in a row
}

func (t *tree) text(s string) {
	if n := len(t.Kids); n > 0 {
		if before, ok := t.Kids[n-1].(string); ok {
			t.Kids[n-1] = before + s
			return
		}
	}
	if s != "" {
		t.Kids = append(t.Kids, s)
	}
}

// String writes the tree without loss. With loose, whitespace in attribute values and namespaces is
// a space: encoding/xml does not normalise it (see the package comment).
func (t *tree) string(loose bool) string {
	var b strings.Builder
	t.write(&b, loose)
	return b.String()
}

var toSpace = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")

func (t *tree) write(b *strings.Builder, loose bool) {
	name := func(s string) string {
		if loose {
			s = toSpace.Replace(s)
		}
		return strconv.Quote(s)
	}
	b.WriteString("<" + name(t.Name))
	var attrs []string
	for _, a := range t.Attrs {
		attrs = append(attrs, name(a))
	}
	sort.Strings(attrs)
	b.WriteString(strings.Join(attrs, " ") + ">")
	for _, k := range t.Kids {
		switch k := k.(type) {
		case string:
			b.WriteString(strconv.Quote(k))
		case *tree:
			k.write(b, loose)
		}
	}
	b.WriteString("</>")
}

// reduced is the tree as a Node knows it: all text first.
func (t *tree) reduced() *tree {
	r := &tree{Name: t.Name, Attrs: t.Attrs}
	for _, k := range t.Kids {
		if s, ok := k.(string); ok {
			r.text(s)
		}
	}
	for _, k := range t.Kids {
		if c, ok := k.(*tree); ok {
			r.Kids = append(r.Kids, c.reduced())
		}
	}
	return r
}

// elements are the children that are elements.
func (t *tree) elements() (all []*tree) {
	for _, k := range t.Kids {
		if c, ok := k.(*tree); ok {
			all = append(all, c)
		}
	}
	return all
}

// nodeTree is a Node as a reduced tree.
func nodeTree(n *Node) *tree {
	t := &tree{Name: "{" + n.Space + "}" + n.Name}
	for _, a := range n.Attrs {
		t.Attrs = append(t.Attrs, "{"+a.Space+"}"+a.Name+"="+a.Value)
	}
	t.text(n.Text)
	for _, c := range n.Children {
		t.Kids = append(t.Kids, nodeTree(c))
	}
	return t
}

// goTree reads a document with encoding/xml.
func goTree(doc string) (*tree, error) {
	d := xml.NewDecoder(strings.NewReader(doc))
	var open []*tree
	var root *tree
	for {
		tok, err := d.Token()
		if err == io.EOF && root != nil && len(open) == 0 {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			t := &tree{Name: "{" + tok.Name.Space + "}" + tok.Name.Local}
			for _, a := range tok.Attr {
				if a.Name.Space == "xmlns" || a.Name == (xml.Name{Local: "xmlns"}) {
					continue
				}
				t.Attrs = append(t.Attrs, "{"+a.Name.Space+"}"+a.Name.Local+"="+a.Value)
			}
			if len(open) > 0 {
				top := open[len(open)-1]
				top.Kids = append(top.Kids, t)
			} else {
				root = t
			}
			open = append(open, t)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text(string(tok))
			}
		}
	}
}

// accepted reads a stream and returns the document that its accepted part makes, with its
// elements. The document is "" where not even the header was accepted.
func accepted(stream []byte, lim Limits) (doc string, all []got) {
	r := NewReader(iotest.OneByteReader(bytes.NewReader(stream)), lim)
	defer r.Release()
	cut := &counting{Reader: r.rd}
	r.rd = cut
	h, err := r.ReadHeader()
	if err != nil {
		return "", nil
	}
	headerLen := cut.n
	_, all, _ = readAll(bytes.NewReader(stream), lim)
	n, ended := 0, false
	for _, g := range all {
		n += len(g.raw)
		ended = ended || g.kind == End
	}
	doc = string(stream[:headerLen+n])
	if !ended {
		doc += "</" + h.root() + ">"
	}
	return doc, all
}

// counting counts what is read.
type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// compare tells how the elements differ from what a parser made of the same document, "" if they
// do not.
func compare(all []got, root *tree, loose bool) string {
	kids := root.elements()
	i := 0
	for _, g := range all {
		if g.kind != Stanza {
			continue
		}
		if i >= len(kids) {
			return "more elements than the other parser sees"
		}
		ours, theirs := nodeTree(g.node), kids[i].reduced()
		if a, b := ours.string(loose), theirs.string(loose); a != b {
			return "trees differ:\nours   " + a + "\ntheirs " + b
		}
		if a, b := looseString(g.head, loose), looseString(treeHead(kids[i]), loose); a != b {
			return "heads differ:\nours   " + a + "\ntheirs " + b
		}
		i++
	}
	if i != len(kids) {
		return "fewer elements than the other parser sees"
	}
	return ""
}

func looseString(s string, loose bool) string {
	if loose {
		return strings.NewReplacer(`\t`, " ", `\n`, " ", `\r`, " ").Replace(s)
	}
	return s
}

// treeHead is headString of a tree.
func treeHead(t *tree) string {
	quoteName := func(name, between string) string {
		k := strings.LastIndexByte(name, '}')
		return strconv.Quote(name[1:k]) + between + strconv.Quote(name[k+1:]) + " "
	}
	s := quoteName(t.Name, " ")
	for _, want := range []string{"to", "from", "id", "type"} {
		value := "-"
		for _, a := range t.Attrs {
			if v, ok := strings.CutPrefix(a, "{}"+want+"="); ok {
				value = strconv.Quote(v)
			}
		}
		s += value + " "
	}
	for _, c := range t.elements() {
		s += quoteName(c.Name, "")
	}
	return s
}
