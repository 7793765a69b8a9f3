package tests

import (
	"crypto"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
)

// misdeed is one row of the table of bad input: somebody does something wrong,
// the right party is told, and all that the session held is freed.
type misdeed struct {
	name string

	// rule has more lines for the section of the row's domain. Without a route
	// among the fields below, it is reached directly.
	rule string
	// server is what the domain's server does; nil: there is none.
	server func(*server)
	// second is another server, to which the first one sends people.
	second func(*server)
	// dns sets up the domain in DNS, where the daemon then looks for the server.
	dns func(s *lab.DNSServer, domain string, port int)
	// hop is what is wrong with the SOCKS hop that leads to the domain.
	hop *lab.SOCKSFault
	// tor is what is wrong with Tor, which then leads to the domain.
	tor *lab.SOCKSFault

	// listener is the one that the client connects to; "" is STARTTLS.
	listener string
	// client is what the client does before it waits for the end; nil is
	// tryLogin.
	client func(*row)

	kind      string // of the verdict that the client gets; "" is none
	condition string
	text      string // a part of the text
	trusted   bool   // SASL may be spoken with the server
	plain     bool   // the password may reach it too
}

// row is a misdeed under way.
type row struct {
	*misdeed
	*client
	domain string
	script *lab.Script
	other  *lab.Script
	socks  *lab.SOCKSServer
}

// server is a server's end of a connection.
type server struct {
	*lab.ScriptConn
	*row
	ca  *lab.CA
	key crypto.Signer // nil: another one for each connection
}

// leaf is a certificate of the lab's authority.
func (s *server) leaf(l lab.CALeaf) *server {
	cert, err := s.ca.Leaf(l)
	if err != nil {
		panic(err)
	}
	s.STARTTLS(s.domain, cert)
	return s
}

// secure is the way to a stream inside TLS.
func (s *server) secure() *server { return s.leaf(lab.CALeaf{Names: []string{s.domain}, Key: s.key}) }

// good is a whole login.
func (s *server) good() *server {
	s.secure().Login(s.domain, user, password)
	return s
}

// echo sends each message back.
func (s *server) echo() {
	for {
		m := s.Expect(`<message.*?</message>|</stream:stream>`)
		s.Send(m[0])
		if strings.HasPrefix(m[0], "</") {
			return
		}
	}
}

// grounds is a daemon and everything around it.
type grounds struct {
	t      *testing.T
	daemon *daemon.Daemon
	ca     *lab.CA
	dns    *lab.DNSServer
	tor    *lab.SOCKSServer
	rows   []*row
}

