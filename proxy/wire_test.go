package proxy

import (
	"bytes"
	"testing"
	"time"
)

// What is left of a record above the socket must not be waited for on it.
func TestWireUnderTLS(t *testing.T) {
	g := newGround(t, good, nil)
	c := g.dial()
	c.login(g)
	// One record with many stanzas, each of the size of the idle reader's own
	// buffer: it is drained just when TLS still holds the rest.
	const stanza = "<message><body>0123456789012345678901234567890</body></message>"
	burst := bytes.Repeat([]byte(stanza), 100)
	c.send(string(burst))
	got := 0
	deadline := time.Now().Add(10 * time.Second)
	for got < len(burst) && time.Now().Before(deadline) {
		c.expect(`</message>`)
		got += len(stanza)
	}
	if got != len(burst) {
		t.Errorf("%d bytes of %d came back", got, len(burst))
	}
}
