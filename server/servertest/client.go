package servertest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// patience is how long a client waits for what it expects.
const patience = 5 * time.Second

// Client is a scripted client. What it expects and does not get ends the test.
type Client struct {
	T        testing.TB
	Conn     net.Conn         // the TLS, or the socket before it
	JID      address.Address  // zero before it is bound
	Features *xmppstream.Node // those last received
	Domain   string

	r   *xmppstream.Reader
	ids int
}

// Dial logs in and binds the resource of jid, a full address. It makes the account
// if there is none, and sends no presence.
func Dial(t testing.TB, s *Server, jid string) *Client {
	t.Helper()
	s.Account(t, jid)
	a := Address(t, jid)
	c := Connect(t, s, a.Domain)
	c.Login(a.Local)
	c.Bind(a.Resource)
	return c
}

// Online is [Dial] with presence of priority 0. What the server sends for that is
// not read.
func Online(t testing.TB, s *Server, jid string) *Client {
	t.Helper()
	c := Dial(t, s, jid)
	c.Send("<presence/>")
	c.sync()
	return c
}

// Connect opens a stream to a domain and goes as far as TLS; [Client.Features] are
// those inside.
func Connect(t testing.TB, s *Server, domain string) *Client {
	t.Helper()
	return ConnectTLS(t, s, domain, TLS(domain))
}

// ConnectTLS is [Connect] with a TLS configuration of the client's own.
func ConnectTLS(t testing.TB, s *Server, domain string, conf *tls.Config) *Client {
	t.Helper()
	c := Plain(t, s, domain)
	c.StartTLS(conf)
	return c
}

// StartTLS goes on inside TLS.
func (c *Client) StartTLS(conf *tls.Config) {
	c.T.Helper()
	c.Send("<starttls xmlns='" + xmppstream.NSTLS + "'/>")
	c.Expect("<proceed xmlns='" + xmppstream.NSTLS + "'/>")
	conn := tls.Client(c.Conn, conf)
	if err := conn.Handshake(); err != nil {
		c.T.Fatal(err)
	}
	c.Conn, c.r = conn, xmppstream.NewReader(conn, limits)
	c.Open()
}

// Plain opens a stream to a domain without TLS.
func Plain(t testing.TB, s *Server, domain string) *Client {
	t.Helper()
	c := Raw(t, s.STARTTLS)
	c.Domain = domain
	c.Open()
	return c
}

// Raw only connects.
func Raw(t testing.TB, addr string) *Client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{T: t, Conn: conn, r: xmppstream.NewReader(conn, limits)}
	t.Cleanup(func() { _ = conn.Close() })
	return c
}

// limits leave room for whatever the server sends.
var limits = xmppstream.Limits{Bytes: 16 << 20, Depth: 256, Attrs: 256, Elements: 1 << 20, Header: 8 << 10}

// Open opens a stream and reads the server's header and features.
func (c *Client) Open() {
	c.T.Helper()
	c.r.Restart()
	c.Send("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" + xmppstream.NSStream + "' to='" + c.Domain + "' version='1.0' xml:lang='en'>")
	c.Header()
	c.Features = c.Expect("<stream:features/>")
}

// Header reads the server's stream header.
func (c *Client) Header() *xmppstream.Header {
	c.T.Helper()
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	h, err := c.r.ReadHeader()
	if err != nil {
		c.T.Fatalf("no stream header: %v", err)
	}
	return h
}

// Login logs in with [Password], and opens the stream that follows.
func (c *Client) Login(local string) {
	c.T.Helper()
	offer, err := saslauth.ParseOffer(c.Features)
	if err != nil {
		c.T.Fatal(err)
	}
	offer.SASL2 = nil
	var state *tls.ConnectionState
	channel := saslauth.ChannelOnion
	if conn, ok := c.Conn.(*tls.Conn); ok {
		cs := conn.ConnectionState()
		state, channel = &cs, saslauth.ChannelTLS
	}
	cred := saslauth.Credentials{Username: local, Password: []byte(Password)}
	rules := saslauth.Rules{Min: policy.AuthPlain, Binding: policy.BindingPrefer, Channel: channel}
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := saslauth.Authenticate(c.T.Context(), stream{c}, offer, &cred, rules, state); err != nil {
		c.T.Fatalf("login: %v", err)
	}
	c.Open()
}

