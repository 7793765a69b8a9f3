package store

import (
	"context"
	"errors"
	"time"

	"xmpp-gw/internal/address"
)

// CreateAccount implements [Accounts]. An account begins with nothing: what somebody
// of the same name left, or what came in for them after they were removed, is not its.
func (d *DB) CreateAccount(ctx context.Context, a Account, keys []Keys) error {
	return d.update(ctx, func(t *tx) error {
		switch id, err := t.knownOwner(a.Address); {
		case err == nil:
			if _, err := t.account(a.Address); err == nil {
				return ErrExists
			} else if !errors.Is(err, ErrNotFound) {
				return err
			}
			if err := t.removeOwner(a.Address, id); err != nil {
				return err
			}
		case !errors.Is(err, ErrNotFound):
			return err
		}
		id, err := t.owner(a.Address)
		if err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO account (owner, admin, disabled, created, last_seen) VALUES (?, ?, ?, ?, ?)`,
			id, number(a.Admin), number(a.Disabled), micros(a.Created), micros(a.LastSeen)); err != nil {
			return err
		}
		return t.putKeys(id, keys)
	})
}

func (t *tx) putKeys(id int64, keys []Keys) error {
	for _, k := range keys {
		if _, err := t.exec(`INSERT INTO account_key (owner, hash, salt, iterations, stored_key, server_key) VALUES (?, ?, ?, ?, ?, ?)`,
			id, k.Hash, filled(k.Salt), k.Iterations, filled(k.StoredKey), filled(k.ServerKey)); err != nil {
			return err
		}
	}
	return nil
}

const accountColumns = `o.local, o.domain, a.admin, a.disabled, a.created, a.last_seen`

func scanAccount(scan func(...any) error) (a Account, err error) {
	var admin, disabled, created, seen int64
	err = scan(&a.Address.Local, &a.Address.Domain, &admin, &disabled, &created, &seen)
	a.Admin, a.Disabled = admin != 0, disabled != 0
	a.Created, a.LastSeen = fromMicros(created), fromMicros(seen)
	return a, err
}

// Account implements [Accounts].
func (d *DB) Account(ctx context.Context, owner address.Address) (a Account, err error) {
	err = d.read(ctx, func(s session) error {
		a, err = scanAccount(func(dest ...any) error {
			return s.get(`SELECT `+accountColumns+` FROM owner o JOIN account a ON a.owner = o.id WHERE o.domain = ? AND o.local = ?`,
				[]any{owner.Domain, owner.Local}, dest...)
		})
		return err
	})
	return a, err
}

// AccountKeys implements [Accounts].
func (d *DB) AccountKeys(ctx context.Context, owner address.Address) (keys []Keys, err error) {
	err = d.read(ctx, func(s session) error {
		found := false
		err := s.each(`SELECT k.hash, k.salt, k.iterations, k.stored_key, k.server_key
			FROM owner o JOIN account a ON a.owner = o.id LEFT JOIN account_key k ON k.owner = o.id
			WHERE o.domain = ? AND o.local = ? ORDER BY k.hash`, []any{owner.Domain, owner.Local},
			func(scan func(...any) error) error {
				found = true
				var k Keys
				var hash *string
				var iterations *int
				if err := scan(&hash, &k.Salt, &iterations, &k.StoredKey, &k.ServerKey); err != nil || hash == nil {
					return err
				}
				k.Hash, k.Iterations = *hash, *iterations
				keys = append(keys, k)
				return nil
			})
		if err == nil && !found {
			return ErrNotFound
		}
		return err
	})
	return keys, err
}

// account is the owner's number if it has an account.
func (t *tx) account(owner address.Address) (int64, error) {
	id, err := t.knownOwner(owner)
	if err != nil {
		return 0, err
	}
	var there int
	if err := t.get(`SELECT count(*) FROM account WHERE owner = ?`, []any{id}, &there); err != nil {
		return 0, err
	}
	if there == 0 {
		return 0, ErrNotFound
	}
	return id, nil
}

// SetAccountKeys implements [Accounts]. The tokens that stood for the old ones go too.
func (d *DB) SetAccountKeys(ctx context.Context, owner address.Address, keys []Keys) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.account(owner)
		if err != nil {
			return err
		}
		for _, table := range []string{"account_key", "token"} {
			if _, err := t.exec(`DELETE FROM `+table+` WHERE owner = ?`, id); err != nil {
				return err
			}
		}
		return t.putKeys(id, keys)
	})
}

// SetAdmin implements [Accounts].
func (d *DB) SetAdmin(ctx context.Context, owner address.Address, admin bool) error {
	return d.setAccount(ctx, owner, `UPDATE account SET admin = ? WHERE owner = ?`, number(admin))
}

// SetDisabled implements [Accounts].
func (d *DB) SetDisabled(ctx context.Context, owner address.Address, disabled bool) error {
	return d.setAccount(ctx, owner, `UPDATE account SET disabled = ? WHERE owner = ?`, number(disabled))
}

// SetLastSeen implements [Accounts].
func (d *DB) SetLastSeen(ctx context.Context, at map[address.Address]time.Time) error {
	return d.update(ctx, func(t *tx) error {
		for owner, last := range at {
			id, err := t.knownOwner(owner)
			if err == nil {
				_, err = t.exec(`UPDATE account SET last_seen = ? WHERE owner = ?`, micros(last), id)
			}
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

func (d *DB) setAccount(ctx context.Context, owner address.Address, update string, value int64) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.knownOwner(owner)
		if err != nil {
			return err
		}
		return some(t.exec(update, value, id))
	})
}

// some makes a statement that changed nothing ErrNotFound.
func some(n int64, err error) error {
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// owned are the tables with something that an account owns, but for its archive.
var owned = [...]string{"account", "account_key", "roster", "block", "offline", "document", "node", "item", "token", "certificate"}

// DeleteAccount implements [Accounts].
func (d *DB) DeleteAccount(ctx context.Context, owner address.Address) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.account(owner)
		if err != nil {
			return err
		}
		return t.removeOwner(owner, id)
	})
}

// removeOwner removes all that an owner has, and its number.
func (t *tx) removeOwner(owner address.Address, id int64) error {
	for _, table := range owned {
		if _, err := t.exec(`DELETE FROM `+table+` WHERE owner = ?`, id); err != nil {
			return err
		}
	}
	if err := t.deleteArchive(id); err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM invite WHERE inviter = ?`, owner.Bare().String()); err != nil {
		return err
	}
	delete(t.owners, owner.Bare())
	t.gone[owner.Bare()] = true
	_, err := t.exec(`DELETE FROM owner WHERE id = ?`, id)
	return err
}

// unlimited stands for no limit in a statement.
const unlimited = 1 << 40

// atMost is a limit of a statement: none for zero and below.
func atMost(limit int) int64 {
	if limit <= 0 {
		return unlimited
	}
	return int64(limit)
}

// AccountDomains gives the domains of all accounts, in order: also of those that no
// server here serves, as when the configuration has another domain now.
func (d *DB) AccountDomains(ctx context.Context) (list []string, err error) {
	err = d.read(ctx, func(s session) error {
		return s.each(`SELECT DISTINCT o.domain FROM owner o JOIN account a ON a.owner = o.id ORDER BY o.domain`, nil,
			func(scan func(...any) error) error {
				var domain string
				err := scan(&domain)
				list = append(list, domain)
				return err
			})
	})
	return list, err
}

// ListAccounts implements [Accounts].
func (d *DB) ListAccounts(ctx context.Context, domain, after string, max int) (list []Account, err error) {
	err = d.read(ctx, func(s session) error {
		return s.each(`SELECT `+accountColumns+` FROM owner o JOIN account a ON a.owner = o.id
			WHERE o.domain = ? AND o.local > ? ORDER BY o.local LIMIT ?`, []any{domain, after, atMost(max)},
			func(scan func(...any) error) error {
				a, err := scanAccount(scan)
				list = append(list, a)
				return err
			})
	})
	return list, err
}
