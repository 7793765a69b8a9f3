package daemon

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage is what a daemon holds. Sessions that have ended leave none of it.
type Usage struct {
	Descriptors int // open files and sockets
	Threads     int
	Goroutines  int
	Resident    int // memory, in KiB
}

// Usage looks at the process and asks its metrics listener for the goroutines;
// the one that answers is always among them.
func (d *Daemon) Usage(ctx context.Context) (Usage, error) {
	var u Usage
	proc := fmt.Sprintf("/proc/%d/", d.PID())
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		return u, err
	}
	u.Descriptors = len(fds)
	tasks, err := os.ReadDir(proc + "task")
	if err != nil {
		return u, err
	}
	u.Threads = len(tasks)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			if u.Resident, err = strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB"))); err != nil {
				return u, err
			}
		}
	}
	u.Goroutines, err = d.metric(ctx, "go_goroutines")
	return u, err
}

// metric asks the daemon for one whole number of its metrics.
func (d *Daemon) metric(ctx context.Context, name string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.Metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Close = true // a connection that stays would count
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(text, 64)
			return int(n), err
		}
	}
	return 0, fmt.Errorf("daemon: there is no metric %s", name)
}

// Listening are the TCP ports of IPv4 and IPv6 that a process listens at, as the
// kernel writes them.
func Listening(pid int) ([]string, error) {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		return nil, fmt.Errorf("daemon: no open files of process %d are seen", pid)
	}
	own := make(map[string]bool) // inodes of its sockets
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			own[strings.Trim(to, "socket:[]")] = true
		}
	}
	var ports []string
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			const listening = "0A"
			if f := strings.Fields(line); len(f) > 9 && f[3] == listening && own[f[9]] {
				ports = append(ports, table+" "+f[1])
			}
		}
	}
	return ports, nil
}

// Tor is the process id of the daemon's own tor.
func (d *Daemon) Tor() (int, error) {
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.PID()))
	if err != nil {
		return 0, err
	}
	for _, file := range all {
		text, _ := os.ReadFile(file) // a thread may be gone by now
		for _, child := range strings.Fields(string(text)) {
			name, _ := os.ReadFile("/proc/" + child + "/comm")
			if strings.TrimSpace(string(name)) == "tor" {
				return strconv.Atoi(child)
			}
		}
	}
	return 0, fmt.Errorf("daemon: process %d has no tor", d.PID())
}
