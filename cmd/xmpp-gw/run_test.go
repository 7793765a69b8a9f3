package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"xmpp-gw/internal/control"
)

// process is a daemon under test.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string
	news chan struct{} // one for each line, as far as anybody waits

	mu    sync.Mutex
	lines []string
	ended chan struct{}
}

// start runs `xmpp-gw run` with this configuration; before may change the command.
func start(t *testing.T, configuration string, before func(*exec.Cmd)) *process {
	t.Helper()
	p := &process{t: t, dir: t.TempDir(), news: make(chan struct{}, 1), ended: make(chan struct{})}
	p.configure(configuration)
	p.cmd = program(p.dir, "run", "--config", "config.toml")
	if before != nil {
		before(p.cmd)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(p.ended)
		for s := bufio.NewScanner(r); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			p.mu.Unlock()
			select {
			case p.news <- struct{}{}:
			default:
			}
		}
		r.Close()
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func (p *process) configure(text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, "config.toml"), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// wait waits until the output has text in it n times, and gives the last such line.
func (p *process) wait(text string, n int) string {
	p.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		p.mu.Lock()
		found := 0
		for _, line := range p.lines {
			if strings.Contains(line, text) {
				if found++; found == n {
					p.mu.Unlock()
					return line
				}
			}
		}
		p.mu.Unlock()
		select {
		case <-p.news:
		case <-timeout:
			p.t.Fatalf("no %q (%d times) in\n%s", text, n, p.output())
		case <-p.ended:
			if !strings.Contains(p.output(), text) {
				p.t.Fatalf("it ended without %q:\n%s", text, p.output())
			}
		}
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end and gives the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("it does not end:\n%s", p.output())
	}
	return p.cmd.ProcessState.ExitCode()
}

// client asks the daemon.
func (p *process) client() *control.Client {
	c := control.NewClient(filepath.Join(p.dir, "run", "xmpp-gw", "control.sock"))
	p.t.Cleanup(c.Close)
	return c
}

