package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type fakeDaemon struct {
	fakeAccounts
	reloadErr error
	fakeOnions
	fakeAudits
}

var started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (fakeDaemon) Status() Status {
	return Status{
		Version: "0.1.0", PID: 7, Started: started, State: StateReady, ConfigLoaded: started,
		Tor:       Tor{State: StateStarting, Managed: true, Bootstrap: 45, Doing: "Loading relay descriptors"},
		Listeners: []Listener{{Kind: "c2s", Address: "127.0.0.1:5222"}},
		Sessions:  Counts{Open: 1, Total: 12},
	}
}

func (fakeDaemon) Sessions(_ context.Context, relays bool) []Session {
	var names []string
	if relays {
		names = []string{"guard", "middle"}
	}
	return []Session{{
		Relays: names,
		ID:     "7f3a", Started: started, Age: 61, State: "online", Domain: "example.org", ClientTLS: "TLS 1.3", Route: "tor",
		Endpoint: "starttls://xmpp.example.org:5222", Circuit: "12",
		TLS:  TLS{Version: "TLS 1.3", Group: "X25519MLKEM768", Cipher: "TLS_AES_128_GCM_SHA256", Identity: "example.org"},
		SASL: SASL{Mode: "originate", Mechanism: "SCRAM-SHA-256-PLUS", Binding: "tls-exporter"},
		Up:   Flow{Bytes: 1000, Stanzas: 10}, Down: Flow{Bytes: 2000, Stanzas: 20},
		Warnings: []string{"the key is new"},
	}}
}

func (d fakeDaemon) Reload(context.Context) error { return d.reloadErr }

// serve starts a daemon at a path of its own.
func serve(t *testing.T, d Daemon, allow func(peer) bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "control.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(d, allow)
	go s.http.Serve(l)
	t.Cleanup(func() { s.Close() })
	return path
}

func everybody(peer) bool { return true }

func TestClient(t *testing.T) {
	path := serve(t, fakeDaemon{}, everybody)
	c := NewClient(path)
	defer c.Close()
	ctx := context.Background()
	if Stale(path) {
		t.Error("a live daemon's socket is stale")
	}

	status, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := (fakeDaemon{}).Status(); !reflect.DeepEqual(status, want) {
		t.Errorf("Status\n got %+v\nwant %+v", status, want)
	}
	sessions, err := c.Sessions(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	if want := (fakeDaemon{}).Sessions(context.Background(), false); !reflect.DeepEqual(sessions, want) {
		t.Errorf("Sessions\n got %+v\nwant %+v", sessions, want)
	}
	if err := c.Reload(ctx); err != nil {
		t.Errorf("Reload: %v", err)
	}
}

func TestModes(t *testing.T) {
	path := serve(t, fakeDaemon{}, everybody)
	for name, want := range map[string]os.FileMode{
		path:               os.ModeSocket | 0o600,
		path + ".lock":     0o600,
		filepath.Dir(path): os.ModeDir | 0o700,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", filepath.Base(name), info.Mode(), want)
		}
	}
	if _, err := os.Stat(path + "~"); err == nil {
		t.Error("the name under which the socket was bound is still there")
	}
}

func TestReloadFails(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want Error
	}{
		{"error of ours", &Error{"2 mistakes", "line 1: …", "fix them"}, Error{"2 mistakes", "line 1: …", "fix them"}},
		{"any error", errors.New("no such file"), Error{What: "the configuration was not reloaded", Why: "no such file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewClient(serve(t, fakeDaemon{reloadErr: tt.err}, everybody))
			defer c.Close()
			e, ok := errors.AsType[*Error](c.Reload(context.Background()))
			if !ok || *e != tt.want {
				t.Errorf("got %+v, want %+v", e, tt.want)
			}
		})
	}
}

func TestPeers(t *testing.T) {
	for _, tt := range []struct {
		self, other int
		want        bool
	}{{1000, 1000, true}, {1000, 0, true}, {0, 0, true}, {0, 1000, false}, {1000, 1001, false}} {
		if got := trusts(tt.self, tt.other); got != tt.want {
			t.Errorf("trusts(%d, %d) = %v", tt.self, tt.other, got)
		}
	}

	var seen peer
	path := serve(t, fakeDaemon{}, func(p peer) bool { seen = p; return false })
	c := NewClient(path)
	defer c.Close()
	_, err := c.Status(context.Background())
	if e, ok := errors.AsType[*Error](err); !ok || e.What != "not allowed" || e.Hint == "" {
		t.Errorf("a stranger got %v", err)
	}
	if seen.uid != os.Geteuid() || seen.pid != os.Getpid() {
		t.Errorf("the peer was taken for %+v", seen)
	}
}

// A connection that is no unix socket has no credentials, and is refused.
func TestNoCredentials(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(fakeDaemon{}, everybody)
	go s.http.Serve(l)
	defer s.Close()
	resp, err := http.Get("http://" + l.Addr().String() + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %s", resp.Status)
	}
}

