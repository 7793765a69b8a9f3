package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"xmpp-gw/internal/ownfile"
	"xmpp-gw/internal/sentence"
)

// The settings of SQLite.
//
// journal_mode WAL: readers do not wait for the writer, and a transaction is one
// write at the end of one file. synchronous FULL: that file is synced before a
// commit returns. With NORMAL, WAL is only synced when it is copied into the
// database: a power cut would take acknowledged writes back. EXTRA adds nothing
// to WAL.
const (
	walPragmas   = "_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)&_pragma=cache_size(-16000)"
	readPragmas  = "_pragma=query_only(1)&_pragma=cache_size(-2000)"
	everyPragmas = "_pragma=busy_timeout(5000)&_pragma=trusted_schema(0)"
)

func openSQLite(ctx context.Context, path string, opts Options) (*DB, error) {
	if path == ":memory:" {
		w, err := sql.Open("sqlite", "file::memory:?"+everyPragmas)
		if err != nil {
			return nil, err
		}
		w.SetMaxIdleConns(-1)
		return &DB{dialect: sqliteDialect("memory"), opts: opts, writer: w}, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	made, release, err := prepareFile(path)
	if err != nil {
		e := &Error{what: "the database cannot be used (" + path + ")", why: err.Error(), cause: err}
		if errors.Is(err, fs.ErrPermission) || isReadOnly(err) {
			e.why, e.hint = "the file or its folder cannot be written", "let this user write "+path+" and its folder"
		}
		return nil, e
	}
	// The path is escaped: a ? in it would begin the settings.
	name := (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
	w, err := sql.Open("sqlite", name+"?"+everyPragmas+"&"+walPragmas)
	if err != nil {
		release()
		return nil, err
	}
	w.SetMaxIdleConns(-1) // one that is given up ends
	r, err := sql.Open("sqlite", name+"?"+everyPragmas+"&"+readPragmas)
	if err != nil {
		_ = w.Close()
		release()
		return nil, err
	}
	return &DB{dialect: sqliteDialect(path), opts: opts, writer: w, readers: newReaders(r, opts.Readers), release: release, made: made}, nil
}

// prepareFile makes the file where it is missing, refuses one that is not ours
// alone, and takes it for this process. made is the file if it is new.
func prepareFile(path string) (made string, release func(), err error) {
	if err := ownfile.Dir(filepath.Dir(path), ownfile.NoWriters); err != nil {
		return "", nil, err
	}
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	// SQLite takes an empty file for a new database. Made this way it has the
	// right mode from the beginning, which SQLite gives to its other files as
	// well, and its name lasts through a power cut.
	err = ownfile.Create(path, nil)
	if err == nil {
		return path, unlock, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return "", nil, err
	}
	if err := ownfile.Check(path, ownfile.NoAccess); err != nil {
		return "", nil, err
	}
	// An empty one that was there before is what a failing disk leaves of a
	// database. It must not pass for a new one.
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		return "", nil, errors.Join(err, errEmpty)
	}
	return "", unlock, nil
}

var errEmpty = errors.New("the file is empty, so what was in it is lost; put the last good copy in its place, or remove the file to begin anew")

var sqliteTypes = strings.NewReplacer("{id}", "INTEGER PRIMARY KEY AUTOINCREMENT", "{int}", "INTEGER", "{bytes}", "BLOB", "{text}", "TEXT", "{clustered}", " WITHOUT ROWID")

func sqliteDialect(name string) dialect {
	return dialect{
		name:      name,
		types:     sqliteTypes,
		begin:     "BEGIN IMMEDIATE",
		snapshot:  "BEGIN",
		rebind:    func(q string) string { return q },
		check:     sqliteCheck,
		explain:   func(what string, err error) error { return explainSQLite(what, name, err) },
		fatal:     func(err error) bool { return sqliteCode(err) != 0 && !sqliteOwn(err) },
		separable: sqliteOwn,
		hasTable:  `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?`,
	}
}

// sqliteCheck reads every page: quickly means without comparing the indices with
// their tables.
func sqliteCheck(ctx context.Context, s session, quick bool) error {
	pragma := `PRAGMA integrity_check(3)`
	if quick {
		pragma = `PRAGMA quick_check(3)`
	}
	var damage []string
	err := s.each(pragma, nil, func(scan func(...any) error) error {
		var line string
		if err := scan(&line); err != nil {
			return err
		}
		if line != "ok" {
			damage = append(damage, line)
		}
		return nil
	})
	if err == nil && len(damage) > 0 {
		err = &damaged{strings.Join(damage, "; ")}
	}
	return err
}

// damaged is what a check found.
type damaged struct{ found string }

func (e *damaged) Error() string { return "it is damaged: " + e.found }

// sqliteCode is the primary result code, 0 for an error of something else.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// sqliteOwn tells errors of one statement from those of the database.
func sqliteOwn(err error) bool {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return true
	}
	return false
}

func explainSQLite(what, name string, err error) error {
	var d *damaged
	code := sqliteCode(err)
	why, hint := "", ""
	switch {
	case errors.As(err, &d):
		why, hint = d.Error(), "put the last good copy of "+name+" in its place"
	case code == sqlite3.SQLITE_CORRUPT, code == sqlite3.SQLITE_SCHEMA:
		why, hint = "it is damaged", "put the last good copy of "+name+" in its place"
	case code == sqlite3.SQLITE_NOTADB:
		why, hint = "the file is no SQLite database, or is damaged", "put the last good copy in its place, or name another file"
	case code == sqlite3.SQLITE_FULL:
		why, hint = "the disk is full", "make room where "+name+" is"
	case code == sqlite3.SQLITE_READONLY, code == sqlite3.SQLITE_CANTOPEN, code == sqlite3.SQLITE_PERM:
		why, hint = "the file or its folder cannot be written", "let this user write "+name+" and its folder"
	case code == sqlite3.SQLITE_IOERR:
		why, hint = "the disk reports an error or is full", "look at the disk where "+name+" is, and at the system's log"
	case code == sqlite3.SQLITE_BUSY, code == sqlite3.SQLITE_LOCKED:
		why, hint = "another program is using the file", "end the other program that has "+name+" open"
	default:
		return err
	}
	return &Error{what: what + " (" + name + ")", why: why, hint: hint, cause: err}
}

// Error is a failure of the database, as a sentence.
type Error struct {
	what, why, hint string
	cause           error
}

func (e *Error) Error() string { return sentence.Of(e.what, e.why, e.hint) }

// Unwrap is the database's own error.
func (e *Error) Unwrap() error { return e.cause }
