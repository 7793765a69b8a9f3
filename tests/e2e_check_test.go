//go:build e2e

package tests_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
	"xmpp-gw/tests/tornet"
)

// checked is the document of `xmpp-gw check --json`, as far as the tests read it.
type checked struct {
	Schema  string
	Exit    int
	Reports []struct {
		Target, Via, Grade, Rule string
		Connected                bool
		Exit                     int
		Findings                 []struct{ ID, Target, Severity, Verdict, Evidence string }
		Policy                   *struct{ Met bool }
	}
}

// verdict is that of a finding, the worst where there are several; "" without one.
func (c checked) verdict(target, id string) string {
	for _, r := range c.Reports { // the worst is first
		for _, f := range r.Findings {
			if r.Target == target && f.ID == id {
				return f.Verdict
			}
		}
	}
	return ""
}

// checker runs `xmpp-gw check` with one configuration, and a state of its own.
type checker struct {
	t      *testing.T
	dir    string
	config string // the file
}

func newChecker(t *testing.T, config string) *checker {
	t.Helper()
	c := &checker{t: t, dir: t.TempDir()}
	c.config = filepath.Join(c.dir, "config.toml")
	if err := os.WriteFile(c.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// run gives the exit code and both outputs.
func (c *checker) run(args ...string) (code int, out, said string) {
	c.t.Helper()
	return runCheck(c.t, append([]string{"--config", c.config, "--state-dir", filepath.Join(c.dir, "state")}, args...)...)
}

func runCheck(t *testing.T, args ...string) (code int, out, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd, err := daemon.Command(ctx, append([]string{"check"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// json runs it with --json; the code must be the one that the document has.
func (c *checker) json(args ...string) (doc checked) {
	c.t.Helper()
	code, out, said := c.run(append([]string{"--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		c.t.Fatalf("%v in\n%s\n%s", err, out, said)
	}
	if doc.Schema != "xmpp-gw-check-1" || doc.Exit != code {
		c.t.Errorf("schema %q, exit %d, and the code is %d: %s", doc.Schema, doc.Exit, code, said)
	}
	return doc
}

// testCheck: `xmpp-gw check` as a user runs it.
func testCheck(t *testing.T, g *world) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"direct", testCheckDirect},
		{"login", testCheckLogin},
		{"policy", testCheckPolicy},
		{"onion", testCheckOnion},
		{"own onion", testCheckOwnOnion},
		{"private onion", testCheckPrivateOnion},
		{"route", testCheckRoute},
		{"interrupt", testCheckInterrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, g)
		})
	}
}

// checkDirect is a configuration in which the servers are reached directly, and all
// DNS is that of the world.
func (g *world) checkDirect(t *testing.T) *checker {
	names, err := g.dns.Section(g.dns.TCP(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return newChecker(t, names+g.direct(peers.StartTLS)+
		g.domain(g.servers["prosody12"], `route = "direct"`, fmt.Sprintf("endpoints = [%q]", g.servers["prosody12"].endpoint(peers.StartTLS)))+
		"[domain.\"dead.test\"]\nroute = \"direct\"\nendpoints = [\"tls://127.0.0.1:1\"]\n")
}

// testCheckDirect: every exit code, and every format.
func testCheckDirect(t *testing.T, g *world) {
	c := g.checkDirect(t)
	elsewhere := g.servers["prosody"].endpoint(peers.StartTLS)
	for _, tt := range []struct {
		code int
		args string
		want string // in what it prints, both outputs
	}{
		{0, "--only tls.starttls,cert.chain,cert.name,sasl.pretls prosody.test", "prosody.test  grade A"},
		{1, "dead.test", "no grade: the server was not reached"},
		{1, "--only cert.chain prosody.test dead.test", "dead.test     –"}, // in the table
		{2, "--only sasl.plus prosody.test", "warn medium"},
		{0, "--only sasl.plus --level high prosody.test", ""},
		{3, "--only reg.open prosody.test", "fail medium"},
		{3, "--only reg.open,tls.version prosody12.test dead.test prosody.test", ""},
		{3, "--only cert.chain --ca " + filepath.Join(g.dir, "ejabberd.pem") + " prosody.test", "fail critical"},
		{1, "nobody.test", "error: nobody.test was not looked at\n  policy blocks it"},
		{2, "--only cert.chain --at " + elsewhere + " ejabberd.test", "host-unknown"}, // unknown is no pass
		{4, "--only nothing prosody.test", "there is no check"},
		{4, "--via vpn prosody.test", "names no such VPN"},
		{3, "--junit --only reg.open prosody.test", "<failure"},
		{3, "--sarif --only reg.open prosody.test", `"version": "2.1.0"`},
		{3, "--markdown --only reg.open prosody.test", "- **fail** (medium) `reg.open`"},
	} {
		code, out, said := c.run(strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(out+said, tt.want) || strings.Contains(out, "\x1b") {
			t.Errorf("%s: exit %d, want %d and %q:\n%s\n%s", tt.args, code, tt.code, tt.want, out, said)
		}
	}
	doc := c.json("prosody.test", "ejabberd.test")
	if len(doc.Reports) != 2 || doc.Reports[0].Target != "prosody.test" || doc.Reports[1].Via != "direct" {
		t.Fatalf("%+v", doc)
	}
	for target, want := range map[string]map[string]string{
		"prosody.test": {"tls.starttls.required": "pass", "tls.version": "pass", "cert.chain": "pass", "cert.name": "pass",
			"sasl.scram": "pass", "reg.open": "fail", "witness.key": "skip", "onion.reach": "skip", "s2s.required": "skip", "dns.dnssec": "warn"},
		"ejabberd.test": {"tls.starttls.required": "pass", "tls.version": "pass", "cert.chain": "pass", "sasl.scram": "pass", "reg.open": "fail"},
	} {
		for id, verdict := range want {
			if got := doc.verdict(target, id); got != verdict {
				t.Errorf("%s: %s is %q, want %q", target, id, got, verdict)
			}
		}
	}
}

// testCheckLogin: with an account, of which the password is in no argument.
func testCheckLogin(t *testing.T, g *world) {
	c := g.checkDirect(t)
	jid := g.servers["prosody"].account(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\nwrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	doc := c.json("--login", "--password-file", file, jid, g.servers["ejabberd"].account(t))
	if got := doc.verdict("prosody.test", "suite.core"); got != "pass" {
		t.Errorf("suite.core of an account that logged in is %q", got)
	}
	if got := doc.verdict("ejabberd.test", "suite.core"); got != "unknown" {
		t.Errorf("suite.core of an account with a wrong password is %q", got)
	}
}

// testCheckPolicy: a policy made of a server is met by it, and not by a weaker one.
func testCheckPolicy(t *testing.T, g *world) {
	c := g.checkDirect(t)
	code, text, said := c.run("--make-policy", "prosody.test")
	if code != 0 || !strings.Contains(text, `"tls.version"`) {
		t.Fatalf("exit %d: %s\n%s", code, text, said)
	}
	file := filepath.Join(c.dir, "policy.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]int{"prosody.test": 0, "prosody12.test": 3, "dead.test": 1} {
		doc := c.json("--policy", file, target)
		if doc.Exit != want || want != 1 && (doc.Reports[0].Policy == nil || doc.Reports[0].Policy.Met != (want == 0)) {
			t.Errorf("%s: exit %d, want %d: %+v", target, doc.Exit, want, doc.Reports[0].Policy)
		}
	}
	if code, out, _ := c.run("--policy", "modern", "prosody.test"); code != 3 || !strings.Contains(out, "Policy modern") {
		t.Errorf("modern: exit %d: %s", code, out)
	}
}

// testCheckOnion: at an onion address of the private Tor network, by a Tor that the
// check starts and ends.
func testCheckOnion(t *testing.T, g *world) {
	_, port, _ := net.SplitHostPort(g.servers["prosody"].Addr(peers.StartTLS))
	service, err := g.tor.HiddenService(t.Context(), tornet.Port{Virtual: 5222, Target: "127.0.0.1:" + port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	key, err := onion.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c := newChecker(t, fmt.Sprintf("[tor]\nmode = \"managed\"\ntorrc = %q\n", g.tor.ExtraTorrc())+blockOthers+
		g.domain(g.servers["prosody"], `route = "onion-only"`, fmt.Sprintf("onion = %q", service.Onion+":5222")))
	// Nobody publishes the second address; the first leads to a server of another name.
	doc := c.json("--via", "direct", key.Address(), service.Onion)
	if len(doc.Reports) != 2 || doc.Exit != 3 || doc.Reports[0].Connected || doc.Reports[0].Via != "tor" || !doc.Reports[1].Connected {
		t.Fatalf("%+v", doc)
	}
	if got := doc.verdict(key.Address(), "onion.desc"); got != "fail" {
		t.Errorf("onion.desc of an address that nobody publishes is %q", got)
	}
	doc = c.json("prosody.test")
	at := "starttls://" + service.Onion + ":5222"
	for id, want := range map[string]string{"onion.desc": "pass", "onion.reach": "pass", "onion.auth": "pass", "witness.key": "pass",
		"tls.version": "pass", "cert.chain": "pass", "cert.name": "pass"} {
		if got := doc.verdict("prosody.test", id); got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
	if r := doc.Reports[0]; r.Via != "onion-only" || !r.Connected || !slices.ContainsFunc(r.Findings, func(f struct{ ID, Target, Severity, Verdict, Evidence string }) bool {
		return f.ID == "tls.version" && f.Target == at
	}) {
		t.Errorf("%+v", r)
	}
	if running, err := filepath.Glob(filepath.Join(c.dir, "state", "*", "*.sock")); err != nil || len(running) > 0 {
		t.Errorf("tor's sockets are still there: %v, %v", running, err)
	}
}

// testCheckOwnOnion: the bundled node at its own onion address, by the Tor of the
// daemon that publishes it.
func testCheckOwnOnion(t *testing.T, g *world) {
	node := publisher{daemon.Run(t, daemon.Options{
		Config: fmt.Sprintf("[tor]\nmode = \"managed\"\ntorrc = %q\n", g.tor.ExtraTorrc()) + blockOthers + "[node]\npublish = true\n",
	})}
	domain := node.published(t, "node").Address
	desk := control.NewClient(filepath.Join(node.Dir, "control.sock"))
	defer desk.Close()
	if _, err := desk.AddAccount(t.Context(), control.NewAccount{JID: "romeo", Password: password}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, said := runCheck(t, "--config", filepath.Join(node.Dir, "config.toml"), "--state-dir", node.Dir, "--via", "tor", "--json",
		"--login", "--password-file", file, "romeo@"+domain)
	var doc checked
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v: exit %d: %s", err, code, said)
	}
	for id, want := range map[string]string{"onion.desc": "pass", "onion.reach": "pass", "onion.deanon": "pass", "sasl.scram": "pass",
		"sasl.downgrade": "pass", "suite.core": "pass"} {
		if got := doc.verdict(domain, id); got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(node.Dir, "check-tor")); err == nil {
		t.Error("a second tor was started, beside the daemon's")
	}
}

// testCheckPrivateOnion: an onion service for those with a key, without one and with
// it. The keys are those of `xmpp-gw onion auth`.
func testCheckPrivateOnion(t *testing.T, g *world) {
	p := newPublisher(t, g)
	p.publish(t, "private", "--target", g.servers["prosody"].Addr(peers.StartTLS))
	key := strings.TrimSpace(command(t, p.Daemon, "onion client add", "private", "juliet"))
	address := p.published(t, "private").Address
	c := newChecker(t, fmt.Sprintf("[tor]\nmode = \"managed\"\ntorrc = %q\n", g.tor.ExtraTorrc()))
	see := func(want string) {
		t.Helper()
		var doc checked
		// Directories keep a descriptor until the next one comes.
		for end := time.Now().Add(90 * time.Second); time.Now().Before(end); {
			doc = c.json("--only", "onion", address)
			if doc.verdict(address, "onion.auth") == want && doc.verdict(address, "onion.desc") == "pass" {
				return
			}
		}
		t.Errorf("onion.auth is not %q: %+v", want, doc)
	}
	see("fail")
	add, err := daemon.Command(deadline(t), "onion", "auth", "add", "--state-dir", filepath.Join(c.dir, "state"), key)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	see("pass")
}

// testCheckRoute: names that only the proxy knows are asked of it alone, and the
// second look comes by another circuit.
func testCheckRoute(t *testing.T, g *world) {
	const domain, host, resolver = "prosody.test", "hidden.invalid", "192.0.2.53:53" // RFC 5737
	socks, err := lab.SOCKSStart("tcp", "127.0.0.1:0", map[string]string{
		resolver:        g.dns.Addr(),
		host + ":15222": g.servers["prosody"].Addr(peers.StartTLS),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer socks.Close()
	names, err := g.dns.Section("tcp://"+resolver, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := newChecker(t, fmt.Sprintf("[tor]\nmode = \"system\"\nsocks = [%q]\n[socks.hop]\nurl = \"socks5://%s\"\n", socks.Addr(), socks.Addr())+
		names+g.domain(g.servers["prosody"], `route = "tor"`))
	// Only Tor has second circuits to look by.
	for via, witness := range map[string]string{"tor": "pass", "socks:hop": "skip"} {
		before := len(socks.Requests())
		doc := c.json("--via", via, "--at", "starttls://"+host+":15222", domain)
		for id, want := range map[string]string{"tls.version": "pass", "cert.name": "pass", "witness.key": witness, "dns.dnssec": "warn"} {
			if got := doc.verdict(domain, id); got != want {
				t.Errorf("%s: %s is %q, want %q", via, id, got, want)
			}
		}
		asked, users := map[string]bool{}, map[string]bool{}
		for _, r := range socks.Requests()[before:] {
			if r.Target == "" {
				continue
			}
			asked[r.Target] = true
			if r.Target == host+":15222" {
				users[r.User] = true
			}
			if !r.Name && r.Target != resolver {
				t.Errorf("%s: %s was asked by number", via, r.Target)
			}
		}
		if len(users) != map[string]int{"pass": 2, "skip": 1}[witness] || !asked[resolver] || !asked[domain+":443"] || len(asked) != 3 {
			t.Errorf("%s: asked for %v, as %d users", via, asked, len(users))
		}
	}
	// Nothing falls back: without the proxy nothing is seen.
	socks.Close()
	if doc := c.json("--via", "socks:hop", "--at", "starttls://"+host+":15222", domain); doc.Exit != 1 || doc.Reports[0].Connected {
		t.Errorf("without the proxy: %+v", doc.Reports[0].Rule)
	}
	if code, _, said := c.run("--at", "starttls://"+host+":15222", domain); code != 1 || !strings.Contains(said, "there is no Tor to go by") {
		t.Errorf("without Tor: exit %d: %s", code, said)
	}
}

// testCheckInterrupt: a check that is interrupted ends at once, with what it saw.
func testCheckInterrupt(t *testing.T, g *world) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := newChecker(t, "[default]\nroute = \"direct\"\n")
	cmd, err := daemon.Command(deadline(t), "check", "--config", c.config, silent.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := silent.Accept() // it looks
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begin := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code, took := cmd.ProcessState.ExitCode(), time.Since(begin); code != 1 || took > 5*time.Second ||
		!strings.Contains(stderr.String(), "warning: interrupted") || !strings.Contains(stdout.String(), "Not seen") {
		t.Errorf("exit %d after %v:\n%s\n%s", code, took, &stdout, &stderr)
	}
}
