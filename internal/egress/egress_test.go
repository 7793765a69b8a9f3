package egress_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

const onionHost = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"

var (
	tor       = policy.Route{Kind: policy.RouteTor}
	onionOnly = policy.Route{Kind: policy.RouteOnionOnly}
	direct    = policy.Route{Kind: policy.RouteDirect}
	hopRoute  = policy.Route{Kind: policy.RouteSOCKS, Name: "hop"}
)

// echo is a TCP server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

// roundTrip shows that conn leads to an echo server.
func roundTrip(t *testing.T, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "there and back\n"); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || got != "there and back\n" {
		t.Fatalf("echo: %q, %v", got, err)
	}
}

// socks starts a fake proxy.
func socks(t *testing.T, table map[string]string) *lab.SOCKSServer {
	t.Helper()
	s, err := lab.SOCKSStart("tcp", "127.0.0.1:0", table)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// at is a Config.Tor that knows the address.
func at(addr string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return addr, nil }
}

// noLookup fails the test when a name is looked up.
func noLookup(t *testing.T) egress.Lookup {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		t.Errorf("%s was looked up", host)
		return nil, errors.New("looked up")
	}
}

func dialer(t *testing.T, cfg egress.Config, route policy.Route, iso egress.Isolation) egress.Dialer {
	t.Helper()
	set, err := egress.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d, err := set.Dialer(route, iso)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// settled waits until goroutines and descriptors are back to where they were.
func settled(t *testing.T) func() {
	t.Helper()
	count := func() (int, int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(fds)
	}
	g0, f0 := count()
	return func() {
		t.Helper()
		deadline := time.Now().Add(3 * time.Second)
		for {
			g, f := count()
			if g <= g0 && f <= f0 {
				return
			}
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<16)
				t.Fatalf("left behind: %d goroutines (%d before), %d descriptors (%d before)\n%s",
					g, g0, f, f0, buf[:runtime.Stack(buf, true)])
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// A name that only the proxy knows is reached through it, by name, and by one
// request: nobody else could have resolved it.
func TestProxyAloneResolves(t *testing.T) {
	t.Parallel()
	server := echo(t)
	const name = "only-the-proxy-knows.test:5222"
	long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 63) + ":1"
	unixPath := filepath.Join(t.TempDir(), "s")
	for _, tt := range []struct {
		name    string
		network string
		address string
		route   policy.Route
		target  string
		asName  bool
	}{
		{"tor over tcp", "tcp", "127.0.0.1:0", tor, name, true},
		{"tor over a unix socket", "unix", unixPath + "1", tor, name, true},
		{"tor to an onion", "tcp", "127.0.0.1:0", tor, onionHost + ":5222", true},
		{"onion-only to an onion", "unix", unixPath + "2", onionOnly, onionHost + ":5222", true},
		{"tor with a name of 255 bytes", "tcp", "127.0.0.1:0", tor, long, true},
		{"tor to IPv4", "tcp", "127.0.0.1:0", tor, "192.0.2.1:5222", false},
		{"tor to IPv6", "tcp", "127.0.0.1:0", tor, "[2001:db8::1]:5222", false},
		{"hop over tcp", "tcp", "127.0.0.1:0", hopRoute, name, true},
		{"hop over a unix socket", "unix", unixPath + "3", hopRoute, name, true},
		{"hop to IPv6", "tcp", "127.0.0.1:0", hopRoute, "[2001:db8::1]:5222", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := lab.SOCKSStart(tt.network, tt.address, map[string]string{tt.target: server})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			u := &url.URL{Scheme: "socks5", Host: s.Addr()}
			if path, ok := strings.CutPrefix(s.Addr(), "unix:"); ok {
				u = &url.URL{Scheme: "socks5+unix", Path: path}
			}
			iso := new(egress.Isolator).For("account", "juliet", "capulet.example")
			d := dialer(t, egress.Config{Tor: at(s.Addr()), SOCKS: map[string]*url.URL{"hop": u}, Lookup: noLookup(t)}, tt.route, iso)
			conn, err := d.DialContext(context.Background(), "tcp", tt.target)
			if err != nil {
				t.Fatal(err)
			}
			roundTrip(t, conn)
			want := lab.SOCKSRequest{Target: tt.target, Name: tt.asName, User: iso.User, Password: iso.Password}
			if got := s.Requests(); len(got) != 1 || got[0] != want {
				t.Errorf("the proxy saw %+v, want one %+v", got, want)
			}
		})
	}
}

// A final dot is DNS notation, not part of the name that a proxy gets.
func TestFinalDot(t *testing.T) {
	t.Parallel()
	s := socks(t, map[string]string{"example.test:5222": echo(t)})
	for _, route := range []policy.Route{tor, hopRoute} {
		d := dialer(t, egress.Config{Tor: at(s.Addr()), SOCKS: hops(s)}, route, egress.Isolation{})
		conn, err := d.DialContext(context.Background(), "tcp", "example.test.:5222")
		if err != nil {
			t.Fatalf("%v: %v", route, err)
		}
		roundTrip(t, conn)
	}
}

func hops(s *lab.SOCKSServer) map[string]*url.URL {
	return map[string]*url.URL{"hop": {Scheme: "socks5", Host: s.Addr()}}
}

// The user of a hop's URL is its login; the isolation is not sent then.
func TestHopLogin(t *testing.T) {
	t.Parallel()
	s := socks(t, map[string]string{"example.test:5222": echo(t)})
	u := &url.URL{Scheme: "socks5h", Host: s.Addr(), User: url.UserPassword("romeo", "pass word")}
	d := dialer(t, egress.Config{SOCKS: map[string]*url.URL{"hop": u}}, hopRoute, new(egress.Isolator).For("x"))
	conn, err := d.DialContext(context.Background(), "tcp", "example.test:5222")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if r := s.Requests()[0]; r.User != "romeo" || r.Password != "pass word" {
		t.Errorf("login %q %q", r.User, r.Password)
	}
	s.SetFault(lab.SOCKSFault{RejectLogin: true})
	_, err = d.DialContext(context.Background(), "tcp", "example.test:5222")
	if !errors.Is(err, egress.ErrProxy) || !strings.Contains(err.Error(), "authentication failed") || strings.Contains(err.Error(), "pass word") {
		t.Errorf("a refused login: %v", err)
	}
}

// No route, no dialer: whatever else the Set could do, it is not used in its
// place. All working ways are there and none may be touched.
func TestNoFallback(t *testing.T) {
	t.Parallel()
	s := socks(t, nil)
	all := egress.Config{Tor: at(s.Addr()), SOCKS: hops(s), Lookup: noLookup(t)}
	full, err := egress.New(all)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		set   *egress.Set
		route policy.Route
	}{
		{"the zero route", full, policy.Route{}},
		{"block", full, policy.Route{Kind: policy.RouteBlock}},
		{"a kind of the future", full, policy.Route{Kind: 200}},
		{"an unknown hop", full, policy.Route{Kind: policy.RouteSOCKS, Name: "other"}},
		{"a hop without a name", full, policy.Route{Kind: policy.RouteSOCKS}},
		{"tor that is off", empty, tor},
		{"onion-only with tor off", empty, onionOnly},
		{"a hop of an empty configuration", empty, hopRoute},
		{"direct without lookup", empty, direct},
		{"a nil set", nil, direct},
		{"a nil set, tor", nil, tor},
		{"a zero set", new(egress.Set), tor},
		{"a zero set, direct", new(egress.Set), direct},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := tt.set.Dialer(tt.route, egress.Isolation{})
			if d != nil || !errors.Is(err, egress.ErrRefused) {
				t.Fatalf("got dialer %v and error %v, want none and a refusal", d, err)
			}
			if e := (*egress.Error)(nil); !errors.As(err, &e) || e.Why == "" || e.Hint == "" {
				t.Errorf("no sentence: %v", err)
			}
		})
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("the proxy was asked %d times", n)
	}
}

