package wire

import (
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is what conn is read and written by, nil when it is no socket.
func socket(conn net.Conn) syscall.RawConn {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// readOnce reads what is there, without waiting: nothing at all without an error
// means that there is nothing yet.
func readOnce(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, nil
		case err == nil && n == 0:
			return 0, io.EOF
		}
		return max(n, 0), err
	}
}

// hangupPoll is how often a waiting client's socket is looked at.
const hangupPoll = time.Second

// WatchHangup calls gone when the peer of conn closes it while the gateway is
// busy elsewhere: a client that gave up must not keep a circuit being built. It
// asks the kernel (POLLRDHUP) and takes no byte, so that a TLS client's last
// alert in the buffer does not hide the close behind it. stop ends the watch.
func WatchHangup(conn net.Conn, gone func()) (stop func()) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return func() {} // not a socket (a test's pipe): the budgets end the wait
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return func() {}
	}
	quit := make(chan struct{})
	go func() {
		tick := time.NewTicker(hangupPoll)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			closed := false
			err := raw.Control(func(fd uintptr) {
				poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
				n, err := unix.Poll(poll, 0)
				closed = err == nil && n > 0
			})
			if err != nil || closed {
				gone()
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit) })
}

// writeOnce writes what the socket takes without waiting.
func writeOnce(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), p)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, nil
		}
		return 0, err
	}
}
