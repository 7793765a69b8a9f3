//go:build !linux

package wire

import (
	"net"
	"syscall"
)

// WatchHangup needs POLLRDHUP, which only Linux has; elsewhere the budgets of
// the route end the wait for a client that gave up.
func WatchHangup(net.Conn, func()) (stop func()) { return func() {} }

// socket leaves the waiting to the read, and the writing to the goroutine that may wait.
func socket(net.Conn) syscall.RawConn { return nil }

func readOnce(uintptr, []byte) (int, error)  { return 0, nil }
func writeOnce(uintptr, []byte) (int, error) { return 0, nil }
