//go:build !linux

package wire

import "net"

// WatchHangup needs POLLRDHUP, which only Linux has; elsewhere the budgets of
// the route end the wait for a client that gave up.
func WatchHangup(net.Conn, func()) (stop func()) { return func() {} }

// waitReadable leaves the waiting to the read.
func waitReadable(net.Conn) error { return nil }

// writeOnce leaves the writing to the goroutine that may wait.
func writeOnce(uintptr, []byte) (int, error) { return 0, nil }
