package server

import (
	"bytes"
	"testing"

	"xmpp-gw/internal/xmppstream"
)

// What is cut out of a stanza, put into it or around it is what it was before, and
// nothing else of it changes.
func FuzzSurgery(f *testing.F) {
	for _, s := range []string{
		"<message from='a@b/c' to='d@e' xml:lang='en' type='chat'><body>x</body><x xmlns='urn:x'/></message>",
		"<message/>", "<presence></presence>",
		"<iq type='get' id='1'><q:query xmlns:q='urn:q' q:a='b'><q:c/></q:query></iq>",
		"<c:message xmlns:c='jabber:client' xmlns='urn:evil' to='d@e'><body/><c:body/></c:message>",
		"<message xmlns:stream='urn:evil'><stream:x/></message>", "<message><stream:x/><![CDATA[</message>]]></message>",
		"<message to=\"a@b/'\" id='&lt;'>text<a xmlns=''/>&amp;</message >",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		st, err := ParseStanza(raw)
		if err != nil {
			return
		}
		tree := func(b []byte) *xmppstream.Node {
			n, err := xmppstream.Parse(b, parseLimits)
			if err != nil {
				t.Fatalf("%q became %q: %v", raw, b, err)
			}
			return n
		}
		same := func(what string, b []byte) {
			t.Helper()
			if got, want := tree(b).Append(nil), st.Node().Append(nil); !bytes.Equal(got, want) {
				t.Errorf("%s: %q became\n%s, want\n%s", what, raw, got, want)
			}
		}
		same("standalone", st.Standalone())
		wrapped := tree(append(append([]byte("<forwarded xmlns='urn:xmpp:forward:0' xmlns:stream='urn:other'>"), st.Standalone()...), "</forwarded>"...))
		if got, want := wrapped.Children[0].Append(nil), st.Node().Append(nil); !bytes.Equal(got, want) {
			t.Errorf("wrapped: %q became\n%s, want\n%s", raw, got, want)
		}
		mark := []byte("<mark xmlns='urn:mark'/>")
		cut := func(space, name string, _ []byte) bool { return space == "urn:mark" && name == "mark" }
		had := st.Has("urn:mark", "mark")
		for _, with := range []*Stanza{st.With(mark), st.WithElement("urn:mark", "mark", mark)} {
			if !with.Has("urn:mark", "mark") || len(with.children) != len(st.children)+1 {
				t.Errorf("with: %q became %q", raw, with.raw)
			}
			for i := range with.children {
				c := with.children[i]
				if n := with.Node().Children[i]; n.Space != c.space || n.Name != c.name {
					t.Errorf("child %d of %q is %s %s, and known as %s %s", i, with.raw, n.Space, n.Name, c.space, c.name)
				}
			}
			if !had {
				same("with and without", with.Without(cut).Standalone())
			}
		}
		again := st.Readdress(st.From, st.To)
		if again.From != st.From || again.To != st.To || len(again.children) != len(st.children) {
			t.Errorf("readdressed: %q became %q", raw, again.raw)
		}
		back, err := ParseStanza(again.Standalone())
		if err != nil || back.From != st.From || back.To != st.To {
			t.Errorf("readdressed: %q became %q: %v", raw, again.raw, err)
		}
		if e, err := ParseStanza(st.Error(ErrBadRequest).Raw()); err != nil || e.To != st.From || e.ID != st.ID {
			t.Errorf("the error for %q is %q: %v", raw, st.Error(ErrBadRequest).raw, err)
		}
	})
}
