package admin_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/admin"
	"xmpp-gw/server/disco"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// newServer has the administrator bard@example.org.
func newServer(t *testing.T, o admin.Options) *servertest.Server {
	t.Helper()
	contacts, commands := roster.New(roster.Limits{}), adhoc.New()
	s := servertest.New(t, contacts, disco.New(disco.Options{Software: "x", Subscriptions: contacts}), commands, admin.New(commands, o), ping.New())
	bard := s.Account(t, "bard@example.org")
	if err := s.Store().SetAdmin(t.Context(), bard, true); err != nil {
		t.Fatal(err)
	}
	return s
}

func command(node, id, form string) string {
	return "<command xmlns='" + adhoc.NS + "' node='" + admin.NS + "#" + node + "' sessionid='" + id + "'>" + form + "</command>"
}

// submit is a form of these fields: name, value; a value of many lines has many values.
func submit(fields ...string) string {
	b := "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>" + admin.NS + "</value></field>"
	for i := 0; i < len(fields); i += 2 {
		b += "<field var='" + fields[i] + "'>"
		for _, v := range strings.Split(fields[i+1], "\n") {
			b += "<value>" + v + "</value>"
		}
		b += "</field>"
	}
	return b + "</x>"
}

// start runs a command's first stage, which shows a form.
func start(c *servertest.Client, node string) (id string) {
	c.T.Helper()
	n := c.Request("set", "example.org", command(node, "", ""))
	if n.Attr("status") != "executing" || values(n, "FORM_TYPE")[0] != admin.NS {
		c.T.Fatalf("%s: got %s", node, n.Append(nil))
	}
	return n.Attr("sessionid")
}

// run runs a command of one form.
func run(c *servertest.Client, node string, fields ...string) *xmppstream.Node {
	c.T.Helper()
	n := c.Request("set", "example.org", command(node, start(c, node), submit(fields...)))
	if n.Attr("status") != "completed" {
		c.T.Fatalf("%s: got %s", node, n.Append(nil))
	}
	return n
}

// fails runs a command of one form that does not work.
func fails(c *servertest.Client, want, node string, fields ...string) {
	c.T.Helper()
	if e := c.RequestError("set", "example.org", command(node, start(c, node), submit(fields...))); e != want {
		c.T.Errorf("%s %q: got %s, want %s", node, fields, e, want)
	}
}

// values are those of a field of the form that is shown.
func values(n *xmppstream.Node, field string) (list []string) {
	for _, f := range n.Child("jabber:x:data", "x").Children {
		if f.Attr("var") == field {
			for _, v := range f.Children {
				if v.Name == "value" {
					list = append(list, v.Text)
				}
			}
		}
	}
	return list
}

const good = "a rose by any other name"

// Nobody but an administrator of the domain sees a command, or can run one.
func TestOthers(t *testing.T) {
	s := newServer(t, admin.Options{Shutdown: func() { t.Error("the server was shut down") }})
	bard := servertest.Dial(t, s, "bard@example.org/globe")
	const list = "<query xmlns='" + disco.NSItems + "' node='" + adhoc.NS + "'/>"
	items := bard.Request("get", "example.org", list).Children
	if len(items) != 20 {
		t.Errorf("the administrator sees %d commands", len(items))
	}
	if n := bard.Request("get", "example.net", list); len(n.Children) != 0 {
		t.Errorf("at another domain: %s", n.Append(nil))
	}
	id := start(bard, "shutdown")
	for _, jid := range []string{"iago@example.org/x", "bard@example.net/x"} {
		c := servertest.Dial(t, s, jid)
		if n := c.Request("get", "example.org", list); len(n.Children) != 0 {
			t.Errorf("%s sees %s", jid, n.Append(nil))
		}
		for _, item := range items {
			node := item.Attr("node")
			if e := c.RequestError("get", "example.org", "<query xmlns='"+disco.NSInfo+"' node='"+node+"'/>"); e != "item-not-found" {
				t.Errorf("%s: %s of %s", jid, e, node)
			}
			if e := c.RequestError("set", "example.org", "<command xmlns='"+adhoc.NS+"' node='"+node+"'/>"); e != "forbidden" {
				t.Errorf("%s runs %s: %s", jid, node, e)
			}
		}
		if e := c.RequestError("set", "example.org", command("shutdown", id, submit("delay", "0"))); e != "forbidden" {
			t.Errorf("%s goes on: %s", jid, e)
		}
	}
	// Who is not an administrator any more is stopped between two stages.
	if err := s.Store().SetAdmin(t.Context(), bard.JID.Bare(), false); err != nil {
		t.Fatal(err)
	}
	if e := bard.RequestError("set", "example.org", command("shutdown", id, submit("delay", "0"))); e != "forbidden" {
		t.Errorf("a former administrator: %s", e)
	}
}

