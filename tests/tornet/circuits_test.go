//go:build e2e

package tornet_test

import (
	"fmt"
	"net"
	"testing"
)

func TestExplore(t *testing.T) {
	addr := echo(t)
	open(t, managed.SOCKS(), "alice", addr.String())
	open(t, managed.SOCKS(), "alice", addr.String())
	open(t, managed.SOCKS(), "bob", net.JoinHostPort(nameOfEcho, fmt.Sprint(addr.Port)))
	for _, k := range []string{"circuit-status", "stream-status", "net/listeners/socks", "net/listeners/control","version","status/bootstrap-phase"} {
		s, err := managed.Control().Info(t.Context(), k)
		fmt.Println("==", k, err)
		fmt.Println(s)
	}
	fmt.Println(progress)
	fmt.Println(managed.Circuits(t.Context()))
}
