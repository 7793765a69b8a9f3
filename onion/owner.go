package onion

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
)

// systemOwned refuses a TCP port on which another person of this machine
// listens: where no Tor runs, anybody may take its port and see who connects
// where. Root, a service's user and oneself are trusted. Where the system does
// not tell (it is Linux's /proc that does), the port is taken as it is.
func systemOwned(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil // a unix socket: its directory belongs to Tor
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for _, uid := range listeners(string(text), uint16(n)) {
			if uid >= firstPerson && uid != os.Getuid() {
				return errors.New("another user of this machine listens there, which may be anything")
			}
		}
	}
	return nil
}

// firstPerson is where the user ids of people begin (Debian policy §9.2.2, and
// most other systems).
const firstPerson = 1000

// listeners are the owners of the sockets that listen on a port, out of the
// text of /proc/net/tcp or tcp6 (proc_pid_net(5): number, local address, peer,
// state, queues, timer, retransmits, uid).
func listeners(table string, port uint16) (uids []int) {
	const listening = "0A"
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[3] != listening {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		p, err := strconv.ParseUint(hex, 16, 16)
		uid, err2 := strconv.ParseUint(f[7], 10, 31)
		if err == nil && err2 == nil && uint16(p) == port {
			uids = append(uids, int(uid))
		}
	}
	return uids
}
