package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// throughput compares messages a second through the gateway and through the
// io.Copy relay, client to server: as clients send them, each in a write and a TLS
// record of its own, and in bulk, as many as fit in a record. Bulk is the worst
// case for a relay that looks at what it moves: nothing else costs anything.
func (b *grounds) throughput(rounds int) error {
	if err := b.stream("relay", message, 16<<20, rounds, "of-io.Copy(want>=0.8)"); err != nil {
		return err
	}
	return b.stream("bulk", burst, 64<<20, rounds, "of-io.Copy")
}

// stream sends size bytes in writes of chunk through both relays in turn.
func (b *grounds) stream(name string, chunk []byte, size, rounds int, unit string) error {
	gw, err := b.gateway.dial()
	if err != nil {
		return err
	}
	defer gw.Close()
	bare, err := b.dialBare(b.relayAddr)
	if err != nil {
		return err
	}
	defer bare.Close()
	ours, theirs, err := b.turns(gw, bare, chunk, size, rounds)
	if err != nil {
		return err
	}
	report(name+".gateway", median(ours), "stanzas/s")
	report(name+".iocopy", median(theirs), "stanzas/s")
	ratios := make([]float64, rounds)
	for i := range ratios {
		ratios[i] = ours[i] / theirs[i]
	}
	report(name+".ratio", median(ratios), unit)
	return nil
}

// turns sends size bytes in writes of chunk over two connections in turn, and
// tells the stanzas a second of each turn.
func (b *grounds) turns(first, second io.Writer, chunk []byte, size, rounds int) (one, two []float64, err error) {
	for range rounds {
		for _, turn := range []struct {
			c   io.Writer
			out *[]float64
		}{{first, &one}, {second, &two}} {
			n := size / len(chunk)
			from, start := b.server.got.Load(), time.Now()
			for range n {
				if _, err := turn.c.Write(chunk); err != nil {
					return nil, nil, err
				}
			}
			b.server.wait(from, int64(n*len(chunk)))
			*turn.out = append(*turn.out, float64(n*len(chunk)/len(message))/time.Since(start).Seconds())
		}
	}
	return one, two, nil
}

// latency compares the round trip of single messages: what the gateway adds to
// a connection without a relay, by what the io.Copy relay adds.
func (b *grounds) latency(rounds int) error {
	b.server.echo.Store(true)
	defer b.server.echo.Store(false)
	gw, err := b.gateway.dial()
	if err != nil {
		return err
	}
	defer gw.Close()
	bare, err := b.dialBare(b.relayAddr)
	if err != nil {
		return err
	}
	defer bare.Close()
	direct, err := b.dialBare(b.server.bare.Addr())
	if err != nil {
		return err
	}
	defer direct.Close()
	run := func(c io.ReadWriter) (time.Duration, error) {
		const n = 200
		back := make([]byte, len(message))
		trips := make([]time.Duration, 0, n)
		for range n {
			start := time.Now()
			if _, err := c.Write(message); err != nil {
				return 0, err
			}
			if _, err := io.ReadFull(c, back); err != nil {
				return 0, err
			}
			trips = append(trips, time.Since(start))
		}
		return median(trips), nil
	}
	var d, g, t []float64
	for range 20 * rounds { // short turns, so that all three meet the same weather
		for _, m := range []struct {
			c   io.ReadWriter
			out *[]float64
		}{{direct, &d}, {gw, &g}, {bare, &t}} {
			v, err := run(m.c)
			if err != nil {
				return err
			}
			*m.out = append(*m.out, float64(v)/1e3)
		}
	}
	report("latency.direct", median(d), "us")
	report("latency.gateway", median(g), "us")
	report("latency.iocopy", median(t), "us")
	report("latency.added-ratio", (median(g)-median(d))/(median(t)-median(d)), "of-io.Copy(want<=1.5)")
	return nil
}

// idle measures what the gateway's process grows by for each session that is
// logged in and silent.
func (b *grounds) idle(n int) error {
	before, err := residentKiB(b.gateway.pid)
	if err != nil {
		return err
	}
	conns := make([]io.Closer, n)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	var wg sync.WaitGroup
	var once sync.Once
	var failed error
	next := make(chan int)
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				c, err := b.gateway.dial()
				if err != nil {
					once.Do(func() { failed = err })
					continue
				}
				conns[i] = c
			}
		})
	}
	start := time.Now()
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if failed != nil {
		return failed
	}
	report("logins", float64(n)/time.Since(start).Seconds(), "sessions/s")
	time.Sleep(10 * time.Second) // sessions are idle, not just new
	after, err := residentKiB(b.gateway.pid)
	if err != nil {
		return err
	}
	report("idle.base", float64(before), "KiB")
	report("idle.session", float64(after-before)/float64(n), "KiB(want<=40)")
	return nil
}

// residentKiB is a process's resident memory.
func residentKiB(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			return strconv.Atoi(f[1])
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}

// load keeps the gateway busy for a profile.
func (b *grounds) load(d time.Duration) error {
	gw, err := b.gateway.dial()
	if err != nil {
		return err
	}
	defer gw.Close()
	for end := time.Now().Add(d); time.Now().Before(end); {
		if _, err := gw.Write(burst); err != nil {
			return err
		}
	}
	return nil
}
