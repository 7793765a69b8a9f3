package resolve

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/miekg/dns"

	"xmpp-gw/policy"
)

// ask puts a question to the servers in turn and gives the first answer.
func (c *Client) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	return c.inTurn(ctx, func(padded bool) (*dns.Msg, error) { return newQuery(name, qtype, padded) })
}

// Exchange puts a question as it is to the servers in turn and gives the first
// answer, whatever its records are; only its id is new, and it is padded where it
// is encrypted. It is a dnssec.Exchange. Names that are not DNS's to know are
// refused.
func (c *Client) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	if len(q.Question) != 1 {
		return nil, &Error{Kind: ErrRefused, What: "no DNS query made", Why: "it is not one question"}
	}
	if name := strings.ToLower(strings.TrimSuffix(q.Question[0].Name, ".")); policy.IsOnion(name) || isLocalhost(name) {
		return nil, notForDNS()
	}
	return c.inTurn(ctx, func(padded bool) (*dns.Msg, error) { return prepare(q.Copy(), padded) })
}

// inTurn asks one server after the other. Query makes the question, as it is padded
// only for some.
func (c *Client) inTurn(ctx context.Context, query func(padded bool) (*dns.Msg, error)) (*dns.Msg, error) {
	if len(c.servers) == 0 || c.dial == nil {
		return nil, &Error{Kind: ErrNoAnswer, What: "the name could not be looked up", Why: "no DNS server or no route to one is set up",
			Hint: "set servers under [dns]"}
	}
	first := int(c.last.Load())
	var said []string
	var causes []error
	for i := range c.servers {
		n := (first + i) % len(c.servers)
		r, err := c.askOne(ctx, n, query)
		if err == nil {
			c.last.Store(int32(n))
			return r, nil
		}
		said = append(said, c.servers[n].String()+": "+err.Error())
		causes = append(causes, err)
		if ctx.Err() != nil {
			causes = append(causes, ctx.Err())
			break
		}
	}
	return nil, &Error{Kind: ErrNoAnswer, What: "the name could not be looked up",
		Why:  "none of the DNS servers gave an answer (" + strings.Join(said, "; ") + ")",
		Hint: "check that this machine is online and the servers under [dns], then try again", Err: errors.Join(causes...)}
}

// askOne puts a question to one server.
func (c *Client) askOne(parent context.Context, n int, query func(padded bool) (*dns.Msg, error)) (*dns.Msg, error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	q, err := query(c.servers[n].TLS)
	if err != nil {
		return nil, err
	}
	r, err := c.exchange(ctx, n, q)
	if err == nil {
		err = check(q, r)
	}
	if err != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)) {
		err = fmt.Errorf("no answer within %v", timeout)
	}
	return r, err
}

// exchange sends q to server n and waits for the answer. A server may close a
// connection at any time, and some do so behind each answer; what was still open
// is then asked again on a new one (RFC 7766 §6.2.4).
func (c *Client) exchange(ctx context.Context, n int, q *dns.Msg) (*dns.Msg, error) {
	for try := 1; ; try++ {
		p := c.join(n)
		r, err := p.exchange(ctx, q)
		again := errors.Is(err, errClosed) && p.useful() && try < maxTries
		c.leave(n, p)
		if !again {
			return r, err
		}
	}
}

// maxTries is how many connections to one server a question may take.
const maxTries = 4

// pipe is one connection to a server and the questions that wait on it. It
// lives while there is one: a discovery asks a few questions at once and then
// none, so nothing need be kept for later.
type pipe struct {
	users int // guarded by Client.mu
	end   context.CancelFunc

	ready chan struct{} // closed when conn or err is set by the dial
	conn  net.Conn

	mu      sync.Mutex
	waiting map[uint16]chan *dns.Msg
	answers int           // so far
	err     error         // why the connection ended
	done    chan struct{} // closed when it has

	writing sync.Mutex
}

var (
	errLeft   = errors.New("no question is open")
	errClosed = errors.New("it closed the connection without an answer")
)

