package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

const (
	someOnion  = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
	otherOnion = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"
)

// lookup is an SRVLookup of known answers.
type lookup struct {
	mu      sync.Mutex
	records []resolve.SRV
	err     error
	asked   int
}

func (l *lookup) SRV(_ context.Context, name string) ([]resolve.SRV, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if strings.HasPrefix(name, "_xmpps") {
		return nil, l.err
	}
	return l.records, l.err
}

func (l *lookup) set(records ...resolve.SRV) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = records
}

// reached is an OnionMemory.
type reached struct {
	mu   sync.Mutex
	list []string
}

func (r *reached) Reached(domain string, e policy.Endpoint) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, domain+" "+e.String())
	return nil
}

func (r *reached) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.list, ", ")
}

// hills is a ground behind Tor: a SOCKS server that alone knows the onion, DNS of
// known answers, and a memory.
type hills struct {
	*ground
	socks  *lab.SOCKSServer
	dns    *lookup
	memory *reached
}

func newHills(t *testing.T, script func(*ground, *lab.ScriptConn), change func(*policy.Decision)) *hills {
	t.Helper()
	h := &hills{dns: &lookup{}, memory: &reached{}}
	var err error
	h.socks, err = lab.SOCKSStart("tcp", "127.0.0.1:0", nil)
	check(t, err)
	t.Cleanup(func() { h.socks.Close() })
	h.ground = newGround(t, script, func(d *policy.Decision, c *Config) {
		set, err := egress.New(egress.Config{Tor: func(context.Context) (string, error) { return h.socks.Addr(), nil },
			Budgets: egress.Budgets{Onion: 5 * time.Second, Exit: 5 * time.Second}})
		check(t, err)
		c.Egress = set
		c.Lookup = func(egress.Dialer) resolve.SRVLookup { return h.dns }
		c.Onions = h.memory
		d.Route.Kind, d.Endpoints, d.Upgrade = policy.RouteTor, nil, policy.UpgradeSticky
		d.DNSSEC = policy.DNSSECOff // what DNS is worth has tests of its own
		if change != nil {
			change(d)
		}
	})
	return h
}

// arrive logs in and gives what the client was told where that failed.
func (h *hills) arrive() string {
	h.t.Helper()
	c := h.dial()
	c.startTLS(h.ground)
	c.auth(testUser, testPassword)
	got := c.expect(`<success[^>]*/>|</stream:error>|</failure>`)
	if strings.Contains(got, "<success") {
		_ = c.Close()
		return ""
	}
	return got
}

func (h *hills) asked() string {
	var list []string
	for _, r := range h.socks.Requests() {
		list = append(list, r.Target)
	}
	return strings.Join(list, " ")
}

func srv(host string, priority uint16) resolve.SRV {
	return resolve.SRV{Target: host, Port: 5222, Priority: priority}
}

// An onion that SRV names goes first, TLS must prove the domain there, and only a
// login that succeeded is remembered.
func TestDiscoveredOnion(t *testing.T) {
	t.Parallel()
	h := newHills(t, good, nil)
	h.dns.set(srv("xmpp.example.org", 0), srv(someOnion, 50))
	h.socks.Map(someOnion+":5222", h.server.Addr())
	if got := h.arrive(); got != "" {
		t.Fatal(got)
	}
	if got, want := h.memory.String(), testDomain+" starttls://"+someOnion+":5222"; got != want {
		t.Errorf("remembered %q, want %q", got, want)
	}
	if got := h.asked(); strings.Contains(got, "xmpp.example.org") || strings.Count(got, testDomain+":443") > 1 {
		t.Errorf("asked for %s", got)
	}
}

func TestForgedOnion(t *testing.T) {
	t.Parallel()
	ca, err := lab.NewCA()
	check(t, err)
	evil, err := ca.Leaf(lab.CALeaf{Names: []string{testDomain}})
	check(t, err)
	for name, script := range map[string]func(*ground, *lab.ScriptConn){
		"no TLS": func(_ *ground, c *lab.ScriptConn) {
			c.Open(testDomain, lab.FeatureSASL("SCRAM-SHA-256", "PLAIN"))
			c.Hang()
		},
		"another certificate": func(_ *ground, c *lab.ScriptConn) { c.STARTTLS(testDomain, evil); c.Hang() },
		"a wrong proof (SASL)": func(g *ground, c *lab.ScriptConn) {
			c.STARTTLS(testDomain, g.cert)
			c.Open(testDomain, lab.FeatureSASL("SCRAM-SHA-256"))
			c.SCRAM(testUser, testPassword, func(string) string { return "v=AAAA" })
		},
	} {
		h := newHills(t, script, nil)
		h.dns.set(srv(someOnion, 0))
		h.socks.Map(someOnion+":5222", h.server.Addr())
		got := h.arrive()
		if got == "" || h.memory.String() != "" {
			t.Errorf("%s: %q, remembered %q", name, got, h.memory)
		}
		if sent := h.server.Received(); strings.Contains(sent, "PLAIN") {
			t.Errorf("%s: the server got %s", name, sent)
		}
	}
}

