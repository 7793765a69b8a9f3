//go:build e2e

package tests

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
)

// The addresses of the wire: the machine under test is near, and all that it can
// reach is far.
const (
	nearIP, farIP   = "10.77.0.2", "10.77.0.1"
	nearIP6, farIP6 = "fd77::2", "fd77::1"
	farSOCKS        = farIP + ":9050"
)

// noise is what a kernel says by itself on a fresh wire: ARP, and IPv6's
// neighbour discovery (RFC 4861: ICMPv6 133 to 137) and multicast listener
// reports (RFC 3810, behind a hop-by-hop header).
const noise = "arp or (icmp6 and ip6[40] >= 133 and ip6[40] <= 137) or (ip6 and ip6[6] == 0 and ip6[40] == 58)"

// leaks is the filter for everything else that is not to or from the SOCKS port.
const leaks = "not (" + noise + ") and not (tcp and host " + farIP + " and port 9050)"

// insideEnv marks the run of this program inside its network namespace.
const insideEnv = "XMPP_GW_TEST_INSIDE"

// TestOnlySOCKSLeaves captures every packet that leaves a machine on which the
// gateway runs (never 2). The machine is a network namespace: this program
// starts itself again in one, with a wire to a second namespace that has the
// SOCKS server and is the default route. Nothing else is out there, so
// whatever else is asked for, a name or an address, shows up on the wire.
// The namespaces end with their processes; nothing has to be cleaned up.
func TestOnlySOCKSLeaves(t *testing.T) { inNamespace(t, testOnlySOCKSLeaves) }

// inNamespace runs f in this program, started again in a network namespace of its
// own for the test t alone.
func inNamespace(t *testing.T, f func(*testing.T)) {
	t.Helper()
	for tool, pkg := range map[string]string{"unshare": "util-linux", "ip": "iproute2", "tcpdump": "tcpdump", "getent": "libc-bin"} {
		if _, err := lookTool(tool); err != nil {
			t.Fatalf("there is no %s: install the package %s", tool, pkg)
		}
	}
	if os.Getenv(insideEnv) != "" {
		f(t)
		return
	}
	binary, err := daemon.Binary(t.Context())
	must(t, err)
	unshare, _ := lookTool("unshare")
	cmd := exec.Command(unshare, "--net", "--mount", "--", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	if os.Geteuid() != 0 {
		// A user namespace as well; as oneself, since a tcpdump that takes itself
		// for root wants to change its groups, which is not allowed in there.
		cmd.Args = append([]string{cmd.Args[0], "--user", "--map-current-user", "--keep-caps"}, cmd.Args[1:]...)
	}
	cmd.Env = append(os.Environ(), insideEnv+"=1", "XMPP_GW_BINARY="+binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the death signal is for the end of the thread
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("inside the namespace: %v\n%s", err, out)
	}
}

// lookTool finds a program that may be in a directory for administrators.
func lookTool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

// tool runs a program to its end.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := lookTool(name)
	must(t, err)
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// far runs f in the second namespace, which it makes. What f starts or opens
// stays there. The thread that has moved is never used for anything else.
func far(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and no unlock: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		f()
	}()
	for err := range done {
		t.Fatalf("a second namespace: %v", err)
	}
}

// wire lays the wire between the namespaces and starts the SOCKS server at its
// far end.
func wire(t *testing.T, table map[string]string) (socks *lab.SOCKSServer) {
	t.Helper()
	// The system's resolver must be one that the wire would show.
	dir := t.TempDir()
	resolv := filepath.Join(dir, "resolv.conf")
	must(t, os.WriteFile(resolv, []byte("nameserver "+farIP+"\noptions timeout:1 attempts:1\n"), 0o644))
	must(t, unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	must(t, unix.Mount(resolv, "/etc/resolv.conf", "", unix.MS_BIND, ""))

	ns, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	defer ns.Close()
	here := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.Fd())
	var hold *os.File // keeps the far end when nothing listens there any more
	far(t, func() {
		tool(t, "ip", "link", "set", "lo", "up")
		tool(t, "ip", "link", "add", "far", "type", "veth", "peer", "name", "near", "netns", here)
		tool(t, "ip", "addr", "add", farIP+"/24", "dev", "far")
		tool(t, "ip", "addr", "add", farIP6+"/64", "dev", "far", "nodad")
		tool(t, "ip", "link", "set", "far", "up")
		var err error
		socks, err = lab.SOCKSStart("tcp", farSOCKS, table)
		must(t, err)
		hold, err = os.Open("/proc/thread-self/ns/net")
		must(t, err)
	})
	t.Cleanup(func() { socks.Close(); hold.Close() })
	tool(t, "ip", "link", "set", "lo", "up")
	tool(t, "ip", "addr", "add", nearIP+"/24", "dev", "near")
	tool(t, "ip", "addr", "add", nearIP6+"/64", "dev", "near", "nodad")
	tool(t, "ip", "link", "set", "near", "up")
	tool(t, "ip", "route", "add", "default", "via", farIP)
	tool(t, "ip", "-6", "route", "add", "default", "via", farIP6)
	return socks
}

