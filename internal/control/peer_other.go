//go:build !linux

package control

import (
	"errors"
	"net"
)

// peerOf refuses: without SO_PEERCRED nobody can be told from the owner.
func peerOf(*net.UnixConn) (peer, error) {
	return peer{}, errors.ErrUnsupported
}
