package probe

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

// page is an answer of a web server with a body.
func page(body string) func(*lab.ScriptConn) {
	return func(c *lab.ScriptConn) {
		c.Answer(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body))
	}
}

// begin is the beginning of an answer, and a piece that follows without end.
func begin(head, piece string) func(*lab.ScriptConn) {
	return func(c *lab.ScriptConn) {
		raw := c.Conn.(*lab.WebSocketConn).Conn
		text := head
		for {
			if _, err := raw.Write([]byte(text)); err != nil {
				return
			}
			text = strings.Repeat(piece, 8<<10/len(piece))
		}
	}
}

func redirect(to string) func(*lab.ScriptConn) {
	return func(c *lab.ScriptConn) {
		c.Answer("HTTP/1.1 302 Found\r\nLocation: " + to + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
}

const xrd = "<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>"

// TestBadWeb is web servers that are asked for host-meta, and WebSockets.
func TestBadWeb(t *testing.T) {
	link := "<Link rel='urn:xmpp:alt-connections:websocket' href='wss://" + domain + "/ws'/>"
	var rows []bad
	for name, answer := range map[string]func(*lab.ScriptConn){
		"silent":                    func(c *lab.ScriptConn) { c.Hang() },
		"hangs up":                  func(c *lab.ScriptConn) { c.Answer("") },
		"not HTTP":                  func(c *lab.ScriptConn) { c.Answer("SSH-2.0-x\r\n") },
		"a header without end":      begin("HTTP/1.1 200 OK\r\nX: ", "x"),
		"headers without end":       begin("HTTP/1.1 200 OK\r\n", "X: y\r\n"),
		"interim answers, no end":   begin("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
		"a body without end":        begin("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+xrd, link),
		"blanks without end":        begin("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", " "),
		"chunks without end":        begin("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"),
		"a length of 2^62":          begin("HTTP/1.1 200 OK\r\nContent-Length: 4611686018427387904\r\n\r\n", "<a>"),
		"a body a byte at a time":   func(c *lab.ScriptConn) { drip(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n") },
		"redirects in a circle":     redirect("https://" + domain + "/.well-known/host-meta"),
		"redirects elsewhere":       redirect("https://evil.test/host-meta"),
		"redirects out of TLS":      redirect("http://" + domain + "/.well-known/host-meta"),
		"redirects to nothing":      redirect("javascript:alert(1)"),
		"a page":                    page("<!DOCTYPE html><html><body>It works!</body></html>"),
		"entities":                  page("<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]>" + xrd + "&b;" + link + "</XRD>"),
		"depth":                     page(xrd + strings.Repeat("<a>", 20000)),
		"depth in JSON":             page(strings.Repeat(`{"links":[`, 6000)),
		"10,000 links":              page(xrd + strings.Repeat(link, 10000) + "</XRD>"),
		"links without TLS":         page(xrd + strings.ReplaceAll(link, "wss:", "ws:") + "</XRD>"),
		"a link to another program": page(xrd + strings.ReplaceAll(link, "wss:", "file:") + "</XRD>"),
		"an error":                  func(c *lab.ScriptConn) { c.Answer("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") },
		"another protocol":          func(c *lab.ScriptConn) { c.Answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n") },
	} {
		rows = append(rows, bad{name: "host-meta: " + name, want: wants("dns.hostmeta", "unknown warn fail"), start: func(l *lot) (Target, Options) {
			cert := l.cert(lab.CALeaf{Names: []string{domain}})
			l.start(domain+":443", func(c *lab.ScriptConn) { c.HTTPS(cert); answer(c) })
			return Target{}, Options{}
		}})
	}
	rows = append(rows, bad{name: "host-meta: another's certificate", want: wants("dns.hostmeta", "unknown"), start: func(l *lot) (Target, Options) {
		cert := l.cert(lab.CALeaf{Names: []string{"other.test"}})
		l.start(domain+":443", func(c *lab.ScriptConn) { c.HTTPS(cert); page(xrd + link + "</XRD>")(c) })
		return Target{}, Options{}
	}})

	raw := func(text, more string) func(*lab.ScriptConn, *lab.WebSocketConn) {
		return func(_ *lab.ScriptConn, w *lab.WebSocketConn) {
			_, err := w.Conn.Write([]byte(text))
			for err == nil && more != "" {
				_, err = w.Conn.Write([]byte(strings.Repeat(more, 4<<10/len(more))))
			}
			_, _ = w.Conn.Read(make([]byte, 1<<10))
			time.Sleep(badStep) // open, so that it is not the end that is noticed
		}
	}
	open := "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='" + domain + "' id='x' version='1.0'/>"
	for name, play := range map[string]func(*lab.ScriptConn, *lab.WebSocketConn){
		"silent":                  func(c *lab.ScriptConn, _ *lab.WebSocketConn) { c.Hang() },
		"garbage":                 raw("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", ""),
		"a frame of 2^62 bytes":   raw("\x81\x7f\x40\x00\x00\x00\x00\x00\x00\x00", "<a>"),
		"fragments without end":   raw("\x01\x01 ", "\x00\x01 "),
		"pings without end":       raw("", "\x89\x01x"),
		"empty frames, no end":    raw("", "\x81\x00"),
		"masked frames":           raw("\x81\x83abcdabc", ""),
		"bits that nobody agreed": raw("\xf1\x01x", ""),
		"no text":                 raw("\x82\x04\x00\x01\x02\x03", ""),
		"text that is no UTF-8":   raw("\x81\x02\xc3\x28", ""),
		"at once an end":          raw("\x88\x02\x03\xe8", ""),
		"a stream, not framing":   func(c *lab.ScriptConn, w *lab.WebSocketConn) { _ = w.Together(server{}.header()); c.Hang() },
		"two headers":             func(c *lab.ScriptConn, w *lab.WebSocketConn) { _ = w.Together(open, open); c.Hang() },
		"no features":             func(c *lab.ScriptConn, w *lab.WebSocketConn) { _ = w.Together(open); c.Hang() },
		"elements in pieces": func(c *lab.ScriptConn, w *lab.WebSocketConn) {
			_ = w.Together(open, "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>", "</stream:features>")
			c.Hang()
		},
		"sent elsewhere": func(c *lab.ScriptConn, w *lab.WebSocketConn) {
			_ = w.Together("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://evil.test/ws'/>")
			c.Hang()
		},
		"stanzas without end": func(c *lab.ScriptConn, w *lab.WebSocketConn) {
			for w.Together(open, "<message xmlns='jabber:client'/>") == nil {
			}
		},
	} {
		rows = append(rows, bad{name: "WebSocket: " + name, want: wants("sasl.scram sasl.posttls sasl.plus reg.open", "unknown fail"), start: func(l *lot) (Target, Options) {
			cert := l.cert(lab.CALeaf{Names: []string{domain}})
			l.start("web.test:443", func(c *lab.ScriptConn) {
				req := c.HTTPS(cert)
				play(c, c.WebSocket(req, "xmpp"))
			})
			return Target{Endpoints: []policy.Endpoint{at("wss://web.test/ws")}}, Options{}
		}})
	}
	for name, answer := range map[string]string{
		"no":                         "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"another key":                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n",
		"redirected":                 "HTTP/1.1 301 Moved\r\nLocation: wss://evil.test/ws\r\n\r\n",
		"not HTTP":                   "\x16\x03\x03\x00\x00",
		"an answer of another world": strings.Repeat("x", 200<<10),
	} {
		rows = append(rows, bad{name: "WebSocket: " + name, want: wants("sasl.scram sasl.posttls reg.open", "unknown fail"), start: func(l *lot) (Target, Options) {
			cert := l.cert(lab.CALeaf{Names: []string{domain}})
			l.start("web.test:443", func(c *lab.ScriptConn) { c.HTTPS(cert); c.Answer(answer) })
			return Target{Endpoints: []policy.Endpoint{at("wss://web.test/ws")}}, Options{}
		}})
	}
	all(t, rows, 40, "host-meta: a body without end", "host-meta: headers without end", "WebSocket: fragments without end", "WebSocket: a frame of 2^62 bytes")
}

// drip sends a text a byte at a time.
func drip(c *lab.ScriptConn, text string) {
	raw := c.Conn.(*lab.WebSocketConn).Conn
	for i := range len(text) {
		if _, err := raw.Write([]byte{text[i]}); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
