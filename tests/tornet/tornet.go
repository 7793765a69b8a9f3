// Package tornet runs a private Tor network on loopback: one directory
// authority and four relays that are all exits, ten seconds from start to the
// first circuit. The circuits, onion services and exits are those of the real
// program, and no packet can leave the machine.
//
//	net, err := tornet.Start(ctx, tornet.Config{Dir: dir, Nameserver: "127.0.0.1:5300"})
//	defer net.Close()
//	svc, err := net.HiddenService(ctx, tornet.Port{Virtual: 5222, Target: "127.0.0.1:15222"})
//	t, err := onion.Start(ctx, onion.Options{Mode: onion.ModeManaged, DataDir: d, ExtraTorrc: net.ExtraTorrc()})
//
// Start it once for all tests of a package (TestMain). It needs Debian's
// package tor. All processes end with [Network.Close], or by themselves within
// 15 s when the test's process is killed.
package tornet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// relays is how many nodes there are, the authority among them. With three
// nobody ever gets to 100 %; with five paths differ.
const relays = 5

// tries is how often the network is started anew, when the first consensus does
// not know all relays or a port was taken meanwhile.
const tries = 3

// Config says where a network lives.
type Config struct {
	// Dir takes the nodes' directories and logs; it is made. It may be long.
	Dir string
	// Nameserver is the DNS server ("127.0.0.1:PORT", UDP) that the exits ask.
	// They find no name without one. See also [Network.SetNameserver].
	Nameserver string
}

// Network is a running private Tor network.
type Network struct {
	dir        string // logs and data
	sockets    string // a short directory for unix sockets
	common     string // the torrc lines of every node, clients included
	nameserver string

	mu    sync.Mutex
	nodes []*node
	count int // clients and services so far, for their names
}

// Start runs a network and returns when circuits can be built in it. An error
// has the end of the nodes' logs.
func Start(ctx context.Context, c Config) (*Network, error) {
	for _, program := range []string{"tor", "tor-gencert"} {
		if _, err := find(program); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	var failed error
	for try := range tries {
		n := &Network{dir: filepath.Join(dir, "try"+strconv.Itoa(try)), nameserver: c.Nameserver}
		err := n.start(ctx)
		if err == nil {
			return n, nil
		}
		failed = errors.Join(failed, fmt.Errorf("try %d: %w%s", try+1, err, n.tails()))
		n.Close()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("the private Tor network did not start: %w", failed)
}

// find finds a program of the package tor.
func find(program string) (string, error) {
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is missing: sudo apt-get install tor", program)
}

func (n *Network) start(ctx context.Context) error {
	var err error
	if err = os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	if n.sockets, err = os.MkdirTemp("", "tornet-"); err != nil {
		return err
	}
	if err := os.WriteFile(n.empty(), nil, 0o600); err != nil {
		return err
	}
	if err := n.SetNameserver(n.nameserver); err != nil {
		return err
	}
	ports, err := freePorts(relays + 1)
	if err != nil {
		return err
	}
	dirPort, orPorts := ports[0], ports[1:]

	auth, rest, err := n.keys(ctx, dirPort, orPorts)
	if err != nil {
		return err
	}
	if err := n.launch(auth); err != nil {
		return err
	}
	// The relays' first upload must not be refused.
	if err := auth.wait(ctx, 20*time.Second, "Opened Directory listener connection (ready)"); err != nil {
		return err
	}
	for _, r := range rest {
		if err := n.launch(r); err != nil {
			return err
		}
	}
	if err := n.consensus(ctx, auth); err != nil {
		return err
	}
	// Relays wait long between their looks for the first consensus.
	for _, r := range n.nodes {
		r.reload()
	}
	for _, r := range n.nodes {
		if err := r.wait(ctx, 60*time.Second, "Bootstrapped 100%"); err != nil {
			return err
		}
	}
	return os.WriteFile(n.ExtraTorrc(), []byte(n.common), 0o600)
}

// consensus waits for the authority's first consensus, which must list all
// relays.
func (n *Network) consensus(ctx context.Context, auth *node) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(filepath.Join(auth.dir, "cached-microdesc-consensus")); err == nil {
			if got := strings.Count(string(b), "\nr "); got != relays {
				return fmt.Errorf("the first consensus lists %d of %d relays", got, relays)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no consensus: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// ExtraTorrc is a file with the lines that make a client part of this network
// (and of no other).
func (n *Network) ExtraTorrc() string { return filepath.Join(n.dir, "client.torrc") }

// Dir is where the nodes' directories and logs are.
func (n *Network) Dir() string { return n.dir }

func (n *Network) empty() string  { return filepath.Join(n.dir, "empty") }
func (n *Network) resolv() string { return filepath.Join(n.dir, "resolv.conf") }

// SetNameserver points the exits' name resolution to another server
// ("127.0.0.1:PORT", UDP); empty: none.
func (n *Network) SetNameserver(addr string) error {
	if addr == "" {
		addr = "127.0.0.1:1" // nobody; tor wants some server
	}
	if err := os.WriteFile(n.resolv(), []byte("nameserver "+addr+"\n"), 0o600); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.nodes {
		if r.relay {
			r.reload()
		}
	}
	return nil
}

// Close ends all processes of the network, clients and services included, and
// waits for them. Logs stay.
func (n *Network) Close() error {
	n.mu.Lock()
	nodes := n.nodes
	n.nodes = nil
	n.mu.Unlock()
	for _, r := range nodes {
		r.signalStop()
	}
	for _, r := range nodes {
		r.stop()
	}
	if n.sockets != "" {
		return os.RemoveAll(n.sockets)
	}
	return nil
}

// launch starts a node that Close will end.
func (n *Network) launch(r *node) error {
	if err := r.start(n.empty()); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes = append(n.nodes, r)
	return nil
}

// tails is the end of each node's log, for an error.
func (n *Network) tails() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var b strings.Builder
	for _, r := range n.nodes {
		fmt.Fprintf(&b, "\n--- %s\n%s", r.name, r.tail(8))
	}
	return b.String()
}

// freePorts finds TCP ports of loopback that nobody uses now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only after all are found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
