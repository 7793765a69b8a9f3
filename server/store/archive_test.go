package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xmpp-gw/internal/address"
)

// archived adds entries and waits for the disk.
func archived(t testing.TB, d *DB, entries ...ArchiveAppend) []string {
	t.Helper()
	ids, pending := d.Archive(context.Background(), entries)
	must(t, pending.Err())
	return ids
}

func TestArchive(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		full := addr("romeo@montague.example/orchard, 2nd tree")
		raw := []byte("<message>\x00\xff'\"</message>") // bytes are bytes
		ids, pending := d.Archive(ctx, []ArchiveAppend{
			{juliet, date(0), full, raw},
			{romeo, date(0), juliet, raw},
			{juliet, date(1), juliet, raw}, // to herself: two entries of one archive
			{juliet, date(1), juliet, raw},
			{juliet, date(2), addr("capulet.example"), nil},
		})
		copy(raw, "overwritten") // the caller has its bytes back
		must(t, pending.Err())
		select {
		case <-pending.Done():
		default:
			t.Error("Err returned before Done was closed")
		}
		if ids[0] != ids[1] || ids[2] == ids[3] || !slices.IsSorted(ids) {
			t.Errorf("ids %v: the first two are one message, all others are not", ids)
		}
		page, err := d.QueryArchive(ctx, juliet, ArchiveQuery{Total: true})
		must(t, err)
		if len(page.Entries) != 4 || !page.Complete || page.Total != 4 || page.First != 0 {
			t.Fatalf("page %+v", page)
		}
		e := page.Entries[0]
		if e.ID != ids[0] || !e.At.Equal(date(0)) || e.With != full || string(e.Raw) != "<message>\x00\xff'\"</message>" {
			t.Errorf("entry %+v", e)
		}
		if e := page.Entries[3]; e.With != addr("capulet.example") || len(e.Raw) != 0 {
			t.Errorf("entry %+v", e)
		}
		first, last, err := d.ArchiveEnds(ctx, juliet)
		must(t, err)
		if first == nil || last == nil || first.ID != ids[0] || last.ID != ids[4] {
			t.Errorf("ends %v and %v", first, last)
		}
		if first, last, err := d.ArchiveEnds(ctx, nurse); first != nil || last != nil || err != nil {
			t.Errorf("ends of an empty archive: %v, %v, %v", first, last, err)
		}
		if ids, p := d.Archive(ctx, nil); len(ids) != 0 || p.Err() != nil {
			t.Errorf("nothing to archive: %v, %v", ids, p.Err())
		}
	})
}

func TestArchiveItemNotFound(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		mine := archived(t, d, ArchiveAppend{juliet, date(0), romeo, nil})[0]
		other := archived(t, d, ArchiveAppend{nurse, date(0), romeo, nil})[0]
		for _, id := range []string{other, "none", "0", "-1", "+" + mine, strings.ToUpper(mine), "0" + mine, " " + mine, "zzzzzzzzzzzzzzzzzzzz", "é", "' OR 1=1 --"} {
			for name, q := range map[string]ArchiveQuery{
				"AfterID": {AfterID: id}, "BeforeID": {BeforeID: id}, "IDs": {IDs: []string{mine, id}},
				"PageAfter": {PageAfter: id}, "PageBefore": {PageBefore: id, Backwards: true},
			} {
				if page, err := d.QueryArchive(context.Background(), juliet, q); err != ErrNotFound {
					t.Errorf("%s %q: %+v, %v; want ErrNotFound", name, id, page, err)
				}
			}
		}
		page, err := d.QueryArchive(context.Background(), romeo, ArchiveQuery{Total: true})
		if err != nil || len(page.Entries) != 0 || !page.Complete || page.Total != 0 || page.First != -1 {
			t.Errorf("an archive that nobody wrote to: %+v, %v", page, err)
		}
	})
}

// model is an archive as a slice.
type model []ArchiveEntry

func (m model) index(id string) int {
	return slices.IndexFunc(m, func(e ArchiveEntry) bool { return e.ID == id })
}

func (m model) query(q ArchiveQuery) ArchivePage {
	var all, bounded model
	for i, e := range m {
		switch {
		case !q.With.IsZero() && q.With.IsBare() && e.With.Bare() != q.With,
			!q.With.IsZero() && !q.With.IsBare() && e.With != q.With,
			!q.Start.IsZero() && e.At.Before(q.Start), !q.End.IsZero() && e.At.After(q.End),
			q.AfterID != "" && i <= m.index(q.AfterID), q.BeforeID != "" && i >= m.index(q.BeforeID),
			len(q.IDs) > 0 && !slices.Contains(q.IDs, e.ID):
			continue
		}
		all = append(all, e)
		if (q.PageAfter == "" || i > m.index(q.PageAfter)) && (q.PageBefore == "" || i < m.index(q.PageBefore)) {
			bounded = append(bounded, e)
		}
	}
	page := ArchivePage{Entries: bounded, Complete: true, Total: -1, First: -1}
	if q.Max > 0 && len(bounded) > q.Max {
		page.Complete = false
		if q.Backwards {
			page.Entries = bounded[len(bounded)-q.Max:]
		} else {
			page.Entries = bounded[:q.Max]
		}
	}
	if q.Total {
		page.Total = len(all)
		if len(page.Entries) > 0 {
			page.First = all.index(page.Entries[0].ID)
		}
	}
	return page
}