// A tor route whose Tor fails is an error even where direct would work.
func TestTorDownIsTheEnd(t *testing.T) {
	t.Parallel()
	server := echo(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	http := speaks(t, "HTTP/1.0 400 Bad Request\r\n\r\n")
	for _, tt := range []struct {
		name string
		tor  func(context.Context) (string, error)
		want string
	}{
		{"nobody listens", at(gone.Addr().String()), "nothing listens there"},
		{"no socket file", at("unix:" + filepath.Join(t.TempDir(), "none")), "does not exist"},
		{"not started", func(context.Context) (string, error) { return "", errors.New("bootstrap stuck at 5 %") }, "bootstrap stuck at 5 %"},
		{"an address that must be looked up", at("tor.example:9050"), "looked up outside the route"},
		{"an empty address", at(""), "not IP:PORT"},
		{"something else listens", at(http), "does not speak SOCKS5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dialer(t, egress.Config{Tor: tt.tor, Lookup: noLookup(t)}, tor, egress.Isolation{})
			conn, err := d.DialContext(context.Background(), "tcp", server)
			if conn != nil || !errors.Is(err, egress.ErrTorDown) {
				t.Fatalf("got %v, %v", conn, err)
			}
			if s := err.Error(); !strings.Contains(s, "Tor is not running") || !strings.Contains(s, tt.want) || !strings.Contains(s, "apt install tor") {
				t.Errorf("sentence: %s", s)
			}
		})
	}
}

