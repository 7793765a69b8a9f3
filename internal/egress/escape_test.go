package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"xmpp-gw/internal/egress"
	"xmpp-gw/tests/lab"
)

// A resolv.conf's servers, and nothing else of it.
func TestSystemResolvers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("# nameserver 192.0.2.9\nsearch example.org\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\n nameserver\t2001:db8::1 # x\nnameserver nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := egress.SystemResolvers(file)
	want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.53:53"), netip.MustParseAddrPort("[fe80::1%eth0]:53"), netip.MustParseAddrPort("[2001:db8::1]:53")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	// resolv.conf(5): without a name server, it is the one on this machine.
	here := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("[::1]:53")}
	if got, err := egress.SystemResolvers(file + "x"); err != nil || !reflect.DeepEqual(got, here) {
		t.Errorf("no file: %v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("search example.org\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := egress.SystemResolvers(file); err != nil || !reflect.DeepEqual(got, here) {
		t.Errorf("a file that names none: %v, %v", got, err)
	}
	if _, err := egress.SystemResolvers(filepath.Dir(file)); err == nil {
		t.Error("a folder was read")
	}
}

// resolver answers each question by f.
func resolver(t *testing.T, f func(*dns.Msg) *dns.Msg) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dns.Msg
			if q.Unpack(buf[:n]) != nil {
				continue
			}
			if a := f(&q); a != nil {
				raw, _ := a.Pack()
				conn.WriteTo(raw, from)
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// A resolver on this machine may be there, as long as it asks nobody. The question
// has no name in it.
func TestAskResolver(t *testing.T) {
	t.Parallel()
	root := func(q *dns.Msg) *dns.Msg {
		a := new(dns.Msg).SetReply(q)
		rr, _ := dns.NewRR(". 86400 IN NS a.root-servers.net.")
		a.Answer = append(a.Answer, rr)
		return a
	}
	for _, tt := range []struct {
		name   string
		answer func(*dns.Msg) *dns.Msg
		fate   egress.Fate
		says   string
	}{
		{"one that asks others", root, egress.Left, "root's name servers"},
		{"one that refuses", func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeRefused) }, egress.Held, "REFUSED"},
		{"one that failed, perhaps at asking others", func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) }, egress.FateUnknown, "SERVFAIL"},
		{"one that says nothing", func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetReply(q) }, egress.FateUnknown, "NOERROR"},
		{"an answer to something else", func(q *dns.Msg) *dns.Msg { a := root(q); a.Id++; return a }, egress.FateUnknown, "no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := resolver(t, func(q *dns.Msg) *dns.Msg {
				if len(q.Question) != 1 || q.Question[0].Name != "." || q.Question[0].Qtype != dns.TypeNS {
					t.Errorf("the question is %v", q.Question)
				}
				return tt.answer(q)
			})
			fate, how := egress.AskResolver(t.Context(), at)
			if fate != tt.fate || !strings.Contains(how, tt.says) {
				t.Errorf("%v, %q", fate, how)
			}
		})
	}
	gone := resolver(t, func(*dns.Msg) *dns.Msg { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if fate, _ := egress.AskResolver(ctx, gone); fate != egress.FateUnknown {
		t.Errorf("silence of a resolver here: %v", fate)
	}
}

// proxyThat takes a greeting without a login, and does f with the request's command.
func proxyThat(t *testing.T, f func(c net.Conn, command byte)) string {
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
			go func() {
				defer c.Close()
				io.ReadFull(c, make([]byte, 3))
				c.Write([]byte{5, 0})
				request := make([]byte, 10)
				if _, err := io.ReadFull(c, request); err == nil {
					f(c, request[1])
				}
			}()
		}
	}()
	return l.Addr().String()
}

// What a proxy must refuse, asked of proxies that do and that do not. No name is in
// what it is asked.
func TestAskProxy(t *testing.T) {
	t.Parallel()
	reply := func(code byte) func(net.Conn, byte) {
		return func(c net.Conn, _ byte) { c.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0}) }
	}
	for _, tt := range []struct {
		name, what string
		does       func(net.Conn, byte)
		fate       egress.Fate
	}{
		{"agrees", "associate", reply(0), egress.Left},
		{"does not know it", "associate", reply(7), egress.Held},
		{"forbids it", "bind", reply(2), egress.Held},
		{"fails at it", "bind", reply(1), egress.Held},
		{"hangs up", "bind", func(net.Conn, byte) {}, egress.Held},
		{"connects", "clearnet", reply(0), egress.Left},
		{"tried to connect", "clearnet", reply(4), egress.Left},
		{"forbids others than onions", "clearnet", reply(2), egress.Held},
		{"hangs up on others than onions", "clearnet", func(net.Conn, byte) {}, egress.FateUnknown},
	} {
		t.Run(tt.what+" "+tt.name, func(t *testing.T) {
			want := map[string]byte{"associate": 3, "bind": 2, "clearnet": 1}[tt.what]
			addr := proxyThat(t, func(c net.Conn, command byte) {
				if command != want {
					t.Errorf("the command is %d, want %d", command, want)
				}
				tt.does(c, command)
			})
			set, err := egress.New(egress.Config{SOCKS: map[string]*url.URL{"hop": {Scheme: "socks5", Host: addr}}, Lookup: noLookup(t)})
			if err != nil {
				t.Fatal(err)
			}
			fate, how, err := set.AskProxy(t.Context(), hopRoute, tt.what)
			if err != nil || fate != tt.fate || how == "" {
				t.Errorf("%v, %q, %v; want %v", fate, how, err, tt.fate)
			}
		})
	}
	s := socks(t, nil)
	set, err := egress.New(egress.Config{Tor: at(s.Addr()), Lookup: noLookup(t)})
	if err != nil {
		t.Fatal(err)
	}
	if fate, how, err := set.AskProxy(t.Context(), tor, "clearnet"); fate != egress.Left || err != nil {
		t.Errorf("a tor that takes any address: %v, %q, %v", fate, how, err)
	}
	if r := s.Requests(); len(r) != 1 || r[0].Name || r[0].Target != "192.0.2.1:5222" || r[0].User == "" {
		t.Errorf("the proxy saw %+v", r)
	}
	s.SetFault(lab.SOCKSFault{RejectLogin: true})
	if _, _, err := set.AskProxy(t.Context(), tor, "bind"); !errors.Is(err, egress.ErrProxy) {
		t.Errorf("a proxy that does not take us: %v", err)
	}
	for _, route := range []struct {
		set  *egress.Set
		name string
	}{{set, "direct"}, {nil, "tor"}} {
		if _, _, err := route.set.AskProxy(t.Context(), direct, "bind"); !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s: %v", route.name, err)
		}
	}
}
