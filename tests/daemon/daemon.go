// Package daemon runs the built gateway as a process, for tests that look at it
// from outside and for the demonstration.
//
//	gw := daemon.Run(t, daemon.Options{Config: `
//		[default]
//		route = "block"
//		[domain."example.test"]
//		route = "direct"
//		endpoints = ["starttls://127.0.0.1:15222"]
//	`})
//	client := connect(gw.C2S, gw.CA)
//	report := gw.Report(t) // `xmpp-gw status --json`
//
// Each daemon has a directory of its own for its state and its sockets, and
// listens at ports that the kernel chooses. It stops with the test, or with
// [Daemon.Close], and dies with this program, however that ends.
package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"xmpp-gw/internal/control"
)

// startTime bounds the way to readiness where the context does not. A managed
// Tor takes some seconds on an idle machine.
const startTime = 2 * time.Minute

// stopTime bounds a stop: the daemon itself gives its sessions 15 s.
const stopTime = 30 * time.Second

// Options say what a daemon is like.
type Options struct {
	// Config is the configuration without its [listen] section. The default
	// route is Tor, so one that wants none says so.
	Config string
	// Listen has more lines for the [listen] section, such as
	// `client_tls = "optional"`.
	Listen string
	// Binary is the xmpp-gw to run; it is built from the source if empty.
	Binary string
	// Args are more arguments of `xmpp-gw run`.
	Args []string
	// Env are more variables of its environment.
	Env []string
	// Until is the beginning of the line of output to wait for; "ready:" if
	// empty, which comes after Tor where the configuration needs it.
	Until string
}

// Daemon is a running `xmpp-gw run`.
type Daemon struct {
	Dir     string // has the configuration, the state and the control socket
	C2S     string // HOST:PORT for STARTTLS
	C2STLS  string // HOST:PORT for direct TLS
	Metrics string // HOST:PORT for Prometheus
	CA      string // PEM file of the authority that clients are to trust

	binary string
	args   []string
	env    []string
	cmd    *exec.Cmd
	out    *output
	ended  chan struct{}
	close  func() error
}

