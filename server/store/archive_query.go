package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"xmpp-gw/internal/address"
)

// condition is the part of a statement that selects entries.
type condition struct {
	where []string
	args  []any
}

func (c *condition) add(where string, args ...any) {
	c.where = append(c.where, where)
	c.args = append(c.args, args...)
}

func (c condition) with(where string, args ...any) condition {
	return condition{append(slices.Clip(c.where), where), append(slices.Clip(c.args), args...)}
}

func (c condition) String() string { return strings.Join(c.where, " AND ") }

const entryColumns = `SELECT a.seq, a.at, a.peer, a.resource, m.raw FROM archive a JOIN message m ON m.seq = a.seq WHERE `

func scanEntry(scan func(...any) error) (e ArchiveEntry, seq int64, err error) {
	var at int64
	var peer, resource string
	if err := scan(&seq, &at, &peer, &resource, &e.Raw); err != nil {
		return e, 0, err
	}
	e.ID, e.At = formatID(seq), fromMicros(at)
	if resource != "" {
		peer += "/" + resource
	}
	e.With, err = parse(peer)
	return e, seq, err
}

// settle waits for the entries that were archived before now: a query sees them.
func (d *DB) settle(ctx context.Context) error {
	b := d.queue.last()
	if b == nil {
		return ctx.Err()
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// QueryArchive implements [Archive]. It sees all entries that were added before
// it was called. A Max below zero gives no entries, for those who only count.
func (d *DB) QueryArchive(ctx context.Context, owner address.Address, q ArchiveQuery) (page ArchivePage, err error) {
	if err := d.settle(ctx); err != nil {
		return page, err
	}
	err = d.view(ctx, func(s session) error {
		id, err := d.owner(s, owner)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		page, err = queryArchive(s, id, q) // without an owner there is nothing to find
		return err
	})
	return page, err
}

func queryArchive(s session, owner int64, q ArchiveQuery) (page ArchivePage, err error) {
	page.Total, page.First = -1, -1
	all := condition{}
	all.add("a.owner = ?", owner)
	if !q.With.IsZero() {
		all.add("a.peer = ?", q.With.Bare().String())
		if q.With.Resource != "" {
			all.add("a.resource = ?", q.With.Resource)
		}
	}
	if !q.Start.IsZero() {
		all.add("a.at >= ?", micros(q.Start))
	}
	if !q.End.IsZero() {
		all.add("a.at <= ?", micros(q.End))
	}
	for _, b := range []struct{ id, where string }{{q.AfterID, "a.seq > ?"}, {q.BeforeID, "a.seq < ?"}} {
		if b.id != "" {
			seq, err := entrySeq(s, owner, b.id)
			if err != nil {
				return page, err
			}
			all.add(b.where, seq)
		}
	}
	if len(q.IDs) > 0 {
		var in []any
		for _, id := range q.IDs {
			seq, err := entrySeq(s, owner, id)
			if err != nil {
				return page, err
			}
			in = append(in, seq)
		}
		all.add("a.seq IN (?"+strings.Repeat(", ?", len(in)-1)+")", in...)
	}
	bounded := all
	for _, b := range []struct{ id, where string }{{q.PageAfter, "a.seq > ?"}, {q.PageBefore, "a.seq < ?"}} {
		if b.id != "" {
			seq, err := entrySeq(s, owner, b.id)
			if err != nil {
				return page, err
			}
			bounded = bounded.with(b.where, seq)
		}
	}
	first, err := readPage(s, bounded, q, &page)
	if err != nil || !q.Total {
		return page, err
	}
	if err := s.get(`SELECT count(*) FROM archive a WHERE `+all.String(), all.args, &page.Total); err != nil {
		return page, err
	}
	if first == 0 {
		return page, nil
	}
	before := all.with("a.seq < ?", first)
	return page, s.get(`SELECT count(*) FROM archive a WHERE `+before.String(), before.args, &page.First)
}

// errEnough ends the reading of a page that has grown too large.
var errEnough = errors.New("store: the page is large enough")

// readPage reads one entry more than the page has, to know whether it is the last.
func readPage(s session, c condition, q ArchiveQuery, page *ArchivePage) (first int64, err error) {
	if q.Max < 0 {
		return 0, nil
	}
	order := " ORDER BY a.seq LIMIT ?"
	if q.Backwards {
		order = " ORDER BY a.seq DESC LIMIT ?"
	}
	var seqs []int64
	size := 0
	err = s.each(entryColumns+c.String()+order, append(slices.Clip(c.args), atMost(q.Max)+1), func(scan func(...any) error) error {
		e, seq, err := scanEntry(scan)
		if err != nil {
			return err
		}
		if size += len(e.Raw); q.MaxBytes > 0 && size > q.MaxBytes && len(seqs) > 0 {
			return errEnough
		}
		page.Entries = append(page.Entries, e)
		seqs = append(seqs, seq)
		return nil
	})
	if err != nil && err != errEnough {
		return 0, err
	}
	page.Complete = err == nil && (q.Max == 0 || len(seqs) <= q.Max)
	if q.Max > 0 && len(seqs) > q.Max {
		page.Entries, seqs = page.Entries[:q.Max], seqs[:q.Max]
	}
	if q.Backwards {
		slices.Reverse(page.Entries)
		slices.Reverse(seqs)
	}
	if len(seqs) > 0 {
		first = seqs[0]
	}
	return first, nil
}

// entrySeq is the number of an entry that exists in the owner's archive.
func entrySeq(s session, owner int64, id string) (int64, error) {
	seq, err := parseID(id)
	if err != nil {
		return 0, err
	}
	var there int64
	return seq, s.get(`SELECT seq FROM archive WHERE owner = ? AND seq = ?`, []any{owner, seq}, &there)
}

// ArchiveEnds implements [Archive].
func (d *DB) ArchiveEnds(ctx context.Context, owner address.Address) (first, last *ArchiveEntry, err error) {
	if err := d.settle(ctx); err != nil {
		return nil, nil, err
	}
	err = d.view(ctx, func(s session) error {
		id, err := d.owner(s, owner)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		one := func(order string) (*ArchiveEntry, error) {
			e, _, err := scanEntry(func(dest ...any) error {
				return s.get(entryColumns+"a.owner = ? ORDER BY a.seq "+order+" LIMIT 1", []any{id}, dest...)
			})
			if errors.Is(err, ErrNotFound) {
				return nil, nil
			}
			return &e, err
		}
		if first, err = one("ASC"); err != nil {
			return err
		}
		last, err = one("DESC")
		return err
	})
	return first, last, err
}
