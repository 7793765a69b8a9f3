package server_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
)

const header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0'>"

// What ends a stream before the login, and with which condition (RFC 6120 §4.9.3).
func TestStreamErrorsBeforeLogin(t *testing.T) {
	s := servertest.New(t)
	change := func(old, new string) string { return strings.Replace(header, old, new, 1) }
	for _, c := range []struct {
		name, sent, condition string
		featured              bool // the stream opens before it fails
	}{
		{"text for a header", "hello", xmppstream.NotWellFormed, false},
		{"no stream namespace", "<stream to='example.org' version='1.0'>", xmppstream.InvalidNamespace, false},
		{"another name", change("<stream:stream", "<stream:flow"), xmppstream.BadFormat, false},
		{"a server", change("jabber:client", "jabber:server"), xmppstream.InvalidNamespace, false},
		{"an unknown content namespace", change("jabber:client", "jabber:else"), xmppstream.InvalidNamespace, false},
		{"no version", change(" version='1.0'>", ">"), xmppstream.UnsupportedVersion, false},
		{"version 0.9", change(" version='1.0'>", " version='0.9'>"), xmppstream.UnsupportedVersion, false},
		{"version 2.0", change(" version='1.0'>", " version='2.0'>"), xmppstream.UnsupportedVersion, false},
		{"no domain", change(" to='example.org'", ""), xmppstream.ImproperAddressing, false},
		{"another domain", change("example.org", "example.com"), xmppstream.HostUnknown, false},
		{"an account for a domain", change("example.org", "romeo@example.org"), xmppstream.HostUnknown, false},
		{"a domain that is none", change("example.org", "a b"), xmppstream.HostUnknown, false},
		{"another encoding", "<?xml version='1.0' encoding='UTF-16'?>", xmppstream.UnsupportedEncoding, false},
		{"a document type", "<!DOCTYPE x>" + header, xmppstream.RestrictedXML, false},
		{"a header without end", "<stream:stream " + strings.Repeat("a", 20000), xmppstream.PolicyViolation, false},

		{"a message before TLS", header + "<message/>", xmppstream.PolicyViolation, true},
		{"a login before TLS", header + "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AA==</auth>", xmppstream.PolicyViolation, true},
		{"a comment", header + "<!-- -->", xmppstream.RestrictedXML, true},
		{"a processing instruction", header + "<?x y?>", xmppstream.RestrictedXML, true},
		{"an entity", header + "<message>&foo;</message>", xmppstream.RestrictedXML, true},
		{"text between stanzas", header + "text", xmppstream.BadFormat, true},
		{"tags that do not match", header + "<a></b>", xmppstream.NotWellFormed, true},
		{"a prefix that is not declared", header + "<a:b/>", xmppstream.NotWellFormed, true},
		{"bad UTF-8", header + "<a>\xff</a>", xmppstream.UnsupportedEncoding, true},
		{"an element that is too large", header + "<a>" + strings.Repeat("x", 20000), xmppstream.PolicyViolation, true},
		{"something behind STARTTLS", header + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><auth/>", xmppstream.PolicyViolation, true},
		{"an endless negotiation", header + strings.Repeat("<r xmlns='urn:xmpp:sm:3'/> ", 200), xmppstream.PolicyViolation, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := servertest.Raw(t, s.STARTTLS)
			cl.Send(c.sent)
			h := cl.Header() // there is one always (§4.9.1.2)
			if h.ID == "" || h.Version != "1.0" {
				t.Errorf("our header is %+v", h)
			}
			if c.featured {
				cl.Expect("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>")
			}
			cl.ExpectStreamError(c.condition)
		})
	}
}

// What ends a stream inside TLS, before and after the login.
func TestStreamErrorsInsideTLS(t *testing.T) {
	s := servertest.New(t)
	s.Account(t, "romeo@example.org")
	for _, c := range []struct{ name, sent, condition string }{
		{"a message before the login", "<message/>", xmppstream.NotAuthorized},
		{"a request before the login", "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>", xmppstream.NotAuthorized},
		{"an unknown element before the login", "<a xmlns='urn:a'/>", xmppstream.NotAuthorized},
		{"TLS again", "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", xmppstream.PolicyViolation},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := servertest.Connect(t, s, "example.org")
			cl.Send(c.sent)
			cl.ExpectStreamError(c.condition)
		})
	}
	for _, c := range []struct{ name, sent, condition string }{
		{"a message before binding", "<message/>", xmppstream.NotAuthorized},
		{"another login", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", xmppstream.PolicyViolation},
		{"an unknown element", "<a xmlns='urn:a'/>", xmppstream.UnsupportedStanzaType},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := servertest.Connect(t, s, "example.org")
			cl.Login("romeo")
			cl.Send(c.sent)
			cl.ExpectStreamError(c.condition)
		})
	}
	for _, c := range []struct{ name, sent, condition string }{
		{"spoofed account", "<message from='juliet@example.org' to='romeo@example.org'/>", "invalid-from"},
		{"spoofed resource", "<message from='romeo@example.org/else' to='romeo@example.org'/>", "invalid-from"},
		{"spoofed by the domain", "<iq from='example.org' type='result' id='1'/>", "invalid-from"},
		{"from that is no address", "<message from='@' to='romeo@example.org'/>", "invalid-from"},
		{"unknown stanza", "<letter/>", xmppstream.UnsupportedStanzaType},
		{"unknown namespace", "<message xmlns='urn:else'/>", xmppstream.UnsupportedStanzaType},
		{"a server's stanza", "<message xmlns='jabber:server'/>", xmppstream.InvalidNamespace},
		{"another login", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", xmppstream.PolicyViolation},
		{"an oversize stanza", "<message><body>" + strings.Repeat("x", 600<<10), xmppstream.PolicyViolation},
		{"deep nesting", "<message>" + strings.Repeat("<a>", 200), xmppstream.PolicyViolation},
		{"malformed", "<message><body></message>", xmppstream.NotWellFormed},
		{"a word of stream management that is none", "<x xmlns='urn:xmpp:sm:3'/>", xmppstream.UnsupportedStanzaType},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := servertest.Dial(t, s, "romeo@example.org/orchard")
			_, _ = io.WriteString(cl.Conn, c.sent)
			cl.ExpectStreamError(c.condition)
		})
	}
}

