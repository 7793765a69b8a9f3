package onion

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestModes(t *testing.T) {
	for _, m := range []Mode{ModeAuto, ModeManaged, ModeSystem, ModeOff} {
		if got, err := ParseMode(m.String()); got != m || err != nil {
			t.Errorf("%v is read as %v, %v", m, got, err)
		}
	}
	for _, s := range []string{"", "unset", "Auto", "tor"} {
		if m, err := ParseMode(s); err == nil {
			t.Errorf("%q is read as %v", s, m)
		}
	}
	if _, err := Start(t.Context(), Options{Mode: ModeOff}); !errors.Is(err, ErrOff) {
		t.Errorf("off: %v", err)
	}
	if _, err := Start(t.Context(), Options{DataDir: t.TempDir()}); err == nil {
		t.Error("the zero mode started a Tor")
	}
}

// script writes a program that stands for tor.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tor")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestManagedRefusals(t *testing.T) {
	const version = "[ \"$1\" = --version ] && echo 'Tor version 0.4.9.11.' && exit 0\n"
	for _, tt := range []struct {
		name  string
		o     Options
		check func(error) bool
		want  string
	}{
		{"too old", Options{Binary: script(t, "echo 'Tor version 0.4.7.16.'")}, is[*VersionError], "0.4.7.16"},
		{"not tor", Options{Binary: script(t, "echo hello")}, nil, "does not look like tor"},
		{"no such program", Options{Binary: filepath.Join(t.TempDir(), "tor")}, nil, "configured tor program"},
		{"dies at once", Options{Binary: script(t, version+"echo 'Nov 21 04:32:00.000 [err] no good'; exit 3")}, is[*Died], "exit status 3"},
		{"says why", Options{Binary: script(t, version+"echo 'Nov 21 04:32:00.000 [err] no good'; exit 3")}, is[*Died], "no good"},
		{"directory taken by a tor", Options{Binary: script(t, version+"echo 'Nov 21 04:32:00.000 [warn] It looks like another Tor process is running with the same data directory.  Waiting 5 seconds'; exit 1")},
			func(err error) bool { return errors.Is(err, ErrInUse) }, "running already"},
		{"no extra torrc", Options{Binary: script(t, version+"exit 1"), ExtraTorrc: "/nonexistent/torrc"}, nil, "extra torrc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Mode, tt.o.DataDir = ModeManaged, filepath.Join(t.TempDir(), "d")
			_, err := Start(t.Context(), tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.check != nil && !tt.check(err) {
				t.Errorf("got %v", err)
			}
			left, _ := filepath.Glob(filepath.Join(tt.o.DataDir, socketPrefix+"*"))
			if len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	if _, err := Start(t.Context(), Options{Mode: ModeManaged, Binary: script(t, version)}); err == nil {
		t.Error("a managed tor without a data directory")
	}
	if _, err := findBinary("", []string{"/nonexistent/tor"}); !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install tor") {
		t.Errorf("without a tor: %v", err)
	}
}

func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// A child that neither opens its control port nor ends is ended.
func TestManagedGivenUp(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	tor := script(t, "[ \"$1\" = --version ] && echo 'Tor version 0.4.9.11.' && exit 0\ntrap '' TERM; echo $$ >"+pidFile+"; exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, Options{Mode: ModeManaged, Binary: tor, DataDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "control port did not open") {
		t.Errorf("got %v", err)
	}
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
		t.Error("it still runs")
	}
}

