package node_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/archive"
	"xmpp-gw/server/servertest"
)

// sent is how many messages are sent, window how many of them may be under way,
// and killAfter how many must be acknowledged before the server is killed.
const sent, window, killAfter = 1000, 200, 500

// Whatever the server acknowledged (XEP-0198 §4) is there after kill -9, in the
// archive or as an offline message, once; whoever the addressee is at that moment.
func TestKill(t *testing.T) {
	for _, c := range []struct {
		name    string
		choice  archive.Choice
		arrange func(t *testing.T, c *child) *servertest.Client // the addressee's session, nil for none
		found   func(t *testing.T, c *child, old *servertest.Client) []int
	}{
		{"archive, addressee offline", archive.Always, nil, archived},
		{"archive, addressee online", archive.Always, deaf, archived},
		{"offline", archive.Never, nil, waiting},
		{"online and acknowledges nothing", archive.Never, deaf, waiting},
		{"online without stream management, and does not read", archive.Never, unmanaged, readAndWaiting},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			srv := startChild(t, dir, c.choice)
			var old *servertest.Client
			if c.arrange != nil {
				old = c.arrange(t, srv)
			}
			acked := sendUntilKilled(t, srv)
			if acked < killAfter || acked == sent {
				t.Fatalf("%d of %d were acknowledged: the end did not come in the middle", acked, sent)
			}
			srv = startChild(t, dir, c.choice)
			seen := map[int]int{}
			for _, n := range c.found(t, srv, old) {
				seen[n]++
			}
			for n := range acked {
				if seen[n] == 0 {
					t.Errorf("message %d of %d that were acknowledged is lost", n, acked)
				}
			}
			for n, times := range seen {
				if times > 1 {
					t.Errorf("message %d is there %d times", n, times)
				}
			}
			t.Logf("%d acknowledged, %d found", acked, len(seen))
		})
	}
}

// sendUntilKilled sends messages with stream management and gives how many the
// server has acknowledged for certain.
func sendUntilKilled(t *testing.T, srv *child) (acked int) {
	romeo := srv.dial(t, "romeo", "orchard")
	romeo.Send("<enable xmlns='" + xmppstream.NSSM + "'/>")
	romeo.Expect("<enabled xmlns='" + xmppstream.NSSM + "'/>")
	credit := make(chan struct{}, sent) // so that the end comes in the middle
	for range window {
		credit <- struct{}{}
	}
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		for n := range sent {
			select {
			case <-credit:
			case <-gone:
				return
			}
			if _, err := fmt.Fprintf(romeo.Conn, "<message to='juliet@%s' type='chat' id='m%d'><body>%d</body></message><r xmlns='%s'/>",
				domain, n, n, xmppstream.NSSM); err != nil {
				return
			}
		}
	}()
	for {
		e, err := romeo.Next()
		if err != nil {
			return acked
		}
		n, err := e.Node()
		if err != nil {
			return acked
		}
		if n.Is(xmppstream.NSSM, "a") {
			h, err := strconv.Atoi(n.Attr("h"))
			if err != nil {
				t.Fatal(err)
			}
			for ; acked < h; acked++ {
				credit <- struct{}{}
			}
			if acked >= killAfter && srv.cmd != nil {
				srv.kill() // acknowledgements that are on their way count as well
			}
		}
	}
}

// deaf is online with stream management and acknowledges nothing.
func deaf(t *testing.T, srv *child) *servertest.Client {
	c := srv.dial(t, "juliet", "balcony")
	tuned(c)
	c.Send("<enable xmlns='" + xmppstream.NSSM + "'/><presence/>")
	c.Expect("<enabled xmlns='" + xmppstream.NSSM + "'/>")
	c.Expect("<presence/>")
	return c
}

// unmanaged is online and does not read.
func unmanaged(t *testing.T, srv *child) *servertest.Client {
	c := srv.dial(t, "juliet", "balcony")
	tuned(c)
	c.Send("<presence/>")
	c.Expect("<presence/>")
	return c
}

// archived are the messages in juliet's archive (XEP-0313).
func archived(t *testing.T, srv *child, _ *servertest.Client) (found []int) {
	c := srv.dial(t, "juliet", "tomb")
	const ns = "urn:xmpp:mam:2"
	for after := ""; ; {
		c.Sendf("<iq type='set' id='q'><query xmlns='%s'><set xmlns='http://jabber.org/protocol/rsm'><max>50</max>%s</set></query></iq>", ns, after)
		n := c.Read()
		for ; n.Name == "message"; n = c.Read() {
			m := n.Child(ns, "result").Child("urn:xmpp:forward:0", "forwarded").Child(xmppstream.NSClient, "message")
			found = append(found, number(t, m))
		}
		fin := n.Child(ns, "fin")
		if fin == nil {
			t.Fatalf("the archive answers %s", n.Append(nil))
		}
		if fin.Attr("complete") == "true" {
			return found
		}
		const rsm = "http://jabber.org/protocol/rsm"
		after = "<after>" + fin.Child(rsm, "set").ChildText(rsm, "last") + "</after>"
	}
}

// waiting are the messages that wait for juliet. They may come after the answer to
// what was asked behind the presence, so it is asked until nothing more comes.
func waiting(t *testing.T, srv *child, _ *servertest.Client) (found []int) {
	c := srv.dial(t, "juliet", "tomb")
	c.Send("<presence/>")
	for quiet := 0; quiet < 5; quiet++ {
		time.Sleep(50 * time.Millisecond)
		c.Send("<iq type='get' id='end' to='" + domain + "'><ping xmlns='urn:xmpp:ping'/></iq>")
		for n := c.Read(); n.Attr("id") != "end"; n = c.Read() {
			if n.Name == "message" {
				found, quiet = append(found, number(t, n)), 0
			}
		}
	}
	return found
}

// readAndWaiting also counts what lies in the socket of the session that was: with
// no acknowledgements from the addressee, that is where the server's duty ends. What
// is in both counts once.
func readAndWaiting(t *testing.T, srv *child, old *servertest.Client) []int {
	found := waiting(t, srv, nil)
	have := map[int]bool{}
	for _, n := range found {
		have[n] = true
	}
	for {
		e, err := old.Next()
		if err != nil {
			return found
		}
		if e.Kind != xmppstream.Stanza || string(e.Name) != "message" {
			continue
		}
		n, err := e.Node()
		if err != nil {
			t.Fatal(err)
		}
		if k := number(t, n); !have[k] {
			have[k] = true
			found = append(found, k)
		}
	}
}

// number is which message it is.
func number(t *testing.T, n *xmppstream.Node) int {
	t.Helper()
	if n == nil {
		t.Fatal("no message where one was expected")
	}
	k, err := strconv.Atoi(strings.TrimPrefix(n.Attr("id"), "m"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
