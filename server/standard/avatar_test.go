package standard_test

import (
	"testing"

	"xmpp-gw/server/servertest"
	"xmpp-gw/server/standard"
)

// A photo in a vCard is announced to who sees the presence, archived messages bear
// their ids in copies, and whom one has blocked hears of no events: what needs the
// modules in their order.
func TestOrder(t *testing.T) {
	s := start(t, standard.Options{})
	juliet := servertest.Online(t, s, "juliet@example.org/balcony")
	romeo := servertest.Online(t, s, "romeo@example.org/orchard")
	phone := servertest.Online(t, s, "romeo@example.org/phone")
	romeo.Send("<presence type='subscribe' to='juliet@example.org'/>")
	romeo.Drain()
	juliet.Send("<presence type='subscribed' to='romeo@example.org'/>")
	for _, c := range []*servertest.Client{juliet, romeo, phone} {
		c.Drain()
	}
	juliet.Send("<iq type='set' id='v'><vCard xmlns='vcard-temp'><PHOTO><BINVAL>aGVsbG8=</BINVAL></PHOTO></vCard></iq>")
	juliet.Drain()
	const hash = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"
	romeo.Expect("<presence from='juliet@example.org/balcony'><x xmlns='vcard-temp:x:update'><photo>" + hash + "</photo></x></presence>")
	phone.Drain()

	phone.Send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
	phone.Expect("<iq type='result' id='c'/>")
	romeo.Send("<message to='juliet@example.org' type='chat'><body>Hi</body></message>")
	phone.Expect("<message><sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'>" +
		"<body>Hi</body><stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='*'/></message></forwarded></sent></message>")
	juliet.Expect("<message><body>Hi</body><stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.org' id='*'/></message>")
}