// newGrounds starts a daemon that knows the domains of all rows, and "good.test".
// Everything else is blocked.
func newGrounds(t *testing.T, table []misdeed, o daemon.Options) *grounds {
	t.Helper()
	g := &grounds{t: t}
	var err error
	g.ca, err = lab.NewCA()
	must(t, err)
	dir := t.TempDir()
	must(t, g.ca.Write(dir))
	g.dns, err = lab.DNSStart(nil, nil)
	must(t, err)
	t.Cleanup(func() { g.dns.Close() })
	g.tor, err = lab.SOCKSStart("tcp", "127.0.0.1:0", nil)
	must(t, err)
	t.Cleanup(func() { g.tor.Close() })

	var b strings.Builder
	b.WriteString(o.Config)
	names, err := g.dns.Section(g.dns.TCP(), dir)
	must(t, err)
	fmt.Fprintf(&b, "[default]\nroute = \"block\"\n%s[tor]\nmode = \"system\"\nsocks = [%q]\n", names, g.tor.Addr())
	table = append([]misdeed{{name: "good", server: func(s *server) { s.good().echo() }, trusted: true}}, table...)
	for i := range table {
		g.rows = append(g.rows, g.prepare(&table[i], filepath.Join(dir, "ca.pem"), &b))
	}
	o.Config = b.String()
	o.Args = append(o.Args, "--log-level", "debug")
	g.daemon = daemon.Run(t, o)
	return g
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// prepare starts the servers of a row and writes its part of the configuration.
func (g *grounds) prepare(m *misdeed, ca string, b *strings.Builder) *row {
	g.t.Helper()
	r := &row{misdeed: m, domain: strings.ReplaceAll(m.name, " ", "-") + ".test"}
	start := func(run func(*server)) *lab.Script {
		s, err := lab.NewScript(func(c *lab.ScriptConn) { run(&server{ScriptConn: c, row: r, ca: g.ca}) })
		must(g.t, err)
		g.t.Cleanup(s.Close)
		return s
	}
	address, port := "127.0.0.1:9", 9
	if m.second != nil {
		r.other = start(m.second)
	}
	if m.server != nil {
		r.script = start(m.server)
		address, port = r.script.Addr(), r.script.Port()
	}
	route, endpoint := "direct", address
	switch {
	case m.dns != nil:
		m.dns(g.dns, r.domain, port)
		endpoint = ""
	case m.hop != nil:
		name := strings.ReplaceAll(m.name, " ", "-")
		endpoint = "xmpp." + r.domain + ":5222"
		var err error
		r.socks, err = lab.SOCKSStart("tcp", "127.0.0.1:0", map[string]string{endpoint: address})
		must(g.t, err)
		g.t.Cleanup(func() { r.socks.Close() })
		r.socks.SetFault(*m.hop)
		route = "socks:" + name
		fmt.Fprintf(b, "[socks.%s]\nurl = \"socks5://%s\"\n", name, r.socks.Addr())
	case m.tor != nil:
		route, endpoint = "tor", "xmpp."+r.domain+":5222"
		g.tor.Map(endpoint, address)
	}
	fmt.Fprintf(b, "[domain.%q]\nca = %q\n", r.domain, ca)
	if !strings.Contains(m.rule, "route =") {
		fmt.Fprintf(b, "route = %q\n", route)
	}
	if endpoint != "" && !strings.Contains(m.rule, "endpoints =") && !strings.Contains(m.rule, "onion =") {
		fmt.Fprintf(b, "endpoints = [\"starttls://%s\"]\n", endpoint)
	}
	b.WriteString(m.rule + "\n")
	return r
}

// play runs a row up to its end.
func (g *grounds) play(t *testing.T, r *row) {
	addr := g.daemon.C2S
	if r.listener == "tls" {
		addr = g.daemon.C2STLS
	}
	if r.tor != nil {
		g.tor.SetFault(*r.tor)
		defer g.tor.SetFault(lab.SOCKSFault{})
	}
	r.client = dial(t, addr, g.daemon.CA, r.domain)
	if r.misdeed.client == nil {
		r.tryLogin()
	} else {
		r.misdeed.client(r)
	}
	got, raw := r.verdict()
	r.Close()
	switch {
	case got.kind != r.kind || got.condition != r.condition:
		t.Errorf("the client is told %+v (%q), want a %s error %s", got, raw, r.kind, r.condition)
	case r.kind != "" && !strings.Contains(got.text, r.text):
		t.Errorf("the text is %q, want one with %q", got.text, r.text)
	case r.kind != "" && strings.Count(got.text, " ") < 2:
		t.Errorf("the text %q is none for a person", got.text)
	}
	r.judgeServer(t)
}

// judgeServer looks at what the server was sent: no SASL byte before verified
// TLS (never 3), and no account.
func (r *row) judgeServer(t *testing.T) {
	t.Helper()
	if r.script == nil {
		return
	}
	for end := time.Now().Add(5 * time.Second); r.script.Open() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := r.script.Open(); n > 0 {
		t.Errorf("%d connections to the server are still open", n)
	}
	received := r.script.Received()
	clear, _, _ := strings.Cut(received, "[TLS]")
	for _, s := range []string{"<auth", "xmpp-sasl", "sasl:2", user, "from="} {
		if strings.Contains(clear, s) {
			t.Errorf("before TLS the server was sent %q in %q", s, clear)
		}
		if !r.trusted && strings.Contains(received, s) {
			t.Errorf("the server was sent %q in %q", s, received)
		}
	}
	for _, s := range []string{password, plainMessage(user, password)} {
		if !r.plain && strings.Contains(received, s) {
			t.Errorf("the password reached the server: %q", received)
		}
	}
}

// wellBehaved demands that the daemon serves on, and that its log tells nothing
// about anybody (never 7).
func (g *grounds) wellBehaved() {
	t := g.t
	t.Helper()
	c := dial(t, g.daemon.C2S, g.daemon.CA, "good.test")
	c.login()
	c.echo()
	c.send("</stream:stream>")
	if got := c.rest(); got != "</stream:stream>" {
		t.Errorf("the end is %q, want </stream:stream>", got)
	}
	c.Close()
	log := g.daemon.Log()
	for _, s := range []string{"panic", "goroutine ", user, password, plainMessage(user, password), "romeo"} {
		if strings.Contains(log, s) {
			t.Errorf("the daemon's log has %q", s)
		}
	}
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "time=") {
			continue // to the person who started it, about its own listeners
		}
		for _, s := range []string{"127.0.0.1", "::1", ".test", "xyz.onion"} {
			if strings.Contains(line, s) {
				t.Errorf("the log has %q in %s", s, line)
			}
		}
		if strings.Contains(line, "reason=internal") {
			t.Errorf("an error that nobody thought of: %s", line)
		}
	}
	if !strings.Contains(log, "time=") {
		t.Error("there is no log to judge")
	}
}

