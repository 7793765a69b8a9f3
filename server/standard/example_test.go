package standard_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/standard"
	"xmpp-gw/server/store"
)

// A program of its own that serves a domain: it opens a database, makes a server of
// it with all features, and gives it a listener.
func Example() {
	certificate := certificateFor("example.org")

	ctx := context.Background()
	st, err := store.Open(ctx, "sqlite::memory:", store.Options{}) // or "sqlite:node.db"
	if err != nil {
		panic(err)
	}
	defer st.Close()
	srv, err := server.New(ctx, server.Config{
		Domains: []string{"example.org"},
		TLS:     func(string) (*tls.Config, error) { return certificate, nil },
		Store:   st,
		Modules: standard.Modules(st, standard.Options{}),
	})
	if err != nil {
		panic(err)
	}
	juliet, err := server.ParseAddress("juliet@example.org")
	if err != nil {
		panic(err)
	}
	if err := srv.CreateAccount(ctx, juliet, "r0m30myr0m30", false); err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // or ":5222"
	if err != nil {
		panic(err)
	}
	go srv.Serve(l, server.STARTTLS)

	fmt.Println("serving", srv.Domains())

	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	fmt.Println("ended:", srv.Shutdown(ctx))
	// Output:
	// serving [example.org]
	// ended: <nil>
}

// certificateFor is what an operator has in files.
func certificateFor(string) *tls.Config { return servertest.ServerTLS() }

// docs/server.md shows the example as it is, and it is short.
func TestExampleIsInTheDocs(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../docs/server.md")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "\n\tctx := context.Background()\n")
	body, _, ok := strings.Cut("\tctx := context.Background()\n"+body, "\n\tfmt.Println(\"serving\"")
	if !ok {
		t.Fatal("the example is not found")
	}
	if n := strings.Count(body, "\n"); n > 40 {
		t.Errorf("the example has %d lines", n)
	}
	if !strings.Contains(string(docs), strings.ReplaceAll("\n"+body, "\n\t", "\n")) {
		t.Errorf("docs/server.md does not show\n%s", body)
	}
}

// Two servers in one process, of different domains and with databases of their own,
// know nothing of each other.
func TestTwoInOneProcess(t *testing.T) {
	one, two := start(t, standard.Options{}), start(t, standard.Options{})
	a := servertest.Online(t, one, "romeo@example.org/a")
	b := servertest.Online(t, two, "romeo@example.org/a")
	servertest.Online(t, two, "juliet@example.org/b").Send("<message to='romeo@example.org' type='chat'><body>to the second</body></message>")
	b.Expect("<message from='juliet@example.org/b'><body>to the second</body></message>")
	a.ExpectNothing()
	one.Stop(t)
	b.ExpectNothing()
}
