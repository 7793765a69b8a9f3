package store

import (
	"context"
	"encoding/json"
	"errors"

	"xmpp-gw/internal/address"
)

// maxRemoved is how many removed contacts are remembered for roster versioning.
const maxRemoved = 256

// Roster implements [Rosters].
func (d *DB) Roster(ctx context.Context, owner address.Address) (r Roster, err error) {
	err = d.view(ctx, func(s session) error {
		var id int64
		err := s.get(`SELECT id, roster_version, roster_since FROM owner WHERE domain = ? AND local = ?`,
			[]any{owner.Domain, owner.Local}, &id, &r.Version, &r.Since)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.each(`SELECT contact, name, in_groups, sub, ask, approved, request, in_roster, removed, version FROM roster WHERE owner = ? ORDER BY contact`,
			[]any{id}, func(scan func(...any) error) error {
				it, removed, err := scanItem(scan)
				if err != nil {
					return err
				}
				if removed {
					r.Removed = append(r.Removed, it)
				} else {
					r.Items = append(r.Items, it)
				}
				return nil
			})
	})
	return r, err
}

func scanItem(scan func(...any) error) (it RosterItem, removed bool, err error) {
	var contact, groups string
	var sub, ask, approved, in, gone int64
	if err := scan(&contact, &it.Name, &groups, &sub, &ask, &approved, &it.Request, &in, &gone, &it.Version); err != nil {
		return it, false, err
	}
	it.Sub, it.Ask, it.Approved, it.InRoster = Subscription(sub), ask != 0, approved != 0, in != 0
	if groups != "" {
		if err := json.Unmarshal([]byte(groups), &it.Groups); err != nil {
			return it, false, err
		}
	}
	it.Contact, err = parse(contact)
	return it, gone != 0, err
}

// PutRosterItem implements [Rosters].
func (d *DB) PutRosterItem(ctx context.Context, owner address.Address, it RosterItem, max int) (version uint64, err error) {
	groups := ""
	if len(it.Groups) > 0 {
		b, err := json.Marshal(it.Groups)
		if err != nil {
			return 0, err
		}
		groups = string(b)
	}
	err = d.update(ctx, func(t *tx) error {
		id, err := t.owner(owner)
		if err != nil {
			return err
		}
		added := int64(1)
		removed := int64(1)
		err = t.get(`SELECT removed FROM roster WHERE owner = ? AND contact = ?`, []any{id, it.Contact.String()}, &removed)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if removed == 0 {
			added = 0
		}
		var size int64
		err = t.get(`UPDATE owner SET roster_version = roster_version + 1, roster_size = roster_size + ? WHERE id = ? RETURNING roster_version, roster_size`,
			[]any{added, id}, &version, &size)
		if err != nil {
			return err
		}
		if added > 0 && size > atMost(max) {
			return ErrFull
		}
		_, err = t.exec(`INSERT INTO roster (owner, contact, name, in_groups, sub, ask, approved, request, in_roster, removed, version)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)
			ON CONFLICT (owner, contact) DO UPDATE SET name = excluded.name, in_groups = excluded.in_groups, sub = excluded.sub, ask = excluded.ask,
			approved = excluded.approved, request = excluded.request, in_roster = excluded.in_roster, removed = 0, version = excluded.version`,
			id, it.Contact.String(), it.Name, groups, int64(it.Sub), number(it.Ask), number(it.Approved), nullable(it.Request), number(it.InRoster), int64(version))
		return err
	})
	return version, err
}

// DeleteRosterItem implements [Rosters].
func (d *DB) DeleteRosterItem(ctx context.Context, owner, contact address.Address) (version uint64, err error) {
	err = d.update(ctx, func(t *tx) error {
		id, err := t.knownOwner(owner)
		if err != nil {
			return err
		}
		// The row stays as the memory of the removal.
		err = some(t.exec(`UPDATE roster SET name = '', in_groups = '', sub = 0, ask = 0, approved = 0, request = NULL, in_roster = 0, removed = 1
			WHERE owner = ? AND contact = ? AND removed = 0`, id, contact.String()))
		if err != nil {
			return err
		}
		if err := t.get(`UPDATE owner SET roster_version = roster_version + 1, roster_size = roster_size - 1 WHERE id = ? RETURNING roster_version`,
			[]any{id}, &version); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE roster SET version = ? WHERE owner = ? AND contact = ?`, int64(version), id, contact.String()); err != nil {
			return err
		}
		return t.forgetRemoved(id)
	})
	return version, err
}

// forgetRemoved keeps the newest removals and says from where they are complete.
func (t *tx) forgetRemoved(id int64) error {
	var oldest int64
	err := t.get(`SELECT version FROM roster WHERE owner = ? AND removed = 1 ORDER BY version DESC LIMIT 1 OFFSET ?`, []any{id, maxRemoved}, &oldest)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := t.exec(`DELETE FROM roster WHERE owner = ? AND removed = 1 AND version <= ?`, id, oldest); err != nil {
		return err
	}
	_, err = t.exec(`UPDATE owner SET roster_since = ? WHERE id = ?`, oldest, id)
	return err
}
