package server

import (
	"testing"

	"xmpp-gw/internal/address"
)

// WithElement gives what With gives, whatever the stanza's end looks like.
func TestWithElement(t *testing.T) {
	element := []byte("<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='1'/>")
	for _, raw := range []string{
		"<message/>", "<message to='a@b' />", "<message></message>", "<message><body>x</body></message >",
		"<c:message xmlns:c='jabber:client'/>", "<c:message xmlns:c='jabber:client'><c:body>&lt;/</c:body></c:message>",
		"<message><a/><b xmlns='u'/><c/><d/><e/></message>",
	} {
		st, err := ParseStanza([]byte(raw))
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		want, got := st.With(element), st.WithElement("urn:xmpp:sid:0", "stanza-id", element)
		if string(got.Raw()) != string(want.Raw()) || got.root != want.root || string(got.Standalone()) != string(want.Standalone()) {
			t.Errorf("%s: %s, want %s", raw, got.Raw(), want.Raw())
		}
		if len(got.children) != len(want.children) {
			t.Fatalf("%s: %d children, want %d", raw, len(got.children), len(want.children))
		}
		for i := range want.children {
			if got.children[i] != want.children[i] {
				t.Errorf("%s: child %v, want %v", raw, got.children[i], want.children[i])
			}
		}
		if len(st.children) != len(want.children)-1 {
			t.Errorf("%s: the stanza itself has changed", raw)
		}
	}
}

// What the sender's archive has is told for that archive alone, and to copies.
func TestArchivedNote(t *testing.T) {
	romeo, juliet := address.Address{Local: "romeo", Domain: "example.org"}, address.Address{Local: "juliet", Domain: "example.org"}
	st, err := ParseStanza([]byte("<message><body>x</body></message>"))
	if err != nil {
		t.Fatal(err)
	}
	later := st.With([]byte("<x xmlns='u'/>"))
	st.SetArchived(romeo, "17")
	if got := later.Archived(romeo); got != "17" {
		t.Errorf("the copy has %q", got)
	}
	if got := st.Archived(juliet); got != "" {
		t.Errorf("another archive has %q", got)
	}
}
