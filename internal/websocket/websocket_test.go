package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/tests/lab"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dial starts a server that runs script and connects to it.
func dial(t *testing.T, script func(*lab.ScriptConn)) (*lab.Script, net.Conn) {
	t.Helper()
	s, err := lab.NewScript(script)
	check(t, err)
	t.Cleanup(s.Close)
	conn, err := net.Dial("tcp", s.Addr())
	check(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return s, conn
}

var options = Options{Host: "example.org:5281", Path: "/ws?x=1", Limit: 64 << 10}

func TestStream(t *testing.T) {
	var socket *lab.WebSocketConn
	var request *http.Request
	s, conn := dial(t, func(c *lab.ScriptConn) {
		request = c.HTTP()
		socket = c.WebSocket(request, "xmpp")
		c.WebOpen("example.org", lab.FeatureBind)
		_ = socket.Frame(true, 9, "are you there")
		c.Expect(`</message>`)
		_ = socket.Frame(false, 1, "<message xmlns='jabber:client'><body>in two ")
		_ = socket.Frame(true, 0, "frames</body></message>")
		c.WebOpen("example.org", "")
		c.Expect(`<close [^>]*/>`)
		c.Send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
		c.Hang()
	})
	c, err := Client(t.Context(), conn, options)
	check(t, err)
	r, w := xmppstream.NewReader(c, xmppstream.SessionLimits()), xmppstream.NewWriter(c)
	header := func() {
		t.Helper()
		check(t, w.Header(xmppstream.Header{To: "example.org", From: "a&b@example.org", Lang: "en"}))
		check(t, w.Flush())
		h, err := r.ReadHeader()
		if err != nil || h.From != "example.org" || h.ID != "script" || h.Version != "1.0" || h.Lang != "en" || h.ContentNS != xmppstream.NSClient {
			t.Fatalf("header %+v, %v", h, err)
		}
		e, err := r.Next()
		if err != nil || !e.Is(xmppstream.NSStream, "features") {
			t.Fatalf("features %+v, %v", e, err)
		}
	}
	header()
	check(t, w.Raw([]byte(" \n")))
	check(t, w.Raw([]byte("<presence/><message to='b'><body>a &lt; b</body></message>")))
	check(t, w.Flush())
	e, err := r.Next()
	if err != nil || string(e.Raw) != "<message xmlns='jabber:client'><body>in two frames</body></message>" {
		t.Fatalf("%+v, %v", e, err)
	}
	r.Restart()
	header()
	check(t, w.Close())
	if e, err = r.Next(); err != nil || e.Kind != xmppstream.End {
		t.Fatalf("%+v, %v", e, err)
	}
	check(t, c.Close())
	for range 100 { // the server's reader is another goroutine
		if f := socket.Frames(); f[len(f)-1].Opcode == 8 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if request.Host != options.Host || request.RequestURI != options.Path || request.Header.Get("Sec-WebSocket-Protocol") != "xmpp" ||
		len(request.Header["User-Agent"]) > 0 || len(request.Header["Origin"]) > 0 || len(request.Header["Accept-Encoding"]) > 0 {
		t.Errorf("the request is %+v", request)
	}
	var messages []string
	pong, ping, bye := false, false, false
	for _, f := range socket.Frames() {
		if !f.Masked || !f.Final {
			t.Errorf("frame %+v", f)
		}
		switch f.Opcode {
		case 1:
			messages = append(messages, f.Payload)
		case 8:
			bye = f.Payload == "\x03\xe8"
		case 9:
			ping = true
		case 10:
			pong = f.Payload == "are you there"
		}
	}
	const open = `<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' from='a&amp;b@example.org' version='1.0' xml:lang='en'/>`
	want := []string{
		open, "<presence xmlns='jabber:client'/>",
		"<message xmlns='jabber:client' to='b'><body>a &lt; b</body></message>",
		open, "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
	}
	if strings.Join(messages, "\n") != strings.Join(want, "\n") {
		t.Errorf("messages:\n%s\nwant:\n%s", strings.Join(messages, "\n"), strings.Join(want, "\n"))
	}
	if !pong || !ping || !bye {
		t.Errorf("pong %v, ping for whitespace %v, close frame %v", pong, ping, bye)
	}
	if err := s.Errors(); err != nil {
		t.Error(err)
	}
}

// What answers the handshake in another way is refused, and says what it is.
func TestHandshake(t *testing.T) {
	for name, x := range map[string]struct {
		script func(*lab.ScriptConn)
		want   string
	}{
		"not found": {func(c *lab.ScriptConn) { c.HTTP(); c.Answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") }, "HTTP status 404"},
		"redirect": {func(c *lab.ScriptConn) {
			c.HTTP()
			c.Answer("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n")
		}, "is not followed"},
		"forbidden":         {func(c *lab.ScriptConn) { c.HTTP(); c.Answer("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") }, "does not let us in"},
		"down":              {func(c *lab.ScriptConn) { c.HTTP(); c.Answer("HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n") }, "has a fault"},
		"no subprotocol":    {func(c *lab.ScriptConn) { c.WebSocket(c.HTTP(), ""); c.Hang() }, "subprotocol xmpp"},
		"other subprotocol": {func(c *lab.ScriptConn) { c.WebSocket(c.HTTP(), "soap") }, "answer to the handshake is wrong"},
		"no key": {func(c *lab.ScriptConn) {
			r := c.HTTP()
			r.Header.Set("Sec-WebSocket-Key", "x")
			c.WebSocket(r, "xmpp")
			c.Hang()
		}, "answer to the handshake is wrong"},
		"no HTTP":  {func(c *lab.ScriptConn) { c.HTTP(); c.Answer(lab.Header("example.org")) }, "no HTTP"},
		"a flood":  {func(c *lab.ScriptConn) { c.HTTP(); c.Answer("HTTP/1.1 101 x\r\nX: " + strings.Repeat("x", 1<<20)) }, "answer to the handshake is wrong"},
		"hangs up": {func(c *lab.ScriptConn) { c.HTTP() }, "EOF"},
	} {
		_, conn := dial(t, x.script)
		c, err := Client(t.Context(), conn, options)
		if err == nil || c != nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		var own *Error
		if ok := errors.As(err, &own); ok == (x.want == "EOF") {
			t.Errorf("%s: %T", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, conn := dial(t, func(c *lab.ScriptConn) { c.Hang() })
	if _, err := Client(ctx, conn, options); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server: %v", err)
	}
}

// After the handshake, what is not RFC 7395 ends the stream with a sentence.
func TestGarbage(t *testing.T) {
	const open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0'/>"
	text := func(s string) func(*lab.WebSocketConn) {
		return func(w *lab.WebSocketConn) { _ = w.Frame(true, 1, s) }
	}
	for name, x := range map[string]struct {
		send func(*lab.WebSocketConn)
		want string
	}{
		"two elements":      {text("<a xmlns='b'/><a xmlns='b'/>"), "not one whole XML element"},
		"half an element":   {text("<a xmlns='b'>"), "not one whole XML element"},
		"whitespace":        {text(" "), "not one whole XML element"},
		"space before":      {text(" <a xmlns='b'/>"), "not one whole XML element"},
		"empty":             {text(""), "not one whole XML element"},
		"text":              {text("hello"), "not one whole XML element"},
		"an end tag":        {text("</stream:stream>"), "not one whole XML element"},
		"a comment":         {text("<!-- x -->"), "not one whole XML element"},
		"a stream header":   {text(lab.Header("example.org")), "not one whole XML element"},
		"no namespace":      {text("<message/>"), "does not declare its namespace"},
		"prefix undeclared": {text("<stream:features/>"), "does not declare its namespace"},
		"other frame":       {text("<ping xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"), "RFC 7395 does not have"},
		"bad open":          {text("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' a='&b;'/>"), "not well-formed"},
		"binary":            {func(w *lab.WebSocketConn) { _ = w.Frame(true, 2, open) }, "a binary message"},
		"too large":         {text("<a xmlns='b'>" + strings.Repeat("x", options.Limit) + "</a>"), "larger than a stanza may be"},
		"reserved opcode":   {func(w *lab.WebSocketConn) { _ = w.Frame(true, 3, open) }, "no WebSocket frame"},
		"compressed":        {func(w *lab.WebSocketConn) { _ = w.Frame(true, 0x41, open) }, "no WebSocket frame"},
		"huge ping":         {func(w *lab.WebSocketConn) { _ = w.Frame(true, 9, strings.Repeat("x", 200)) }, "no WebSocket frame"},
		"lone continuation": {func(w *lab.WebSocketConn) { _ = w.Frame(true, 0, open) }, "no WebSocket frame"},
		"close frame":       {func(w *lab.WebSocketConn) { _ = w.Frame(true, 8, "\x03\xf3") }, "EOF"},
		"hangs up":          {func(w *lab.WebSocketConn) { _ = w.Conn.Close() }, "EOF"},
		"cut in a frame":    {func(w *lab.WebSocketConn) { _, _ = w.Conn.Write([]byte{0x81, 100, '<'}); _ = w.Conn.Close() }, "EOF"},
	} {
		_, conn := dial(t, func(c *lab.ScriptConn) {
			w := c.WebSocket(c.HTTP(), "xmpp")
			c.Send(open)
			x.send(w)
			c.Hang()
		})
		c, err := Client(t.Context(), conn, options)
		check(t, err)
		got, err := io.ReadAll(c)
		if !strings.HasPrefix(string(got), "<?xml version='1.0'?><stream:stream ") {
			t.Errorf("%s: %q comes before it", name, got)
		}
		if x.want == "EOF" {
			if own := (*Error)(nil); errors.As(err, &own) {
				t.Errorf("%s: %v", name, err)
			}
		} else if own := (*Error)(nil); !errors.As(err, &own) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		if _, again := c.Read(make([]byte, 1)); fmt.Sprint(again) != fmt.Sprint(err) && err != nil {
			t.Errorf("%s: then %v", name, again)
		}
		_ = c.Close()
	}
}

func TestMoved(t *testing.T) {
	_, conn := dial(t, func(c *lab.ScriptConn) {
		c.WebSocket(c.HTTP(), "xmpp")
		c.Send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://b.example.org/ws'/>")
		c.Hang()
	})
	c, err := Client(t.Context(), conn, options)
	check(t, err)
	_, err = c.Read(make([]byte, 100))
	if moved := (*Moved)(nil); !errors.As(err, &moved) || moved.URI != "wss://b.example.org/ws" {
		t.Errorf("%v", err)
	}
}

// A server that reads nothing holds up neither Close nor a deadline.
func TestStuck(t *testing.T) {
	_, conn := dial(t, func(c *lab.ScriptConn) {
		c.WebSocket(c.HTTP(), "xmpp")
		time.Sleep(3 * time.Second)
	})
	c, err := Client(t.Context(), conn, options)
	check(t, err)
	done := make(chan error, 1)
	go func() {
		stanza := []byte("<message><body>" + strings.Repeat("x", 32<<10) + "</body></message>")
		for {
			if _, err := c.Write(stanza); err != nil {
				done <- err
				return
			}
		}
	}()
	time.Sleep(200 * time.Millisecond)
	start := time.Now()
	check(t, c.SetWriteDeadline(time.Now()))
	<-done
	_ = c.Close()
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v", d)
	}
}

// A frame must not reach the client as an element, however it is written: a
// redirect is policy's to judge.
func TestFramesDoNotPass(t *testing.T) {
	for _, message := range []string{
		"<close xmlns='urn:ietf:params:xml:ns:xmpp-fram&#105;ng' see-other-uri='wss://b/'/>",
		"<x:close xmlns:x='urn:ietf:params:xml:ns:xmpp-fram&#x69;ng' see-other-uri='wss://b/'/>",
		"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://b/'>" + strings.Repeat(" ", maxFraming) + "</close>",
		"<x:close xmlns:x='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://b/'/>",
		"<other xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
	} {
		if got, err := receive([]byte(message)); err == nil {
			t.Errorf("%.90s: the client gets %.90s", message, got)
		}
	}
	for _, message := range []string{
		"<message xmlns='jabber:client'><body>urn:ietf:params:xml:ns:xmpp-framing &amp;</body></message>",
		"<iq xmlns='jabber:client' id='&amp;'><close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/></iq>",
	} {
		if got, err := receive([]byte(message)); err != nil || string(got) != message {
			t.Errorf("%s: %s, %v", message, got, err)
		}
	}
}
