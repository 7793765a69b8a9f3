package clientstate_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"xmpp-gw/server"
	"xmpp-gw/server/carbons"
	"xmpp-gw/server/clientstate"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/servertest"
)

const (
	inactive = "<inactive xmlns='urn:xmpp:csi:0'/>"
	active   = "<active xmlns='urn:xmpp:csi:0'/>"
)

// pair is a phone and somebody who sends it things.
func pair(t *testing.T) (phone, juliet *servertest.Client) {
	s := servertest.New(t, clientstate.New(), carbons.New(), ping.New())
	return servertest.Online(t, s, "romeo@example.org/phone"), servertest.Online(t, s, "juliet@example.org/balcony")
}

func to(stanza string) string {
	i := strings.IndexAny(stanza, " />")
	return stanza[:i] + " to='romeo@example.org/phone'" + stanza[i:]
}

// What goes to an inactive client at once, what waits, and what never comes.
func TestRules(t *testing.T) {
	const now, held, dropped = "at once", "held", "dropped"
	wrap := func(inner string) string {
		return "<message type='chat'><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>" + inner + "</message></forwarded></received></message>"
	}
	for name, tt := range map[string]struct{ stanza, want string }{
		"body":                   {"<message type='chat'><body>x</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>", now},
		"room":                   {"<message type='groupchat'><body>x</body></message>", now},
		"subject":                {"<message><subject>x</subject></message>", now},
		"error":                  {"<message type='error'/>", now},
		"encrypted":              {"<message type='chat'><encrypted xmlns='eu.siacs.conversations.axolotl'/><store xmlns='urn:xmpp:hints'/></message>", now},
		"call":                   {"<message type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='1'/></message>", now},
		"invitation":             {"<message><x xmlns='jabber:x:conference' jid='r@c'/></message>", now},
		"empty":                  {"<message/>", dropped},
		"chat state":             {"<message type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/><no-store xmlns='urn:xmpp:hints'/><thread>1</thread></message>", dropped},
		"chat state to be kept":  {"<message type='chat'><gone xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/></message>", held},
		"receipt":                {"<message type='chat'><received xmlns='urn:xmpp:receipts' id='1'/><store xmlns='urn:xmpp:hints'/></message>", held},
		"marker":                 {"<message type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>", held},
		"event":                  {"<message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'/></message>", held},
		"copy of what was sent":  {"<message type='chat'><sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>x</body></message></forwarded></sent></message>", held},
		"copy of a body":         {wrap("<body>x</body>"), now},
		"copy of a chat state":   {wrap("<paused xmlns='http://jabber.org/protocol/chatstates'/>"), dropped},
		"copy of a receipt":      {wrap("<received xmlns='urn:xmpp:receipts' id='1'/>"), held},
		"copy of what is new":    {wrap("<new xmlns='urn:example:new'/>"), now},
		"copy of nothing":        {"<message type='chat'><received xmlns='urn:xmpp:carbons:2'/></message>", now},
		"presence":               {"<presence/>", held},
		"presence that goes":     {"<presence type='unavailable'/>", held},
		"presence error":         {"<presence type='error'/>", now},
		"request":                {"<iq type='get' id='1'><query xmlns='jabber:iq:version'/></iq>", now},
		"answer":                 {"<iq type='result' id='1'/>", now},
		"something that is new":  {"<message><new xmlns='urn:example:new'/></message>", now},
		"body of something else": {"<message><body xmlns='urn:example:new'/></message>", now},
	} {
		t.Run(name, func(t *testing.T) {
			phone, juliet := pair(t)
			phone.Send(inactive)
			phone.Drain()
			juliet.Send(to(tt.stanza))
			juliet.Drain()
			// A message cannot be told from the pong by whether it comes first, as the
			// pong takes along what is held: so look for how long nothing comes.
			if tt.want == now {
				phone.Expect(tt.stanza)
				return
			}
			if _, err := peek(phone); err == nil {
				t.Fatal("it came at once")
			}
			phone.Send(active)
			if tt.want == held {
				phone.Expect(tt.stanza)
			}
			phone.ExpectNothing()
		})
	}
}

// peek waits a moment for a byte.
func peek(c *servertest.Client) (byte, error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	var b [1]byte
	_, err := c.Conn.Read(b[:])
	return b[0], err
}