func (p *process) status() control.Status {
	p.t.Helper()
	s, err := p.client().Status(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// direct needs no Tor, and no port that another test may have.
const direct = `
[listen]
c2s = ["127.0.0.1:0"]
c2s_tls = ["unix:tls.sock"]
[default]
route = "direct"
`

func TestRun(t *testing.T) {
	p := start(t, direct, nil)
	p.wait("ready: point your client at localhost:", 1)
	for _, want := range []string{
		"xmpp-gw " + version, "configuration: config.toml", "listening: 127.0.0.1:", "(STARTTLS), unix:" + filepath.Join(p.dir, "tls.sock") + " (direct TLS)",
		"tor: not started, as no rule goes through it",
	} {
		if !strings.Contains(p.output(), want) {
			t.Errorf("no %q in\n%s", want, p.output())
		}
	}

	s := p.status()
	if s.State != control.StateReady || s.PID != p.cmd.Process.Pid || s.Tor.State != control.StateOff || len(s.Listeners) != 2 {
		t.Errorf("status %+v", s)
	}
	for name, mode := range map[string]os.FileMode{
		".local/state/xmpp-gw": 0o700, "run/xmpp-gw": 0o700, "run/xmpp-gw/control.sock": 0o600, "tls.sock": 0o600,
	} {
		if info, err := os.Stat(filepath.Join(p.dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, want mode %o", name, info, mode)
		}
	}

	// The commands find it, and a second daemon notices it.
	out, err := program(p.dir, "status").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "sessions: 0 open, 0 since the start") {
		t.Errorf("status: %v\n%s", err, out)
	}
	var report statusReport
	out, err = program(p.dir, "status", "--json").Output()
	if err != nil || json.Unmarshal(out, &report) != nil || report.Status.PID != p.cmd.Process.Pid || report.Sessions == nil {
		t.Errorf("status --json: %v\n%s", err, out)
	}
	second := program(p.dir, "run", "--config", "config.toml")
	out, err = second.CombinedOutput()
	if err == nil || second.ProcessState.ExitCode() != exitFailed ||
		!strings.Contains(string(out), "error: xmpp-gw is running already") || !strings.Contains(string(out), fmt.Sprintf("(process %d)", p.cmd.Process.Pid)) {
		t.Errorf("a second daemon: %v\n%s", err, out)
	}

	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	if !strings.Contains(p.output(), "stopped: 0 sessions since the start") {
		t.Errorf("no farewell in\n%s", p.output())
	}
	for _, name := range []string{"run/xmpp-gw/control.sock", "tls.sock"} {
		if _, err := os.Lstat(filepath.Join(p.dir, name)); err == nil {
			t.Errorf("%s was left", name)
		}
	}
}

// A client is answered, and stopping takes two steps: the first lets sessions
// close, the second ends them.
func TestStopInTwoSteps(t *testing.T) {
	p := start(t, direct, nil)
	p.wait("ready:", 1)
	c := connect(t, p.status().Listeners[0].Address)
	if _, err := io.WriteString(c, "<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	if n, err := c.Read(b); err != nil || !strings.Contains(string(b[:n]), "stream") {
		t.Fatalf("the gateway answered %q, %v", b[:n], err)
	}
	if s := p.status(); s.Sessions.Open != 1 || s.Sessions.Total != 1 {
		t.Errorf("sessions %+v", s.Sessions)
	}
	begin := time.Now()
	p.signal(syscall.SIGINT)
	p.wait("stopping: 1 sessions", 1)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone || time.Since(begin) > drainTime {
		t.Errorf("exit code %d after %v", code, time.Since(begin))
	}
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func TestReload(t *testing.T) {
	p := start(t, direct, nil)
	p.wait("ready:", 1)
	before := p.status()
	session := connect(t, before.Listeners[0].Address)

	// A mistake changes nothing and is told to whoever asked.
	p.configure(direct + "rout = 1\n")
	p.signal(syscall.SIGHUP)
	p.wait("error: the reload was refused, and all is as before: the configuration has a mistake", 1)
	if s := p.status(); !strings.Contains(s.ConfigError, "config.toml:") || s.ConfigLoaded != before.ConfigLoaded || len(s.Listeners) != 2 {
		t.Errorf("status after a mistake: %+v", s)
	}
	err := p.client().Reload(context.Background())
	if err == nil || !strings.Contains(err.Error(), "config.toml:") {
		t.Errorf("POST /v1/reload: %v", err)
	}

	// So does a place that is taken.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p.configure(strings.Replace(direct, `"unix:tls.sock"`, `"unix:new.sock", "`+taken.Addr().String()+`"`, 1))
	p.signal(syscall.SIGHUP)
	p.wait("another program listens there", 1)
	if _, err := os.Lstat(filepath.Join(p.dir, "new.sock")); err == nil {
		t.Error("a reload that failed left a listener")
	}

	// So does what cannot be wired.
	p.configure(strings.Replace(direct, "tls.sock", "new.sock", 1) + "[dns]\nca = \"/no/such/file\"\n")
	p.signal(syscall.SIGHUP)
	p.wait("dns.ca cannot be read", 1)
	if _, err := os.Lstat(filepath.Join(p.dir, "new.sock")); err == nil {
		t.Error("a reload that failed late left a listener")
	}

	// One that is right holds at once, and a session lives through it.
	p.configure(strings.Replace(direct, "tls.sock", "other.sock", 1))
	p.signal(syscall.SIGHUP)
	p.wait("reloaded: config.toml", 1)
	s := p.status()
	if s.ConfigError != "" || len(s.Listeners) != 2 || !strings.HasSuffix(s.Listeners[1].Address, "other.sock") || s.Listeners[0] != before.Listeners[0] {
		t.Errorf("status after the reload: %+v", s)
	}
	if _, err := os.Lstat(filepath.Join(p.dir, "tls.sock")); err == nil {
		t.Error("the old listener is still there")
	}
	if strings.Contains(p.output(), "trust install") {
		t.Errorf("the authority is the same, and the daemon says\n%s", p.output())
	}
	if s.Sessions.Open != 1 {
		t.Errorf("%d sessions after the reload, want the one from before", s.Sessions.Open)
	}
	if _, err := io.WriteString(session, "<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"); err != nil {
		t.Error(err)
	}
	if _, err := session.Read(make([]byte, 100)); err != nil {
		t.Errorf("the session from before the reload: %v", err)
	}

	// Other domains make another certificate, and what [tor] says has to wait.
	p.configure(strings.Replace(direct, `"direct"`, `"block"`, 1) + "[domain.\"a.example\"]\nroute = \"direct\"\n[tor]\nmode = \"managed\"\n")
	p.signal(syscall.SIGHUP)
	p.wait("warning: the domains that clients may ask for have changed", 1)
	p.wait("warning: what [tor] says now holds from the next start on", 1)
	c := connect(t, before.Listeners[0].Address)
	io.WriteString(c, "<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")
	if answer, err := io.ReadAll(c); err != nil || !strings.Contains(string(answer), "policy-violation") {
		t.Errorf("a domain that is blocked since the reload got %q, %v", answer, err)
	}
}

// Without a Tor the daemon says what to do, and serves on.
func TestRunWithoutTor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	p := start(t, strings.Replace(direct, `"direct"`, `"tor"`, 1)+"[tor]\nmode = \"system\"\nsocks = [\""+dead+"\"]\n", nil)
	p.wait("error: tor cannot be used, and nothing goes out by the routes over it", 1)
	p.wait("ready: for the other routes: point your client at localhost:", 1)
	s := p.status()
	if s.State != control.StateReady || s.Tor.State != control.StateFailed || s.Tor.Error == "" {
		t.Errorf("status %+v", s)
	}
}

func TestRunWithTorOff(t *testing.T) {
	p := start(t, strings.Replace(direct, `"direct"`, `"tor"`, 1)+"[tor]\nmode = \"off\"\n", nil)
	p.wait("tor: switched off", 1)
	p.wait("ready: point your client", 1)
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := start(t, strings.Replace(direct, "127.0.0.1:0", l.Addr().String(), 1), nil)
	if code := p.exit(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"error: cannot listen at " + l.Addr().String() + " (STARTTLS)", "another program listens there", "hint: it may be another xmpp-gw"} {
		if !strings.Contains(p.output(), want) {
			t.Errorf("no %q in\n%s", want, p.output())
		}
	}
}

// The service manager's sockets and notifications.
func TestUnderServiceManager(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	notify := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	hears := func(want string) {
		t.Helper()
		b := make([]byte, 4096)
		manager.SetReadDeadline(time.Now().Add(10 * time.Second))
		for {
			n, err := manager.Read(b)
			if err != nil {
				t.Fatalf("the manager never heard %q: %v", want, err)
			}
			if strings.Contains(string(b[:n]), want) {
				return
			}
		}
	}

	p := start(t, direct, func(cmd *exec.Cmd) {
		cmd.ExtraFiles = []*os.File{f}
		// The shell's process becomes the daemon's, and so has its number.
		cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES=c2s", "NOTIFY_SOCKET="+notify, "WATCHDOG_USEC=300000")
	})
	hears("READY=1")
	hears("WATCHDOG=1")
	if got := p.status().Listeners[0].Address; got != l.Addr().String() {
		t.Errorf("listens at %s, was given %s", got, l.Addr())
	}
	p.signal(syscall.SIGHUP)
	hears("RELOADING=1\nMONOTONIC_USEC=")
	hears("READY=1")
	p.signal(syscall.SIGTERM)
	hears("STOPPING=1")
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code %d", code)
	}
}

func TestMetrics(t *testing.T) {
	p := start(t, strings.Replace(direct, "[default]", "metrics = \"127.0.0.1:0\"\n[default]", 1), nil)
	p.wait("ready:", 1)
	connect(t, p.status().Listeners[0].Address)
	list := p.status().Listeners
	if list[2].Kind != kindMetrics {
		t.Fatalf("listeners %+v", list)
	}
	for p.status().Sessions.Total == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	resp, err := http.Get("http://" + list[2].Address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), "xmpp_gw_sessions_accepted_total 1\n") || strings.Contains(string(body), "tor_bootstrap") {
		t.Errorf("%v\n%s", err, body)
	}
}