func TestTorrc(t *testing.T) {
	extra := filepath.Join(t.TempDir(), "extra")
	if err := os.WriteFile(extra, []byte("UseBridges 1\nSafeLogging 0"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := newLayout(Options{DataDir: filepath.Join(t.TempDir(), `a "b\`)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.clean()
	if err := l.write(Options{ExtraTorrc: extra}, 4711); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(l.torrc())
	if err != nil {
		t.Fatal(err)
	}
	torrc := string(text)
	for _, want := range []string{
		"UseBridges 1\n", "IsolateSOCKSAuth ExtendedErrors\n", "\nCookieAuthentication 1\n",
		"\n__OwningControllerProcess 4711\n", `DataDirectory "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(l.data) + "\"\n",
	} {
		if !strings.Contains(torrc, want) {
			t.Errorf("no %q in\n%s", want, torrc)
		}
	}
	if strings.LastIndex(torrc, "\nSafeLogging 1\n") < strings.Index(torrc, "SafeLogging 0") {
		t.Error("the extra file can turn off what the gateway sets")
	}
	for line := range strings.Lines(torrc) {
		if port := strings.Fields(line); strings.HasSuffix(port[0], "Port") && !strings.HasPrefix(port[1], "unix:") {
			t.Errorf("a TCP port: %s", line)
		}
	}
	if _, err := newLayout(Options{DataDir: l.data}); !errors.Is(err, ErrInUse) {
		t.Errorf("the directory was given twice: %v", err)
	}
}

func TestStaleSockets(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"tor-999999999-1", "tor-1-1", "tor-x-1", "torrents-999999999-1"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A process that was killed, and whose number another has now: ours.
	dead := "tor-" + strconv.Itoa(os.Getpid()) + "-1"
	if err := os.Mkdir(filepath.Join(base, dead), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{aliveFile, "socks", "control"} {
		if err := os.WriteFile(filepath.Join(base, dead, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := newLayout(Options{DataDir: filepath.Join(t.TempDir(), "tor"), RuntimeDir: base})
	if err != nil {
		t.Fatal(err)
	}
	defer l.clean()
	removeStale(base)
	var left []string
	entries, _ := os.ReadDir(base)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{"tor-1-1", filepath.Base(l.sockets), "tor-x-1", "torrents-999999999-1"}
	slices.Sort(want)
	if !reflect.DeepEqual(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
}

func TestTorLog(t *testing.T) {
	var out strings.Builder
	l := &torLog{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for _, part := range []string{
		"Nov 21 04:32:00.000 [notice] Tor 0.4.9.11 run", "ning\nNov 21 04:32:01.000 [warn] the \x1b[31mreason\n",
		"Nov 21 04:32:02.000 [err] Reading config failed--see warnings above.\n", strings.Repeat("x", 3*maxLogLine),
	} {
		if n, err := io.WriteString(l, part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if last, _ := l.last(); last != "the [31mreason" {
		t.Errorf("the last words are %q", last)
	}
	if strings.Contains(out.String(), "notice") || strings.Count(out.String(), "level=WARN") != 2 {
		t.Errorf("logged were\n%s", out.String())
	}
	if len(l.part) > maxLogLine {
		t.Errorf("%d bytes of an endless line are kept", len(l.part))
	}
}

// A SOCKS server of another kind is no Tor: bytes sent after reading as many as
// the key says.
func TestProbe(t *testing.T) {
	ask := 2 + 2 + 1 + len("192.0.2.1") + 2
	for _, tt := range []struct {
		name   string
		script []step
		ok     bool
	}{
		{"tor", []step{{3, "\x05\x00"}, {ask, "\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x00"}}, true},
		{"another SOCKS server", []step{{3, "\x05\x00"}, {ask, "\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"}}, false},
		{"one that says yes to all", []step{{3, "\x05\x00"}, {ask, "\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"}}, false},
		{"wants a password", []step{{3, "\x05\xff"}}, false},
		{"an echo", []step{{3, "\x05\x01\x00"}}, false},
		{"closes", []step{{3, ""}}, false},
		{"HTTP", []step{{3, "HTTP/1.1 400 Bad Request\r\n\r\n"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := serveScript(t, tt.script)
			if err := probe(t.Context(), addr); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := probe(ctx, serveScript(t, []step{{1000, ""}})); err == nil {
			t.Error("silence was taken for a Tor")
		}
	})
	t.Run("none of them", func(t *testing.T) {
		other := serveScript(t, []step{{3, "\x05\xff"}})
		_, err := Start(t.Context(), Options{Mode: ModeSystem, SystemSOCKS: []string{"unix:/nonexistent/socks", other}})
		if !errors.Is(err, ErrNoSystemTor) || !strings.Contains(err.Error(), other) || !strings.Contains(err.Error(), "systemctl start tor") {
			t.Errorf("got %v", err)
		}
	})
}

// step is a server's turn: what it writes once it has read so many bytes.
type step struct {
	read  int
	write string
}

func serveScript(t *testing.T, steps []step) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			for _, s := range steps {
				if _, err := io.ReadFull(c, make([]byte, s.read)); err != nil {
					break
				}
				io.WriteString(c, s.write)
			}
			c.Close()
		}
	}()
	return "unix:" + path
}

func TestListeners(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:235A 00000000:0000 0A 00000000:00000000 00:00000000 00000000   107        0 3612 1 0000000000000000 100 0 0 10 0
   1: 0100007F:235A 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1001        0 3613 1 0000000000000000 100 0 0 10 0
   2: 00000000:235A 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1002        0 3614 1 0000000000000000 100 0 0 10 0
   3: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3615 1 0000000000000000 100 0 0 10 0
   4: 0100007F:235A
`
	if got := listeners(table, 9050); !reflect.DeepEqual(got, []int{107, 1002}) {
		t.Errorf("on 9050 listen %v", got)
	}
	if got := listeners(table, 80); got != nil {
		t.Errorf("on 80 listen %v", got)
	}
	if err := systemOwned("unix:/run/tor/socks"); err != nil {
		t.Error(err)
	}
}
