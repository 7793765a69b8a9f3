package roster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server/store"
)

func contact(n int) address.Address {
	return address.Address{Local: fmt.Sprint("c", n), Domain: "example.com"}
}

func newAccount() *account {
	return &account{items: map[address.Address]*store.RosterItem{}, removed: map[address.Address]uint64{}}
}

func TestAccountCounts(t *testing.T) {
	a := newAccount()
	if len(a.watching()) != 0 {
		t.Error("somebody watches an empty roster")
	}
	a.set(store.RosterItem{Contact: contact(1), InRoster: true, Sub: store.SubBoth, Version: 1})
	a.set(store.RosterItem{Contact: contact(2), InRoster: true, Sub: store.SubTo, Version: 2})
	a.set(store.RosterItem{Contact: contact(3), Request: []byte("<presence/>"), Version: 3})
	a.set(store.RosterItem{Contact: contact(4), InRoster: true, Ask: true, Version: 4})
	if a.visible != 3 || a.waiting != 1 || a.asking != 1 || a.version != 4 {
		t.Errorf("%d visible, %d waiting, %d asking, version %d", a.visible, a.waiting, a.asking, a.version)
	}
	if w := a.watching(); !slices.Equal(w, []address.Address{contact(1)}) {
		t.Errorf("watching: %v", w)
	}
	if w := a.watched(); len(w) != 2 {
		t.Errorf("watched: %v", w)
	}
	if p := a.pending(); len(p) != 1 {
		t.Errorf("%d pending", len(p))
	}
	a.set(store.RosterItem{Contact: contact(2), InRoster: true, Sub: store.SubBoth, Version: 5})
	if len(a.watching()) != 2 {
		t.Error("a new watcher is not known")
	}
	a.remove(contact(1), 6)
	a.remove(contact(3), 7)
	a.set(store.RosterItem{Contact: contact(4), InRoster: true, Version: 8})
	if a.visible != 2 || a.waiting != 0 || a.asking != 0 || a.pending() != nil {
		t.Errorf("%d visible, %d waiting, %d asking", a.visible, a.waiting, a.asking)
	}
	if w := a.watching(); !slices.Equal(w, []address.Address{contact(2)}) {
		t.Errorf("watching: %v", w)
	}
	if it := a.item(contact(1)); stateOf(&it) != None || it.Contact != contact(1) {
		t.Errorf("a removed contact is %+v", it)
	}
}

// What changed since a version comes in order, and only while it is complete.
func TestNews(t *testing.T) {
	a := newAccount()
	for n := range 10 {
		a.set(store.RosterItem{Contact: contact(n), InRoster: n != 5, Version: uint64(n + 1)})
	}
	a.remove(contact(0), 11)
	a.set(store.RosterItem{Contact: contact(3), InRoster: true, Version: 12})
	var got []uint64
	for _, n := range a.newsSince(7) {
		got = append(got, n.version)
	}
	if want := []uint64{8, 9, 10, 11, 12}; !slices.Equal(got, want) {
		t.Errorf("versions %v, want %v", got, want)
	}
	if got := string(a.newsSince(10)[0].append(nil)); got != "<item jid='c0@example.com' subscription='remove'/>" {
		t.Error(got)
	}
	for n := range maxRemoved + 10 {
		a.set(store.RosterItem{Contact: contact(1000 + n), InRoster: true, Version: a.version + 1})
		a.remove(contact(1000+n), a.version+1)
	}
	if len(a.removed) != maxRemoved || a.since < 11 {
		t.Errorf("%d removed contacts are remembered, since %d", len(a.removed), a.since)
	}
	for c, v := range a.removed {
		if v <= a.since {
			t.Errorf("%s left at %d, before %d", c, v, a.since)
		}
	}
	// A contact that comes back has not left.
	a.set(store.RosterItem{Contact: contact(1000 + maxRemoved), InRoster: true, Version: a.version + 1})
	if len(a.removed) != maxRemoved-1 {
		t.Error("a contact that came back is among the removed")
	}
}

func TestLimiter(t *testing.T) {
	now := time.Unix(1000, 0)
	var l limiter
	pass := func(n int) (passed int) {
		for range n {
			if l.allow(now, 5, time.Second) {
				passed++
			}
		}
		return passed
	}
	if n := pass(20); n != 5 {
		t.Errorf("%d at once", n)
	}
	now = now.Add(2 * time.Second)
	if n := pass(20); n != 2 {
		t.Errorf("%d after two seconds", n)
	}
	now = now.Add(time.Hour)
	if n := pass(20); n != 5 {
		t.Errorf("%d after an hour", n)
	}
}

// A roster of 10,000 as XML.
func BenchmarkRosterXML(b *testing.B) {
	a := newAccount()
	for n := range 10000 {
		a.set(store.RosterItem{Contact: contact(n), Name: fmt.Sprint("Contact ", n), Groups: []string{"Friends"}, Sub: store.SubBoth, InRoster: true})
	}
	b.ReportAllocs()
	for b.Loop() {
		out := appendQuery(make([]byte, 0, 128+96*a.visible), 1, func(dst []byte) []byte {
			for _, it := range a.items {
				dst = appendItem(dst, it)
			}
			return dst
		})
		b.SetBytes(int64(len(out)))
	}
}
