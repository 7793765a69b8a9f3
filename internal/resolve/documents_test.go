package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"xmpp-gw/tests/lab"
)

// TestDocuments reads both forms, each with its own error.
func TestDocuments(t *testing.T) {
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Leaf(lab.CALeaf{Names: []string{"example.test"}})
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{}
	s, err := lab.NewScript(func(c *lab.ScriptConn) {
		body, ok := answers[c.HTTPS(cert).URL.Path]
		if !ok {
			c.Answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
		c.Answer(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := HostMeta{Dial: toScript{s}, Roots: ca.Pool()}

	answers["/.well-known/host-meta.json"] = `{"xmpp":{"ttl":1},"links":[{"rel":"a","href":"b"}]}`
	d := h.All(t.Context(), "example.test")
	if !errors.Is(d.XMLErr, ErrNoHostMeta) || d.JSONErr != nil || !d.Native || len(d.JSON) != 1 || d.JSON[0] != (Link{"a", "b"}) {
		t.Errorf("%+v", d)
	}
	answers["/.well-known/host-meta"] = "no xml"
	answers["/.well-known/host-meta.json"] = `{}`
	if d := h.All(t.Context(), "example.test"); !errors.Is(d.XMLErr, errDocument) || d.JSONErr != nil || d.Native {
		t.Errorf("%+v", d)
	}
	if d := h.All(t.Context(), "127.0.0.1"); !errors.Is(d.XMLErr, ErrRefused) || !errors.Is(d.JSONErr, ErrRefused) {
		t.Errorf("%+v", d)
	}
}

// toScript dials a script, wherever it is asked to go.
type toScript struct{ s *lab.Script }

func (d toScript) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", d.s.Addr())
}