// Our from is taken in each of its two forms, however it is written.
func TestFromThatIsOurs(t *testing.T) {
	s := servertest.New(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	for _, from := range []string{"romeo@example.org/orchard", "romeo@example.org", "Romeo@EXAMPLE.org/orchard"} {
		romeo.Sendf("<message from='%s' to='romeo@example.org/orchard'><body>x</body></message>", from)
		romeo.Expect("<message from='romeo@example.org/orchard'><body>x</body></message>")
	}
}

func TestVersionsAndNamespacesOfHeaders(t *testing.T) {
	s := servertest.New(t)
	for _, sent := range []string{
		strings.Replace(header, "1.0'>", "1.7'>", 1), // §4.7.5: answered with 1.0
		strings.Replace(header, "example.org", "EXAMPLE.org", 1),
		strings.Replace(strings.ReplaceAll(header, "stream:", "s:"), "xmlns:stream", "xmlns:s", 1),
	} {
		c := servertest.Raw(t, s.STARTTLS)
		c.Send(sent)
		if h := c.Header(); h.From != "example.org" || h.Version != "1.0" || h.To != "" {
			t.Errorf("%s: answered with %+v", sent, h)
		}
		c.Expect("<stream:features><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>16384</max-bytes></limits></stream:features>")
		c.Close()
	}
}

func TestDirectTLS(t *testing.T) {
	s := servertest.New(t)
	dial := func(sni, alpn string) (*tls.Conn, error) {
		conf := servertest.TLS("example.org")
		conf.ServerName = sni
		conf.InsecureSkipVerify = sni == ""
		if alpn != "" {
			conf.NextProtos = []string{alpn}
		}
		return tls.Dial("tcp", s.DirectTLS, conf)
	}
	for _, alpn := range []string{"xmpp-client", ""} {
		conn, err := dial("example.org", alpn)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != alpn {
			t.Errorf("ALPN %q gave %q", alpn, got)
		}
		_, _ = io.WriteString(conn, header+"</stream:stream>")
		all, _ := io.ReadAll(conn)
		if !strings.Contains(string(all), "<mechanisms") || strings.Contains(string(all), "<starttls") || !strings.HasSuffix(string(all), "</stream:stream>") {
			t.Errorf("inside direct TLS came %s", all)
		}
		_ = conn.Close()
	}
	if _, err := dial("example.org", "xmpp-server"); err == nil {
		t.Error("a server's ALPN was taken")
	}
	if _, err := dial("example.com", ""); err == nil {
		t.Error("another domain's handshake was answered")
	}
	c := servertest.Raw(t, s.DirectTLS)
	c.Send(header)
	c.Header()
	c.ExpectStreamError(xmppstream.PolicyViolation)
	conn, err := dial("example.net", "")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, header)
	all, _ := io.ReadAll(conn)
	if !strings.Contains(string(all), "host-unknown") {
		t.Errorf("a stream for another domain than its TLS's gave %s", all)
	}
}

func TestWrongProtocols(t *testing.T) {
	s := servertest.New(t)
	for _, c := range []struct{ sent, want string }{
		{"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
		{"\x16\x03\x01\x00\x05abcde", "\x15\x03\x03\x00\x02\x02\x0a"},
	} {
		conn, err := net.Dial("tcp", s.STARTTLS)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, c.sent)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		all, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(all), c.want) {
			t.Errorf("%q was answered with %q", c.sent, all)
		}
		_ = conn.Close()
	}
}

func TestClosingHandshake(t *testing.T) {
	s := servertest.New(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	romeo.Send("<message to='romeo@example.org/orchard'><body>last</body></message></stream:stream>")
	romeo.Expect("<message><body>last</body></message>")
	romeo.ExpectEnd()
	if n := len(s.Sessions(romeo.JID)); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestSystemShutdown(t *testing.T) {
	s := servertest.New(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	early := servertest.Raw(t, s.STARTTLS)
	early.Send(header)
	early.Header()
	go s.Stop(t)
	romeo.ExpectStreamError(xmppstream.SystemShutdown)
	early.Expect("<stream:features/>")
	early.ExpectStreamError(xmppstream.SystemShutdown)
}

func TestServeConn(t *testing.T) {
	s := servertest.New(t)
	client, inner := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- s.ServeConn(t.Context(), inner, server.ConnOptions{Kind: server.STARTTLS, Greeting: []byte(header[:40]), Peer: "circuit"})
	}()
	go func() { _, _ = io.WriteString(client, header[40:]+"</stream:stream>") }()
	all, err := io.ReadAll(client)
	if err != nil || !strings.HasSuffix(string(all), "</stream:features></stream:stream>") {
		t.Errorf("%s, %v", all, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := s.ServeConn(t.Context(), inner, server.ConnOptions{}); err == nil {
		t.Error("a connection of no kind was served")
	}
}

func TestNegotiationTimeout(t *testing.T) {
	t.Parallel()
	s := servertest.NewWith(t, func(c *server.Config) { c.Limits.Negotiation = 100 * time.Millisecond })
	c := servertest.Plain(t, s, "example.org")
	c.ExpectStreamError(xmppstream.ConnectionTimeout)
}
