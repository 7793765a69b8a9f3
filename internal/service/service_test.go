package service

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes this binary the child that takes over sockets: the environment
// and descriptor 3 belong to a process.
func TestMain(m *testing.M) {
	names := os.Getenv("SERVICE_TEST_CHILD")
	if names == "" {
		os.Exit(m.Run())
	}
	os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	listeners, err := Listeners(strings.Split(names, ",")...)
	if err != nil {
		fmt.Println("error:", err)
	}
	for _, l := range listeners {
		fmt.Println(l.Name, l.Addr().Network())
		c, err := l.Accept()
		if err != nil {
			fmt.Println("error:", err)
			continue
		}
		fmt.Fprintln(c, "hello from", l.Name)
		c.Close()
	}
	fmt.Printf("left %q\n", os.Getenv("LISTEN_FDS")+os.Getenv("LISTEN_PID")+os.Getenv("LISTEN_FDNAMES"))
	os.Exit(0)
}

func TestListeners(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name    string
		fdnames string
		sockets []string // network of each
		want    []string // lines of the child
	}{
		{"none", "", nil, []string{`left ""`}},
		{"two", "c2s:c2s-tls", []string{"tcp", "tcp"}, []string{"c2s tcp", "c2s-tls tcp", `left ""`}},
		{"one name twice, and unix", "c2s:c2s", []string{"unix", "tcp"}, []string{"c2s unix", "c2s tcp", `left ""`}},
		{"no name", "", []string{"tcp"}, []string{`error: socket activation hands over a socket named "LISTEN_FD_3"; set FileDescriptorName= in the socket unit to one of c2s, c2s-tls`, `left ""`}},
		{"the unit's name", "xmpp-gw.socket", []string{"tcp"}, []string{`FileDescriptorName=`, `left ""`}},
		{"good and bad", "c2s:web", []string{"tcp", "tcp"}, []string{`named "web"`, `left ""`}},
		{"datagrams", "c2s", []string{"udp"}, []string{"is no listening stream socket", `left ""`}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), "SERVICE_TEST_CHILD=c2s,c2s-tls",
				"LISTEN_FDS="+strconv.Itoa(len(tt.sockets)), "LISTEN_FDNAMES="+tt.fdnames)
			var addrs []net.Addr
			for j, network := range tt.sockets {
				f, addr := socket(t, network, filepath.Join(dir, fmt.Sprint(i, j)))
				child.ExtraFiles = append(child.ExtraFiles, f)
				addrs = append(addrs, addr)
			}
			// The sockets listen already: a client may connect before the child runs.
			for _, addr := range addrs {
				if !strings.Contains(strings.Join(tt.want, "\n"), "error") && addr.Network() != "udp" {
					c, err := net.Dial(addr.Network(), addr.String())
					if err == nil {
						defer c.Close()
					}
				}
			}
			out, err := child.Output()
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("the child said\n%s", out)
			}
			for j, want := range tt.want {
				if !strings.Contains(lines[j], want) {
					t.Errorf("line %d is %q, want …%s…", j, lines[j], want)
				}
			}
		})
	}
}

// socket is a listening socket's file, or a bound one's for udp.
func socket(t *testing.T, network, path string) (*os.File, net.Addr) {
	t.Helper()
	var f *os.File
	var addr net.Addr
	var err error
	switch network {
	case "udp":
		c, e := net.ListenUDP(network, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if e != nil {
			t.Fatal(e)
		}
		t.Cleanup(func() { c.Close() })
		addr = c.LocalAddr()
		f, err = c.File()
	case "unix":
		l, e := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
		if e != nil {
			t.Fatal(e)
		}
		t.Cleanup(func() { l.Close() })
		addr = l.Addr()
		f, err = l.File()
	default:
		l, e := net.ListenTCP(network, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if e != nil {
			t.Fatal(e)
		}
		t.Cleanup(func() { l.Close() })
		addr = l.Addr()
		f, err = l.File()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, addr
}

// manager is a service manager's end of the notification socket.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 1024)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestNotify(t *testing.T) {
	m := manager(t)
	for _, tt := range []struct {
		say  func()
		want string
	}{
		{func() { Status("tor: 45 %") }, "STATUS=tor: 45 %"},
		{func() { Ready("2 sessions") }, "READY=1\nSTATUS=2 sessions"},
		{Stopping, "STOPPING=1"},
	} {
		tt.say()
		if got := receive(t, m); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	Reloading()
	sc := bufio.NewScanner(strings.NewReader(receive(t, m)))
	sc.Scan()
	if sc.Text() != "RELOADING=1" {
		t.Errorf("Reloading said %q", sc.Text())
	}
	sc.Scan()
	if usec, ok := strings.CutPrefix(sc.Text(), "MONOTONIC_USEC="); !ok || usec == "" {
		t.Errorf("Reloading does not say when: %q", sc.Text())
	}
}

func TestNotifyWithoutManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	Ready("x") // must neither fail nor hang
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	Ready("x")
	t.Setenv("WATCHDOG_USEC", "")
	if err := Watchdog(context.Background(), func() bool { return true }); err != nil {
		t.Error(err)
	}
}

func TestWatchdog(t *testing.T) {
	m := manager(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(context.Background())
	sick := make(chan bool, 1)
	ended := make(chan error)
	go func() {
		well := true
		ended <- Watchdog(ctx, func() bool {
			select {
			case <-sick:
				well = false
			default:
			}
			return well
		})
	}()
	for range 3 {
		if got := receive(t, m); got != "WATCHDOG=1" {
			t.Errorf("got %q", got)
		}
	}
	sick <- true
	time.Sleep(50 * time.Millisecond) // what was sent before
	m.SetReadDeadline(time.Now().Add(time.Millisecond))
	b := make([]byte, 64)
	for {
		if _, err := m.Read(b); err != nil {
			break
		}
	}
	m.SetReadDeadline(time.Now().Add(60 * time.Millisecond))
	if n, err := m.Read(b); err == nil {
		t.Errorf("a sick daemon said %q", b[:n])
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	t.Setenv("WATCHDOG_USEC", "soon")
	if err := Watchdog(context.Background(), func() bool { return true }); err == nil {
		t.Error("a limit that is no number is no error")
	}
}

func TestTranslate(t *testing.T) {
	const hup, term, intr = syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT
	tests := []struct {
		name string
		in   []os.Signal
		want []Event
	}{
		{"reload", []os.Signal{hup}, []Event{Reload}},
		{"reloads that wait are one", []os.Signal{hup, hup, hup}, []Event{Reload}},
		{"two steps", []os.Signal{term, term}, []Event{Drain, Quit}},
		{"both signals count", []os.Signal{intr, term}, []Event{Drain, Quit}},
		{"reload, then stop", []os.Signal{hup, term, intr}, []Event{Reload, Drain, Quit}},
		{"no more than enough", []os.Signal{term, term, term, term, term}, []Event{Drain, Quit, Quit}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, out, done := make(chan os.Signal), make(chan Event, 3), make(chan struct{})
			ended := make(chan struct{})
			go func() { translate(in, out, done); close(ended) }()
			for _, s := range tt.in {
				in <- s
			}
			close(done)
			<-ended
			close(out)
			var got []Event
			for e := range out {
				got = append(got, e)
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSignals(t *testing.T) {
	events, stop := Signals()
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-events:
		if e != Reload {
			t.Errorf("SIGHUP is %v", e)
		}
	case <-time.After(5 * time.Second):
		t.Error("SIGHUP did not arrive")
	}
}
