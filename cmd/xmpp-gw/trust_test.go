//go:build linux || freebsd

// Elsewhere the system's store is no folder that a test can make.

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smallstep/truststore"
)

// systemStore makes a folder the system's store, with the commands that are used
// on it and no sudo.
func systemStore(t *testing.T) string {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"tee", "rm", "true"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	file, command := truststore.SystemTrustFilename, truststore.SystemTrustCommand
	t.Cleanup(func() { truststore.SystemTrustFilename, truststore.SystemTrustCommand = file, command })
	truststore.SystemTrustFilename, truststore.SystemTrustCommand = filepath.Join(dir, "%s.crt"), []string{"true"}
	return dir
}

func TestTrust(t *testing.T) {
	store := systemStore(t)
	state := t.TempDir()
	// Another program's file, and another authority of ours.
	if err := os.WriteFile(filepath.Join(store, "xmpp-gw_on_mars_1.crt"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	configuration := filepath.Join(t.TempDir(), "config.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(configuration, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := func() int {
		t.Helper()
		list, err := os.ReadDir(store)
		if err != nil {
			t.Fatal(err)
		}
		return len(list) - 1
	}
	do := func(code int, want string, args ...string) {
		t.Helper()
		var out, err strings.Builder
		args = append([]string{"xmpp-gw", "trust"}, args...)
		got := run(append(args, "--state-dir", state, "--config", configuration), &out, &err)
		if all := out.String() + err.String(); got != code || !strings.Contains(all, want) {
			t.Errorf("%v: exit code %d, want %d and %q in\n%s", args, got, code, want, all)
		}
	}

	write("")
	do(exitDone, "installed:   no", "show")
	do(exitDone, "the system does not trust the authority\n", "remove")
	do(exitDone, "warning: the authority can speak for every domain", "install")
	do(exitDone, "the system trusts the authority already", "install")
	do(exitDone, `"installed": true`, "show", "--json")
	do(exitDone, `"names": []`, "show", "--json")
	if n := files(); n != 1 {
		t.Errorf("%d certificates are installed", n)
	}

	// Other domains make another certificate of the same key: it takes the first
	// one's place.
	write("[default]\nroute = \"block\"\n[domain.\"a.example\"]\nroute = \"tor\"\n")
	do(exitDone, "speaks for:  a.example, localhost\ninstalled:   no", "show")
	do(exitDone, "the system trusts the authority from now on", "install")
	do(exitDone, "installed:   yes", "show")
	if n := files(); n != 1 {
		t.Errorf("%d certificates are installed", n)
	}
	do(exitDone, "the system does not trust the authority any more", "remove")
	if n := files(); n != 0 {
		t.Errorf("%d certificates are left", n)
	}

	truststore.SystemTrustCommand = []string{"rm", "/no/such/file"}
	do(exitFailed, "hint: the system's store is root's: run it with sudo and --state-dir "+state, "install")
	do(exitUsage, "takes no argument", "install", "now")
}
