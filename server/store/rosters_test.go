package store

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"xmpp-gw/internal/address"
)

func TestRoster(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		r, err := d.Roster(ctx, juliet)
		must(t, err)
		if r.Version != 0 || len(r.Items) != 0 || len(r.Removed) != 0 {
			t.Errorf("the roster of one without any: %+v", r)
		}
		full := RosterItem{Contact: romeo, Name: "Romeo & <Co>", Groups: []string{"Friends", "A, B\nC"}, Sub: SubBoth, Ask: true, Approved: true,
			Request: []byte("<presence xmlns='jabber:client' type='subscribe'/>"), InRoster: true}
		full.Version, err = d.PutRosterItem(ctx, juliet, full, 2)
		must(t, err)
		stranger := RosterItem{Contact: addr("tybalt@capulet.example"), Request: []byte("<presence/>")}
		stranger.Version, err = d.PutRosterItem(ctx, juliet, stranger, 2)
		must(t, err)
		if stranger.Version <= full.Version {
			t.Errorf("versions %d and %d do not ascend", full.Version, stranger.Version)
		}
		_, err = d.PutRosterItem(ctx, juliet, RosterItem{Contact: nurse}, 2)
		want(t, err, ErrFull)
		r, err = d.Roster(ctx, juliet)
		must(t, err)
		if w := []RosterItem{full, stranger}; !reflect.DeepEqual(r.Items, w) {
			t.Errorf("items %+v, want %+v", r.Items, w)
		}
		if r.Version != stranger.Version {
			t.Errorf("the version is %d after a refused item, want %d", r.Version, stranger.Version)
		}

		// A full roster can still be changed.
		stranger.Request, stranger.InRoster = nil, true
		stranger.Version, err = d.PutRosterItem(ctx, juliet, stranger, 2)
		must(t, err)
		version, err := d.DeleteRosterItem(ctx, juliet, romeo)
		must(t, err)
		want(t, second(d.DeleteRosterItem(ctx, juliet, romeo)), ErrNotFound)
		want(t, second(d.DeleteRosterItem(ctx, nurse, romeo)), ErrNotFound)
		r, err = d.Roster(ctx, juliet)
		must(t, err)
		if w := []RosterItem{stranger}; !reflect.DeepEqual(r.Items, w) {
			t.Errorf("items %+v, want %+v", r.Items, w)
		}
		if w := []RosterItem{{Contact: romeo, Version: version}}; !reflect.DeepEqual(r.Removed, w) {
			t.Errorf("removed %+v, want %+v", r.Removed, w)
		}
		// There is room again, and who comes back is no longer removed.
		must(t, second(d.PutRosterItem(ctx, juliet, full, 2)))
		r, err = d.Roster(ctx, juliet)
		must(t, err)
		if len(r.Items) != 2 || len(r.Removed) != 0 {
			t.Errorf("%d items and %d removed, want 2 and none", len(r.Items), len(r.Removed))
		}
	})
}

// What was removed long ago is forgotten, and Since says so.
func TestRosterForgetsRemovals(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		var versions []uint64
		for i := range maxRemoved + 3 {
			c := addr(fmt.Sprintf("c%d@x.example", i))
			must(t, second(d.PutRosterItem(ctx, juliet, RosterItem{Contact: c, InRoster: true}, 1)))
			v, err := d.DeleteRosterItem(ctx, juliet, c)
			must(t, err)
			versions = append(versions, v)
		}
		r, err := d.Roster(ctx, juliet)
		must(t, err)
		if len(r.Removed) != maxRemoved || r.Since != versions[2] {
			t.Errorf("%d removals since %d, want %d since %d", len(r.Removed), r.Since, maxRemoved, versions[2])
		}
		for _, it := range r.Removed {
			if it.Version <= r.Since {
				t.Errorf("a removal of version %d is known, which is not later than %d", it.Version, r.Since)
			}
		}
	})
}

func TestRosterOf10000(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		const n, workers = 10_000, 200
		errs := make(chan error)
		for w := range workers {
			go func() {
				var err error
				for i := w; i < n && err == nil; i += workers {
					_, err = d.PutRosterItem(ctx, juliet, RosterItem{Contact: addr(fmt.Sprintf("c%05d@x.example", i)), Sub: SubTo, InRoster: true}, n)
				}
				errs <- err
			}()
		}
		for range workers {
			must(t, <-errs)
		}
		_, err := d.PutRosterItem(ctx, juliet, RosterItem{Contact: nurse}, n)
		want(t, err, ErrFull)
		began := time.Now()
		r, err := d.Roster(ctx, juliet)
		must(t, err)
		if took := time.Since(began); took > 2*slowness*time.Second {
			t.Errorf("reading it took %v", took)
		}
		seen := map[uint64]bool{}
		for _, it := range r.Items {
			seen[it.Version] = true
		}
		if len(r.Items) != n || len(seen) != n {
			t.Errorf("%d items of %d versions, want %d of both", len(r.Items), len(seen), n)
		}
	})
}

func TestBlocks(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		list := []address.Address{addr("capulet.example/x"), romeo, addr("spam.example")}
		must(t, d.AddBlocks(ctx, juliet, list, 3))
		must(t, d.AddBlocks(ctx, juliet, list[1:], 3))
		want(t, d.AddBlocks(ctx, juliet, []address.Address{nurse, romeo}, 3), ErrFull)
		got, err := d.Blocks(ctx, juliet)
		must(t, err)
		if !reflect.DeepEqual(got, list) {
			t.Errorf("blocked %v, want %v", got, list)
		}
		must(t, d.RemoveBlocks(ctx, juliet, []address.Address{romeo, nurse}))
		got, err = d.Blocks(ctx, juliet)
		must(t, err)
		if len(got) != 2 {
			t.Errorf("blocked %v, want two", got)
		}
		must(t, d.ClearBlocks(ctx, juliet))
		if got, err := d.Blocks(ctx, juliet); err != nil || len(got) != 0 {
			t.Errorf("blocked %v, %v; want none", got, err)
		}
	})
}
