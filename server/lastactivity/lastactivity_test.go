package lastactivity_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/lastactivity"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// friends see each other; a stranger sees nobody.
type friends struct{}

func (friends) Sees(_ context.Context, owner, contact address.Address) (bool, error) {
	return owner == contact || contact.Local != "tybalt", nil
}

func TestAnswers(t *testing.T) {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	var now atomic.Int64
	s := servertest.NewWith(t, func(c *server.Config) {
		c.Store, c.Now = db, func() time.Time { return time.Unix(1_800_000_000+now.Load(), 0) }
	}, lastactivity.New(db, friends{}), ping.New())
	romeo := servertest.Online(t, s, "romeo@example.org/orchard")
	tybalt := servertest.Online(t, s, "tybalt@example.org/square")
	juliet := servertest.Online(t, s, "juliet@example.org/balcony")
	s.Account(t, "nurse@example.org")
	const query = "<query xmlns='jabber:iq:last'/>"
	ask := func(c *servertest.Client, to string) string {
		t.Helper()
		n := c.Request("get", to, query)
		if !n.Is(lastactivity.NS, "query") {
			t.Fatalf("%s", n.Append(nil))
		}
		return n.Attr("seconds")
	}
	now.Store(100)
	if got := ask(romeo, "example.org"); got != "100" {
		t.Errorf("the server is up for %s", got)
	}
	if got := ask(romeo, "juliet@example.org"); got != "0" {
		t.Errorf("juliet, who is there: %s", got)
	}
	juliet.Close()
	for s.Session(juliet.JID) != nil {
		time.Sleep(time.Millisecond)
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if a, err := db.Account(t.Context(), juliet.JID.Bare()); err == nil && !a.LastSeen.IsZero() {
			break
		}
	}
	now.Store(160)
	if got := ask(romeo, "juliet@example.org"); got != "60" {
		t.Errorf("juliet, who has gone: %s", got)
	}
	now.Store(50) // the clock was set back
	if got := ask(romeo, "juliet@example.org"); got != "0" {
		t.Errorf("juliet, in the future: %s", got)
	}
	for name, tt := range map[string]struct {
		from    *servertest.Client
		typ, to string
		want    string
	}{
		"never there":             {romeo, "get", "nurse@example.org", "item-not-found"},
		"a stranger":              {tybalt, "get", "juliet@example.org", "forbidden"},
		"a stranger, never there": {tybalt, "get", "nurse@example.org", "forbidden"},
		"nobody":                  {romeo, "get", "paris@example.org", "service-unavailable"},
		"set":                     {romeo, "set", "juliet@example.org", "not-allowed"},
		"set the server's":        {romeo, "set", "example.org", "not-allowed"},
	} {
		if got := tt.from.RequestError(tt.typ, tt.to, query); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
