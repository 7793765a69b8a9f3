package store

import (
	"context"

	"xmpp-gw/internal/address"
)

// Blocks implements [Blocks].
func (d *DB) Blocks(ctx context.Context, owner address.Address) (list []address.Address, err error) {
	err = d.read(ctx, func(s session) error {
		return s.each(`SELECT b.blocked FROM owner o JOIN block b ON b.owner = o.id WHERE o.domain = ? AND o.local = ? ORDER BY b.blocked`,
			[]any{owner.Domain, owner.Local}, func(scan func(...any) error) error {
				var blocked string
				if err := scan(&blocked); err != nil {
					return err
				}
				a, err := parse(blocked)
				list = append(list, a)
				return err
			})
	})
	return list, err
}

// AddBlocks implements [Blocks]. All are added, or none.
func (d *DB) AddBlocks(ctx context.Context, owner address.Address, blocked []address.Address, max int) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.owner(owner)
		if err != nil {
			return err
		}
		for _, b := range blocked {
			if _, err := t.exec(`INSERT INTO block (owner, blocked) VALUES (?, ?) ON CONFLICT (owner, blocked) DO NOTHING`, id, b.String()); err != nil {
				return err
			}
		}
		var n int64
		if err := t.get(`SELECT count(*) FROM block WHERE owner = ?`, []any{id}, &n); err != nil {
			return err
		}
		if n > atMost(max) {
			return ErrFull
		}
		return nil
	})
}

// RemoveBlocks implements [Blocks]. What is not blocked stays so.
func (d *DB) RemoveBlocks(ctx context.Context, owner address.Address, blocked []address.Address) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.owner(owner)
		if err != nil {
			return err
		}
		for _, b := range blocked {
			if _, err := t.exec(`DELETE FROM block WHERE owner = ? AND blocked = ?`, id, b.String()); err != nil {
				return err
			}
		}
		return nil
	})
}

// ClearBlocks implements [Blocks].
func (d *DB) ClearBlocks(ctx context.Context, owner address.Address) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.owner(owner)
		if err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM block WHERE owner = ?`, id)
		return err
	})
}
