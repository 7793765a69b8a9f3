// Command servers measures the bundled server side by side with Debian's Prosody
// and ejabberd, in one run and with the same neutral client (package load), and
// prints one line a figure:
//
//	BENCH name value unit
//
// Work is counted per second of the server's CPU time, so that the client, which
// shares the machine, does not count. The servers take turns, and the median of
// the rounds counts. The bundled server runs with all modules, in a process of its
// own and behind nothing: package server is measured, not the gateway.
//
//	go run ./tests/bench/servers
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/load"
	"xmpp-gw/tests/peers"
)

const (
	domain   = "load.example"
	password = "wherefore art thou"
)

func main() {
	b := &bench{}
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each comparison; the median counts")
	flag.DurationVar(&b.length, "length", 2*time.Second, "how long a round takes")
	flag.IntVar(&b.pairs, "pairs", 20, "pairs of accounts that talk")
	flag.IntVar(&b.sessions, "sessions", 2000, "idle sessions to hold")
	only := flag.String("only", "plain,tls,mam,logins,idle", "what to measure")
	names := flag.String("servers", "xmpp-gw,prosody,ejabberd", "which servers")
	flag.StringVar(&b.profile, "profile", "", "directory for CPU and heap profiles of the bundled server")
	c := &child{}
	flag.StringVar(&c.dir, "serve", "", "be the bundled server, with its data in this directory (used by the program itself)")
	flag.StringVar(&c.cert, "cert", "", "the server's certificate (used by the program itself)")
	flag.StringVar(&c.key, "key", "", "its key (used by the program itself)")
	flag.BoolVar(&c.mam, "mam", false, "archive messages (used by the program itself)")
	flag.IntVar(&c.accounts, "accounts", 0, "how many accounts to make (used by the program itself)")
	flag.Parse()
	b.only, b.names = strings.Split(*only, ","), strings.Split(*names, ",")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := b.run
	if c.dir != "" {
		c.profile, run = b.profile, c.run
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	rounds          int
	length          time.Duration
	pairs, sessions int
	only, names     []string
	profile         string

	dir  string
	cert string
	key  string
	tls  *tls.Config
}

// node is a running server of any make.
type node struct {
	name  string
	addr  string // STARTTLS
	pid   load.Process
	roots *tls.Config
	close func() error
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "serverbench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	ca, err := lab.NewCA()
	if err != nil {
		return err
	}
	leaf, err := ca.Leaf(lab.CALeaf{Names: []string{domain}})
	if err != nil {
		return err
	}
	b.cert, b.key = filepath.Join(b.dir, "cert.pem"), filepath.Join(b.dir, "key.pem")
	if err := lab.WriteCertificate(leaf, b.cert, b.key); err != nil {
		return err
	}
	b.tls = &tls.Config{RootCAs: ca.Pool(), ServerName: domain, MinVersion: tls.VersionTLS13}

	// Messages without TLS, inside it, and archived.
	for _, m := range []struct {
		name     string
		tls, mam bool
	}{{"plain", false, false}, {"tls", true, false}, {"mam", true, true}} {
		if !slices.Contains(b.only, m.name) {
			continue
		}
		err := b.compare(ctx, m.name, "msgs/cpu-s", m.mam, 2*b.pairs, func(s *node) (float64, error) {
			t := b.target(s, m.tls)
			r, err := load.Messages(ctx, t, s.pid, b.pairs, 340, b.length)
			return r.PerCPUSecond(), err
		})
		if err != nil {
			return err
		}
	}
	if slices.Contains(b.only, "logins") {
		err := b.compare(ctx, "logins", "logins/cpu-s", false, 2*b.pairs, func(s *node) (float64, error) {
			r, err := load.Logins(ctx, b.target(s, true), s.pid, 2*b.pairs, b.length)
			return r.PerCPUSecond(), err
		})
		if err != nil {
			return err
		}
	}
	if slices.Contains(b.only, "idle") {
		return b.idle(ctx)
	}
	return nil
}

// target is s as the client sees it.
func (b *bench) target(s *node, secure bool) *load.Target {
	t := &load.Target{Addr: s.addr, Domain: domain, Mechanism: "SCRAM-SHA-1", Password: password}
	if secure {
		t.TLS = s.roots
	}
	return t
}

// compare measures all servers in turns.
func (b *bench) compare(ctx context.Context, name, unit string, mam bool, accounts int, measure func(*node) (float64, error)) error {
	servers, err := b.startAll(ctx, mam, accounts)
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.close())
		}
	}()
	if err != nil {
		return err
	}
	values := map[string][]float64{}
	for range b.rounds {
		for _, s := range servers {
			v, err := measure(s)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s.name, name, err)
			}
			values[s.name] = append(values[s.name], v)
		}
	}
	best := 0.0
	for _, n := range b.names {
		report("servers."+name+"."+n, median(values[n]), unit)
		if n != "xmpp-gw" {
			best = max(best, median(values[n]))
		}
	}
	if ours := values["xmpp-gw"]; len(ours) > 0 && best > 0 {
		report("servers."+name+".ratio", median(ours)/best, "of-the-better-peer")
	}
	return nil
}

