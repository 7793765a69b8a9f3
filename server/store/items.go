package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"xmpp-gw/internal/address"
)

// Nodes implements [Items], in the order of their names.
func (d *DB) Nodes(ctx context.Context, owner address.Address) (list []Node, err error) {
	err = d.read(ctx, func(s session) error {
		return s.each(`SELECT n.name, n.config FROM owner o JOIN node n ON n.owner = o.id WHERE o.domain = ? AND o.local = ? ORDER BY n.name`,
			[]any{owner.Domain, owner.Local}, func(scan func(...any) error) error {
				var n Node
				err := scan(&n.Name, &n.Config)
				list = append(list, n)
				return err
			})
	})
	return list, err
}

// Node implements [Items].
func (d *DB) Node(ctx context.Context, owner address.Address, node string) (n Node, err error) {
	err = d.read(ctx, func(s session) error {
		return s.get(`SELECT n.name, n.config FROM owner o JOIN node n ON n.owner = o.id WHERE o.domain = ? AND o.local = ? AND n.name = ?`,
			[]any{owner.Domain, owner.Local, node}, &n.Name, &n.Config)
	})
	return n, err
}

// PutNode implements [Items].
func (d *DB) PutNode(ctx context.Context, owner address.Address, n Node, max int) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.owner(owner)
		if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO node (owner, name, config) VALUES (?, ?, ?) ON CONFLICT (owner, name) DO UPDATE SET config = excluded.config`,
			id, n.Name, nullable(n.Config))
		if err != nil {
			return err
		}
		var count int64
		if err := t.get(`SELECT count(*) FROM node WHERE owner = ?`, []any{id}, &count); err != nil {
			return err
		}
		if count > atMost(max) {
			return ErrFull
		}
		return nil
	})
}

// node runs f for a node that exists.
func (d *DB) node(ctx context.Context, owner address.Address, node string, f func(t *tx, id int64) error) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.knownOwner(owner)
		if err != nil {
			return err
		}
		var there string
		if err := t.get(`SELECT name FROM node WHERE owner = ? AND name = ?`, []any{id, node}, &there); err != nil {
			return err
		}
		return f(t, id)
	})
}

// DeleteNode implements [Items]; its items go with it.
func (d *DB) DeleteNode(ctx context.Context, owner address.Address, node string) error {
	return d.node(ctx, owner, node, func(t *tx, id int64) error {
		if _, err := t.exec(`DELETE FROM item WHERE owner = ? AND node = ?`, id, node); err != nil {
			return err
		}
		_, err := t.exec(`DELETE FROM node WHERE owner = ? AND name = ?`, id, node)
		return err
	})
}

// PutItem implements [Items]; ErrNotFound without the node. A keep of zero or
// less keeps all.
func (d *DB) PutItem(ctx context.Context, owner address.Address, node string, it Item, keep int) error {
	return d.node(ctx, owner, node, func(t *tx, id int64) error {
		// An item that is replaced is the newest again.
		_, err := t.exec(`INSERT INTO item (owner, node, id, seq, publisher, at, raw) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (owner, node, id) DO UPDATE SET seq = excluded.seq, publisher = excluded.publisher, at = excluded.at, raw = excluded.raw`,
			id, node, it.ID, d.clock.next(), it.Publisher.String(), micros(it.At), nullable(it.Raw))
		if err != nil || keep <= 0 {
			return err
		}
		_, err = t.exec(`DELETE FROM item WHERE owner = ? AND node = ? AND seq <= (SELECT seq FROM item WHERE owner = ? AND node = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
			id, node, id, node, keep)
		return err
	})
}

const itemColumns = `SELECT id, publisher, at, raw FROM item WHERE owner = ? AND node = ? `

