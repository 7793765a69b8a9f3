package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"xmpp-gw/internal/sentence"
)

// Options are the settings of a database. The zero value is right for a node.
type Options struct {
	// Gather is how long archive entries may wait for others to share a
	// transaction with, counted from the last one: a lone entry never waits.
	// Zero is 10 ms.
	Gather time.Duration
	// Queue is how many bytes of writes may wait for the disk before those who
	// add more have to wait as well. Zero is 16 MiB.
	Queue int
	// Readers is how many reads run at the same time. Zero is 4.
	Readers int
}

func (o Options) withDefaults() Options {
	if o.Gather == 0 {
		o.Gather = 10 * time.Millisecond
	}
	if o.Queue == 0 {
		o.Queue = 16 << 20
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	return o
}

// Open opens a database, and makes it or brings it up to date where needed. dsn is
//
//	sqlite:PATH                   a file; its folder is made where it is missing
//	sqlite::memory:               for tests: everything is gone at Close
//	postgres://user@host/name     as for psql
//
// The file is for this process alone: another one that has it open is refused,
// and so is a file that others may read, one that is damaged or read-only, and
// one of a newer version of this program. The error says what to do.
func Open(ctx context.Context, dsn string, opts Options) (*DB, error) {
	opts = opts.withDefaults()
	var (
		d   *DB
		err error
	)
	switch scheme, rest, _ := strings.Cut(dsn, ":"); {
	case scheme == "sqlite" && rest != "":
		d, err = openSQLite(ctx, rest, opts)
	case scheme == "postgres" || scheme == "postgresql":
		d, err = openPostgres(ctx, dsn, opts)
	default:
		return nil, fmt.Errorf("%s", sentence.Of("the store cannot be opened", "its address names no database that is known here",
			`write "sqlite:node.db" or "postgres://user@host/database"`))
	}
	if err != nil {
		return nil, err
	}
	if err := d.start(ctx); err != nil {
		_ = d.Close()
		if d.made != "" {
			_ = os.Remove(d.made) // not yet a database
		}
		return nil, err
	}
	return d, nil
}
