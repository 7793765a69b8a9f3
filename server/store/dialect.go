package store

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
)

// dialect is all in which the databases differ.
type dialect struct {
	name     string
	types    *strings.Replacer // of the schema's words in braces
	begin    string            // of a transaction that writes
	snapshot string            // the same of one that reads: it sees one state
	rebind   func(query string) string
	// claim makes the connection the only one that writes, nil where a lock on the file does.
	claim func(ctx context.Context, c *sql.Conn) error
	// check looks the database through, quickly or whole.
	check func(ctx context.Context, s session, quick bool) error
	// explain makes an error of the database a sentence; others it leaves alone.
	explain func(what string, err error) error
	// fatal errors concern the database, not the write that met them: those that
	// share its transaction fail as well.
	fatal func(err error) bool
	// separable: the writes of a transaction that failed may succeed one by one.
	separable func(err error) bool
	// hasTable asks whether there is a table of that name.
	hasTable string
	// reconnect: a connection that cannot roll back is given up.
	reconnect bool
}

// numbered writes ? as $1, $2 …; the statements have no ? in literals.
func numbered(query string) string {
	var b strings.Builder
	n := 0
	for {
		i := strings.IndexByte(query, '?')
		if i < 0 {
			b.WriteString(query)
			return b.String()
		}
		n++
		b.WriteString(query[:i])
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		query = query[i+1:]
	}
}
