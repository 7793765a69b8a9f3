package tests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"xmpp-gw/tests/daemon"
)

// tenMistakes is a configuration with one mistake in each line that has a
// comment.
const tenMistakes = `[listen]
c2s = ["localhost"]                    # no port
client_tls = "sometimes"               # none of the choices
max_conections = 10                    # misspelt
[tor]
mode = true                            # not a string
[default]
route = "socks:nowhere"                # there is no such hop
min_tls = "1.2"                        # only for a domain by name
[dns]
servers = ["tls://dns.quad9.net"]      # a name that would have to be looked up
[limits]
stanza_bytes = 1                       # too small
[domain."example.org"]
route = "vpm"                          # no route
pins = ["sha256/short"]                # no pin
`

// All mistakes are told at once, each with its line, and nothing starts.
func TestTenMistakes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.toml")
	must(t, os.WriteFile(file, []byte(tenMistakes), 0o600))
	for _, args := range [][]string{
		{"config", "validate", "--config", file},
		{"run", "--config", file, "--state-dir", filepath.Join(t.TempDir(), "state")},
		{"policy", "explain", "--config", file, "example.org"},
	} {
		t.Run(args[0], func(t *testing.T) {
			cmd, err := daemon.Command(t.Context(), args...)
			must(t, err)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("it ends with %v and %s", err, out)
			}
			told := regexp.MustCompile(regexp.QuoteMeta(file)+`:(\d+)`).FindAllStringSubmatch(string(out), -1)
			var want, got []string
			for i, line := range strings.Split(tenMistakes, "\n") {
				if strings.Contains(line, "#") {
					want = append(want, fmt.Sprint(i+1))
				}
			}
			for _, m := range told {
				got = append(got, m[1])
			}
			if len(want) != 10 || strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("mistakes are told in lines %v, want %v:\n%s", got, want, out)
			}
			for _, hint := range []string{"10 mistakes", "max_connections", "config describe"} {
				if !strings.Contains(string(out), hint) {
					t.Errorf("it does not say %q:\n%s", hint, out)
				}
			}
		})
	}
}

// A client beyond the limit is told so, and is let in once another has gone.
func TestTooManyClients(t *testing.T) {
	t.Parallel()
	g := newGrounds(t, nil, daemon.Options{Listen: "max_connections = 2"})
	g.wellBehaved()
	g.empty()
	var in []*client
	for range 2 {
		c := dial(t, g.daemon.C2S, g.daemon.CA, "good.test")
		c.open()
		in = append(in, c)
	}
	v, raw := dial(t, g.daemon.C2S, g.daemon.CA, "good.test").verdict()
	if v.condition != "resource-constraint" || !strings.Contains(v.text, "max_connections") {
		t.Errorf("the third of two clients is told %+v (%q)", v, raw)
	}
	if got := dial(t, g.daemon.C2STLS, g.daemon.CA, "good.test").rest(); got != "" {
		t.Errorf("the third of two clients, on the TLS port, is told %q", got)
	}
	for _, c := range in {
		c.Close()
	}
	g.empty()
	g.wellBehaved()
}