// A web server names an onion, in host-meta; the endpoint is a WebSocket.
func TestHostMetaOnion(t *testing.T) {
	t.Parallel()
	h := newHills(t, func(g *ground, c *lab.ScriptConn) {
		req := c.HTTPS(g.cert)
		if req.Host == testDomain {
			body := `<XRD xmlns="http://docs.oasis-open.org/ns/xri/xrd-1.0"><Link rel="urn:xmpp:alt-connections:websocket" href="wss://` + someOnion + `/ws"/></XRD>`
			c.Answer(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		}
		c.WebSocket(req, "xmpp")
		c.WebLogin(testDomain, testUser, testPassword)
		echo(c)
	}, nil)
	h.dns.set(srv("xmpp.example.org", 0))
	h.socks.Map(testDomain+":443", h.server.Addr())
	h.socks.Map(someOnion+":443", h.server.Addr())
	for range 2 {
		if got := h.arrive(); got != "" {
			t.Fatal(got)
		}
	}
	if got, want := h.memory.String(), testDomain+" wss://"+someOnion+":443/ws"; !strings.HasPrefix(got, want) {
		t.Errorf("remembered %q, want %q", got, want)
	}
	if got := h.asked(); strings.Count(got, testDomain+":443") != 1 || strings.Contains(got, "xmpp.example.org") {
		t.Errorf("asked for %s", got)
	}
	users := func() map[string]bool {
		m := map[string]bool{}
		for _, r := range h.socks.Requests() {
			m[r.User] = true
		}
		return m
	}
	if got := users(); len(got) != 1 { // one account, one circuit; the web server no other
		t.Errorf("SOCKS users %v", got)
	}
	// Tor might give a circuit that led to nobody once more: not after a failure.
	h.socks.Map(someOnion+":443", "127.0.0.1:1")
	if h.arrive() == "" {
		t.Fatal("arrived where nobody is")
	}
	h.socks.Map(someOnion+":443", h.server.Addr())
	if got := h.arrive(); got != "" {
		t.Fatal(got)
	}
	if got := users(); len(got) != 2 {
		t.Errorf("SOCKS users after a failure %v", got)
	}
}

// A domain that was reached at an onion address is never reached in another way,
// and whoever looks is told how to lift that.
func TestOnlyOnion(t *testing.T) {
	t.Parallel()
	known := func(d *policy.Decision) {
		d.Known = policy.Known{Endpoints: []policy.Endpoint{{Transport: policy.STARTTLS, Host: someOnion, Port: 5222}},
			Source: "a login there on 2026-11-20", Since: "2026-11-19"}
	}
	h := newHills(t, good, known)
	h.dns.set(srv("xmpp.example.org", 0))
	h.socks.Map("xmpp.example.org:5222", h.server.Addr())
	h.socks.Map(testDomain+":5222", h.server.Addr())
	got := h.arrive()
	if !strings.Contains(got, "xmpp-gw onion map forget "+testDomain) || !strings.Contains(got, "2026-11-19") || !strings.Contains(got, "remote-connection-failed") {
		t.Errorf("told %s", got)
	}
	if h.server.Accepted() != 0 || strings.Contains(h.asked(), "5222 xmpp") {
		t.Errorf("the server was called: %s", h.asked())
	}
	// Its operator has another onion now: that will do.
	h.dns.set(srv("xmpp.example.org", 0), srv(otherOnion, 0))
	h.socks.Map(otherOnion+":5222", h.server.Addr())
	if got := h.arrive(); got != "" {
		t.Error(got)
	}
	if got := h.memory.String(); got != testDomain+" starttls://"+otherOnion+":5222" {
		t.Errorf("remembered %q", got)
	}
	// And nobody asks DNS while the known one works.
	h.socks.Map(someOnion+":5222", h.server.Addr())
	before := h.dns.asked
	if got := h.arrive(); got != "" || h.dns.asked != before {
		t.Errorf("%s; DNS was asked %d times", got, h.dns.asked-before)
	}
	for _, r := range h.socks.Requests() {
		if strings.HasPrefix(r.Target, "xmpp.example.org") || r.Target == testDomain+":5222" {
			t.Errorf("asked for %s", r.Target)
		}
	}
}

// A server at an onion address sends us to the clear: not followed.
func TestOnionRedirect(t *testing.T) {
	t.Parallel()
	h := newHills(t, func(g *ground, c *lab.ScriptConn) {
		c.STARTTLS(testDomain, g.cert)
		c.Expect(`<stream:stream[^>]*>`)
		c.Send(lab.Header(testDomain) + "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>" + testDomain + "</see-other-host></stream:error>")
		c.Hang()
	}, nil)
	h.dns.set(srv(someOnion, 0))
	h.socks.Map(someOnion+":5222", h.server.Addr())
	h.socks.Map(testDomain+":5222", h.server.Addr())
	if got := h.arrive(); !strings.Contains(got, "from its onion address") {
		t.Errorf("told %s", got)
	}
	if got := h.asked(); strings.Contains(got, testDomain+":5222") {
		t.Errorf("asked for %s", got)
	}
}

// What the address book names is used alone, also where DNS names others.
func TestListedOnion(t *testing.T) {
	t.Parallel()
	listed := func(d *policy.Decision) {
		d.Known = policy.Known{Endpoints: []policy.Endpoint{{Transport: policy.STARTTLS, Host: someOnion, Port: 5222}}, Listed: true, Source: `the address book "Test"`}
	}
	h := newHills(t, good, listed)
	h.dns.set(srv("xmpp.example.org", 0), srv(otherOnion, 0))
	for _, a := range []string{"xmpp.example.org", otherOnion} {
		h.socks.Map(a+":5222", h.server.Addr())
	}
	if got := h.arrive(); !strings.Contains(got, "address book") || h.server.Accepted() != 0 || h.dns.asked != 0 {
		t.Errorf("told %s; %s", got, h.asked())
	}
	h.socks.Map(someOnion+":5222", h.server.Addr())
	if got := h.arrive(); got != "" || !strings.Contains(h.memory.String(), someOnion) {
		t.Errorf("told %s; remembered %q", got, h.memory)
	}
}

// Where the owner named the place, or switched it off, nothing is remembered, and
// no web server is asked.
func TestOwnersWord(t *testing.T) {
	t.Parallel()
	e := policy.Endpoint{Transport: policy.STARTTLS, Host: someOnion, Port: 5222}
	for name, change := range map[string]func(*policy.Decision){
		"onion":     func(d *policy.Decision) { d.Onion = &e },
		"endpoints": func(d *policy.Decision) { d.Endpoints = []policy.Endpoint{e} },
		"off":       func(d *policy.Decision) { d.Upgrade = policy.UpgradeOff },
		"unset":     func(d *policy.Decision) { d.Upgrade = policy.UpgradeUnset },
	} {
		h := newHills(t, good, change)
		h.dns.set(srv(someOnion, 0), srv("xmpp.example.org", 1))
		h.socks.Map(someOnion+":5222", h.server.Addr())
		h.socks.Map("xmpp.example.org:5222", h.server.Addr())
		if got := h.arrive(); got != "" || h.memory.String() != "" || strings.Contains(h.asked(), ":443") {
			t.Errorf("%s: told %s, remembered %q, asked for %s", name, got, h.memory, h.asked())
		}
		if off := name == "off" || name == "unset"; off == strings.Contains(h.asked(), someOnion) {
			t.Errorf("%s: asked for %s", name, h.asked())
		}
	}
}

// A WebSocket without TLS to an onion address that the owner bound.
func TestPlainWebSocket(t *testing.T) {
	t.Parallel()
	h := newHills(t, func(g *ground, c *lab.ScriptConn) {
		c.WebSocket(c.HTTP(), "xmpp")
		c.WebLogin(testDomain, testUser, testPassword)
		echo(c)
	}, func(d *policy.Decision) {
		d.TLS = policy.TLSOnion
		d.Onion = &policy.Endpoint{Transport: policy.PlainWebSocket, Host: someOnion, Port: 80, Path: "/ws"}
	})
	h.socks.Map(someOnion+":80", h.server.Addr())
	if got := h.arrive(); got != "" {
		t.Fatal(got)
	}
	if h.memory.String() != "" || !strings.Contains(h.server.Received(), "[GET /ws of "+someOnion+"]") {
		t.Errorf("remembered %q; the server received %s", h.memory, h.server.Received())
	}
}

// A dead onion that is only an upgrade does not hold up what stands behind it.
func TestSlowUpgrade(t *testing.T) {
	d := policy.Decision{Route: policy.Route{Kind: policy.RouteTor}}
	var own *egress.Error
	if err := tooSlow(t.Context(), d, context.DeadlineExceeded); !errors.As(err, &own) || !errors.Is(err, egress.ErrTimeout) {
		t.Errorf("%v", err)
	}
	s := &session{}
	onion, clear := policy.Endpoint{Host: someOnion}, policy.Endpoint{Host: "a.test"}
	for _, x := range []struct {
		e      policy.Endpoint
		behind []policy.Endpoint
		want   bool
	}{{onion, nil, false}, {onion, []policy.Endpoint{onion}, false}, {onion, []policy.Endpoint{onion, clear}, true}, {clear, []policy.Endpoint{clear}, false}} {
		ctx, cancel := s.onward(t.Context(), x.e, x.behind)
		if _, bounded := ctx.Deadline(); bounded != x.want {
			t.Errorf("%+v: bounded: %v", x, bounded)
		}
		cancel()
	}
}
