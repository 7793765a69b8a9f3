package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"
)

// conn is a connection with its prepared statements. One at a time uses it.
type conn struct {
	sql    *sql.Conn
	rebind func(string) string
	stmts  map[string]*sql.Stmt
	used   time.Time
}

// maxStmts is how many statements a connection keeps. There are fewer, but for
// queries for lists of IDs, each length of which is a statement.
const maxStmts = 256

func newConn(ctx context.Context, db *sql.DB, rebind func(string) string) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{sql: c, rebind: rebind, stmts: map[string]*sql.Stmt{}}, nil
}

func (c *conn) close() {
	c.forget()
	_ = c.sql.Close()
}

func (c *conn) forget() {
	for _, s := range c.stmts {
		_ = s.Close()
	}
	clear(c.stmts)
}

// session begins to use the connection.
func (c *conn) session(ctx context.Context) session {
	if len(c.stmts) > maxStmts {
		c.forget()
	}
	return session{ctx, func(query string) (*sql.Stmt, error) {
		if s, ok := c.stmts[query]; ok {
			return s, nil
		}
		s, err := c.sql.PrepareContext(ctx, c.rebind(query))
		if err != nil {
			return nil, err
		}
		c.stmts[query] = s
		return s, nil
	}}
}

// readers are the connections that read. They are made when they are needed.
type readers struct {
	db    *sql.DB
	limit chan struct{} // a place for each that is in use

	mu   sync.Mutex
	idle []*conn
}

func newReaders(db *sql.DB, n int) *readers {
	db.SetMaxIdleConns(-1) // one that is given up may be in a transaction: it ends
	return &readers{db: db, limit: make(chan struct{}, n)}
}

// get gives a connection for one use, waiting for one if all are in use.
func (r *readers) get(ctx context.Context, d *dialect) (*conn, error) {
	select {
	case r.limit <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		c := r.pop()
		if c == nil {
			break
		}
		// A server may have gone while the connection was idle.
		if d.reconnect && time.Since(c.used) > time.Second && c.sql.PingContext(ctx) != nil {
			c.close()
			continue
		}
		return c, nil
	}
	c, err := newConn(ctx, r.db, d.rebind)
	if err != nil {
		<-r.limit
	}
	return c, err
}

func (r *readers) pop() *conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.idle)
	if n == 0 {
		return nil
	}
	c := r.idle[n-1]
	r.idle = r.idle[:n-1]
	return c
}

func (r *readers) put(c *conn, good bool) {
	if good {
		c.used = time.Now()
		r.mu.Lock()
		r.idle = append(r.idle, c)
		r.mu.Unlock()
	} else {
		c.close()
	}
	<-r.limit
}

func (r *readers) close() error {
	for c := r.pop(); c != nil; c = r.pop() {
		c.close()
	}
	return r.db.Close()
}

// read runs single reads.
func (d *DB) read(ctx context.Context, f func(s session) error) error {
	return d.reading(ctx, f, false)
}

// view runs reads that see one state of the database.
func (d *DB) view(ctx context.Context, f func(s session) error) error { return d.reading(ctx, f, true) }

func (d *DB) reading(ctx context.Context, f func(s session) error, snapshot bool) error {
	return d.dialect.explain("the database cannot be read", func() (err error) {
		if d.readers == nil {
			d.one.Lock() // no write comes in between
			defer d.one.Unlock()
			if err := ctx.Err(); err != nil {
				return err
			}
			return f(d.conn.session(ctx))
		}
		c, err := d.readers.get(ctx, &d.dialect)
		if err != nil {
			return err
		}
		defer func() {
			d.readers.put(c, err == nil || errors.Is(err, ErrNotFound))
		}()
		s := c.session(ctx)
		if !snapshot {
			return f(s)
		}
		if _, err := s.exec(d.dialect.snapshot); err != nil {
			return err
		}
		if err := f(s); err != nil && !errors.Is(err, ErrNotFound) {
			return err // the connection is given up, and the transaction with it
		} else if _, rerr := s.exec(`ROLLBACK`); rerr != nil {
			return rerr // nothing was written
		} else {
			return err
		}
	}())
}
