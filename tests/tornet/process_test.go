//go:build e2e

package tornet_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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

	"xmpp-gw/onion"
	"xmpp-gw/tests/daemon"
)

// start runs a managed Tor of the network for one test.
func start(t *testing.T, o onion.Options) *onion.Tor {
	t.Helper()
	o.Mode, o.ExtraTorrc = onion.ModeManaged, network.ExtraTorrc()
	if o.DataDir == "" {
		o.DataDir = shortDir(t)
	}
	tor, err := onion.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tor.Close() })
	return tor
}

// shortDir is t.TempDir with a path that leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tor-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(rest, []byte("Z"))
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int, budget time.Duration) {
	t.Helper()
	for end := time.Now().Add(budget); alive(pid); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d still lives after %v", pid, budget)
		}
	}
}

// sockets are the unix sockets in a tree.
func sockets(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type() == os.ModeSocket {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestNoTCPPort(t *testing.T) {
	ports, err := daemon.Listening(managed.PID())
	if err != nil || len(ports) > 0 {
		t.Errorf("tor listens at %v, %v", ports, err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	for _, tt := range []struct {
		name      string
		data, run int // how long the paths are made
	}{
		{"sockets in the data directory", 0, 0},
		{"sockets in the runtime directory", 0, 8},
		{"runtime directory too deep for a socket", 0, 120},
		{"data directory too deep for a socket", 150, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root, temp := shortDir(t), shortDir(t)
			t.Setenv("TMPDIR", temp)
			o := onion.Options{DataDir: filepath.Join(root, "data"+strings.Repeat("d", tt.data))}
			if tt.run > 0 {
				o.RuntimeDir = filepath.Join(root, strings.Repeat("r", tt.run))
			}
			tor := start(t, o)
			if n := len(sockets(t, root)) + len(sockets(t, temp)); n != 2 {
				t.Errorf("%d sockets while it runs, want SOCKS and control", n)
			}
			for _, dir := range []string{o.DataDir, filepath.Dir(strings.TrimPrefix(tor.SOCKS(), "unix:"))} {
				if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
					t.Errorf("a directory of tor's has mode %v, %v", st.Mode(), err)
				}
			}
			open(t, tor.SOCKS(), "u", echo(t).String())
			pid := tor.PID()
			if err := tor.Close(); err != nil {
				t.Error(err)
			}
			if alive(pid) {
				t.Error("the process is there after Close")
			}
			if s := append(sockets(t, root), sockets(t, temp)...); len(s) != 0 {
				t.Errorf("sockets are left: %v", s)
			}
			if left, _ := os.ReadDir(temp); len(left) != 0 {
				t.Errorf("the temporary directory still has %v", left)
			}
			select {
			case <-tor.Done():
			default:
				t.Error("Done is open after Close")
			}
			if err := tor.Err(); err != nil {
				t.Errorf("an end that was asked for is reported as %v", err)
			}
			tor.Close() // does no harm
			if _, err := tor.Circuit(t.Context(), "u"); !errors.Is(err, onion.ErrControlClosed) {
				t.Errorf("asked after Close: %v", err)
			}
		})
	}
}

func TestChildKilled(t *testing.T) {
	dir := shortDir(t)
	tor := start(t, onion.Options{DataDir: dir})
	if tor.Err() != nil {
		t.Error("it lives and is said to have ended:", tor.Err())
	}
	syscall.Kill(tor.PID(), syscall.SIGKILL)
	select {
	case <-tor.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("nobody noticed that tor died")
	}
	var died *onion.Died
	if !errors.As(tor.Err(), &died) || !strings.Contains(died.Error(), "killed") {
		t.Errorf("the end is told as %v", tor.Err())
	}
	tor.Close()

	again := start(t, onion.Options{DataDir: dir})
	open(t, again.SOCKS(), "u", echo(t).String())
}

// A second gateway must neither use the first one's Tor nor harm it.
func TestDataDirInUse(t *testing.T) {
	dir := shortDir(t)
	first := start(t, onion.Options{DataDir: dir})
	_, err := onion.Start(t.Context(), onion.Options{Mode: onion.ModeManaged, DataDir: dir, ExtraTorrc: network.ExtraTorrc()})
	if !errors.Is(err, onion.ErrInUse) {
		t.Errorf("a second tor in the same directory: %v", err)
	}
	open(t, first.SOCKS(), "u", echo(t).String())
	if _, err := first.Circuit(t.Context(), "u"); err != nil {
		t.Error(err)
	}
}

// Whatever becomes of the gateway, no tor outlives it, and a new gateway can
// start at once, while the old tor is still at it.
func TestParentKilled(t *testing.T) {
	dir := shortDir(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+dir, helperEnv+"_TORRC="+network.ExtraTorrc())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, err2 := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || err2 != nil || !alive(pid) {
		cmd.Process.Kill()
		t.Fatalf("the helper said %q", line)
	}
	cmd.Process.Kill()
	cmd.Wait()
	again := start(t, onion.Options{DataDir: dir})
	gone(t, pid, 10*time.Second)
	if again.PID() == pid {
		t.Fatal("the new gateway holds the old one's tor")
	}
	open(t, again.SOCKS(), "u", echo(t).String())
	if s := sockets(t, dir); len(s) != 2 {
		t.Errorf("the new tor's sockets should be alone: %v", s)
	}
}

func TestNeverReady(t *testing.T) {
	// A directory authority that nobody is: the first relay refuses.
	torrc := filepath.Join(t.TempDir(), "torrc")
	common, err := os.ReadFile(network.ExtraTorrc())
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfterN(string(common), "\n", 2)
	words := strings.Fields(lines[0])
	words[2], words[5] = "orport=1", "127.0.0.1:1"
	if err := os.WriteFile(torrc, []byte(strings.Join(words, " ")+"\n"+lines[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	o := onion.Options{Mode: onion.ModeManaged, ExtraTorrc: torrc, Budget: 2 * time.Second}

	t.Run("the budget ends", func(t *testing.T) {
		o := o
		o.DataDir = shortDir(t)
		_, err := onion.Start(t.Context(), o)
		var stuck *onion.BootstrapError
		if !errors.As(err, &stuck) || stuck.Last.Percent >= 100 || stuck.Last.Tag == "" {
			t.Fatalf("got %v", err)
		}
		for _, want := range []string{fmt.Sprintf("%d %%", stuck.Last.Percent), stuck.Last.Summary, "2s", "online"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if s := sockets(t, o.DataDir); len(s) != 0 {
			t.Errorf("sockets are left: %v", s)
		}
	})
	t.Run("the caller gives up", func(t *testing.T) {
		o := o
		o.DataDir, o.Budget = shortDir(t), time.Minute
		ctx, cancel := context.WithCancel(t.Context())
		o.Progress = func(onion.Progress) { cancel() }
		begin := time.Now()
		if _, err := onion.Start(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	t.Run("a torrc that tor does not understand", func(t *testing.T) {
		o := o
		o.DataDir = shortDir(t)
		if err := os.WriteFile(torrc, []byte("NoSuchOption 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := onion.Start(t.Context(), o)
		var died *onion.Died
		if !errors.As(err, &died) || !strings.Contains(died.Last, "NoSuchOption") {
			t.Errorf("got %v", err)
		}
	})
}

// A tor that somebody else runs, as Debian's service is.
func TestSystem(t *testing.T) {
	c, err := network.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	silent, err := net.Listen("unix", filepath.Join(shortDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	silent.Close()
	socks := []string{"unix:" + silent.Addr().String(), c.SOCKS()}

	for _, mode := range []onion.Mode{onion.ModeSystem, onion.ModeAuto} {
		tor, err := onion.Start(t.Context(), onion.Options{Mode: mode, SystemSOCKS: socks, SystemControl: []string{managed.Control().Addr(), c.Control()}})
		if err != nil {
			t.Fatal(err)
		}
		if tor.Managed() || tor.PID() != 0 || tor.SOCKS() != c.SOCKS() || tor.Version() != managed.Version() {
			t.Errorf("%v: managed %v, version %s at %s", mode, tor.Managed(), tor.Version(), tor.SOCKS())
		}
		user := "system-" + mode.String()
		open(t, tor.SOCKS(), user, echo(t).String())
		if got, err := tor.Circuit(t.Context(), user); err != nil || got.Hops != 3 {
			t.Errorf("%v: circuit %v, %v", mode, got, err)
		}
		tor.Close()
		open(t, c.SOCKS(), user, echo(t).String()) // it still runs
	}

	t.Run("no control port of its own", func(t *testing.T) {
		tor, err := onion.Start(t.Context(), onion.Options{Mode: onion.ModeSystem, SystemSOCKS: socks, SystemControl: []string{managed.Control().Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		defer tor.Close()
		if _, err := tor.Circuit(t.Context(), "x"); !errors.Is(err, onion.ErrNoControl) {
			t.Errorf("another tor's control port was taken: %v", err)
		}
	})
	t.Run("auto without one runs its own", func(t *testing.T) {
		tor, err := onion.Start(t.Context(), onion.Options{
			Mode: onion.ModeAuto, SystemSOCKS: socks[:1], DataDir: shortDir(t), ExtraTorrc: network.ExtraTorrc(),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer tor.Close()
		if !tor.Managed() {
			t.Error("it found one")
		}
	})
}
