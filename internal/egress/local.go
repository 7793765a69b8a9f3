package egress

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// localBudget is how long a local server may take to accept a connection.
const localBudget = 10 * time.Second

// Local is the one dial of this program that no route decides: from the gateway
// to a server which its owner publishes as an onion service, at the address that
// the owner wrote down. It carries what comes in from Tor; what clients of the
// gateway send goes by a [Set] and never through here.
//
// The zero value refuses to dial.
type Local struct{ where local }

// ParseLocal reads "IP:PORT", "localhost:PORT" or "unix:/PATH". Another name is
// an error, as finding its address would be a lookup outside any route.
func ParseLocal(s string) (Local, error) {
	path, unix := strings.CutPrefix(s, "unix:")
	where, err := parseLocal(s)
	if err != nil || unix && !strings.HasPrefix(path, "/") {
		return Local{}, fmt.Errorf("%q is not IP:PORT, localhost:PORT or unix:/PATH (a name would have to be looked up outside any route)", s)
	}
	return Local{where}, nil
}

// Loopback reports whether what is dialled cannot leave this machine.
func (l Local) Loopback() bool {
	for _, a := range l.where.addrs {
		if !a.Addr().Unmap().IsLoopback() {
			return false
		}
	}
	return true
}

// DialContext connects, within ten seconds. An error is a [*LocalError].
func (l Local) DialContext(ctx context.Context) (net.Conn, error) {
	if l.where.path == "" && len(l.where.addrs) == 0 {
		return nil, &LocalError{Why: "no address is set"}
	}
	ctx, cancel := context.WithTimeout(ctx, localBudget)
	defer cancel()
	conn, err := l.where.dial(ctx)
	if err != nil {
		return nil, &LocalError{Why: reason(err), Err: err}
	}
	return conn, nil
}

// LocalError is a local server that cannot be connected to.
type LocalError struct {
	Why string // without the address
	Err error  // the cause, which may name it; may be nil
}

func (e *LocalError) Error() string { return "the target does not answer: " + e.Why }

func (e *LocalError) Unwrap() error { return e.Err }
