package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/config"
	"xmpp-gw/server/store"
)

// hook is a reader that does something and has nothing to read.
type hook func()

func (h hook) Read([]byte) (int, error) { h(); return 0, io.EOF }

// An import that fails leaves no account, neither in the storage nor in the memory of
// the server, which saw it while it was being made.
func TestImportFails(t *testing.T) {
	n, _, _ := testNode(t, "")
	paris := address.Address{Local: "paris", Domain: "localhost"}
	exists := func() bool {
		t.Helper()
		is, err := n.server.Exists(t.Context(), paris)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	seen := false
	done, err := accountDesk{n}.Import(t.Context(), io.MultiReader(
		strings.NewReader("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'><user name='paris' password='my paris'><query xmlns='jabber:iq:roster'/> "),
		hook(func() { seen = exists() }),
		strings.NewReader("<"),
	))
	if err == nil || strings.Contains(err.Error(), "imported before") {
		t.Errorf("%+v, %v", done, err)
	}
	if !seen {
		t.Error("the account was not begun when the document ended")
	}
	if exists() {
		t.Error("the server still believes that there is an account")
	}
}

// Nobody becomes an administrator by choosing a name that the configuration gives
// these rights to.
func TestAdminsNames(t *testing.T) {
	_, _, s := testNode(t, "[node]\nadmins = [\"capulet@localhost\"]\n")
	o := nodeModules(s, nil)
	for name, free := range map[string]bool{"capulet": false, "capulet-1": false, "admin": false, "juliet": true} {
		if why := o.Registration.Names.Check(name); (why == "") != free {
			t.Errorf("%s: %q", name, why)
		}
	}
}

// Accounts of a domain that the configuration had before are kept, and `run` says so.
func TestElsewhere(t *testing.T) {
	n, _, _ := testNode(t, "")
	for _, domain := range []string{"localhost", "other.example", "example.org"} {
		if err := n.db.CreateAccount(t.Context(), store.Account{Address: address.Address{Local: "paris", Domain: domain}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.elsewhere(t.Context()); got != "example.org, other.example" {
		t.Errorf("%q", got)
	}
}

// A reload reads the certificate again, but not one for a domain that only the next
// start serves.
func TestRecertify(t *testing.T) {
	file := func(domain string) string {
		text, err := selfSigned(domain)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), domain+".pem")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	node := func(domain, file string) string {
		return fmt.Sprintf("[node]\ndomain = %q\ncertificate = %q\nkey = %q\n", domain, file, file)
	}
	first := file("example.org")
	n, p, _ := testNode(t, node("example.org", first))
	for _, tt := range []struct {
		text string
		good bool
	}{
		{node("example.org", first), true},
		{node("example.net", file("example.net")), true},
		{node("example.org", file("example.net")), false},
		{node("example.org", filepath.Join(t.TempDir(), "none.pem")), false},
	} {
		c, err := config.Parse(filepath.Join(p.state, "config.toml"), []byte(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.recertify(&settings{c}); (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.text, err)
		}
	}
}