// capture is a tcpdump of the wire.
type capture struct {
	t    *testing.T
	cmd  *exec.Cmd
	file string
	said chan string
}

func startCapture(t *testing.T) *capture {
	t.Helper()
	path, err := lookTool("tcpdump")
	must(t, err)
	c := &capture{t: t, file: filepath.Join(t.TempDir(), "wire.pcap"), said: make(chan string, 1)}
	c.cmd = exec.Command(path, "-i", "near", "-n", "-U", "--immediate-mode", "-s", "200", "-B", "16384", "-Z", "root", "-w", c.file)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := c.cmd.StderrPipe()
	must(t, err)
	ready := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as long as the process lives: see Pdeathsig
		ready <- c.cmd.Start()
		var all strings.Builder
		for s := bufio.NewScanner(stderr); s.Scan(); {
			fmt.Fprintln(&all, s.Text())
			if strings.Contains(s.Text(), "listening on") {
				ready <- nil
			}
		}
		close(ready)
		c.cmd.Wait()
		c.said <- all.String()
	}()
	for range 2 {
		if err, ok := <-ready; err != nil || !ok {
			t.Fatalf("tcpdump does not start: %v %s", err, <-c.said)
		}
	}
	return c
}

// stop ends the capture; select then says what is in it.
func (c *capture) stop() {
	c.t.Helper()
	time.Sleep(500 * time.Millisecond) // what is under way arrives
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		c.t.Fatalf("tcpdump: %v: %s", err, <-c.said)
	}
	if said := <-c.said; !strings.Contains(said, "\n0 packets dropped by kernel") {
		c.t.Fatalf("the capture is not whole: %s", said)
	}
}

// packets are those that a filter selects, one a line.
func (c *capture) packets(filter string) []string {
	c.t.Helper()
	path, err := lookTool("tcpdump")
	must(c.t, err)
	out, err := exec.Command(path, "-n", "-Z", "root", "-r", c.file, filter).Output()
	must(c.t, err)
	return strings.Split(strings.TrimSpace(string(out)), "\n")[:strings.Count(string(out), "\n")]
}

