package server_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
)

// FuzzClient gives a server the bytes of a client, on a stream that needs no TLS:
// it must neither panic nor hang, whatever they are.
func FuzzClient(f *testing.F) {
	s := servertest.NewWith(f, func(c *server.Config) {
		c.Limits.Negotiation, c.Limits.Drain, c.Limits.Resume = time.Second, 100*time.Millisecond, 100*time.Millisecond
		c.Limits.Unauthenticated = -1
	})
	s.Account(f, "romeo@example.org")
	for _, seed := range []string{
		"", "x", header, header + "</stream:stream>", strings.Replace(header, "client", "server", 1),
		header + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\x16\x03\x01\x00\x05abcde",
		header + "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>" +
			base64.StdEncoding.EncodeToString([]byte("n,,n=romeo,r=fyko+d2lbbFgONRv9qkxdawL")) + "</auth><response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>YQ==</response>",
		header + "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>" + header,
		header + "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1'><initial-response>biws</initial-response></authenticate>",
		header + "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>", header + bindRomeo,
		header + "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>",
		"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, direct bool) {
		kind := server.STARTTLS
		if direct {
			kind = server.DirectTLS
		}
		talk(t, s, sent, server.ConnOptions{Kind: kind, Private: true})
	})
}

// talk sends bytes and reads until the server is through.
func talk(t *testing.T, s *servertest.Server, sent []byte, o server.ConnOptions) {
	client, inner := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- s.ServeConn(t.Context(), inner, o) }()
	go func() {
		_, _ = client.Write(sent)
		time.Sleep(time.Millisecond)
		_ = client.Close()
	}()
	_, _ = io.Copy(io.Discard, client)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection does not end")
	}
}

// FuzzSession gives a bound session the bytes of its client; a second session must
// not be harmed by what it is sent.
func FuzzSession(f *testing.F) {
	s := servertest.NewWith(f, func(c *server.Config) {
		c.Limits.Drain, c.Limits.Resume = 100*time.Millisecond, 100*time.Millisecond
	})
	juliet := servertest.Online(f, s, "juliet@example.org/balcony")
	for _, seed := range []string{
		"<message to='juliet@example.org/balcony'><body>x</body></message>", "<presence><priority>5</priority></presence>",
		"<enable xmlns='urn:xmpp:sm:3' resume='true'/><r xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='0'/>",
		"<iq type='get' id='1' to='juliet@example.org'><x/></iq>", "<iq type='set' id='1' to='juliet@example.org/balcony'><stream:x/></iq>",
		"<p:message xmlns:p='jabber:client' to='juliet@example.org/balcony' p:from='x' xml:lang='de'><p:body>x</p:body><p:x/></p:message>",
		"<message\n\tto = \"juliet@example.org/balcony\"\r\nfrom='romeo@example.org' ><body><![CDATA[]]></body> </message >",
		"<message to='&#106;uliet@example.org/balcony' id='&lt;&quot;'/>", "</stream:stream>",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		if !whole(sent) {
			return // the server would wait for the rest; its reader has targets of its own
		}
		juliet.T = t
		romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
		_ = romeo.Conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = romeo.Conn.Write(sent)
		_, _ = romeo.Conn.Write([]byte("<iq type='get' id='fuzz-end'><x xmlns='urn:x'/></iq>"))
		for {
			e, err := romeo.Next()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("no answer")
			}
			if err != nil || e.Kind == xmppstream.End {
				break
			}
			if string(e.ID) == "fuzz-end" && string(e.Type) == "error" {
				break
			}
		}
		romeo.Cut()
		juliet.Drain() // whatever came was XML
	})
}

// whole reports whether b is elements that have all ended.
func whole(b []byte) bool {
	r := xmppstream.NewReader(io.MultiReader(strings.NewReader(header), bytes.NewReader(b)), xmppstream.SessionLimits())
	_, err := r.ReadHeader()
	for err == nil {
		_, err = r.Next()
	}
	return err == io.EOF
}
