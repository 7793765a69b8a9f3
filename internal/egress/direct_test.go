package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"xmpp-gw/policy"
)

func ips(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestInterleave(t *testing.T) {
	for _, tt := range []struct{ in, want []netip.Addr }{
		{ips("2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"), ips("2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2")},
		{ips("192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3"), ips("192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3")},
		{ips("192.0.2.1", "192.0.2.2"), ips("192.0.2.1", "192.0.2.2")},
		{ips("2001:db8::1"), ips("2001:db8::1")},
	} {
		if got := interleave(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("interleave(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

// fakeConn counts what is open.
type fakeConn struct {
	net.Conn
	addr netip.AddrPort
	open *sync.Map
}

func (c *fakeConn) Close() error { c.open.Delete(c.addr); return nil }

// TestRace runs happy eyeballs on a clock of its own (RFC 8305 §5).
func TestRace(t *testing.T) {
	type server struct {
		after time.Duration // 0: never answers
		err   error
		deaf  bool // connects even though it was cancelled
	}
	const ms = time.Millisecond
	unreachable := fmt.Errorf("v6: %w", syscall.ENETUNREACH)
	refused := fmt.Errorf("v4: %w", syscall.ECONNREFUSED)
	for _, tt := range []struct {
		name    string
		servers []server
		winner  int // -1: none
		took    time.Duration
		started int
		err     error
	}{
		{"the first answers", []server{{after: 10 * ms}, {after: 10 * ms}}, 0, 10 * ms, 1, nil},
		{"the first is slow, but sooner", []server{{after: 300 * ms}, {after: 100 * ms}}, 0, 300 * ms, 2, nil},
		{"the first never answers", []server{{}, {after: 10 * ms}}, 1, 260 * ms, 2, nil},
		{"the first fails: the next begins at once", []server{{after: 5 * ms, err: unreachable}, {after: 10 * ms}}, 1, 15 * ms, 2, nil},
		{"three in a row", []server{{}, {}, {after: 10 * ms}}, 2, 510 * ms, 3, nil},
		{"all fail", []server{{after: 5 * ms, err: unreachable}, {after: 10 * ms, err: refused}}, -1, 15 * ms, 2, refused},
		{"a late winner is closed", []server{{after: 260 * ms}, {after: 20 * ms, deaf: true}}, 0, 270 * ms, 2, nil},
		{"nobody answers", []server{{}, {}}, -1, 2 * time.Second, 2, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var open sync.Map
				var mu sync.Mutex
				started := 0
				dial := func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
					mu.Lock()
					started++
					mu.Unlock()
					s := tt.servers[a.Port()-1]
					var answer <-chan time.Time
					if s.after > 0 {
						answer = time.After(s.after)
					}
					end := ctx.Done()
					if s.deaf {
						end = nil
					}
					select {
					case <-answer:
						if s.err != nil {
							return nil, s.err
						}
						open.Store(a, true)
						return &fakeConn{addr: a, open: &open}, nil
					case <-end:
						return nil, ctx.Err()
					}
				}
				var addrs []netip.AddrPort
				for i := range tt.servers {
					addrs = append(addrs, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i+1)))
				}
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				begin := time.Now()
				conn, err := race(ctx, addrs, stagger, dial)
				if took := time.Since(begin); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if started != tt.started {
					t.Errorf("%d attempts, want %d", started, tt.started)
				}
				if tt.winner < 0 {
					if conn != nil || !errors.Is(err, tt.err) {
						t.Fatalf("got %v, %v, want %v", conn, err, tt.err)
					}
					return
				}
				if err != nil || conn.(*fakeConn).addr != addrs[tt.winner] {
					t.Fatalf("got %v, %v, want number %d", conn, err, tt.winner)
				}
				n := 0
				open.Range(func(_, _ any) bool { n++; return true })
				if n != 1 {
					t.Errorf("%d connections are open, want the winner's", n)
				}
			})
		})
	}
}

// The direct route asks its lookup for names and for nothing else.
func TestDirect(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, tt := range []struct {
		name   string
		host   string
		answer []netip.Addr
		fails  error
		looked string
		kind   error
		text   string
	}{
		{"a name", "example.test", ips("127.0.0.1"), nil, "example.test", nil, ""},
		{"a name with a final dot", "example.test.", ips("127.0.0.1"), nil, "example.test", nil, ""},
		{"an address mapped into IPv6", "example.test", ips("::ffff:127.0.0.1"), nil, "example.test", nil, ""},
		{"a dead address first", "example.test", ips("127.0.0.2", "127.0.0.1"), nil, "example.test", nil, ""},
		{"an IP literal", "127.0.0.1", nil, nil, "", nil, ""},
		{"localhost", "localhost", nil, nil, "", nil, ""},
		{"below localhost", "xmpp.LocalHost.", nil, nil, "", nil, ""},
		{"no address", "example.test", nil, nil, "example.test", ErrNoName, "no address"},
		{"a lookup that fails", "example.test", nil, errors.New("all servers failed"), "example.test", ErrNoName, "all servers failed"},
		{"nobody listens", "example.test", ips("127.0.0.2"), nil, "example.test", ErrUnreachable, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var looked []string
			s, err := New(Config{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
				looked = append(looked, host)
				return tt.answer, tt.fails
			}})
			if err != nil {
				t.Fatal(err)
			}
			d, err := s.Dialer(policy.Route{Kind: policy.RouteDirect}, Isolation{})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := d.DialContext(context.Background(), "tcp", net.JoinHostPort(tt.host, port))
			if got := strings.Join(looked, " "); got != tt.looked {
				t.Errorf("looked up %q, want %q", got, tt.looked)
			}
			if tt.kind == nil {
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				return
			}
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "127.0.0.") {
				t.Errorf("the sentence has an address: %v", err)
			}
		})
	}
}

// The network argument limits the families.
func TestKeepFamily(t *testing.T) {
	all := append(ips("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.2"), netip.Addr{})
	for network, want := range map[string]int{"tcp": 3, "tcp4": 2, "tcp6": 1} {
		if got := keepFamily(all, network); len(got) != want {
			t.Errorf("%s keeps %v", network, got)
		}
	}
}
