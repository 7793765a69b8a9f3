package main

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/policy/audit"
)

// TestSilentDaemon: where a daemon may run and does not say, what it would know is not
// known; it does not pass for none.
func TestSilentDaemon(t *testing.T) {
	s, p := setupIn(t, "[tor]\nmode = \"off\"\n")
	m := &machine{settings: s, paths: p, progress: func(string) {}}
	if client, status, err := m.daemon(t.Context()); client != nil || status != nil || err != nil {
		t.Errorf("none runs: %v, %v, %v", client, status, err)
	}
	l, err := net.Listen("unix", p.control()) // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, _, err := m.daemon(ctx); err == nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent one: %v", err)
	}
	for name, observe := range map[string]observer{"self.listen": observeSelf, "self.tor": observeSelf, "egress.tcp": observeEgress} {
		seen, err := observe(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		checks, err := audit.Select([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		found := audit.Judge(seen, checks)
		if len(found) == 0 || found[0].Verdict != audit.Unknown || !strings.Contains(found[0].Evidence, p.control()) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// TestOutdated: a daemon that has not read the file as it is now is no witness for it.
func TestOutdated(t *testing.T) {
	s, p := setupIn(t, "")
	m := &machine{settings: s, paths: p}
	info, err := os.Stat(s.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		status control.Status
		want   bool
	}{
		{"read just now", control.Status{ConfigLoaded: info.ModTime().Truncate(time.Second)}, false},
		{"read before", control.Status{ConfigLoaded: info.ModTime().Add(-time.Minute)}, true},
		{"refused", control.Status{ConfigLoaded: info.ModTime(), ConfigError: "no"}, true},
	} {
		if got := m.outdated(&tt.status); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
