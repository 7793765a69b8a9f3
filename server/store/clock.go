package store

import (
	"strconv"
	"sync"
	"time"
)

// clock gives the numbers that messages are ordered by: the time in
// microseconds, or one more than the last where that is higher. So numbers need
// no disk, tell nobody how much is going on, and are never given twice: the
// highest that was ever deleted is kept, for a clock that goes backwards.
type clock struct {
	mu   sync.Mutex
	last int64
}

func (c *clock) next() int64 {
	now := time.Now().UnixMicro()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now <= c.last {
		now = c.last + 1
	}
	c.last = now
	return now
}

// resumeClock goes on behind all numbers that were given.
func (d *DB) resumeClock(s session) error {
	for _, query := range []string{
		`SELECT coalesce(max(seq), 0) FROM message`,
		`SELECT coalesce(max(id), 0) FROM offline`,
		`SELECT coalesce(max(seq), 0) FROM item`,
		`SELECT value FROM meta WHERE name = 'clock'`,
	} {
		var n int64
		if err := s.get(query, nil, &n); err != nil {
			return err
		}
		d.clock.last = max(d.clock.last, n)
	}
	return nil
}

// keepClock remembers that numbers up to now were given, before some are deleted.
func (t *tx) keepClock() error {
	now := t.db.clock.next()
	_, err := t.exec(`UPDATE meta SET value = ? WHERE name = 'clock' AND value < ?`, now, now)
	return err
}

// formatID is a number as an archive's ID.
func formatID(seq int64) string { return strconv.FormatInt(seq, 36) }

// parseID accepts what formatID makes, nothing else.
func parseID(id string) (int64, error) {
	seq, err := strconv.ParseInt(id, 36, 64)
	if err != nil || seq <= 0 || formatID(seq) != id {
		return 0, ErrNotFound
	}
	return seq, nil
}
