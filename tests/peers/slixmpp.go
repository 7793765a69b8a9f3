package peers

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

//go:embed slixmpp_client.py
var slixmppScript []byte

// SlixmppClient is a client made with the Python library slixmpp, or with one that
// takes the same commands.
type SlixmppClient struct {
	library string
	p       *process
	events  *feed[Event]
	online  Event
	write   sync.Mutex
}

// An Event is something that happened to a [SlixmppClient].
type Event struct {
	Event string // online, message, registered, resumed, error, failed, offline, carbon, published, and answers to commands

	JID       string   // online: the full JID
	Mechanism string   // online: of SASL
	TLS       string   // online: "TLSv1.3", empty without TLS
	From      string   // message, carbon, published: the bare JID it came from
	ID, Body  string   // message, carbon
	Node      string   // published: of personal eventing
	Items     []string // roster: bare JIDs, sorted; what else a command asked for
	What      string   // error: the command that failed, or "message" for one that bounced
	Kind      string   // failed: as in LoginError
	Condition string   // failed, error: the defined condition
	Text      string   // failed, error, offline, and answers

	Subscriptions map[string]string // roster: by bare JID
}

// Slixmpp logs a slixmpp client in (Debian package python3-slixmpp).
func Slixmpp(ctx context.Context, cred Credentials) (*SlixmppClient, error) {
	return scripted(ctx, "slixmpp", slixmppScript, cred)
}

// scripted logs a client in that is a Python script for a library.
func scripted(ctx context.Context, library string, text []byte, cred Credentials) (*SlixmppClient, error) {
	host, port, err := cred.check()
	if err != nil {
		return nil, err
	}
	python, err := pythonWith(library, "python3-"+library)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "peers-"+library+"-")
	if err != nil {
		return nil, err
	}
	script := filepath.Join(dir, "client.py")
	c := &SlixmppClient{library: library, events: newFeed[Event]()}
	err = os.WriteFile(script, text, 0o600)
	if err == nil {
		c.p, err = spawn(spec{
			dir: dir, path: python, args: []string{"-u", script},
			lines: func(line []byte) {
				var e Event
				if json.Unmarshal(line, &e) == nil {
					c.events.add(e)
				}
			},
			stop: func(in io.WriteCloser, _ int) { in.Close() },
		})
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	jid := cred.JID
	if cred.Resource != "" {
		jid += "/" + cred.Resource
	}
	err = c.tell(map[string]any{
		"jid": jid, "password": cred.Password, "host": host, "port": port, "tls": cred.TLS, "ca": cred.CA,
		"socks": cred.SOCKS, "register": cred.Register, "mechanism": cred.Mechanism,
		"resume": cred.Resume, "mended": cred.Mended,
	})
	if err == nil {
		c.online, _, err = c.events.wait(ctx, c.p.done, 0, func(e Event) bool {
			return e.Event == "online" || e.Event == "failed" || e.Event == "offline"
		})
	}
	if err == nil && c.online.Event != "online" {
		e := c.online
		if e.Kind == "" {
			e.Kind = "connection"
		}
		err = &LoginError{Client: library, Kind: e.Kind, Condition: e.Condition, Text: e.Text}
	} else if err != nil {
		err = fmt.Errorf("peers: %s did not log in: %w. It said:\n%s", library, err, tail(c.Log(), 60))
	}
	if err != nil {
		c.p.kill()
		c.Close()
		return nil, err
	}
	return c, nil
}

// pythonWith returns Debian's python3 if it has the module.
func pythonWith(module, pkg string) (string, error) {
	python, err := program("python3", "python3")
	if err != nil {
		return "", err
	}
	if exec.Command(python, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('"+module+"') is None)").Run() != nil {
		return "", missing("the Python module "+module, pkg)
	}
	return python, nil
}

func (c *SlixmppClient) tell(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.write.Lock()
	defer c.write.Unlock()
	_, err = c.p.in.Write(append(line, '\n'))
	return err
}

// JID is the full JID that the server bound.
func (c *SlixmppClient) JID() string { return c.online.JID }

// Mechanism implements [Client].
func (c *SlixmppClient) Mechanism() string { return c.online.Mechanism }

// TLS is the version of TLS in use, "TLSv1.3" for example, or empty.
func (c *SlixmppClient) TLS() string { return c.online.TLS }

// Log implements [Client].
func (c *SlixmppClient) Log() string { return c.p.log() }

// Close implements [Client].
func (c *SlixmppClient) Close() error { return c.p.close() }

// Send implements [Client].
func (c *SlixmppClient) Send(_ context.Context, to, body string) error {
	return c.tell(map[string]string{"do": "send", "to": to, "body": body})
}

// Receive implements [Client].
func (c *SlixmppClient) Receive(ctx context.Context, from, body string) error {
	_, err := c.Await(ctx, 0, func(e Event) bool {
		return e.Event == "message" && e.From == from && e.Body == body
	})
	if err != nil {
		return fmt.Errorf("peers: %s received no such message: %w", c.library, err)
	}
	return nil
}

// Events is how many events there have been, a starting point for Await.
func (c *SlixmppClient) Events() int { return c.events.len() }

// Await waits for the first event, from number start on, that match accepts.
func (c *SlixmppClient) Await(ctx context.Context, start int, match func(Event) bool) (Event, error) {
	e, _, err := c.events.wait(ctx, c.p.done, start, match)
	return e, err
}

// Do gives a command with these arguments, names and values in turn, and waits for
// the event that answers it.
func (c *SlixmppClient) Do(ctx context.Context, do, answer string, args ...string) (Event, error) {
	command := map[string]string{"do": do}
	for i := 0; i+1 < len(args); i += 2 {
		command[args[i]] = args[i+1]
	}
	start := c.events.len()
	if err := c.tell(command); err != nil {
		return Event{}, err
	}
	e, err := c.Await(ctx, start, func(e Event) bool {
		return e.Event == answer || e.Event == "error" && e.What == do
	})
	if err == nil && e.Event == "error" {
		err = errors.New("peers: " + c.library + ": " + do + ": " + e.Condition + " " + e.Text)
	}
	return e, err
}

// Cut cuts the connection off, as a lost network would.
func (c *SlixmppClient) Cut() error { return c.tell(map[string]string{"do": "cut"}) }

// Roster asks the server for the roster and returns its bare JIDs, sorted.
func (c *SlixmppClient) Roster(ctx context.Context) ([]string, error) {
	e, err := c.Do(ctx, "roster", "roster")
	return e.Items, err
}

// AddContact adds a bare JID to the roster.
func (c *SlixmppClient) AddContact(ctx context.Context, jid string) error {
	_, err := c.Do(ctx, "add", "added", "jid", jid)
	return err
}

// Ping pings the server (XEP-0199) and waits for the answer.
func (c *SlixmppClient) Ping(ctx context.Context) error {
	_, err := c.Do(ctx, "ping", "pong")
	return err
}
