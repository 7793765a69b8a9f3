package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
)

// chat is a message of a usual size, 340 bytes with its addresses.
const chat = "<message to='%s' id='5fbd5c3e-9d32-4d0b' type='chat'><body>Art thou not Romeo? Neither, o fair saint, if either thee dislike.</body>" +
	"<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='5fbd5c3e-9d32-4d0b'/></message>"

// benchMessages has pairs of sessions of which one sends and the other receives.
func benchMessages(b *testing.B, secure bool, pairs, window int) {
	s := servertest.NewWith(b, func(c *server.Config) { c.Limits.Bytes, c.Limits.Stanzas = -1, -1 })
	type pair struct {
		from, to net.Conn
		burst    []byte
	}
	list := make([]pair, pairs)
	dial := func(jid string) net.Conn {
		if secure {
			c := servertest.Dial(b, s, jid)
			return c.Conn
		}
		return plainClient(b, s, jid).Conn
	}
	for i := range list {
		to := fmt.Sprintf("u%d@example.org/b", 2*i+1)
		list[i] = pair{dial(fmt.Sprintf("u%d@example.org/a", 2*i)), dial(to), []byte(strings.Repeat(fmt.Sprintf(chat, to), window))}
		_ = list[i].from.SetDeadline(time.Time{})
		_ = list[i].to.SetDeadline(time.Time{})
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, p := range list {
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for sent := 0; sent < b.N/pairs+1; sent += window {
				if _, err := p.from.Write(p.burst); err != nil {
					b.Error(err)
					return
				}
				for got := 0; got < window; {
					n, err := p.to.Read(buf)
					if err != nil {
						b.Error(err)
						return
					}
					got += bytes.Count(buf[:n], []byte("</message>"))
					if tail := buf[:n]; n < 10 || !bytes.HasSuffix(tail, []byte(">")) {
						// A message end may be cut in two; the next read completes it.
						m, err := p.to.Read(buf[n : n+1])
						for err == nil && buf[n+m-1] != '>' {
							n += m
							m, err = p.to.Read(buf[n : n+1])
						}
						if bytes.HasSuffix(buf[:n+m], []byte("</message>")) {
							got++
						}
					}
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// plainClient logs in without TLS, as is allowed where nobody can listen.
func plainClient(tb testing.TB, s *servertest.Server, jid string) *servertest.Client {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_ = s.ServeConn(tb.Context(), conn, server.ConnOptions{Kind: server.STARTTLS, Private: true})
		}
	}()
	s.Account(tb, jid)
	a := servertest.Address(tb, jid)
	c := servertest.Raw(tb, l.Addr().String())
	c.Domain = a.Domain
	c.Open()
	c.Login(a.Local)
	c.Bind(a.Resource)
	return c
}

func BenchmarkMessagesPlain(b *testing.B)   { benchMessages(b, false, 16, 1) }
func BenchmarkMessagesTLS(b *testing.B)     { benchMessages(b, true, 16, 1) }
func BenchmarkBurstsPlain(b *testing.B)     { benchMessages(b, false, 16, 20) }
func BenchmarkBurstsTLS(b *testing.B)       { benchMessages(b, true, 16, 20) }
func BenchmarkIdleSessionsTLS(b *testing.B) { benchIdle(b, 2000) }

// benchIdle measures what an idle session costs the server: the clients are left
// out by giving up all of theirs but the socket.
func benchIdle(b *testing.B, n int) {
	s := servertest.New(b)
	s.Account(b, "romeo@example.org")
	conns := make([]net.Conn, n)
	for i := range n {
		s.Account(b, fmt.Sprintf("u%d@example.org", i/20))
	}
	settle := func() uint64 {
		for range 3 {
			runtime.GC()
		}
		debug.FreeOSMemory()
		return resident(b)
	}
	for b.Loop() {
		before := settle()
		for i := range n {
			c := servertest.Dial(b, s, fmt.Sprintf("u%d@example.org/%d", i/20, i))
			c.Send("<presence/>")
			c.Drain()
			conns[i] = c.Forget()
		}
		b.ReportMetric(float64(settle()-before)/float64(n), "B/session")
		for _, c := range conns {
			_ = c.Close()
		}
		waitFor2(b, func() bool { return len(s.Sessions(servertest.Address(b, "u0@example.org"))) == 0 })
	}
}

func waitFor2(tb testing.TB, f func() bool) {
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal("sessions do not end")
		}
	}
}

// resident is the memory of this process in bytes.
func resident(tb testing.TB) uint64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	all, _ := io.ReadAll(f)
	_, rest, _ := strings.Cut(string(all), "VmRSS:")
	kb, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return kb << 10
}
