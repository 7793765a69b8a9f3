package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
)

// maxAnswer bounds what a client reads: some 20,000 sessions.
const maxAnswer = 16 << 20

// ErrNotRunning says that no daemon listens at the socket.
var ErrNotRunning = errors.New("no xmpp-gw is running here")

// Client asks a daemon. Its methods may be called concurrently.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client for the socket at path. It connects when asked.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http = &http.Client{
		Timeout: requestTime,
		Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return c.connect() },
		},
	}
	return c
}

// Close drops the connections that are kept for the next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// connect also checks that who listens is the user's own daemon or root's: in a
// folder that others can write to, it could be anybody's. Root is given a daemon
// of any user, as it asked for that path.
func (c *Client) connect() (net.Conn, error) {
	conn, err := dial(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nothing listens at %s", ErrNotRunning, c.path)
	case err != nil:
		return nil, err
	}
	p, err := peerOf(conn)
	if self := os.Geteuid(); err == nil && self != 0 && !trusts(self, p.uid) {
		err = fmt.Errorf("the process at %s belongs to another user (%d)", c.path, p.uid)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Status asks how the daemon is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.ask(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Sessions asks for the sessions that are open; with relays, also for the names
// of the relays of their circuits.
func (c *Client) Sessions(ctx context.Context, relays bool) ([]Session, error) {
	var list sessionList
	path := "/v1/sessions"
	if relays {
		path += "?relays=true"
	}
	err := c.ask(ctx, http.MethodGet, path, nil, &list)
	return list.Sessions, err
}

// Reload makes the daemon read its configuration and certificates again, as
// SIGHUP does, and reports why it did not.
func (c *Client) Reload(ctx context.Context) error {
	return c.ask(ctx, http.MethodPost, "/v1/reload", nil, &struct{}{})
}

// ask does one request; question, unless it is nil, is its body. The errors are
// ErrNotRunning, an *Error of the daemon, or one of the connection.
func (c *Client) ask(ctx context.Context, method, path string, question, into any) error {
	var body io.Reader
	if question != nil {
		b, err := json.Marshal(question)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://xmpp-gw"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, ErrNotRunning) {
			return fmt.Errorf("%w: nothing listens at %s", ErrNotRunning, c.path)
		}
		return fmt.Errorf("ask the daemon: %w", errors.Unwrap(err))
	}
	defer resp.Body.Close()
	answer := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode == http.StatusOK {
		if err := answer.Decode(into); err != nil {
			return fmt.Errorf("the daemon's answer cannot be read: %w", err)
		}
		return nil
	}
	var failed errorBody
	if err := answer.Decode(&failed); err != nil || failed.Error == nil {
		return fmt.Errorf("the daemon answered %s", resp.Status)
	}
	return failed.Error
}
