package onion

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

const (
	controlBudget = 30 * time.Second // from the child's start to its control port
	stopBudget    = 3 * time.Second  // from SIGTERM to SIGKILL
)

func startManaged(ctx context.Context, o Options) (_ *Tor, err error) {
	binary, err := findBinary(o.Binary, usualBinaries())
	if err != nil {
		return nil, err
	}
	version, err := binaryVersion(ctx, binary)
	if err != nil {
		return nil, err
	}
	if version.Less(MinVersion()) {
		return nil, &VersionError{version, binary}
	}
	files, err := newLayout(o)
	if err != nil {
		return nil, err
	}
	if err := files.write(o, os.Getpid()); err != nil {
		files.clean()
		return nil, err
	}
	child, err := run(binary, files, o.Log)
	if err != nil {
		files.clean()
		return nil, err
	}
	t := newTor(o)
	t.version, t.child, t.publisher = version, child, managedPublisher{t}
	if !o.singleHop {
		t.socks = "unix:" + files.socks()
	}
	if err := t.attach(ctx, o); err != nil {
		died := child.diedOf(err)
		t.Close()
		if died != nil {
			return nil, died
		}
		return nil, err
	}
	return t, nil
}

// attach takes the child's ownership and sees it into the network.
func (t *Tor) attach(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // a dead child ends every wait below
		select {
		case <-t.child.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	control, err := waitControl(ctx, "unix:"+t.child.files.control())
	if err != nil {
		return err
	}
	t.control = control
	events, err := control.Events(ctx, "STATUS_CLIENT", "STATUS_GENERAL")
	if err != nil {
		return err
	}
	// From here on tor exits when this connection ends, so also when this
	// process is killed (control-spec §3.20).
	t.child.owner = events
	if err := events.request(ctx, "TAKEOWNERSHIP"); err != nil {
		return err
	}
	if err := bootstrap(ctx, control, events, o); err != nil {
		return err
	}
	go func() { // nobody needs these events, but they must not pile up
		for {
			if _, err := events.Next(context.Background()); err != nil {
				return
			}
		}
	}()
	return nil
}

// waitControl connects as soon as the new process listens.
func waitControl(ctx context.Context, addr string) (*Control, error) {
	ctx, cancel := context.WithTimeout(ctx, controlBudget)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := DialControl(ctx, addr)
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("tor was started but its control port did not open: %w", err)
		case <-tick.C:
		}
	}
}

// usualBinaries is where tor may be. Debian keeps it in /usr/sbin, which is not
// in everybody's PATH.
func usualBinaries() []string {
	return []string{"tor", "/usr/sbin/tor", "/usr/local/bin/tor", "/opt/homebrew/bin/tor"}
}

// findBinary finds the tor program: the configured one, else the first of the
// usual ones.
func findBinary(name string, usual []string) (string, error) {
	if name != "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("the configured tor program cannot be run: %w", err)
		}
		return path, nil
	}
	for _, name := range usual {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

func binaryVersion(ctx context.Context, binary string) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--version")
	cmd.Env = childEnv()
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return Version{}, fmt.Errorf("%s --version: %w", binary, err)
	}
	v, err := parseVersionOutput(string(out))
	if err != nil {
		return Version{}, fmt.Errorf("%s does not look like tor: %w", binary, err)
	}
	return v, nil
}

// childEnv is what the child sees of our environment. systemd's variables in
// particular (NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS) are not for it: tor
// would report its own readiness as the gateway's.
func childEnv() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Died is the end of a managed Tor that nobody asked for.
type Died struct {
	Exit string // how the process ended, such as "exit status 1"
	Last string // the last warning or error it wrote; empty if none
}

func (e *Died) Error() string {
	s := "tor ended by itself (" + e.Exit + ")"
	if e.Last != "" {
		s += "; its last words: " + e.Last
	}
	return s
}

// diedOf is the child's end if that is behind err. The control connection's end
// is seen a little before that of the process.
func (c *child) diedOf(err error) error {
	var stuck *BootstrapError
	if !errors.As(err, &stuck) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		select {
		case <-c.done:
		case <-time.After(time.Second):
		}
	}
	return c.cause()
}

// cause is why the child ended by itself, or nil.
func (c *child) cause() error {
	select {
	case <-c.done:
	default:
		return nil
	}
	if c.stopping.Load() {
		return nil
	}
	last, inUse := c.log.last()
	if inUse {
		return ErrInUse
	}
	exit := "exit status 0"
	var status *exec.ExitError
	if errors.As(c.exit, &status) {
		exit = status.Error()
	} else if c.exit != nil {
		exit = c.exit.Error()
	}
	return &Died{exit, last}
}
