package peers

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Credentials say who logs in, and where.
type Credentials struct {
	JID, Password string  // a bare JID
	Addr          string  // host:port to connect to; the JID's domain is what must be certified
	TLS           TLSMode // StartTLS if empty
	CA            string  // PEM file of the one CA to trust; empty trusts the system's
	Resource      string  // chosen by the client or the server if empty

	// Only for [Slixmpp].
	SOCKS     string // host:port or unix:path of a SOCKS5 proxy to go through
	Register  bool   // make the account first, in-band (XEP-0077)
	Mechanism string // the only SASL mechanism to use
	Resume    bool   // come back and resume (XEP-0198) when the connection breaks
	// Mended makes it log in where channel binding failed without saying that the
	// server offers none, as slixmpp 1.8 does by itself.
	Mended bool
}

func (c *Credentials) check() (host string, port int, err error) {
	if c.TLS == "" {
		c.TLS = StartTLS
	}
	user, domain, ok := strings.Cut(c.JID, "@")
	if !ok || user == "" || domain == "" || strings.Contains(domain, "/") {
		return "", 0, fmt.Errorf("peers: %q is no bare JID", c.JID)
	}
	host, text, err := net.SplitHostPort(c.Addr)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	return host, port, err
}

// A Client is a real client that is logged in.
type Client interface {
	// Send sends a chat message. It returns when the client took it, which
	// says nothing about its arrival.
	Send(ctx context.Context, to, body string) error
	// Receive waits until a chat message with this body has come from the
	// bare JID from. Messages that came before the call count.
	Receive(ctx context.Context, from, body string) error
	// Mechanism is the SASL mechanism that the client logged in with, or
	// empty where the client does not tell.
	Mechanism() string
	// Log is what the client has said so far.
	Log() string
	// Close logs out and ends all its processes. It may be called again.
	Close() error
}

// A ClientFunc starts a client and returns when it is logged in, or with why
// it could not. The context bounds the login only.
type ClientFunc func(context.Context, Credentials) (Client, error)

// Clients are the clients by name.
func Clients() map[string]ClientFunc {
	return map[string]ClientFunc{
		"slixmpp":     generic(Slixmpp),
		"profanity":   generic(Profanity),
		"go-sendxmpp": generic(GoSendXMPP),
	}
}

// generic turns a constructor of one client into that of any.
func generic[C Client](start func(context.Context, Credentials) (C, error)) ClientFunc {
	return func(ctx context.Context, cred Credentials) (Client, error) {
		c, err := start(ctx, cred)
		if err != nil {
			return nil, err // not a nil pointer in an interface
		}
		return c, nil
	}
}

// Login logs a client in for a test: it closes with the test, and the end of
// its log is shown if the test failed.
func Login[C Client](t TB, start func(context.Context, Credentials) (C, error), cred Credentials) C {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := start(ctx, cred)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s ends:\n%s", cred.JID, tail(c.Log(), 40))
		}
		if err := c.Close(); err != nil {
			t.Logf("closing %s: %v", cred.JID, err)
		}
	})
	return c
}

// A LoginError is a client's report that it could not log in.
type LoginError struct {
	Client    string // "slixmpp" …
	Kind      string // connection, certificate, stream, authentication, registration; empty if the client does not tell
	Condition string // the defined condition of RFC 6120, "not-authorized" …, where there was one
	Text      string // the <text/> that came with it, or the client's own words
}

func (e *LoginError) Error() string {
	var b strings.Builder
	b.WriteString("peers: " + e.Client + " could not log in")
	for _, part := range []string{e.Kind, e.Condition, e.Text} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	return b.String()
}

// A feed is a growing list that several can wait on.
type feed[T any] struct {
	mu   sync.Mutex
	all  []T
	more chan struct{} // closed and replaced when something is added
}

func newFeed[T any]() *feed[T] { return &feed[T]{more: make(chan struct{})} }

func (f *feed[T]) add(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, v)
	close(f.more)
	f.more = make(chan struct{})
}

// wait returns the first element that match accepts, from number from on, and
// the number after it. It gives up with the context, or soon after done.
func (f *feed[T]) wait(ctx context.Context, done <-chan struct{}, from int, match func(T) bool) (T, int, error) {
	var zero T
	for {
		f.mu.Lock()
		all, more := f.all, f.more
		f.mu.Unlock()
		for ; from < len(all); from++ {
			if match(all[from]) {
				return all[from], from + 1, nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return zero, from, ctx.Err()
		case <-done:
			// All output has been read by now; look once more.
			f.mu.Lock()
			grown := len(f.all) > from
			f.mu.Unlock()
			if !grown {
				return zero, from, fmt.Errorf("peers: the client has ended")
			}
		}
	}
}

func (f *feed[T]) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all)
}
