//go:build e2e

package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xmpp-gw/policy/audit"
	"xmpp-gw/tests/daemon"
)

// TestCheckEgress shows both verdicts of `check --egress` on a machine whose wire is
// watched: open, and closed but for the SOCKS port. What it sends meanwhile goes to
// nobody, dies at the first hop and has no name in it.
func TestCheckEgress(t *testing.T) { inNamespace(t, testCheckEgress) }

// checked is a part of the document of `check --json`.
type checked struct {
	Exit    int
	Reports []struct {
		Grade    string
		Findings []struct{ ID, Target, Severity, Verdict, Evidence string }
	}
}

// verdicts are the verdicts of each check, each once, in order.
func (c checked) verdicts(id string) (list []string) {
	for _, f := range c.Reports[0].Findings {
		if f.ID == id && !slices.Contains(list, f.Verdict) {
			list = append(list, f.Verdict)
		}
	}
	slices.Sort(list)
	return list
}

// runCheck runs `check --json` and gives what it printed; its exit code is in there
// too, and must be the same.
func runCheck(t *testing.T, args ...string) checked {
	t.Helper()
	binary, err := daemon.Binary(t.Context())
	must(t, err)
	cmd := exec.Command(binary, append([]string{"check", "--json"}, args...)...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, _ := cmd.Output()
	var c checked
	if err := json.Unmarshal(out, &c); err != nil || len(c.Reports) == 0 {
		t.Fatalf("check %q: %v: %s%s", args, err, out, stderr.String())
	}
	if got := cmd.ProcessState.ExitCode(); got != c.Exit {
		t.Errorf("check %q: exit code %d, and the document says %d", args, got, c.Exit)
	}
	return c
}

func testCheckEgress(t *testing.T) {
	wire(t, nil)
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	config := filepath.Join(dir, "config.toml")
	write := func(text string) { must(t, os.WriteFile(config, []byte(text), 0o600)) }
	const tor = "[tor]\nmode = \"system\"\nsocks = [%q]\n"
	write(fmt.Sprintf(tor, farSOCKS))
	want := func(what string, c checked, exit int, verdicts map[string]string) {
		t.Helper()
		for id, v := range verdicts {
			if got := strings.Join(c.verdicts(id), " "); got != v {
				t.Errorf("%s: %s gives %q, want %q", what, id, got, v)
			}
		}
		if c.Exit != exit {
			t.Errorf("%s: exit code %d, want %d", what, c.Exit, exit)
		}
		if t.Failed() {
			t.Logf("%s: %+v", what, c.Reports[0].Findings)
		}
	}
	look := func() checked { return runCheck(t, "--egress", "--config", config, "--state-dir", dir) }

	watch := startCapture(t)
	open := look()
	watch.stop()
	want("open", open, audit.ExitFailures, map[string]string{"egress.dns": "fail", "egress.tcp": "fail", "egress.udp": "fail", "egress.socks": "pass"})
	if open.Reports[0].Grade != "F" {
		t.Errorf("open: grade %s", open.Reports[0].Grade)
	}
	const nobody = "(host 192.0.2.1 or host 2001:db8::1)" // RFC 5737, RFC 3849
	const root = "udp and dst host " + farIP + " and dst port 53 and udp[20:1] = 0 and udp[21:2] = 2"
	if found := watch.packets(leaks + " and not " + nobody + " and not (" + root + ") and not icmp and not icmp6"); len(found) > 0 {
		t.Errorf("the check itself told somebody something:\n%s", strings.Join(found, "\n"))
	}
	if found := watch.packets(nobody + " and ((ip and ip[8] > 1) or (ip6 and ip6[7] > 1)) and not icmp and not icmp6"); len(found) > 0 {
		t.Errorf("these go further than one hop:\n%s", strings.Join(found, "\n"))
	}
	for _, filter := range []string{"tcp and dst host 192.0.2.1", "udp and dst host 192.0.2.1", "ip6 and dst host 2001:db8::1", root} {
		if len(watch.packets(filter)) == 0 {
			t.Errorf("open, and the wire has no %q", filter)
		}
	}

	// A packet that the kernel takes and cannot send is one that was stopped.
	tool(t, "ip", "route", "replace", "default", "via", "10.77.0.99")
	tool(t, "ip", "-6", "route", "replace", "default", "via", "fd77::99")
	want("with a router that is not there", look(), audit.ExitFailures, map[string]string{"egress.dns": "fail", "egress.tcp": "pass", "egress.udp": "pass"})

	// Silence means something only once it has lasted.
	want("with such a router, and in haste", runCheck(t, "--egress", "--timeout", "1s", "--config", config, "--state-dir", dir), audit.ExitFailures,
		map[string]string{"egress.tcp": "unknown", "egress.udp": "unknown"})

	// Only the SOCKS port is left.
	for _, rule := range []string{"rule add pref 10 to " + farIP + " ipproto tcp dport 9050 lookup main", "rule add pref 11 to " + nearIP + " lookup local",
		"rule add pref 20 prohibit", "-6 rule add pref 20 prohibit"} {
		tool(t, "ip", strings.Fields(rule)...)
	}
	watch = startCapture(t)
	want("closed", look(), audit.ExitGood, map[string]string{"egress.dns": "pass", "egress.tcp": "pass", "egress.udp": "pass", "egress.socks": "pass"})
	gw := daemon.Run(t, daemon.Options{Config: fmt.Sprintf(tor, farSOCKS)})
	within := runCheck(t, "--egress", "--config", filepath.Join(gw.Dir, "config.toml"), "--state-dir", gw.Dir)
	watch.stop()
	want("closed, from within the daemon", within, audit.ExitGood, map[string]string{"egress.dns": "pass", "egress.tcp": "pass", "egress.udp": "pass", "egress.socks": "pass"})
	if !strings.Contains(within.Reports[0].Findings[0].Evidence, "from within the daemon") {
		t.Errorf("it was not the daemon that tried: %+v", within.Reports[0].Findings)
	}
	if found := watch.packets(leaks); len(found) > 0 {
		t.Errorf("closed, and these left:\n%s", strings.Join(found, "\n"))
	}

	// A rule that goes straight needs connections, and nothing else.
	write(fmt.Sprintf(tor, farSOCKS) + "[domain.\"own.test\"]\nroute = \"direct\"\n")
	want("with a direct route", look(), audit.ExitGood, map[string]string{"egress.dns": "pass", "egress.tcp": "skip", "egress.udp": "pass"})
	// A proxy that goes anywhere is none for onion services alone.
	write(fmt.Sprintf(tor, farSOCKS) + "[default]\nroute = \"onion-only\"\n")
	want("with onion services alone", look(), audit.ExitFailures, map[string]string{"egress.socks": "fail pass", "egress.tcp": "pass"})
}
