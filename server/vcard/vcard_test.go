package vcard_test

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/pep"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
	"xmpp-gw/server/vcard"
)

// world is a server on which juliet and romeo see each other, and tybalt sees nobody.
type world struct {
	*servertest.Server
	db                    store.Store
	romeo, juliet, tybalt *servertest.Client
}

type all struct{ node string }

// Wants and Interests are those of a client that wants to know of avatars.
func (a all) Wants(_ *server.Session, feature string) bool { return feature == a.node+"+notify" }
func (a all) Interests(*server.Session, string) []string   { return nil }

func start(t *testing.T, public bool) *world {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{db: db}
	w.open(t, public)
	befriend(w.romeo, w.juliet)
	befriend(w.juliet, w.romeo)
	return w
}

// befriend lets a see b's presence.
func befriend(a, b *servertest.Client) {
	a.Send("<presence type='subscribe' to='" + b.JID.Bare().String() + "'/>")
	a.Drain()
	b.Send("<presence type='subscribed' to='" + a.JID.Bare().String() + "'/>")
	b.Drain()
	a.Drain()
}

func (w *world) open(t *testing.T, public bool) {
	contacts := roster.New(roster.Limits{})
	events := pep.New(w.db, contacts, all{vcard.NodeMetadata})
	w.Server = servertest.NewWith(t, func(c *server.Config) { c.Store = w.db },
		vcard.New(w.db, vcard.Options{Public: public, Contacts: contacts, Avatars: events}), contacts, events, ping.New())
	w.romeo = servertest.Online(t, w.Server, "romeo@example.org/orchard")
	w.juliet = servertest.Online(t, w.Server, "juliet@example.org/balcony")
	w.tybalt = servertest.Online(t, w.Server, "tybalt@example.org/square")
	w.romeo.Drain()
}

const get = "<vCard xmlns='vcard-temp'/>"

// image is a picture of n bytes: PNG, as far as its first bytes tell.
func image(n int) (data []byte, hash, base string) {
	data = append([]byte("\x89PNG\x0d\x0a\x1a\x0a"), make([]byte, n)...)
	sum := sha1.Sum(data)
	return data, hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(data)
}

func card(photo string) string {
	return "<vCard xmlns='vcard-temp'><FN>Juliet</FN>" + photo + "</vCard>"
}

func photo(base string) string {
	return "<PHOTO><TYPE>image/jpeg</TYPE><BINVAL>\n" + base + "\n</BINVAL></PHOTO>"
}

func updated(hash string) string {
	return "<presence from='juliet@example.org/balcony'><x xmlns='vcard-temp:x:update'><photo>" + hash + "</photo></x></presence>"
}

// Who may see and set a vCard.
func TestWho(t *testing.T) {
	for _, public := range []bool{false, true} {
		w := start(t, public)
		if got := w.juliet.RequestError("get", "", get); got != "item-not-found" {
			t.Errorf("none yet: %s", got)
		}
		if n := w.juliet.Request("set", "", card("")); n != nil {
			t.Errorf("set: %s", n.Append(nil))
		}
		for _, to := range []string{"", "juliet@example.org"} {
			if n := w.juliet.Request("get", to, get); n.ChildText(vcard.NS, "FN") != "Juliet" {
				t.Errorf("own: %s", n.Append(nil))
			}
		}
		if n := w.romeo.Request("get", "juliet@example.org", get); n.ChildText(vcard.NS, "FN") != "Juliet" {
			t.Errorf("a contact's: %s", n.Append(nil))
		}
		if public {
			if n := w.tybalt.Request("get", "juliet@example.org", get); n.ChildText(vcard.NS, "FN") != "Juliet" {
				t.Errorf("a stranger's: %s", n.Append(nil))
			}
		} else if got := w.tybalt.RequestError("get", "juliet@example.org", get); got != "service-unavailable" {
			t.Errorf("a stranger's: %s", got)
		}
		// What there is not is answered as what one must not see.
		if got := w.tybalt.RequestError("get", "nurse@example.org", get); got != "service-unavailable" {
			t.Errorf("nobody's: %s", got)
		}
		if got := w.romeo.RequestError("set", "juliet@example.org", card("")); got != "forbidden" {
			t.Errorf("another's: %s", got)
		}
		if got := w.romeo.RequestError("get", "example.org", get); got != "service-unavailable" {
			t.Errorf("the server's: %s", got)
		}
		_, _, large := image(400 << 10)
		if got := w.romeo.RequestError("set", "", card("<NOTE>"+large[:vcard.MaxBytes]+"</NOTE>")); got != "policy-violation" {
			t.Errorf("a long one: %s", got)
		}
		if got := w.romeo.RequestError("get", "", get); got != "item-not-found" {
			t.Errorf("a long one is there: %s", got)
		}
	}
}

