//go:build e2e

package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"xmpp-gw/tests/peers"
)

// postgres is one server for all tests, each of which gets a database of its own.
var postgres = sync.OnceValues(peers.StartPostgreSQL)

func TestMain(m *testing.M) {
	code := m.Run()
	if p, err := postgres(); err == nil {
		if err := p.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func servers(t testing.TB) []engine {
	return []engine{{"postgres", func(t testing.TB) *DB { return opened(t, database(t)) }}}
}

func database(t testing.TB) string {
	t.Helper()
	p, err := postgres()
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := p.Database()
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

func TestPostgresHasOneNode(t *testing.T) {
	dsn := database(t)
	first := opened(t, dsn)
	_, err := Open(context.Background(), dsn, Options{})
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second node: %v", err)
	}
	must(t, first.Close())
	again := opened(t, dsn)
	must(t, again.Close())
}

func TestPostgresNotThere(t *testing.T) {
	_, err := Open(context.Background(), "postgres://nobody@/none?host="+t.TempDir(), Options{})
	if err == nil || !strings.Contains(err.Error(), "PostgreSQL does not answer") {
		t.Errorf("no server: %v", err)
	}
	_, err = Open(context.Background(), "postgres://user:secretword@/x?port=none", Options{})
	if err == nil || strings.Contains(err.Error(), "secretword") {
		t.Errorf("a bad address: %v", err)
	}
}

// A connection that breaks is made again; what was acknowledged is there.
func TestPostgresReconnects(t *testing.T) {
	d := opened(t, database(t))
	ctx := context.Background()
	must(t, d.CreateAccount(ctx, Account{Address: juliet}, nil))
	admin := d.readers.db // another connection, to cut the one that writes
	_, err := admin.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	must(t, err)
	err = d.CreateAccount(ctx, Account{Address: romeo}, nil)
	if err != nil {
		t.Logf("the write that met the cut: %v", err)
		err = d.CreateAccount(ctx, Account{Address: romeo}, nil)
	}
	must(t, err)
	for _, a := range []string{juliet.String(), romeo.String()} {
		must(t, second(d.Account(ctx, addr(a))))
	}
}
