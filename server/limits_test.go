package server_test

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
)

const quick = 50 * time.Millisecond

// A client that sends too much is slowed down, not thrown out.
func TestFloodsAreSlowedDown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		limits func(*server.Limits)
	}{
		{"stanzas", func(l *server.Limits) { l.Stanzas, l.StanzasBurst = 100, 20 }},
		{"bytes", func(l *server.Limits) { l.Bytes, l.BytesBurst = 10_000, 2000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := servertest.NewWith(t, func(cfg *server.Config) { c.limits(&cfg.Limits) })
			romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
			begin := time.Now()
			const n = 60
			romeo.Send(strings.Repeat("<message to='romeo@example.org/orchard'><body>0123456789012345678901234567890123456789</body></message>", n))
			for range n {
				romeo.Expect("<message/>")
			}
			if took := time.Since(begin); took < 300*time.Millisecond || took > 5*time.Second {
				t.Errorf("%d stanzas took %v", n, took)
			}
		})
	}
}

func TestConnectionLimits(t *testing.T) {
	refused := func(t *testing.T, s *servertest.Server, peer string) bool {
		t.Helper()
		client, inner := net.Pipe()
		t.Cleanup(func() { _ = client.Close() })
		go func() {
			_ = s.ServeConn(t.Context(), inner, server.ConnOptions{Kind: server.STARTTLS, Peer: peer, Private: true})
		}()
		go func() { _, _ = io.WriteString(client, header) }()
		buf := make([]byte, 4096)
		n, err := client.Read(buf)
		for err == nil && !strings.Contains(string(buf[:n]), "</stream:features>") && !strings.Contains(string(buf[:n]), "</stream:stream>") {
			var m int
			m, err = client.Read(buf[n:])
			n += m
		}
		return strings.Contains(string(buf[:n]), "resource-constraint")
	}
	for _, c := range []struct {
		name   string
		limits server.Limits
		peers  []string
		want   string
	}{
		{"all that are not logged in", server.Limits{Unauthenticated: 2}, []string{"a", "b", "c"}, "yyy"},
		{"of one peer", server.Limits{UnauthenticatedPerPeer: 1}, []string{"a", "a", "b", "", ""}, "ynyyy"},
		{"all of one peer", server.Limits{ConnectionsPerPeer: 1}, []string{"a", "a", "b"}, "yny"},
		{"all", server.Limits{Connections: 1}, []string{"a", "b"}, "yn"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := servertest.NewWith(t, func(cfg *server.Config) { cfg.Limits = c.limits })
			got := ""
			for _, p := range c.peers {
				if refused(t, s, p) {
					got += "n"
				} else {
					got += "y"
				}
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	t.Run("the oldest that is not logged in gives way", func(t *testing.T) {
		s := servertest.NewWith(t, func(cfg *server.Config) {
			cfg.Limits.Unauthenticated, cfg.Limits.Negotiation, cfg.Limits.Drain = 3, time.Hour, time.Hour
		})
		romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
		idle := make([]net.Conn, 5)
		for i := range idle {
			client, inner := net.Pipe()
			t.Cleanup(func() { _ = client.Close() })
			go func() {
				_ = s.ServeConn(t.Context(), inner, server.ConnOptions{Kind: server.STARTTLS, Private: true})
			}()
			waitFor(t, "the connection is counted", func() bool { return s.Counts().Connections >= min(i, 3)+1 })
			idle[i] = client
		}
		for i, c := range idle[:2] {
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			said, err := io.ReadAll(c) // it is closed at once, whatever the client does
			if err != nil || !strings.Contains(string(said), "resource-constraint") {
				t.Errorf("number %d was told %q, %v", i, said, err)
			}
		}
		juliet := servertest.Dial(t, s, "juliet@example.org/balcony") // instead of number 2
		juliet.Send("<message to='romeo@example.org/orchard' type='chat' id='m'><body>hi</body></message>")
		romeo.Expect("<message><body>hi</body></message>")
		_ = idle[4].SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(idle[4], header); err != nil {
			t.Errorf("the youngest is not served: %v", err)
		}
	})
	t.Run("who logs in makes room", func(t *testing.T) {
		s := servertest.NewWith(t, func(cfg *server.Config) { cfg.Limits.Unauthenticated = 1 })
		for range 3 {
			servertest.Dial(t, s, "romeo@example.org/orchard")
		}
	})
}

// A client that does not read holds up nobody, and its session ends when too much
// waits for it.
func TestSlowReceiver(t *testing.T) {
	kept := newShelf()
	s := servertest.NewWith(t, func(cfg *server.Config) {
		cfg.Limits.Queue, cfg.Limits.Drain = 64<<10, quick
		cfg.Limits.StanzasBurst, cfg.Limits.BytesBurst = 1e9, 1e9
	}, kept)
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	body := "<message to='juliet@example.org/balcony' type='chat' id='x'><body>" + strings.Repeat("x", 10000) + "</body></message>"
	for range 2000 { // more than the sockets' own buffers take
		romeo.Send(body)
		if s.Session(juliet.JID) == nil {
			break
		}
	}
	waitFor(t, "the session ends", func() bool { return s.Session(juliet.JID) == nil })
	romeo.ExpectNothing()
	<-kept.kept // what it did not get is not lost
}

// Silence is asked about, and a client that does not answer is given up.
func TestIdle(t *testing.T) {
	t.Parallel()
	s := servertest.NewWith(t, func(cfg *server.Config) {
		cfg.Limits.IdlePing, cfg.Limits.PingTimeout, cfg.Limits.Drain = time.Second, time.Second, quick
	})
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	ping := romeo.Expect("<iq type='get' from='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
	romeo.Sendf("<iq type='result' to='example.org' id='%s'/>", ping.Attr("id"))
	juliet, _ := managed(t, s, "juliet@example.org/balcony")
	juliet.Expect("<r " + smNS + "/>")
	romeo.Expect("<iq type='get' from='example.org'/>") // asked again, and now without an answer
	romeo.ExpectStreamError(xmppstream.ConnectionTimeout)
	juliet.ExpectStreamError(xmppstream.ConnectionTimeout)
	waitFor(t, "the session that can be resumed waits", func() bool {
		one := s.Session(juliet.JID)
		return one != nil && one.Waiting()
	})
}

// Nothing is left after a shutdown: of sessions in every state.
func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		s := servertest.New(t)
		servertest.Dial(t, s, "romeo@example.org/orchard")
		juliet, _ := managed(t, s, "juliet@example.org/balcony")
		juliet.Cut()
		waitFor(t, "the session waits", s.Session(juliet.JID).Waiting)
		servertest.Plain(t, s, "example.org")
		servertest.Connect(t, s, "example.org")
		servertest.Raw(t, s.STARTTLS)
		servertest.Raw(t, s.DirectTLS)
		s.Stop(t)
		if err := s.Serve(nopListener{}, server.STARTTLS); err != server.ErrClosed {
			t.Errorf("serving after the end: %v", err)
		}
		_ = s.Store().Close()
	}()
	waitFor(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

type nopListener struct{ net.Listener }

func (nopListener) Close() error { return nil }

// Two servers in one process know nothing of each other.
func TestTwoServers(t *testing.T) {
	a := servertest.New(t)
	b := servertest.NewWith(t, func(cfg *server.Config) { cfg.Domains = []string{"example.net"} })
	romeo := servertest.Dial(t, a, "romeo@example.org/orchard")
	juliet := servertest.Dial(t, b, "juliet@example.net/balcony")
	romeo.Send("<message to='juliet@example.net/balcony' type='chat' id='1'><body>x</body></message>")
	romeo.Expect("<message type='error' id='1'><error><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
	a.Stop(t)
	juliet.ExpectNothing()
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*server.Config){
		"no domain":    func(c *server.Config) { c.Domains = nil },
		"no TLS":       func(c *server.Config) { c.TLS = nil },
		"no store":     func(c *server.Config) { c.Store = nil },
		"a bad domain": func(c *server.Config) { c.Domains = []string{"a@b"} },
		"twice":        func(c *server.Config) { c.Domains = []string{"example.org", "EXAMPLE.org"} },
		"a bad secret": func(c *server.Config) { c.Secret = []byte("short") },
		"a bad module": func(c *server.Config) { c.Modules = []server.Module{twice{}} },
	} {
		var good server.Config
		servertest.NewWith(t, func(c *server.Config) { good = *c })
		good.Store = servertest.New(t).Store()
		change(&good)
		if s, err := server.New(t.Context(), good); err == nil {
			t.Errorf("%s: a server was made", name)
			_ = s.Shutdown(t.Context())
		}
	}
}

// twice registers the same handler twice.
type twice struct{}

func (twice) Name() string { return "twice" }
func (twice) Setup(r *server.Registry) error {
	for range 2 {
		r.IQ(server.AtServer, "urn:x", "x", nil)
	}
	return nil
}
