package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/localca"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

const (
	testDomain   = "example.org"
	testUser     = "juliet"
	testPassword = "r0m30myr0m30"
)

// ground is a gateway in front of a scripted server.
type ground struct {
	t        *testing.T
	gw       *Gateway
	addr     string
	tlsAddr  string
	ownRoots *x509.CertPool  // what clients trust
	cert     tls.Certificate // the server's
	server   *lab.Script
	logs     *lockedBuffer
}

type lockedBuffer struct {
	ch  chan struct{}
	buf bytes.Buffer
}

func newLockedBuffer() *lockedBuffer {
	b := &lockedBuffer{ch: make(chan struct{}, 1)}
	b.ch <- struct{}{}
	return b
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	<-b.ch
	defer func() { b.ch <- struct{}{} }()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	<-b.ch
	defer func() { b.ch <- struct{}{} }()
	return b.buf.String()
}

// decision is the default policy, with the scripted server as the endpoint.
func decision(endpoints ...policy.Endpoint) policy.Decision {
	return policy.Decision{
		Route:        policy.Route{Kind: policy.RouteDirect},
		Endpoints:    endpoints,
		TLS:          policy.TLSVerify,
		MinTLS:       tls.VersionTLS13,
		PQ:           policy.PQPrefer,
		Pin:          policy.PinTOFUWarn,
		SCT:          policy.SCTOff,
		Witness:      policy.WitnessOff,
		SASL:         policy.Originate,
		AuthMin:      policy.AuthSCRAM,
		Binding:      policy.BindingPrefer,
		Redirect:     policy.RedirectSameDomain,
		Registration: policy.RegistrationAllow,
	}
}

// newGround starts a gateway whose server runs script. change may alter the
// decision and the configuration.
func newGround(t *testing.T, script func(*ground, *lab.ScriptConn), change func(*policy.Decision, *Config)) *ground {
	t.Helper()
	g := &ground{t: t, logs: newLockedBuffer()}
	far, err := localca.Open(t.TempDir()+"/ca", nil)
	check(t, err)
	near, err := localca.Open(t.TempDir()+"/ca", nil)
	check(t, err)
	farConf, err := far.ServerConfig(testDomain)
	check(t, err)
	g.cert = farConf.Certificates[0]
	roots := x509.NewCertPool()
	roots.AddCert(far.Certificate())
	g.ownRoots = x509.NewCertPool()
	g.ownRoots.AddCert(near.Certificate())
	if script != nil {
		g.server, err = lab.NewScript(func(c *lab.ScriptConn) { script(g, c) })
		check(t, err)
		t.Cleanup(g.server.Close)
	}
	pins, err := tlsauth.OpenPins(t.TempDir() + "/pins")
	check(t, err)
	set, err := egress.New(egress.Config{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return nil, errors.New("nothing is looked up in these tests")
	}})
	check(t, err)

	d := decision()
	if g.server != nil {
		d.Endpoints = []policy.Endpoint{{Transport: policy.STARTTLS, Host: "127.0.0.1", Port: uint16(g.server.Port())}}
	}
	limits := DefaultLimits()
	limits.Drain = 500 * time.Millisecond
	conf := Config{
		Egress:       set,
		Isolate:      new(egress.Isolator).For,
		Lookup:       func(egress.Dialer) resolve.SRVLookup { return nil },
		Certificates: near,
		Pins:         pins,
		Roots:        roots,
		Limits:       limits,
		Log:          slog.New(slog.NewTextHandler(g.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&d, &conf)
	}
	conf.Decide = func(tgt policy.Target) (policy.Decision, error) {
		d := d
		d.Target = tgt
		if d.Route.Kind == policy.RouteBlock {
			return d, &policy.Refusal{Domain: tgt.Domain, Why: "policy blocks it"}
		}
		return d, nil
	}
	g.gw, err = New(conf)
	check(t, err)
	g.addr = g.listen(STARTTLS)
	g.tlsAddr = g.listen(DirectTLS)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = g.gw.Shutdown(ctx)
		if t.Failed() {
			t.Logf("gateway's log:\n%s", g.logs)
			if g.server != nil {
				t.Logf("server received: %s\nserver's errors: %v", g.server.Received(), g.server.Errors())
			}
		}
	})
	return g
}

func (g *ground) listen(kind ListenerKind) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(g.t, err)
	go func() { _ = g.gw.Serve(l, kind) }()
	return l.Addr().String()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client is a test's side of the client leg.
type client struct {
	net.Conn
	t       *testing.T
	pending []byte
}

func (g *ground) dial() *client {
	g.t.Helper()
	c, err := net.Dial("tcp", g.addr)
	check(g.t, err)
	g.t.Cleanup(func() { _ = c.Close() })
	return &client{Conn: c, t: g.t}
}

