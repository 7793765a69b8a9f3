package peers

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Knot is Debian's authoritative DNS server, on a loopback port of its own, over
// TCP and UDP. It serves files as they are: signing them is the caller's.
type Knot struct {
	Port int
	proc *process
}

// StartKnot serves zones, the files by the names of the zones ("." is the root).
func StartKnot(zones map[string]string) (*Knot, error) {
	path, err := program("knotd", "knot")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "xmpp-gw-knot")
	if err != nil {
		return nil, err
	}
	k := &Knot{}
	if err := k.start(path, dir, zones); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("peers: starting Knot: %w", err)
	}
	return k, nil
}

func (k *Knot) start(path, dir string, zones map[string]string) error {
	ports, err := freePorts()
	if err != nil {
		return err
	}
	k.Port = ports[0]
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n  rundir: %q\n  listen: 127.0.0.1@%d\n  udp-workers: 1\n  tcp-workers: 2\n  background-workers: 1\n", dir, k.Port)
	fmt.Fprintf(&conf, "database:\n  storage: %q\n", filepath.Join(dir, "db"))
	// What is wrong with a zone is there for a test.
	conf.WriteString("template:\n  - id: default\n    semantic-checks: off\n    zonefile-load: whole\n    journal-content: none\n")
	conf.WriteString("log:\n  - target: stderr\n    any: info\nzone:\n")
	names := make([]string, 0, len(zones))
	for name := range zones {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&conf, "  - domain: %q\n    file: %q\n", name, zones[name])
	}
	file := filepath.Join(dir, "knot.conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		return err
	}
	k.proc, err = spawn(spec{dir: dir, path: path, args: []string{"-c", file}})
	if err != nil {
		return err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(k.Port))
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
			if strings.Count(k.proc.log(), "loaded, serial") >= len(zones) {
				return nil
			}
			err = fmt.Errorf("not all zones are loaded")
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w; its log ends: %s%s", err, tail(k.proc.log(), 30), closing(k.proc.close()))
		}
	}
}

// Addr is IP:PORT.
func (k *Knot) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(k.Port)) }

// Close stops the server and removes its files.
func (k *Knot) Close() error { return k.proc.close() }
