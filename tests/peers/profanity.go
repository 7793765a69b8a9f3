package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// ProfanityClient is the terminal client profanity, in a tmux of its own.
type ProfanityClient struct {
	p    *process // tmux's server; profanity ends with it
	tmux string
	env  []string
	keys sync.Mutex
}

// Profanity logs a profanity client in (Debian packages profanity and tmux).
func Profanity(ctx context.Context, cred Credentials) (*ProfanityClient, error) {
	host, port, err := cred.check()
	if err != nil {
		return nil, err
	}
	profanity, err := program("profanity", "profanity")
	if err != nil {
		return nil, err
	}
	tmux, err := program("tmux", "tmux")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "peers-profanity-")
	if err != nil {
		return nil, err
	}
	c := &ProfanityClient{tmux: tmux, env: []string{
		"XDG_CONFIG_HOME=" + dir + "/config", "XDG_DATA_HOME=" + dir + "/data",
		"SHELL=/bin/sh", // tmux's choice otherwise is the user's, which may be nologin
	}}
	if err = c.configure(dir, host, port, cred); err == nil {
		c.p, err = spawn(spec{
			// -D keeps the server in the foreground, where we can end it.
			dir: dir, path: tmux, args: []string{"-S", dir + "/tmux", "-f", "/dev/null", "-D"},
			env: c.env, logs: []string{"profanity.log", "stderr"},
		})
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	// A wide window, so that no message is wrapped.
	command := fmt.Sprintf("exec %s -l DEBUG -f %s/profanity.log -a %s 2>%s/stderr", profanity, dir, cred.JID, dir)
	if err = c.newSession(ctx, command); err == nil {
		err = c.awaitLogin(ctx, cred.JID)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// configure writes profanity's settings: where to connect, and whom to trust.
func (c *ProfanityClient) configure(dir, host string, port int, cred Credentials) error {
	policy := map[TLSMode]string{StartTLS: "force", DirectTLS: "legacy", NoTLS: "disable"}[cred.TLS]
	resource := cred.Resource
	if resource == "" {
		resource = "profanity"
	}
	profrc := "[ui]\nsplash=false\nroster=false\n[notifications]\nmessage=off\n[logging]\nmaxsize=100000000\n"
	if cred.CA != "" {
		profrc += "[connection]\ntls.certpath=" + dir + "/ca\n"
	}
	account := fmt.Sprintf("[%s]\nenabled=true\njid=%[1]s\npassword=%s\nresource=%s\nserver=%s\nport=%d\ntls.policy=%s\n"+
		"presence.last=online\npresence.login=online\n", cred.JID, cred.Password, resource, host, port, policy)
	files := map[string]string{
		"config/profanity/profrc": profrc,
		"data/profanity/accounts": account,
	}
	if cred.CA != "" {
		ca, err := os.ReadFile(cred.CA)
		if err != nil {
			return err
		}
		files["ca/ca.pem"] = string(ca)
	}
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	if cred.CA == "" {
		return nil
	}
	// OpenSSL finds a CA in a directory by the hash of its subject.
	openssl, err := program("openssl", "openssl")
	if err != nil {
		return err
	}
	if out, err := exec.Command(openssl, "rehash", filepath.Join(dir, "ca")).CombinedOutput(); err != nil {
		return fmt.Errorf("peers: openssl rehash: %w: %s", err, out)
	}
	return nil
}

// newSession opens the terminal; tmux's server needs a moment to be there.
func (c *ProfanityClient) newSession(ctx context.Context, command string) error {
	for {
		_, err := c.run(ctx, "new-session", "-d", "-x", "250", "-y", "60", "-s", "p", command)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		case <-c.p.done:
			return errors.Join(err, errors.New(c.p.log()))
		}
	}
}

// run runs one tmux command. With -N it never starts a server of its own,
// which would be nobody's child.
func (c *ProfanityClient) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.tmux, append([]string{"-N", "-S", filepath.Join(c.p.dir, "tmux")}, args...)...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "TERM=xterm"}, c.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("peers: tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), nil
}

// Pane is what profanity shows now, without empty lines.
func (c *ProfanityClient) Pane(ctx context.Context) (string, error) {
	text, err := c.run(ctx, "capture-pane", "-p", "-J", "-t", "p")
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String(), err
}