func (c *client) send(s string) {
	c.t.Helper()
	_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte(s)); err != nil {
		c.t.Fatalf("sending %.60q: %v", s, err)
	}
}

// expect reads until pattern matches and returns what came up to its end.
func (c *client) expect(pattern string) string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 4096)
	for {
		if m := re.FindIndex(c.pending); m != nil {
			got := string(c.pending[:m[1]])
			c.pending = c.pending[m[1]:]
			return got
		}
		n, err := c.Read(buf)
		c.pending = append(c.pending, buf[:n]...)
		if err != nil && n == 0 {
			c.t.Fatalf("waiting for %q: %v; got %q", pattern, err, c.pending)
		}
	}
}

// rest reads to the end of the connection.
func (c *client) rest() string {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		c.pending = append(c.pending, buf[:n]...)
		if err != nil {
			var timeout net.Error
			if te, ok := err.(net.Error); ok {
				timeout = te
			}
			if timeout != nil && timeout.Timeout() {
				c.t.Fatalf("the connection stays open; got %q", c.pending)
			}
			return string(c.pending)
		}
	}
}

const clientHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='" + testDomain + "' version='1.0'>"

func (c *client) open() {
	c.t.Helper()
	c.send(clientHeader)
	c.expect(`<stream:features>.*</stream:features>`)
}

func (c *client) startTLS(g *ground) {
	c.t.Helper()
	c.open()
	c.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
	c.expect(`<proceed[^>]*/>`)
	c.handshake(g)
	c.open()
}

func (c *client) handshake(g *ground) {
	c.t.Helper()
	inner := tls.Client(c.Conn, &tls.Config{RootCAs: g.ownRoots, ServerName: testDomain, NextProtos: []string{"xmpp-client"}})
	if err := inner.Handshake(); err != nil {
		c.t.Fatalf("TLS with the gateway: %v", err)
	}
	c.Conn = inner
}

func (c *client) auth(user, password string) {
	c.t.Helper()
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + "</auth>")
}

func (c *client) login(g *ground) {
	c.t.Helper()
	c.startTLS(g)
	c.auth(testUser, testPassword)
	c.expect(`<success[^>]*/>`)
	c.open()
	c.bind()
}

func (c *client) bind() {
	c.t.Helper()
	c.send("<iq type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	c.expect(`<iq [^>]*type='result' id='bind1'>.*</iq>`)
}

// good is a server that lets juliet in and then answers each message with its
// own bytes.
func good(g *ground, c *lab.ScriptConn) {
	c.Good(testDomain, g.cert, testUser, testPassword)
	echo(c)
}

func echo(c *lab.ScriptConn) {
	for {
		m := c.Expect(`<message.*?</message>|</stream:stream>`)
		c.Send(m[0])
		if strings.HasPrefix(m[0], "</") {
			return
		}
	}
}

func TestLoginAndRelay(t *testing.T) {
	g := newGround(t, good, nil)
	c := g.dial()
	c.login(g)
	// The prefix of the client's own header must arrive declared (never 9).
	message := "<message to='romeo@example.net' id='1'><body>it's &lt;the&gt; east</body></message>"
	c.send(message)
	if got := c.expect(`</message>`); got != message {
		t.Errorf("the message came back as %q, want its own bytes %q", got, message)
	}
	infos := g.gw.Sessions(t.Context())
	if len(infos) != 1 || infos[0].State != stateOnline || infos[0].SASL != "SCRAM-SHA-256" || infos[0].TLSVersion != "TLS 1.3" ||
		infos[0].Group != "X25519MLKEM768" || infos[0].StanzasUp < 2 {
		t.Errorf("status shows %+v", infos)
	}
	c.send("</stream:stream>")
	if rest := c.rest(); rest != "</stream:stream>" {
		t.Errorf("the end was %q, want </stream:stream>", rest)
	}
	if got := g.server.Received(); strings.Contains(got, testPassword) || strings.Contains(got, base64.StdEncoding.EncodeToString([]byte(testPassword))) {
		t.Error("the password reached the server")
	}
	for _, secret := range []string{testUser, testPassword, testDomain, "127.0.0.1", "it's"} {
		if strings.Contains(g.logs.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, g.logs)
		}
	}
	g.drained()
}