// Of each address only the last presence is sent, in its place among the rest.
func TestLastPresence(t *testing.T) {
	phone, juliet := pair(t)
	phone.Send(inactive)
	phone.Drain()
	for i := range 50 {
		juliet.Sendf("<presence to='romeo@example.org/phone' id='%d'/>", i)
		if i == 10 {
			juliet.Send("<message to='romeo@example.org/phone' type='chat' id='receipt'><received xmlns='urn:xmpp:receipts' id='1'/></message>")
		}
	}
	juliet.Send("<presence to='romeo@example.org/phone' type='unavailable' id='gone'/>")
	juliet.Drain()
	// A message takes what waits along, in order.
	juliet.Send("<message to='romeo@example.org/phone' type='chat'><body>x</body></message>")
	phone.Expect("<message id='receipt'/>")
	phone.Expect("<presence id='gone'/>")
	phone.Expect("<message><body>x</body></message>")
	// And then it goes on.
	juliet.Send("<presence to='romeo@example.org/phone' id='a'/><presence to='romeo@example.org/phone' id='b'/>")
	juliet.Drain()
	// XEP-0352 §5.1: the answer to a request comes after what becoming active sets free.
	phone.Send(active + "<iq type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
	phone.Expect("<presence id='b'/>")
	phone.Expect("<iq id='p'/>")
	juliet.Send("<presence to='romeo@example.org/phone' id='c'/><presence to='romeo@example.org/phone' id='d'/>")
	phone.Expect("<presence id='c'/>")
	phone.Expect("<presence id='d'/>")
	phone.ExpectNothing()
}

// What waits is bounded: then it is sent, and nothing is lost.
func TestMany(t *testing.T) {
	phone, juliet := pair(t)
	phone.Send(inactive)
	phone.Drain()
	const n = 2500
	for i := range n {
		juliet.Sendf("<message to='romeo@example.org/phone' type='chat'><received xmlns='urn:xmpp:receipts' id='%d'/></message>", i)
	}
	juliet.Drain()
	phone.Send(active)
	for i := range n {
		phone.Expect(fmt.Sprintf("<message><received xmlns='urn:xmpp:receipts' id='%d'/></message>", i))
	}
	phone.ExpectNothing()
}

// A client that resumes is active (XEP-0352 §5.2), and has what was held back.
func TestResumed(t *testing.T) {
	s := servertest.New(t, clientstate.New(), ping.New())
	juliet := servertest.Online(t, s, "juliet@example.org/balcony")
	phone := servertest.Online(t, s, "romeo@example.org/phone")
	phone.Send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	id := phone.Expect("<enabled xmlns='urn:xmpp:sm:3' id='*'/>").Attr("id")
	phone.Send(inactive)
	phone.Send("<r xmlns='urn:xmpp:sm:3'/>")
	phone.Expect("<a xmlns='urn:xmpp:sm:3' h='0'/>")
	juliet.Send(to("<presence id='1'/>"))
	juliet.Drain()
	phone.Cut()
	for session := s.Session(phone.JID); !session.Waiting(); {
		time.Sleep(time.Millisecond)
	}
	juliet.Send(to("<presence id='2'/>"))
	juliet.Drain()
	again := servertest.Connect(t, s, "example.org")
	again.Login("romeo")
	again.Send("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='0'/>")
	again.Expect("<resumed xmlns='urn:xmpp:sm:3'/>")
	again.Expect("<presence id='2'/>")
	again.Expect("<r xmlns='urn:xmpp:sm:3'/>")
	juliet.Send(to("<presence id='3'/>"))
	again.Expect("<presence id='3'/>")
}

// A client may be neither, and it may say while binding what it is.
func TestStates(t *testing.T) {
	s := servertest.NewWith(t, func(c *server.Config) { c.AllowPlain = true }, clientstate.New(), ping.New())
	phone := servertest.Online(t, s, "romeo@example.org/phone")
	if phone.Features.Child(clientstate.NS, "csi") == nil {
		t.Error("not offered")
	}
	phone.Send("<asleep xmlns='urn:xmpp:csi:0'/>")
	phone.ExpectStreamError("unsupported-stanza-type")

	c := servertest.Connect(t, s, "example.org")
	plain := base64.StdEncoding.EncodeToString([]byte("\x00romeo\x00" + servertest.Password))
	c.Send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + plain +
		"</initial-response><bind xmlns='urn:xmpp:bind:0'>" + inactive + "</bind></authenticate>")
	jid := c.Expect("<success xmlns='urn:xmpp:sasl:2'><bound xmlns='urn:xmpp:bind:0'/></success>").ChildText("urn:xmpp:sasl:2", "authorization-identifier")
	c.Expect("<stream:features/>")
	juliet := servertest.Online(t, s, "juliet@example.org/balcony")
	juliet.Sendf("<presence to='%s' id='1'/><presence to='%s' id='2'/>", jid, jid)
	juliet.Drain()
	c.Send(active)
	c.Expect("<presence id='2'/>")
}
