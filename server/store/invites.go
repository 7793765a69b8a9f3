package store

import (
	"context"
	"time"

	"xmpp-gw/internal/address"
)

// CreateInvite implements [Invites]; ErrExists for a token that there is. It
// also forgets invites that had expired when this one was created.
func (d *DB) CreateInvite(ctx context.Context, i Invite) error {
	return d.update(ctx, func(t *tx) error {
		if _, err := t.exec(`DELETE FROM invite WHERE expires <> 0 AND expires <= ?`, micros(i.Created)); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO invite (token, domain, inviter, local, account, contact, created, expires, uses)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (token) DO NOTHING`,
			i.Token, i.Domain, i.Inviter.Bare().String(), i.Local, number(i.Account), number(i.Contact), micros(i.Created), micros(i.Expires), i.Uses)
		if err == nil && n == 0 {
			err = ErrExists
		}
		return err
	})
}

const inviteColumns = `token, domain, inviter, local, account, contact, created, expires, uses`

func scanInvite(scan func(...any) error) (i Invite, err error) {
	var inviter string
	var account, contact, created, expires int64
	if err := scan(&i.Token, &i.Domain, &inviter, &i.Local, &account, &contact, &created, &expires, &i.Uses); err != nil {
		return i, err
	}
	i.Account, i.Contact = account != 0, contact != 0
	i.Created, i.Expires = fromMicros(created), fromMicros(expires)
	i.Inviter, err = parse(inviter)
	return i, err
}

// Invite implements [Invites]. It tells neither expired nor used ones apart.
func (d *DB) Invite(ctx context.Context, token string) (i Invite, err error) {
	err = d.read(ctx, func(s session) error {
		i, err = scanInvite(func(dest ...any) error {
			return s.get(`SELECT `+inviteColumns+` FROM invite WHERE token = ?`, []any{token}, dest...)
		})
		return err
	})
	return i, err
}

// UseInvite implements [Invites]. Uses of the answer is what is left. An invite
// whose Expires is zero does not expire.
func (d *DB) UseInvite(ctx context.Context, token string, now time.Time) (i Invite, err error) {
	err = d.update(ctx, func(t *tx) error {
		i, err = scanInvite(func(dest ...any) error {
			return t.get(`UPDATE invite SET uses = uses - 1 WHERE token = ? AND uses > 0 AND (expires = 0 OR expires > ?) RETURNING `+inviteColumns,
				[]any{token, micros(now)}, dest...)
		})
		return err
	})
	return i, err
}

// ReturnInvite implements [Invites]; ErrNotFound if there is none any more.
func (d *DB) ReturnInvite(ctx context.Context, token string) error {
	return d.update(ctx, func(t *tx) error {
		return some(t.exec(`UPDATE invite SET uses = uses + 1 WHERE token = ?`, token))
	})
}

// ListInvites implements [Invites], oldest first.
func (d *DB) ListInvites(ctx context.Context, domain string, inviter address.Address) (list []Invite, err error) {
	query, args := `SELECT `+inviteColumns+` FROM invite WHERE domain = ?`, []any{domain}
	if !inviter.IsZero() {
		query, args = query+` AND inviter = ?`, append(args, inviter.Bare().String())
	}
	err = d.read(ctx, func(s session) error {
		return s.each(query+` ORDER BY created, token`, args, func(scan func(...any) error) error {
			i, err := scanInvite(scan)
			list = append(list, i)
			return err
		})
	})
	return list, err
}

// DeleteInvite implements [Invites]; ErrNotFound if there is none.
func (d *DB) DeleteInvite(ctx context.Context, token string) error {
	return d.update(ctx, func(t *tx) error {
		return some(t.exec(`DELETE FROM invite WHERE token = ?`, token))
	})
}
