package lab

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// WebSocketFrame is one frame as it came (RFC 6455 §5.2).
type WebSocketFrame struct {
	Final   bool
	Opcode  byte // 1 text, 2 binary, 8 close, 9 ping, 10 pong
	Masked  bool
	Payload string
}

// WebSocketConn is the server's side of a WebSocket, written without the library
// that the gateway uses. Read gives the text messages one behind the other, Write
// sends its argument as one message.
type WebSocketConn struct {
	net.Conn
	r *bufio.Reader

	mu     sync.Mutex
	frames []WebSocketFrame
	rest   []byte
}

// HTTPS goes on inside TLS as a web server, and reads one request.
func (c *ScriptConn) HTTPS(cert tls.Certificate) *http.Request {
	t := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	if err := t.Handshake(); err != nil {
		panic(errScriptEnds)
	}
	c.Conn = t
	c.script.log([]byte("[TLS]"))
	return c.HTTP()
}

// HTTP reads one request.
func (c *ScriptConn) HTTP() *http.Request {
	r := bufio.NewReader(c.Conn)
	req, err := http.ReadRequest(r)
	if err != nil {
		panic(errScriptEnds)
	}
	c.script.log(fmt.Appendf(nil, "[%s %s of %s]", req.Method, req.RequestURI, req.Host))
	c.Conn = &WebSocketConn{Conn: c.Conn, r: r}
	return req
}

// Answer sends an HTTP answer as it is given, and ends the script.
func (c *ScriptConn) Answer(raw string) {
	_, _ = io.WriteString(c.Conn.(*WebSocketConn).Conn, raw)
	panic(errScriptEnds)
}

// WebSocket answers the handshake of req with this subprotocol, none where it is
// empty (RFC 6455 §4.2.2).
func (c *ScriptConn) WebSocket(req *http.Request, subprotocol string) *WebSocketConn {
	w := c.Conn.(*WebSocketConn)
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if subprotocol != "" {
		answer += "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	if _, err := io.WriteString(w.Conn, answer+"\r\n"); err != nil {
		panic(errScriptEnds)
	}
	return w
}

// Read gives the bytes of the next text messages.
func (w *WebSocketConn) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		f, err := w.frame()
		if err != nil {
			return 0, err
		}
		switch f.Opcode {
		case 0, 1, 2:
			w.rest = []byte(f.Payload)
		case 8:
			_ = w.Frame(true, 8, f.Payload)
			return 0, io.EOF
		case 9:
			if err := w.Frame(true, 10, f.Payload); err != nil {
				return 0, err
			}
		}
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// Write sends one text message.
func (w *WebSocketConn) Write(p []byte) (int, error) { return len(p), w.Frame(true, 1, string(p)) }

// Frame sends one frame.
func (w *WebSocketConn) Frame(final bool, opcode byte, payload string) error {
	_, err := w.Conn.Write(webSocketFrame(final, opcode, payload))
	return err
}

// Together sends text messages in one write, and so in one TLS record.
func (w *WebSocketConn) Together(messages ...string) error {
	var all []byte
	for _, m := range messages {
		all = append(all, webSocketFrame(true, 1, m)...)
	}
	_, err := w.Conn.Write(all)
	return err
}

func webSocketFrame(final bool, opcode byte, payload string) []byte {
	head := []byte{opcode}
	if final {
		head[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	return append(head, payload...)
}

// Frames are the frames that came so far.
func (w *WebSocketConn) Frames() []WebSocketFrame {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]WebSocketFrame(nil), w.frames...)
}

// frame reads one frame.
func (w *WebSocketConn) frame() (WebSocketFrame, error) {
	var head [2]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return WebSocketFrame{}, err
	}
	f := WebSocketFrame{Final: head[0]&0x80 != 0, Opcode: head[0] & 0x0F, Masked: head[1]&0x80 != 0}
	n := uint64(head[1] & 0x7F)
	var more [8]byte
	switch n {
	case 126:
		if _, err := io.ReadFull(w.r, more[:2]); err != nil {
			return f, err
		}
		n = uint64(binary.BigEndian.Uint16(more[:2]))
	case 127:
		if _, err := io.ReadFull(w.r, more[:]); err != nil {
			return f, err
		}
		n = binary.BigEndian.Uint64(more[:])
	}
	var mask [4]byte
	if f.Masked {
		if _, err := io.ReadFull(w.r, mask[:]); err != nil {
			return f, err
		}
	}
	payload := make([]byte, min(n, 16<<20))
	if _, err := io.ReadFull(w.r, payload); err != nil {
		return f, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	f.Payload = string(payload)
	w.mu.Lock()
	w.frames = append(w.frames, f)
	w.mu.Unlock()
	return f, nil
}

// WebOpen answers <open/> with one's own and features (RFC 7395 §3.4).
func (c *ScriptConn) WebOpen(domain, features string) {
	c.Expect(`<open [^>]*/>`)
	c.Send("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='" + domain + "' id='script' version='1.0' xml:lang='en'/>")
	c.Send("<stream:features xmlns:stream='http://etherx.jabber.org/streams'>" + features + "</stream:features>")
}

// WebLogin is Login over a WebSocket.
func (c *ScriptConn) WebLogin(domain, user, password string) {
	c.WebOpen(domain, FeatureSASL("SCRAM-SHA-256"))
	c.SCRAM(user, password, nil)
	c.WebOpen(domain, FeatureBind)
	id := c.Expect(`<iq[^>]*id=['"]([^'"]*)['"][^>]*>.*</iq>`)[1]
	c.Send("<iq xmlns='jabber:client' type='result' id='" + id + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>" + user + "@" + domain + "/lab</jid></bind></iq>")
}
