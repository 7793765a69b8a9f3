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
		sameRead(t, stream, &chunks{rest: stream, next: int(first), step: int(step)}, lim)
	})
}

// FuzzHeader: an accepted header is one to encoding/xml too, with the same values.
func FuzzHeader(f *testing.F) {
	for _, h := range headers {
		f.Add([]byte(h.text))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		r := NewReader(bytes.NewReader(header), PreAuthLimits())
		defer r.Release()
		h, err := r.ReadHeader()
		if err != nil {
			return
		}
		doc, _ := accepted(header[:len(header)-r.Buffered()], PreAuthLimits())
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

// sameRead checks that the stream reads the same in one piece and from rd.
func sameRead(t *testing.T, stream []byte, rd io.Reader, lim Limits) {
	t.Helper()
	wantH, want, wantErr := readAll(bytes.NewReader(stream), lim)
	gotH, got, gotErr := readAll(rd, lim)
	if !reflect.DeepEqual(wantH, gotH) || !reflect.DeepEqual(want, got) {
		t.Fatalf("cut up, the stream reads otherwise:\nwhole %+v %+v\ncut   %+v %+v\n%q", wantH, want, gotH, got, stream)
	}
	if !reflect.DeepEqual(wantErr, gotErr) {
		t.Fatalf("cut up, the stream ends with %v instead of %v\n%q", gotErr, wantErr, stream)
	}
}
