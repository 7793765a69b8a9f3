package roster

import (
	"fmt"
	"strings"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/store"
)

func query(t testing.TB, inner string) *xmppstream.Node {
	t.Helper()
	n, err := xmppstream.Parse([]byte("<query xmlns='jabber:iq:roster'>"+inner+"</query>"), xmppstream.SessionLimits())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReadSet(t *testing.T) {
	owner := address.Address{Local: "juliet", Domain: "example.com"}
	groups := func(n int) (s string) {
		for i := range n {
			s += fmt.Sprintf("<group>g%d</group>", i)
		}
		return s
	}
	for _, c := range []struct{ inner, want string }{
		// RFC 6121 §2.1.5: exactly one item
		{"", "bad-request"},
		{"<item jid='a@example.com'/><item jid='b@example.com'/>", "bad-request"},
		{"<item xmlns='other' jid='a@example.com'/>", "bad-request"},
		// addresses
		{"<item/>", "jid-malformed"},
		{"<item jid=''/>", "jid-malformed"},
		{"<item jid='@example.com'/>", "jid-malformed"},
		{"<item jid='a@b@example.com'/>", "jid-malformed"},
		{"<item jid='" + strings.Repeat("a", 1024) + "@example.com'/>", "jid-malformed"},
		{"<item jid='a@example.com/phone'/>", "bad-request"},
		{"<item jid='juliet@example.com'/>", "not-allowed"},
		{"<item jid='JULIET@example.com'/>", "not-allowed"},
		{"<item jid='juliet@example.com' subscription='remove'/>", "not-allowed"},
		// §2.3.3
		{"<item jid='a@example.com' name='" + strings.Repeat("n", 1024) + "'/>", "not-acceptable"},
		{"<item jid='a@example.com'><group/></item>", "not-acceptable"},
		{"<item jid='a@example.com'><group>" + strings.Repeat("g", 256) + "</group></item>", "not-acceptable"},
		{"<item jid='a@example.com'>" + groups(33) + "</item>", "not-acceptable"},
		{"<item jid='a@example.com'><group>x</group><group>x</group></item>", "bad-request"},
		// what is right
		{"<item jid='a@example.com'/>", "a@example.com"},
		{"<item jid='A@Example.com' subscription='both' ask='subscribe' approved='true'/>", "a@example.com"},
		{"<item jid='a@example.com' subscription='remove'><group/></item>", "-a@example.com"},
		{"<item jid='pubsub.example.com' name='" + strings.Repeat("n", 1023) + "'/>", "pubsub.example.com " + strings.Repeat("n", 1023)},
		{"<item jid='a@example.com' name='A &amp; B'><group>x</group><group>X</group><other xmlns='x'/></item>", "a@example.com A & B [x X]"},
		{"<item jid='a@example.com'>" + groups(32) + "</item>", ""},
	} {
		got, bad := readSet(owner, query(t, c.inner))
		said := got.contact.String()
		if got.remove {
			said = "-" + said
		}
		if got.name != "" {
			said += " " + got.name
		}
		if got.groups != nil {
			said += fmt.Sprint(" ", got.groups)
		}
		if bad != nil {
			said = bad.Condition
		}
		if c.want != "" && said != c.want || c.want == "" && bad != nil {
			t.Errorf("%.120s\n is %.120s, want %.120s", c.inner, said, c.want)
		}
	}
}

func TestItemXML(t *testing.T) {
	for _, c := range []struct {
		it   store.RosterItem
		want string
	}{
		{store.RosterItem{}, "<item jid='a@b.example' subscription='none'/>"},
		{store.RosterItem{Sub: store.SubTo, Ask: true, Approved: true, Name: "O'<A>"},
			"<item jid='a@b.example' approved='true' ask='subscribe' name='O&apos;&lt;A&gt;' subscription='to'/>"},
		{store.RosterItem{Sub: store.SubBoth, Request: []byte("<presence/>"), Groups: []string{"a&b", "c"}},
			"<item jid='a@b.example' subscription='both'><group>a&amp;b</group><group>c</group></item>"},
		{store.RosterItem{Sub: store.SubFrom}, "<item jid='a@b.example' subscription='from'/>"},
	} {
		c.it.Contact = address.Address{Local: "a", Domain: "b.example"}
		if got := string(appendItem(nil, &c.it)); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}

func FuzzReadSet(f *testing.F) {
	f.Add("<item jid='a@example.com' name='n'><group>g</group></item>")
	f.Add("<item jid='a@example.com' subscription='remove'/>")
	owner := address.Address{Local: "juliet", Domain: "example.com"}
	f.Fuzz(func(t *testing.T, inner string) {
		n, err := xmppstream.Parse([]byte("<query xmlns='jabber:iq:roster'>"+inner+"</query>"), xmppstream.SessionLimits())
		if err != nil {
			return
		}
		c, bad := readSet(owner, n)
		if bad != nil || c.remove {
			return
		}
		it := store.RosterItem{Contact: c.contact, Name: c.name, Groups: c.groups}
		written := appendQuery(nil, 1, func(b []byte) []byte { return appendItem(b, &it) })
		again, err := xmppstream.Parse(written, xmppstream.SessionLimits())
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		back, bad := readSet(owner, again)
		if bad != nil || back.contact != c.contact || back.name != c.name || fmt.Sprint(back.groups) != fmt.Sprint(c.groups) {
			t.Fatalf("%+v became %+v (%v)", c, back, bad)
		}
	})
}
