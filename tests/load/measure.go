package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Process is the server's process, for its CPU time and memory.
type Process int

// tick is the unit of CPU time in /proc; Linux shows it as 1/100 s everywhere.
const tick = time.Second / 100

// CPU is the time that the process has used on all cores, its threads' and none
// of its children's.
func (p Process) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", int(p)))
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses, which may hold anything.
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", int(p), len(f))
	}
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// Resident is the process's resident memory in KiB.
func (p Process) Resident() (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", int(p)))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			return strconv.Atoi(f[1])
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", int(p))
}

// Result is what a measurement found.
type Result struct {
	Count   int           // messages delivered, or logins
	Elapsed time.Duration // by the clock
	CPU     time.Duration // of the server
}

// PerCPUSecond is how much the server did in a second of CPU time.
func (r Result) PerCPUSecond() float64 { return float64(r.Count) / r.CPU.Seconds() }

// PerSecond is how much it did in a second by the clock, beside this client.
func (r Result) PerSecond() float64 { return float64(r.Count) / r.Elapsed.Seconds() }

// window is how many messages of a pair may be under way.
const window = 32

// Messages sends chat messages of size bytes from accounts 0 … pairs-1 to accounts
// pairs … 2·pairs-1 for a while, and counts what arrives.
func Messages(ctx context.Context, t *Target, p Process, pairs, size int, d time.Duration) (Result, error) {
	sessions, err := logins(ctx, t, 0, 2*pairs, true)
	defer closeAll(sessions)
	if err != nil {
		return Result{}, err
	}
	var delivered atomic.Int64
	var wg sync.WaitGroup
	var failed errorOnce
	stop := make(chan struct{})
	begin := make(chan struct{})
	for i := range pairs {
		from, to := sessions[i], sessions[pairs+i]
		credit := make(chan struct{}, window)
		for range window {
			credit <- struct{}{}
		}
		message := chat(to.JID, size)
		wg.Go(func() { // receives until everything sent has come
			failed.set(count(to, func(n int) {
				delivered.Add(int64(n))
				for range n {
					credit <- struct{}{}
				}
			}))
		})
		wg.Go(func() {
			_, _ = discard(from) // what the server tells the sender
		})
		wg.Go(func() {
			defer func() { // all credit back: the last message has arrived
				for range window {
					select {
					case <-credit:
					case <-time.After(stepTime):
						failed.set(errors.New("messages were lost"))
					}
				}
				from.Close()
				to.Close()
			}()
			<-begin
			for {
				select {
				case <-stop:
					return
				case <-credit:
				}
				if _, err := from.Write(message); err != nil {
					failed.set(err)
					credit <- struct{}{}
					return
				}
			}
		})
	}
	cpu, err := p.CPU()
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	close(begin)
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	close(stop)
	wg.Wait()
	elapsed := time.Since(start)
	after, err := p.CPU()
	if err = errors.Join(err, failed.get()); err != nil {
		return Result{}, err
	}
	return Result{int(delivered.Load()), elapsed, after - cpu}, nil
}

// Logins logs accounts in and out again, side by side, for a while.
func Logins(ctx context.Context, t *Target, p Process, accounts int, d time.Duration) (Result, error) {
	cpu, err := p.CPU()
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	var n atomic.Int64
	var wg sync.WaitGroup
	var failed errorOnce
	workers := 2 * runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; time.Since(start) < d && ctx.Err() == nil; i += workers {
				s, err := t.Login(ctx, i%accounts, false)
				if err != nil {
					failed.set(err)
					return
				}
				n.Add(1)
				s.Close()
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	after, err := p.CPU()
	if err = errors.Join(err, failed.get()); err != nil {
		return Result{}, err
	}
	return Result{int(n.Load()), elapsed, after - cpu}, nil
}

// Idle holds sessions of n accounts, available and silent, and says by how many
// KiB a session the server grew. settle is how long they are left alone first.
func Idle(ctx context.Context, t *Target, p Process, n int, settle time.Duration) (perSession float64, base int, err error) {
	if base, err = p.Resident(); err != nil {
		return 0, 0, err
	}
	sessions, err := logins(ctx, t, 0, n, true)
	defer closeAll(sessions)
	if err != nil {
		return 0, 0, err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	after, err := p.Resident()
	return float64(after-base) / float64(n), base, err
}

// logins logs n accounts in.
func logins(ctx context.Context, t *Target, first, n int, presence bool) ([]*Session, error) {
	sessions := make([]*Session, n)
	next := make(chan int)
	var wg sync.WaitGroup
	var failed errorOnce
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				s, err := t.Login(ctx, first+i, presence)
				failed.set(err)
				sessions[i] = s
			}
		})
	}
	for i := range n {
		if failed.get() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return sessions, failed.get()
}

func closeAll(sessions []*Session) {
	for _, s := range sessions {
		if s != nil {
			s.Close()
		}
	}
}

// chat is a chat message of size bytes.
func chat(to string, size int) []byte {
	head := "<message to='" + to + "' type='chat' id='5f6b1c0e-b6ae-4e3f-8a29-6f1f9c5c9a11'><body>"
	tail := "</body><request xmlns='urn:xmpp:receipts'/></message>"
	words := strings.Repeat("My life were better ended by their hate. ", size/40+1)
	return []byte(head + words[:max(1, size-len(head)-len(tail))] + tail)
}

// end is what messages are counted by.
var end = []byte("</message>")

// count calls arrived with the number of messages in each read, until the session
// is closed.
func count(s *Session, arrived func(int)) error {
	buf := make([]byte, 64<<10)
	kept := 0
	for {
		n, err := s.Read(buf[kept:])
		if err != nil {
			return ended(err)
		}
		b := buf[:kept+n]
		if bytes.Contains(b, []byte("<stream:error")) {
			return fmt.Errorf("the server ended the stream: %q", b[max(0, len(b)-300):])
		}
		if c := bytes.Count(b, end); c > 0 {
			arrived(c)
			b = b[bytes.LastIndex(b, end)+len(end):]
		}
		kept = copy(buf, b[max(0, len(b)-len(end)+1):])
	}
}

func discard(s *Session) (int, error) {
	buf := make([]byte, 4096)
	total := 0
	for {
		n, err := s.Read(buf)
		total += n
		if err != nil {
			return total, err
		}
	}
}

// ended is nil for the end that this program itself has made.
func ended(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// errorOnce keeps the first error.
type errorOnce struct {
	mu  sync.Mutex
	err error
}

func (e *errorOnce) set(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
	}
}

func (e *errorOnce) get() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}
