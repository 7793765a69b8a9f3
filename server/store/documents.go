package store

import (
	"context"

	"xmpp-gw/internal/address"
)

// Document implements [Documents].
func (d *DB) Document(ctx context.Context, owner address.Address, kind, key string) (raw []byte, err error) {
	err = d.read(ctx, func(s session) error {
		return s.get(`SELECT d.raw FROM owner o JOIN document d ON d.owner = o.id WHERE o.domain = ? AND o.local = ? AND d.kind = ? AND d.name = ?`,
			[]any{owner.Domain, owner.Local, kind, key}, &raw)
	})
	return raw, err
}

// PutDocument implements [Documents].
func (d *DB) PutDocument(ctx context.Context, owner address.Address, kind, key string, raw []byte, max int) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.owner(owner)
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO document (owner, kind, name, raw) VALUES (?, ?, ?, ?) ON CONFLICT (owner, kind, name) DO UPDATE SET raw = excluded.raw`,
			id, kind, key, filled(raw))
		if err != nil {
			return err
		}
		var n int64
		if err := t.get(`SELECT count(*) FROM document WHERE owner = ? AND kind = ?`, []any{id, kind}, &n); err != nil {
			return err
		}
		if n > atMost(max) {
			return ErrFull
		}
		return nil
	})
}

// DeleteDocument implements [Documents]; ErrNotFound if there is none.
func (d *DB) DeleteDocument(ctx context.Context, owner address.Address, kind, key string) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.knownOwner(owner)
		if err != nil {
			return err
		}
		return some(t.exec(`DELETE FROM document WHERE owner = ? AND kind = ? AND name = ?`, id, kind, key))
	})
}

// ListDocuments implements [Documents].
func (d *DB) ListDocuments(ctx context.Context, owner address.Address, kind string) (keys []string, err error) {
	err = d.read(ctx, func(s session) error {
		return s.each(`SELECT d.name FROM owner o JOIN document d ON d.owner = o.id WHERE o.domain = ? AND o.local = ? AND d.kind = ? ORDER BY d.name`,
			[]any{owner.Domain, owner.Local, kind}, func(scan func(...any) error) error {
				var key string
				err := scan(&key)
				keys = append(keys, key)
				return err
			})
	})
	return keys, err
}
