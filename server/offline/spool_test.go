package offline_test

import (
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/offline"
	"xmpp-gw/server/servertest"
)

const sm = "xmlns='urn:xmpp:sm:3'"

func managed(t *testing.T, s *servertest.Server, jid string) *servertest.Client {
	t.Helper()
	c := servertest.Dial(t, s, jid)
	c.Send("<enable " + sm + " resume='true'/>")
	c.Expect("<enabled " + sm + "/>")
	return c
}

// expect is Expect behind any requests for acknowledgements.
func expect(c *servertest.Client, pattern string) {
	c.T.Helper()
	e, err := xmppstream.ParseElement([]byte(pattern), xmppstream.SessionLimits())
	if err != nil {
		c.T.Fatal(err)
	}
	want, err := e.Node()
	if err != nil {
		c.T.Fatal(err)
	}
	n := c.Read()
	for n.Is("urn:xmpp:sm:3", "r") {
		n = c.Read()
	}
	if !servertest.Matches(n, want) {
		c.T.Fatalf("%s: got %s\nwant %s", c.JID, n.Append(nil), pattern)
	}
}

// XEP-0198 §4: what an addressee confirms at once is never written, and
// acknowledged to its sender at once.
func TestConfirmedIsNotWritten(t *testing.T) {
	s := start(t, offline.Limits{}, nil)
	romeo := managed(t, s, "romeo@example.org/orchard")
	plain := servertest.Online(t, s, "juliet@example.org/balcony") // written is received
	romeo.Send("<message to='juliet@example.org/balcony' type='chat'><body>hi</body></message><r " + sm + "/>")
	plain.Expect("<message><body>hi</body></message>")
	begin := time.Now()
	romeo.Expect("<a " + sm + " h='1'/>")
	if waited := time.Since(begin); waited > 200*time.Millisecond {
		t.Errorf("the acknowledgement took %v", waited)
	}
	if n := count(t, s); n != 0 {
		t.Errorf("%d messages were written", n)
	}
}

// What the addressee does not confirm is on disk before the sender is told, and
// goes when it is confirmed; another session is not sent it meanwhile.
func TestUnconfirmedIsWritten(t *testing.T) {
	s := start(t, offline.Limits{}, nil)
	romeo := managed(t, s, "romeo@example.org/orchard")
	slow := managed(t, s, "juliet@example.org/balcony")
	slow.Send("<presence/>")
	expect(slow, "<presence/>")
	romeo.Send("<message to='juliet@example.org/balcony' type='chat'><body>hi</body></message><r " + sm + "/>")
	expect(slow, "<message><body>hi</body></message>")
	romeo.Expect("<a " + sm + " h='1'/>")
	if n := count(t, s); n != 1 {
		t.Fatalf("acknowledged, and %d messages are on disk", n)
	}
	other := servertest.Online(t, s, "juliet@example.org/phone")
	time.Sleep(50 * time.Millisecond) // what waits is read on another goroutine
	other.ExpectNothing()
	slow.Send("<a " + sm + " h='2'/>") // the presence and the message
	eventually(t, s, 0)
	other.ExpectNothing()
}

// A message that was acknowledged and whose addressee is gone waits, once.
func TestAddresseeIsGone(t *testing.T) {
	s := start(t, offline.Limits{}, nil)
	romeo := managed(t, s, "romeo@example.org/orchard")
	slow := managed(t, s, "juliet@example.org/balcony")
	romeo.Send("<message to='juliet@example.org/balcony' type='chat'><body>first</body></message><r " + sm + "/>")
	expect(slow, "<message><body>first</body></message>")
	romeo.Expect("<a " + sm + " h='1'/>")
	romeo.Send("<message to='juliet@example.org/balcony' type='chat'><body>second</body></message><r " + sm + "/>")
	expect(slow, "<message><body>second</body></message>")
	slow.Close() // neither is confirmed
	romeo.Expect("<a " + sm + " h='2'/>")
	eventually(t, s, 2)

	phone := servertest.Dial(t, s, "juliet@example.org/phone")
	phone.Send("<presence/>")
	phone.Expect("<presence/>")
	for _, body := range []string{"first", "second"} {
		phone.Expect("<message><body>" + body + "</body></message>")
	}
	phone.ExpectNothing()
	eventually(t, s, 0)
}

// What waited and is not confirmed waits again.
func TestDeliveryIsNotConfirmed(t *testing.T) {
	s := start(t, offline.Limits{}, nil)
	romeo := servertest.Online(t, s, "romeo@example.org/orchard")
	romeo.Send("<message to='juliet@example.org' type='chat'><body>hi</body></message>")
	romeo.ExpectNothing()
	for range 3 {
		c := managed(t, s, "juliet@example.org/balcony")
		c.Send("<presence/>")
		expect(c, "<presence/>")
		expect(c, "<message><body>hi</body><delay xmlns='urn:xmpp:delay' stamp='*'/></message>")
		c.Close()
		for s.Session(c.JID) != nil {
			time.Sleep(time.Millisecond)
		}
		if n := count(t, s); n != 1 {
			t.Fatalf("%d messages wait", n)
		}
	}
}
