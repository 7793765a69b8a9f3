//go:build e2e

package tornet_test

import (
	"strings"
	"testing"

	"xmpp-gw/onion"
)

// A Tor that knows a bridge alone gets into the network through it, and every
// circuit begins there.
func TestBridge(t *testing.T) {
	bridge, err := network.Bridge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer bridge.Close()
	if !strings.HasPrefix(bridge.Line, "obfs4 127.0.0.1:") || !strings.Contains(bridge.Line, " cert=") {
		t.Errorf("the bridge's line is %q", bridge.Line)
	}
	tor, err := onion.Start(t.Context(), onion.Options{
		Mode:       onion.ModeManaged,
		DataDir:    t.TempDir(),
		ExtraTorrc: network.ExtraTorrc(),
		Bridges:    []string{bridge.Line},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tor.Close()
	open(t, tor.SOCKS(), "bridged", echo(t).String())
	status, err := tor.Control().Info(t.Context(), "orconn-status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(status) {
		if strings.TrimSpace(line) != "" && !strings.Contains(line, bridge.Fingerprint) {
			t.Errorf("a connection that is not to the bridge: %s", line)
		}
	}
	if !strings.Contains(status, bridge.Fingerprint) {
		t.Errorf("no connection to the bridge: %s", status)
	}
}
