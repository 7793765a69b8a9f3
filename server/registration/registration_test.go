package registration_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/invite"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/registration"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// world is a server with registration, and a clock that can be put forward.
type world struct {
	*servertest.Server
	invites *invite.Module
	ahead   atomic.Int64
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func newWorld(t *testing.T, o registration.Options, modules ...server.Module) *world {
	t.Helper()
	w := &world{}
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	contacts, commands := roster.New(roster.Limits{}), adhoc.New()
	w.invites = invite.New(db, invite.Options{Now: w.now}).Module(contacts, commands, o.Mode != registration.Closed)
	w.Server = servertest.NewWith(t, func(c *server.Config) { c.Store, c.Now = db, w.now },
		append(modules, w.invites, contacts, commands, registration.New(w.invites, o), ping.New())...)
	return w
}

// invitation makes one and gives its token.
func (w *world) invitation(t *testing.T, r invite.Request) string {
	t.Helper()
	r.Domain, r.Account = "example.org", true
	i, _, err := w.invites.Create(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return i.Token
}

func register(name, password string) string {
	return "<query xmlns='jabber:iq:register'><username>" + name + "</username><password>" + password + "</password></query>"
}

func preauth(token string) string {
	return "<preauth xmlns='urn:xmpp:pars:0' token='" + token + "'/>"
}

// outcome is "result" or the condition of the error.
func outcome(t *testing.T, c *servertest.Client, typ, payload string) string {
	t.Helper()
	c.Send("<iq type='" + typ + "' id='x' to='example.org'>" + payload + "</iq>")
	n := c.Read()
	if !n.Is(xmppstream.NSClient, "iq") || n.Attr("id") != "x" {
		t.Fatalf("got %s", n.Append(nil))
	}
	if n.Attr("type") == "result" {
		return "result"
	}
	return servertest.Condition(n)
}

func is(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

const fields = "<query xmlns='jabber:iq:register'/>"

func TestClosed(t *testing.T) {
	w := newWorld(t, registration.Options{})
	token := w.invitation(t, invite.Request{})
	c := servertest.Connect(t, w.Server, "example.org")
	if c.Features.Child(registration.NSFeature, "register") != nil || c.Features.Child(registration.NSToken, "register") != nil {
		t.Error("registration is offered")
	}
	is(t, "fields", outcome(t, c, "get", fields), "service-unavailable")
	is(t, "account", outcome(t, c, "set", register("juliet", servertest.Password)), "service-unavailable")
	is(t, "token", outcome(t, c, "set", preauth(token)), "service-unavailable")
}

func TestOpen(t *testing.T) {
	w := newWorld(t, registration.Options{Mode: registration.Open})
	w.Account(t, "romeo@example.org")
	w.invitation(t, invite.Request{Local: "kept"})
	c := servertest.Connect(t, w.Server, "example.org")
	if c.Features.Child(registration.NSFeature, "register") == nil || c.Features.Child(registration.NSToken, "register") == nil {
		t.Error("registration is not offered")
	}
	n := c.Request("get", "example.org", fields)
	if n.Child(registration.NS, "username") == nil || n.Child(registration.NS, "password") == nil || n.Child(registration.NS, "registered") != nil {
		t.Errorf("got %s", n.Append(nil))
	}
	form := func(typ string, fields ...string) string {
		x := "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='" + typ + "'>"
		for i := 0; i < len(fields); i += 2 {
			x += "<field var='" + fields[i] + "'><value>" + fields[i+1] + "</value></field>"
		}
		return x + "</x></query>"
	}
	good := servertest.Password
	for _, try := range []struct{ what, payload, want string }{
		{"nothing", fields, "not-acceptable"},
		{"no password", register("juliet", ""), "not-acceptable"},
		{"no name", register("", good), "not-acceptable"},
		{"two names", "<query xmlns='jabber:iq:register'><username>a</username><username>b</username><password>" + good + "</password></query>", "bad-request"},
		{"an address", register("juliet@example.org", good), "not-acceptable"},
		{"a resource", register("juliet/x", good), "not-acceptable"},
		{"a space", register("ju liet", good), "not-acceptable"},
		{"too long", register(strings.Repeat("j", 65), good), "not-acceptable"},
		{"reserved", register("admin", good), "not-acceptable"},
		{"reserved in capitals", register("ADMIN", good), "not-acceptable"},
		{"reserved in disguise", register("Ad-min_1", good), "not-acceptable"},
		{"short password", register("juliet", "o romeo"), "not-acceptable"},
		{"dull password", register("juliet", "oooooooooooo"), "not-acceptable"},
		{"the name as the password", register("balconies", "Balconies"), "not-acceptable"},
		{"a password that nobody can have", register("juliet", "wherefore&#9;art"), "not-acceptable"},
		{"taken", register("romeo", good), "conflict"},
		{"taken in capitals", register("ROMEO", good), "conflict"},
		{"kept", register("kept", good), "conflict"},
		{"removal", "<query xmlns='jabber:iq:register'><remove/></query>", "unexpected-request"},
		{"another form", form("submit", "FORM_TYPE", "jabber:iq:search", "username", "juliet", "password", good), "bad-request"},
		{"an unfilled form", form("form", "username", "juliet", "password", good), "bad-request"},
		{"a form with a field twice", form("submit", "username", "a", "username", "b", "password", good), "bad-request"},
		{"a token that is none", preauth("x"), "item-not-found"},
		{"no token", preauth(""), "bad-request"},
		{"a form", form("submit", "FORM_TYPE", "jabber:iq:register", "username", "Juliet", "password", good), "result"},
		{"a second account", register("nurse", good), "not-acceptable"},
	} {
		is(t, try.what, outcome(t, c, "set", try.payload), try.want)
	}
	c.Login("juliet")
	c.Bind("balcony")
}

func TestByInvite(t *testing.T) {
	w := newWorld(t, registration.Options{Mode: registration.ByInvite})
	once := w.invitation(t, invite.Request{})
	c := servertest.Connect(t, w.Server, "example.org")
	is(t, "fields without a token", outcome(t, c, "get", fields), "forbidden")
	is(t, "account without a token", outcome(t, c, "set", register("juliet", servertest.Password)), "forbidden")
	is(t, "a wrong token", outcome(t, c, "set", preauth(strings.ToLower(once))), "item-not-found")
	is(t, "still none", outcome(t, c, "set", register("juliet", servertest.Password)), "forbidden")
	is(t, "token", outcome(t, c, "set", preauth(once)), "result")
	is(t, "fields", outcome(t, c, "get", fields), "result")

	// A registration that fails does not use the invitation up.
	w.Account(t, "romeo@example.org")
	is(t, "taken", outcome(t, c, "set", register("romeo", servertest.Password)), "conflict")
	is(t, "short", outcome(t, c, "set", register("juliet", "short")), "not-acceptable")
	is(t, "impossible", outcome(t, c, "set", register("juliet", "wherefore&#9;art")), "not-acceptable")

	late := servertest.Connect(t, w.Server, "example.org")
	is(t, "the token for two", outcome(t, late, "set", preauth(once)), "result")
	is(t, "account", outcome(t, c, "set", register("juliet", servertest.Password)), "result")
	is(t, "used up by another", outcome(t, late, "set", register("nurse", servertest.Password)), "item-not-found")
	is(t, "used", outcome(t, servertest.Connect(t, w.Server, "example.org"), "set", preauth(once)), "item-not-found")
	if there, err := w.Exists(t.Context(), servertest.Address(t, "nurse@example.org")); err != nil || there {
		t.Errorf("the second account: %v %v", there, err)
	}
	c.Login("juliet")
	c.Bind("balcony")

	// Of another domain.
	foreign := servertest.Connect(t, w.Server, "example.net")
	foreign.Send("<iq type='set' id='x'>" + preauth(w.invitation(t, invite.Request{})) + "</iq>")
	foreign.Expect("<iq type='error' id='x'><error><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
}

// An invitation expires; it is enough that it was good when it was shown.
func TestExpiry(t *testing.T) {
	w := newWorld(t, registration.Options{Mode: registration.ByInvite})
	token := w.invitation(t, invite.Request{Lifetime: time.Hour, Uses: 2})
	c := servertest.Connect(t, w.Server, "example.org")
	is(t, "token", outcome(t, c, "set", preauth(token)), "result")
	w.ahead.Store(int64(2 * time.Hour))
	is(t, "late account", outcome(t, c, "set", register("juliet", servertest.Password)), "result")
	is(t, "expired", outcome(t, servertest.Connect(t, w.Server, "example.org"), "set", preauth(token)), "item-not-found")
}

func TestKeptName(t *testing.T) {
	w := newWorld(t, registration.Options{Mode: registration.ByInvite})
	juliet, other := w.invitation(t, invite.Request{Local: "Admin"}), w.invitation(t, invite.Request{})
	thief := servertest.Connect(t, w.Server, "example.org")
	is(t, "token", outcome(t, thief, "set", preauth(other)), "result")
	is(t, "a kept name", outcome(t, thief, "set", register("admin", servertest.Password)), "not-acceptable")
	c := servertest.Connect(t, w.Server, "example.org")
	is(t, "token", outcome(t, c, "set", preauth(juliet)), "result")
	if n := c.Request("get", "example.org", fields); n.ChildText(registration.NS, "username") != "admin" {
		t.Errorf("got %s", n.Append(nil))
	}
	is(t, "another name", outcome(t, c, "set", register("nurse", servertest.Password)), "not-acceptable")
	is(t, "the name", outcome(t, c, "set", register("Admin", servertest.Password)), "result")
}

// Who registers by somebody's invitation is their contact at once, and they hear of it.
func TestContact(t *testing.T) {
	w := newWorld(t, registration.Options{Mode: registration.ByInvite})
	romeo := servertest.Online(t, w.Server, "romeo@example.org/orchard")
	romeo.Request("get", "", "<query xmlns='jabber:iq:roster'/>")
	token := w.invitation(t, invite.Request{Inviter: romeo.JID.Bare(), Contact: true})
	c := servertest.Connect(t, w.Server, "example.org")
	is(t, "token", outcome(t, c, "set", preauth(token)), "result")
	is(t, "account", outcome(t, c, "set", register("juliet", servertest.Password)), "result")
	for {
		n := romeo.Read()
		if n.Is(xmppstream.NSClient, "presence") && n.Attr("type") == "subscribe" {
			t.Errorf("the inviter is asked: %s", n.Append(nil))
		}
		if item := n.Child("jabber:iq:roster", "query").Child("jabber:iq:roster", "item"); item != nil && item.Attr("subscription") == "both" {
			is(t, "contact", item.Attr("jid"), "juliet@example.org")
			break
		}
	}
	c.Login("juliet")
	c.Bind("balcony")
	n := c.Request("get", "", "<query xmlns='jabber:iq:roster'/>")
	if len(n.Children) != 1 || n.Children[0].Attr("jid") != "romeo@example.org" || n.Children[0].Attr("subscription") != "both" {
		t.Errorf("the guest's roster: %s", n.Append(nil))
	}
	c.Send("<presence/>")
	romeo.Drain()
	c.ExpectAll("<presence from='juliet@example.org/balcony'/>", "<presence from='romeo@example.org/orchard'/>")
}

// One invitation and many who try to use it at the same time.
func TestRace(t *testing.T) {
	w := newWorld(t, registration.Options{Mode: registration.ByInvite})
	token := w.invitation(t, invite.Request{})
	var clients []*servertest.Client
	for range 6 {
		c := servertest.Connect(t, w.Server, "example.org")
		is(t, "token", outcome(t, c, "set", preauth(token)), "result")
		clients = append(clients, c)
	}
	for i, c := range clients {
		c.Send("<iq type='set' id='x'>" + register(fmt.Sprint("guest", i), servertest.Password) + "</iq>")
	}
	made := 0
	for _, c := range clients {
		if n := c.Read(); n.Attr("type") == "result" {
			made++
		}
	}
	list, err := w.Store().ListAccounts(t.Context(), "example.org", "", 100)
	if err != nil || made != 1 || len(list) != 1 {
		t.Errorf("%d were told that they have an account, %d have one, %v", made, len(list), err)
	}
}

// A flood from one peer does not keep others out.
func TestFlood(t *testing.T) {
	w := newWorld(t, registration.Options{
		Mode: registration.Open, Attempts: registration.Rate{Burst: 2, Interval: time.Minute}, All: registration.Rate{Burst: 4, Interval: time.Minute},
	})
	romeo := w.Account(t, "romeo@example.org").Local
	peer := func(name string) *servertest.Client { return connectAs(t, w.Server, name) }
	c := peer("a")
	is(t, "first", outcome(t, c, "set", register(romeo, servertest.Password)), "conflict")
	is(t, "second", outcome(t, c, "set", register(romeo, servertest.Password)), "conflict")
	is(t, "third", outcome(t, c, "set", register(romeo, servertest.Password)), "resource-constraint")
	is(t, "on another connection", outcome(t, peer("a"), "set", register("juliet", servertest.Password)), "resource-constraint")
	is(t, "a token", outcome(t, peer("a"), "set", preauth("x")), "resource-constraint")
	is(t, "another peer", outcome(t, peer("b"), "set", register("juliet", servertest.Password)), "result")
	is(t, "another peer", outcome(t, peer("c"), "set", register("nurse", servertest.Password)), "result")
	is(t, "all together", outcome(t, peer("d"), "set", register("mercutio", servertest.Password)), "resource-constraint")
	// Who was invited is not held up by that.
	invited := peer("e")
	is(t, "token", outcome(t, invited, "set", preauth(w.invitation(t, invite.Request{}))), "result")
	is(t, "invited", outcome(t, invited, "set", register("mercutio", servertest.Password)), "result")
	w.ahead.Store(int64(time.Minute + time.Second))
	is(t, "after a while", outcome(t, peer("a"), "set", register("tybalt", servertest.Password)), "result")
}

// broken is invitations whose storage fails.
type broken struct{ registration.Invitations }

func (broken) Befriend(context.Context, address.Address, address.Address) error {
	return errors.New("broken")
}

// That two could not be made contacts does not cost the guest the account.
func TestContactFails(t *testing.T) {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	contacts := roster.New(roster.Limits{})
	invites := invite.New(db, invite.Options{}).Module(contacts, adhoc.New(), true)
	s := servertest.NewWith(t, func(c *server.Config) { c.Store = db }, contacts, registration.New(broken{invites}, registration.Options{Mode: registration.ByInvite}))
	romeo := s.Account(t, "romeo@example.org")
	i, _, err := invites.Create(t.Context(), invite.Request{Domain: "example.org", Account: true, Contact: true, Inviter: romeo})
	if err != nil {
		t.Fatal(err)
	}
	c := servertest.Connect(t, s, "example.org")
	is(t, "token", outcome(t, c, "set", preauth(i.Token)), "result")
	is(t, "account", outcome(t, c, "set", register("juliet", servertest.Password)), "result")
	c.Login("juliet")
}