// Items implements [Items]; ErrNotFound without the node. IDs that are not there
// are left out; those that are come in the order that was asked for.
func (d *DB) Items(ctx context.Context, owner address.Address, node string, ids []string, max int) (list []Item, err error) {
	err = d.view(ctx, func(s session) error {
		list = nil
		id, err := d.owner(s, owner)
		if err != nil {
			return err
		}
		var there string
		if err := s.get(`SELECT name FROM node WHERE owner = ? AND name = ?`, []any{id, node}, &there); err != nil {
			return err
		}
		one := func(scan func(...any) error) error {
			var it Item
			var publisher string
			var at int64
			err := scan(&it.ID, &publisher, &at, &it.Raw)
			if err != nil {
				return err
			}
			it.At = fromMicros(at)
			it.Publisher, err = parse(publisher)
			list = append(list, it)
			return err
		}
		if len(ids) == 0 {
			return s.each(itemColumns+`ORDER BY seq DESC LIMIT ?`, []any{id, node, atMost(max)}, one)
		}
		for _, item := range ids {
			if max > 0 && len(list) == max {
				break
			}
			if err := s.each(itemColumns+`AND id = ?`, []any{id, node, item}, one); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// lastStep is how many owners one statement is for, and lastNodes of what its
// number of nodes is a multiple: so there are few such statements.
const (
	lastStep  = 64
	lastNodes = 8
)

// LastItems implements [Items]. It works in several statements.
func (d *DB) LastItems(ctx context.Context, owners []address.Address, nodes []string) (list []LastItem, err error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	wanted := make([]any, (len(nodes)+lastNodes-1)/lastNodes*lastNodes)
	for i := range wanted {
		wanted[i] = nodes[min(i, len(nodes)-1)]
	}
	for part := range slices.Chunk(owners, lastStep) {
		n := 1
		if len(part) > 1 {
			n = lastStep
		}
		at := make(map[address.Address]int, len(part))
		args := make([]any, 0, 2*n+len(wanted))
		for i := range n {
			var o address.Address // nobody's, to fill the statement up
			if i < len(part) {
				o = part[i].Bare()
				at[o] = i
			}
			args = append(args, o.Domain, o.Local)
		}
		query := `WITH w (domain, local) AS (VALUES (?, ?)` + strings.Repeat(", (?, ?)", n-1) + `)
			SELECT o.domain, o.local, n.name, n.config, i.id, i.publisher, i.at, i.raw FROM w
			JOIN owner o ON o.domain = w.domain AND o.local = w.local
			JOIN node n ON n.owner = o.id AND n.name IN (?` + strings.Repeat(", ?", len(wanted)-1) + `)
			JOIN item i ON i.owner = n.owner AND i.node = n.name
			AND i.seq = (SELECT max(l.seq) FROM item l WHERE l.owner = n.owner AND l.node = n.name)`
		args = append(args, wanted...)
		var found []LastItem
		err := d.read(ctx, func(s session) error {
			found = nil
			return s.each(query, args, func(scan func(...any) error) error {
				var it LastItem
				var publisher string
				var when int64
				err := scan(&it.Owner.Domain, &it.Owner.Local, &it.Node.Name, &it.Node.Config, &it.Item.ID, &publisher, &when, &it.Item.Raw)
				if err != nil {
					return err
				}
				it.Item.At = fromMicros(when)
				it.Item.Publisher, err = parse(publisher)
				found = append(found, it)
				return err
			})
		})
		if err != nil {
			return nil, err
		}
		slices.SortFunc(found, func(a, b LastItem) int {
			return cmp.Or(at[a.Owner]-at[b.Owner], strings.Compare(a.Node.Name, b.Node.Name))
		})
		list = append(list, found...)
	}
	return list, nil
}

// DeleteItem implements [Items]; ErrNotFound if there is none.
func (d *DB) DeleteItem(ctx context.Context, owner address.Address, node, item string) error {
	return d.node(ctx, owner, node, func(t *tx, id int64) error {
		return some(t.exec(`DELETE FROM item WHERE owner = ? AND node = ? AND id = ?`, id, node, item))
	})
}

// PurgeItems implements [Items]; ErrNotFound without the node.
func (d *DB) PurgeItems(ctx context.Context, owner address.Address, node string) error {
	return d.node(ctx, owner, node, func(t *tx, id int64) error {
		_, err := t.exec(`DELETE FROM item WHERE owner = ? AND node = ?`, id, node)
		return err
	})
}

// ItemBytes implements [Items].
func (d *DB) ItemBytes(ctx context.Context, owner address.Address) (n int64, err error) {
	err = d.read(ctx, func(s session) error {
		return s.get(`SELECT coalesce(sum(length(i.raw)), 0) FROM owner o JOIN item i ON i.owner = o.id WHERE o.domain = ? AND o.local = ?`,
			[]any{owner.Domain, owner.Local}, &n)
	})
	return n, err
}

// Tokens implements [Tokens], in the order in which they were put.
func (d *DB) Tokens(ctx context.Context, owner address.Address, clientID string) (list []Token, err error) {
	err = d.read(ctx, func(s session) error {
		return s.each(`SELECT t.client, t.mechanism, t.secret, t.issued, t.expires, t.counter FROM owner o JOIN token t ON t.owner = o.id
			WHERE o.domain = ? AND o.local = ? AND t.client = ? ORDER BY t.place`, []any{owner.Domain, owner.Local, clientID},
			func(scan func(...any) error) error {
				var k Token
				var issued, expires, count int64
				err := scan(&k.ClientID, &k.Mechanism, &k.Secret, &issued, &expires, &count)
				k.Issued, k.Expires, k.Count = fromMicros(issued), fromMicros(expires), uint64(count)
				list = append(list, k)
				return err
			})
	})
	return list, err
}

// maxTokens is how many a client has: the current and the one before.
const maxTokens = 2

// PutTokens implements [Tokens].
func (d *DB) PutTokens(ctx context.Context, owner address.Address, clientID string, tokens []Token) error {
	if len(tokens) > maxTokens {
		return ErrFull
	}
	return d.update(ctx, func(t *tx) error {
		id, err := t.account(owner)
		if err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM token WHERE owner = ? AND client = ?`, id, clientID); err != nil {
			return err
		}
		for i, k := range tokens {
			if _, err := t.exec(`INSERT INTO token (owner, client, place, mechanism, secret, issued, expires, counter) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
				id, clientID, i, k.Mechanism, filled(k.Secret), micros(k.Issued), micros(k.Expires), int64(k.Count)); err != nil {
				return err
			}
		}
		// Clients that were put away without a word leave theirs behind.
		_, err = t.exec(`DELETE FROM token WHERE owner = ? AND client IN
			(SELECT client FROM token WHERE owner = ? GROUP BY client ORDER BY max(issued) DESC, client LIMIT ? OFFSET ?)`,
			id, id, unlimited, maxTokenClients)
		return err
	})
}

// maxTokenClients is how many clients of an account have tokens: those with the newest.
const maxTokenClients = 50

// DeleteTokens implements [Tokens].
func (d *DB) DeleteTokens(ctx context.Context, owner address.Address) error {
	return d.update(ctx, func(t *tx) error {
		id, err := t.knownOwner(owner)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM token WHERE owner = ?`, id)
		return err
	})
}