// speaks is a TCP server that says one thing to everybody.
func speaks(t *testing.T, what string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, what)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// What a route may not reach is refused before a byte is sent.
func TestRefusedBeforeDialing(t *testing.T) {
	t.Parallel()
	s := socks(t, map[string]string{"example.test:5222": echo(t)})
	cfg := egress.Config{Tor: at(s.Addr()), SOCKS: hops(s), Lookup: noLookup(t)}
	for _, tt := range []struct {
		name    string
		route   policy.Route
		network string
		address string
	}{
		{"onion-only to a name", onionOnly, "tcp", "example.test:5222"},
		{"onion-only to an address", onionOnly, "tcp", "127.0.0.1:5222"},
		{"onion-only to a look-alike", onionOnly, "tcp", "onion.example.test:5222"},
		{"direct to an onion", direct, "tcp", onionHost + ":5222"},
		{"direct to an onion in capitals with a dot", direct, "tcp", "ABC.ONION.:5222"},
		{"a hop to an onion", hopRoute, "tcp", onionHost + ":5222"},
		{"UDP", tor, "udp", "example.test:53"},
		{"a unix socket as destination", direct, "unix", "/run/x"},
		{"no port", tor, "tcp", "example.test"},
		{"port 0", tor, "tcp", "example.test:0"},
		{"a named port", tor, "tcp", "example.test:xmpp-client"},
		{"an empty host", tor, "tcp", ":5222"},
		{"an empty host, direct", direct, "tcp", ":5222"},
		{"a name of 256 bytes", tor, "tcp", strings.Repeat("a", 256) + ":5222"},
		{"a U-label", tor, "tcp", "bücher.test:5222"},
		{"a line feed", tor, "tcp", "a\nb:5222"},
		{"a scoped address by proxy", tor, "tcp", "[fe80::1%lo]:5222"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dialer(t, cfg, tt.route, egress.Isolation{})
			conn, err := d.DialContext(context.Background(), tt.network, tt.address)
			if conn != nil || !errors.Is(err, egress.ErrRefused) {
				t.Fatalf("got %v, %v", conn, err)
			}
		})
	}
	if r := s.Requests(); len(r) != 0 {
		t.Errorf("the proxy was asked: %+v", r)
	}
}

