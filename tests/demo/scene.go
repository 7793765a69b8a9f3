package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"xmpp-gw/internal/control"
	"xmpp-gw/tests/daemon"
	"xmpp-gw/tests/lab"
	"xmpp-gw/tests/peers"
	"xmpp-gw/tests/tornet"
)

// The accounts' domain: no DNS knows it, and none is asked.
const domain = "montague.example"

// run is the demonstration from beginning to end.
func (d *demo) run(ctx context.Context) error {
	var err error
	if d.dir, err = os.MkdirTemp("", "gw-demo-"); err != nil {
		return err
	}
	// Whatever makes a temporary file makes it in there.
	if err := os.Setenv("TMPDIR", d.dir); err != nil {
		return err
	}
	password := rand.Text()
	onion, err := d.network(ctx, password)
	if err != nil {
		return err
	}
	gw, err := d.startGateway(ctx, onion)
	if err != nil {
		return err
	}
	if err := d.talk(ctx, gw, password); err != nil {
		return fmt.Errorf("%w\nThe gateway said:\n%s", err, gw.Log())
	}
	return nil
}

// network starts Prosody and the Tor network, and has the one published in the
// other. It returns the onion address with its port.
func (d *demo) network(ctx context.Context, password string) (string, error) {
	d.say("Starting a private Tor network (1 authority, 4 relays, all on loopback) and a Prosody for %s.", domain)
	cert, key := filepath.Join(d.dir, "prosody.pem"), filepath.Join(d.dir, "prosody-key.pem")
	if err := d.certificate(cert, key); err != nil {
		return "", err
	}
	var both errgroup.Group
	var server *peers.Server
	both.Go(func() (err error) {
		server, err = peers.Prosody(peers.Options{
			Domain: domain, Cert: cert, Key: key, Hash: "SHA-256",
			Accounts: []peers.Account{{Username: "romeo", Password: password}, {Username: "juliet", Password: password}},
		})
		return err
	})
	network, err := tornet.Start(ctx, tornet.Config{Dir: filepath.Join(d.dir, "tor")})
	if err == nil {
		d.later(network.Close)
	}
	serverErr := both.Wait()
	if serverErr == nil {
		d.later(server.Close)
	}
	switch {
	case err != nil:
		return "", err
	case serverErr != nil:
		return "", serverErr
	}
	d.torrc = network.ExtraTorrc()
	d.say("Both are up. An operator's gateway publishes Prosody as an onion service, with a Tor of its own:")
	return d.publish(ctx, server.Addr(peers.StartTLS))
}

// publish runs a second gateway, which publishes a server with one command. It
// returns the onion address with its port.
func (d *demo) publish(ctx context.Context, target string) (string, error) {
	gw, err := daemon.Start(ctx, daemon.Options{Binary: d.gateway, Config: fmt.Sprintf(`[tor]
mode = "managed"
torrc = %q

[default]
route = "block"
`, d.torrc)})
	if err != nil {
		return "", err
	}
	d.later(gw.Close)
	detail("  $ xmpp-gw onion publish --target %s --wait", target)
	out, err := gw.Command(ctx, "onion publish", "--target", target, "--wait")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		detail("  %s", strings.TrimSuffix(line, "\n"))
	}
	address, _, ok := strings.Cut(strings.TrimPrefix(out, "node: "), ",")
	if !ok {
		return "", fmt.Errorf("onion publish said %q", out)
	}
	return address + ":5222", nil
}

// certificate makes an authority, in ca.pem, and Prosody's certificate.
func (d *demo) certificate(cert, key string) error {
	authority, err := lab.NewCA()
	if err != nil {
		return err
	}
	if err := authority.Write(d.dir); err != nil {
		return err
	}
	leaf, err := authority.Leaf(lab.CALeaf{Names: []string{domain}})
	if err != nil {
		return err
	}
	return lab.WriteCertificate(leaf, cert, key)
}

