package registration_test

import (
	"errors"
	"net"
	"testing"

	"xmpp-gw/server"
	"xmpp-gw/server/registration"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// connectAs is a visitor whom the server takes for a certain peer.
func connectAs(t *testing.T, s *servertest.Server, peer string) *servertest.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := l.Accept()
		_ = l.Close()
		if err == nil {
			_ = s.ServeConn(t.Context(), conn, server.ConnOptions{Kind: server.STARTTLS, Peer: peer})
		}
	}()
	c := servertest.Raw(t, l.Addr().String())
	c.Domain = "example.org"
	c.Open()
	c.StartTLS(servertest.TLS("example.org"))
	return c
}

const remove = "<query xmlns='jabber:iq:register'><remove/></query>"

func TestPassword(t *testing.T) {
	w := newWorld(t, registration.Options{})
	w.Account(t, "juliet@example.org")
	c := servertest.Dial(t, w.Server, "romeo@example.org/orchard")
	n := c.Request("get", "", fields)
	if n.Child(registration.NS, "registered") == nil || n.ChildText(registration.NS, "username") != "romeo" || n.ChildText(registration.NS, "password") != "" {
		t.Errorf("got %s", n.Append(nil))
	}
	const fresh = "what light through yonder window"
	for _, try := range []struct{ what, to, payload, want string }{
		{"nothing", "", fields, "bad-request"},
		{"no password", "", register("romeo", ""), "bad-request"},
		{"no name", "", register("", fresh), "bad-request"},
		{"short", "", register("romeo", "short"), "not-acceptable"},
		{"impossible", "", register("romeo", "window&#9;window"), "not-acceptable"},
		{"somebody else's", "", register("juliet", fresh), "forbidden"},
		{"somebody else's address", "example.org", register("juliet@example.org", fresh), "forbidden"},
		{"at somebody else's account", "juliet@example.org", register("romeo", fresh), "forbidden"},
		{"at another domain", "example.net", register("romeo", fresh), "registration-required"},
		{"the form of a registration", "", "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>jabber:iq:register</value></field></x></query>", "bad-request"},
	} {
		if e := c.RequestError("set", try.to, try.payload); e != try.want {
			t.Errorf("%s: got %s, want %s", try.what, e, try.want)
		}
	}
	servertest.Connect(t, w.Server, "example.org").Login("romeo") // the old one, still
	c.Request("set", "example.org", register("Romeo@example.org", fresh))
	c.Request("set", "", register("romeo", servertest.Password))
	servertest.Connect(t, w.Server, "example.org").Login("romeo")

	// A flood of changes.
	for range 7 {
		c.Request("set", "", register("romeo", servertest.Password))
	}
	if e := c.RequestError("set", "", register("romeo", fresh)); e != "resource-constraint" {
		t.Errorf("a flood: %s", e)
	}
}

func TestRemove(t *testing.T) {
	w := newWorld(t, registration.Options{})
	romeo := servertest.Online(t, w.Server, "romeo@example.org/orchard")
	other := servertest.Dial(t, w.Server, "romeo@example.org/street")
	juliet := servertest.Online(t, w.Server, "juliet@example.org/balcony")
	juliet.Request("get", "", "<query xmlns='jabber:iq:roster'/>")
	if e := romeo.RequestError("set", "juliet@example.org", remove); e != "forbidden" {
		t.Errorf("somebody else's: %s", e)
	}
	if e := romeo.RequestError("set", "", "<query xmlns='jabber:iq:register'><remove/><username>romeo</username></query>"); e != "bad-request" {
		t.Errorf("more than <remove/>: %s", e)
	}
	// What its owner had asked for ends with the account.
	romeo.Send("<presence type='subscribe' to='juliet@example.org'/>")
	juliet.Expect("<presence type='subscribe' from='romeo@example.org'/>")
	romeo.Send("<iq type='set' id='bye'>" + remove + "</iq>")
	romeo.Expect("<iq type='result' id='bye'/>")
	romeo.ExpectStreamError("not-authorized")
	other.ExpectStreamError("not-authorized")
	juliet.Expect("<presence type='unsubscribe' from='romeo@example.org'/>")
	if _, err := w.Store().Account(t.Context(), servertest.Address(t, "romeo@example.org")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the account: %v", err)
	}
}

func TestFixed(t *testing.T) {
	w := newWorld(t, registration.Options{Fixed: true})
	c := servertest.Dial(t, w.Server, "romeo@example.org/orchard")
	for _, payload := range []string{remove, register("romeo", "what light through yonder window")} {
		if e := c.RequestError("set", "", payload); e != "not-allowed" {
			t.Errorf("%s: %s", payload, e)
		}
	}
}
