package disco_test

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/disco"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/servertest"
)

// friends see each other; tybalt sees nobody.
type friends struct{}

func (friends) Sees(_ context.Context, owner, contact address.Address) (bool, error) {
	return owner == contact || contact.Local != "tybalt", nil
}

// extra is another module with something to tell.
type extra struct{}

func (extra) Name() string { return "extra" }

func (extra) Setup(r *server.Registry) error {
	both := server.AtServer | server.AtAccount
	r.Feature(both, "urn:test:a&b", "urn:xmpp:ping")
	r.Identity(server.AtAccount, server.Identity{Category: "pubsub", Type: "pep"})
	r.Items(both, func(_ context.Context, asker, entity address.Address, node string) []server.Item {
		return []server.Item{{JID: entity, Node: "of " + node, Name: "for " + asker.Bare().String()}}
	})
	r.Node(both, func(_ context.Context, asker, entity address.Address, node string) ([]byte, bool) {
		return []byte("<feature var='" + entity.String() + "'/>"), node == "known"
	})
	return nil
}

func start(t *testing.T) (romeo, tybalt *servertest.Client) {
	s := servertest.New(t, extra{}, ping.New(), disco.New(disco.Options{
		Software: "XMPP server", Node: "urn:xmpp:server", Subscriptions: friends{},
		Contacts: map[string][]string{"security": {"xmpp:sec@example.org"}, "abuse": {"mailto:abuse@example.org", "https://example.org/?a&b"}},
	}))
	s.Account(t, "juliet@example.org")
	return servertest.Dial(t, s, "romeo@example.org/orchard"), servertest.Dial(t, s, "tybalt@example.org/square")
}

func query(space, node string) string {
	if node != "" {
		node = " node='" + node + "'"
	}
	return "<query xmlns='" + space + "'" + node + "/>"
}

// pattern is what an answer looks like.
func pattern(t *testing.T, xml string) *xmppstream.Node {
	n, err := xmppstream.Parse([]byte(xml), xmppstream.SessionLimits())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAnswers(t *testing.T) {
	romeo, _ := start(t)
	const info, items = "<query xmlns='" + disco.NSInfo + "'", "<query xmlns='" + disco.NSItems + "'"
	for name, tt := range map[string]struct{ to, payload, want string }{
		"server": {"example.org", query(disco.NSInfo, ""), info + " node='-'><identity category='server' type='im' name='XMPP server'/>" +
			"<feature var='" + disco.NSInfo + "'/><feature var='" + disco.NSItems + "'/><feature var='urn:test:a&amp;b'/>" +
			"<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/network/serverinfo</value></field>" +
			"<field var='abuse-addresses' type='list-multi'><value>mailto:abuse@example.org</value><value>https://example.org/?a&amp;b</value></field>" +
			"<field var='security-addresses'><value>xmpp:sec@example.org</value></field></x></query>"},
		"account":           {"romeo@example.org", query(disco.NSInfo, ""), info + "><identity category='account' type='registered'/><identity category='pubsub' type='pep'/></query>"},
		"own, no address":   {"", query(disco.NSInfo, ""), info + "><identity category='account' type='registered'/></query>"},
		"a contact's":       {"juliet@example.org", query(disco.NSInfo, ""), info + "><identity category='account' type='registered'/></query>"},
		"node":              {"juliet@example.org", query(disco.NSInfo, "known"), info + " node='known'><feature var='juliet@example.org'/></query>"},
		"node, no address":  {"", query(disco.NSInfo, "known"), info + " node='known'><feature var='romeo@example.org'/></query>"},
		"node, server":      {"example.org", query(disco.NSInfo, "known"), info + " node='known'><feature var='example.org'/></query>"},
		"items":             {"juliet@example.org", query(disco.NSItems, ""), items + " node='-'><item jid='juliet@example.org' node='of ' name='for romeo@example.org'/></query>"},
		"items, no address": {"", query(disco.NSItems, "x"), items + " node='x'><item jid='romeo@example.org' node='of x'/></query>"},
		"items, server":     {"example.net", query(disco.NSItems, ""), items + "><item jid='example.net'/></query>"},
	} {
		if n := romeo.Request("get", tt.to, tt.payload); !servertest.Matches(n, pattern(t, tt.want)) {
			t.Errorf("%s: %s", name, n.Append(nil))
		}
	}
	// A feature is there once, whoever announces it.
	n := romeo.Request("get", "example.org", query(disco.NSInfo, ""))
	var features []string
	for _, c := range n.Children {
		if c.Name == "feature" {
			features = append(features, c.Attr("var"))
		}
	}
	if !slices.IsSorted(features) || len(slices.Compact(slices.Clone(features))) != len(features) {
		t.Errorf("features %v", features)
	}
}

func TestRefused(t *testing.T) {
	romeo, tybalt := start(t)
	for name, tt := range map[string]struct {
		from             *servertest.Client
		typ, to, payload string
		want             string
	}{
		"unknown node":          {romeo, "get", "example.org", query(disco.NSInfo, "unknown"), "item-not-found"},
		"unknown node, account": {romeo, "get", "juliet@example.org", query(disco.NSInfo, "unknown"), "item-not-found"},
		"stranger":              {tybalt, "get", "juliet@example.org", query(disco.NSInfo, ""), "service-unavailable"},
		"stranger, node":        {tybalt, "get", "juliet@example.org", query(disco.NSInfo, "known"), "service-unavailable"},
		"stranger, items":       {tybalt, "get", "juliet@example.org", query(disco.NSItems, ""), "service-unavailable"},
		"nobody":                {romeo, "get", "nurse@example.org", query(disco.NSInfo, ""), "service-unavailable"},
		"set":                   {romeo, "set", "example.org", query(disco.NSInfo, ""), "not-allowed"},
		"set, items":            {romeo, "set", "example.org", query(disco.NSItems, ""), "not-allowed"},
		"set, account":          {romeo, "set", "", query(disco.NSInfo, ""), "not-allowed"},
		"set, account's items":  {romeo, "set", "", query(disco.NSItems, ""), "not-allowed"},
	} {
		if got := tt.from.RequestError(tt.typ, tt.to, tt.payload); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// The hash among the stream's features is that of what the server answers, and the
// answer can be asked for by it (XEP-0115 §6.2, §6.3).
func TestCapabilities(t *testing.T) {
	romeo, _ := start(t)
	c := romeo.Features.Child(disco.NSCaps, "c")
	if c == nil || c.Attr("hash") != "sha-1" || c.Attr("node") != "urn:xmpp:server" {
		t.Fatalf("features %s", romeo.Features.Append(nil))
	}
	node := c.Attr("node") + "#" + c.Attr("ver")
	for _, asked := range []string{"", node} {
		n := romeo.Request("get", "example.org", query(disco.NSInfo, asked))
		text, err := disco.Verification(n)
		if err != nil || n.Attr("node") != asked {
			t.Fatalf("%s: %v", n.Append(nil), err)
		}
		if sum := sha1.Sum([]byte(text)); base64.StdEncoding.EncodeToString(sum[:]) != c.Attr("ver") {
			t.Errorf("announced is %s, the answer to %q is %s", c.Attr("ver"), asked, n.Append(nil))
		}
	}
	if got := romeo.RequestError("get", "example.org", query(disco.NSInfo, strings.Replace(node, "#", "#x", 1))); got != "item-not-found" {
		t.Errorf("another hash: %s", got)
	}
}
