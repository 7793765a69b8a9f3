package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"xmpp-gw/internal/sentence"
)

// errInUse: another process has the database.
var errInUse = errors.New("another process has it open; end that one first (a second xmpp-gw, perhaps)")

//go:embed migrations/*.sql
var migrations embed.FS

// steps are the migrations in order; the version of a database is how many it has.
func steps() ([]string, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var all []string
	for i, name := range names {
		if !strings.HasPrefix(path.Base(name), fmt.Sprintf("%04d_", i+1)) {
			return nil, fmt.Errorf("migration %s is out of order", name)
		}
		b, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, string(b))
	}
	return all, nil
}

// migrate brings the schema up to date, in one transaction: after a failure the
// database is what it was.
func (d *DB) migrate(ctx context.Context) (err error) {
	all, err := steps()
	if err != nil {
		return err
	}
	s := d.conn.session(ctx)
	run := func(q string) {
		if err == nil {
			_, err = d.conn.sql.ExecContext(ctx, q)
		}
	}
	run(d.dialect.begin)
	defer func() {
		if err != nil {
			_, _ = d.conn.sql.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			err = d.dialect.explain("the database cannot be brought up to date", err)
		}
	}()
	version := 0
	if err == nil {
		version, err = schemaVersion(s, d.dialect.hasTable)
	}
	if err != nil {
		return err
	}
	if version > len(all) {
		return &Error{what: "the database (" + d.dialect.name + ") cannot be used",
			why:  fmt.Sprintf("it is of a newer version of this program (schema %d, this program knows %d)", version, len(all)),
			hint: "start the newer program, or name another database"}
	}
	for i, step := range all[version:] {
		for _, statement := range strings.Split(d.dialect.types.Replace(step), ";\n") {
			if strings.TrimSpace(statement) != "" {
				run(statement)
			}
		}
		run(fmt.Sprintf("UPDATE meta SET value = %d WHERE name = 'schema'", version+i+1))
		if err != nil {
			return fmt.Errorf("%s: %w", sentence.Of(fmt.Sprintf("migration %d failed", version+i+1), "", ""), err)
		}
	}
	// Also where nothing is to do: whoever cannot write is told now.
	run("UPDATE meta SET value = value WHERE name = 'schema'")
	run("COMMIT")
	return err
}

// schemaVersion is 0 for a new database.
func schemaVersion(s session, hasTable string) (int, error) {
	var n, version int
	if err := s.get(hasTable, []any{"meta"}, &n); err != nil || n == 0 {
		return 0, err
	}
	err := s.get(`SELECT value FROM meta WHERE name = 'schema'`, nil, &version)
	return version, err
}
