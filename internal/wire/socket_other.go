//go:build !linux

package wire

import "net"

// WatchHangup needs POLLRDHUP, which only Linux has; elsewhere the budgets of
// the route end the wait for a client that gave up.
func WatchHangup(net.Conn, func()) (stop func()) { return func() {} }

// waitReadable leaves the waiting to the read.
func waitReadable(net.Conn) error { return nil }
