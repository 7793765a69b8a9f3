package store

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"xmpp-gw/internal/address"
)

// LastItems is what Nodes and Items tell, owner by owner.
func TestLastItems(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		var owners []address.Address
		for i := range lastStep + 3 {
			owner := addr(fmt.Sprintf("u%d@montague.example", i))
			owners = append(owners, owner)
			if i%3 == 2 {
				continue // has nothing
			}
			for k, node := range []string{"a", "b", "c", "empty"} {
				must(t, d.PutNode(ctx, owner, Node{Name: node, Config: []byte("<x/>")}, 0))
				for n := range k + 1 {
					if node != "empty" {
						must(t, d.PutItem(ctx, owner, node, Item{ID: fmt.Sprint(n), Publisher: owner, At: date(int64(n)), Raw: []byte("<i/>")}, 0))
					}
				}
			}
			must(t, d.PutItem(ctx, owner, "c", Item{ID: "0", Publisher: owner, At: date(9)}, 0)) // the newest again
		}
		for _, nodes := range [][]string{nil, {"none"}, {"b"}, {"a", "c", "empty", "none", "1", "2", "3", "4", "5"}} {
			for _, who := range [][]address.Address{nil, owners[:1], owners[:2], owners} {
				var want []LastItem
				for _, o := range who {
					for _, n := range nodes {
						items, err := d.Items(ctx, o, n, nil, 1)
						if err == ErrNotFound || len(items) == 0 {
							continue
						}
						must(t, err)
						want = append(want, LastItem{o, Node{n, []byte("<x/>")}, items[0]})
					}
				}
				got, err := d.LastItems(ctx, who, nodes)
				if must(t, err); !reflect.DeepEqual(got, want) {
					t.Fatalf("%d owners, nodes %v: %d items, want %d\n%v\n%v", len(who), nodes, len(got), len(want), got, want)
				}
			}
		}
	})
}

func TestItemBytes(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		must(t, d.PutNode(ctx, romeo, Node{Name: "n"}, 0))
		must(t, d.PutNode(ctx, romeo, Node{Name: "m"}, 0))
		for i, want := range []int64{0, 10, 30, 30} {
			if got, err := d.ItemBytes(ctx, romeo); err != nil || got != want {
				t.Errorf("%d bytes, %v; want %d", got, err, want)
			}
			it := Item{ID: fmt.Sprint(i), Publisher: romeo, At: date(0), Raw: make([]byte, 10*(i+1))}
			if i == 2 {
				it.Raw = nil
			}
			must(t, d.PutItem(ctx, romeo, []string{"n", "m"}[i%2], it, 0))
		}
		if got, err := d.ItemBytes(ctx, juliet); err != nil || got != 0 {
			t.Errorf("of another %d bytes, %v", got, err)
		}
	})
}

// A message that its sender's archive is given, and then its receiver's, is stored
// once; one that merely looks the same is not.
func TestArchivedTogether(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		raw := []byte("<message/>")
		var ids []string
		for _, e := range []ArchiveAppend{
			{Owner: romeo, With: juliet, At: date(0), Raw: raw},
			{Owner: juliet, With: romeo, At: date(0), Raw: raw},
			{Owner: nurse, With: romeo, At: date(0), Raw: raw},
			{Owner: juliet, With: romeo, At: date(60), Raw: raw},
		} {
			got, p := d.Archive(ctx, []ArchiveAppend{e})
			ids = append(ids, got...)
			_ = p
		}
		if err := d.settle(ctx); err != nil {
			t.Fatal(err)
		}
		if ids[2] == ids[0] || ids[3] == ids[2] {
			t.Errorf("ids %v: of messages that are not the same", ids)
		}
		for owner, want := range map[address.Address]int{romeo: 1, juliet: 2, nurse: 1} {
			page, err := d.QueryArchive(ctx, owner, ArchiveQuery{})
			must(t, err)
			if len(page.Entries) != want {
				t.Errorf("%s has %d entries, want %d", owner, len(page.Entries), want)
			}
		}
	})
}

// A page ends before it is too large, but has an entry.
func TestPageBytes(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		for i := range 4 {
			_, p := d.Archive(ctx, []ArchiveAppend{{Owner: romeo, With: juliet, At: date(int64(i)), Raw: make([]byte, 100+i)}})
			must(t, p.Err())
		}
		for _, tt := range []struct {
			q        ArchiveQuery
			want     []int // sizes
			complete bool
		}{
			{ArchiveQuery{MaxBytes: 1}, []int{100}, false},
			{ArchiveQuery{MaxBytes: 201}, []int{100, 101}, false},
			{ArchiveQuery{MaxBytes: 205, Backwards: true}, []int{102, 103}, false},
			{ArchiveQuery{MaxBytes: 406}, []int{100, 101, 102, 103}, true},
			{ArchiveQuery{MaxBytes: 1000, Max: 2}, []int{100, 101}, false},
		} {
			page, err := d.QueryArchive(ctx, romeo, tt.q)
			must(t, err)
			var got []int
			for _, e := range page.Entries {
				got = append(got, len(e.Raw))
			}
			if !reflect.DeepEqual(got, tt.want) || page.Complete != tt.complete {
				t.Errorf("%+v: %v, complete %v; want %v, %v", tt.q, got, page.Complete, tt.want, tt.complete)
			}
		}
	})
}

// The last items of 1,000 contacts, a tenth of whom have one, as a login reads them.
func BenchmarkLastItems(b *testing.B) {
	d := opened(b, "sqlite:"+newFile(b))
	ctx := context.Background()
	var owners []address.Address
	for i := range 1000 {
		owner := addr(fmt.Sprintf("u%d@montague.example", i))
		owners = append(owners, owner)
		for _, node := range []string{"a", "b", "c"} {
			if i%10 == 0 {
				must(b, d.PutNode(ctx, owner, Node{Name: node}, 0))
				must(b, d.PutItem(ctx, owner, node, Item{ID: "1", Publisher: owner, At: date(0), Raw: make([]byte, 200)}, 1))
			}
		}
	}
	for b.Loop() {
		list, err := d.LastItems(ctx, owners, []string{"a", "c", "d"})
		if must(b, err); len(list) != 200 {
			b.Fatalf("%d items", len(list))
		}
	}
}