// idle is the least that the daemon holds while nobody is connected.
func (g *grounds) idle() daemon.Usage {
	g.t.Helper()
	g.empty()
	var least daemon.Usage
	for i := range 10 {
		u, err := g.daemon.Usage(g.t.Context())
		must(g.t, err)
		if i == 0 {
			least = u
		}
		least.Descriptors = min(least.Descriptors, u.Descriptors)
		least.Goroutines = min(least.Goroutines, u.Goroutines)
		time.Sleep(30 * time.Millisecond)
	}
	return least
}

// empty waits until no session is open.
func (g *grounds) empty() {
	g.t.Helper()
	for end := time.Now().Add(5 * time.Second); g.daemon.Report(g.t).Status.Sessions.Open > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatal("sessions are left")
		}
	}
}

// TestBadInput runs the table against one daemon, row after row, and compares
// what it holds after each with what it held before.
func TestBadInput(t *testing.T) {
	t.Parallel()
	g := newGrounds(t, append(append(append(badClients(), badServers()...), badStreams()...), badRoutes()...), daemon.Options{
		Config: "[limits]\nstanza_bytes = 10_000\n",
	})
	g.wellBehaved() // once before, so that what is made once is there
	before := g.idle()
	for _, r := range g.rows[1:] {
		if !t.Run(r.name, func(t *testing.T) {
			g.play(t, r)
			g.daemon.Settle(t, before)
		}) {
			before = g.idle() // so that the next row answers for itself alone
		}
	}
	g.wellBehaved()
	g.daemon.Settle(t, before)
}

// TestBadInputSlow runs the rows that wait for a time limit, all at once.
func TestBadInputSlow(t *testing.T) {
	t.Parallel()
	g := newGrounds(t, slowMisdeeds(), daemon.Options{
		Config: "[limits]\npreauth_seconds = 4\n",
	})
	g.wellBehaved()
	before := g.idle()
	var all sync.WaitGroup // t.Parallel would run only as many at once as there are processors
	for _, r := range g.rows[1:] {
		all.Go(func() { t.Run(r.name, func(t *testing.T) { g.play(t, r) }) })
	}
	all.Wait()
	g.wellBehaved()
	g.daemon.Settle(t, before)
}
