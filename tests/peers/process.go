package peers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A process is a child in a process group of its own, with a directory that
// goes when it goes. It dies with this program, however that ends.
type process struct {
	dir  string
	done chan struct{} // closed when the child has ended
	in   io.WriteCloser
	out  *output
	stop func() // asks the child to end

	pid   int
	logs  []string // files that belong to its log, relative to dir
	close func() error
}

// A spec says what to run.
type spec struct {
	dir   string
	path  string
	args  []string
	env   []string                         // added to a minimal environment
	lines func(line []byte)                // called with each line of standard output, if set
	stop  func(in io.WriteCloser, pid int) // asks the child to end; SIGTERM if nil
	logs  []string
	user  *syscall.Credential // who it runs as; nil: as this program
}

// spawn starts a child process.
func spawn(s spec) (*process, error) {
	cmd := exec.Command(s.path, s.args...)
	cmd.Dir = s.dir
	cmd.Env = append([]string{
		"HOME=" + s.dir, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=xterm",
		"TMPDIR=" + s.dir,
	}, s.env...)
	// The group lets us end the children's children; the death signal ends
	// the child when this program is killed before it can clean up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: s.user}
	out := &output{line: s.lines}
	cmd.Stdout, cmd.Stderr = out, &out.rest
	// A grandchild that keeps the output open must not keep us waiting.
	cmd.WaitDelay = 2 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p := &process{dir: s.dir, done: make(chan struct{}), in: in, out: out, logs: s.logs}
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the *thread* that forked
		// ends, so that thread has to live as long as the child.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("peers: starting %s: %w", s.path, err)
	}
	p.pid = cmd.Process.Pid
	p.stop = func() {
		if s.stop != nil {
			s.stop(in, p.pid)
		} else {
			syscall.Kill(p.pid, syscall.SIGTERM)
		}
	}
	p.close = sync.OnceValue(p.end)
	return p, nil
}

// end stops the child, gently first, then its whole group, and removes the
// directory.
func (p *process) end() error {
	p.stop()
	var err error
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		err = fmt.Errorf("peers: process %d did not stop when asked and was killed", p.pid)
	}
	p.kill()
	return errors.Join(err, os.RemoveAll(p.dir))
}

// kill ends the child and its whole group at once.
func (p *process) kill() {
	// The group may hold children when its leader is gone; ESRCH is no news.
	syscall.Kill(-p.pid, syscall.SIGKILL)
	<-p.done
}

// log returns the output so far and the log files.
func (p *process) log() string {
	var b bytes.Buffer
	b.WriteString(p.out.text())
	for _, name := range p.logs {
		if text, err := os.ReadFile(filepath.Join(p.dir, name)); err == nil {
			b.Write(text)
		}
	}
	return b.String()
}

// output keeps what a process writes and hands out its lines.
type output struct {
	mu   sync.Mutex
	all  bytes.Buffer
	part []byte
	line func([]byte)
	rest stderr
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all.Write(b)
	if o.line == nil {
		return len(b), nil
	}
	o.part = append(o.part, b...)
	for {
		i := bytes.IndexByte(o.part, '\n')
		if i < 0 {
			return len(b), nil
		}
		o.line(o.part[:i])
		o.part = o.part[i+1:]
	}
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rest.text() + o.all.String()
}

// stderr keeps what a process complains about.
type stderr struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *stderr) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(b)
}

func (s *stderr) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// program finds a program of Debian's and names the package when it is not
// there.
func program(name, pkg string) (string, error) {
	// Not the caller's PATH: a test wants Debian's program, not another
	// python3 that happens to come first.
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/bin", "/sbin"} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && !st.IsDir() {
			return path, nil
		}
	}
	return "", missing(name, pkg)
}

func missing(what, pkg string) error {
	return fmt.Errorf("peers: %s is not installed. Install it: apt-get install %s (or run scripts/test-deps)", what, pkg)
}

// freePorts returns two loopback ports that nobody listens on. They are below
// the range that the kernel takes for outgoing connections, so that no
// connection takes one of them before the server does.
func freePorts() ([2]int, error) {
	var ports [2]int
	for i := range ports {
		for try := 0; ; try++ {
			port := 20000 + rand.IntN(12000)
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err == nil {
				// Held until both are chosen, so that they differ.
				defer l.Close()
				ports[i] = port
				break
			}
			if try == 100 {
				return ports, fmt.Errorf("peers: no free port on 127.0.0.1: %w", err)
			}
		}
	}
	return ports, nil
}
