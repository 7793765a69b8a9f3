package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path of a unix socket on Linux, its final zero byte
// excluded (unix(7)).
const maxPath = 107

// Socket is the daemon's end of the control socket.
type Socket struct {
	*net.UnixListener
	path string
	lock *os.File
}

// RunningError says that another daemon serves the socket.
type RunningError struct {
	Path string
	PID  int // 0 when it could not be found out
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return "another xmpp-gw is starting or running with the control socket " + e.Path
	}
	return fmt.Sprintf("another xmpp-gw (process %d) is running with the control socket %s", e.PID, e.Path)
}

// Listen opens the control socket at path with mode 0600, and makes its folder
// with mode 0700 when there is none. What a dead daemon left at path is
// replaced; a live one is a [RunningError]. A lock file beside the socket
// decides which it is, as the kernel drops the lock of a process that ends.
func Listen(path string) (*Socket, error) {
	// The socket is bound under a longer name first; see below.
	if len(path)+1 > maxPath {
		return nil, fmt.Errorf("the control socket's path is %d bytes long and may be %d: %s", len(path), maxPath-1, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the control socket's folder: %w", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the control socket's lock: %w", err)
	}
	s := &Socket{path: path, lock: lock}
	if err := s.open(); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) open() error {
	err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return running(s.path)
	}
	if err != nil {
		return fmt.Errorf("lock the control socket: %w", err)
	}
	switch info, err := os.Lstat(s.path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("look at the control socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is in the place of the control socket and is no socket", s.path)
	default:
		// Somebody removed a live daemon's lock file.
		if e := running(s.path); e.PID != 0 {
			return e
		}
	}
	// Bound under another name and moved into place once its mode is right, so
	// that nobody else ever finds it open.
	temp := s.path + "~"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what an earlier start left: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return fmt.Errorf("open the control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it would remove the other name
	if err := errors.Join(os.Chmod(temp, 0o600), os.Rename(temp, s.path)); err != nil {
		l.Close()
		os.Remove(temp)
		return fmt.Errorf("open the control socket: %w", err)
	}
	s.UnixListener = l
	return nil
}

// running asks who listens at path.
func running(path string) *RunningError {
	e := &RunningError{Path: path}
	if conn, err := dial(path); err == nil {
		defer conn.Close()
		if p, err := peerOf(conn); err == nil {
			e.PID = p.pid
		}
	}
	return e
}

// Close removes the socket and frees its lock.
func (s *Socket) Close() error {
	os.Remove(s.path) // first, so that nobody connects to a socket that is shut
	err := s.UnixListener.Close()
	s.lock.Close()
	return err
}

// dial connects to the socket at path. It is the one dial outside
// internal/egress and onion, and cannot leave this machine: the network is
// "unix" and the address a path.
func dial(path string) (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
}

// peer is the process at the other end of a socket.
type peer struct{ pid, uid int }

// trusts reports whether a process of user self may deal with one of user other:
// it is the same user's, or root's.
func trusts(self, other int) bool { return other == self || other == 0 }

// Stale reports whether path is a unix socket at which nobody listens any more.
func Stale(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	conn, err := dial(path)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
