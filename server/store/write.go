package store

import (
	"context"
	"errors"
	"maps"
	"time"

	"xmpp-gw/internal/address"
)

// One goroutine writes. It takes everything that waits, runs it in one
// transaction, and tells all who waited: while the disk is busy with one
// transaction the next one gathers. Each write is a savepoint, so that one that
// fails leaves the others alone.

// maxJobs bounds a transaction, and with it how long a write waits for others.
const maxJobs = 512

// tx is the transaction that is being written, as one write sees it.
type tx struct {
	session
	db *DB
	// The numbers of owners that were made or read, and owners that were removed.
	// They count for others once the transaction is on disk.
	owners map[address.Address]int64
	gone   map[address.Address]bool
}

// update runs f in a transaction and returns when that is on disk. f may run
// again after a failure, so it sets what it returns rather than adding to it.
// An error of ctx means that nothing was written.
func (d *DB) update(ctx context.Context, f func(t *tx) error) error {
	j := &job{run: f, done: make(chan struct{})}
	if err := d.queue.add(ctx, j); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.abandon() {
			return ctx.Err()
		}
		<-j.done // it is being written
	}
	return d.dialect.explain("the database did not take a write", j.err)
}

// write is the goroutine.
func (d *DB) write() {
	defer close(d.stopped)
	var last time.Time
	for {
		jobs, batch, ok := d.queue.take(last.Add(d.opts.Gather))
		if !ok {
			return
		}
		last = time.Now()
		d.commit(jobs, batch)
	}
}

// commit writes all jobs and the archive's entries, together if possible.
func (d *DB) commit(jobs []*job, b *batch) {
	if d.readers == nil {
		d.one.Lock()
		defer d.one.Unlock()
	}
	err := d.together(jobs, b)
	if err != nil && len(jobs)+b.count() > 1 && d.dialect.separable(err) {
		// What cannot be written together may be written one by one.
		for _, j := range jobs {
			j.err = d.together([]*job{j}, nil)
		}
		if b != nil {
			b.err = d.together(nil, b)
		}
	} else if err != nil {
		for _, j := range jobs {
			j.err = err
		}
		if b != nil {
			b.err = err
		}
	}
	for _, j := range jobs {
		close(j.done)
	}
	if b != nil {
		b.err = d.dialect.explain("the archive did not take messages", b.err)
		close(b.done)
	}
	d.queue.written(b)
}

// together is one transaction. Its error is that of the transaction; those of
// single writes are in the jobs, if there are several.
func (d *DB) together(jobs []*job, b *batch) (err error) {
	t, err := d.begin()
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		if _, rerr := t.exec(`ROLLBACK`); rerr != nil && d.dialect.reconnect {
			d.disconnect() // in an unknown state
		}
	}()
	alone := len(jobs) == 1 && b == nil
	for _, j := range jobs {
		if alone {
			err = j.run(t)
		} else {
			err = t.savepoint(j)
		}
		if err != nil {
			return err
		}
	}
	if b != nil {
		if err := t.archive(b); err != nil {
			return err
		}
	}
	if _, err := t.exec(`COMMIT`); err != nil {
		return err
	}
	for a := range t.gone {
		d.owners.remove(a)
	}
	d.owners.add(t.owners)
	return nil
}

// begin begins a transaction. A connection that turns out to be dead is made
// anew, as nothing has been written yet.
func (d *DB) begin() (*tx, error) {
	ctx := context.Background() // what has begun is finished
	for again := d.dialect.reconnect; ; again = false {
		c, err := d.connection(ctx)
		if err != nil {
			return nil, err
		}
		t := &tx{session: c.session(ctx), db: d, owners: map[address.Address]int64{}, gone: map[address.Address]bool{}}
		if _, err = t.exec(d.dialect.begin); err == nil {
			return t, nil
		}
		if d.dialect.reconnect {
			d.disconnect()
		}
		if !again {
			return nil, err
		}
	}
}

func (d *DB) disconnect() {
	d.conn.close()
	d.conn = nil
}

// savepoint runs one of several writes. What it returns is the end of the
// transaction; the write's own failure is in j.err.
func (t *tx) savepoint(j *job) error {
	if _, err := t.exec(`SAVEPOINT one`); err != nil {
		return err
	}
	owners, gone := maps.Clone(t.owners), maps.Clone(t.gone)
	if j.err = j.run(t); j.err != nil {
		if t.db.dialect.fatal(j.err) {
			return j.err
		}
		t.owners, t.gone = owners, gone
		if _, err := t.exec(`ROLLBACK TO SAVEPOINT one`); err != nil {
			return err
		}
	}
	_, err := t.exec(`RELEASE SAVEPOINT one`)
	return err
}

// connect opens the connection that writes.
func (d *DB) connect(ctx context.Context) (*conn, error) {
	c, err := newConn(ctx, d.writer, d.dialect.rebind)
	if err != nil || d.dialect.claim == nil {
		return c, err
	}
	if err := d.dialect.claim(ctx, c.sql); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// connection is the one that there is, or a new one in place of one that broke.
func (d *DB) connection(ctx context.Context) (*conn, error) {
	if d.conn == nil {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		c, err := d.connect(ctx)
		if err != nil {
			return nil, err
		}
		d.conn = c
	}
	return d.conn, nil
}

// errClosed is what writes get after Close.
var errClosed = errors.New("the store is closed")