// What is logged of a session names nobody, and with the switches it does.
func TestLogIsScrubbed(t *testing.T) {
	for _, shown := range []bool{false, true} {
		p := start(t, direct+"[domain.\"blocked.example\"]\nroute = \"block\"\n", func(cmd *exec.Cmd) {
			cmd.Args = append(cmd.Args, "--log-level", "debug", "--log-format", "json")
			if shown {
				cmd.Args = append(cmd.Args, "--log-addresses", "--log-jids")
			}
		})
		p.wait("ready:", 1)
		c := connect(t, p.status().Listeners[0].Address)
		io.WriteString(c, "<?xml version='1.0'?><stream:stream from='romeo@blocked.example' to='blocked.example' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>")
		io.Copy(io.Discard, c)
		p.signal(syscall.SIGTERM)
		p.exit()
		var logged []string
		for line := range strings.Lines(p.output()) {
			if strings.HasPrefix(line, "{") {
				logged = append(logged, line)
			}
		}
		log := strings.Join(logged, "")
		if len(logged) == 0 {
			t.Fatalf("nothing was logged:\n%s", p.output())
		}
		if leaked := strings.Contains(log, "blocked.example"); leaked != shown {
			t.Errorf("shown: %v, and the log says\n%s", shown, log)
		}
		if strings.Contains(log, "127.0.0.1") && !shown {
			t.Errorf("the log has an address:\n%s", log)
		}
	}
}
