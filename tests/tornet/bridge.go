package tornet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Bridge is a relay that no directory lists: whoever has its line enters the
// network through it.
type Bridge struct {
	node *node
	// Line is what follows "Bridge" in a torrc: transport, address, fingerprint
	// and the transport's arguments.
	Line string
	// Fingerprint is the bridge's, as circuits show it.
	Fingerprint string
}

// Bridge starts an obfs4 bridge (Debian package obfs4proxy).
func (n *Network) Bridge(ctx context.Context) (*Bridge, error) {
	transport, err := exec.LookPath("obfs4proxy")
	if err != nil {
		return nil, fmt.Errorf("obfs4proxy is missing: sudo apt-get install obfs4proxy")
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.count++
	name := fmt.Sprint("bridge", n.count)
	n.mu.Unlock()
	b := &Bridge{node: &node{name: name, dir: filepath.Join(n.dir, name)}}
	if b.Fingerprint, err = n.fingerprint(ctx, b.node, ports[0]); err != nil {
		return nil, err
	}
	b.node.torrc = n.common + fmt.Sprintf(bridgeTorrc, ports[0], transport, ports[1])
	if err := n.launch(b.node); err != nil {
		return nil, err
	}
	if err = b.node.wait(ctx, readyBudget, "Bootstrapped 100%"); err == nil {
		b.Line, err = b.line(ports[1])
	}
	if err != nil {
		defer b.Close()
		return nil, fmt.Errorf("%w\n%s", err, b.node.tail(12))
	}
	return b, nil
}

// line is made of the file that obfs4proxy leaves for the bridge's owner, who
// is to fill in what the transport does not know.
func (b *Bridge) line(port int) (string, error) {
	text, err := os.ReadFile(filepath.Join(b.node.dir, "pt_state", "obfs4_bridgeline.txt"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Bridge "); ok {
			return strings.TrimSpace(strings.NewReplacer("<IP ADDRESS>", "127.0.0.1", "<PORT>", fmt.Sprint(port),
				"<FINGERPRINT>", b.Fingerprint).Replace(rest)), nil
		}
	}
	return "", fmt.Errorf("obfs4proxy wrote no bridge line")
}

// Close ends the bridge.
func (b *Bridge) Close() error {
	b.node.stop()
	return nil
}

// bridgeTorrc is what a bridge has: ORPort, the transport's program and port.
const bridgeTorrc = `SocksPort 0
BridgeRelay 1
PublishServerDescriptor 0
Address 127.0.0.1
ORPort 127.0.0.1:%d
ExtORPort auto
AssumeReachable 1
ExitPolicy reject *:*
ServerTransportPlugin obfs4 exec %s
ServerTransportListenAddr obfs4 127.0.0.1:%d
`
