//go:build e2e

package tests_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/peers"
)

// testSelf: `check --self`, the verdicts in `status`, and mode = "report", with real
// servers and a real Tor.
func testSelf(t *testing.T, g *world) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"managed tor", func(t *testing.T, g *world) { testSelfTor(t, exitConfig(t, g), true) }},
		{"the system's tor", func(t *testing.T, g *world) { testSelfTor(t, onionConfig(t, g), false) }},
		{"unsafe", func(t *testing.T, _ *world) { testUnsafe(t) }},
		{"verdicts", testVerdicts},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, g)
		})
	}
}

// selfDocument is the part of `check --self --json` that these tests read.
type selfDocument struct {
	Exit    int
	Reports []struct {
		Target, Grade string
		Notes         []string
		Findings      []struct{ ID, Target, Severity, Verdict, Evidence string }
	}
}

func lookAtSelf(t *testing.T, config, state string) selfDocument {
	t.Helper()
	code, out, said := runCheck(t, "--self", "--json", "--config", config, "--state-dir", state)
	var doc selfDocument
	if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Reports) != 1 || doc.Exit != code || doc.Reports[0].Target != "this machine" {
		t.Fatalf("%v: exit code %d: %s%s", err, code, out, said)
	}
	return doc
}

// of are the verdicts and evidence of a check.
func (d selfDocument) of(id string) (list []string) {
	for _, f := range d.Reports[0].Findings {
		if f.ID == id {
			list = append(list, f.Verdict+" "+f.Target+": "+f.Evidence)
		}
	}
	return list
}

// testSelfTor: a gateway as it comes is in order, and its Tor is asked.
func testSelfTor(t *testing.T, config string, managed bool) {
	gw := daemon.Run(t, daemon.Options{Config: config})
	file := filepath.Join(gw.Dir, "config.toml")
	doc := lookAtSelf(t, file, gw.Dir)
	for _, id := range []string{"self.listen", "self.files", "self.ca"} {
		list := doc.of(id)
		if len(list) == 0 || slices.ContainsFunc(list, func(s string) bool { return !strings.HasPrefix(s, "pass ") }) {
			t.Errorf("%s: %q", id, list)
		}
	}
	if list := doc.of("self.listen"); !slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, gw.C2S) }) {
		t.Errorf("the daemon's listener at %s is not among %q", gw.C2S, list)
	}
	// The directory authority of a private network recommends no version.
	tor := doc.of("self.tor")
	if len(tor) != 1 || !strings.HasPrefix(tor[0], "unknown ") || !strings.Contains(tor[0], gw.Report(t).Status.Tor.Version) {
		t.Errorf("self.tor: %q", tor)
	}
	if clock := doc.of("self.clock"); len(clock) != 1 || !strings.Contains(clock[0], "tor's consensus is of") || strings.HasPrefix(clock[0], "fail") {
		t.Errorf("self.clock: %q", clock)
	}
	if notes := doc.Reports[0].Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], "all domains: originate") {
		t.Errorf("who logs in: %q", notes)
	}
	if err := gw.Close(); err != nil {
		t.Fatal(err)
	}
	// Without the daemon, the system's Tor is still there, and ours is not.
	want := map[bool]string{true: "no daemon runs", false: "version "}[managed]
	if err := os.MkdirAll(gw.Dir, 0o700); err != nil { // it went with the daemon
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(gw.Dir) })
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if tor := lookAtSelf(t, file, gw.Dir).of("self.tor"); len(tor) != 1 || !strings.Contains(tor[0], want) {
		t.Errorf("self.tor without a daemon: %q, want %q", tor, want)
	}
	if managed {
		if _, err := os.Stat(filepath.Join(gw.Dir, "ca")); err == nil {
			t.Error("a look made an authority")
		}
	}
}

// testUnsafe: a password that everybody on the machine can read keeps the gateway
// from its start, unless mode = "report".
func testUnsafe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.toml")
	run := func(mode string) (code int, said string) {
		t.Helper()
		text := fmt.Sprintf("[listen]\nc2s = [\"127.0.0.1:0\"]\nc2s_tls = []\n[socks.hop]\nurl = \"socks5://me:secret@127.0.0.1:1\"\n"+
			"[default]\nroute = \"socks:hop\"\nmode = %q\n", mode)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd, err := daemon.Command(ctx, "run", "--config", file, "--state-dir", filepath.Join(dir, mode))
		if err != nil {
			t.Fatal(err)
		}
		out := newWatched("ready:", cancel)
		cmd.Stdout, cmd.Stderr = out, out
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 20 * time.Second
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode(), out.String()
	}
	const why = "self.files: "
	if code, said := run("enforce"); code != 3 || !strings.Contains(said, "error: this machine's set-up is not safe") || !strings.Contains(said, why+file) || strings.Contains(said, "secret") {
		t.Errorf("enforce: exit code %d: %s", code, said)
	}
	if code, said := run("report"); code != 0 || !strings.Contains(said, "warning: "+why+file) || !strings.Contains(said, "ready:") {
		t.Errorf("report: exit code %d: %s", code, said)
	}
	doc := lookAtSelf(t, file, filepath.Join(dir, "report"))
	if doc.Exit != 3 || doc.Reports[0].Grade != "F" || !strings.HasPrefix(strings.Join(doc.of("self.files"), "\n"), "fail "+file) {
		t.Errorf("check --self: %+v", doc)
	}
	if list := strings.Join(doc.of("self.policy"), "\n"); !strings.Contains(list, file+":7: default.route = socks:hop; the default is tor") || !strings.Contains(list, file+":8: default.mode = report") {
		t.Errorf("self.policy: %s", list)
	}
}

