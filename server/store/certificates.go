package store

import (
	"context"

	"xmpp-gw/internal/address"
)

// Certificates implements [Certificates], in the order of their names.
func (d *DB) Certificates(ctx context.Context, owner address.Address) (list []Certificate, err error) {
	err = d.read(ctx, func(s session) error {
		return s.each(`SELECT c.name, c.fingerprint, c.der, c.no_manage, c.added FROM owner o JOIN certificate c ON c.owner = o.id
			WHERE o.domain = ? AND o.local = ? ORDER BY c.name`, []any{owner.Domain, owner.Local},
			func(scan func(...any) error) error {
				var c Certificate
				var fingerprint []byte
				var noManage, added int64
				err := scan(&c.Name, &fingerprint, &c.DER, &noManage, &added)
				copy(c.Fingerprint[:], fingerprint)
				c.NoManage, c.Added = noManage != 0, fromMicros(added)
				list = append(list, c)
				return err
			})
	})
	return list, err
}

// PutCertificate implements [Certificates].
func (d *DB) PutCertificate(ctx context.Context, owner address.Address, c Certificate, max int) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.owner(owner)
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO certificate (owner, name, fingerprint, der, no_manage, added) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (owner, name) DO UPDATE SET fingerprint = excluded.fingerprint, der = excluded.der, no_manage = excluded.no_manage, added = excluded.added`,
			id, c.Name, c.Fingerprint[:], filled(c.DER), number(c.NoManage), micros(c.Added))
		if err != nil {
			return err
		}
		var n int64
		if err := t.get(`SELECT count(*) FROM certificate WHERE owner = ?`, []any{id}, &n); err != nil {
			return err
		}
		if n > atMost(max) {
			return ErrFull
		}
		return nil
	})
}

// DeleteCertificate implements [Certificates]; ErrNotFound if there is none.
func (d *DB) DeleteCertificate(ctx context.Context, owner address.Address, name string) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.knownOwner(owner)
		if err != nil {
			return err
		}
		return some(t.exec(`DELETE FROM certificate WHERE owner = ? AND name = ?`, id, name))
	})
}

// CertificateOwners implements [Certificates].
func (d *DB) CertificateOwners(ctx context.Context, fingerprint [32]byte) (owners []address.Address, err error) {
	err = d.read(ctx, func(s session) error {
		return s.each(`SELECT o.local, o.domain FROM certificate c JOIN owner o ON o.id = c.owner WHERE c.fingerprint = ? ORDER BY o.domain, o.local`,
			[]any{fingerprint[:]}, func(scan func(...any) error) error {
				var a address.Address
				err := scan(&a.Local, &a.Domain)
				owners = append(owners, a)
				return err
			})
	})
	return owners, err
}
