package daemon

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
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
