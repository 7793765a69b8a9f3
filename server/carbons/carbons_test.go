package carbons_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/archive"
	"xmpp-gw/server/carbons"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

type nobody struct{}

func (nobody) InRoster(context.Context, address.Address, address.Address) (bool, error) {
	return false, nil
}

// start starts a server with an archive, as its ids are in the copies.
func start(t *testing.T) *servertest.Server {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return servertest.NewWith(t, func(c *server.Config) { c.Store, c.AllowPlain = db, true },
		archive.New(db, archive.Options{Contacts: nobody{}}), carbons.New(), ping.New())
}

const (
	enable  = "<enable xmlns='urn:xmpp:carbons:2'/>"
	disable = "<disable xmlns='urn:xmpp:carbons:2'/>"
)

// copied wraps a pattern.
func copied(what, inner string) string {
	return "<message from='romeo@example.org'><" + what + " xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>" +
		strings.Replace(inner, "<message", "<message xmlns='jabber:client'", 1) + "</forwarded></" + what + "></message>"
}

// XEP-0280 §6.1, both ways: what romeo's desk sends to juliet or gets from her, his
// phone gets a copy of, or does not.
func TestRules(t *testing.T) {
	const muc = "<x xmlns='http://jabber.org/protocol/muc#user'/>"
	for name, tt := range map[string]struct {
		message        string
		sent, received bool
	}{
		"chat":                    {"<message type='chat'><body>x</body></message>", true, true},
		"chat without body":       {"<message type='chat'><x xmlns='u'/></message>", true, true},
		"normal":                  {"<message><body>x</body></message>", true, true},
		"normal, said so":         {"<message type='normal'><body>x</body></message>", true, true},
		"normal without body":     {"<message><x xmlns='u'/></message>", false, false},
		"of no type":              {"<message type='love'><body>x</body></message>", true, true},
		"chat state":              {"<message><active xmlns='http://jabber.org/protocol/chatstates'/></message>", true, true},
		"receipt":                 {"<message><received xmlns='urn:xmpp:receipts' id='1'/></message>", true, true},
		"marker":                  {"<message><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>", true, true},
		"headline":                {"<message type='headline'><body>x</body></message>", false, false},
		"headline marker":         {"<message type='headline'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>", true, true},
		"groupchat":               {"<message type='groupchat'><body>x</body></message>", false, false},
		"private":                 {"<message type='chat'><body>x</body><private xmlns='urn:xmpp:carbons:2'/></message>", false, false},
		"no-copy":                 {"<message type='chat'><body>x</body><no-copy xmlns='urn:xmpp:hints'/></message>", false, false},
		"private of another kind": {"<message type='chat'><body>x</body><private xmlns='u'/></message>", true, true},
		"a copy":                  {"<message type='chat'><received xmlns='urn:xmpp:carbons:2'/></message>", false, false},
		"direct invitation":       {"<message><x xmlns='jabber:x:conference' jid='r@c'/></message>", true, true},
		"mediated invitation":     {"<message><x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b'/></x></message>", true, true},
		"private in a room":       {"<message type='chat'><body>x</body>" + muc + "</message>", true, false},
		"error":                   {"<message type='error' id='1'><body>x</body></message>", true, true},
		"error of nothing":        {"<message type='error'><body>x</body></message>", false, false},
		"error in a room":         {"<message type='error' id='1'>" + muc + "</message>", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			desk := servertest.Online(t, s, "romeo@example.org/desk")
			phone := servertest.Online(t, s, "romeo@example.org/phone")
			juliet := servertest.Online(t, s, "juliet@example.org/balcony")
			phone.Request("set", "", enable)
			for _, way := range []struct {
				from, to *servertest.Client
				what     string
				copied   bool
			}{{desk, juliet, "sent", tt.sent}, {juliet, desk, "received", tt.received}} {
				m := strings.Replace(tt.message, "<message", "<message to='"+way.to.JID.String()+"'", 1)
				way.from.Send(m)
				way.from.Drain()
				way.to.Expect(strings.Replace(m, "<message", "<message from='"+way.from.JID.String()+"'", 1))
				if way.copied {
					n := phone.Expect(copied(way.what, m))
					if got := n.Attr("type"); got != typeOf(tt.message) {
						t.Errorf("the copy is of type %q", got)
					}
				}
				phone.ExpectNothing()
			}
		})
	}
}

func typeOf(message string) string {
	_, after, ok := strings.Cut(message, "type='")
	if !ok {
		return ""
	}
	typ, _, _ := strings.Cut(after, "'")
	return typ
}

