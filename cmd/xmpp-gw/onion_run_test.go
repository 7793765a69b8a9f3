package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xmpp-gw/internal/control"
)

// ask runs a command beside a daemon and gives what it wrote.
func (p *process) ask(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	cmd := program(p.dir, args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// A daemon that runs is asked, does what it can, and says what is in the way: here
// there is no tor. What it noted is there when it is not.
func TestOnionWithoutTor(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := nobody.Addr().String()
	nobody.Close()
	config := "[listen]\nc2s = ['127.0.0.1:0']\nc2s_tls = []\n[default]\nroute = 'direct'\n[tor]\nmode = 'system'\nsocks = ['" + closed + "']\ncontrol = '" + closed + "'\n"
	p := start(t, config, nil)
	p.wait("not started", 1)

	stdout, stderr, code := p.ask("onion", "publish", "--target", closed, "--wait")
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "is not published yet") || !strings.Contains(stderr, "tor cannot be used") ||
		!strings.Contains(stderr, "hint: the daemon goes on trying") {
		t.Errorf("publish: %d\n%s%s", code, stdout, stderr)
	}
	p.wait("tor cannot be used", 1)

	stdout, stderr, code = p.ask("onion", "list", "--json")
	var report onionReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 0 || !report.Running || len(report.Onions) != 1 {
		t.Fatalf("list: %d, %v\n%s%s", code, err, stdout, stderr)
	}
	o := report.Onions[0]
	if o.State != control.OnionFailed || o.CircuitID || !strings.Contains(o.Ports[0].Error, "nothing listens there") {
		t.Errorf("%+v", o)
	}
	stdout, _, code = p.ask("status")
	if code != 0 || !strings.Contains(stdout, "onion: node, failed, "+o.Address+", for everybody") || !strings.Contains(stdout, "warning: onion node: ") {
		t.Errorf("status: %d\n%s", code, stdout)
	}

	stdout, stderr, code = p.ask("onion", "client", "add", "node", "juliet")
	if code != 0 || !strings.HasPrefix(stdout, strings.TrimSuffix(o.Address, ".onion")+":descriptor:x25519:") || stderr != "" {
		t.Errorf("client add: %d\n%s%s", code, stdout, stderr)
	}
	line := strings.TrimSpace(stdout)
	if _, stderr, code = p.ask("onion", "auth", "add", line); code != 0 {
		t.Errorf("auth add: %d %s", code, stderr)
	}
	if stdout, stderr, code = p.ask("onion", "key", "export", "node", "out.key"); code != 0 {
		t.Errorf("key export: %d %s%s", code, stdout, stderr)
	}
	if _, stderr, code = p.ask("onion", "rotate", "nobody"); code != exitFailed || !strings.Contains(stderr, "no onion service of that name") {
		t.Errorf("rotate: %d %s", code, stderr)
	}
	if _, stderr, code = p.ask("run", "--config", "config.toml"); code != exitFailed || !strings.Contains(stderr, "xmpp-gw is running already") {
		t.Errorf("a second daemon: %d %s", code, stderr)
	}

	p.cmd.Process.Kill()
	<-p.ended
	stdout, _, code = p.ask("onion", "list", "--config", "config.toml")
	if code != 0 || !strings.Contains(stdout, o.Address) || !strings.Contains(stdout, "juliet") || !strings.Contains(stdout, "no xmpp-gw is running") {
		t.Errorf("list, with nobody running: %d\n%s", code, stdout)
	}
	if strings.Contains(p.output(), line[60:]) {
		t.Error("the client's secret is in the log")
	}
}

// Root does not make folders in another user's state directory, which that user's
// daemon could not use.
func TestForeignStateDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can make a directory of somebody else")
		return
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 12345, -1); err != nil {
		t.Fatal(err)
	}
	err := paths{state: dir, runtime: dir}.check()
	p, ok := errors.AsType[*problem](err)
	if !ok || !strings.Contains(p.hint, "sudo -u '#12345'") {
		t.Errorf("another user's: %v", err)
	}
	if err := (paths{state: filepath.Join(dir, "none")}).check(); err != nil {
		t.Errorf("none yet: %v", err)
	}
}
