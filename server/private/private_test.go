package private_test

import (
	"fmt"
	"strings"
	"testing"

	"xmpp-gw/server"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/private"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

func start(t *testing.T) (db store.Store, romeo, juliet *servertest.Client) {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := servertest.NewWith(t, func(c *server.Config) { c.Store = db }, private.New(db), ping.New())
	return db, servertest.Dial(t, s, "romeo@example.org/orchard"), servertest.Dial(t, s, "juliet@example.org/balcony")
}

func query(inner string) string { return "<query xmlns='jabber:iq:private'>" + inner + "</query>" }

func TestStored(t *testing.T) {
	_, romeo, juliet := start(t)
	get := func(c *servertest.Client, inner string) string {
		return string(c.Request("get", "", query(inner)).Append(nil))
	}
	const document = "<storage xmlns='storage:bookmarks'>a<url name='x&lt;y' xml:lang='en'>1<b xmlns='u'/>2</url>b</storage>"
	if got := get(romeo, "<storage xmlns='storage:bookmarks'/>"); got != query("<storage xmlns='storage:bookmarks'/>") {
		t.Errorf("before: %s", got)
	}
	if n := romeo.Request("set", "romeo@example.org", query(document)); n != nil {
		t.Errorf("set: %s", n.Append(nil))
	}
	romeo.Request("set", "", query("<storage xmlns='urn:other'>2</storage>"))
	romeo.Request("set", "", query("<other xmlns='storage:bookmarks'>3</other>"))
	for asked, want := range map[string]string{
		"<storage xmlns='storage:bookmarks'/>":           document,
		"<s:storage xmlns:s='storage:bookmarks'/>":       document,
		"<storage xmlns='storage:bookmarks'>x</storage>": document,
		"<storage xmlns='urn:other'/>":                   "<storage xmlns='urn:other'>2</storage>",
		"<other xmlns='storage:bookmarks'/>":             "<other xmlns='storage:bookmarks'>3</other>",
		"<none xmlns='u' a='1'>x</none>":                 "<none xmlns='u'/>",
	} {
		if got := get(romeo, asked); got != query(want) {
			t.Errorf("%s: %s", asked, got)
		}
	}
	if got := get(juliet, "<storage xmlns='storage:bookmarks'/>"); got != query("<storage xmlns='storage:bookmarks'/>") {
		t.Errorf("another's: %s", got)
	}
	romeo.Request("set", "", query("<storage xmlns='urn:other'/>"))
	if got := get(romeo, "<storage xmlns='urn:other'/>"); got != query("<storage xmlns='urn:other'/>") {
		t.Errorf("emptied: %s", got)
	}
}

func TestRefused(t *testing.T) {
	db, romeo, _ := start(t)
	for name, tt := range map[string]struct{ typ, to, payload, want string }{
		"another's":         {"get", "juliet@example.org", query("<a xmlns='u'/>"), "forbidden"},
		"set another's":     {"set", "juliet@example.org", query("<a xmlns='u'/>"), "forbidden"},
		"nobody's":          {"get", "nurse@example.org", query("<a xmlns='u'/>"), "service-unavailable"},
		"the server's":      {"get", "example.org", query("<a xmlns='u'/>"), "service-unavailable"},
		"nothing":           {"get", "", query(""), "not-acceptable"},
		"two":               {"set", "", query("<a xmlns='u'/><b xmlns='u'/>"), "not-acceptable"},
		"of no namespace":   {"set", "", query("<a xmlns=''/>"), "not-acceptable"},
		"of this namespace": {"set", "", query("<a/>"), "not-acceptable"},
		"of the stream's":   {"set", "", query("<a xmlns='jabber:client'/>"), "not-acceptable"},
		"too long":          {"set", "", query("<a xmlns='u'>" + strings.Repeat("x", 64<<10) + "</a>"), "resource-constraint"},
	} {
		if got := romeo.RequestError(tt.typ, tt.to, tt.payload); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	for i := range 128 {
		if err := db.PutDocument(t.Context(), romeo.JID.Bare(), "private", fmt.Sprint(i), []byte("<a/>"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := romeo.RequestError("set", "", query("<a xmlns='u'/>")); got != "resource-constraint" {
		t.Errorf("too many: %s", got)
	}
}
