package peers

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

//go:embed onionbalance.py
var onionbalanceScript []byte

// A Balancer is OnionBalance at work: it publishes one onion address that leads
// to several nodes, with the introduction points of their descriptors.
type Balancer struct{ p *process }

// OnionBalance starts OnionBalance v3 (Debian package onionbalance). It works
// through the tor whose control socket is at control and whose cookie it can
// read, for the address of the secret key (in tor's format, or as PEM) that is
// in the file key, and for the nodes' onion addresses.
//
// Its clocks are those of a test network: it looks at the nodes every six
// seconds.
func OnionBalance(control, key string, nodes ...string) (*Balancer, error) {
	python, err := pythonWith("onionbalance", "onionbalance")
	if err != nil {
		return nil, err
	}
	if key, err = filepath.Abs(key); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "peers-onionbalance-")
	if err != nil {
		return nil, err
	}
	script, config := filepath.Join(dir, "balance.py"), filepath.Join(dir, "config.yaml")
	var text strings.Builder
	fmt.Fprintf(&text, "services:\n- key: %q\n  instances:\n", key)
	for _, node := range nodes {
		fmt.Fprintf(&text, "  - address: %s\n", node)
	}
	err = errors.Join(
		os.WriteFile(script, onionbalanceScript, 0o600),
		os.WriteFile(config, []byte(text.String()), 0o600))
	var p *process
	if err == nil {
		p, err = spawn(spec{dir: dir, path: python, args: []string{"-u", script,
			"--is-testnet", "--socket", control, "--config", config, "--verbosity", "debug"}})
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return &Balancer{p}, nil
}

// Published waits until descriptors of the address with the introduction points
// of n nodes are at every directory that a client may ask.
func (b *Balancer) Published(ctx context.Context, n int) error {
	for !published(b.Log(), n) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("peers: OnionBalance has not published %d nodes: %w. It said:\n%s", n, ctx.Err(), tail(b.Log(), 40))
		case <-b.p.done:
			return fmt.Errorf("peers: OnionBalance ended. It said:\n%s", tail(b.Log(), 40))
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// published reads OnionBalance's log: whether it made both descriptors (of this
// period and the next) of n nodes, and each directory has taken the one for it.
func published(log string, n int) bool {
	_, log, _ = strings.Cut(log, fmt.Sprintf("intros from %d instances", n))
	var sent, taken, made int
	for line := range strings.Lines(log) {
		switch {
		case strings.Contains(line, "]: Uploading first descriptor") || strings.Contains(line, "]: Uploading second descriptor"):
			made++
			sent += strings.Count(line, "'") / 2 // a list of quoted fingerprints
		case strings.Contains(line, "]: Successfully uploaded descriptor"):
			taken++
		}
	}
	return made >= 2 && taken >= sent
}

// Log is what OnionBalance has said so far.
func (b *Balancer) Log() string { return b.p.log() }

// Close ends OnionBalance. What it published stays in the directories for a
// while.
func (b *Balancer) Close() error { return b.p.close() }
