package xmppstream

import (
	"bytes"
	"io"
	"reflect"
	"testing"
)

// FuzzDifferential: what is accepted, encoding/xml reads as the same tree. Where it is laxer
// (undeclared prefixes, duplicate attributes, a comment, …) we refuse, which is no find; where it
// differs from XML, see the package comment.
func FuzzDifferential(f *testing.F) {
	for _, e := range entries {
		f.Add([]byte(clientHeader + e.body))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		doc, all := accepted(stream, SessionLimits())
		if doc == "" {
			return
		}
		root, err := goTree(doc)
		if err != nil {
			t.Fatalf("accepted, but encoding/xml says %v\n%q", err, doc)
		}
		if diff := compare(all, root, true); diff != "" {
			t.Fatalf("%s\n%q", diff, doc)
		}
		checkCarry(t, all)
	})
}

// FuzzSplit: how a stream is cut into reads makes no difference.
func FuzzSplit(f *testing.F) {
	for _, e := range entries {
		f.Add([]byte(clientHeader+e.body), uint16(7), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, first uint16, step uint8) {
		lim := PreAuthLimits()
		lim.Bytes, lim.Header = 2000, 500
		readWhole(stream, lim).same(t, stream, &chunks{rest: stream, next: int(first), step: int(step)}, lim)
	})
}

// FuzzHeader: an accepted header is one to encoding/xml too, with the same values.
func FuzzHeader(f *testing.F) {
	for _, h := range headers {
		f.Add([]byte(h.text))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		rd := bytes.NewReader(header)
		r := NewReader(rd, PreAuthLimits())
		defer r.Release()
		h, err := r.ReadHeader()
		if err != nil {
			return
		}
		doc, _ := accepted(header[:len(header)-rd.Len()-r.Buffered()], PreAuthLimits())
		root, err := goTree(doc)
		if err != nil {
			t.Fatalf("accepted, but encoding/xml says %v\n%q", err, doc)
		}
		want := &tree{Name: "{" + NSStream + "}stream", Attrs: root.Attrs}
		if a, b := want.string(true), root.string(true); a != b {
			t.Fatalf("header is %s to encoding/xml\n%q", b, doc)
		}
		for name, value := range map[string]string{"{}to": h.To, "{}from": h.From, "{}id": h.ID, "{}version": h.Version, "{" + NSXML + "}lang": h.Lang} {
			found := ""
			for _, a := range root.Attrs {
				if len(a) > len(name) && a[:len(name)+1] == name+"=" {
					found = a[len(name)+1:]
				}
			}
			if toSpace.Replace(found) != toSpace.Replace(value) {
				t.Errorf("%s is %q, to encoding/xml %q", name, value, found)
			}
		}
	})
}

// chunks reads next bytes, then step bytes (1 for 0) each time.
type chunks struct {
	rest       []byte
	next, step int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), max(c.next, 1))], c.rest)
	c.rest, c.next = c.rest[n:], c.step
	return n, nil
}

// reading is all that came of a stream.
type reading struct {
	header *Header
	all    []got
	err    error
}

// readWhole reads the stream in one piece.
func readWhole(stream []byte, lim Limits) (r reading) {
	r.header, r.all, r.err = readAll(bytes.NewReader(stream), lim)
	return r
}

// same checks that the stream reads the same from rd.
func (want reading) same(t *testing.T, stream []byte, rd io.Reader, lim Limits) {
	t.Helper()
	var r reading
	r.header, r.all, r.err = readAll(rd, lim)
	if !reflect.DeepEqual(want, r) {
		t.Fatalf("cut up, the stream reads otherwise:\nwhole %+v\ncut   %+v\n%q", want, r, stream)
	}
}
