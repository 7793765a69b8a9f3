package tests

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The account that all tests of the daemon log in with.
const (
	user     = "juliet"
	password = "r0m30myr0m30"
)

// patience is how long a client waits for what it expects.
const patience = 30 * time.Second

// client is an XMPP client that does what a test says, right or wrong. What it
// waits for in vain fails the test.
type client struct {
	net.Conn
	t       testing.TB
	domain  string
	roots   *x509.CertPool
	pending []byte
}

// dial connects to a listener of the daemon whose authority is in the file ca.
func dial(t testing.TB, addr, ca, domain string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the daemon's authority has no certificate")
	}
	return &client{Conn: conn, t: t, domain: domain, roots: roots}
}

func (c *client) send(s string) {
	c.t.Helper()
	c.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("sending %.60q: %v", s, err)
	}
}

// push sends what the other side may refuse to read to its end.
func (c *client) push(s string) {
	c.SetWriteDeadline(time.Now().Add(patience))
	io.WriteString(c.Conn, s)
}

// until reads up to the end of the first match of pattern and returns that, or
// all there was when the connection ended before.
func (c *client) until(pattern string) (got string, found bool) {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	for {
		if m := re.FindIndex(c.pending); m != nil {
			got := string(c.pending[:m[1]])
			c.pending = c.pending[m[1]:]
			return got, true
		}
		n, err := c.Read(buf)
		c.pending = append(c.pending, buf[:n]...)
		switch {
		case n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.t.Fatalf("neither %q nor the end of the connection; got %q", pattern, c.pending)
		case err != nil:
			got := string(c.pending)
			c.pending = nil
			return got, false
		}
	}
}

func (c *client) expect(pattern string) string {
	c.t.Helper()
	got, found := c.until(pattern)
	if !found {
		c.t.Fatalf("the connection ended without %q; got %q", pattern, got)
	}
	return got
}

// rest reads to the end of the connection.
func (c *client) rest() string {
	c.t.Helper()
	got, _ := c.until(`^\b$`) // matches nothing
	return got
}

// header is a client's stream header with these attributes.
func header(attributes string) string {
	return "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " + attributes + ">"
}

// open begins a stream and reads the features.
func (c *client) open() {
	c.t.Helper()
	c.send(header("to='" + c.domain + "' version='1.0'"))
	c.expect(`</stream:features>`)
}

const starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

// secure begins a stream, upgrades to TLS and begins another.
func (c *client) secure() {
	c.t.Helper()
	c.open()
	c.send(starttls)
	c.expect(`<proceed[^>]*/>`)
	c.handshake(c.domain)
	c.open()
}

// handshake goes on inside TLS.
func (c *client) handshake(name string) {
	c.t.Helper()
	inner := tls.Client(c.Conn, &tls.Config{RootCAs: c.roots, ServerName: name, NextProtos: []string{"xmpp-client"}})
	c.SetDeadline(time.Now().Add(patience))
	if err := inner.Handshake(); err != nil {
		c.t.Fatalf("TLS with the gateway: %v", err)
	}
	c.Conn = inner
}

// auth asks for a login, and leaves the answer to the caller.
func (c *client) auth(user, password string) {
	c.t.Helper()
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + plainMessage(user, password) + "</auth>")
}

// plainMessage is what PLAIN sends (RFC 4616 §2).
func plainMessage(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// tryLogin is a login up to the request.
func (c *client) tryLogin() {
	c.t.Helper()
	c.secure()
	c.auth(user, password)
}

// login is a whole login up to a bound resource.
func (c *client) login() { c.t.Helper(); c.loginAs(user) }

func (c *client) loginAs(user string) {
	c.t.Helper()
	c.secure()
	c.auth(user, password)
	c.expect(`<success[^>]*/>`)
	c.open()
	c.send("<iq type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	c.expect(`<iq type='result' id='bind1'>.*</iq>`)
}

// echo sends a message to a server that sends it back.
func (c *client) echo() {
	c.t.Helper()
	const message = "<message id='m1'><body>it is the east</body></message>"
	c.send(message)
	if got := c.expect(`</message>`); got != message {
		c.t.Errorf("the message came back as %q, want its own bytes", got)
	}
}

// verdict is what a client is told at the end.
type verdict struct {
	kind      string // "stream" error, "sasl" failure, or "" for nothing
	condition string
	text      string
}

var (
	saslFailure = regexp.MustCompile(`<failure xmlns=['"]urn:ietf:params:xml:ns:xmpp-sasl['"]>(.*)</failure>`)
	streamError = regexp.MustCompile(`<stream:error>(.*)</stream:error>`)
	condition   = regexp.MustCompile(`<([a-z-]+) xmlns=['"]urn:ietf:params:xml:ns:xmpp-streams['"]/>|<([a-z-]+)/>`)
	errorText   = regexp.MustCompile(`<text[^>]*>([^<]*)</text>`)
	unescape    = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&#39;", "'", "&#34;", `"`, "&amp;", "&")
)

// verdict reads to the failure or to the end of the connection.
func (c *client) verdict() (v verdict, raw string) {
	c.t.Helper()
	raw, _ = c.until(`</failure>`)
	inside := ""
	if m := streamError.FindStringSubmatch(raw); m != nil {
		v.kind, inside = "stream", m[1]
	} else if m := saslFailure.FindStringSubmatch(raw); m != nil {
		v.kind, inside = "sasl", m[1]
	}
	if m := condition.FindStringSubmatch(inside); m != nil {
		v.condition = m[1] + m[2]
	}
	if m := errorText.FindStringSubmatch(inside); m != nil {
		v.text = unescape.Replace(m[1])
	}
	return v, raw
}
