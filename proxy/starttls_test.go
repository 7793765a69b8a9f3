package proxy

import (
	"strings"
	"testing"
)

// What clients send behind <starttls/>: a line end does no harm, in front of or
// behind <proceed/>, and all else ends the stream.
func TestBehindSTARTTLS(t *testing.T) {
	t.Parallel()
	const starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	for _, tt := range []struct {
		name, behind, later string
		refused             bool
	}{
		{name: "nothing"},
		{name: "a line end", behind: "\r\n"},
		{name: "a line end, late", later: "\n"},
		{name: "an element", behind: "<presence/>", refused: true},
		{name: "an element behind a line end", behind: "\n<presence/>", refused: true},
		{name: "half an element", behind: "<pres", refused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGround(t, good, nil)
			c := g.dial()
			c.open()
			c.send(starttls + tt.behind)
			if tt.refused {
				if got := c.rest(); !strings.Contains(got, "<policy-violation") || strings.Contains(got, "<proceed") {
					t.Errorf("it got %q, want a policy-violation", got)
				}
				return
			}
			c.expect(`<proceed[^>]*/>`)
			c.send(tt.later)
			c.handshake(g)
			c.open()
			c.auth(testUser, testPassword)
			c.expect(`<success[^>]*/>`)
		})
	}

	t.Run("no TLS behind proceed", func(t *testing.T) {
		g := newGround(t, good, nil)
		c := g.dial()
		c.open()
		c.send(starttls)
		c.expect(`<proceed[^>]*/>`)
		c.send("<presence/>")
		if got := c.rest(); got != "" {
			t.Errorf("in the clear it got %q", got)
		}
		g.drained()
	})
}
