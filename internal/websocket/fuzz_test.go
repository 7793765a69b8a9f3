package websocket

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"xmpp-gw/internal/xmppstream"
)

const streamHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

// elements reads the elements of a stream as the engine does, up to its first
// error.
func elements(body []byte) (raw []string, nodes []*xmppstream.Node, ended bool, err error) {
	r := xmppstream.NewReader(bytes.NewReader(append([]byte(streamHeader), body...)), xmppstream.SessionLimits())
	if _, err := r.ReadHeader(); err != nil {
		return nil, nil, false, err
	}
	for {
		e, err := r.Next()
		if err != nil {
			return raw, nodes, ended, err
		}
		switch e.Kind {
		case xmppstream.Stanza:
			n, err := e.Node()
			if err != nil {
				return raw, nodes, ended, err
			}
			raw, nodes = append(raw, string(e.Raw)), append(nodes, n)
		case xmppstream.End:
			return raw, nodes, true, nil
		}
	}
}

// FuzzCut: a stream that the engine reads is cut where the engine cuts it, however
// its bytes come, and each message means alone what it meant in the stream.
func FuzzCut(f *testing.F) {
	f.Add([]byte("<message to='a'><body>x</body></message> <presence/>\n</stream:stream>"), uint8(1))
	f.Add([]byte(`<a b='/>' c=">"/><a><![CDATA[</a>]]]></a>]]></a><stream:error/><x:iq xmlns:x='jabber:client'><query/></x:iq>`), uint8(3))
	f.Add([]byte("<a xmlns='b'/><stream:features xmlns:stream='http://etherx.jabber.org/streams'><c xmlns=''/></stream:features>"), uint8(7))
	f.Add([]byte("<iq xmlns = 'jabber:client' xmlns:stream\n=\t'stream:'><stream:x/></iq>"), uint8(255))
	f.Fuzz(func(t *testing.T, body []byte, size uint8) {
		want, nodes, ended, err := elements(body)
		var parts []string
		var c cutter
		closed := false
		stop := errors.New("stop")
		emit := func(part []byte, what found) error {
			switch what {
			case opening:
				if string(part) != streamHeader {
					t.Fatalf("the opening is %q", part)
				}
			case closing:
				closed = true
				return stop
			case element:
				parts = append(parts, string(part))
				if len(parts) > len(want) {
					return stop // what the engine refused is nobody's business
				}
			}
			return nil
		}
		var cutErr error
		all := append([]byte(streamHeader), body...)
		for len(all) > 0 && cutErr == nil {
			n := min(len(all), int(size)+1)
			cutErr = c.next(all[:n], emit)
			all = all[n:]
		}
		if len(parts) < len(want) || !reflect.DeepEqual(parts[:len(want)], append([]string{}, want...)) && len(want) > 0 {
			t.Fatalf("cut as %q (%v), read as %q (%v)", parts, cutErr, want, err)
		}
		if ended && !closed {
			t.Fatalf("%q: the end was not found (%v)", body, cutErr)
		}
		for i, raw := range want {
			message := alone(nil, []byte(raw))
			n, err := xmppstream.Parse(message, xmppstream.SessionLimits())
			if err != nil || !reflect.DeepEqual(n, nodes[i]) {
				t.Fatalf("%q is sent as %q, which is %+v (%v), not %+v", raw, message, n, err, nodes[i])
			}
			back, err := receive(message)
			if err != nil && !strings.Contains(raw, nsFraming) || err == nil && !bytes.Equal(back, message) && !strings.Contains(raw, nsFraming) {
				t.Fatalf("%q, received: %q, %v", message, back, err)
			}
		}
	})
}

// FuzzReceive: whatever a server sends as a message, it is read in the stream as
// the one element that it is alone, or refused.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("<message xmlns='jabber:client'><body>x</body></message>"))
	f.Add([]byte("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='a' version='1.0' xml:lang='en'/>"))
	f.Add([]byte("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://a/'/>"))
	f.Add([]byte("<close xmlns='urn:ietf:params:xml:ns:xmpp-fram&#105;ng'/>"))
	f.Add([]byte("<f:close xmlns:f='urn:ietf:params:xml:ns:xmpp-framing'/>"))
	f.Add([]byte("<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>"))
	f.Add([]byte("<a xmlns='b'><![CDATA[x]]></a></stream:stream>"))
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := receive(bytes.Clone(message))
		if err != nil {
			own, moved := (*Error)(nil), (*Moved)(nil)
			if got != nil || !errors.As(err, &own) && !errors.As(err, &moved) {
				t.Fatalf("%q: %q, %T", message, got, err)
			}
			return
		}
		if !bytes.Equal(got, message) {
			n, err := xmppstream.Parse(message, xmppstream.SessionLimits())
			if err != nil || n.Space != nsFraming {
				t.Fatalf("%q became %q (%v)", message, got, err)
			}
			if n.Name == "open" {
				r := xmppstream.NewReader(bytes.NewReader(got), xmppstream.SessionLimits())
				h, err := r.ReadHeader()
				if err != nil || h.From != n.Attr("from") || h.Version != n.Attr("version") || r.Buffered() > 0 {
					t.Fatalf("%q became %q: %+v, %v", message, got, h, err)
				}
			}
			return
		}
		raw, nodes, ended, streamErr := elements(got)
		var bad *xmppstream.Error
		if errors.As(streamErr, &bad) || len(raw) == 0 && streamErr != nil {
			if len(raw) > 0 {
				t.Fatalf("%q: %q was read of it, and then %v", message, raw, streamErr)
			}
			return
		}
		if ended || len(raw) != 1 || raw[0] != string(message) {
			t.Fatalf("%q is read as %q, ended: %v", message, raw, ended)
		}
		if nodes[0].Space == nsFraming {
			t.Fatalf("%q passes as an element", message)
		}
		if bytes.Contains(message, []byte("stream:")) {
			return // the one prefix that a stream has beside the default namespace
		}
		if n, err := xmppstream.Parse(message, xmppstream.SessionLimits()); err != nil || !reflect.DeepEqual(n, nodes[0]) {
			t.Fatalf("%q alone is %+v (%v), in a stream %+v", message, n, err, nodes[0])
		}
	})
}
