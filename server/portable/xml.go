package portable

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"xmpp-gw/internal/xmppstream"
)

// Bounds of one element that is kept whole: a message, a vCard, a roster.
const (
	maxElement = 8 << 20
	maxDepth   = 256
)

var errTooLarge = errors.New("an element is larger than 8 MiB, or nested more than 256 deep")

// scanner goes over a document element by element. encoding/xml knows no entities
// but the five, and passes over a DTD.
type scanner struct{ d *xml.Decoder }

func newScanner(r io.Reader) *scanner {
	d := xml.NewDecoder(r)
	d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("the file is in %.40q: save it as UTF-8", charset)
	}
	return &scanner{d}
}

// next is the next child's start tag; nil at the end of the parent.
func (s *scanner) next() (*xml.StartElement, error) {
	for {
		t, err := s.d.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			c := t.Copy()
			return &c, nil
		case xml.EndElement:
			return nil, nil
		}
	}
}

func (s *scanner) skip() error { return s.d.Skip() }

// whole is an element as bytes that stand alone, whatever prefixes the document has.
func (s *scanner) whole(start *xml.StartElement) ([]byte, error) {
	var all []byte
	err := s.copy(start, func(b []byte) error {
		if all = append(all, b...); len(all) > maxElement {
			return errTooLarge
		}
		return nil
	})
	return all, err
}

// copy writes an element piece by piece. A namespace is declared where it differs
// from the parent's.
func (s *scanner) copy(start *xml.StartElement, write func([]byte) error) error {
	var b []byte
	var open []xml.Name
	begin := func(e *xml.StartElement) {
		b = append(append(b, '<'), e.Name.Local...)
		if len(open) == 0 || open[len(open)-1].Space != e.Name.Space {
			b = append(xmppstream.Escape(append(b, " xmlns='"...), e.Name.Space), '\'')
		}
		b = append(appendAttrs(b, e.Attr), '>')
		open = append(open, e.Name)
	}
	for begin(start); len(open) > 0; {
		if len(open) > maxDepth {
			return errTooLarge
		}
		t, err := s.d.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			begin(&t)
		case xml.EndElement:
			b = append(append(append(b, "</"...), t.Name.Local...), '>')
			open = open[:len(open)-1]
		case xml.CharData:
			b = xmppstream.Escape(b, string(t))
		}
		if err := write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	return nil
}

// appendAttrs writes attributes; those in a namespace get a prefix of their own.
func appendAttrs(b []byte, attrs []xml.Attr) []byte {
	n := 0
	for _, a := range attrs {
		switch {
		case a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns":
			continue
		case a.Name.Space == "":
			b = append(append(b, ' '), a.Name.Local...)
		case a.Name.Space == "xml" || a.Name.Space == xmppstream.NSXML:
			b = append(append(b, " xml:"...), a.Name.Local...)
		default:
			n++
			b = fmt.Appendf(b, " xmlns:a%d='", n)
			b = append(xmppstream.Escape(b, a.Name.Space), '\'')
			b = fmt.Appendf(b, " a%d:%s", n, a.Name.Local)
		}
		b = append(xmppstream.Escape(append(b, "='"...), a.Value), '\'')
	}
	return b
}

// node is an element as a tree.
func (s *scanner) node(start *xml.StartElement) (*xmppstream.Node, []byte, error) {
	raw, err := s.whole(start)
	if err != nil {
		return nil, nil, err
	}
	n, err := xmppstream.Parse(raw, limits)
	return n, raw, err
}

// limits let through what scanner.whole does.
var limits = xmppstream.Limits{Bytes: 2 * maxElement, Depth: maxDepth + 1, Attrs: 256, Elements: 1 << 20}

func attr(e *xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func is(e *xml.StartElement, space, name string) bool {
	return e.Name.Space == space && e.Name.Local == name
}

// maxIncludes is how deep files may include others: the main file, hosts, users.
const maxIncludes = 4

// Open opens a file for [Import], with the files that it includes (XEP-0227 §4) in
// their places. These must be below its folder.
func Open(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	r, w := io.Pipe()
	go func() {
		defer root.Close()
		defer f.Close()
		_ = w.CloseWithError(expand(w, newScanner(f), root, ".", 0))
	}()
	return r, nil
}

// expand writes a document with its inclusions in their places. What is inside an
// account is left as it is (§5).
func expand(w io.Writer, s *scanner, root *os.Root, dir string, depth int) error {
	for {
		t, err := s.d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			switch {
			case is(&t, nsXInclude, "include"):
				if err := include(w, &t, root, dir, depth); err != nil {
					return err
				}
				if err := s.skip(); err != nil {
					return err
				}
			case is(&t, NS, "server-data"), is(&t, NS, "host"), is(&t, NS, "user"):
				b := append([]byte("<"), t.Name.Local...)
				b = appendAttrs(append(b, " xmlns='"+NS+"'"...), t.Attr)
				if _, err := w.Write(append(b, '>')); err != nil {
					return err
				}
			default:
				err := s.copy(&t, func(b []byte) error { _, err := w.Write(b); return err })
				if err != nil {
					return err
				}
			}
		case xml.EndElement:
			if _, err := io.WriteString(w, "</"+t.Name.Local+">\n"); err != nil {
				return err
			}
		}
	}
}

func include(w io.Writer, t *xml.StartElement, root *os.Root, dir string, depth int) error {
	href := attr(t, "href")
	switch {
	case depth >= maxIncludes:
		return errors.New("the files include each other more than four deep")
	case attr(t, "parse") != "" && attr(t, "parse") != "xml", attr(t, "xpointer") != "":
		return errors.New("an inclusion that is not of a whole XML file is not supported")
	case href == "" || path.IsAbs(href) || strings.ContainsAny(href, ":?#"):
		return fmt.Errorf("the inclusion of %.100q is not of a file beside this one", href)
	}
	name := path.Join(dir, href)
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	defer f.Close()
	return expand(w, newScanner(f), root, path.Dir(name), depth+1)
}
