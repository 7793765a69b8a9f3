//go:build e2e

package tornet_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/proxy"

	"xmpp-gw/onion"
	"xmpp-gw/tests/tornet"
)

// helperEnv makes the test binary a program that runs a managed Tor in the
// directory it names, so that a test can kill it.
const helperEnv = "TORNET_HELPER_DIR"

// The network and a managed Tor in it, for all tests.
var (
	network    *tornet.Network
	managed    *onion.Tor
	progress   []onion.Progress
	nameserver string
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		os.Exit(helper(dir))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "tornet-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if nameserver, err = serveNames(nameOfEcho); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if network, err = tornet.Start(ctx, tornet.Config{Dir: dir, Nameserver: nameserver}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer network.Close()
	managed, err = onion.Start(ctx, onion.Options{
		Mode:       onion.ModeManaged,
		DataDir:    filepath.Join(dir, "managed"),
		ExtraTorrc: network.ExtraTorrc(),
		Progress:   func(p onion.Progress) { progress = append(progress, p) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer managed.Close()
	return m.Run()
}

// nameOfEcho is a name that only our own DNS server knows.
const nameOfEcho = "echo.tornet.test"

// serveNames runs a DNS server that knows one host, on UDP and TCP, for the
// rest of the process.
func serveNames(host string) (string, error) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		return "", err
	}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		switch {
		case !strings.EqualFold(name, host+"."):
			a.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			a.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
				A:   net.IPv4(127, 0, 0, 1),
			}}
		case q.Question[0].Qtype == dns.TypeSRV:
			a.Answer = []dns.RR{&dns.SRV{
				Hdr:  dns.RR_Header{Name: name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 60},
				Port: 5222, Target: host + ".",
			}}
		}
		w.WriteMsg(a)
	})
	go (&dns.Server{PacketConn: udp, Handler: h}).ActivateAndServe()
	go (&dns.Server{Listener: tcp, Handler: h}).ActivateAndServe()
	return udp.LocalAddr().String(), nil
}

// helper runs a managed Tor, prints its process id and waits to be killed.
func helper(dir string) int {
	t, err := onion.Start(context.Background(), onion.Options{
		Mode:       onion.ModeManaged,
		DataDir:    dir,
		ExtraTorrc: os.Getenv(helperEnv + "_TORRC"),
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(t.PID())
	time.Sleep(time.Minute)
	t.Close()
	return 0
}

// echo serves echoes on a port of loopback until the test ends.
func echo(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
	return l.Addr().(*net.TCPAddr)
}

// dial connects to addr through the SOCKS port of a Tor, as a user.
func dial(t *testing.T, socks, user, addr string) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	return dialContext(ctx, socks, user, addr)
}

func dialContext(ctx context.Context, socks, user, addr string) (net.Conn, error) {
	network, address := "tcp", socks
	if path, ok := strings.CutPrefix(socks, "unix:"); ok {
		network, address = "unix", path
	}
	d, err := proxy.SOCKS5(network, address, &proxy.Auth{User: user, Password: "p"}, nil)
	if err != nil {
		return nil, err
	}
	return d.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
}

// open is dial and one echo; the connection stays open until the test ends.
func open(t *testing.T, socks, user, addr string) net.Conn {
	t.Helper()
	c, err := dial(t, socks, user, addr)
	if err != nil {
		t.Fatalf("connect to %s: %v", addr, err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	const line = "over many hops\n"
	if _, err := io.WriteString(c, line); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(c).ReadString('\n'); got != line {
		t.Fatalf("the echo through %s was %q, %v", addr, got, err)
	}
	return c
}