// Each reply code becomes a sentence of the right kind with a hint.
func TestReplyCodes(t *testing.T) {
	t.Parallel()
	s := socks(t, nil)
	d := dialer(t, egress.Config{Tor: at(s.Addr())}, tor, egress.Isolation{})
	seen := map[string]byte{}
	for code, kind := range map[byte]error{
		0x01: egress.ErrUnreachable, 0x02: egress.ErrRefused, 0x03: egress.ErrUnreachable, 0x04: egress.ErrNoName,
		0x05: egress.ErrUnreachable, 0x06: egress.ErrTimeout, 0x07: egress.ErrProxy, 0x08: egress.ErrProxy,
		0x5A: egress.ErrProxy,
		0xF0: egress.ErrOnionDown, 0xF1: egress.ErrOnionDown, 0xF2: egress.ErrOnionDown, 0xF3: egress.ErrOnionDown,
		0xF4: egress.ErrOnionAuth, 0xF5: egress.ErrOnionAuth, 0xF6: egress.ErrBadAddress, 0xF7: egress.ErrOnionDown,
	} {
		s.SetFault(lab.SOCKSFault{Code: code})
		_, err := d.DialContext(context.Background(), "tcp", onionHost+":5222")
		e := (*egress.Error)(nil)
		if !errors.As(err, &e) {
			t.Fatalf("%02X: %v", code, err)
		}
		if e.Code != code || !errors.Is(err, kind) || e.Why == "" || e.Hint == "" {
			t.Errorf("%02X: %+v", code, e)
		}
		if strings.Contains(err.Error(), onionHost) {
			t.Errorf("%02X: the sentence names the destination: %v", code, err)
		}
		if other, ok := seen[err.Error()]; ok {
			t.Errorf("%02X and %02X have one sentence", code, other)
		}
		seen[err.Error()] = code
	}
	// x/net's client has the code as text only; the text comes through.
	s.SetFault(lab.SOCKSFault{Code: 2})
	h := dialer(t, egress.Config{SOCKS: hops(s)}, hopRoute, egress.Isolation{})
	if _, err := h.DialContext(context.Background(), "tcp", "example.test:5222"); err == nil ||
		!strings.Contains(err.Error(), "connection not allowed by ruleset;") || strings.Contains(err.Error(), "unknown error") {
		t.Errorf("hop: %v", err)
	}
}

// Each of Tor's own codes (its socks-extensions, "Extended error codes") says what
// it is, why, and what this one in particular asks a person to do.
func TestOnionSentences(t *testing.T) {
	t.Parallel()
	s := socks(t, nil)
	d := dialer(t, egress.Config{Tor: at(s.Addr())}, tor, egress.Isolation{})
	parts := map[string]byte{}
	for code, want := range map[byte][]string{
		0xF0: {"cannot be found", "no descriptor", "letter by letter"},
		0xF1: {"descriptor is invalid", "signature", "update tor"},
		0xF2: {"does not answer", "introduction points", "ask its operator whether it is up"},
		0xF3: {"could not be met", "rendezvous", "another path"},
		0xF4: {"is private", "there is none here, or one that it has withdrawn", "xmpp-gw onion auth add"},
		0xF5: {"does not accept this client's key", "withdrawn", "takes the place of the old one with: xmpp-gw onion auth add"},
		0xF6: {"no onion address", "checksum", "56 letters"},
		0xF7: {"in time", "no introduction point replied", "under load"},
	} {
		s.SetFault(lab.SOCKSFault{Code: code})
		_, err := d.DialContext(context.Background(), "tcp", onionHost+":5222")
		e, ok := errors.AsType[*egress.Error](err)
		if !ok {
			t.Fatalf("%02X: %v", code, err)
		}
		for i, part := range []string{e.What, e.Why, e.Hint} {
			if !strings.Contains(part, want[i]) {
				t.Errorf("%02X: %q has no %q", code, part, want[i])
			}
			if other, taken := parts[part]; taken {
				t.Errorf("%02X says %q, as %02X does", code, part, other)
			}
			parts[part] = code
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("%02X", code)) {
			t.Errorf("%v does not name its code", err)
		}
	}
}

