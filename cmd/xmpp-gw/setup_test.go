package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xmpp-gw/internal/control"
	"xmpp-gw/policy/audit"
)

// setupIn loads a configuration in a folder of its own, which is the state's too.
func setupIn(t *testing.T, text string) (*settings, paths) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadSettings(file)
	if err != nil {
		t.Fatal(err)
	}
	return s, paths{dir, dir}
}

func TestListenersSeen(t *testing.T) {
	s, _ := setupIn(t, `[listen]
c2s = ["127.0.0.1:5222", "unix:/run/x"]
c2s_tls = ["127.0.0.1:0"]
client_tls = "optional"
metrics = "0.0.0.0:9522"
metrics_public = true
[node]
domain = "chat.example"
certificate = "c.pem"
key = "k.pem"
c2s = ["0.0.0.0:15222"]
`)
	var said []string
	for _, l := range s.listenersSeen([]control.Listener{{Kind: "c2s", Address: "127.0.0.1:5222"}, {Kind: "c2s-tls", Address: "127.0.0.1:40001"}, {Kind: "metrics", Address: "[::]:1"}}) {
		said = append(said, fmt.Sprintf("%s %s %s %s", l.Kind, l.Address, l.TLS, l.Needed))
	}
	want := strings.ReplaceAll(`c2s 127.0.0.1:5222 optional 
c2s unix:/run/x optional 
node-c2s 0.0.0.0:15222 required node.c2s (FILE:11)
metrics 0.0.0.0:9522 none listen.metrics_public (FILE:6)
c2s-tls 127.0.0.1:40001 required 
metrics [::]:1 none listen.metrics_public (FILE:6)`, "FILE", s.File)
	if got := strings.Join(said, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestSetup: a set-up with everything wrong in it, and one with nothing.
func TestSetup(t *testing.T) {
	judge := func(s *settings, p paths) (failed []string) {
		for _, f := range audit.Judge(&audit.Observation{Self: observeSetup(s, p, nil)}, audit.Checks()) {
			if f.Verdict == audit.Fail || f.Verdict == audit.Warn {
				failed = append(failed, fmt.Sprintf("%s %s %s %s", f.Verdict, f.Severity, f.ID, filepath.Base(f.Target)))
			}
		}
		return failed
	}
	s, p := setupIn(t, "")
	if got := judge(s, p); len(got) > 0 {
		t.Errorf("the defaults: %q", got)
	}
	s, p = setupIn(t, `[listen]
client_tls = "optional"
[dns]
servers = ["tcp://192.0.2.1:53"]
[socks.hop]
url = "socks5://me:secret@127.0.0.1:1"
[domain."example.org"]
route = "socks:hop"
[node]
plain = true
channel_binding = false
registration = "open"
`)
	put := func(name string, mode os.FileMode) {
		t.Helper()
		file := filepath.Join(p.state, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	put("config.toml", 0o644)
	put("pins", 0o644)
	put("node.db", 0o640)
	put("onions/a/hs_ed25519_secret_key", 0o604)
	put("onions/a/previous/b/hs_ed25519_secret_key", 0o600)
	put("onion-auth/x.auth_private", 0o644)
	put("tor/x", 0o644)
	if err := os.Chmod(filepath.Join(p.state, "tor"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"fail critical self.files config.toml", "fail critical self.files pins", "fail critical self.files hs_ed25519_secret_key",
		"fail critical self.files x.auth_private", "fail critical self.files tor", "fail critical self.files node.db",
		"warn medium self.policy config.toml:8", "warn medium self.policy config.toml:2", "warn low self.policy config.toml:4",
		"warn medium self.policy config.toml:10", "warn low self.policy config.toml:11", "warn medium self.policy config.toml:12",
	}
	if got := judge(s, p); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWarnsOfFiles: a configuration that everybody may write starts, since it could say
// so itself, and is told of.
func TestWarnsOfFiles(t *testing.T) {
	s, p := setupIn(t, "")
	if err := os.Chmod(s.File, 0o666); err != nil {
		t.Fatal(err)
	}
	var warned []string
	err := refuseUnsafe(t.Context(), s, p, nil, func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) })
	if err != nil || len(warned) != 1 || !strings.Contains(warned[0], s.File+": the configuration: mode 0666") || !strings.Contains(warned[0], "chmod 644 "+s.File) {
		t.Errorf("%v, %q", err, warned)
	}
}

// TestRefuseUnsafe: what is critical keeps a daemon from its start, unless the mode is
// "report"; what is not critical never does.
func TestRefuseUnsafe(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		unsafe       bool // the pins are open to everybody
		refused      bool
		warned       bool
		running      string // a listener for metrics that the service manager opened
	}{
		{"a good set-up", "", false, false, false, ""},
		{"open pins", "", true, true, false, ""},
		{"open pins, reported", "[default]\nmode = \"report\"\n", true, false, true, ""},
		{"open pins, reported for a domain", "[domain.\"example.org\"]\nmode = \"report\"\n", true, true, false, ""},
		{"numbers for everybody", "[listen]\nmetrics = \"0.0.0.0:9522\"\nmetrics_public = true\n", false, false, false, ""},
		{"numbers for everybody, by a socket unit", "", false, true, false, "0.0.0.0:9522"},
		{"numbers for this machine, by a socket unit", "", false, false, false, "127.0.0.1:9522"},
		{"the gateway for everybody", "[listen]\nc2s = [\"0.0.0.0:5222\"]\n", false, false, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, p := setupIn(t, tt.config)
			if tt.unsafe {
				if err := os.WriteFile(p.pins(), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(p.pins(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var running []control.Listener
			says := "self.files: " + p.pins()
			if tt.running != "" {
				running = append(running, control.Listener{Kind: kindMetrics, Address: tt.running})
				says = "self.listen: metrics " + tt.running
			}
			var warned []string
			err := refuseUnsafe(t.Context(), s, p, running, func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) })
			p2, _ := errors.AsType[*problem](err)
			if (err != nil) != tt.refused || tt.refused && (p2.code != exitMistake || !strings.Contains(p2.why, says)) {
				t.Errorf("%v", err)
			}
			if (len(warned) > 0) != tt.warned || tt.warned && !strings.Contains(warned[0], p.pins()) {
				t.Errorf("warned %q", warned)
			}
		})
	}
}

// TestEveryFileIsLookedAt: what the configuration names is looked at, and what is
// kept by somebody else, or readable only by those who should, starts.
func TestEveryFileIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	s, p := setupIn(t, fmt.Sprintf(`[listen]
c2s = ["unix:`+at("shared/socket")+`"]
[ct]
logs = %q
[dns]
ca = %q
trust_anchors = %q
[tor]
torrc = %q
[onion]
client_keys = %q
[node]
domain = "chat.example"
certificate = %q
key = %q
[domain."example.org"]
ca = %q
client_cert = %q
password_file = %q
`, at("logs"), at("dns"), at("anchors"), at("torrc"), at("keys"), at("cert"), at("key"), at("ca"), at("client"), at("password")))
	if err := os.Mkdir(at("keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	names := []string{"logs", "dns", "anchors", "torrc", "keys/a.auth_private", "cert", "key", "ca", "client", "password"}
	for _, name := range names {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at("shared"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("shared/socket"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(at("shared"), 0o777); err != nil {
		t.Fatal(err)
	}
	names = append(names, "shared") // where others can listen in our place
	failed := make(map[string]bool)
	for _, f := range audit.Judge(&audit.Observation{Self: observeSetup(s, p, nil)}, audit.Checks()) {
		if f.ID == "self.files" && f.Verdict == audit.Fail {
			failed[f.Target] = true
		}
	}
	for _, name := range names {
		if !failed[at(name)] {
			t.Errorf("%s may be written by everybody, and passes", name)
		}
		if err := os.Chmod(at(name), map[bool]os.FileMode{true: 0o700, false: 0o600}[name == "shared"]); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() != 0 {
		return // only root can give a file to somebody else
	}
	for _, name := range []string{"cert", "key"} {
		if err := os.Chown(at(name), 4711, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := refuseUnsafe(t.Context(), s, p, nil, t.Errorf); err != nil {
		t.Errorf("a certificate that another program renews: %v", err)
	}
	checks, err := audit.Select([]string{"self.files"})
	if err != nil {
		t.Fatal(err)
	}
	warned := 0
	for _, f := range audit.Judge(&audit.Observation{Self: observeSetup(s, p, nil)}, checks) {
		if f.Verdict == audit.Warn && f.Severity == audit.Medium && strings.Contains(f.Evidence, "user 4711") {
			warned++
		}
	}
	if warned != 2 {
		t.Errorf("%d warnings of whom it belongs to", warned)
	}
}

// TestSecretInside: a password in the configuration, however it is written.
func TestSecretInside(t *testing.T) {
	for store, want := range map[string]bool{
		"sqlite:node.db": false, "postgres://me@db/x": false, "postgres://me:secret@db/x": true, "postgres://me@db/x?password=secret": true, "postgres://me@db/x?sslpassword=secret": true,
	} {
		if s, _ := setupIn(t, fmt.Sprintf("[node]\nstore = %q\n", store)); s.secretInside() != want {
			t.Errorf("%s: %v", store, !want)
		}
	}
}
