package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/control"
)

func TestFail(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code int
		want string
	}{
		{"problem", &problem{what: "it broke", why: "line 1\nline 2\n", hint: "mend it", code: exitMistake}, exitMistake,
			"error: it broke\n  line 1\n  line 2\nhint: mend it\n"},
		{"wrapped problem", fmt.Errorf("x: %w", &problem{what: "it broke"}), exitFailed, "error: it broke\n"},
		{"all is said", &problem{code: exitMistake}, exitMistake, ""},
		{"usage", usage("no %s", "domain"), exitUsage, "error: no domain\n"},
		{"plain", errors.New("it broke"), exitFailed, "error: it broke\n"},
		{"the daemon's", &control.Error{What: "a", Why: "b", Hint: "c"}, exitFailed, "error: a\n  b\nhint: c\n"},
		{"not running", fmt.Errorf("%w: nothing listens at /x", control.ErrNotRunning), exitFailed,
			"error: no xmpp-gw is running\n  nothing listens at /x\nhint: start it with `xmpp-gw run`; one with its own --state-dir is asked with the same --state-dir\n"},
		{"permission", fs.ErrPermission, exitFailed,
			"error: permission denied\n  permission denied\nhint: run the command as the user that owns it, for example with sudo -u\n"},
		{"control characters", errors.New("a\x1b[31mb\u009bc"), exitFailed, "error: a?[31mb?c\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, err strings.Builder
			if code := newUI(&out, &err).fail(tt.err); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if err.String() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", &err, tt.want)
			}
			if out.Len() > 0 {
				t.Errorf("standard output got %q", &out)
			}
		})
	}
}

func TestTerminal(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if isTerminal(null) || isTerminal(file) || isTerminal(&strings.Builder{}) {
		t.Error("what is no terminal is taken for one")
	}
	if got := paint(true, red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("painted %q", got)
	}
	if got := paint(false, red, "x"); got != "x" {
		t.Errorf("not painted %q", got)
	}
}

// On a terminal a step is written over by the next one and by every line.
func TestConsole(t *testing.T) {
	var both strings.Builder
	c := newConsole(newUI(&both, &both))
	c.terminal = true
	c.line("", "xmpp-gw 0.1.0")
	c.step("tor", "5 %%")
	c.step("tor", "45 %%")
	fmt.Fprintln(c.log(), "level=WARN msg=slow")
	c.done()
	c.line("tor", "ready")
	const want = "xmpp-gw 0.1.0\n" +
		"tor: 5 %" + "\r\x1b[Ktor: 45 %" + "\r\x1b[Klevel=WARN msg=slow\ntor: 45 %" + "\r\x1b[Ktor: ready\n"
	if both.String() != want {
		t.Errorf("got  %q\nwant %q", both.String(), want)
	}

	both.Reset()
	c = newConsole(newUI(&both, &both))
	c.step("tor", "5 %%")
	c.line("tor", "ready")
	if both.String() != "tor: ready\n" {
		t.Errorf("without a terminal: %q", both.String())
	}
}

func TestFlagsFirst(t *testing.T) {
	app := &cli.App{Commands: []*cli.Command{
		{Name: "run", Flags: []cli.Flag{configFlag()}},
		{Name: "policy", Subcommands: []*cli.Command{{Name: "explain", Flags: []cli.Flag{configFlag(), jsonFlag()}}}},
	}}
	for in, want := range map[string]string{
		"xmpp-gw":                "xmpp-gw",
		"xmpp-gw run --config F": "xmpp-gw run --config F",
		"xmpp-gw policy explain a.example --json":           "xmpp-gw policy explain --json -- a.example",
		"xmpp-gw policy explain a.example --config F":       "xmpp-gw policy explain --config F -- a.example",
		"xmpp-gw policy explain --config F a.example":       "xmpp-gw policy explain --config F -- a.example",
		"xmpp-gw policy explain a.example --config=F -json": "xmpp-gw policy explain --config=F -json -- a.example",
		"xmpp-gw policy explain --json -- --odd":            "xmpp-gw policy explain --json -- --odd",
		"xmpp-gw policy explain a.example --config":         "xmpp-gw policy explain --config -- a.example",
		"xmpp-gw policy help":                               "xmpp-gw policy help",
		"xmpp-gw polcy explain":                             "xmpp-gw -- polcy explain",
	} {
		if got := strings.Join(flagsFirst(app, strings.Fields(in)), " "); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
}

func TestFindPaths(t *testing.T) {
	tests := []struct {
		name, flag string
		env        map[string]string
		state, run string
	}{
		{"person", "", map[string]string{"HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/1"}, "/h/.local/state/xmpp-gw", "/run/user/1/xmpp-gw"},
		{"no session", "", map[string]string{"HOME": "/h"}, "/h/.local/state/xmpp-gw", "/h/.local/state/xmpp-gw"},
		{"XDG", "", map[string]string{"HOME": "/h", "XDG_STATE_HOME": "/s"}, "/s/xmpp-gw", "/s/xmpp-gw"},
		{"relative XDG", "", map[string]string{"HOME": "/h", "XDG_STATE_HOME": "s", "XDG_RUNTIME_DIR": "r"}, "/h/.local/state/xmpp-gw", "/h/.local/state/xmpp-gw"},
		{"service", "", map[string]string{"STATE_DIRECTORY": "/var/lib/xmpp-gw:/x", "RUNTIME_DIRECTORY": "/run/xmpp-gw", "XDG_RUNTIME_DIR": "/r"}, "/var/lib/xmpp-gw", "/run/xmpp-gw"},
		{"flag", "/d", map[string]string{"HOME": "/h", "XDG_RUNTIME_DIR": "/r"}, "/d", "/d"},
	}
	for _, tt := range tests {
		p, err := findPaths(tt.flag, func(k string) string { return tt.env[k] })
		if err != nil || p.state != tt.state || p.runtime != tt.run {
			t.Errorf("%s: %+v, %v", tt.name, p, err)
		}
	}
	if _, err := findPaths("", func(string) string { return "" }); err == nil {
		t.Error("no place is no error")
	}
}
