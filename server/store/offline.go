package store

import (
	"context"
	"errors"
	"time"

	"xmpp-gw/internal/address"
)

// PushOffline implements [Offline].
func (d *DB) PushOffline(ctx context.Context, owner address.Address, at time.Time, raw []byte, max, maxBytes int) (id int64, err error) {
	err = d.update(ctx, func(t *tx) error {
		who, err := t.owner(owner)
		if err != nil {
			return err
		}
		// The owner's row counts along, so that a long queue costs no more than a short one.
		n, err := t.exec(`UPDATE owner SET offline_count = offline_count + 1, offline_bytes = offline_bytes + ?
			WHERE id = ? AND offline_count < ? AND offline_bytes <= ?`, len(raw), who, atMost(max), atMost(maxBytes)-int64(len(raw)))
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrFull
		}
		id = d.clock.next()
		_, err = t.exec(`INSERT INTO offline (owner, id, at, raw) VALUES (?, ?, ?, ?)`, who, id, micros(at), filled(raw))
		return err
	})
	return id, err
}

// OfflineMessages implements [Offline].
func (d *DB) OfflineMessages(ctx context.Context, owner address.Address, after int64, max int) (list []OfflineMessage, err error) {
	err = d.read(ctx, func(s session) error {
		id, err := d.owner(s, owner)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.each(`SELECT id, at, raw FROM offline WHERE owner = ? AND id > ? ORDER BY id LIMIT ?`, []any{id, after, atMost(max)},
			func(scan func(...any) error) error {
				var m OfflineMessage
				var at int64
				err := scan(&m.ID, &at, &m.Raw)
				m.At = fromMicros(at)
				list = append(list, m)
				return err
			})
	})
	return list, err
}

// CountOffline implements [Offline].
func (d *DB) CountOffline(ctx context.Context, owner address.Address) (n int, err error) {
	err = d.read(ctx, func(s session) error {
		err := s.get(`SELECT offline_count FROM owner WHERE domain = ? AND local = ?`, []any{owner.Domain, owner.Local}, &n)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
	return n, err
}

// DeleteOffline implements [Offline]. An ID that is not there is no error.
func (d *DB) DeleteOffline(ctx context.Context, owner address.Address, ids ...int64) error {
	if len(ids) == 0 {
		return nil
	}
	return d.update(ctx, func(t *tx) error {
		who, err := t.knownOwner(owner)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		count, size := 0, int64(0)
		for _, id := range ids {
			var n int64
			err := t.get(`DELETE FROM offline WHERE owner = ? AND id = ? RETURNING length(raw)`, []any{who, id}, &n)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			count, size = count+1, size+n
		}
		return t.uncount(who, count, size)
	})
}

func (t *tx) uncount(who int64, count int, size int64) error {
	if count == 0 {
		return nil
	}
	_, err := t.exec(`UPDATE owner SET offline_count = offline_count - ?, offline_bytes = offline_bytes - ? WHERE id = ?`, count, size, who)
	return err
}

// ExpireOffline implements [Offline].
func (d *DB) ExpireOffline(ctx context.Context, before time.Time) (expired int, err error) {
	err = d.update(ctx, func(t *tx) error {
		type sum struct {
			count int
			size  int64
		}
		expired = 0
		sums := map[int64]sum{}
		err := t.each(`DELETE FROM offline WHERE at < ? RETURNING owner, length(raw)`, []any{micros(before)}, func(scan func(...any) error) error {
			var who, n int64
			err := scan(&who, &n)
			sums[who] = sum{sums[who].count + 1, sums[who].size + n}
			expired++
			return err
		})
		if err != nil {
			return err
		}
		for who, s := range sums {
			if err := t.uncount(who, s.count, s.size); err != nil {
				return err
			}
		}
		return nil
	})
	return expired, err
}