func TestAddUser(t *testing.T) {
	s := newServer(t, admin.Options{})
	bard := servertest.Dial(t, s, "bard@example.org/globe")
	for _, c := range []struct{ want, jid, password, again string }{
		{"bad-request", "", good, good},
		{"bad-request", "juliet@example.org", "", ""},
		{"not-acceptable", "juliet@example.org", good, good + "!"},
		{"not-acceptable", "juliet@example.org", "a&#9;b", "a&#9;b"},
		{"jid-malformed", "ju liet@example.org", good, good},
		{"jid-malformed", "example.org", good, good},
		{"jid-malformed", "juliet@example.org/balcony", good, good},
		{"not-allowed", "juliet@example.net", good, good},
		{"not-allowed", "juliet@elsewhere.example", good, good},
		{"conflict", "bard@example.org", good, good},
	} {
		fails(bard, c.want, "add-user", "accountjid", c.jid, "password", c.password, "password-verify", c.again)
	}
	run(bard, "add-user", "accountjid", "Juliet@example.org", "password", servertest.Password, "password-verify", servertest.Password)
	a, err := s.Store().Account(t.Context(), servertest.Address(t, "juliet@example.org"))
	if err != nil || a.Admin {
		t.Errorf("made %+v, %v", a, err)
	}
	servertest.Connect(t, s, "example.org").Login("juliet")

	run(bard, "change-user-password", "accountjid", "juliet@example.org", "password", good)
	run(bard, "change-user-password", "accountjid", "juliet@example.org", "password", servertest.Password)
	servertest.Connect(t, s, "example.org").Login("juliet")
	fails(bard, "item-not-found", "change-user-password", "accountjid", "nobody@example.org", "password", good)
	fails(bard, "bad-request", "change-user-password", "accountjid", "juliet@example.org", "password", "")
	fails(bard, "not-acceptable", "change-user-password", "accountjid", "juliet@example.org", "password", strings.Repeat("x", 1025))
}

func TestDeleteAndDisable(t *testing.T) {
	s := newServer(t, admin.Options{})
	bard := servertest.Dial(t, s, "bard@example.org/globe")
	romeo, juliet := servertest.Dial(t, s, "romeo@example.org/orchard"), servertest.Dial(t, s, "juliet@example.org/balcony")
	s.Account(t, "nurse@example.net")
	for _, node := range []string{"delete-user", "disable-user"} {
		fails(bard, "bad-request", node)
		fails(bard, "bad-request", node, "accountjids", "")
		fails(bard, "not-allowed", node, "accountjids", "romeo@example.org\nbard@example.org")
		fails(bard, "not-allowed", node, "accountjids", "nurse@example.net")
		fails(bard, "jid-malformed", node, "accountjids", "romeo@example.org/orchard")
		fails(bard, "policy-violation", node, "accountjids", strings.Repeat("romeo@example.org\n", 101))
		// All or nothing.
		fails(bard, "item-not-found", node, "accountjids", "romeo@example.org\nnobody@example.org")
	}
	romeo.ExpectNothing()

	run(bard, "disable-user", "accountjids", "romeo@example.org\n\nromeo@example.org")
	romeo.ExpectStreamError("not-authorized")
	if a, err := s.Store().Account(t.Context(), romeo.JID.Bare()); err != nil || !a.Disabled {
		t.Errorf("%+v, %v", a, err)
	}
	if n := run(bard, "get-disabled-users-list", "max_items", "25"); !slices.Equal(values(n, "disableduserjids"), []string{"romeo@example.org"}) {
		t.Errorf("got %s", n.Append(nil))
	}
	run(bard, "reenable-user", "accountjids", "romeo@example.org")
	servertest.Connect(t, s, "example.org").Login("romeo")

	run(bard, "delete-user", "accountjids", "romeo@example.org\njuliet@example.org")
	juliet.ExpectStreamError("not-authorized")
	for _, jid := range []string{"romeo@example.org", "juliet@example.org"} {
		if _, err := s.Store().Account(t.Context(), servertest.Address(t, jid)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", jid, err)
		}
	}
}

