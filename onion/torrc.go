package onion

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// maxSocketPath is the longest path that a unix socket can have on all systems:
// sun_path has 104 bytes on macOS and the BSDs (108 on Linux), one for the end.
const maxSocketPath = 103

// layout is where a managed Tor's files are.
type layout struct {
	data    string   // DataDirectory
	sockets string   // a private directory for the two sockets of this run alone
	lock    *os.File // held as long as the data directory is ours
	alive   *os.File // in sockets, locked as long as we use them
}

func (l layout) socks() string   { return filepath.Join(l.sockets, "socks") }
func (l layout) control() string { return filepath.Join(l.sockets, "control") }
func (l layout) torrc() string   { return filepath.Join(l.data, "torrc") }
func (l layout) nothing() string { return filepath.Join(l.data, "torrc-defaults") }

// newLayout makes the directories and locks the data directory; clean undoes
// it.
func newLayout(o Options) (l layout, err error) {
	if o.DataDir == "" {
		return l, errors.New("a managed tor needs a data directory")
	}
	if l.data, err = filepath.Abs(o.DataDir); err != nil {
		return l, err
	}
	base := l.data
	if o.RuntimeDir != "" {
		if base, err = filepath.Abs(o.RuntimeDir); err != nil {
			return l, err
		}
	}
	if err := privateDir(l.data); err != nil {
		return l, err
	}
	// Tor has a lock of its own, but takes it after its sockets' paths: a
	// second tor would have taken the first one's away by then.
	if l.lock, err = lock(filepath.Join(l.data, "gateway.lock")); err != nil {
		return l, err
	}
	if l.sockets, l.alive, err = socketDir(base); err != nil {
		l.lock.Close()
	}
	return l, err
}

// clean removes the sockets and unlocks the data directory.
func (l layout) clean() {
	removeSockets(l.sockets)
	l.alive.Close()
	l.lock.Close()
}

func removeSockets(dir string) {
	os.Remove(filepath.Join(dir, "socks"))
	os.Remove(filepath.Join(dir, "control"))
	os.Remove(filepath.Join(dir, aliveFile))
	os.Remove(dir)
}

// privateDir makes dir, or closes the existing one to everybody else.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// lock takes a file's lock, which the kernel gives back however we end.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("%s cannot be locked: %w", path, err)
	}
	return f, nil
}

// socketDir makes a new directory for sockets in base, or in the system's
// temporary directory where their paths would be too long. (The new one is
// private, as tor wants it, and never one where a dying tor still answers.)
func socketDir(base string) (dir string, alive *os.File, err error) {
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", nil, err
	}
	removeStale(base)
	removeStale(os.TempDir())
	prefix := socketPrefix + strconv.Itoa(os.Getpid()) + "-"
	for _, parent := range []string{base, os.TempDir()} {
		dir, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return "", nil, err
		}
		if len(dir)+len("/control") <= maxSocketPath {
			if alive, err = lock(filepath.Join(dir, aliveFile)); err != nil {
				removeSockets(dir)
			}
			return dir, alive, err
		}
		os.Remove(dir)
	}
	return "", nil, fmt.Errorf("the paths of %s and of the temporary directory are too long for a unix socket (%d bytes at most): set TMPDIR to a shorter one", base, maxSocketPath)
}

const socketPrefix = "tor-"

// aliveFile is locked while its folder is in use, which tells more than a process
// id: another process may have that by now, in a container often our own.
const aliveFile = "lock"

// removeStale removes what gateways that were killed have left in base.
func removeStale(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), socketPrefix)
		number, _, ok2 := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if ok && ok2 && err == nil && pid > 0 && isOwnDir(e) && !inUse(filepath.Join(base, e.Name()), pid) {
			removeSockets(filepath.Join(base, e.Name()))
		}
	}
}

// isOwnDir leaves out what other users have in the temporary directory.
func isOwnDir(e os.DirEntry) bool {
	info, err := e.Info()
	if err != nil || !info.IsDir() {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// inUse reports whether the process that made a folder of sockets still uses it.
// One without a lock was made a moment ago, or that process was killed just then.
func inUse(dir string, pid int) bool {
	info, err := os.Lstat(filepath.Join(dir, aliveFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	case err != nil || !info.Mode().IsRegular():
		return true
	}
	f, err := lock(filepath.Join(dir, aliveFile))
	if err != nil {
		return true
	}
	f.Close()
	return false
}

// write writes the configuration: the extra file's lines first, since of an
// option given twice tor takes the last.
func (l layout) write(o Options, owner int) error {
	var b strings.Builder
	if o.ExtraTorrc != "" {
		extra, err := os.ReadFile(o.ExtraTorrc)
		if err != nil {
			return fmt.Errorf("the extra torrc: %w", err)
		}
		b.Write(extra)
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "DataDirectory %s\n", torQuote(l.data))
	// The flags keep sessions apart and tell why a connection failed. No other
	// SocksPort or ControlPort: nothing listens on TCP.
	if o.singleHop {
		// Tor carries no connections of ours while it is not anonymous.
		b.WriteString("SocksPort 0\nHiddenServiceNonAnonymousMode 1\nHiddenServiceSingleHopMode 1\n")
	} else {
		fmt.Fprintf(&b, "SocksPort unix:%s IsolateSOCKSAuth ExtendedErrors\n", torQuote(l.socks()))
	}
	fmt.Fprintf(&b, "ControlPort unix:%s\n", torQuote(l.control()))
	bridges, err := bridgeLines(o.Bridges, helperDirs())
	if err != nil {
		return err
	}
	b.WriteString(bridges)
	b.WriteString("CookieAuthentication 1\n")
	b.WriteString("ClientOnly 1\n") // no relay; onion services are not touched by it
	b.WriteString("AvoidDiskWrites 1\n")
	b.WriteString("SafeLogging 1\n")
	b.WriteString("Log notice stdout\n")
	b.WriteString("RunAsDaemon 0\n")
	// A reload must not forget what the control port has set: the onion services.
	b.WriteString("__ReloadTorrcOnSIGHUP 0\n")
	// With TAKEOWNERSHIP, the second safeguard against an orphan: tor looks
	// every 15 s whether this process still lives.
	fmt.Fprintf(&b, "__OwningControllerProcess %d\n", owner)
	if err := os.WriteFile(l.nothing(), nil, 0o600); err != nil {
		return err
	}
	return os.WriteFile(l.torrc(), []byte(b.String()), 0o600)
}

// torQuote is s as a quoted value of a torrc.
func torQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