// A vCard's photo is published as an avatar, and its hash stands in presence.
func TestFromVCard(t *testing.T) {
	w := start(t, false)
	data, hash, base := image(500)
	w.juliet.Send("<iq type='set' id='1'>" + card(photo(base)) + "</iq>")
	w.juliet.ExpectAll("<iq type='result' id='1'/>", updated(hash),
		"<message from='juliet@example.org'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:xmpp:avatar:metadata'/></event></message>")
	w.romeo.ExpectAll(updated(hash), "<message from='juliet@example.org'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:xmpp:avatar:metadata'><item id='"+hash+
		"'><metadata xmlns='urn:xmpp:avatar:metadata'><info id='"+hash+"' bytes='508' type='image/png'/></metadata></item></items></event></message>")
	n := w.romeo.Request("get", "juliet@example.org", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:data'/></pubsub>")
	item := n.Children[0].Children[0]
	got, err := base64.StdEncoding.DecodeString(item.Children[0].Text)
	if err != nil || string(got) != string(data) || item.Attr("id") != hash {
		t.Errorf("published %s", n.Append(nil))
	}
	// The same photo again is nothing new, and without it the avatar goes.
	w.juliet.Request("set", "", card(photo(base)+"<NICKNAME>J</NICKNAME>"))
	w.romeo.ExpectNothing()
	w.juliet.Send("<iq type='set' id='2'>" + card("") + "</iq>")
	w.romeo.ExpectAll("<presence><x xmlns='vcard-temp:x:update'><photo/></x></presence>", "<message><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:xmpp:avatar:metadata'><item><metadata xmlns='urn:xmpp:avatar:metadata'/></item></items></event></message>")
	w.romeo.ExpectNothing()
}

// publish are the two requests by which a client publishes an avatar.
func publish(c *servertest.Client, id, base, info, access string) {
	c.T.Helper()
	options := "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#access_model'><value>" + access + "</value></field></x></publish-options>"
	for _, p := range [][2]string{
		{vcard.NodeData, "<data xmlns='urn:xmpp:avatar:data'>" + base + "</data>"},
		{vcard.NodeMetadata, "<metadata xmlns='urn:xmpp:avatar:metadata'>" + info + "</metadata>"},
	} {
		c.Send("<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='" + p[0] + "'><item id='" + id + "'>" + p[1] + "</item></publish>" + options + "</pubsub></iq>")
		for {
			if n := c.Read(); n.Name == "iq" {
				if n.Attr("type") != "result" {
					c.T.Fatalf("%s", n.Append(nil))
				}
				break
			}
		}
	}
	c.Drain()
}

// hashOf is the photo in the vCard as romeo sees it, "" for none.
func (w *world) hashOf(t *testing.T) string {
	t.Helper()
	w.romeo.Drain()
	w.romeo.Send("<iq type='get' id='v' to='juliet@example.org'>" + get + "</iq>")
	n := w.romeo.Expect("<iq id='v'/>").Child(vcard.NS, "vCard")
	if n == nil || n.Child(vcard.NS, "PHOTO") == nil {
		return ""
	}
	data, err := base64.StdEncoding.DecodeString(n.Child(vcard.NS, "PHOTO").ChildText(vcard.NS, "BINVAL"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(data)
	return hex.EncodeToString(sum[:])
}

// A published avatar is the vCard's photo, if all may see it who see the vCard.
func TestFromAvatar(t *testing.T) {
	_, hash, base := image(500)
	info := "<info id='" + hash + "' bytes='508' type='image/png'/>"
	for name, tt := range map[string]struct {
		id, info, access string
		public, photo    bool
	}{
		"presence":                {hash, info, "presence", false, true},
		"presence, cards for all": {hash, info, "presence", true, false},
		"open":                    {hash, info, "open", true, true},
		"whitelist":               {hash, info, "whitelist", false, false},
		"elsewhere":               {hash, "<info id='" + hash + "' url='https://example.org/a.png' bytes='508' type='image/png'/>", "open", false, false},
		"here and elsewhere":      {hash, "<info id='x' url='https://example.org/a.png'/>" + info, "open", false, true},
		"another hash":            {strings.Repeat("0", 40), strings.ReplaceAll(info, hash, strings.Repeat("0", 40)), "open", false, false},
		"no data":                 {hash, strings.ReplaceAll(info, hash, strings.Repeat("0", 40)), "open", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, tt.public)
			w.juliet.Request("set", "", card("<NOTE>stays</NOTE>"))
			publish(w.juliet, tt.id, base, tt.info, tt.access)
			if got := w.hashOf(t); (got == hash) != tt.photo {
				t.Errorf("photo %q, want it %v", got, tt.photo)
			}
			if n := w.juliet.Request("get", "", get); n.ChildText(vcard.NS, "NOTE") != "stays" {
				t.Errorf("the rest of the vCard: %s", n.Append(nil))
			}
		})
	}
}

// An avatar that goes takes the photo along, however it goes.
func TestAvatarGone(t *testing.T) {
	_, hash, base := image(500)
	info := "<info id='" + hash + "' bytes='508' type='image/png'/>"
	for name, request := range map[string]string{
		"retracted": "<pubsub xmlns='http://jabber.org/protocol/pubsub'><retract node='urn:xmpp:avatar:metadata'><item id='" + hash + "'/></retract></pubsub>",
		"purged":    "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><purge node='urn:xmpp:avatar:metadata'/></pubsub>",
		"deleted":   "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><delete node='urn:xmpp:avatar:metadata'/></pubsub>",
		"disabled":  "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:avatar:metadata'><item id='current'><metadata xmlns='urn:xmpp:avatar:metadata'/></item></publish></pubsub>",
	} {
		w := start(t, false)
		publish(w.juliet, hash, base, info, "presence")
		if got := w.hashOf(t); got != hash {
			t.Fatalf("%s: before: %q", name, got)
		}
		w.juliet.Send("<iq type='set' id='1'>" + request + "</iq>")
		w.juliet.Drain()
		if got := w.hashOf(t); got != "" {
			t.Errorf("%s: there is still %q", name, got)
		}
	}
}

// Presence, broadcast and directed, bears the hash, unless the client says that there
// is none (XEP-0398 §4).
func TestPresence(t *testing.T) {
	_, hash, base := image(500)
	w := start(t, false)
	w.juliet.Request("set", "", card("<NOTE/>"))
	w.juliet.Send("<presence/>")
	if n := w.romeo.Expect("<presence from='juliet@example.org/balcony'/>"); n.Child(vcard.NSUpdate, "x") != nil {
		t.Errorf("without a photo: %s", n.Append(nil))
	}
	publish(w.juliet, hash, base, "<info id='"+hash+"' bytes='508' type='image/png'/>", "presence")
	w.romeo.ExpectAll(updated(hash), "<message/>")
	for name, tt := range map[string]struct{ x, want string }{
		"nothing":       {"", hash},
		"not ready":     {"<x xmlns='vcard-temp:x:update'/>", hash},
		"an old one":    {"<x xmlns='vcard-temp:x:update'><photo>0123</photo></x>", hash},
		"the same":      {"<x xmlns='vcard-temp:x:update'><photo>" + hash + "</photo></x>", hash},
		"none, he says": {"<x xmlns='vcard-temp:x:update'><photo/></x>", ""},
	} {
		for _, to := range []string{"", " to='romeo@example.org/orchard'", " to='tybalt@example.org'"} {
			w.juliet.Send("<presence" + to + "><show>away</show>" + tt.x + "</presence>")
			c := w.romeo
			if strings.Contains(to, "tybalt") {
				c = w.tybalt
			}
			n := c.Expect("<presence from='juliet@example.org/balcony'><show>away</show></presence>")
			var photos []string
			for _, x := range n.Children {
				if x.Is(vcard.NSUpdate, "x") {
					photos = append(photos, x.ChildText(vcard.NSUpdate, "photo"))
				}
			}
			if len(photos) != 1 || photos[0] != tt.want {
				t.Errorf("%s%s: %s", name, to, n.Append(nil))
			}
		}
	}
	// It stays over a restart, without the vCard being read.
	w.Stop(t)
	w.db = counted{w.db, t}
	w.open(t, false)
	w.juliet.Send("<presence/>")
	w.romeo.Expect(updated(hash))
}

type counted struct {
	store.Store
	t *testing.T
}

func (c counted) Document(ctx context.Context, owner address.Address, kind, key string) ([]byte, error) {
	if kind == "vcard" && key == "vcard" {
		c.t.Error("the vCard was read for a presence")
	}
	return c.Store.Document(ctx, owner, kind, key)
}

// What was written past the server, as by an import, is announced once the server has
// been told to forget what it knew.
func TestForget(t *testing.T) {
	w := start(t, false)
	juliet := w.juliet.JID.Bare()
	w.juliet.Request("set", "", card("")) // its photo, none, is in memory
	w.juliet.Send("<presence type='unavailable'/>")
	w.juliet.Close()
	_, hash, base := image(500)
	x, err := xmppstream.Parse([]byte(card(photo(base))), xmppstream.SessionLimits())
	if err != nil {
		t.Fatal(err)
	}
	if err := vcard.Put(t.Context(), w.db, juliet, x); err != nil {
		t.Fatal(err)
	}
	w.Server.Forget(juliet)
	w.romeo.Drain()
	w.juliet = servertest.Online(t, w.Server, "juliet@example.org/balcony")
	w.romeo.Expect(updated(hash))
}

// A session that is not there is not told, and not made to be there.
func TestNotAvailable(t *testing.T) {
	w := start(t, false)
	_, hash, base := image(10)
	w.juliet.Send("<presence type='unavailable'/>")
	w.romeo.Expect("<presence type='unavailable'/>")
	w.juliet.Send("<iq type='set' id='1'>" + card(photo(base)) + "</iq>")
	w.juliet.Drain()
	w.romeo.Expect("<message/>")
	w.romeo.ExpectNothing()
	if s := w.Session(w.juliet.JID); s.Available() {
		t.Error("juliet is there")
	}
	w.juliet.Send("<presence/>")
	w.romeo.Expect(updated(hash))
}
