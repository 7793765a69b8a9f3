package onion

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"strings"
	"time"

	"github.com/cretz/bine/control"
)

const (
	// requestBudget bounds a request whose context has no deadline. Tor
	// answers from memory, within milliseconds.
	requestBudget = 30 * time.Second
	// replyLimit is the most bytes that one reply or event may have: a guard
	// against a stranger on the port, far above what Tor sends (about 300 bytes
	// a circuit).
	replyLimit = 16 << 20
)

// Control talks to a Tor daemon's control port (Tor's control-spec). It is
// safe for concurrent use: one request at a time goes over one connection,
// which is made again after it broke; each [Events] has a connection of its
// own. (A single control connection cannot safely be shared by readers of
// events and senders of requests.)
type Control struct {
	addr string
	life context.Context // over once Close was called
	end  context.CancelFunc
	slot chan struct{} // holds one token while a request is under way
	conn *controlConn  // guarded by slot; nil: to be made
}

// DialControl connects to the control port at addr ("unix:/path" or
// "host:port") and authenticates with Tor's cookie, which its file's
// permissions give to the right users only.
func DialControl(ctx context.Context, addr string) (*Control, error) {
	conn, err := dialControl(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := &Control{addr: addr, slot: make(chan struct{}, 1), conn: conn}
	c.life, c.end = context.WithCancel(context.Background())
	return c, nil
}

// Addr is the control port's address, as it was given.
func (c *Control) Addr() string { return c.addr }

// ErrControlClosed is what a request gets during and after [Control.Close].
var ErrControlClosed = errors.New("the connection to tor's control port was closed")

// Close ends the connection for requests; those under way fail.
func (c *Control) Close() error {
	c.end()
	c.slot <- struct{}{}
	defer func() { <-c.slot }()
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
	return nil
}

// Request sends one command and returns the lines of a successful reply,
// without their status codes. A data block (control-spec §2.3) is one string of
// several lines. What Tor refuses comes back as a *[textproto.Error].
func (c *Control) Request(ctx context.Context, command string) ([]string, error) {
	if strings.ContainsAny(command, "\r\n\x00") {
		return nil, errors.New("a control command must be one line")
	}
	ctx, cancel := context.WithTimeout(ctx, requestBudget)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	select {
	case c.slot <- struct{}{}:
		defer func() { <-c.slot }()
	case <-ctx.Done():
		return nil, c.cause(ctx.Err())
	}
	if c.life.Err() != nil {
		return nil, ErrControlClosed
	}
	if c.conn == nil {
		conn, err := dialControl(ctx, c.addr)
		if err != nil {
			return nil, c.cause(err)
		}
		c.conn = conn
	}
	lines, broken, err := c.conn.request(ctx, command)
	if broken {
		c.conn.Close()
		c.conn = nil
	}
	return lines, c.cause(err)
}

// cause is err, or that Close was called.
func (c *Control) cause(err error) error {
	if err != nil && c.life.Err() != nil {
		return ErrControlClosed
	}
	return err
}

// Info is the value of one GETINFO key (control-spec §3.9).
func (c *Control) Info(ctx context.Context, key string) (string, error) {
	lines, err := c.Request(ctx, "GETINFO "+key)
	if err != nil {
		return "", err
	}
	for _, l := range lines {
		if val, ok := strings.CutPrefix(l, key+"="); ok {
			return strings.TrimLeft(val, "\r\n"), nil
		}
	}
	return "", fmt.Errorf("tor's control port gave no value for %s", key)
}

// Events subscribes to events (control-spec §4.1) on a connection of its own.
// Events that happen after it returned are not missed.
func (c *Control) Events(ctx context.Context, codes ...string) (*Events, error) {
	conn, err := dialControl(ctx, c.addr)
	if err != nil {
		return nil, err
	}
	if _, _, err := conn.request(ctx, "SETEVENTS "+strings.Join(codes, " ")); err != nil {
		conn.Close()
		return nil, err
	}
	return &Events{conn}, nil
}

// Event is one event: its code and the rest of its line.
type Event struct{ Code, Line string }

// Events is a subscription. Its methods are for one goroutine, except Close.
type Events struct{ conn *controlConn }

// Next waits for the next event. After an error, that of ctx included, the
// subscription is over.
func (e *Events) Next(ctx context.Context) (Event, error) {
	done := e.conn.sock.guard(ctx)
	e.conn.sock.left = replyLimit
	resp, err := e.conn.proto.ReadResponse()
	if cancelled := done(); err != nil {
		if cancelled {
			err = ctx.Err()
		}
		return Event{}, err
	}
	code, line, _ := strings.Cut(strings.Join(resp.DataWithReply(), "\n"), " ")
	return Event{code, line}, nil
}

// request sends one command on the subscription's own connection, for what is
// tied to the life of a connection. Events that arrive before the reply are
// lost.
func (e *Events) request(ctx context.Context, command string) error {
	_, _, err := e.conn.request(ctx, command)
	return err
}

// Close ends the subscription; a Next that waits returns an error.
func (e *Events) Close() error { return e.conn.Close() }

// controlConn is one authenticated connection: bine's protocol reader over a
// socket that heeds contexts. It is used by one goroutine at a time.
type controlConn struct {
	proto *control.Conn
	sock  boundedConn
}

// Close closes the socket. (bine's own Close waits for the answer to a QUIT.)
func (c *controlConn) Close() error { return c.sock.Close() }

func dialControl(ctx context.Context, addr string) (*controlConn, error) {
	ctx, cancel := context.WithTimeout(ctx, requestBudget)
	defer cancel()
	network, address := splitAddr(addr)
	var d net.Dialer
	sock, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("tor's control port does not answer (is tor running, and does its torrc have this ControlPort?): %w", err)
	}
	c := &controlConn{sock: boundedConn{Conn: sock, left: replyLimit}}
	c.proto = control.NewConn(textproto.NewConn(&c.sock))
	done := c.sock.guard(ctx)
	err = authenticate(c.proto)
	if done() {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// splitAddr turns "unix:/path" or "host:port" into what a dialer wants.
func splitAddr(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", path
	}
	return "tcp", addr
}

// cookieSize is the length of Tor's cookie (control-spec §3.5).
const cookieSize = 32

func checkCookie(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &CookieError{File: path, Err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return &CookieError{File: path, Err: err}
	case info.Size() != cookieSize:
		return &CookieError{File: path, Wrong: true, Err: fmt.Errorf("it has %d bytes instead of %d", info.Size(), cookieSize)}
	}
	return nil
}

// CookieError says that the cookie of Tor's control port could not be read, or
// that the port does not take it.
type CookieError struct {
	File  string
	Wrong bool // it was read, and is not the one
	Err   error
}

func (e *CookieError) Error() string {
	if e.Wrong {
		return fmt.Sprintf("tor's control port and the cookie in %s do not belong together (%v): another tor has written the file, or something else listens on the port; restart tor, and let only one tor have that file (CookieAuthFile)", e.File, e.Err)
	}
	return fmt.Sprintf("tor's control port wants a cookie that cannot be read (%v): add your user to the group that owns the file (debian-tor on Debian) and log in again", e.Err)
}

func (e *CookieError) Unwrap() error { return e.Err }

func authenticate(c *control.Conn) error {
	info, err := c.ProtocolInfo()
	if err != nil {
		return fmt.Errorf("tor's control port does not introduce itself: %w", err)
	}
	if info.CookieFile != "" && !info.HasAuthMethod("NULL") {
		if err := checkCookie(info.CookieFile); err != nil {
			return err
		}
	}
	if info.CookieFile == "" && info.HasAuthMethod("HASHEDPASSWORD") && !info.HasAuthMethod("NULL") {
		return errors.New("tor's control port wants a password, which this program does not keep: set CookieAuthentication 1 in its torrc")
	}
	// SAFECOOKIE (control-spec §3.24): a stranger on the port learns nothing.
	if err := c.Authenticate(""); err != nil {
		var step textproto.ProtocolError
		var refused *textproto.Error
		if info.CookieFile != "" && (errors.As(err, &step) || errors.As(err, &refused)) {
			return &CookieError{File: info.CookieFile, Wrong: true, Err: err}
		}
		return fmt.Errorf("tor's control port does not let us in: %w", err)
	}
	return nil
}

// request sends one command. broken says that the connection is out of step
// and cannot be used again.
func (c *controlConn) request(ctx context.Context, command string) (lines []string, broken bool, err error) {
	done := c.sock.guard(ctx)
	c.sock.left = replyLimit
	resp, err := c.proto.SendRequest("%s", command)
	if done() {
		return nil, true, ctx.Err()
	}
	var refused *textproto.Error
	switch {
	case err == nil:
		return resp.DataWithReply(), false, nil
	case errors.As(err, &refused):
		if refused.Code/100 == 2 { // such as 252, which is a yes with a remark
			return resp.DataWithReply(), false, nil
		}
		return nil, false, refused
	}
	return nil, true, fmt.Errorf("tor's control port: %w", err)
}

// boundedConn is a socket that ends a reply which is too long and a wait whose
// context is over.
type boundedConn struct {
	net.Conn
	left int
}

func (b *boundedConn) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the reply is too long")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// guard makes I/O fail once ctx is over. The function it returns ends that and
// reports whether it happened: then the connection is of no more use.
func (b *boundedConn) guard(ctx context.Context) (done func() (cancelled bool)) {
	stop := context.AfterFunc(ctx, func() { b.SetDeadline(time.Unix(1, 0)) })
	return func() bool { return !stop() }
}