func TestEndSession(t *testing.T) {
	s := newServer(t, admin.Options{})
	bard := servertest.Dial(t, s, "bard@example.org/globe")
	other := servertest.Dial(t, s, "bard@example.org/other")
	orchard, street := servertest.Dial(t, s, "romeo@example.org/orchard"), servertest.Dial(t, s, "romeo@example.org/street")
	fails(bard, "item-not-found", "end-user-session", "accountjids", "nobody@example.org")
	run(bard, "end-user-session", "accountjids", "romeo@example.org/orchard")
	orchard.ExpectStreamError("policy-violation")
	street.ExpectNothing()
	run(bard, "end-user-session", "accountjids", "romeo@example.org\nbard@example.org")
	street.ExpectStreamError("policy-violation")
	other.ExpectStreamError("policy-violation")
	bard.ExpectNothing()
}

func TestNumbersAndLists(t *testing.T) {
	s := newServer(t, admin.Options{})
	bard := servertest.Online(t, s, "bard@example.org/globe")
	s.Account(t, "offline@example.org")
	servertest.Online(t, s, "abroad@example.net/x")
	servertest.Dial(t, s, "unavailable@example.org/x")
	servertest.Dial(t, s, "away@example.org/x").Send("<presence><show>xa</show></presence>")
	servertest.Dial(t, s, "two@example.org/a").Send("<presence><show>away</show></presence>")
	servertest.Online(t, s, "two@example.org/b")
	for _, c := range []struct {
		name, list, number, jids string
		want                     []string
	}{
		{"registered", "get-registered-users-list", "registeredusersnum", "registereduserjids", []string{"away", "bard", "offline", "two", "unavailable"}},
		{"disabled", "get-disabled-users-list", "disabledusersnum", "disableduserjids", nil},
		{"online", "get-online-users-list", "onlineusersnum", "onlineuserjids", []string{"away", "bard", "two", "unavailable"}},
		{"active", "get-active-users", "activeusersnum", "activeuserjids", []string{"bard", "two"}},
		{"idle", "get-idle-users", "idleusersnum", "idleuserjids", []string{"away", "unavailable"}},
	} {
		n := bard.Request("set", "example.org", command("get-"+c.name+"-users-num", "", ""))
		if v := values(n, c.number); !slices.Equal(v, []string{fmt.Sprint(len(c.want))}) || n.Attr("status") != "completed" {
			t.Errorf("%s: %s, want %d", c.name, n.Append(nil), len(c.want))
		}
		var want []string
		for _, name := range c.want {
			want = append(want, name+"@example.org")
		}
		if n := run(bard, c.list, "max_items", "none"); !slices.Equal(values(n, c.jids), want) || n.Child(adhoc.NS, "note") != nil {
			t.Errorf("%s: %s, want %v", c.list, n.Append(nil), want)
		}
		if len(want) > 1 {
			if n := run(bard, c.list, "max_items", "1"); !slices.Equal(values(n, c.jids), want[:1]) || n.Child(adhoc.NS, "note") == nil {
				t.Errorf("%s of one: %s", c.list, n.Append(nil))
			}
		}
	}
	for _, bad := range []string{"0", "-1", "all"} {
		fails(bard, "bad-request", "get-online-users-list", "max_items", bad)
	}
}