// A Tor port that would drop the isolation is not used.
func TestIsolationIsNotDropped(t *testing.T) {
	t.Parallel()
	s := socks(t, map[string]string{"example.test:5222": echo(t)})
	s.SetFault(lab.SOCKSFault{NoLogin: true})
	d := dialer(t, egress.Config{Tor: at(s.Addr())}, tor, new(egress.Isolator).For("a"))
	if _, err := d.DialContext(context.Background(), "tcp", "example.test:5222"); !errors.Is(err, egress.ErrTorDown) || !strings.Contains(err.Error(), "circuits of their own") {
		t.Errorf("refused login: %v", err)
	}
	// The proxy chooses "no authentication" though it was not offered.
	s.SetFault(lab.SOCKSFault{Raw: []byte{5, 0}})
	if conn, err := d.DialContext(context.Background(), "tcp", "example.test:5222"); err == nil {
		conn.Close()
		t.Error("connected without login")
	}
}

// Two accounts never get one pair, one account always gets the same, and the
// pair tells nothing and does not outlive the process.
func TestIsolator(t *testing.T) {
	t.Parallel()
	var a, b egress.Isolator
	first := a.For("juliet", "capulet.example")
	if again := a.For("juliet", "capulet.example"); again != first {
		t.Error("the same parts gave two pairs")
	}
	if strings.Contains(first.User+first.Password, "juliet") {
		t.Error("the pair tells its parts")
	}
	seen := map[egress.Isolation][]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab", "c"}, {"a", "bc"}, {"abc"}, {"a", "b", "c"}, {"c", "ab"}} {
		iso := a.For(parts...)
		if other, ok := seen[iso]; ok {
			t.Errorf("%q and %q share a circuit", parts, other)
		}
		seen[iso] = parts
		if iso.User == "" || iso.Password == "" || len(iso.User) > 255 {
			t.Errorf("%q: %+v", parts, iso)
		}
	}
	if a.For("x") == b.For("x") {
		t.Error("two processes share a key")
	}
}

// The end of the context, or of the budget, ends a dial at once in each phase
// and leaves nothing behind.
func TestEndInEachPhase(t *testing.T) {
	// Not parallel: it counts goroutines and descriptors.
	s, err := lab.SOCKSStart("tcp", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	iso := egress.Isolation{User: "u", Password: "p"}
	const soon = 40 * time.Millisecond
	slowTor := func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
	slowLookup := func(ctx context.Context, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }
	for _, tt := range []struct {
		name   string
		route  policy.Route
		fault  lab.SOCKSFault
		tor    func(context.Context) (string, error)
		target string
	}{
		{"tor starting", tor, lab.SOCKSFault{}, slowTor, "example.test:5222"},
		{"tor greeting", tor, lab.SOCKSFault{Hang: lab.SOCKSHello}, nil, "example.test:5222"},
		{"tor login", tor, lab.SOCKSFault{Hang: lab.SOCKSLogin}, nil, "example.test:5222"},
		{"tor circuit", tor, lab.SOCKSFault{Hang: lab.SOCKSConnect}, nil, "example.test:5222"},
		{"tor onion circuit", onionOnly, lab.SOCKSFault{Hang: lab.SOCKSConnect}, nil, onionHost + ":5222"},
		{"hop greeting", hopRoute, lab.SOCKSFault{Hang: lab.SOCKSHello}, nil, "example.test:5222"},
		{"hop login", hopRoute, lab.SOCKSFault{Hang: lab.SOCKSLogin}, nil, "example.test:5222"},
		{"hop connect", hopRoute, lab.SOCKSFault{Hang: lab.SOCKSConnect}, nil, "example.test:5222"},
		{"direct lookup", direct, lab.SOCKSFault{}, nil, "example.test:5222"},
	} {
		s.SetFault(tt.fault)
		cfg := egress.Config{Tor: at(s.Addr()), SOCKS: hops(s), Lookup: slowLookup}
		if tt.tor != nil {
			cfg.Tor = tt.tor
		}
		run := func(name string, ctx context.Context, cfg egress.Config, want func(error) bool) {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				d := dialer(t, cfg, tt.route, iso)
				done := settled(t)
				start := time.Now()
				conn, err := d.DialContext(ctx, "tcp", tt.target)
				if took := time.Since(start); took > soon+3*time.Second { // a busy machine; the budgets are longer
					t.Errorf("took %v", took)
				}
				if conn != nil || !want(err) {
					t.Fatalf("got %v, %v", conn, err)
				}
				done()
			})
		}
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(soon, cancel)
		run("cancel", ctx, cfg, func(err error) bool { return errors.Is(err, context.Canceled) })
		ctx, cancel = context.WithTimeout(context.Background(), soon)
		run("deadline", ctx, cfg, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) })
		cancel()
		cfg.Budgets = egress.Budgets{Onion: soon, Exit: soon, SOCKS: soon, Direct: soon}
		run("budget", context.Background(), cfg, func(err error) bool {
			e := (*egress.Error)(nil)
			return errors.Is(err, egress.ErrTimeout) && errors.As(err, &e) && e.Hint != ""
		})
	}
	// A proxy that accepts and then says nothing is noticed by the shorter budget.
	s.SetFault(lab.SOCKSFault{Hang: lab.SOCKSHello})
	d := dialer(t, egress.Config{Tor: at(s.Addr()), Budgets: egress.Budgets{Hello: soon}}, tor, iso)
	if _, err := d.DialContext(context.Background(), "tcp", "example.test:5222"); !errors.Is(err, egress.ErrTorDown) {
		t.Errorf("a silent Tor: %v", err)
	}
}