func testOnlySOCKSLeaves(t *testing.T) {
	ca, err := lab.NewCA()
	must(t, err)
	dir := t.TempDir()
	must(t, ca.Write(dir))
	script, err := lab.NewScript(func(c *lab.ScriptConn) {
		s := &server{ScriptConn: c, row: &row{domain: hiddenDomain}, ca: ca}
		s.good().echo()
	})
	must(t, err)
	defer script.Close()
	dns, err := lab.DNSStart(lab.DNSZone{"_xmpp-client._tcp." + hiddenDomain: {"SRV 0 0 5222 " + hiddenHost + "."}}, nil)
	must(t, err)
	defer dns.Close()
	socks := wire(t, map[string]string{hiddenHost + ":5222": script.Addr(), hiddenResolver: dns.Addr()})

	names, err := dns.Section("tcp://"+hiddenResolver, dir)
	must(t, err)
	config := daemon.Options{Config: fmt.Sprintf(`
[tor]
mode = "system"
socks = [%q]
[default]
route = "tor"
%s[socks.down]
url = "socks5://127.0.0.1:9"
[domain."blocked.test"]
route = "block"
[domain."hop.test"]
route = "socks:down"
[domain.%q]
ca = %q
`, farSOCKS, names, hiddenDomain, filepath.Join(dir, "ca.pem"))}

	watch := startCapture(t)
	gw := daemon.Run(t, config)
	visit := func() {
		t.Helper()
		c := dial(t, gw.C2S, gw.CA, hiddenDomain)
		c.login()
		c.echo()
		c.send("</stream:stream>")
		c.rest()
	}
	fails := func(domain, condition string) {
		t.Helper()
		c := dial(t, gw.C2S, gw.CA, domain)
		c.send(header("to='" + domain + "' version='1.0'"))
		if got, found := c.until(`</stream:features>`); found {
			c.send(starttls)
			c.expect(`<proceed[^>]*/>`)
			c.handshake(domain)
			c.open()
			c.auth(user, password)
			if v, raw := c.verdict(); v.condition != condition {
				t.Errorf("%s gives %+v (%q), want %s", domain, v, raw, condition)
			}
		} else if !strings.Contains(got, "<"+condition) {
			t.Errorf("%s gives %q, want %s", domain, got, condition)
		}
	}
	visit()
	fails("nobody.invalid", "remote-connection-failed")
	fails("198.51.100.7", "remote-connection-failed") // RFC 5737
	fails("2001:db8::7", "remote-connection-failed")
	fails("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaam2dqd.onion", "remote-connection-failed")
	fails("hop.test", "remote-connection-failed")
	fails("blocked.test", "policy-violation")
	must(t, gw.Reload(t.Context()))
	visit()
	logins := script.Accepted()
	checks := func(args ...string) string {
		t.Helper()
		args = append([]string{"check", "--config", filepath.Join(gw.Dir, "config.toml"), "--timeout", "4s", "--s2s"}, args...)
		cmd, err := daemon.Command(t.Context(), args...)
		must(t, err)
		out, _ := cmd.CombinedOutput() // the code is that of what was found
		return string(out)
	}
	// By the daemon's Tor, and by the same one as a command finds it.
	for _, state := range []string{gw.Dir, filepath.Join(dir, "state")} {
		if said := checks("--state-dir", state, hiddenDomain); !strings.Contains(said, "starttls://"+hiddenHost+":5222") {
			t.Errorf("check did not reach the server:\n%s", said)
		}
	}
	checks("--state-dir", gw.Dir, "nobody.invalid", "198.51.100.7", "2001:db8::7", "hop.test", "blocked.test",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaam2dqd.onion", "198.51.100.7:5223", "wss://nobody.invalid/ws")
	if script.Accepted() == logins {
		t.Error("the checks did not connect to the server")
	}
	socks.SetFault(lab.SOCKSFault{Code: 1})
	fails(hiddenDomain, "remote-connection-failed")
	socks.Close() // and now there is no Tor at all
	fails(hiddenDomain, "remote-connection-failed")
	fails("nobody.invalid", "remote-connection-failed")
	if said := checks("--state-dir", filepath.Join(dir, "state"), hiddenDomain, "nobody.invalid"); !strings.Contains(said, "were not looked at\n  there is no Tor to go by") {
		t.Errorf("check without Tor:\n%s", said)
	}
	must(t, gw.Close())
	watch.stop()

	if n := len(watch.packets("tcp and dst host " + farIP + " and dst port 9050")); n < 50 {
		t.Errorf("%d packets to the SOCKS port: the capture does not see the gateway", n)
	}
	if found := watch.packets(leaks); len(found) > 0 {
		t.Errorf("%d packets left that are not to the SOCKS port:\n%s", len(found), strings.Join(found, "\n"))
	}
	if logins != 4 { // the server shows another key each time, and the gateway looks again
		t.Errorf("the server got %d connections, want those of two logins and two second looks", logins)
	}
	testLeakIsSeen(t)
}

// testLeakIsSeen shows that the same judgement finds each kind of leak.
func testLeakIsSeen(t *testing.T) {
	for name, leak := range map[string]func(t *testing.T){
		"a name asked of the system's resolver": func(*testing.T) {
			getent, _ := lookTool("getent")
			_ = exec.Command(getent, "ahosts", hiddenDomain).Run()
		},
		"a connection past the proxy": func(*testing.T) {
			d := net.Dialer{Timeout: 300 * time.Millisecond}
			if c, err := d.Dial("tcp", "198.51.100.7:5222"); err == nil {
				c.Close()
			}
		},
		"another port of the proxy's host": func(*testing.T) {
			if c, err := net.Dial("tcp", farIP+":9051"); err == nil {
				c.Close()
			}
		},
		"a datagram by IPv6": func(*testing.T) {
			if c, err := net.Dial("udp", "[2001:db8::7]:443"); err == nil {
				_, _ = c.Write([]byte("x"))
				c.Close()
			}
		},
		"the gateway itself, on a direct route": func(t *testing.T) {
			gw := daemon.Run(t, daemon.Options{Config: "[default]\nroute = \"direct\"\n[dns]\nservers = [\"tcp://" + farIP + ":53\"]\n"})
			c := dial(t, gw.C2S, gw.CA, hiddenDomain)
			c.tryLogin()
			if v, raw := c.verdict(); v.kind != "stream" {
				t.Errorf("%+v (%q)", v, raw)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			watch := startCapture(t)
			leak(t)
			watch.stop()
			if len(watch.packets(leaks)) == 0 {
				t.Error("the capture does not show it")
			}
		})
	}
}