// watch looks at the pane until see is satisfied.
func (c *ProfanityClient) watch(ctx context.Context, see func(pane string) (bool, error)) error {
	for {
		pane, err := c.Pane(ctx)
		if err != nil && ctx.Err() == nil {
			// The pane goes with its program.
			return fmt.Errorf("profanity has ended (%w); its log ends:\n%s", err, tail(c.Log(), 10))
		}
		if err == nil {
			if done, err := see(pane); done || err != nil {
				return err
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w; it shows:\n%s", ctx.Err(), tail(pane, 15))
		case <-c.p.done:
			return errors.New("profanity has ended")
		}
	}
}

// What profanity shows when it could not log in. It shows neither the
// condition nor the text that came with a failure; they are in its log.
var profanityFailures = map[string]string{
	"TLS certificate verification failed": "certificate",
	// Shown when nothing answers, too; a refused login is told by its log.
	"Login failed.":    "connection",
	"Lost connection.": "connection",
}

var (
	profanityFailure = regexp.MustCompile(`RECV: <failure [^>]*><([a-z-]+)[ /].*?(?:<text[^>]*>([^<]*)</text>)?`)
	profanityStream  = regexp.MustCompile(`RECV: <(?:stream:)?error [^>]*><([a-z-]+) .*?(?:<text[^>]*>([^<]*)</text>)?</`)
	profanityAuth    = regexp.MustCompile(`SENT: <auth [^>]*mechanism="([A-Z0-9-]+)"`)
)

func (c *ProfanityClient) awaitLogin(ctx context.Context, jid string) error {
	err := c.watch(ctx, func(pane string) (bool, error) {
		if strings.Contains(pane, " logged in successfully, ") {
			// The server sends a client's own presence back to it, RFC 6121
			// §4.2.2; only then do messages to the bare JID come here.
			return strings.Contains(c.Log(), "Presence available handler fired for: "+jid+"/"), nil
		}
		for shown, kind := range profanityFailures {
			if !strings.Contains(pane, shown) {
				continue
			}
			e := &LoginError{Client: "profanity", Kind: kind, Text: shown}
			log := c.Log()
			if m := profanityFailure.FindStringSubmatch(log); m != nil {
				e.Kind, e.Condition, e.Text = "authentication", m[1], m[2]
			} else if m := profanityStream.FindStringSubmatch(log); m != nil {
				e.Kind, e.Condition, e.Text = "stream", m[1], m[2]
			}
			return false, e
		}
		return false, nil
	})
	var failed *LoginError
	if err != nil && !errors.As(err, &failed) {
		return fmt.Errorf("peers: profanity did not log in: %w", err)
	}
	return err
}

// typeLine types a line and presses Enter.
func (c *ProfanityClient) typeLine(ctx context.Context, line string) error {
	c.keys.Lock()
	defer c.keys.Unlock()
	if _, err := c.run(ctx, "send-keys", "-t", "p", "-l", line); err != nil {
		return err
	}
	_, err := c.run(ctx, "send-keys", "-t", "p", "Enter")
	return err
}

// Mechanism implements [Client].
func (c *ProfanityClient) Mechanism() string {
	all := profanityAuth.FindAllStringSubmatch(c.Log(), -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}

// Log implements [Client].
func (c *ProfanityClient) Log() string { return c.p.log() }

// Close implements [Client].
func (c *ProfanityClient) Close() error { return c.p.close() }

// Send implements [Client]. The body is one line.
func (c *ProfanityClient) Send(ctx context.Context, to, body string) error {
	return c.typeLine(ctx, "/msg "+to+" "+body)
}

// Receive implements [Client]. The body is one line of less than 150
// characters, as profanity wraps a longer one.
func (c *ProfanityClient) Receive(ctx context.Context, from, body string) error {
	// Without a text, /msg shows the conversation.
	err := c.typeLine(ctx, "/msg "+from)
	if err == nil {
		err = c.watch(ctx, func(pane string) (bool, error) {
			for line := range strings.Lines(pane) {
				line = strings.TrimSpace(line)
				if strings.Contains(line, " "+from) && strings.HasSuffix(line, ": "+body) {
					return true, nil
				}
			}
			return false, nil
		})
	}
	if err != nil {
		return fmt.Errorf("peers: profanity received no such message: %w", err)
	}
	return nil
}
