package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"xmpp-gw/internal/config"
)

// TestAuthorityStays: a reload keeps the certificates that clients were given,
// unless the domains are others, and tells once when they are.
func TestAuthorityStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.toml")
	p := paths{state: t.TempDir()}
	w := &wiring{paths: p, book: p.book()}
	change := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := loadSettings(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.change(s); err != nil {
			t.Fatal(err)
		}
	}
	leaf := func() string {
		t.Helper()
		conf, err := w.ServerConfig("a.example")
		if err != nil {
			t.Fatal(err)
		}
		return string(conf.Certificates[0].Certificate[0])
	}
	change("")
	first := leaf()
	change("[limits]\nidle_ping_seconds = 100\n")
	if leaf() != first || w.warning() != "" {
		t.Errorf("the same domains: same certificate %t, warning %q", leaf() == first, w.warning())
	}
	bound := "[default]\nroute = \"block\"\n[domain.\"a.example\"]\nroute = \"direct\"\n"
	change(bound)
	second := leaf()
	if second == first || w.warning() == "" {
		t.Errorf("other domains: same certificate %t, warning %q", second == first, w.warning())
	}
	change(bound)
	if leaf() != second || w.warning() != "" {
		t.Errorf("once more: same certificate %t, warning %q", leaf() == second, w.warning())
	}
	// One that was taken away is made anew, for which reload is a way.
	if err := os.RemoveAll(w.paths.ca()); err != nil {
		t.Fatal(err)
	}
	change(bound)
	if leaf() == second {
		t.Error("the authority that was deleted is still in use")
	}
}

// TestRememberedKeysProblems: what cannot be read in the file is told at the start.
func TestRememberedKeysProblems(t *testing.T) {
	dir := t.TempDir()
	p := paths{state: dir, runtime: dir}
	if err := os.WriteFile(p.pins(), []byte("bad.example sha256/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadSettings(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	if _, err := assemble(newConsole(newUI(&log, &log)), slog.New(slog.NewTextHandler(&log, nil)), p, s, nil); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "line 1") {
		t.Errorf("the log is %q", got)
	}
}

func TestCollectEarly(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for _, set := range []bool{true, false} {
		collectEarly(func(string) (string, bool) { return "", set })
		if got := debug.SetGCPercent(100); got != 50 != set {
			t.Errorf("GOGC set: %t, percent %d", set, got)
		}
	}
}

// TestTorPlaces: places that a person names are used as they are; for those that
// are built in, package onion also looks whose they are, and so must not get
// them as if they were named.
func TestTorPlaces(t *testing.T) {
	for _, c := range []struct {
		text           string
		socks, control string
	}{
		{"", "", ""},
		{"[tor]\nsocks = [\"127.0.0.1:1\"]\ncontrol = \"unix:/c\"\n", "127.0.0.1:1", "unix:/c"},
	} {
		conf, err := config.Parse("", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		o, err := (&settings{conf}).torOptions(paths{})
		if got := strings.Join(o.SystemSOCKS, " "); err != nil || got != c.socks {
			t.Errorf("%q: SOCKS %q, %v", c.text, got, err)
		}
		if got := strings.Join(o.SystemControl, " "); got != c.control {
			t.Errorf("%q: control %q", c.text, got)
		}
	}
}
