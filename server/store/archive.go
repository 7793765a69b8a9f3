package store

import (
	"bytes"
	"context"
	"time"
)

// A message is stored once, with its number and its bytes. Each archive that it
// is in has a narrow row with the owner, the number and the other side; they lie
// in the order of owners and numbers, so that an archive is read in one go.

// failed is a Pending that was never written.
type failed struct{ err error }

var always = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (f failed) Done() <-chan struct{} { return always }
func (f failed) Err() error            { return f.err }

// Archive implements [Archive]. Entries that follow each other with the same
// bytes, as those of a sender and a receiver do, are one message: they have the
// same ID and are stored once, also if they come one by one. The bytes are copied. It waits only when more is
// queued than [Options] allow; if ctx ends meanwhile, nothing is archived, the
// IDs stand for nothing, and the Pending has failed.
func (d *DB) Archive(ctx context.Context, entries []ArchiveAppend) ([]string, Pending) {
	ids := make([]string, len(entries))
	if len(entries) == 0 {
		return ids, failed{nil}
	}
	q := d.queue
	if err := q.lock(ctx); err != nil {
		for i := range ids {
			ids[i] = formatID(d.clock.next())
		}
		return ids, failed{err}
	}
	defer q.unlock()
	b := q.open()
	var last *row
	if n := len(b.rows); n > 0 {
		last = &b.rows[n-1]
	}
	for i, e := range entries {
		owner := e.Owner.Bare()
		if last != nil && last.n == 1 && last.copies[0].owner != owner && together(last.at, micros(e.At)) && bytes.Equal(b.raw[last.start:last.end], e.Raw) {
			last.copies[1] = copyOf{owner, e.With}
			last.n = 2
			ids[i] = formatID(last.seq)
			continue
		}
		start := len(b.raw)
		b.raw = append(b.raw, e.Raw...)
		b.rows = append(b.rows, row{seq: d.clock.next(), at: micros(e.At), start: start, end: len(b.raw), copies: [2]copyOf{{owner, e.With}}, n: 1})
		last = &b.rows[len(b.rows)-1]
		q.bytes += len(e.Raw) + rowOverhead
		ids[i] = formatID(last.seq)
	}
	return ids, b
}

// together reports times of one message, which a sender's archive and a receiver's
// are given one after the other.
func together(a, b int64) bool { return a-b < 1_000_000 && b-a < 1_000_000 }

// rowOverhead is what a waiting row takes besides its bytes.
const rowOverhead = 256

// archive writes a batch.
func (t *tx) archive(b *batch) error {
	for i := range b.rows {
		r := &b.rows[i]
		owner, err := t.owner(r.copies[0].owner)
		if err != nil {
			return err
		}
		var second any
		for j, c := range r.copies[:r.n] {
			id := owner
			if j == 1 {
				if id, err = t.owner(c.owner); err != nil {
					return err
				}
				second = id
			}
			bare := c.with.Bare().String()
			if _, err := t.exec(`INSERT INTO archive (owner, seq, at, peer, resource) VALUES (?, ?, ?, ?, ?)`, id, r.seq, r.at, bare, c.with.Resource); err != nil {
				return err
			}
		}
		if _, err := t.exec(`INSERT INTO message (seq, at, owner, owner2, raw) VALUES (?, ?, ?, ?, ?)`, r.seq, r.at, owner, second, filled(b.raw[r.start:r.end])); err != nil {
			return err
		}
	}
	return nil
}

// deleteArchive removes the whole archive of an owner. A message stays while it
// is in the archive of another.
func (t *tx) deleteArchive(id int64) error {
	if err := t.keepClock(); err != nil {
		return err
	}
	for _, q := range []string{
		`DELETE FROM message WHERE seq IN (SELECT seq FROM archive WHERE owner = ?) AND owner = ? AND owner2 IS NULL`,
		`UPDATE message SET owner = owner2, owner2 = NULL WHERE seq IN (SELECT seq FROM archive WHERE owner = ?) AND owner = ?`,
		`UPDATE message SET owner2 = NULL WHERE seq IN (SELECT seq FROM archive WHERE owner = ?) AND owner2 = ?`,
	} {
		if _, err := t.exec(q, id, id); err != nil {
			return err
		}
	}
	_, err := t.exec(`DELETE FROM archive WHERE owner = ?`, id)
	return err
}

// late is how much older than its place an entry may be; older ones are found by
// an index of their own. The schema says the same.
const late = 24 * time.Hour

// expireStep is how many messages are removed in one transaction, so that other
// writes come through.
const expireStep = 2000

// ExpireArchive implements [Archive]. It works in several transactions.
func (d *DB) ExpireArchive(ctx context.Context, before time.Time) (int, error) {
	total := 0
	limit := micros(before)
	for _, query := range []string{
		`SELECT seq, owner, coalesce(owner2, 0) FROM message WHERE seq > ? AND seq < ? AND at < ? ORDER BY seq LIMIT ?`,
		`SELECT seq, owner, coalesce(owner2, 0) FROM message WHERE seq > ? AND seq >= ? AND at < ? AND at < seq - 86400000000 ORDER BY seq LIMIT ?`,
	} {
		after := int64(0)
		for {
			var found, removed int
			err := d.update(ctx, func(t *tx) error {
				found, removed = 0, 0
				last := after
				var gone [][3]int64
				err := t.each(query, []any{after, limit + late.Microseconds(), limit, expireStep}, func(scan func(...any) error) error {
					var m [3]int64
					err := scan(&m[0], &m[1], &m[2])
					gone = append(gone, m)
					return err
				})
				if err != nil || len(gone) == 0 {
					return err
				}
				if err := t.keepClock(); err != nil {
					return err
				}
				for _, m := range gone {
					for _, owner := range m[1:] {
						n, err := t.exec(`DELETE FROM archive WHERE owner = ? AND seq = ?`, owner, m[0])
						if err != nil {
							return err
						}
						removed += int(n)
					}
					if _, err := t.exec(`DELETE FROM message WHERE seq = ?`, m[0]); err != nil {
						return err
					}
					last = m[0]
				}
				found = len(gone)
				after = last
				return nil
			})
			if err != nil {
				return total, err
			}
			total += removed
			if found < expireStep {
				break
			}
		}
	}
	return total, nil
}
