package invite_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/invite"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

type world struct {
	*servertest.Server
	*invite.Module
	store store.Store
}

func newWorld(t *testing.T, o invite.Options, register bool) *world {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	contacts, commands := roster.New(roster.Limits{}), adhoc.New()
	m := invite.New(db, o).Module(contacts, commands, register)
	return &world{servertest.NewWith(t, func(c *server.Config) { c.Store = db }, m, contacts, commands, ping.New()), m, db}
}

const rosterNS = "jabber:iq:roster"

// online is a client that sees its roster.
func (w *world) online(t *testing.T, jid string) *servertest.Client {
	t.Helper()
	c := servertest.Online(t, w.Server, jid)
	c.Request("get", "", "<query xmlns='"+rosterNS+"'/>")
	return c
}

// standing is a contact's subscription in the client's roster, "" for none.
func standing(c *servertest.Client, contact string) string {
	c.T.Helper()
	c.Send("<iq type='get' id='standing'><query xmlns='" + rosterNS + "'/></iq>")
	for {
		n := c.Read()
		if n.Attr("id") != "standing" {
			continue
		}
		for _, item := range n.Child(rosterNS, "query").Children {
			if item.Attr("jid") == contact {
				return item.Attr("subscription")
			}
		}
		return ""
	}
}

