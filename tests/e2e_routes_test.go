//go:build e2e

package tests_test

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/peers"
	"xmpp-gw/tests/tornet"
)

// route is one way from the gateway to the servers.
type route struct {
	name    string
	client  peers.TLSMode // how clients come to the gateway
	config  func(t *testing.T, g *world) string
	clients []string

	// What status has to say of every session.
	route    string
	circuit  string   // a part of its description; empty: there is none
	witness  []string // one of these
	endpoint func(g *world, s *server) string
}

var bothClients = []string{"slixmpp", "profanity"}

var routes = []route{
	{
		name: "onion", client: peers.DirectTLS, clients: bothClients, config: onionConfig,
		route: "onion-only", circuit: "hs_client_rend", witness: []string{"not asked: nobody is between Tor and an onion address"},
		endpoint: func(*world, *server) string { return ".onion:" },
	},
	{
		name: "Tor exit", client: peers.StartTLS, clients: bothClients, config: exitConfig,
		route: "tor", circuit: "3 hops", witness: []string{"the same key over a second circuit", "not asked: the key is known"},
		endpoint: func(_ *world, s *server) string {
			mode := exitMode(s)
			_, port, _ := net.SplitHostPort(s.Addr(mode))
			return map[peers.TLSMode]string{peers.StartTLS: "starttls", peers.DirectTLS: "tls"}[mode] +
				"://xmpp." + s.Domain + ":" + port
		},
	},
	{
		name: "STARTTLS", client: peers.StartTLS, clients: append(bothClients, "go-sendxmpp"),
		config: func(_ *testing.T, g *world) string { return g.direct(peers.StartTLS) },
		route:  "direct", endpoint: func(_ *world, s *server) string { return s.endpoint(peers.StartTLS) },
	},
	{
		name: "direct TLS", client: peers.DirectTLS, clients: bothClients,
		config: func(_ *testing.T, g *world) string { return g.direct(peers.DirectTLS) },
		route:  "direct", endpoint: func(_ *world, s *server) string { return s.endpoint(peers.DirectTLS) },
	},
}

// testRoutes: over every route, to every server, with every client, a login and
// messages both ways.
func testRoutes(t *testing.T, g *world) {
	for _, r := range routes {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			gw := daemon.Run(t, daemon.Options{Config: r.config(t, g)})
			before, err := gw.Usage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"prosody", "ejabberd"} {
				t.Run(name, func(t *testing.T) { r.test(t, g, gw, g.servers[name]) })
			}
			gw.Settle(t, before)
		})
	}
}

func (r route) test(t *testing.T, g *world, gw *daemon.Daemon, srv *server) {
	jidB := srv.account(t)
	bob := peers.Login(t, peers.Slixmpp, through(gw, r.client, jidB))
	for _, client := range r.clients {
		t.Run(client, func(t *testing.T) {
			jidA := srv.account(t)
			alice := peers.Login(t, peers.Clients()[client], through(gw, r.client, jidA))
			converse(t, alice, jidA, bob, jidB)
			list := r.sessions(t, gw, srv)
			if len(list) != 2 {
				t.Fatalf("%d sessions are online, want 2: %+v", len(list), list)
			}
			for _, s := range list {
				r.check(t, g, srv, s)
			}
			// Two accounts never share a circuit.
			if r.circuit != "" && circuitID(list[0]) == circuitID(list[1]) {
				t.Errorf("both sessions go through circuit %s", list[0].Circuit)
			}
		})
	}
}

// sessions waits until status tells the circuit of every session: the list of
// circuits that it shows may be a second old.
func (r route) sessions(t *testing.T, gw *daemon.Daemon, srv *server) []control.Session {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		list := gw.Sessions(t, srv.Domain)
		lacks := func(s control.Session) bool { return s.Circuit == "" }
		if r.circuit == "" || !slices.ContainsFunc(list, lacks) || time.Now().After(end) {
			return list
		}
	}
}

func circuitID(s control.Session) string {
	id, _, _ := strings.Cut(s.Circuit, " ")
	return id
}

// check compares what status says of a session with what has to be.
func (r route) check(t *testing.T, g *world, srv *server, s control.Session) {
	t.Helper()
	t.Logf("%s: %s %s, %s %s %s by %s, %s %s, circuit %q", s.Domain, s.Route, s.Endpoint,
		s.TLS.Version, s.TLS.Group, s.TLS.Cipher, s.TLS.Identity, s.SASL.Mechanism, s.SASL.Binding, s.Circuit)
	// Prosody 0.12 offers no -PLUS over TLS 1.3. ejabberd 23.01 offers it and
	// takes no binding but tls-unique, which TLS 1.3 does not have.
	mechanism := map[string]string{"prosody": "SCRAM-SHA-256", "ejabberd": "SCRAM-SHA-512"}[srv.Kind]
	witness := append(r.witness, "skipped: the route has no second circuit")[0]
	if slices.Contains(r.witness, s.TLS.Witness) {
		witness = s.TLS.Witness
	}
	for _, c := range []struct{ what, got, want string }{
		{"route", s.Route, r.route},
		{"logs", s.TLS.Logs, "not asked: the authority is the domain's own (ca)"},
		{"witness", s.TLS.Witness, witness},
		{"client TLS", s.ClientTLS, "TLS 1.3"},
		{"TLS", s.TLS.Version, "TLS 1.3"},
		{"identity", s.TLS.Identity, "DNS-ID " + srv.Domain},
		{"mode", s.SASL.Mode, "originate"},
		{"mechanism", s.SASL.Mechanism, mechanism},
		{"binding", s.SASL.Binding, ""},
	} {
		if c.got != c.want {
			t.Errorf("%s is %q, want %q", c.what, c.got, c.want)
		}
	}
	if !strings.Contains(s.Endpoint, r.endpoint(g, srv)) {
		t.Errorf("the endpoint is %q, want %q", s.Endpoint, r.endpoint(g, srv))
	}
	if !strings.Contains(s.Circuit, r.circuit) || r.circuit == "" && s.Circuit != "" {
		t.Errorf("the circuit is %q, want %q in it", s.Circuit, r.circuit)
	}
}

