package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// advisoryLock is the number of the lock that says "a node uses this database".
const advisoryLock = 0x786d70702d6777 // "xmpp-gw"

func openPostgres(ctx context.Context, dsn string, opts Options) (*DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		// pgx leaves the password out of this error, but not all else.
		return nil, &Error{what: "the store cannot be opened", why: "its address is no PostgreSQL address", hint: "write postgres://user@host/database", cause: err}
	}
	config.RuntimeParams["application_name"] = "xmpp-gw"
	// An acknowledged write is on disk, whatever the server's default is.
	config.RuntimeParams["synchronous_commit"] = "on"
	name := config.Database + " at " + config.Host
	w := stdlib.OpenDB(*config)
	w.SetMaxIdleConns(-1) // one that is given up ends
	r := stdlib.OpenDB(*config)
	return &DB{dialect: postgresDialect(name), opts: opts, writer: w, readers: newReaders(r, opts.Readers)}, nil
}

// Texts are compared byte by byte, as SQLite does.
var postgresTypes = strings.NewReplacer("{id}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "{int}", "BIGINT", "{bytes}", "BYTEA", "{text}", `TEXT COLLATE "C"`, "{clustered}", "")

func postgresDialect(name string) dialect {
	return dialect{
		name:      name,
		types:     postgresTypes,
		begin:     "BEGIN",
		snapshot:  "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		rebind:    numbered,
		claim:     claimPostgres,
		check:     func(ctx context.Context, s session, quick bool) error { return nil }, // the server's own task
		explain:   func(what string, err error) error { return explainPostgres(what, name, err) },
		fatal:     func(err error) bool { return !postgresOwn(err) && postgresKnown(err) },
		separable: postgresOwn,
		hasTable:  `SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?`,
		reconnect: true,
	}
}

// claimPostgres makes the session the only one that writes: the lock lasts as
// long as the session, so who lost it cannot write.
// A process that has just ended may keep it for a moment.
func claimPostgres(ctx context.Context, c *sql.Conn) error {
	for patience := 20; ; patience-- {
		var ok bool
		err := c.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(advisoryLock)).Scan(&ok)
		switch {
		case err != nil || ok:
			return err
		case patience == 0:
			return errInUse
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// postgresClass is the class of an error code, "" for an error of something else.
func postgresClass(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) && len(e.Code) == 5 {
		return e.Code[:2]
	}
	return ""
}

// postgresOwn tells errors of one statement from those of the database.
func postgresOwn(err error) bool {
	switch postgresClass(err) {
	case "22", "23", "40", "42": // data, constraint, serialisation, name
		return true
	}
	return false
}

// postgresKnown tells errors of the database from those of this package.
func postgresKnown(err error) bool {
	var connect *pgconn.ConnectError
	return postgresClass(err) != "" || errors.As(err, &connect) || errors.Is(err, sql.ErrConnDone) || pgconn.Timeout(err)
}

func explainPostgres(what, name string, err error) error {
	var connect *pgconn.ConnectError
	why, hint := "", ""
	switch class := postgresClass(err); {
	case errors.Is(err, errInUse):
		why = err.Error()
	case errors.As(err, &connect):
		why, hint = "PostgreSQL does not answer or does not let us in", "see that it runs, and that address, user and password are right"
	case class == "53":
		why, hint = "PostgreSQL has no room left (disk, memory or connections)", "look at its log"
	case class == "25":
		why, hint = "the database is read-only", "name the primary server"
	case class == "XX", class == "58":
		why, hint = "PostgreSQL reports damage or a failure of its system", "look at its log"
	case class == "57":
		why, hint = "PostgreSQL is shutting down or starting", "wait until it is up"
	case class == "42":
		why, hint = "this user may not do that, or the schema is not ours", "give the user a database of its own"
	default:
		return err
	}
	return &Error{what: what + " (" + name + ")", why: why, hint: hint, cause: err}
}