// Copies of what was sent bear the id in the sender's archive, those of what was
// received the one with which it came.
func TestArchiveIDs(t *testing.T) {
	s := start(t)
	desk := servertest.Online(t, s, "romeo@example.org/desk")
	phone := servertest.Online(t, s, "romeo@example.org/phone")
	juliet := servertest.Online(t, s, "juliet@example.org/balcony")
	phone.Request("set", "", enable)
	var ids []string
	for _, way := range []struct {
		from *servertest.Client
		to   string
		what string
	}{{desk, "juliet@example.org", "sent"}, {juliet, "romeo@example.org/desk", "received"}} {
		way.from.Send("<message to='" + way.to + "' type='chat'><body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='forged'/></message>")
		n := phone.Expect(copied(way.what, "<message type='chat'><body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org'/></message>"))
		ids = append(ids, idsBy(n.Child(carbons.NS, way.what).Child("urn:xmpp:forward:0", "forwarded").Child("jabber:client", "message"), "romeo@example.org")...)
	}
	// XEP-0313 §3: whom the message is for does not see it.
	if got := juliet.Expect("<message><body>x</body></message>"); len(idsBy(got, "romeo@example.org")) != 0 {
		t.Errorf("juliet got %s", got.Append(nil))
	}
	desk.Drain()
	desk.Send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
	var archived []string
	for range 2 {
		archived = append(archived, desk.Expect("<message><result xmlns='urn:xmpp:mam:2'/></message>").Children[0].Attr("id"))
	}
	if len(ids) != 2 || ids[0] != archived[0] || ids[1] != archived[1] {
		t.Errorf("copies with %v, archived as %v", ids, archived)
	}
}

func idsBy(n *xmppstream.Node, by string) (ids []string) {
	for _, c := range n.Children {
		if c.Is("urn:xmpp:sid:0", "stanza-id") && c.Attr("by") == by {
			ids = append(ids, c.Attr("id"))
		}
	}
	return ids
}

// Who gets copies: the others that have asked for them, once each.
func TestWho(t *testing.T) {
	s := start(t)
	desk := servertest.Online(t, s, "romeo@example.org/desk")
	phone := servertest.Online(t, s, "romeo@example.org/phone")
	tablet := servertest.Online(t, s, "romeo@example.org/tablet")
	juliet := servertest.Online(t, s, "juliet@example.org/balcony")
	desk.Request("set", "", enable)
	phone.Request("set", "", enable)
	phone.Request("set", "", enable) // §11.1: is no error
	tablet.Request("set", "", enable)
	tablet.Request("set", "", disable)

	desk.Send("<message to='juliet@example.org' type='chat'><body>1</body></message>")
	juliet.Expect("<message/>")
	phone.Expect(copied("sent", "<message><body>1</body></message>"))

	// To the account it goes to all by itself, which is no copy.
	juliet.Send("<message to='romeo@example.org' type='chat'><body>2</body></message>")
	for _, c := range []*servertest.Client{desk, phone, tablet} {
		c.Expect("<message from='juliet@example.org/balcony'><body>2</body></message>")
	}
	// The most available get it, the others a copy.
	phone.Send("<presence><priority>5</priority></presence>")
	phone.Drain()
	juliet.Send("<message to='romeo@example.org' type='chat'><body>3</body></message>")
	phone.Expect("<message from='juliet@example.org/balcony'><body>3</body></message>")
	desk.Expect(copied("received", "<message><body>3</body></message>"))

	// From one client to another of the same account: neither gets a copy.
	desk.Send("<message to='romeo@example.org/phone' type='chat'><body>4</body></message>")
	phone.Expect("<message from='romeo@example.org/desk'><body>4</body></message>")
	tablet.Request("set", "", enable)
	desk.Send("<message to='romeo@example.org/phone' type='chat'><body>5</body></message>")
	phone.Expect("<message from='romeo@example.org/desk'><body>5</body></message>")
	tablet.Expect(copied("received", "<message from='romeo@example.org/desk'><body>5</body></message>"))
	for _, c := range []*servertest.Client{desk, phone, tablet, juliet} {
		c.ExpectNothing()
	}
}

func TestRequests(t *testing.T) {
	s := start(t)
	c := servertest.Online(t, s, "romeo@example.org/desk")
	servertest.Online(t, s, "juliet@example.org/balcony")
	for name, tt := range map[string]struct{ typ, to, payload, condition string }{
		"for another":      {"set", "juliet@example.org", enable, "forbidden"},
		"a question":       {"get", "", enable, "bad-request"},
		"something else":   {"set", "", "<x xmlns='urn:xmpp:carbons:2'/>", "service-unavailable"},
		"asked the server": {"set", "example.org", enable, "service-unavailable"},
	} {
		if got := c.RequestError(tt.typ, tt.to, tt.payload); got != tt.condition {
			t.Errorf("%s: %s, want %s", name, got, tt.condition)
		}
	}
}

// Carbons can be had while binding (XEP-0386).
func TestBindInline(t *testing.T) {
	s := start(t)
	desk := servertest.Online(t, s, "romeo@example.org/desk")
	juliet := servertest.Online(t, s, "juliet@example.org/balcony")
	c := servertest.Connect(t, s, "example.org")
	if offer := string(c.Features.Append(nil)); !strings.Contains(offer, "<feature var='urn:xmpp:carbons:2'/>") {
		t.Errorf("not offered in %s", offer)
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00romeo\x00" + servertest.Password))
	c.Send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + plain +
		"</initial-response><bind xmlns='urn:xmpp:bind:0'>" + enable + "</bind></authenticate>")
	c.Expect("<success xmlns='urn:xmpp:sasl:2'><bound xmlns='urn:xmpp:bind:0'/></success>")
	c.Expect("<stream:features/>")
	desk.Send("<message to='juliet@example.org' type='chat'><body>1</body></message>")
	juliet.Expect("<message/>")
	c.Expect(copied("sent", "<message><body>1</body></message>"))
}
