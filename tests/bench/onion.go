package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"xmpp-gw/onion"
	"xmpp-gw/tests/tornet"
)

// throughOnion compares stanzas a second to an onion service: a client that goes there
// by itself, with SOCKS and TLS of its own, and the same client through the
// gateway. Both use the same Tor, each a circuit of its own, in turn.
//
// The far end is the one that all measurements have, which costs next to
// nothing: a whole server would be what is measured, and the same for both.
func (b *grounds) throughOnion(binary string, rounds int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	network, err := tornet.Start(ctx, tornet.Config{Dir: filepath.Join(b.dir, "tor")})
	if err != nil {
		return err
	}
	b.stop = append(b.stop, func() { _ = network.Close() })
	const xmpp, bare = 5223, 5224
	service, err := network.HiddenService(ctx,
		tornet.Port{Virtual: xmpp, Target: b.server.xmpp.Addr()}, tornet.Port{Virtual: bare, Target: b.server.bare.Addr()})
	if err != nil {
		return err
	}
	tor, err := network.Client(ctx)
	if err != nil {
		return err
	}
	g, err := b.startGateway(binary, "onion", fmt.Sprintf(`
[tor]
mode = "system"
socks = [%q]
control = %q
[domain.%q]
route = "onion-only"
endpoints = ["tls://%s:%d"]
ca = %q
`, tor.SOCKS(), tor.Control(), domain, service.Onion, xmpp, b.ca()))
	if err != nil {
		return err
	}
	control, err := onion.DialControl(ctx, tor.Control())
	if err != nil {
		return err
	}
	defer control.Close()
	// How fast a circuit is depends on its relays, so both get several.
	var ours, theirs []float64
	for range rounds {
		gw, err := g.dial()
		if err != nil {
			return err
		}
		socks, err := b.dialOnion(ctx, tor.SOCKS(), fmt.Sprintf("%s:%d", service.Onion, bare))
		if err != nil {
			return err
		}
		// As clients send them, each in a write of its own.
		o, t, err := b.turns(gw, socks, message, 4<<20, 2)
		if err != nil {
			return err
		}
		ours, theirs = append(ours, o...), append(theirs, t...)
		_, _ = gw.Close(), socks.Close()
		if err := closeCircuits(ctx, control); err != nil {
			return err
		}
	}
	report("onion.gateway", median(ours), "stanzas/s")
	report("onion.socks", median(theirs), "stanzas/s")
	report("onion.ratio", median(ours)/median(theirs), "of-own-SOCKS(want>=0.9)")
	return nil
}

// closeCircuits ends the circuits to onion services, so that the next
// connections get others.
func closeCircuits(ctx context.Context, control *onion.Control) error {
	status, err := control.Info(ctx, "circuit-status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(status) {
		id, _, _ := strings.Cut(line, " ")
		if strings.Contains(line, "PURPOSE=HS_CLIENT_REND") {
			_, _ = control.Request(ctx, "CLOSECIRCUIT "+id) // it may be gone by itself
		}
	}
	return nil
}

// dialOnion is what a client with SOCKS support does.
func (b *grounds) dialOnion(ctx context.Context, socks, addr string) (*tls.Conn, error) {
	d, err := proxy.SOCKS5("unix", strings.TrimPrefix(socks, "unix:"), &proxy.Auth{User: "bench", Password: "bench"}, nil)
	if err != nil {
		return nil, err
	}
	c, err := d.(proxy.ContextDialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, &tls.Config{RootCAs: b.roots, ServerName: domain, MinVersion: tls.VersionTLS13})
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return t, nil
}
