package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"xmpp-gw/internal/address"
)

// DB is the [Store] over SQL.
type DB struct {
	dialect dialect
	opts    Options
	queue   *queue
	owners  ownerCache
	clock   clock

	writer  *sql.DB    // the pool that the one writing connection comes from
	readers *readers   // nil where there is only one connection: a database in memory
	one     sync.Mutex // held while that one connection is used
	conn    *conn      // of the writing goroutine; under one where readers is nil
	release func()     // lets go of the file
	made    string     // the file, if it was made by Open
	stopped chan struct{}
	closing sync.Once
	running bool
}

var _ Store = (*DB)(nil)

// start brings the schema up to date, looks the database through and starts the
// goroutine that writes.
func (d *DB) start(ctx context.Context) error {
	d.stopped = make(chan struct{})
	d.queue = newQueue(d.opts.Queue)
	d.owners.ids = make(map[address.Address]int64)
	c, err := d.connect(ctx)
	if err != nil {
		return d.dialect.explain("the database cannot be opened", err)
	}
	d.conn = c
	if err := d.dialect.check(ctx, c.session(ctx), true); err != nil {
		return d.dialect.explain("the database cannot be used", err)
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	if err := d.resumeClock(c.session(ctx)); err != nil {
		return d.dialect.explain("the database cannot be read", err)
	}
	d.running = true
	go d.write()
	return nil
}

// Close waits for the writes that have been asked for, and closes the database.
func (d *DB) Close() error {
	var err error
	d.closing.Do(func() {
		if d.queue != nil {
			d.queue.close()
		}
		if d.running {
			<-d.stopped
		}
		if d.conn != nil {
			d.conn.close()
		}
		if d.readers != nil {
			err = d.readers.close()
		}
		err = errors.Join(err, d.writer.Close())
		if d.release != nil {
			d.release()
		}
	})
	return err
}

// Check reads the whole database through.
func (d *DB) Check(ctx context.Context) error {
	err := d.view(ctx, func(s session) error { return d.dialect.check(ctx, s, false) })
	return d.dialect.explain("the database is not in order", err)
}

// session runs statements, in a transaction or outside of one. It prepares each
// once a connection.
type session struct {
	ctx  context.Context
	stmt func(query string) (*sql.Stmt, error)
}

// exec says how many rows changed.
func (s session) exec(query string, args ...any) (int64, error) {
	st, err := s.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := st.ExecContext(s.ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// get reads one row; no row is ErrNotFound.
func (s session) get(query string, args []any, dest ...any) error {
	st, err := s.stmt(query)
	if err != nil {
		return err
	}
	err = st.QueryRowContext(s.ctx, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// each calls row for every row.
func (s session) each(query string, args []any, row func(scan func(...any) error) error) error {
	st, err := s.stmt(query)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(s.ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// micros is how a time is kept: microseconds since 1970, zero for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// nullable is NULL for nil.
func nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// filled is never NULL.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// parse reads an address that this package wrote: it was normalised before.
func parse(s string) (address.Address, error) {
	if s == "" {
		return address.Address{}, nil
	}
	return address.Parse(s)
}