func TestUser(t *testing.T) {
	s := newServer(t, admin.Options{})
	bard := servertest.Dial(t, s, "bard@example.org/globe")
	s.Account(t, "nurse@example.org")
	before := time.Now().Add(-time.Second)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	romeo.Request("set", "", "<query xmlns='jabber:iq:roster'><item jid='juliet@example.org'/></query>")
	romeo.Drain()
	n := run(bard, "user-stats", "accountjid", "romeo@example.org")
	if !slices.Equal(values(n, "rostersize"), []string{"1"}) || !slices.Equal(values(n, "onlineresources"), []string{"orchard"}) || values(n, "ipaddresses") != nil {
		t.Errorf("got %s", n.Append(nil))
	}
	n = run(bard, "get-user-lastlogin", "accountjids", "nurse@example.org\nromeo@example.org")
	at := values(n, "lastlogin")
	if !slices.Equal(values(n, "accountjids"), []string{"nurse@example.org", "romeo@example.org"}) || len(at) != 2 || at[0] != "" {
		t.Fatalf("got %s", n.Append(nil))
	}
	if got, err := time.Parse(time.RFC3339, at[1]); err != nil || got.Before(before.Truncate(time.Second)) || got.After(time.Now()) {
		t.Errorf("last here at %s", at[1])
	}
	fails(bard, "item-not-found", "user-stats", "accountjid", "nobody@example.org")
	fails(bard, "item-not-found", "get-user-lastlogin", "accountjids", "nobody@example.org")
}

func TestAnnounce(t *testing.T) {
	s := newServer(t, admin.Options{})
	bard := servertest.Dial(t, s, "bard@example.org/globe")
	romeo, silent := servertest.Online(t, s, "romeo@example.org/orchard"), servertest.Dial(t, s, "juliet@example.org/balcony")
	abroad := servertest.Online(t, s, "nurse@example.net/x")
	fails(bard, "bad-request", "announce", "announcement", "")
	run(bard, "announce", "announcement", "All the world's a stage,\nand all the &lt;men&gt;")
	n := romeo.Expect("<message type='headline' from='example.org' to='romeo@example.org/orchard' id='*'><subject>Announcement</subject></message>")
	if text := n.ChildText(xmppstream.NSClient, "body"); text != "All the world's a stage,\nand all the <men>" {
		t.Errorf("got %q", text)
	}
	silent.ExpectNothing()
	abroad.ExpectNothing()
}

func TestShutdown(t *testing.T) {
	done := make(chan struct{})
	s := newServer(t, admin.Options{Shutdown: func() { close(done) }})
	bard := servertest.Dial(t, s, "bard@example.org/globe")
	abroad := servertest.Online(t, s, "nurse@example.net/x")
	for _, bad := range []string{"soon", "-1", "86401"} {
		fails(bard, "bad-request", "shutdown", "delay", bad)
	}
	run(bard, "shutdown", "delay", "0", "announcement", "Curtain!")
	abroad.Expect("<message type='headline' from='example.net'><body>Curtain!</body></message>")
	fails(bard, "conflict", "shutdown", "delay", "0")
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("nothing happened")
	}
}

// A planned end does not come after the server has ended otherwise.
func TestShutdownGivenUp(t *testing.T) {
	s := newServer(t, admin.Options{Shutdown: func() { t.Error("called") }})
	bard := servertest.Dial(t, s, "bard@example.org/globe")
	run(bard, "shutdown", "delay", "1")
	bard.Close()
	s.Stop(t)
	time.Sleep(1200 * time.Millisecond)
}

// Without a way to shut down there is no such command.
func TestNoShutdown(t *testing.T) {
	s := newServer(t, admin.Options{})
	bard := servertest.Dial(t, s, "bard@example.org/globe")
	if e := bard.RequestError("set", "example.org", command("shutdown", "", "")); e != "item-not-found" {
		t.Errorf("got %s", e)
	}
}