// Start runs a daemon and returns when it is ready. Whoever is no test closes it.
func Start(ctx context.Context, o Options) (*Daemon, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	binary, err := filepath.Abs(o.Binary)
	if o.Binary == "" {
		binary, err = Binary(ctx)
	}
	if err != nil {
		return nil, err
	}
	// Short, as the path of a socket has to be.
	dir, err := os.MkdirTemp("", "gw-")
	if err != nil {
		return nil, err
	}
	d := &Daemon{Dir: dir, CA: filepath.Join(dir, "ca", "ca.pem"), binary: binary, out: newOutput(), ended: make(chan struct{})}
	d.close = sync.OnceValue(d.end)
	if err := d.start(ctx, o); err != nil {
		err = fmt.Errorf("%w. It said:\n%s", err, d.Log())
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Daemon) start(ctx context.Context, o Options) error {
	if err := d.Configure(o); err != nil {
		return err
	}
	d.args, d.env = o.Args, o.Env
	until := o.Until
	if until == "" {
		until = "ready:"
	}
	return d.launch(ctx, until, 1)
}

// launch runs the process with what is in the daemon's directory, until the n-th
// line of all output that begins so.
func (d *Daemon) launch(ctx context.Context, until string, n int) error {
	d.cmd = exec.Command(d.binary, append([]string{"run", "--config", d.file(), "--state-dir", d.Dir}, d.args...)...)
	d.cmd.Args[0] = "xmpp-gw"
	d.cmd.Env = append(environment(d.Dir), d.env...)
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	cmd, ended := d.cmd, d.ended
	go func() {
		// The kernel sends the death signal when the *thread* that forked
		// ends, so that thread has to live as long as the child.
		runtime.LockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	if err := d.Wait(ctx, until, n); err != nil {
		return err
	}
	return d.addresses(ctx)
}

// Restart kills the daemon as a crash would and starts it again with what it has
// left behind, until it is ready. It listens at other ports then.
func (d *Daemon) Restart(ctx context.Context) error {
	if err := d.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-d.ended
	d.ended = make(chan struct{})
	const ready = "ready:"
	return d.launch(ctx, ready, 1+strings.Count("\n"+d.Log(), "\n"+ready))
}

// Command runs a command of xmpp-gw with the daemon's configuration and state,
// and gives what it prints. An error has what it says of it.
func (d *Daemon) Command(ctx context.Context, command string, args ...string) (string, error) {
	args = append(append(strings.Fields(command), "--config", d.file(), "--state-dir", d.Dir), args...)
	cmd := exec.CommandContext(ctx, d.binary, args...)
	cmd.Env = environment(d.Dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("daemon: xmpp-gw %s: %w: %s", command, err, stderr.Bytes())
	}
	return string(out), nil
}

// addresses asks the daemon where it listens.
func (d *Daemon) addresses(ctx context.Context) error {
	r, err := d.Status(ctx)
	if err != nil {
		return err
	}
	for _, l := range r.Status.Listeners {
		switch l.Kind {
		case "c2s":
			d.C2S = l.Address
		case "c2s-tls":
			d.C2STLS = l.Address
		case "metrics":
			d.Metrics = l.Address
		}
	}
	return nil
}

func (d *Daemon) file() string { return filepath.Join(d.Dir, "config.toml") }

// Configure writes another configuration, for the next [Daemon.Reload].
func (d *Daemon) Configure(o Options) error {
	const listen = "[listen]\nc2s = [\"127.0.0.1:0\"]\nc2s_tls = [\"127.0.0.1:0\"]\nmetrics = \"127.0.0.1:0\"\n"
	return os.WriteFile(d.file(), []byte(listen+o.Listen+"\n"+o.Config), 0o600)
}

// Reload makes the daemon read its configuration again and waits until it has.
func (d *Daemon) Reload(ctx context.Context) error {
	before := strings.Count(d.Log(), "\nreloaded:")
	if err := d.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return d.Wait(ctx, "reloaded:", before+1)
}

// Wait waits for the n-th line of output that begins so.
func (d *Daemon) Wait(ctx context.Context, prefix string, n int) error {
	for {
		text, more := d.out.text()
		if strings.Count("\n"+text, "\n"+prefix) >= n {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("daemon: no line %q yet: %w", prefix, ctx.Err())
		case <-d.ended:
			if text, _ = d.out.text(); strings.Count("\n"+text, "\n"+prefix) >= n {
				return nil
			}
			return fmt.Errorf("daemon: it ended without a line %q (%v)", prefix, d.cmd.ProcessState)
		}
	}
}

// Report is the document of `xmpp-gw status --json`.
type Report struct {
	Status   control.Status    `json:"status"`
	Sessions []control.Session `json:"sessions"`
	Verdicts []control.Verdict `json:"verdicts"`
}

// Status asks the daemon with `xmpp-gw status --json`.
func (d *Daemon) Status(ctx context.Context) (*Report, error) {
	cmd := exec.CommandContext(ctx, d.binary, "status", "--json", "--state-dir", d.Dir)
	cmd.Env = environment(d.Dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("daemon: xmpp-gw status: %w: %s", err, stderr.Bytes())
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("daemon: xmpp-gw status --json: %w in\n%s", err, text)
	}
	return r, nil
}

// Log is what the daemon has written so far: its output and its log.
func (d *Daemon) Log() string {
	text, _ := d.out.text()
	return text
}

// PID is the daemon's process id.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Signal sends a signal to the daemon.
func (d *Daemon) Signal(s os.Signal) error { return d.cmd.Process.Signal(s) }

// Ended is closed when the daemon has ended.
func (d *Daemon) Ended() <-chan struct{} { return d.ended }

// ExitCode is how the daemon ended; -1 while it runs or if a signal ended it.
func (d *Daemon) ExitCode() int {
	select {
	case <-d.ended:
		return d.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Close stops the daemon, waits for its end and removes its directory. It may be
// called more than once.
func (d *Daemon) Close() error { return d.close() }

func (d *Daemon) end() error {
	var err error
	if d.cmd != nil && d.cmd.Process != nil {
		select {
		case <-d.ended:
		default:
			// Twice is at once: what remains open shall not cost 15 s.
			d.Signal(syscall.SIGTERM)
			d.Signal(syscall.SIGTERM)
		}
		select {
		case <-d.ended:
		case <-time.After(stopTime):
			err = fmt.Errorf("daemon: process %d did not stop in %v and was killed", d.PID(), stopTime)
		}
		// The group holds its Tor, if it left one. ESRCH is no news.
		syscall.Kill(-d.PID(), syscall.SIGKILL)
		<-d.ended
	}
	return errors.Join(err, os.RemoveAll(d.Dir))
}

// environment has nothing of this program's own but the path to programs.
func environment(dir string) []string {
	return []string{"HOME=" + dir, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG=C.UTF-8", "TMPDIR=" + dir}
}

// output keeps what a process writes.
type output struct {
	mu   sync.Mutex
	all  bytes.Buffer
	more chan struct{} // closed and replaced when something was written
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all.Write(b)
	close(o.more)
	o.more = make(chan struct{})
	return len(b), nil
}

func (o *output) text() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String(), o.more
}
