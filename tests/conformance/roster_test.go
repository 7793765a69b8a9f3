package conformance

import (
	"fmt"
	"strings"
	"testing"

	"xmpp-gw/server/store"
)

const rosterGet = "<iq type='get' id='get'><query xmlns='jabber:iq:roster'%s/></iq>"

func set(item string) string {
	return "<iq type='set' id='set'><query xmlns='jabber:iq:roster'>" + item + "</query></iq>"
}

func push(item string) string {
	return "<iq type='set'><query xmlns='jabber:iq:roster' ver='*'>" + item + "</query></iq>"
}

// RFC 6121 §2: the roster.
func TestRoster(t *testing.T) {
	w := newWorld(t)
	juliet, phone := w.online(t, "juliet", "balcony"), w.login("juliet", "phone")
	other := w.online(t, "romeo", "orchard")
	if f := juliet.Features; f.Child("urn:xmpp:features:rosterver", "ver") == nil || f.Child("urn:xmpp:features:pre-approval", "sub") == nil {
		t.Errorf("§2.6.1, §3.4.1: not among the features: %s", f.Append(nil))
	}
	syncAll(t, juliet, phone)

	juliet.send(t, rosterGet, "")
	juliet.wants(t, "<iq type='result' id='get'><query xmlns='jabber:iq:roster' ver='*'/></iq>")
	if n := items(juliet); n != 0 {
		t.Errorf("§2.1.4: %d items in an empty roster", n)
	}

	juliet.send(t, "%s", set("<item jid='Nurse@example.org' name='N &amp; N' subscription='both' ask='subscribe' approved='true'><group>Servants</group></item>"))
	juliet.wants(t, "<iq type='result' id='set'/>")
	// §2.1.5: what is the server's to say is ignored; §2.1.6: those that asked are told
	juliet.has(t, "%s", push("<item jid='nurse@example.org' name='N &amp; N' subscription='none' ask='-' approved='-'><group>Servants</group></item>"))
	phone.quiet(t)

	phone.send(t, rosterGet, "")
	phone.wants(t, "<iq type='result' id='get'><query xmlns='jabber:iq:roster'><item jid='nurse@example.org'/></query></iq>")
	phone.send(t, "%s", set("<item jid='nurse@example.org' subscription='nonsense'/>")) // §2.4
	phone.wants(t, "<iq type='result' id='set'/>")
	for _, c := range []*client{juliet, phone} {
		if c == juliet {
			c.sync(t)
		}
		c.has(t, "%s", push("<item jid='nurse@example.org' name='-' subscription='none'/>"))
		if strings.Contains(c.said(), "<group") {
			t.Errorf("§2.4: the group is there still: %s", c.said())
		}
	}
	phone.send(t, "%s", set("<item jid='nurse@example.org'/>"))
	phone.wants(t, "<iq type='result' id='set'/>")
	juliet.quiet(t) // nothing has changed

	juliet.send(t, "%s", set("<item jid='nurse@example.org' subscription='remove'/>")) // §2.5
	juliet.wants(t, "<iq type='result' id='set'/>")
	juliet.has(t, "%s", push("<item jid='nurse@example.org' subscription='remove'/>"))
	phone.wants(t, "%s", push("<item jid='nurse@example.org' subscription='remove'/>"))
	other.quiet(t)

	group := func(n int) (s string) {
		for i := range n {
			s += fmt.Sprintf("<group>%d</group>", i)
		}
		return s
	}
	for _, r := range []struct{ section, to, item, want string }{
		{"2.5.3", "", "<item jid='nurse@example.org' subscription='remove'/>", "item-not-found"},
		{"2.3.3", "", "", "bad-request"},
		{"2.3.3", "", "<item jid='a@example.org'/><item jid='b@example.org'/>", "bad-request"},
		{"2.3.3", "", "<item jid='a@example.org'><group>x</group><group>x</group></item>", "bad-request"},
		{"2.3.3", "", "<item jid='a@example.org'><group></group></item>", "not-acceptable"},
		{"2.3.3", "", "<item jid='a@example.org'><group>" + strings.Repeat("g", 300) + "</group></item>", "not-acceptable"},
		{"2.3.3", "", "<item jid='a@example.org' name='" + strings.Repeat("n", 1100) + "'/>", "not-acceptable"},
		{"2.3.3", "", "<item jid='a@example.org'>" + group(100) + "</item>", "not-acceptable"},
		{"2.3.3", " to='romeo@example.org'", "<item jid='a@example.org'/>", "forbidden"},
		{"2.3.3", " to='nobody@example.org'", "<item jid='a@example.org'/>", "service-unavailable"},
		{"2.3.3", "", "<item jid='a@b@example.org'/>", "jid-malformed"},
		{"2.3.3", "", "<item jid='juliet@example.org'/>", "not-allowed"},
	} {
		juliet.send(t, "<iq type='set' id='bad'%s><query xmlns='jabber:iq:roster'>%s</query></iq>", r.to, r.item)
		got := ""
		for _, n := range juliet.sync(t) {
			got += condition(n)
		}
		if got != r.want {
			t.Errorf("%s: %.100s%s gets %q, want %q", r.section, r.item, r.to, got, r.want)
		}
	}
	phone.quiet(t)
	juliet.send(t, "<iq type='get' id='bad' to='romeo@example.org'><query xmlns='jabber:iq:roster'/></iq>")
	juliet.wants(t, "<iq type='error' id='bad'><error><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	juliet.send(t, "<iq type='get' id='own' to='juliet@example.org'><query xmlns='jabber:iq:roster'/></iq>")
	juliet.wants(t, "<iq type='result' id='own'><query xmlns='jabber:iq:roster'/></iq>")
}

// items is how many items the last roster result has, -1 without one.
func items(c *client) int {
	for _, n := range c.last {
		if q := n.Child("jabber:iq:roster", "query"); q != nil && n.Attr("type") == "result" {
			return len(q.Children)
		}
	}
	return -1
}

// RFC 6121 §2.6: only what has changed.
func TestRosterVersions(t *testing.T) {
	w := newWorld(t)
	c := w.online(t, "juliet", "balcony")
	for i := range 5 {
		c.send(t, "%s", set(fmt.Sprintf("<item jid='c%d@example.org'/>", i)))
	}
	ver := func(c *client) (v string) {
		for _, n := range c.last {
			if q := n.Child("jabber:iq:roster", "query"); q != nil {
				v = q.Attr("ver")
			}
		}
		return v
	}
	c.sync(t)
	last := ver(c)
	if last == "" {
		t.Fatal("the pushes have no version")
	}
	logins := 0
	get := func(t *testing.T, have string) *client {
		logins++
		n := w.login("juliet", fmt.Sprint("r", logins))
		n.send(t, rosterGet, " ver='"+have+"'")
		n.sync(t)
		return n
	}
	empty := func(t *testing.T, c *client) {
		t.Helper()
		for _, n := range c.last {
			if n.Attr("id") == "get" && (n.Attr("type") != "result" || len(n.Children) != 0) {
				t.Errorf("not an empty result: %s", n.Append(nil))
			}
		}
	}
	t.Run("nothing", func(t *testing.T) {
		n := get(t, last)
		if empty(t, n); len(n.last) != 1 {
			t.Errorf("got %s", n.said())
		}
	})
	c.send(t, "%s", set("<item jid='c1@example.org' name='one'/>"))
	c.send(t, "%s", set("<item jid='c2@example.org' subscription='remove'/>"))
	c.send(t, "%s", set("<item jid='c1@example.org' name='uno'/>"))
	c.sync(t)
	newest := ver(c)
	changes := func(t *testing.T) {
		t.Helper()
		n := get(t, last)
		if empty(t, n); len(n.last) != 3 {
			t.Fatalf("got %s", n.said())
		}
		if n.last[0].Attr("id") != "get" {
			t.Errorf("a push came before the result: %s", n.said())
		}
		n.has(t, "%s", push("<item jid='c1@example.org' name='uno'/>"))
		n.has(t, "%s", push("<item jid='c2@example.org' subscription='remove'/>"))
		if ver(n) != newest {
			t.Errorf("the last push has version %s, want %s", ver(n), newest)
		}
		// and from now on it is told
		c.send(t, "%s", set("<item jid='c1@example.org' name='ein'/>"))
		c.send(t, "%s", set("<item jid='c1@example.org' name='uno'/>"))
		c.sync(t)
		newest = ver(c)
		n.wants(t, "%s", push("<item jid='c1@example.org' name='ein'/>"))
	}
	t.Run("changes", changes)
	t.Run("changes, read from the storage", func(t *testing.T) {
		if err := w.roster.Reload(t.Context(), addr("juliet")); err != nil {
			t.Fatal(err)
		}
		changes(t)
	})
	// What left longer ago than is remembered makes the whole roster the answer.
	for i := range 300 {
		jid := fmt.Sprintf("<item jid='gone%d@example.org'", i)
		c.send(t, "%s%s", set(jid+"/>"), set(jid+" subscription='remove'/>"))
	}
	c.sync(t)
	for _, have := range []string{last, newest, "", "nonsense", "-1", "99999999", "18446744073709551616", "0"} {
		if n := get(t, have); items(n) != 4 {
			t.Errorf("ver='%s': %d items, want the whole roster of 4:\n%.500s", have, items(n), n.said())
		}
	}
}

// RFC 6121 §3: a friendship from its beginning to its end, with a contact who is
// not there at first.
func TestFriendship(t *testing.T) {
	w := newWorld(t)
	romeo := w.online(t, "romeo", "orchard")
	w.account(t, "juliet")

	romeo.send(t, "<presence to='%s' type='subscribe'><status>by night's cloak</status></presence>", bare("juliet"))
	romeo.wants(t, "%s", push("<item jid='juliet@example.org' subscription='none' ask='subscribe'/>"))
	romeo.send(t, "<presence to='%s' type='subscribe'><status>again</status></presence>", bare("juliet"))
	romeo.quiet(t)

	request := "<presence from='romeo@example.org' to='juliet@example.org' type='subscribe'><status>by night&apos;s cloak</status></presence>"
	for range 2 { // §3.1.3: each time, until it is answered; whole
		c := w.online(t, "juliet", "balcony")
		c.has(t, "%s", request)
		if items(c) != 0 {
			t.Error("§3.1.3: who only asks is on the roster")
		}
		c.Close()
	}
	juliet := w.online(t, "juliet", "balcony")
	phone := w.login("juliet", "phone")
	phone.send(t, rosterGet, "")
	phone.sync(t)

	juliet.send(t, "<presence to='%s' type='subscribed'/>", romeo.jid) // §3.1.5
	juliet.wants(t, "%s", push("<item jid='romeo@example.org' subscription='from'/>"))
	phone.wants(t, "%s", push("<item jid='romeo@example.org' subscription='from'/>"))
	romeo.wants(t, "<presence from='juliet@example.org' to='romeo@example.org' type='subscribed'/>")
	order(t, romeo, "§3.1.6", "type='subscribed'", "<query", "/balcony")
	romeo.has(t, "%s", push("<item jid='juliet@example.org' subscription='to' ask='-'/>"))
	romeo.has(t, "<presence from='%s' type='-'/>", juliet.jid)

	juliet.send(t, "<presence to='%s' type='subscribe'/>", bare("romeo"))
	juliet.sync(t)
	romeo.wants(t, "<presence from='juliet@example.org' type='subscribe'/>")
	romeo.send(t, "<presence to='%s' type='subscribed'/>", bare("juliet"))
	romeo.wants(t, "%s", push("<item jid='juliet@example.org' subscription='both'/>"))
	juliet.wants(t, "<presence from='%s' type='-'/>", romeo.jid)
	juliet.send(t, "<presence to='%s' type='subscribe'/>", bare("romeo")) // §3.1.3: answered at once
	juliet.sync(t)
	romeo.quiet(t)

	// §3.2.2: romeo loses what he saw
	syncAll(t, romeo, juliet, phone)
	juliet.send(t, "<presence to='%s' type='unsubscribed'/>", bare("romeo"))
	juliet.wants(t, "%s", push("<item jid='romeo@example.org' subscription='to'/>"))
	romeo.wants(t, "<presence from='juliet@example.org' type='unsubscribed'/>")
	order(t, romeo, "§3.2.2", "type='unavailable'", "type='unsubscribed'", "<query")
	romeo.has(t, "<presence from='%s' type='unavailable'/>", juliet.jid)
	romeo.has(t, "%s", push("<item jid='juliet@example.org' subscription='from'/>"))

	// §3.3: juliet does not want to see him any more
	juliet.send(t, "<presence to='%s' type='unsubscribe'/>", bare("romeo"))
	juliet.wants(t, "<presence from='%s' type='unavailable'/>", romeo.jid)
	romeo.wants(t, "<presence from='juliet@example.org' type='unsubscribe'/>")
	romeo.has(t, "%s", push("<item jid='juliet@example.org' subscription='none'/>"))
}

// order checks that parts of what a client got came one after the other.
func order(t *testing.T, c *client, section string, parts ...string) {
	t.Helper()
	said := c.said()
	at := 0
	for _, p := range parts {
		i := strings.Index(said[at:], p)
		if i < 0 {
			t.Errorf("%s: no %s behind what comes before it in\n%s", section, p, said)
			return
		}
		at += i + len(p)
	}
}

// RFC 6121 §3.4: approved before it is asked for.
func TestPreApproval(t *testing.T) {
	w := newWorld(t)
	juliet, romeo := w.online(t, "juliet", "balcony"), w.online(t, "romeo", "orchard")
	juliet.send(t, "<presence to='%s' type='subscribed'/>", bare("romeo"))
	juliet.wants(t, "%s", push("<item jid='romeo@example.org' subscription='none' approved='true'/>"))
	romeo.quiet(t) // it is not routed

	romeo.send(t, "<presence to='%s' type='subscribe'/>", bare("juliet"))
	romeo.wants(t, "<presence from='juliet@example.org' type='subscribed'/>")
	romeo.has(t, "<presence from='%s' type='-'/>", juliet.jid)
	juliet.wants(t, "%s", push("<item jid='romeo@example.org' subscription='from'/>"))
	juliet.lacks(t, "<presence type='subscribe'/>")

	w.account(t, "tybalt")
	juliet.send(t, "<presence to='%s' type='subscribed'/>", bare("tybalt"))
	juliet.wants(t, "%s", push("<item jid='tybalt@example.org' approved='true'/>"))
	juliet.send(t, "<presence to='%s' type='unsubscribed'/>", bare("tybalt")) // §3.4.2: taken back
	juliet.wants(t, "%s", push("<item jid='tybalt@example.org' approved='-'/>"))
	tybalt := w.online(t, "tybalt", "street")
	tybalt.send(t, "<presence to='%s' type='subscribe'/>", bare("juliet"))
	tybalt.sync(t)
	juliet.wants(t, "<presence from='tybalt@example.org' type='subscribe'/>")
}

// RFC 6121 §2.5.2: what removing a contact ends, in each state.
func TestRemoveContact(t *testing.T) {
	w := newWorld(t)
	for i, r := range []struct {
		before state
		want   string // what the contact is sent
	}{
		{none, ""},
		{nonePendingOut, "unsubscribe"},
		{nonePendingIn, "unsubscribed"},
		{nonePendingOutIn, "unsubscribe unsubscribed"},
		{to, "unsubscribe"},
		{toPendingIn, "unsubscribe unsubscribed"},
		{from, "unsubscribed"},
		{fromPendingOut, "unsubscribe unsubscribed"},
		{both, "unsubscribe unsubscribed"},
	} {
		owner, contact := fmt.Sprint("owner", i), fmt.Sprint("contact", i)
		w.begin(t, owner, contact, r.before)
		c := w.online(t, owner, "r")
		w.routed.take()
		c.send(t, "%s", set("<item jid='"+bare(contact)+"' subscription='remove'/>"))
		c.wants(t, "%s", push("<item jid='"+bare(contact)+"' subscription='remove'/>"))
		got := ""
		for _, s := range w.routed.take() {
			typ, _, _ := strings.Cut(s, " ")
			got += " " + typ
		}
		if strings.TrimSpace(got) != r.want {
			t.Errorf("§2.5.2 in %s: sent%s, want %s", r.before.name, got, r.want)
		}
		if it := w.item(t, owner, contact); it.Contact.Local != "" {
			t.Errorf("§2.5.2 in %s: %+v is left", r.before.name, it)
		}
	}
}

// An account that is deleted leaves the rosters of its contacts.
func TestAccountGone(t *testing.T) {
	w := newWorld(t)
	w.befriend(t, "juliet", "romeo", store.SubBoth)
	romeo, juliet := w.online(t, "romeo", "orchard"), w.online(t, "juliet", "balcony")
	syncAll(t, romeo, juliet)
	if err := w.srv.DeleteAccount(t.Context(), addr("juliet")); err != nil {
		t.Fatal(err)
	}
	romeo.wants(t, "<presence from='%s' type='unavailable'/>", juliet.jid)
	romeo.has(t, "%s", push("<item jid='juliet@example.org' subscription='none'/>"))
	w.account(t, "juliet")
	fresh := w.online(t, "juliet", "balcony")
	if items(fresh) != 0 {
		t.Errorf("a new account has the roster of the old one:\n%s", fresh.said())
	}
	romeo.quiet(t)
}
