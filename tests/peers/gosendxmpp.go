package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// GoSendXMPPClient is go-sendxmpp: one process that listens for as long as
// the client lives, and one for each message sent.
type GoSendXMPPClient struct {
	path  string
	args  []string // how to log in
	env   []string
	p     *process
	lines *feed[string]
}

var (
	// The server sends a client's own presence back to it, RFC 6121 §4.2.2.
	sendxmppOnline = regexp.MustCompile(`<presence [^>]*from=`)
	// A line of Go's log package is how it says why it gives up.
	sendxmppFailed = regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (.*)`)
)

// GoSendXMPP logs a go-sendxmpp client in (Debian package go-sendxmpp). It
// does not tell its SASL mechanism and cannot do without TLS.
func GoSendXMPP(ctx context.Context, cred Credentials) (*GoSendXMPPClient, error) {
	_, _, err := cred.check()
	if err != nil {
		return nil, err
	}
	if cred.TLS == NoTLS {
		return nil, errors.New("peers: go-sendxmpp cannot do without TLS")
	}
	path, err := program("go-sendxmpp", "go-sendxmpp")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "peers-sendxmpp-")
	if err != nil {
		return nil, err
	}
	c := &GoSendXMPPClient{
		path: path, lines: newFeed[string](),
		args: []string{"-u", cred.JID, "-p", cred.Password, "-j", cred.Addr, "--timeout", "120"},
		env:  []string{"HOME=" + dir},
	}
	if cred.TLS == DirectTLS {
		c.args = append(c.args, "-t")
	}
	if cred.CA != "" {
		c.env = append(c.env, "SSL_CERT_FILE="+cred.CA, "SSL_CERT_DIR="+dir)
	}
	c.p, err = spawn(spec{
		dir: dir, path: path, env: c.env, args: append([]string{"-l", "-d"}, c.args...),
		lines: func(line []byte) { c.lines.add(string(line)) },
	})
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	// Its debugging output, with what the server sends, goes to standard
	// error; what it receives, to standard output.
	for {
		log := c.Log()
		if sendxmppOnline.MatchString(log) {
			return c, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
			continue
		case <-ctx.Done():
			err = fmt.Errorf("peers: go-sendxmpp did not log in: %w. It said:\n%s", ctx.Err(), tail(log, 10))
		case <-c.p.done:
			e := &LoginError{Client: "go-sendxmpp"}
			for line := range strings.Lines(c.Log()) {
				if m := sendxmppFailed.FindStringSubmatch(line); m != nil {
					e.Text = m[1]
				}
			}
			err = e
		}
		c.Close()
		return nil, err
	}
}

// Mechanism implements [Client]; go-sendxmpp does not tell.
func (c *GoSendXMPPClient) Mechanism() string { return "" }

// Log implements [Client].
func (c *GoSendXMPPClient) Log() string { return c.p.log() }

// Close implements [Client].
func (c *GoSendXMPPClient) Close() error { return c.p.close() }

// Send implements [Client]. It logs in anew, as go-sendxmpp does.
func (c *GoSendXMPPClient) Send(ctx context.Context, to, body string) error {
	cmd := exec.CommandContext(ctx, c.path, append(append([]string{}, c.args...), to)...)
	cmd.Env = c.env
	cmd.Stdin = strings.NewReader(body + "\n")
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("peers: go-sendxmpp: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// Receive implements [Client].
func (c *GoSendXMPPClient) Receive(ctx context.Context, from, body string) error {
	_, _, err := c.lines.wait(ctx, c.p.done, 0, func(line string) bool {
		return strings.HasSuffix(line, " "+from+": "+body)
	})
	if err != nil {
		return fmt.Errorf("peers: go-sendxmpp received no such message: %w", err)
	}
	return nil
}