func TestUnknownRequests(t *testing.T) {
	c := NewClient(serve(t, fakeDaemon{}, everybody))
	defer c.Close()
	for _, r := range [][2]string{
		{"GET", "/"}, {"GET", "/v2/status"}, {"POST", "/v1/status"}, {"GET", "/v1/reload"}, {"GET", "/v1/status/"},
	} {
		err := c.ask(context.Background(), r[0], r[1], nil, nil)
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.What, "no such request") {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestEmptyListsAreLists(t *testing.T) {
	c := NewClient(serve(t, emptyDaemon{}, everybody))
	defer c.Close()
	for path, want := range map[string]string{"/v1/sessions": `{"sessions":[]}`, "/v1/status": `"listeners":[]`} {
		resp, err := c.http.Get("http://xmpp-gw" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %s", path, body)
		}
	}
}

type emptyDaemon struct{ fakeDaemon }

func (emptyDaemon) Status() Status                           { return Status{} }
func (emptyDaemon) Sessions(context.Context, bool) []Session { return nil }

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "control.sock")
	ask := func() error {
		_, err := NewClient(path).Status(context.Background())
		return err
	}
	if err := ask(); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), path) {
		t.Errorf("without a socket: %v", err)
	}
	if Stale(path) {
		t.Error("nothing is a stale socket")
	}
	leaveStale(t, path)
	if !Stale(path) {
		t.Error("a dead daemon's socket is not stale")
	}
	if err := ask(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with a dead daemon's socket: %v", err)
	}
}

// leaveStale leaves at path what a daemon that was killed leaves.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestListen(t *testing.T) {
	tests := []struct {
		name  string
		given func(t *testing.T, path string)
		want  string // of the error; empty: it listens
	}{
		{"nothing there", func(*testing.T, string) {}, ""},
		{"a dead daemon's socket", leaveStale, ""},
		{"a dead daemon's half made socket", func(t *testing.T, path string) { leaveStale(t, path+"~") }, ""},
		{"a file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is no socket"},
		{"a live daemon whose lock was removed", func(t *testing.T, path string) {
			l, err := Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			os.Remove(path + ".lock")
		}, "another xmpp-gw (process "},
		{"a live daemon that does not answer yet", func(t *testing.T, path string) {
			lock, err := os.Create(path + ".lock")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { lock.Close() })
			if err := unix.Flock(int(lock.Fd()), unix.LOCK_SH); err != nil {
				t.Fatal(err)
			}
		}, "is starting or running"},
		{"the lock is a link", func(t *testing.T, path string) {
			if err := os.Symlink("/etc/passwd", path+".lock"); err != nil {
				t.Fatal(err)
			}
		}, "lock"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "control.sock")
			tt.given(t, path)
			l, err := Listen(path)
			if err == nil {
				defer l.Close()
			}
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("got %v, want …%s…", err, tt.want)
			}
		})
	}
	if _, err := Listen("/" + strings.Repeat("x", 200)); err == nil || !strings.Contains(err.Error(), "bytes long") {
		t.Errorf("a path that is too long: %v", err)
	}
}

// TestMain makes this binary a daemon when it is told to be one: the lock and
// the credentials are those of a process.
func TestMain(m *testing.M) {
	path := os.Getenv("CONTROL_TEST_SOCKET")
	if path == "" {
		os.Exit(m.Run())
	}
	l, err := Listen(path)
	if err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	Serve(l, fakeDaemon{}, nil)
	os.Stdout.WriteString("up\n")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(3) // without cleaning up
}

func TestOtherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	daemon := exec.Command(os.Args[0])
	daemon.Env = append(os.Environ(), "CONTROL_TEST_SOCKET="+path)
	stdin, err := daemon.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stdin.Close(); daemon.Wait() }()
	line := make([]byte, 3)
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "up\n" {
		t.Fatalf("the daemon said %q, %v", line, err)
	}

	_, err = Listen(path)
	if e, ok := errors.AsType[*RunningError](err); !ok || e.PID != daemon.Process.Pid {
		t.Errorf("Listen beside process %d: %v", daemon.Process.Pid, err)
	}
	c := NewClient(path)
	defer c.Close()
	if _, err := c.Status(context.Background()); err != nil {
		t.Errorf("the daemon's own user is refused: %v", err)
	}

	stdin.Close()
	daemon.Wait()
	l, err := Listen(path)
	if err != nil {
		t.Fatalf("after the daemon's death: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("Close left the socket")
	}
}

// The names are documented: scripts depend on them.
func TestJSONNames(t *testing.T) {
	b, err := json.Marshal((fakeDaemon{}).Sessions(context.Background(), false)[0])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"7f3a","started":"2026-01-02T03:04:05Z","age_seconds":61,"state":"online",` +
		`"domain":"example.org","client_tls":"TLS 1.3","route":"tor","endpoint":"starttls://xmpp.example.org:5222","circuit":"12",` +
		`"tls":{"version":"TLS 1.3","group":"X25519MLKEM768","cipher":"TLS_AES_128_GCM_SHA256","identity":"example.org"},` +
		`"sasl":{"mode":"originate","mechanism":"SCRAM-SHA-256-PLUS","binding":"tls-exporter"},` +
		`"up":{"bytes":1000,"stanzas":10},"down":{"bytes":2000,"stanzas":20},"warnings":["the key is new"]}`
	if string(b) != want {
		t.Errorf("the documented names changed\n got %s\nwant %s", b, want)
	}
}
