package lab

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/xdg-go/scram"
)

// Script is an XMPP server on loopback that does what a test says, right or
// wrong, and remembers what it was sent.
type Script struct {
	l  net.Listener
	wg sync.WaitGroup

	mu       sync.Mutex
	received bytes.Buffer
	accepted int
	open     map[net.Conn]struct{}
	errs     []error
}

// scriptPatience is how long a script waits for what it expects.
const scriptPatience = 10 * time.Second

// NewScript starts a server that runs run for each connection.
func NewScript(run func(*ScriptConn)) (*Script, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Script{l: l, open: map[net.Conn]struct{}{}}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.accepted++
			s.open[c] = struct{}{}
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(c, run) })
		}
	})
	return s, nil
}

func (s *Script) serve(c net.Conn, run func(*ScriptConn)) {
	defer func() {
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
		_ = c.Close()
		if r := recover(); r != nil && r != errScriptEnds {
			panic(r)
		}
	}()
	run(&ScriptConn{Conn: c, script: s})
}

// errScriptEnds unwinds a script whose peer did something else.
var errScriptEnds = errors.New("script ends")

// Addr is where the server listens.
func (s *Script) Addr() string { return s.l.Addr().String() }

// Port is the port of Addr.
func (s *Script) Port() int { return s.l.Addr().(*net.TCPAddr).Port }

// Accepted is the number of connections so far.
func (s *Script) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Open is the number of connections that are still open.
func (s *Script) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Received is everything that was sent so far, decrypted; "[TLS]" marks where
// encryption began.
func (s *Script) Received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received.String()
}

// Errors is what the scripts waited for in vain.
func (s *Script) Errors() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}

// Close ends the server and its connections.
func (s *Script) Close() {
	_ = s.l.Close()
	s.mu.Lock()
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Script) log(b []byte) {
	s.mu.Lock()
	s.received.Write(b)
	s.mu.Unlock()
}

// ScriptConn is one connection of a Script.
type ScriptConn struct {
	net.Conn
	script  *Script
	pending []byte
}

// Expect reads until pattern matches and returns the match's groups. The script
// ends when that does not happen.
func (c *ScriptConn) Expect(pattern string) []string {
	re := regexp.MustCompile(pattern)
	_ = c.SetReadDeadline(time.Now().Add(scriptPatience))
	buf := make([]byte, 4096)
	for {
		if m := re.FindSubmatchIndex(c.pending); m != nil {
			groups := make([]string, len(m)/2)
			for i := range groups {
				if m[2*i] >= 0 {
					groups[i] = string(c.pending[m[2*i]:m[2*i+1]])
				}
			}
			c.pending = c.pending[m[1]:]
			return groups
		}
		n, err := c.Read(buf)
		c.script.log(buf[:n])
		c.pending = append(c.pending, buf[:n]...)
		if err != nil && n == 0 {
			c.script.mu.Lock()
			c.script.errs = append(c.script.errs, fmt.Errorf("waiting for %q: %w (got %q)", pattern, err, c.pending))
			c.script.mu.Unlock()
			panic(errScriptEnds)
		}
	}
}

// Send writes bytes as they are.
func (c *ScriptConn) Send(s string) {
	if _, err := io.WriteString(c.Conn, s); err != nil {
		panic(errScriptEnds)
	}
}

// Header is a server's stream header.
func Header(domain string) string {
	return "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='" +
		domain + "' id='script' version='1.0'>"
}

// Parts of stream features.
const (
	FeatureSTARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
	FeatureBind     = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
	Proceed         = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
)

// FeatureSASL offers mechanisms.
func FeatureSASL(mechanisms ...string) string {
	s := "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
	for _, m := range mechanisms {
		s += "<mechanism>" + m + "</mechanism>"
	}
	return s + "</mechanisms>"
}

// Open answers a stream header with one's own and features.
func (c *ScriptConn) Open(domain, features string) {
	c.Expect(`<stream:stream[^>]*>`)
	c.Send(Header(domain) + "<stream:features>" + features + "</stream:features>")
}

// STARTTLS plays the server's part up to the encrypted connection.
func (c *ScriptConn) STARTTLS(domain string, cert tls.Certificate) {
	c.Open(domain, FeatureSTARTTLS)
	c.Expect(`<starttls[^>]*/>`)
	c.Send(Proceed)
	c.TLS(cert)
}

// TLS goes on inside TLS, as the server.
func (c *ScriptConn) TLS(cert tls.Certificate) {
	t := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"xmpp-client"}})
	_ = c.SetDeadline(time.Now().Add(scriptPatience))
	if err := t.Handshake(); err != nil {
		panic(errScriptEnds)
	}
	_ = c.SetDeadline(time.Time{})
	c.Conn = t
	c.script.log([]byte("[TLS]"))
}

// SCRAM plays the server's part of SCRAM-SHA-256 for one account. final changes
// the server's last message; nil leaves it right.
func (c *ScriptConn) SCRAM(user, password string, final func(string) string) {
	server, err := scramServer(user, password)
	if err != nil {
		panic(err)
	}
	conv := server.NewConversation()
	text := c.Expect(`<auth [^>]*mechanism=['"]SCRAM-SHA-256['"][^>]*>([^<]*)</auth>`)[1]
	for {
		data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			panic(errScriptEnds)
		}
		answer, err := conv.Step(string(data))
		if err != nil {
			c.Send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")
			panic(errScriptEnds)
		}
		if conv.Done() {
			if final != nil {
				answer = final(answer)
			}
			c.Send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + base64.StdEncoding.EncodeToString([]byte(answer)) + "</success>")
			return
		}
		c.Send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + base64.StdEncoding.EncodeToString([]byte(answer)) + "</challenge>")
		text = c.Expect(`<response[^>]*>([^<]*)</response>`)[1]
	}
}

func scramServer(user, password string) (*scram.Server, error) {
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		return nil, err
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt of the lab", Iters: 4096})
	if err != nil {
		return nil, err
	}
	return scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
		if name != user {
			return scram.StoredCredentials{}, errors.New("no such account")
		}
		return stored, nil
	})
}

// Good plays a whole login up to a bound resource: STARTTLS, SCRAM, bind.
func (c *ScriptConn) Good(domain string, cert tls.Certificate, user, password string) {
	c.STARTTLS(domain, cert)
	c.Login(domain, user, password)
}

// Login plays the part of Good that is inside TLS.
func (c *ScriptConn) Login(domain, user, password string) {
	c.Open(domain, FeatureSASL("SCRAM-SHA-256"))
	c.SCRAM(user, password, nil)
	c.Open(domain, FeatureBind)
	id := c.Expect(`<iq[^>]*id=['"]([^'"]*)['"][^>]*>.*</iq>`)[1]
	c.Send("<iq type='result' id='" + id + "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>" + user + "@" + domain + "/lab</jid></bind></iq>")
}

// Hang keeps the connection open and silent until the peer closes it.
func (c *ScriptConn) Hang() {
	_ = c.SetReadDeadline(time.Time{})
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		c.script.log(buf[:n])
		if err != nil {
			return
		}
	}
}
