package server_test

import (
	"testing"
	"time"

	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// When an account was there last is on disk after a shutdown, and before long
// without one.
func TestLastSeen(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := servertest.NewWith(t, func(c *server.Config) { c.Store = db })
	last := func(jid string) time.Time {
		a, err := db.Account(t.Context(), servertest.Address(t, jid))
		if err != nil {
			t.Fatal(err)
		}
		return a.LastSeen
	}
	begin := time.Now().Add(-time.Second)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	servertest.Dial(t, s, "juliet@example.org/balcony")
	romeo.Close()
	for end := time.Now().Add(10 * time.Second); last("romeo@example.org").Before(begin); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("romeo's end is not written")
		}
	}
	if !last("juliet@example.org").IsZero() {
		t.Error("juliet is there still")
	}
	s.Stop(t)
	if last("juliet@example.org").Before(begin) {
		t.Error("the shutdown did not write juliet's end")
	}
}