// becomes waits for a standing.
func becomes(c *servertest.Client, contact, want string) {
	c.T.Helper()
	got := ""
	for range 100 {
		if got = standing(c, contact); got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.T.Errorf("%s in the roster of %s: got %q, want %q", contact, c.JID, got, want)
}

func request(to, token string) string {
	return "<presence type='subscribe' to='" + to + "'><preauth xmlns='urn:xmpp:pars:0' token='" + token + "'/></presence>"
}

// A guest who comes with a token is a contact at once, without a question.
func TestContact(t *testing.T) {
	w := newWorld(t, invite.Options{}, false)
	romeo, juliet := w.online(t, "romeo@example.org/orchard"), w.online(t, "juliet@example.net/balcony")
	i, _, err := w.Create(t.Context(), invite.Request{Domain: "example.org", Inviter: romeo.JID, Contact: true})
	if err != nil {
		t.Fatal(err)
	}
	juliet.Send("<presence type='subscribed' to='romeo@example.org'/>") // XEP-0379 §3.4
	juliet.Send(request("romeo@example.org", i.Token))
	for {
		n := romeo.Read()
		if n.Attr("type") == "subscribe" {
			t.Errorf("the inviter is asked: %s", n.Append(nil))
		}
		if item := n.Child(rosterNS, "query").Child(rosterNS, "item"); item != nil && item.Attr("subscription") == "both" {
			break
		}
	}
	becomes(juliet, "romeo@example.org", "both")

	// Once.
	nurse := w.online(t, "nurse@example.org/house")
	nurse.Send(request("romeo@example.org", i.Token))
	asked(t, romeo, "nurse@example.org")
}

// asked reads up to a request, which was not answered.
func asked(t *testing.T, c *servertest.Client, by string) {
	t.Helper()
	for {
		n := c.Read()
		if n.Is(xmppstream.NSClient, "presence") && n.Attr("type") == "subscribe" && n.Attr("from") == by {
			break
		}
	}
	if got := standing(c, by); got != "" {
		t.Errorf("%s is in the roster: %s", by, got)
	}
}

// A token that is not good for this is as none.
func TestBadTokens(t *testing.T) {
	now := time.Now()
	w := newWorld(t, invite.Options{Now: func() time.Time { return now }}, true)
	romeo, tybalt := w.online(t, "romeo@example.org/orchard"), w.online(t, "tybalt@example.org/square")
	token := func(r invite.Request) string {
		r.Domain = "example.org"
		i, _, err := w.Create(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return i.Token
	}
	expired := token(invite.Request{Inviter: romeo.JID, Contact: true, Lifetime: time.Hour})
	account := token(invite.Request{Inviter: romeo.JID, Account: true})
	named := token(invite.Request{Inviter: romeo.JID, Account: true, Contact: true, Local: "juliet"})
	others := token(invite.Request{Inviter: tybalt.JID, Contact: true})
	now = now.Add(2 * time.Hour)
	for i, bad := range []string{"", "x", expired, account, named, others, strings.ToLower(others)} {
		guest := w.online(t, "guest"+string(rune('a'+i))+"@example.org/x")
		guest.Send(request("romeo@example.org", bad))
		asked(t, romeo, guest.JID.Bare().String())
	}
	// They are still good for what they are for.
	mercutio := w.online(t, "mercutio@example.org/x")
	mercutio.Send(request("tybalt@example.org", others))
	becomes(tybalt, "mercutio@example.org", "from")
	juliet := w.online(t, "juliet@example.org/x")
	juliet.Send(request("romeo@example.org", named))
	becomes(romeo, "juliet@example.org", "from")
}

// A request that waits already is granted by a token that comes later.
func TestAskedBefore(t *testing.T) {
	w := newWorld(t, invite.Options{}, false)
	romeo, juliet := w.online(t, "romeo@example.org/orchard"), w.online(t, "juliet@example.org/balcony")
	juliet.Send("<presence type='subscribe' to='romeo@example.org'/>")
	asked(t, romeo, "juliet@example.org")
	i, _, err := w.Create(t.Context(), invite.Request{Domain: "example.org", Inviter: romeo.JID, Contact: true, Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	juliet.Send(request("romeo@example.org", i.Token))
	becomes(juliet, "romeo@example.org", "to")
	// Again: who sees the inviter needs no token, and uses none up.
	i, _, err = w.Create(t.Context(), invite.Request{Domain: "example.org", Inviter: romeo.JID, Contact: true})
	if err != nil {
		t.Fatal(err)
	}
	juliet.Send(request("romeo@example.org", i.Token))
	juliet.Drain()
	if i, err = w.store.Invite(t.Context(), i.Token); err != nil || i.Uses != 1 {
		t.Errorf("the invitation: %+v, %v", i, err)
	}
}

// Of many who come with one token at the same time one is let in; the others wait for
// the inviter.
func TestOneOfMany(t *testing.T) {
	w := newWorld(t, invite.Options{}, false)
	romeo := w.online(t, "romeo@example.org/orchard")
	var guests []*servertest.Client
	for i := range 6 {
		guests = append(guests, w.online(t, fmt.Sprintf("guest%d@example.org/x", i)))
	}
	for range 5 {
		i, _, err := w.Create(t.Context(), invite.Request{Domain: "example.org", Inviter: romeo.JID, Contact: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range guests {
			g.Send(request("romeo@example.org", i.Token))
		}
		for _, g := range guests {
			g.Drain()
		}
		roster, err := w.store.Roster(t.Context(), romeo.JID.Bare())
		if err != nil {
			t.Fatal(err)
		}
		in, waiting := 0, 0
		for _, item := range roster.Items {
			if item.Sub&store.SubFrom != 0 {
				in++
			}
			if item.Request != nil {
				waiting++
			}
		}
		if in != 1 || waiting != len(guests)-1 {
			t.Fatalf("%d are let in, %d wait", in, waiting)
		}
		for _, g := range guests {
			romeo.Send("<iq type='set' id='rm'><query xmlns='" + rosterNS + "'><item jid='" + g.JID.Bare().String() + "' subscription='remove'/></query></iq>")
			romeo.Send("<presence type='unsubscribed' to='" + g.JID.Bare().String() + "'/>")
		}
		romeo.Drain()
	}
}

// Two who invite each other at the same time do not wait for each other.
func TestBothAtOnce(t *testing.T) {
	w := newWorld(t, invite.Options{}, false)
	for i := range 10 {
		romeo, juliet := w.online(t, fmt.Sprintf("romeo%d@example.org/orchard", i)), w.online(t, fmt.Sprintf("juliet%d@example.org/balcony", i))
		var tokens []string
		for _, c := range []*servertest.Client{romeo, juliet} {
			i, _, err := w.Create(t.Context(), invite.Request{Domain: "example.org", Inviter: c.JID, Contact: true})
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, i.Token)
		}
		juliet.Send(request(romeo.JID.Bare().String(), tokens[0]))
		romeo.Send(request(juliet.JID.Bare().String(), tokens[1]))
		becomes(juliet, romeo.JID.Bare().String(), "both")
		becomes(romeo, juliet.JID.Bare().String(), "both")
	}
}

func command(node, id, form string) string {
	return "<command xmlns='" + adhoc.NS + "' node='" + node + "' sessionid='" + id + "'>" + form + "</command>"
}

func field(n *xmppstream.Node, name string) string {
	for _, f := range n.Child("jabber:x:data", "x").Children {
		if f.Attr("var") == name {
			return f.ChildText("jabber:x:data", "value")
		}
	}
	return ""
}

func TestInviteCommand(t *testing.T) {
	for _, c := range []struct {
		what                   string
		register, users, admin bool
		ibr                    bool
	}{
		{"no registration", false, true, false, false},
		{"no registration, an administrator", false, false, true, false},
		{"a user", true, false, false, false},
		{"a user where users may", true, true, false, true},
		{"an administrator", true, false, true, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t, invite.Options{PerUser: 1, UsersInviteAccounts: c.users}, c.register)
			romeo := servertest.Dial(t, w.Server, "romeo@example.org/orchard")
			if err := w.store.SetAdmin(t.Context(), romeo.JID.Bare(), c.admin); err != nil {
				t.Fatal(err)
			}
			n := romeo.Request("set", "example.org", command(invite.NodeInvite, "", ""))
			uri := field(n, "uri")
			if n.Attr("status") != "completed" || !strings.HasPrefix(uri, "xmpp:romeo@example.org?roster;preauth=") || strings.HasSuffix(uri, ";ibr=y") != c.ibr {
				t.Errorf("got %s", n.Append(nil))
			}
			if at, err := time.Parse(time.RFC3339, field(n, "expire")); err != nil || time.Until(at) < 6*24*time.Hour {
				t.Errorf("expires at %q", field(n, "expire"))
			}
			if e := romeo.RequestError("set", "example.org", command(invite.NodeInvite, "", "")); e != "resource-constraint" {
				t.Errorf("too many: %s", e)
			}
			want := "result"
			if !c.ibr {
				want = "forbidden"
			}
			romeo.Send("<iq type='set' id='c' to='example.org'>" + command(invite.NodeCreateAccount, "", "") + "</iq>")
			if n := romeo.Read(); want == "result" && n.Attr("type") != want || want == "forbidden" && servertest.Condition(n) != want {
				t.Errorf("account creation: got %s", n.Append(nil))
			}
		})
	}
}

func TestCreateAccountCommand(t *testing.T) {
	w := newWorld(t, invite.Options{}, true)
	romeo := servertest.Dial(t, w.Server, "romeo@example.org/orchard")
	if err := w.store.SetAdmin(t.Context(), romeo.JID.Bare(), true); err != nil {
		t.Fatal(err)
	}
	id := romeo.Request("set", "example.org", command(invite.NodeCreateAccount, "", "")).Attr("sessionid")
	form := func(name, contact string) string {
		return "<x xmlns='jabber:x:data' type='submit'><field var='username'><value>" + name + "</value></field><field var='roster-subscription'><value>" + contact + "</value></field></x>"
	}
	for _, c := range [][3]string{{"juliet", "maybe", "bad-request"}, {"ju liet", "1", "not-acceptable"}, {"romeo", "1", "conflict"}} {
		if e := romeo.RequestError("set", "example.org", command(invite.NodeCreateAccount, id, form(c[0], c[1]))); e != c[2] {
			t.Errorf("%v: got %s", c, e)
		}
	}
	n := romeo.Request("set", "example.org", command(invite.NodeCreateAccount, id, form("juliet", "true")))
	_, token, ok := strings.Cut(field(n, "uri"), "xmpp:juliet@example.org?register;preauth=")
	if !ok || n.Attr("status") != "completed" {
		t.Fatalf("got %s", n.Append(nil))
	}
	if i, err := w.store.Invite(t.Context(), token); err != nil || !i.Account || !i.Contact || i.Local != "juliet" || i.Inviter != romeo.JID.Bare() {
		t.Errorf("kept %+v, %v", i, err)
	}
	// A form without anything is an account of any name, for nobody's contact.
	id = romeo.Request("set", "example.org", command(invite.NodeCreateAccount, "", "")).Attr("sessionid")
	n = romeo.Request("set", "example.org", command(invite.NodeCreateAccount, id, "<x xmlns='jabber:x:data' type='submit'/>"))
	if !strings.HasPrefix(field(n, "uri"), "xmpp:example.org?register;preauth=") {
		t.Errorf("got %s", n.Append(nil))
	}
}