// A connection outlives the context of its dial and carries no deadline of it,
// and the death of a proxy in mid-stream is seen as an end of the stream.
func TestAfterTheDial(t *testing.T) {
	t.Parallel()
	s := socks(t, map[string]string{"example.test:5222": speaks(t, strings.Repeat("x", 1000))})
	s.SetFault(lab.SOCKSFault{DieAfter: 10})
	for _, route := range []policy.Route{tor, hopRoute} {
		d := dialer(t, egress.Config{Tor: at(s.Addr()), SOCKS: hops(s)}, route, egress.Isolation{})
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		conn, err := d.DialContext(ctx, "tcp", "example.test:5222")
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(120 * time.Millisecond)
		if got, _ := io.ReadAll(conn); len(got) != 10 {
			t.Errorf("%v: read %d bytes, want the 10 before the cut", route, len(got))
		}
		conn.Close()
	}
}

// Hops that cannot be dialed without a lookup, or are no SOCKS5 proxy, fail
// when the program starts.
func TestHopURLs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"socks5://127.0.0.1:4447":       "",
		"socks5://[::1]:1080":           "",
		"socks5h://localhost:1080/":     "",
		"socks5://127.0.0.1":            "",
		"socks5+unix:///run/proxy.sock": "",
		"socks5://proxy.example:1080":   "looked up outside the route",
		"socks5://127.0.0.1:99999":      "not IP:PORT",
		"socks5://127.0.0.1:0":          "not IP:PORT",
		"socks5://127.0.0.1:1080/x":     "path",
		"socks5+unix://":                "empty",
		"http://127.0.0.1:8080":         "unknown scheme",
		"127.0.0.1":                     "unknown scheme",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		_, err = egress.New(egress.Config{SOCKS: map[string]*url.URL{"hop": u}})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "socks.hop")) {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
	if _, err := egress.New(egress.Config{SOCKS: map[string]*url.URL{"hop": nil}}); err == nil {
		t.Error("a hop without a url was taken")
	}
}

// A hop that is down is an error, and its sentence says so.
func TestHopDown(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	u := &url.URL{Scheme: "socks5", Host: l.Addr().String()}
	d := dialer(t, egress.Config{SOCKS: map[string]*url.URL{"hop": u}, Lookup: noLookup(t)}, hopRoute, egress.Isolation{})
	if _, err := d.DialContext(context.Background(), "tcp", echo(t)); !errors.Is(err, egress.ErrHopDown) || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("got %v", err)
	}
}
