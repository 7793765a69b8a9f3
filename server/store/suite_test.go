package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"xmpp-gw/internal/address"
)

// engine is one database that the suite runs over. It opens a new, empty one.
type engine struct {
	name string
	open func(t testing.TB) *DB
}

// engines are those that need nothing but this package; more engines are behind
// the build tag e2e.
func engines(t testing.TB) []engine {
	return append([]engine{
		{"memory", func(t testing.TB) *DB { return opened(t, "sqlite::memory:") }},
		{"file", func(t testing.TB) *DB { return opened(t, "sqlite:"+newFile(t)) }},
	}, servers(t)...)
}

// every runs a test over every engine.
func every(t *testing.T, test func(t *testing.T, d *DB)) {
	for _, e := range engines(t) {
		t.Run(e.name, func(t *testing.T) { test(t, e.open(t)) })
	}
}

func newFile(t testing.TB) string { return filepath.Join(t.TempDir(), "node", "node.db") }

func opened(t testing.TB, dsn string) *DB {
	t.Helper()
	d, err := Open(context.Background(), dsn, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

func addr(s string) address.Address {
	a, err := address.Parse(s)
	if err != nil {
		panic(err)
	}
	return a
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
}

// date is a time that every engine keeps exactly.
func date(seconds int64) time.Time { return time.Unix(1_700_000_000+seconds, 123_456_000).UTC() }

var (
	romeo  = addr("romeo@montague.example")
	juliet = addr("juliet@capulet.example")
	nurse  = addr("nurse@capulet.example")
)
