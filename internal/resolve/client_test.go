package resolve_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// certificate makes a self-signed certificate for names and addresses, and the
// pool that trusts it.
func certificate(t *testing.T, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

func start(t *testing.T, zone lab.DNSZone, conf *tls.Config) *lab.DNSServer {
	t.Helper()
	s, err := lab.DNSStart(zone, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func client(t *testing.T, roots *x509.CertPool, servers ...string) *resolve.Client {
	t.Helper()
	list, err := resolve.ParseServers(servers)
	if err != nil {
		t.Fatal(err)
	}
	c := resolve.New(list, new(net.Dialer), roots)
	c.Timeout = 5 * time.Second
	return c
}

const srvName = "_xmpp-client._tcp.example.test"

// zone is an ordinary domain.
func zone() lab.DNSZone {
	return lab.DNSZone{
		srvName:                           {"SRV 10 5 5222 XMPP.example.test."},
		"_xmpps-client._tcp.example.test": {"SRV 5 5 443 xmpp.example.test."},
		"xmpp.example.test":               {"A 192.0.2.1", "A 192.0.2.2", "AAAA 2001:db8::1"},
		"alias.example.test":              {"CNAME alias2.example.test."},
		"alias2.example.test":             {"CNAME xmpp.example.test."},
		"_xmpp-client._tcp.moved.test":    {"CNAME " + srvName + "."},
		"loop.test":                       {"CNAME loop.test."},
		"v4.test":                         {"A 192.0.2.4"},
	}
}

func TestClientAnswers(t *testing.T) {
	t.Parallel()
	conf, roots := certificate(t, "dns.test", "127.0.0.1")
	s := start(t, zone(), conf)
	for _, server := range []string{s.TCP(), s.TLS("dns.test"), s.TLS("")} {
		c := client(t, roots, server)
		ctx := context.Background()
		want := resolve.SRV{Target: "xmpp.example.test", Port: 5222, Priority: 10, Weight: 5}
		for _, name := range []string{srvName, strings.ToUpper(srvName) + ".", "_xmpp-client._tcp.moved.test"} {
			if got, err := c.SRV(ctx, name); err != nil || len(got) != 1 || got[0] != want {
				t.Errorf("%s: SRV %s = %v, %v", server, name, got, err)
			}
		}
		for _, name := range []string{"_xmpp-client._tcp.nobody.test", "example.test", "xmpp.example.test", "loop.test"} {
			if got, err := c.SRV(ctx, name); err != nil || len(got) != 0 {
				t.Errorf("%s: SRV %s = %v, %v, want none and no error", server, name, got, err)
			}
		}
		for host, want := range map[string]string{
			"xmpp.example.test":  "[2001:db8::1 192.0.2.1 192.0.2.2]",
			"ALIAS.example.test": "[2001:db8::1 192.0.2.1 192.0.2.2]",
			"v4.test.":           "[192.0.2.4]",
			"192.0.2.9":          "[192.0.2.9]",
			"[2001:db8::9]":      "[2001:db8::9]",
		} {
			if got, err := c.Addrs(ctx, host); err != nil || fmt.Sprint(got) != want {
				t.Errorf("%s: Addrs(%s) = %v, %v", server, host, got, err)
			}
		}
		for _, host := range []string{"nobody.test", "example.test", "loop.test"} {
			if got, err := c.Addrs(ctx, host); got != nil || !errors.Is(err, resolve.ErrNoName) {
				t.Errorf("%s: Addrs(%s) = %v, %v", server, host, got, err)
			}
		}
	}
	for _, q := range s.Queries() {
		if q.Padded != (q.Over == "tls") || q.Padded && q.Size%128 != 0 {
			t.Errorf("query %+v: padding belongs to TLS, in blocks of 128", q)
		}
	}
	settle(t, s)
}

// settle waits until no connection is open.
func settle(t *testing.T, s *lab.DNSServer) {
	t.Helper()
	for range 200 {
		if s.Open() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d connections are still open", s.Open())
}

// The server must have the name of the configuration: another, or none that is
// trusted, is as good as no server.
func TestClientVerifiesServer(t *testing.T) {
	t.Parallel()
	conf, roots := certificate(t, "dns.test")
	s := start(t, zone(), conf)
	for _, tt := range []struct {
		label  string
		server string
		roots  *x509.CertPool
	}{
		{"another name", s.TLS("other.test"), roots},
		{"no address in the certificate", s.TLS(""), roots},
		{"an unknown root", s.TLS("dns.test"), x509.NewCertPool()},
		{"no TLS there", "tls://" + s.Addr() + "#dns.test", roots},
	} {
		c := client(t, tt.roots, tt.server)
		c.Timeout = time.Second // the server without TLS waits for more
		_, err := c.SRV(context.Background(), srvName)
		if !errors.Is(err, resolve.ErrNoAnswer) {
			t.Errorf("%s: %v", tt.label, err)
		}
	}
	if n := len(s.Queries()); n != 0 {
		t.Errorf("%d queries were sent to servers that did not prove themselves", n)
	}
}

// A server that fails is passed over, with the reason; one that says "no such
// record" is believed.
func TestClientFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		label string
		fault lab.DNSFault
		want  string // of the error; empty: the answer is taken
		n     int    // records
	}{
		{"SERVFAIL", lab.DNSFault{Rcode: 2}, "SERVFAIL", 0},
		{"REFUSED", lab.DNSFault{Rcode: 5}, "REFUSED", 0},
		{"an unknown code", lab.DNSFault{Rcode: 14}, "error 14", 0},
		{"silence", lab.DNSFault{Silent: true}, "no answer within 300ms", 0},
		{"too late", lab.DNSFault{Delay: time.Second}, "no answer within 300ms", 0},
		{"hangs up", lab.DNSFault{Hangup: true}, "closed the connection", 0},
		{"truncated over TCP", lab.DNSFault{Truncate: true}, "cut its answer short", 0},
		{"a referral", lab.DNSFault{Referral: true}, "does not resolve names for others", 0},
		{"another question", lab.DNSFault{OtherQuestion: true}, "another question", 0},
		{"another id", lab.DNSFault{OtherID: true}, "no answer within 300ms", 0},
		{"garbage", lab.DNSFault{Raw: []byte("HTTP/1.1 400 Bad Request")}, "cannot be read", 0},
		{"an empty message", lab.DNSFault{Raw: []byte{}}, "cannot be read", 0},
		{"a query in place of an answer", lab.DNSFault{Raw: make([]byte, 12)}, "no answer within 300ms", 0},
		{"records of another name", lab.DNSFault{OtherName: true}, "", 0},
		{"NXDOMAIN", lab.DNSFault{Rcode: 3}, "", 0},
		{"empty", lab.DNSFault{Empty: true}, "", 0},
		{"a CNAME to nowhere", lab.DNSFault{Lie: []string{"CNAME nowhere.test."}}, "", 0},
		{"records of another type", lab.DNSFault{Lie: []string{"A 192.0.2.1", "TXT hello"}}, "", 0},
		{"10,000 records", lab.DNSFault{Flood: 10000}, "", resolve.MaxRecords},
		{"slow, but in time", lab.DNSFault{Delay: 50 * time.Millisecond}, "", 1},
	} {
		t.Run(tt.label, func(t *testing.T) {
			t.Parallel()
			bad, good := start(t, zone(), nil), start(t, zone(), nil)
			bad.SetFault("", tt.fault)
			alone := client(t, nil, bad.TCP())
			alone.Timeout = 300 * time.Millisecond
			got, err := alone.SRV(context.Background(), srvName)
			if len(got) != tt.n || (err != nil) != (tt.want != "") {
				t.Fatalf("alone: %d records, %v", len(got), err)
			}
			if tt.n > 1 && got[0].Priority > got[1].Priority {
				t.Error("the cut did not keep the best priorities")
			}
			if tt.want != "" {
				if !errors.Is(err, resolve.ErrNoAnswer) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("alone: %v, want %q", err, tt.want)
				}
				both := client(t, nil, bad.TCP(), good.TCP())
				both.Timeout = 300 * time.Millisecond
				if got, err := both.SRV(context.Background(), srvName); err != nil || len(got) != 1 {
					t.Fatalf("with a good second server: %v, %v", got, err)
				}
				// The one that answered is remembered, over other dialers too.
				before := len(bad.Queries())
				if _, err := both.Over(new(net.Dialer)).SRV(context.Background(), srvName); err != nil {
					t.Fatal(err)
				}
				if n := len(bad.Queries()); n != before {
					t.Error("the bad server was asked again first")
				}
			} else {
				both := client(t, nil, bad.TCP(), good.TCP())
				both.SRV(context.Background(), srvName)
				if n := len(good.Queries()); n != 0 {
					t.Errorf("an answer was not believed: the second server got %d queries", n)
				}
			}
			settle(t, bad)
			settle(t, good)
		})
	}
}

// Questions that are asked together share a connection, answers may come in any
// order, and a server that closes behind each answer still answers all.
func TestClientPipelines(t *testing.T) {
	t.Parallel()
	z := lab.DNSZone{}
	for i := range 10 {
		z[fmt.Sprintf("h%d.test", i)] = []string{fmt.Sprintf("SRV 0 0 %d t.test.", 1000+i)}
	}
	s := start(t, z, nil)
	c := client(t, nil, s.TCP())
	all := func(n int) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range n {
			s.SetFault(fmt.Sprintf("h%d.test", i), lab.DNSFault{Delay: time.Duration(n-i) * 10 * time.Millisecond})
		}
		for i := range n {
			wg.Go(func() {
				got, err := c.SRV(context.Background(), fmt.Sprintf("h%d.test", i))
				if err != nil || len(got) != 1 || got[0].Port != uint16(1000+i) {
					t.Errorf("h%d: %v, %v", i, got, err)
				}
			})
		}
		wg.Wait()
	}
	all(10)
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections for ten questions at once", n)
	}
	settle(t, s)

	once := start(t, z, nil)
	once.SetFault("", lab.DNSFault{Once: true})
	c = client(t, nil, once.TCP())
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			if got, err := c.SRV(context.Background(), fmt.Sprintf("h%d.test", i)); err != nil || len(got) != 1 {
				t.Errorf("closing server, h%d: %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

// forbidden is a dialer that must not be used.
type forbidden struct{ t *testing.T }

func (f forbidden) DialContext(context.Context, string, string) (net.Conn, error) {
	f.t.Error("a connection was made")
	return nil, errors.New("forbidden")
}

// Names that are not for DNS are not asked, and clients that cannot ask say so.
func TestClientRefuses(t *testing.T) {
	t.Parallel()
	list, err := resolve.ParseServers([]string{"tcp://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	c := resolve.New(list, forbidden{t}, nil)
	for _, name := range []string{"x.onion", "_xmpp-client._tcp.X.ONION.", "localhost", "a.localhost", "", ".", "a..b",
		"a b.test", "x\n.test", strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 127) + "test"} {
		if _, err := c.SRV(context.Background(), name); !errors.Is(err, resolve.ErrRefused) {
			t.Errorf("SRV(%q): %v", name, err)
		}
		if _, err := c.Addrs(context.Background(), name); !errors.Is(err, resolve.ErrRefused) {
			t.Errorf("Addrs(%q): %v", name, err)
		}
	}
	for label, c := range map[string]*resolve.Client{
		"the zero client": new(resolve.Client), "no server": resolve.New(nil, forbidden{t}, nil), "no dialer": resolve.New(list, nil, nil),
	} {
		if _, err := c.SRV(context.Background(), srvName); !errors.Is(err, resolve.ErrNoAnswer) {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// The end of the context ends a question at once, in the dial and behind it,
// and closes the connection.
func TestClientCancel(t *testing.T) {
	// Not parallel: it counts goroutines.
	s, err := lab.DNSStart(zone(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetFault("", lab.DNSFault{Silent: true})
	proxy, err := lab.SOCKSStart("tcp", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	proxy.SetFault(lab.SOCKSFault{Hang: lab.SOCKSConnect})
	before, fds := runtime.NumGoroutine(), descriptors(t)

	list, err := resolve.ParseServers([]string{s.TCP(), s.TCP()})
	if err != nil {
		t.Fatal(err)
	}
	for label, d := range map[string]egress.Dialer{"silent": new(net.Dialer), "dialing": torDialer(t, proxy.Addr())} {
		c := resolve.New(list, d, nil)
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		begin := time.Now()
		_, err := c.Addrs(ctx, "xmpp.example.test")
		if !errors.Is(err, context.Canceled) || time.Since(begin) > time.Second {
			t.Errorf("%s: %v after %v", label, err, time.Since(begin))
		}
	}
	for range 300 {
		if runtime.NumGoroutine() <= before && descriptors(t) <= fds {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before; %d descriptors, %d before", runtime.NumGoroutine(), before, descriptors(t), fds)
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func torDialer(t *testing.T, socks string) egress.Dialer {
	t.Helper()
	set, err := egress.New(egress.Config{Tor: func(context.Context) (string, error) { return socks, nil }})
	if err != nil {
		t.Fatal(err)
	}
	d, err := set.Dialer(policy.Route{Kind: policy.RouteTor}, new(egress.Isolator).For("dns"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Over Tor the DNS server is reached through the proxy alone: its address leads
// nowhere but in the proxy's table, and the answer is for a name that only that
// server knows.
func TestDiscoverOverTor(t *testing.T) {
	t.Parallel()
	conf, roots := certificate(t, "dns.test")
	s := start(t, zone(), conf)
	proxy, err := lab.SOCKSStart("tcp", "127.0.0.1:0", map[string]string{"192.0.2.53:853": strings.TrimPrefix(s.TLS(""), "tls://")})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	list, err := resolve.ParseServers([]string{"tls://192.0.2.53#dns.test"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := resolve.Discover(context.Background(), resolve.New(list, torDialer(t, proxy.Addr()), roots), "Example.test", resolve.Options{Onion: true})
	if err != nil || fmt.Sprint(got) != "[tls://xmpp.example.test:443 starttls://xmpp.example.test:5222]" {
		t.Fatalf("got %v, %v", got, err)
	}
	if r := proxy.Requests(); len(r) > 2 || len(r) == 0 {
		t.Errorf("the proxy saw %+v", r)
	}
	// And the addresses serve the direct route's lookup as they are.
	var _ egress.Lookup = resolve.New(list, nil, nil).Addrs
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"tls://9.9.9.9:853#dns.quad9.net": "tls://9.9.9.9:853#dns.quad9.net",
		"tls://9.9.9.9#DNS.quad9.net":     "tls://9.9.9.9:853#dns.quad9.net",
		"tls://9.9.9.9":                   "tls://9.9.9.9:853",
		"tcp://127.0.0.1":                 "tcp://127.0.0.1:53",
		"tcp://[::1]:5300":                "tcp://[::1]:5300",
		"tls://[2620:fe::fe]":             "tls://[2620:fe::fe]:853",
		"tls://2620:fe::fe":               "tls://[2620:fe::fe]:853",
		"tcp://abc.onion":                 "tcp://abc.onion:53",
		"udp://9.9.9.9":                   "",
		"9.9.9.9":                         "",
		"":                                "",
		"tcp://":                          "",
		"tcp://dns.example":               "",
		"tls://dns.example:853":           "",
		"tcp://127.0.0.1:0":               "",
		"tcp://127.0.0.1:dns":             "",
		"tcp://127.0.0.1:70000":           "",
		"tcp://127.0.0.1#name":            "",
		"tls://9.9.9.9#":                  "",
		"tls://9.9.9.9#a b":               "",
		"https://dns.quad9.net/dns-query": "",
	} {
		s, err := resolve.ParseServer(in)
		if want == "" {
			if err == nil {
				t.Errorf("%q was taken as %v", in, s)
			}
			continue
		}
		if err != nil || s.String() != want {
			t.Errorf("%q = %v, %v, want %s", in, s, err, want)
		}
		if again, err := resolve.ParseServer(s.String()); err != nil || again != s {
			t.Errorf("%q does not read back: %v, %v", s, again, err)
		}
	}
	_, err := resolve.ParseServers([]string{"one", "tcp://127.0.0.1", "two"})
	if err == nil || !strings.Contains(err.Error(), `"one"`) || !strings.Contains(err.Error(), `"two"`) {
		t.Errorf("not all mistakes at once: %v", err)
	}
}

func TestToASCII(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"example.org": "example.org", "EXAMPLE.org.": "example.org", "bücher.example": "xn--bcher-kva.example",
		"BÜCHER.example": "xn--bcher-kva.example", "faß.example": "xn--fa-hia.example", "ｅｘａｍｐｌｅ.org": "example.org",
		"192.0.2.1": "192.0.2.1", "[2001:DB8::1]": "2001:db8::1", "2001:db8::1": "2001:db8::1", "ab--cd.example": "ab--cd.example",
		"::ffff:192.0.2.1": "192.0.2.1", "fe80::1%eth0": "", "127.1": "", // as policy has it
		"": "", ".": "", "a..b": "", "a b": "", "-a.example": "", "xn--.example": "", "[192.0.2.1": "", "a_b@c": "", "exa\x00mple": "",
		strings.Repeat("a", 64) + ".org": "", strings.Repeat("a.", 127) + "org": "",
	} {
		got, err := resolve.ToASCII(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ToASCII(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if ip := netip.MustParseAddr("::1"); ip.IsLoopback() {
		if got, _ := resolve.ToASCII("[::1]"); got != "::1" {
			t.Errorf("[::1] = %q", got)
		}
	}
}
