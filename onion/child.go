package onion

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// child is a tor process of ours.
type child struct {
	cmd      *exec.Cmd
	files    layout
	log      *torLog
	owner    *Events // its end tells tor to exit
	stopping atomic.Bool
	done     chan struct{} // closed when the process is gone
	exit     error         // what Wait said; read after done
}

// run starts the process.
func run(binary string, files layout, log *slog.Logger) (*child, error) {
	c := &child{files: files, log: &torLog{log: log}, done: make(chan struct{})}
	c.cmd = exec.Command(binary, "-f", files.torrc(), "--defaults-torrc", files.nothing())
	c.cmd.Env = childEnv()
	c.cmd.Dir = files.data
	c.cmd.Stdout = c.log
	c.cmd.Stderr = c.log
	c.cmd.WaitDelay = time.Second // a transport of tor's may hold the pipe open
	// A process group of its own: a Ctrl-C at the terminal is for the gateway,
	// which still needs tor while it says goodbye.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("tor cannot be started: %w", err)
	}
	go func() {
		c.exit = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the process, by force if it does not heed, and removes its sockets.
func (c *child) stop() {
	c.stopping.Store(true)
	c.cmd.Process.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), stopBudget)
	defer cancel()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.cmd.Process.Kill()
		<-c.done
	}
	if c.owner != nil {
		c.owner.Close()
	}
	c.files.clean()
}

// torLog takes what tor prints apart: warnings and errors are passed on as
// such, the last of them is kept for the case that tor dies of it.
type torLog struct {
	log *slog.Logger

	mu    sync.Mutex
	part  []byte // an unfinished line
	worst string
	inUse bool
	// refusals counts settings from the control port that tor did not take.
	refusals int
}

// maxLogLine bounds what is kept of a line without an end.
const maxLogLine = 4096

// Write implements io.Writer for the process's output.
func (l *torLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 && len(l.part) < maxLogLine {
			return len(p), nil
		}
		if i < 0 {
			i = len(l.part) - 1
		}
		l.line(string(l.part[:i]))
		l.part = l.part[i+1:]
	}
}

// line reads "Nov 21 04:32:00.000 [warn] text".
func (l *torLog) line(s string) {
	_, rest, ok := strings.Cut(s, " [")
	level, text, ok2 := strings.Cut(rest, "] ")
	if !ok || !ok2 {
		level, text = "", s
	}
	text = printable(text)
	switch level {
	case "err", "warn":
		l.log.Warn("tor: " + text)
		switch { // the general ones only say that there are others above
		case strings.HasPrefix(text, "Controller gave us config lines"):
			l.refusals++
		case l.worst == "" || !strings.HasPrefix(text, "Reading config failed"):
			l.worst = text
		}
		if strings.Contains(text, "another Tor process is running with the same data directory") {
			l.inUse = true
		}
	default:
		l.log.Debug("tor: " + text)
	}
}

// complaint is why Tor refused settings that the control port was given: the
// warning before the one that says so. before is how many refusals there were
// earlier. The log's pipe is not in step with the control port, so it waits a
// little; it is empty when nothing comes.
func (l *torLog) complaint(before int) string {
	for range 50 {
		l.mu.Lock()
		worst, refusals := l.worst, l.refusals
		l.mu.Unlock()
		if refusals > before {
			return worst
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ""
}

func (l *torLog) refused() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refusals
}

// last is the last warning or error, and whether it was that another Tor is in
// the same data directory.
func (l *torLog) last() (text string, inUse bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.worst, l.inUse
}