// join gives the connection to server n, beginning one where there is none.
func (c *Client) join(n int) *pipe {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pipes[n]; p != nil && !p.ended() {
		p.users++
		return p
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &pipe{users: 1, end: cancel, ready: make(chan struct{}), done: make(chan struct{}), waiting: map[uint16]chan *dns.Msg{}}
	c.pipes[n] = p
	go p.run(ctx, c.servers[n], c.connect)
	return p
}

// leave closes the connection behind the last question.
func (c *Client) leave(n int, p *pipe) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	if c.pipes[n] == p {
		delete(c.pipes, n)
	}
	p.end()
}

// connect opens a connection to s.
func (c *Client) connect(ctx context.Context, s Server) (net.Conn, error) {
	conn, err := c.dial.DialContext(ctx, "tcp", s.Address())
	if err != nil || !s.TLS {
		return conn, err
	}
	// RFC 7858 §3.2 and RFC 8310 §7: strict, the name or the address of the
	// configuration must be in the certificate. crypto/tls compares a ServerName
	// that is an IP address with the certificate's addresses and sends no SNI.
	name := s.Name
	if name == "" {
		name = s.Host
	}
	tc := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: c.roots, MinVersion: tls.VersionTLS12})
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return tc, nil
}

// run opens the connection and reads answers until it ends.
func (p *pipe) run(ctx context.Context, s Server, connect func(context.Context, Server) (net.Conn, error)) {
	conn, err := connect(ctx, s)
	if err != nil {
		p.finish(err)
		close(p.ready)
		return
	}
	p.conn = conn
	close(p.ready)
	stop := context.AfterFunc(ctx, func() { p.finish(errLeft); conn.Close() })
	p.finish(p.read())
	conn.Close()
	stop()
}

// read hands out answers by their id. An answer that nobody waits for any more
// is dropped.
func (p *pipe) read() error {
	for {
		var size [2]byte // RFC 1035 §4.2.2
		if _, err := io.ReadFull(p.conn, size[:]); err != nil {
			return err
		}
		wire := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(p.conn, wire); err != nil {
			return err
		}
		r := new(dns.Msg)
		if err := r.Unpack(wire); err != nil {
			return errors.New("its answer cannot be read")
		}
		p.mu.Lock()
		ch := p.waiting[r.Id]
		delete(p.waiting, r.Id)
		p.answers++
		p.mu.Unlock()
		if ch != nil {
			ch <- r
		}
	}
}

// finish ends the pipe, once.
func (p *pipe) finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.done)
	}
}

// ended reports whether the pipe takes no more questions.
func (p *pipe) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// useful reports whether the server answered anything on this connection.
func (p *pipe) useful() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answers > 0
}

// exchange sends q, which gets a new id when its own is taken, and waits for
// the answer.
func (p *pipe) exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ch := make(chan *dns.Msg, 1)
	p.mu.Lock()
	for p.waiting[q.Id] != nil {
		q.Id++
	}
	p.waiting[q.Id] = ch
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, q.Id)
		p.mu.Unlock()
	}()

	wire, err := q.Pack()
	if err != nil {
		return nil, err
	}
	if !p.ended() {
		if err := p.write(ctx, wire); err != nil {
			return nil, p.why(err)
		}
	}
	select {
	case r := <-ch:
		return r, nil
	case <-p.done:
		select {
		case r := <-ch: // it came with the last bytes of the connection
			return r, nil
		default:
		}
		return nil, p.why(nil)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// write sends one message with its length in one piece (RFC 7766 §8). A few
// hundred bytes fit in any socket's buffer, so this waits for no server.
func (p *pipe) write(ctx context.Context, wire []byte) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if t, ok := ctx.Deadline(); ok {
		p.conn.SetWriteDeadline(t)
	}
	_, err := p.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
	return err
}

// why is the reason for the end of the connection, in words.
func (p *pipe) why(err error) error {
	p.mu.Lock()
	if p.err != nil {
		err = p.err
	}
	p.mu.Unlock()
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return errClosed
		}
	}
	return err
}