// Every query gives what a plain search of a slice gives.
func TestArchiveAgainstModel(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		withs := []address.Address{romeo, addr("romeo@montague.example/a"), addr("romeo@montague.example/b"), nurse, addr("capulet.example")}
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			round++
			owner := address.Address{Local: fmt.Sprint("owner", round), Domain: "capulet.example"}
			var m model
			var appends []ArchiveAppend
			for i := range rapid.IntRange(0, 12).Draw(rt, "entries") {
				appends = append(appends, ArchiveAppend{
					Owner: owner, At: date(int64(rapid.IntRange(0, 6).Draw(rt, "at"))), // not in order, and equal
					With: rapid.SampledFrom(withs).Draw(rt, "with"), Raw: fmt.Appendf(nil, "<m%d/>", i%3),
				})
			}
			ids, pending := d.Archive(context.Background(), appends)
			if pending.Err() != nil {
				rt.Fatal(pending.Err())
			}
			for i, a := range appends {
				m = append(m, ArchiveEntry{ids[i], a.At, a.With, a.Raw})
			}
			id := func(label string) string {
				if len(ids) == 0 || !rapid.Bool().Draw(rt, label+"?") {
					return ""
				}
				return rapid.SampledFrom(ids).Draw(rt, label)
			}
			moment := func(label string) (at time.Time) {
				if s := rapid.IntRange(-1, 6).Draw(rt, label); s >= 0 {
					at = date(int64(s))
				}
				return at
			}
			for range 8 {
				q := ArchiveQuery{
					Start: moment("start"), End: moment("end"), AfterID: id("after"), BeforeID: id("before"), PageAfter: id("page after"), PageBefore: id("page before"),
					Max: rapid.IntRange(0, 5).Draw(rt, "max"), Backwards: rapid.Bool().Draw(rt, "backwards"), Total: rapid.Bool().Draw(rt, "total"),
				}
				if rapid.Bool().Draw(rt, "with?") {
					q.With = rapid.SampledFrom(withs).Draw(rt, "with")
				}
				if one := id("id"); one != "" {
					q.IDs = []string{one, ids[0]}
				}
				same(rt, d, owner, q, m)
			}
			// Page by page, both ways, every entry comes once.
			size := rapid.IntRange(1, 4).Draw(rt, "page")
			var forwards, backwards model
			for q := (ArchiveQuery{Max: size}); ; q.PageAfter = forwards[len(forwards)-1].ID {
				page := same(rt, d, owner, q, m)
				forwards = append(forwards, page.Entries...)
				if page.Complete {
					break
				}
			}
			for q := (ArchiveQuery{Max: size, Backwards: true}); ; q.PageBefore = backwards[0].ID {
				page := same(rt, d, owner, q, m)
				backwards = append(slices.Clone(page.Entries), backwards...)
				if page.Complete {
					break
				}
			}
			if len(forwards) != len(m) || fmt.Sprint(forwards) != fmt.Sprint(backwards) {
				rt.Fatalf("%d entries forwards, %d backwards, want %d", len(forwards), len(backwards), len(m))
			}
		})
	})
}

func same(rt *rapid.T, d *DB, owner address.Address, q ArchiveQuery, m model) ArchivePage {
	got, err := d.QueryArchive(context.Background(), owner, q)
	if err != nil {
		rt.Fatalf("%+v: %v", q, err)
	}
	w := m.query(q)
	show := func(p ArchivePage) string {
		s := fmt.Sprint(p.Complete, p.Total, p.First)
		for _, e := range p.Entries {
			s += fmt.Sprintf(" %s %s %d %s", e.ID, e.With, e.At.UnixMicro(), e.Raw)
		}
		return s
	}
	if show(got) != show(w) {
		rt.Fatalf("%+v gives\n%s, want\n%s", q, show(got), show(w))
	}
	return got
}

func TestExpireArchive(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		now := time.Now().Truncate(time.Microsecond)
		raw := []byte("<message/>")
		archived(t, d,
			ArchiveAppend{juliet, now.Add(-time.Hour), romeo, raw}, ArchiveAppend{romeo, now.Add(-time.Hour), juliet, raw}, // goes
			ArchiveAppend{juliet, now.Add(-365 * 24 * time.Hour), romeo, raw}, // imported: goes
			ArchiveAppend{juliet, now.Add(-time.Minute), romeo, raw},          // stays
			ArchiveAppend{juliet, now.Add(-time.Hour), nurse, raw},            // goes
		)
		for _, w := range []int{4, 0} {
			n, err := d.ExpireArchive(ctx, now.Add(-30*time.Minute))
			must(t, err)
			if n != w {
				t.Errorf("%d expired, want %d", n, w)
			}
		}
		page, err := d.QueryArchive(ctx, juliet, ArchiveQuery{})
		must(t, err)
		if len(page.Entries) != 1 || !page.Entries[0].At.Equal(now.Add(-time.Minute)) {
			t.Errorf("what stays: %+v", page.Entries)
		}
		messages(t, d, 1)
	})
}