// watched is output that ends a command once a word is in it.
type watched struct {
	bytes.Buffer
	word string
	end  func()
}

func newWatched(word string, end func()) *watched { return &watched{word: word, end: end} }

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if strings.Contains(w.String(), w.word) {
		w.end()
	}
	return n, err
}

// testVerdicts: what a login at a real server shows is judged; with mode = "report" a
// login that the rules would refuse comes about, and is told of.
func testVerdicts(t *testing.T, g *world) {
	prosody, ejabberd, old := g.servers["prosody"], g.servers["ejabberd"], g.servers["prosody12"]
	gw := daemon.Run(t, daemon.Options{Config: blockOthers +
		g.domain(prosody, `route = "direct"`, fmt.Sprintf("endpoints = [%q]", prosody.endpoint(peers.StartTLS))) +
		g.domain(ejabberd, `route = "direct"`, fmt.Sprintf("endpoints = [%q]", ejabberd.endpoint(peers.DirectTLS)), `binding = "require"`, `mode = "report"`) +
		g.domain(old, `route = "direct"`, fmt.Sprintf("endpoints = [%q]", old.endpoint(peers.StartTLS)), `mode = "report"`)})
	for _, s := range []*server{prosody, ejabberd, old} {
		peers.Login(t, peers.Slixmpp, through(gw, peers.StartTLS, s.account(t)))
	}
	var list []control.Verdict
	for end := time.Now().Add(5 * time.Second); len(list) < 3 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		list = gw.Report(t).Verdicts
	}
	if len(list) != 3 || list[0].Domain != ejabberd.Domain || list[1].Domain != prosody.Domain || list[2].Domain != old.Domain {
		t.Fatalf("verdicts: %+v", list)
	}
	for i, s := range []*server{ejabberd, prosody} {
		v := list[i]
		t.Logf("%s: %+v, worst %+v", s.Kind, v, v.Worst)
		// Debian's Prosody 0.12 does not bind with TLS 1.3; ejabberd 23.01 offers X-OAUTH2.
		want := map[string]string{"prosody": "B warn medium sasl.plus", "ejabberd": "C fail medium sasl.posttls"}[s.Kind]
		if v.Worst == nil || strings.Join([]string{v.Grade, v.Worst.Verdict, v.Worst.Severity, v.Worst.ID}, " ") != want || v.Warnings == 0 || v.Route != "direct" || !strings.HasPrefix(v.Endpoint, map[string]string{"prosody": "starttls://", "ejabberd": "tls://"}[s.Kind]) {
			t.Errorf("%s: %+v, worst %+v", s.Kind, v, v.Worst)
		}
	}
	if list[1].Mode != "enforce" || len(list[1].Objections) > 0 {
		t.Errorf("prosody: %+v", list[1])
	}
	if v := list[0]; v.Mode != "report" || len(v.Objections) != 1 || !strings.Contains(v.Objections[0], `binding = "require"`) {
		t.Errorf("ejabberd: %+v", v)
	}
	if v := list[2]; len(v.Objections) != 1 || !strings.Contains(v.Objections[0], "does not speak TLS 1.3") {
		t.Errorf("a server with TLS 1.2: %+v", v)
	}
	if w := only(t, gw, ejabberd.Domain).Warnings; len(w) != 1 || !strings.Contains(w[0], `mode = "report"`) {
		t.Errorf("ejabberd's session has the warnings %q", w)
	}
	if log := gw.Log(); !strings.Contains(log, "let through") || strings.Contains(log, ejabberd.Domain) || strings.Contains(log, list[0].Worst.ID) {
		t.Errorf("the log: %s", log)
	}
	text, err := gw.Command(t.Context(), "status")
	if err != nil || !strings.Contains(text, "SERVER OF") || !strings.Contains(text, "warn medium "+list[1].Worst.ID) {
		t.Errorf("%v: %s", err, text)
	}
}
