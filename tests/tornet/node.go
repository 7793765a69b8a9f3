package tornet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// node is one tor process with its directory (torrc, data, log).
type node struct {
	name  string
	dir   string
	torrc string // the text
	relay bool

	cmd  *exec.Cmd
	log  logFile
	done chan struct{} // closed when the process is gone
}

// start runs the process.
func (r *node) start(empty string) error {
	tor, err := find("tor")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(r.dir, "torrc")
	torrc := fmt.Sprintf("%sDataDirectory \"%s\"\nNickname %s\nLog notice stdout\n__OwningControllerProcess %d\n",
		r.torrc, r.dir, r.name, os.Getpid())
	if err := os.WriteFile(file, []byte(torrc), 0o600); err != nil {
		return err
	}
	if r.log.file, err = os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	r.log.more = make(chan struct{})
	r.cmd = exec.Command(tor, "-f", file, "--defaults-torrc", empty)
	r.cmd.Stdout = &r.log
	r.cmd.Stderr = &r.log
	r.cmd.WaitDelay = time.Second
	// A Ctrl-C at the terminal is for the test, whose Close ends the nodes.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	r.done = make(chan struct{})
	go func() {
		r.cmd.Wait()
		r.log.file.Close()
		close(r.done)
	}()
	return nil
}

func (r *node) reload() { r.cmd.Process.Signal(syscall.SIGHUP) }

func (r *node) signalStop() { r.cmd.Process.Signal(syscall.SIGTERM) }

// stop ends the process and waits for it.
func (r *node) stop() {
	r.signalStop()
	select {
	case <-r.done:
	case <-time.After(5 * time.Second):
		r.cmd.Process.Kill()
		<-r.done
	}
}

// kill ends the process as a crash would.
func (r *node) kill() {
	r.cmd.Process.Kill()
	<-r.done
}

// wait waits until the log has text.
func (r *node) wait(ctx context.Context, budget time.Duration, text string) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	for {
		found, more := r.log.has(text)
		if found {
			return nil
		}
		select {
		case <-more:
		case <-r.done:
			return fmt.Errorf("%s: tor ended before it said %q", r.name, text)
		case <-ctx.Done():
			return fmt.Errorf("%s: tor did not say %q in %s", r.name, text, budget)
		}
	}
}

// tail is the last n lines of the log.
func (r *node) tail(n int) string {
	lines := strings.SplitAfter(r.log.text(), "\n")
	return strings.Join(lines[max(0, len(lines)-1-n):], "")
}

// logFile keeps what a process prints, in a file and in memory.
type logFile struct {
	mu   sync.Mutex
	file *os.File
	buf  bytes.Buffer
	more chan struct{} // closed and made anew with each write
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	close(l.more)
	l.more = make(chan struct{})
	return l.file.Write(p)
}

// has reports whether text was printed, and what to wait for if not.
func (l *logFile) has(text string) (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(text)), l.more
}

func (l *logFile) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