// messages counts what is stored, whoever it belongs to.
func messages(t *testing.T, d *DB, want int) {
	t.Helper()
	var n int
	must(t, d.view(context.Background(), func(s session) error { return s.get(`SELECT count(*) FROM message`, nil, &n) }))
	if n != want {
		t.Errorf("%d messages are stored, want %d", n, want)
	}
}

// Expiry goes in steps, through a lot and past what stays.
func TestExpireManySteps(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		var entries []ArchiveAppend
		now := time.Now()
		for i := range 2*expireStep + 10 {
			entries = append(entries, ArchiveAppend{juliet, now.Add(-time.Hour), romeo, fmt.Appendf(nil, "<m%d/>", i)})
		}
		entries[5].At = now
		archived(t, d, entries...)
		n, err := d.ExpireArchive(context.Background(), now.Add(-time.Minute))
		if err != nil || n != len(entries)-1 {
			t.Errorf("%d expired, %v; want %d", n, err, len(entries)-1)
		}
		messages(t, d, 1)
	})
}

// With an account goes all that it owns, and nothing that is another's.
func TestDeleteAccount(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		raw := []byte("<message/>")
		for _, a := range []address.Address{juliet, romeo} {
			must(t, d.CreateAccount(ctx, Account{Address: a}, []Keys{{Hash: "SHA-1"}}))
			must(t, second(d.PutRosterItem(ctx, a, RosterItem{Contact: nurse}, 0)))
			must(t, d.AddBlocks(ctx, a, []address.Address{nurse}, 0))
			must(t, second(d.PushOffline(ctx, a, date(0), raw, 0, 0)))
			must(t, d.PutDocument(ctx, a, "k", "d", raw, 0))
			must(t, d.PutNode(ctx, a, Node{Name: "n"}, 0))
			must(t, d.PutItem(ctx, a, "n", Item{ID: "i"}, 0))
			must(t, d.CreateInvite(ctx, Invite{Token: a.Local, Domain: "x.example", Inviter: a, Uses: 1}))
			must(t, d.PutTokens(ctx, a, "c", []Token{{}}))
			must(t, d.PutCertificate(ctx, a, Certificate{Name: "c"}, 0))
		}
		archived(t, d, ArchiveAppend{juliet, date(0), romeo, raw}, ArchiveAppend{romeo, date(0), juliet, raw})
		archived(t, d, ArchiveAppend{romeo, date(1), juliet, raw}, ArchiveAppend{juliet, date(1), romeo, raw})
		mine := archived(t, d, ArchiveAppend{juliet, date(1), nurse, raw})[0]
		before, err := d.Roster(ctx, juliet)
		must(t, err)

		must(t, d.DeleteAccount(ctx, juliet))
		want(t, d.DeleteAccount(ctx, juliet), ErrNotFound)
		for _, table := range append(owned[:], "archive", "message", "invite", "owner") {
			var n int
			must(t, d.view(ctx, func(s session) error { return s.get(`SELECT count(*) FROM `+table, nil, &n) }))
			w := 1
			if table == "archive" || table == "message" {
				w = 2
			}
			if n != w {
				t.Errorf("table %s: %d rows, want %d, which are Romeo's", table, n, w)
			}
		}
		page, err := d.QueryArchive(ctx, romeo, ArchiveQuery{})
		must(t, err)
		if len(page.Entries) != 2 || string(page.Entries[0].Raw) != "<message/>" {
			t.Errorf("Romeo's archive: %+v", page)
		}

		// The same name again is another account.
		must(t, d.CreateAccount(ctx, Account{Address: juliet}, nil))
		want(t, second(d.QueryArchive(ctx, juliet, ArchiveQuery{AfterID: mine})), ErrNotFound)
		r, err := d.Roster(ctx, juliet)
		must(t, err)
		if len(r.Items) != 0 || r.Since <= before.Version {
			t.Errorf("roster %+v after one of version %d", r, before.Version)
		}
		must(t, d.DeleteAccount(ctx, romeo))
		messages(t, d, 0)
	})
}

// IDs are never used again, even if the clock of the machine goes back.
func TestClockGoesOn(t *testing.T) {
	path := newFile(t)
	d := opened(t, "sqlite:"+path)
	must(t, d.CreateAccount(context.Background(), Account{Address: juliet}, nil))
	d.clock.last += time.Hour.Microseconds() // as if it had been an hour later
	old := archived(t, d, ArchiveAppend{juliet, date(0), romeo, nil})[0]
	must(t, d.DeleteAccount(context.Background(), juliet))
	must(t, d.Close())
	d = opened(t, "sqlite:"+path)
	if id := archived(t, d, ArchiveAppend{juliet, date(0), romeo, nil})[0]; id <= old {
		t.Errorf("id %s after %s", id, old)
	}
}
