package xmppstream

import (
	"strings"
	"testing"
)

const clientHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0'>"

func TestReaderYieldsHeads(t *testing.T) {
	r := NewReader(strings.NewReader(clientHeader+"<message to='a&amp;b@example.org' id=\"1\" type='chat'><body>hi</body><x xmlns='urn:x'/></message>\n </stream:stream>"), SessionLimits())
	h, err := r.ReadHeader()
	if err != nil || h.To != "example.org" || h.Version != "1.0" || h.Prefix != "stream" || h.ContentNS != NSClient {
		t.Fatalf("header %+v, %v", h, err)
	}
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if !e.Is(NSClient, "message") || string(e.To) != "a&b@example.org" || string(e.ID) != "1" || string(e.Type) != "chat" || e.From != nil {
		t.Errorf("head %q %q to %q id %q type %q from %q", e.Space, e.Name, e.To, e.ID, e.Type, e.From)
	}
	if len(e.Children) != 2 || !e.HasChild(NSClient, "body") || !e.HasChild("urn:x", "x") {
		t.Errorf("children %q", e.Children)
	}
	n, err := e.Node()
	if err != nil || n.ChildText(NSClient, "body") != "hi" || n.Attr("to") != "a&b@example.org" {
		t.Errorf("node %+v, %v", n, err)
	}
	for _, want := range []Kind{Whitespace, End} {
		if e, err := r.Next(); err != nil || e.Kind != want {
			t.Errorf("got %+v, %v; want kind %d", e, err, want)
		}
	}
}