func (d *demo) startGateway(ctx context.Context, onion string) (*daemon.Daemon, error) {
	config := fmt.Sprintf(`[tor]
mode = "managed"
torrc = %q

[default]
route = "block"

[domain.%q]
route = "onion-only"
onion = %q
ca    = %q
`, d.torrc, domain, onion, filepath.Join(d.dir, "ca.pem"))
	d.say("Starting the gateway with this configuration:")
	for line := range strings.Lines(config) {
		detail("  | %s", strings.TrimSuffix(line, "\n"))
	}
	gw, err := daemon.Start(ctx, daemon.Options{Config: config, Binary: d.gateway})
	if err != nil {
		return nil, err
	}
	d.later(gw.Close)
	d.say("It says:")
	for line := range strings.Lines(gw.Log()) {
		if !strings.HasPrefix(line, "time=") { // the log proper
			detail("  | %s", strings.TrimSuffix(line, "\n"))
		}
	}
	return gw, nil
}

// talk logs two clients in and lets them exchange messages.
func (d *demo) talk(ctx context.Context, gw *daemon.Daemon, password string) error {
	names := map[string]string{"romeo": "slixmpp", "juliet": "profanity"}
	clients := make(map[string]peers.Client)
	for i, name := range []string{"romeo", "juliet"} {
		c, err := peers.Clients()[names[name]](ctx, peers.Credentials{
			JID: name + "@" + domain, Password: password, Addr: gw.C2S, TLS: peers.StartTLS, CA: gw.CA,
		})
		if err != nil {
			return err
		}
		d.later(c.Close)
		clients[name] = c
		d.say("%s@%s logged in with %s at %s.", name, domain, names[name], gw.C2S)
		s, err := session(ctx, gw, i)
		if err != nil {
			return err
		}
		detail("client leg    %s, with a certificate of the gateway's own authority", s.ClientTLS)
		detail("route         %s to %s", s.Route, s.Endpoint)
		detail("circuit       %s", s.Circuit)
		detail("upstream TLS  %s, %s, %s; the server proved itself by %s", s.TLS.Version, s.TLS.Group, s.TLS.Cipher, s.TLS.Identity)
		detail("login         the client gave %s to the gateway, the gateway %s to the server", c.Mechanism(), s.SASL.Mechanism)
	}
	if err := apart(ctx, gw); err != nil {
		return err
	}
	detail("The two share no circuit.")
	for _, m := range []struct{ from, to, body string }{
		{"romeo", "juliet", "See, how she leans her cheek upon her hand!"},
		{"juliet", "romeo", "Ay me!"},
		{"romeo", "juliet", "She speaks: O, speak again, bright angel!"},
	} {
		if err := clients[m.from].Send(ctx, m.to+"@"+domain, m.body); err != nil {
			return err
		}
		if err := clients[m.to].Receive(ctx, m.from+"@"+domain, m.body); err != nil {
			return err
		}
		d.say("%s -> %s: %s", m.from, m.to, m.body)
	}
	return nil
}

// session is the i-th session that is online, once its circuit is known.
func session(ctx context.Context, gw *daemon.Daemon, i int) (control.Session, error) {
	for {
		r, err := gw.Status(ctx)
		if err != nil {
			return control.Session{}, err
		}
		if len(r.Sessions) > i && r.Sessions[i].Circuit != "" {
			return r.Sessions[i], nil
		}
		select {
		case <-ctx.Done():
			return control.Session{}, fmt.Errorf("status does not show session %d and its circuit: %w", i+1, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// apart demands that the two sessions go over different circuits.
func apart(ctx context.Context, gw *daemon.Daemon) error {
	var circuits [2]string
	for i := range circuits {
		s, err := session(ctx, gw, i)
		if err != nil {
			return err
		}
		circuits[i], _, _ = strings.Cut(s.Circuit, " ")
	}
	if circuits[0] == circuits[1] {
		return fmt.Errorf("both sessions go over circuit %s", circuits[0])
	}
	return nil
}
