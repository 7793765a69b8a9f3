package store

import (
	"context"
	"testing"
)

func TestOffline(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		var ids []int64
		for i := range 4 {
			id, err := d.PushOffline(ctx, juliet, date(int64(i)), []byte("<message/>"), 4, 100)
			must(t, err)
			ids = append(ids, id)
		}
		want(t, second(d.PushOffline(ctx, juliet, date(9), []byte("<message/>"), 4, 100)), ErrFull)
		want(t, second(d.PushOffline(ctx, juliet, date(9), []byte("<message/>"), 5, 49)), ErrFull)
		must(t, second(d.PushOffline(ctx, nurse, date(0), []byte("<message/>"), 0, 0)))
		list, err := d.OfflineMessages(ctx, juliet, 0, 3)
		must(t, err)
		if len(list) != 3 || list[0].ID != ids[0] || !list[2].At.Equal(date(2)) || string(list[1].Raw) != "<message/>" {
			t.Errorf("first page %v", list)
		}
		list, err = d.OfflineMessages(ctx, juliet, list[2].ID, 3)
		must(t, err)
		if len(list) != 1 || list[0].ID != ids[3] {
			t.Errorf("second page %v", list)
		}
		must(t, d.DeleteOffline(ctx, juliet, ids[0], 12345, ids[0]))
		must(t, d.DeleteOffline(ctx, romeo, ids[1]))
		count(t, d, 3)
		must(t, second(d.PushOffline(ctx, juliet, date(4), make([]byte, 70), 4, 100)))
		want(t, second(d.PushOffline(ctx, juliet, date(4), []byte("x"), 9, 100)), ErrFull) // bytes
		n, err := d.ExpireOffline(ctx, date(3))
		must(t, err)
		if n != 3 { // two of Juliet's and the nurse's
			t.Errorf("%d expired, want 3", n)
		}
		count(t, d, 2)
		must(t, second(d.PushOffline(ctx, juliet, date(4), make([]byte, 20), 4, 100)))
	})
}

func count(t *testing.T, d *DB, want int) {
	t.Helper()
	n, err := d.CountOffline(context.Background(), juliet)
	if err != nil || n != want {
		t.Errorf("%d messages wait, %v; want %d", n, err, want)
	}
}