// stream is the client as SASL sees it.
type stream struct{ *Client }

func (s stream) Send(raw []byte) error {
	_, err := s.Conn.Write(raw)
	return err
}

// Bind binds a resource, "" for one that the server makes up.
func (c *Client) Bind(resource string) {
	c.T.Helper()
	if resource != "" {
		resource = "<resource>" + string(xmppstream.Escape(nil, resource)) + "</resource>"
	}
	c.Send("<iq type='set' id='bind'><bind xmlns='" + xmppstream.NSBind + "'>" + resource + "</bind></iq>")
	n := c.Expect("<iq type='result' id='bind'><bind xmlns='" + xmppstream.NSBind + "'/></iq>")
	c.JID = Address(c.T, n.Child(xmppstream.NSBind, "bind").ChildText(xmppstream.NSBind, "jid"))
}

// Send writes XML as it is.
func (c *Client) Send(xml string) {
	c.T.Helper()
	_ = c.Conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.Conn, xml); err != nil {
		c.T.Fatalf("send: %v", err)
	}
}

// Sendf is [Client.Send] with a format.
func (c *Client) Sendf(format string, args ...any) {
	c.T.Helper()
	c.Send(fmt.Sprintf(format, args...))
}

// Next is the next element of any kind, without waiting longer than usual.
func (c *Client) Next() (*xmppstream.Element, error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	return c.r.Next()
}

// Read is the next element that is no whitespace.
func (c *Client) Read() *xmppstream.Node {
	c.T.Helper()
	for {
		e, err := c.Next()
		if err != nil {
			c.T.Fatalf("%s: nothing came: %v", c.JID, err)
		}
		switch e.Kind {
		case xmppstream.Whitespace:
			continue
		case xmppstream.End:
			c.T.Fatalf("%s: the server closed the stream", c.JID)
		}
		n, err := e.Node()
		if err != nil {
			c.T.Fatal(err)
		}
		return n
	}
}

// Expect reads the next element, which must look like pattern (see [Matches]).
func (c *Client) Expect(pattern string) *xmppstream.Node {
	c.T.Helper()
	n := c.Read()
	if !Matches(n, parse(c.T, pattern)) {
		c.T.Fatalf("%s: got  %s\nwant %s", c.JID, n.Append(nil), pattern)
	}
	return n
}

// ExpectAll reads as many elements as there are patterns, in any order.
func (c *Client) ExpectAll(patterns ...string) []*xmppstream.Node {
	c.T.Helper()
	got := make([]*xmppstream.Node, len(patterns))
	for range patterns {
		n := c.Read()
		found := false
		for i, p := range patterns {
			if got[i] == nil && Matches(n, parse(c.T, p)) {
				got[i], found = n, true
				break
			}
		}
		if !found {
			c.T.Fatalf("%s: got  %s\nwant one of %s", c.JID, n.Append(nil), strings.Join(patterns, "\n"))
		}
	}
	return got
}

// ExpectNothing makes sure that nothing waits to be read: it asks the server
// something, and the answer must be the next that comes.
func (c *Client) ExpectNothing() {
	c.T.Helper()
	id := c.ask()
	if n := c.Read(); !n.Is(xmppstream.NSClient, "iq") || n.Attr("id") != id {
		c.T.Fatalf("%s: got %s\nwant nothing", c.JID, n.Append(nil))
	}
}

// Drain reads and drops what waits.
func (c *Client) Drain() {
	c.T.Helper()
	c.sync()
}

// sync waits until the server has dealt with all that was sent.
func (c *Client) sync() {
	c.T.Helper()
	for id := c.ask(); ; {
		if n := c.Read(); n.Is(xmppstream.NSClient, "iq") && n.Attr("id") == id {
			return
		}
	}
}