// drained demands that no session is left.
func (g *ground) drained() {
	g.t.Helper()
	for range 100 {
		if len(g.gw.Sessions(g.t.Context())) == 0 && (g.server == nil || g.server.Open() == 0) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.t.Errorf("%d sessions and %v server connections are left", len(g.gw.Sessions(g.t.Context())), g.server.Open())
}

func TestPrefixesCrossStreams(t *testing.T) {
	g := newGround(t, good, nil)
	c := g.dial()
	c.startTLS(g)
	c.auth(testUser, testPassword)
	c.expect(`<success[^>]*/>`)
	c.send("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:x='urn:example:x' to='" + testDomain + "' version='1.0'>")
	c.expect(`</stream:features>`)
	c.bind()
	c.send("<message id='2'><x:thing/></message>")
	if got, want := c.expect(`</message>`), "<message xmlns:x='urn:example:x' id='2'><x:thing/></message>"; !strings.Contains(got, "urn:example:x") {
		t.Errorf("got %q, want something like %q", got, want)
	}
}

func TestDirectTLSAndSASL2(t *testing.T) {
	g := newGround(t, good, nil)
	conn, err := net.Dial("tcp", g.tlsAddr)
	check(t, err)
	defer conn.Close()
	c := &client{Conn: conn, t: t}
	c.handshake(g)
	c.send(clientHeader)
	if f := c.expect(`</stream:features>`); !strings.Contains(f, "urn:xmpp:sasl:2") || strings.Contains(f, "starttls") {
		t.Errorf("features inside TLS: %s", f)
	}
	c.send("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+testUser+"\x00"+testPassword)) + "</initial-response></authenticate>")
	// The features follow without a new stream header (XEP-0388 §2.6.1).
	if got := c.expect(`</stream:features>`); !strings.Contains(got, "<success") || strings.Contains(got, "<stream:stream") || !strings.Contains(got, "xmpp-bind") {
		t.Errorf("after SASL2: %s", got)
	}
	c.bind()
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	g := newGround(t, good, nil)
	c := g.dial()
	c.startTLS(g)
	for range maxLogins {
		c.auth(testUser, "wrong")
		if got := c.expect(`</failure>`); !strings.Contains(got, "<not-authorized") || !strings.Contains(got, "<text") {
			t.Fatalf("failure is %s", got)
		}
	}
	if got := c.rest(); !strings.Contains(got, "policy-violation") {
		t.Errorf("after %d failures: %q", maxLogins, got)
	}
	g.drained()
}

func TestSecondLoginAfterWrongPassword(t *testing.T) {
	t.Parallel()
	g := newGround(t, good, nil)
	c := g.dial()
	c.startTLS(g)
	c.auth(testUser, "wrong")
	c.expect(`</failure>`)
	c.auth(testUser, testPassword)
	c.expect(`<success[^>]*/>`)
	c.open()
	c.bind()
}

func TestShutdownTellsClients(t *testing.T) {
	t.Parallel()
	g := newGround(t, good, nil)
	c := g.dial()
	c.login(g)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- g.gw.Shutdown(ctx)
	}()
	if got := c.rest(); !strings.Contains(got, "<system-shutdown") {
		t.Errorf("a client is told %q at the shutdown", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if !strings.Contains(g.server.Received(), "</stream:stream>") {
		t.Error("the server was not told of the end")
	}
}

func TestBlocked(t *testing.T) {
	g := newGround(t, good, func(d *policy.Decision, _ *Config) { d.Route.Kind = policy.RouteBlock })
	c := g.dial()
	c.send(clientHeader)
	if got := c.rest(); !strings.Contains(got, "policy-violation") || !strings.Contains(got, "policy blocks it") {
		t.Errorf("a blocked domain gives %q", got)
	}
	if g.server.Accepted() != 0 {
		t.Error("the server was called")
	}
}

func TestMaxConnections(t *testing.T) {
	g := newGround(t, good, func(_ *policy.Decision, c *Config) { c.Limits.Connections = 1 })
	first := g.dial()
	first.open()
	second := g.dial()
	if got := second.rest(); !strings.Contains(got, "resource-constraint") {
		t.Errorf("the second of one connection gets %q", got)
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Decide") {
		t.Errorf("New(Config{}) = %v", err)
	}
}

// With a client certificate the server never sees the client's password, so the
// gateway must check it.
func TestPasswordFile(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/password"
	check(t, os.WriteFile(file, []byte(testPassword+"\nnot this line\n"), 0o600))
	g := newGround(t, good, func(d *policy.Decision, _ *Config) { d.PasswordFile = file })
	c := g.dial()
	c.startTLS(g)
	c.auth(testUser, "wrong")
	if got := c.expect(`</failure>`); !strings.Contains(got, "<not-authorized") {
		t.Errorf("a wrong local password gives %s", got)
	}
	if g.server.Accepted() != 0 {
		t.Error("the server was called for a wrong local password")
	}
	c.auth(testUser, testPassword)
	c.expect(`<success[^>]*/>`)
	check(t, os.Remove(file))
	c = g.dial()
	c.startTLS(g)
	c.auth(testUser, testPassword)
	if got := c.rest(); !strings.Contains(got, "password_file") || strings.Contains(got, file) {
		t.Errorf("without the file: %s", got)
	}
}
