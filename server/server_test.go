package server_test

import (
	"testing"

	"xmpp-gw/server/servertest"
)

func TestTwoTalk(t *testing.T) {
	s := servertest.New(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
	romeo.Send("<message to='juliet@example.org/balcony' type='chat' id='1'><body>Hi</body></message>")
	juliet.Expect("<message from='romeo@example.org/orchard' to='juliet@example.org/balcony' id='1' type='chat'><body>Hi</body></message>")
	juliet.Send("<message to='romeo@example.org'><body>Who?</body></message>")
	juliet.Expect("<message type='error' from='romeo@example.org'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
	romeo.Send("<presence/>")
	romeo.ExpectNothing()
	juliet.Send("<message to='romeo@example.org'><body>Who?</body></message>")
	romeo.Expect("<message from='juliet@example.org/balcony' to='romeo@example.org'><body>Who?</body></message>")
	juliet.ExpectNothing()
	romeo.Close()
	juliet.Close()
}