func (c *Client) ask() string {
	c.ids++
	id := fmt.Sprintf("servertest-%d", c.ids)
	c.Sendf("<iq type='get' id='%s' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>", id, c.JID.Domain)
	return id
}

// Request sends an IQ with this payload, to "" for the own account, and gives the
// payload of the result, nil for none. Stanzas that come before it are an error.
func (c *Client) Request(typ, to, payload string) *xmppstream.Node {
	c.T.Helper()
	n := c.iq(typ, to, payload)
	if n.Attr("type") != "result" {
		c.T.Fatalf("%s: got %s\nwant a result", c.JID, n.Append(nil))
	}
	if len(n.Children) == 0 {
		return nil
	}
	return n.Children[0]
}

// RequestError is [Client.Request] for one that fails: it gives the condition.
func (c *Client) RequestError(typ, to, payload string) string {
	c.T.Helper()
	n := c.iq(typ, to, payload)
	if n.Attr("type") != "error" {
		c.T.Fatalf("%s: got %s\nwant an error", c.JID, n.Append(nil))
	}
	return Condition(n)
}

func (c *Client) iq(typ, to, payload string) *xmppstream.Node {
	c.T.Helper()
	c.ids++
	id := fmt.Sprintf("servertest-%d", c.ids)
	if to != "" {
		to = " to='" + string(xmppstream.Escape(nil, to)) + "'"
	}
	c.Sendf("<iq type='%s' id='%s'%s>%s</iq>", typ, id, to, payload)
	n := c.Read()
	if !n.Is(xmppstream.NSClient, "iq") || n.Attr("id") != id {
		c.T.Fatalf("%s: got %s\nwant the answer to %s", c.JID, n.Append(nil), payload)
	}
	return n
}

// ExpectStreamError reads up to a stream error of this condition and the end of
// the stream.
func (c *Client) ExpectStreamError(condition string) *xmppstream.Node {
	c.T.Helper()
	n := c.Expect("<stream:error/>")
	if len(n.Children) == 0 || !n.Children[0].Is(xmppstream.NSStreamErr, condition) {
		c.T.Fatalf("%s: got %s\nwant %s", c.JID, n.Append(nil), condition)
	}
	c.ExpectEnd()
	return n
}

// ExpectEnd reads </stream:stream> and the end of the connection.
func (c *Client) ExpectEnd() {
	c.T.Helper()
	e, err := c.Next()
	for err == nil && e.Kind == xmppstream.Whitespace {
		e, err = c.Next()
	}
	if err != nil || e.Kind != xmppstream.End {
		c.T.Fatalf("%s: the stream did not end: %v", c.JID, err)
	}
	if _, err := c.Next(); !errors.Is(err, io.EOF) {
		c.T.Fatalf("%s: the connection did not end: %v", c.JID, err)
	}
	_ = c.Conn.Close()
}

// Close ends the stream in good order.
func (c *Client) Close() {
	c.T.Helper()
	c.Send("</stream:stream>")
	for {
		e, err := c.Next()
		if err != nil || e.Kind == xmppstream.End {
			break
		}
	}
	_ = c.Conn.Close()
}

// Cut ends the connection without a word, as a network does.
func (c *Client) Cut() {
	conn := c.Conn
	if inner, ok := conn.(*tls.Conn); ok {
		conn = inner.NetConn()
	}
	_ = conn.Close()
}

// Condition is the condition of a stanza error, "" for none.
func Condition(n *xmppstream.Node) string {
	if e := n.Child(xmppstream.NSClient, "error"); e != nil && len(e.Children) > 0 {
		return e.Children[0].Name
	}
	return ""
}

// Forget gives up all that the client holds but the socket, which it returns: for
// measuring what a session costs the server alone.
func (c *Client) Forget() net.Conn {
	conn := c.Conn
	if inner, ok := conn.(*tls.Conn); ok {
		conn = inner.NetConn()
	}
	c.r.Release()
	c.r, c.Conn, c.Features = nil, nil, nil
	return conn
}
