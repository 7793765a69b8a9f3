package tornet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xmpp-gw/onion"
)

// readyBudget bounds a client's way into the network, or a service's to being
// found in it.
const readyBudget = 60 * time.Second

// Client is a tor of the network that is no relay.
type Client struct {
	net  *Network
	node *node
	base string // of its sockets' paths
	ctl  *onion.Control
}

// Client starts a tor client and waits until it can build circuits.
func (n *Network) Client(ctx context.Context) (*Client, error) {
	c, err := n.client(ctx, "client", "")
	if err != nil {
		return nil, err
	}
	if err := c.node.wait(ctx, readyBudget, "Bootstrapped 100%"); err != nil {
		defer c.Close()
		return nil, fmt.Errorf("%w\n%s", err, c.node.tail(12))
	}
	return c, nil
}

// client starts a tor with more lines of torrc and connects to its control
// port.
func (n *Network) client(ctx context.Context, kind, more string) (*Client, error) {
	n.mu.Lock()
	n.count++
	name := fmt.Sprint(kind, n.count)
	n.mu.Unlock()
	c := &Client{net: n, base: filepath.Join(n.sockets, name)}
	c.node = &node{name: name, dir: filepath.Join(n.dir, name)}
	c.node.torrc = n.common + fmt.Sprintf(clientTorrc, c.base, c.base) + more
	return c, c.launch(ctx)
}

const clientTorrc = `SocksPort unix:"%s.socks" IsolateSOCKSAuth ExtendedErrors
ControlPort unix:"%s.control"
CookieAuthentication 1
ClientOnly 1
`

func (c *Client) launch(ctx context.Context) error {
	if err := c.net.launch(c.node); err != nil {
		return err
	}
	if err := c.node.wait(ctx, 20*time.Second, "Opened Control listener connection (ready)"); err != nil {
		c.Close()
		return fmt.Errorf("%w\n%s", err, c.node.tail(12))
	}
	var err error
	if c.ctl, err = onion.DialControl(ctx, c.Control()); err != nil {
		c.Close()
	}
	return err
}

// SOCKS is the client's SOCKS port, "unix:/path".
func (c *Client) SOCKS() string { return "unix:" + c.base + ".socks" }

// Control is the client's control port, "unix:/path"; its cookie is readable.
func (c *Client) Control() string { return "unix:" + c.base + ".control" }

// Kill ends the process as a crash would: peers are not told.
func (c *Client) Kill() {
	c.node.kill()
	c.Close()
}

// Close ends the process.
func (c *Client) Close() error {
	c.node.stop()
	if c.ctl != nil {
		c.ctl.Close()
	}
	return nil
}

// Port is a port of an onion service.
type Port struct {
	Virtual int    // what its clients connect to
	Target  string // where that goes: "127.0.0.1:PORT" or "unix:/path"
}

// Service is an onion service of the network, run by a tor of its own.
type Service struct {
	*Client
	Onion string // its address, 56 characters and ".onion"
}

// HiddenService publishes an onion service with a new address and waits until
// its descriptor is at every directory that a client may ask.
func (n *Network) HiddenService(ctx context.Context, ports ...Port) (*Service, error) {
	return n.service(ctx, "", ports)
}

// Backend is HiddenService for a node behind OnionBalance: it also answers to
// those who come with a descriptor of the address frontend.
func (n *Network) Backend(ctx context.Context, frontend string, ports ...Port) (*Service, error) {
	return n.service(ctx, frontend, ports)
}

func (n *Network) service(ctx context.Context, frontend string, ports []Port) (*Service, error) {
	ctx, cancel := context.WithTimeout(ctx, readyBudget)
	defer cancel()
	// The service is configured while the network is off, so that no upload
	// happens before it is watched.
	c, err := n.client(ctx, "service", "DisableNetwork 1\n")
	if err != nil {
		return nil, err
	}
	s, err := c.publish(ctx, frontend, ports)
	if err != nil {
		defer c.Close()
		return nil, fmt.Errorf("%w\n%s", err, c.node.tail(12))
	}
	return s, nil
}

func (c *Client) publish(ctx context.Context, frontend string, ports []Port) (*Service, error) {
	events, err := c.ctl.Events(ctx, "HS_DESC")
	if err != nil {
		return nil, err
	}
	defer events.Close()
	dir := filepath.Join(c.node.dir, "service")
	conf := fmt.Sprintf("SETCONF HiddenServiceDir=\"%s\"", dir)
	for _, p := range ports {
		conf += fmt.Sprintf(" HiddenServicePort=\"%d %s\"", p.Virtual, p.Target)
	}
	if frontend != "" {
		conf += " HiddenServiceOnionBalanceInstance=1"
		err := errors.Join(os.Mkdir(dir, 0o700),
			os.WriteFile(filepath.Join(dir, "ob_config"), []byte("MasterOnionAddress "+frontend+"\n"), 0o600))
		if err != nil {
			return nil, err
		}
	}
	for _, command := range []string{conf, "SETCONF DisableNetwork=0"} {
		if _, err := c.ctl.Request(ctx, command); err != nil {
			return nil, err
		}
	}
	host, err := os.ReadFile(filepath.Join(dir, "hostname"))
	if err != nil {
		return nil, err
	}
	if err := uploaded(ctx, events); err != nil {
		return nil, err
	}
	return &Service{c, strings.TrimSpace(string(host))}, nil
}

// uploaded waits until each directory that the descriptor was sent to has taken
// it: a client may ask any of them.
func uploaded(ctx context.Context, events *onion.Events) error {
	sent, taken := 0, 0
	for sent == 0 || taken < sent {
		e, err := events.Next(ctx)
		if err != nil {
			return fmt.Errorf("the onion service's descriptor was taken by %d of %d directories: %w", taken, sent, err)
		}
		switch action, _, _ := strings.Cut(e.Line, " "); action {
		case "UPLOAD":
			sent++
		case "UPLOADED":
			taken++
		case "FAILED":
			return errors.New("a directory refused the onion service's descriptor: " + e.Line)
		}
	}
	return nil
}