// direct goes to both servers without Tor.
func (g *world) direct(mode peers.TLSMode) string {
	config := blockOthers
	for _, name := range []string{"prosody", "ejabberd"} {
		s := g.servers[name]
		config += g.domain(s, `route = "direct"`, fmt.Sprintf("endpoints = [%q]", s.endpoint(mode)))
	}
	return config
}

// exitMode is how a server is announced in DNS: one for STARTTLS, the other for
// direct TLS.
func exitMode(s *server) peers.TLSMode {
	if s.Kind == "prosody" {
		return peers.StartTLS
	}
	return peers.DirectTLS
}

// exitConfig finds the servers by SRV records, which are asked for through an
// exit, as are the addresses behind them. The Tor is one of the gateway's own.
func exitConfig(t *testing.T, g *world) string {
	names, err := g.dns.Section(g.dns.TCP(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("[tor]\nmode = \"managed\"\ntorrc = %q\n", g.tor.ExtraTorrc()) + names + blockOthers
	for _, name := range []string{"prosody", "ejabberd"} {
		s := g.servers[name]
		mode := exitMode(s)
		_, port, _ := net.SplitHostPort(s.Addr(mode))
		here, none := "_xmpp-client._tcp."+s.Domain, "_xmpps-client._tcp."+s.Domain
		if mode == peers.DirectTLS {
			here, none = none, here
		}
		g.dns.SetRecords(here, "SRV 0 5 "+port+" xmpp."+s.Domain+".")
		g.dns.SetRecords(none, "SRV 0 0 0 .") // RFC 2782: decidedly not here
		g.dns.SetRecords("xmpp."+s.Domain, "A 127.0.0.1")
		config += g.domain(s, `route = "tor"`)
	}
	return config
}

// onionConfig has both servers behind an onion address. The Tor is the system's,
// so to say: one that runs already.
func onionConfig(t *testing.T, g *world) string {
	system, err := g.tor.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { system.Close() })
	config := fmt.Sprintf("[tor]\nmode = \"system\"\nsocks = [%q]\ncontrol = %q\n", system.SOCKS(), system.Control()) + blockOthers
	var ports []tornet.Port
	for i, name := range []string{"prosody", "ejabberd"} {
		ports = append(ports, tornet.Port{Virtual: 5222 + i, Target: g.servers[name].Addr(peers.StartTLS)})
	}
	svc, err := g.tor.HiddenService(t.Context(), ports...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { svc.Close() })
	for i, name := range []string{"prosody", "ejabberd"} {
		config += g.domain(g.servers[name], `route = "onion-only"`,
			fmt.Sprintf("onion = %q", net.JoinHostPort(svc.Onion, strconv.Itoa(ports[i].Virtual))))
	}
	return config
}

// testTLS12: where the server can bind the login to TLS, it is bound. These
// servers can with TLS 1.2 alone (tls-unique, RFC 5929 §3).
func testTLS12(t *testing.T, g *world) {
	config := blockOthers
	for _, name := range []string{"prosody12", "ejabberd12"} {
		s := g.servers[name]
		config += g.domain(s, `route = "direct"`, `min_tls = "1.2"`, `auth_min = "scram-plus"`,
			fmt.Sprintf("endpoints = [%q]", s.endpoint(map[string]peers.TLSMode{"prosody12": peers.StartTLS, "ejabberd12": peers.DirectTLS}[name])))
	}
	gw := daemon.Run(t, daemon.Options{Config: config})
	for name, mechanism := range map[string]string{"prosody12": "SCRAM-SHA-1-PLUS", "ejabberd12": "SCRAM-SHA-512-PLUS"} {
		t.Run(name, func(t *testing.T) {
			srv := g.servers[name]
			jidA, jidB := srv.account(t), srv.account(t)
			alice := peers.Login(t, peers.Slixmpp, through(gw, peers.StartTLS, jidA))
			bob := peers.Login(t, peers.Slixmpp, through(gw, peers.DirectTLS, jidB))
			converse(t, alice, jidA, bob, jidB)
			for _, s := range gw.Sessions(t, srv.Domain) {
				if s.TLS.Version != "TLS 1.2" || s.SASL.Mechanism != mechanism || s.SASL.Binding != "tls-unique" {
					t.Errorf("%s, %s bound by %q; want TLS 1.2, %s bound by tls-unique", s.TLS.Version, s.SASL.Mechanism, s.SASL.Binding, mechanism)
				}
			}
		})
	}
}
