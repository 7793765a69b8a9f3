package offline_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/offline"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

var juliet = address.Address{Local: "juliet", Domain: "example.org"}

func start(t *testing.T, l offline.Limits, configure func(*server.Config)) *servertest.Server {
	s := servertest.NewWith(t, configure, roster.New(roster.Limits{}), offline.New(l))
	s.Account(t, juliet.String())
	return s
}

func count(t *testing.T, s *servertest.Server) int {
	t.Helper()
	n, err := s.Store().CountOffline(t.Context(), juliet)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits until so many messages are kept.
func eventually(t *testing.T, s *servertest.Server, want int) {
	t.Helper()
	got := -1
	for range 500 {
		if got = count(t, s); got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d messages are kept, want %d", got, want)
}

// XEP-0160 §3 and XEP-0334: what is kept, what is refused, what is dropped.
func TestWorth(t *testing.T) {
	const body, composing = "<body>hi</body>", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
	hint := func(name string) string { return "<" + name + " xmlns='urn:xmpp:hints'/>" }
	s := start(t, offline.Limits{}, nil)
	romeo := servertest.Online(t, s, "romeo@example.org/orchard")
	kept := 0
	for _, r := range []struct{ typ, content, want string }{
		{"chat", body, "kept"},
		{"normal", body, "kept"},
		{"", body, "kept"},
		{"unknown", body, "kept"},
		{"headline", body, "dropped"},
		{"groupchat", body, "refused"},
		{"error", body, "dropped"},
		{"chat", composing, "dropped"},
		{"chat", composing + "<thread>t</thread>" + "<origin-id xmlns='urn:xmpp:sid:0' id='1'/>", "dropped"},
		{"normal", composing, "dropped"},
		{"chat", composing + body, "kept"},
		{"chat", "<body/>", "dropped"},
		{"chat", "", "dropped"},
		{"chat", "<received xmlns='urn:xmpp:receipts' id='1'/>", "kept"},
		{"chat", "<encrypted xmlns='eu.siacs.conversations.axolotl'/>", "kept"},
		{"chat", body + hint("no-store"), "refused"},
		{"chat", composing + hint("no-store"), "dropped"},
		{"chat", body + hint("no-permanent-store"), "kept"},
		{"chat", body + hint("no-copy"), "kept"},
		{"chat", composing + hint("store"), "kept"},
		{"headline", body + hint("store"), "dropped"},
	} {
		typ := ""
		if r.typ != "" {
			typ = "type='" + r.typ + "'"
		}
		romeo.Sendf("<message to='juliet@example.org' id='m' %s>%s</message>", typ, r.content)
		if r.want == "refused" {
			romeo.Expect("<message type='error' id='m'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
		}
		romeo.ExpectNothing()
		if r.want == "kept" {
			kept++
		}
		if got := count(t, s); got != kept {
			t.Errorf("%s %s: %d are kept, want %d", r.typ, r.content, got, kept)
			kept = got
		}
	}
}

// XEP-0160 §2: to the first session that takes messages, in order, stamped, once.
func TestDelivery(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	s := start(t, offline.Limits{}, func(c *server.Config) { c.Now = func() time.Time { return now } })
	romeo := servertest.Online(t, s, "romeo@example.org/orchard")
	const n = 250 // more than a page
	for i := range n {
		romeo.Sendf("<message to='juliet@example.org' id='%d' type='chat'><body>%d</body>"+
			"<delay xmlns='urn:xmpp:delay' from='example.org' stamp='1999-01-01T00:00:00Z'/></message>", i, i)
	}
	romeo.ExpectNothing()

	c := servertest.Dial(t, s, "juliet@example.org/balcony")
	c.ExpectNothing() // without presence
	c.Send("<presence><priority>-1</priority></presence>")
	c.Expect("<presence/>")
	c.ExpectNothing() // with a negative priority
	c.Send("<presence/>")
	c.Expect("<presence/>")
	for i := range n {
		m := c.Expect(fmt.Sprintf("<message from='romeo@example.org/orchard' to='juliet@example.org' id='%d' type='chat'><body>%d</body>"+
			"<delay xmlns='urn:xmpp:delay' from='example.org' stamp='2026-05-04T03:02:01.000Z'/></message>", i, i))
		if strings.Contains(string(m.Append(nil)), "1999") {
			t.Fatalf("the sender's word about us: %s", m.Append(nil))
		}
	}
	c.Send("<presence><show>away</show></presence>")
	c.Expect("<presence/>")
	c.ExpectNothing()
	eventually(t, s, 0)
	c.Close()
	again := servertest.Online(t, s, "juliet@example.org/balcony")
	again.ExpectNothing()
}

// XEP-0160 §2: a queue that is full is as none.
func TestLimits(t *testing.T) {
	for name, l := range map[string]offline.Limits{"messages": {Messages: 3}, "bytes": {Bytes: 1000}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, l, nil)
			romeo := servertest.Online(t, s, "romeo@example.org/orchard")
			message := "<message to='juliet@example.org' id='m' type='chat'><body>" + strings.Repeat("x", 150) + "</body></message>"
			for range 3 {
				romeo.Send(message)
			}
			romeo.ExpectNothing()
			romeo.Send(message)
			romeo.Expect("<message type='error' id='m'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
			servertest.Online(t, s, "juliet@example.org/balcony")
			eventually(t, s, 0)
			romeo.Send(strings.ReplaceAll(message, "juliet@example.org", "juliet@example.org"))
			romeo.ExpectNothing()
		})
	}
}

func TestRetention(t *testing.T) {
	s := start(t, offline.Limits{Retention: time.Hour}, func(c *server.Config) {
		db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		if err := db.CreateAccount(t.Context(), store.Account{Address: juliet}, nil); err != nil {
			t.Fatal(err)
		}
		for _, age := range []time.Duration{2 * time.Hour, time.Minute} {
			if _, err := db.PushOffline(t.Context(), juliet, time.Now().Add(-age), []byte("<message xmlns='jabber:client'/>"), 10, 1000); err != nil {
				t.Fatal(err)
			}
		}
		c.Store = db
	})
	eventually(t, s, 1)
}

// A message that cannot be read is dropped, and does not stand in the way.
func TestDamaged(t *testing.T) {
	s := start(t, offline.Limits{}, nil)
	for _, raw := range []string{"<message", "<message xmlns='jabber:client' type='chat'><body>whole</body></message>"} {
		if _, err := s.Store().PushOffline(t.Context(), juliet, time.Now(), []byte(raw), 10, 1000); err != nil {
			t.Fatal(err)
		}
	}
	c := servertest.Dial(t, s, "juliet@example.org/balcony")
	c.Send("<presence/>")
	c.ExpectAll("<presence/>", "<message><body>whole</body></message>")
	eventually(t, s, 0)
}