// idle takes one server after the other: what a server grew to would stay.
func (b *bench) idle(ctx context.Context) error {
	best, ours := 0.0, 0.0
	for _, n := range b.names {
		v, err := b.idleOf(ctx, n)
		if err != nil {
			return fmt.Errorf("%s, idle: %w", n, err)
		}
		report("servers.idle."+n, v, "KiB/session")
		if n == "xmpp-gw" {
			ours = v
		} else if best == 0 || v < best {
			best = v
		}
	}
	if ours > 0 && best > 0 {
		report("servers.idle.ratio", ours/best, "of-the-better-peer(want<=0.5)")
	}
	return nil
}

func (b *bench) idleOf(ctx context.Context, name string) (v float64, err error) {
	s, err := b.start(ctx, name, false, b.sessions)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	// What the server needs once, whatever the number of sessions, is not theirs.
	if _, err := load.Logins(ctx, b.target(s, true), s.pid, b.sessions, 2*time.Second); err != nil {
		return 0, err
	}
	v, base, err := load.Idle(ctx, b.target(s, true), s.pid, b.sessions, 10*time.Second)
	report("servers.base."+name, float64(base)/1024, "MiB")
	return v, err
}

func (b *bench) startAll(ctx context.Context, mam bool, accounts int) ([]*node, error) {
	var all []*node
	for _, n := range b.names {
		s, err := b.start(ctx, n, mam, accounts)
		if err != nil {
			return all, fmt.Errorf("start %s: %w", n, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// start runs a server and makes the accounts in it.
func (b *bench) start(ctx context.Context, name string, mam bool, accounts int) (*node, error) {
	var s *node
	var err error
	switch name {
	case "xmpp-gw":
		s, err = b.startOurs(mam, accounts)
	case "prosody", "ejabberd":
		var p *peers.Server
		p, err = peers.Servers()[name](peers.Options{
			Domain: domain, Cert: b.cert, Key: b.key, Register: true, MAM: mam, NoTLS: true,
		})
		if err == nil {
			s = &node{addr: p.Addr(peers.StartTLS), pid: load.Process(p.PID()), roots: b.tls, close: p.Close}
		}
	default:
		err = fmt.Errorf("there is no server %q", name)
	}
	if err != nil {
		return nil, err
	}
	s.name = name
	if name == "xmpp-gw" {
		return s, nil // it has its accounts
	}
	t := b.target(s, true)
	const at = 50 // a connection
	var wg sync.WaitGroup
	errs := make([]error, (accounts+at-1)/at)
	free := make(chan struct{}, 8) // connections
	for i := range errs {
		free <- struct{}{}
		wg.Go(func() {
			errs[i] = t.Register(ctx, i*at, min(at, accounts-i*at))
			<-free
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func report(name string, value float64, unit string) {
	digits := 2
	if value >= 100 {
		digits = 0
	}
	fmt.Printf("BENCH %s %.*f %s\n", name, digits, value, unit)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
