package xmppstream

import (
	"strings"
	"testing"
)

// plainHeader is the header of the stream that elements move to.
const plainHeader = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

// checkCarry checks that every element is the same tree on another stream.
func checkCarry(t *testing.T, all []got) {
	t.Helper()
	for _, g := range all {
		if g.kind != Stanza {
			continue
		}
		lim := SessionLimits()
		lim.Bytes, lim.Attrs = 2*lim.Bytes, 2*lim.Attrs
		_, moved, err := readAll(strings.NewReader(plainHeader+g.appended), lim)
		if len(moved) != 1 || outcome(err) != "" {
			t.Fatalf("moved to another stream, the element is refused: %v\n%q", err, g.appended)
		}
		if a, b := nodeTree(g.node).string(false), nodeTree(moved[0].node).string(false); a != b {
			t.Fatalf("moved to another stream, the element is another:\nbefore %s\nafter  %s\n%q", a, b, g.appended)
		}
		if g.head != moved[0].head {
			t.Fatalf("moved to another stream, the head is another: %s, was %s", moved[0].head, g.head)
		}
	}
}

func TestElementKeepsItsMeaningOnAnotherStream(t *testing.T) {
	for _, c := range []struct{ name, header, element, want string }{
		{"nothing to carry", "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
			"<message/>", "<message/>"},
		{"extra prefix", "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:x='urn:x'>",
			"<message x:a='1'><x:b/></message>", "<message xmlns:x='urn:x' x:a='1'><x:b/></message>"},
		{"redeclared by the root", "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:x='urn:x'>",
			"<message xmlns:x='urn:y'><x:b/></message>", "<message xmlns:x='urn:y'><x:b/></message>"},
		{"redeclared by a child", "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:x='urn:x'>",
			"<message><b xmlns:x='urn:y'><x:c/></b><x:d/></message>", "<message xmlns:x='urn:x'><b xmlns:x='urn:y'><x:c/></b><x:d/></message>"},
		{"other stream prefix", "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams'>",
			"<s:features/>", "<s:features xmlns:s='http://etherx.jabber.org/streams'/>"},
		{"stream namespace by default", "<stream xmlns='http://etherx.jabber.org/streams'>",
			"<features/>", "<features xmlns='http://etherx.jabber.org/streams'/>"},
		{"stream namespace by default, own namespace", "<stream xmlns='http://etherx.jabber.org/streams'>",
			"<message xmlns='jabber:client'/>", "<message xmlns='jabber:client'/>"},
		{"stream namespace by default, prefixed content", "<stream xmlns='http://etherx.jabber.org/streams' xmlns:c='jabber:client'>",
			"<c:message><c:body/></c:message>", "<c:message xmlns:c='jabber:client' xmlns='http://etherx.jabber.org/streams'><c:body/></c:message>"},
		{"no default namespace", "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>",
			"<a/>", "<a xmlns=''/>"},
		{"jabber:server", "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>",
			"<message><body>x</body></message>", "<message xmlns='jabber:server'><body>x</body></message>"},
		{"prefix stream means something else", "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' xmlns:stream='urn:x'>",
			"<stream:a/>", "<stream:a xmlns:s='http://etherx.jabber.org/streams' xmlns:stream='urn:x'/>"},
		{"references in the namespace", "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:x=\"urn:&amp;&apos;&#60;\">",
			"<x:a/>", "<x:a xmlns:x='urn:&amp;&apos;&lt;'/>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, all, err := readAll(strings.NewReader(c.header+c.element), SessionLimits())
			if len(all) != 1 || outcome(err) != "" {
				t.Fatalf("read %+v, %v", all, err)
			}
			if all[0].raw != c.element {
				t.Errorf("raw bytes are %q", all[0].raw)
			}
			if all[0].appended != c.want {
				t.Errorf("moved: %q\nwant   %q", all[0].appended, c.want)
			}
			checkCarry(t, all)
		})
	}
}
