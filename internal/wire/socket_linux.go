package wire

import (
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waitReadable returns when conn has something to read, has ended or has failed,
// or its read deadline has passed. It takes no byte.
func waitReadable(conn net.Conn) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil // not a socket: reading will wait
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(readable)
}

// readable reports whether a read from fd would not block.
func readable(fd uintptr) bool {
	poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll[:], 0)
	return n != 0 || err != nil && err != unix.EINTR && err != unix.EAGAIN
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
