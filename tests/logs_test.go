package tests

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
)

// A certificate of an authority that everybody trusts counts with sct = "require" only
// if the logs of the configuration's list vouch for it; `xmpp-gw check` says the same.
func TestLogs(t *testing.T) {
	t.Parallel()
	ca, err := lab.NewCA()
	must(t, err)
	dir := t.TempDir()
	must(t, ca.Write(dir))
	a, err := lab.NewCTLog("one", "log a")
	must(t, err)
	b, err := lab.NewCTLog("two", "log b")
	must(t, err)
	list := filepath.Join(dir, "log_list.json")
	must(t, os.WriteFile(list, lab.CTList(time.Now(), a, b), 0o644))
	trusted := []string{"SSL_CERT_FILE=" + filepath.Join(dir, "ca.pem"), "SSL_CERT_DIR=" + dir}

	config := fmt.Sprintf("[tor]\nmode = \"off\"\n[ct]\nlogs = %q\n[default]\nroute = \"block\"\nsct = \"require\"\n", list)
	for domain, leaf := range map[string]lab.CALeaf{
		"logged.test": {SCTs: lab.LoggedBy(a, b)},
		"half.test":   {SCTs: lab.LoggedBy(a)},
		"plain.test":  {},
	} {
		leaf.Names = []string{domain}
		cert, err := ca.Leaf(leaf)
		must(t, err)
		config += serve(t, domain, cert)
	}
	gw := daemon.Run(t, daemon.Options{Config: config, Env: trusted})

	c := dial(t, gw.C2S, gw.CA, "logged.test")
	c.login()
	c.echo()
	if s := gw.Sessions(t, "logged.test"); len(s) != 1 || s[0].TLS.Logs != "vouched for by log a, log b" || s[0].TLS.Witness != "skipped: the route has no second circuit" {
		t.Errorf("status: %+v", s)
	}
	c.send("</stream:stream>")
	c.rest()
	for domain, why := range map[string]string{"half.test": "1 of 2 logs that are needed: log a", "plain.test": "the server shows no timestamp of any"} {
		c := dial(t, gw.C2S, gw.CA, domain)
		c.tryLogin()
		if v, raw := c.verdict(); v.condition != "policy-violation" || !strings.Contains(v.text, "public logs do not vouch") || !strings.Contains(v.text, why) {
			t.Errorf("%s: %+v (%q)", domain, v, raw)
		}
	}

	cmd, err := daemon.Command(t.Context(), "check", "--config", filepath.Join(gw.Dir, "config.toml"), "--state-dir", gw.Dir,
		"--only", "cert.sct", "--json", "--timeout", "2s", "logged.test", "half.test", "plain.test")
	must(t, err)
	cmd.Env = append(cmd.Env, trusted...)
	text, _ := cmd.Output() // the code is that of what was found
	var out struct {
		Reports []struct {
			Target   string
			Findings []struct{ Verdict, Evidence string }
		}
	}
	must(t, json.Unmarshal(text, &out))
	want := map[string]string{"logged.test": "pass", "half.test": "warn", "plain.test": "warn"}
	for _, r := range out.Reports {
		if len(r.Findings) != 1 || r.Findings[0].Verdict != want[r.Target] {
			t.Errorf("check of %s: %+v", r.Target, r.Findings)
		}
		delete(want, r.Target)
	}
	if len(want) > 0 {
		t.Errorf("no report on %v:\n%s", want, text)
	}
}

// serve is a server of domain, and the section that leads there.
func serve(t *testing.T, domain string, cert tls.Certificate) string {
	t.Helper()
	s, err := lab.NewScript(func(c *lab.ScriptConn) {
		c.Good(domain, cert, user, password)
		(&server{ScriptConn: c}).echo()
	})
	must(t, err)
	t.Cleanup(s.Close)
	return fmt.Sprintf("[domain.%q]\nroute = \"direct\"\nendpoints = [\"starttls://%s\"]\n", domain, s.Addr())
}
