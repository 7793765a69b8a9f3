package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"xmpp-gw/policy"
	"xmpp-gw/tests/lab"
)

const domain = "example.test"

// network is the only way out of a test: names that nobody else knows, and what was
// dialled.
type network struct {
	mu     sync.Mutex
	to     map[string]string // HOST:PORT to what listens, "" for silence, "!" for an error
	fail   error
	dialed []string
}

func (n *network) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialed = append(n.dialed, address)
	to, ok := n.to[address]
	n.mu.Unlock()
	switch {
	case ok && to == "":
		<-ctx.Done()
		return nil, ctx.Err()
	case n.fail != nil:
		return nil, n.fail
	case !ok:
		return nil, fmt.Errorf("nothing is at %s", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", to)
}

// server is a scripted server. Its zero value is a good one, but for names and
// certificate; each field makes it another.
type server struct {
	cert   tls.Certificate
	conf   func(*tls.Config)
	direct bool
	s2s    bool
	from   string // in place of the domain

	plain, secure string // features; "" is the usual ones
	form          string // what is in the answer to the question for a form; "" is an error

	inject  bool   // what came behind <starttls/> is read as if it had come inside TLS
	wary    bool   // what comes behind <starttls/> ends the stream
	clear   string // sent behind <proceed/>
	anyHost bool   // every domain is its own
	endless bool   // elements of any size
	http    string // its answer to an HTTP request
	hangUp  bool   // it ends what does not go on at once
	error   string // it answers every header with this

	always  bool   // it answers as its own domain
	later   bool   // it refuses other domains inside TLS alone
	excuse  string // what it says to a header that it did not take
	busy    bool   // it has no form now
	listens bool   // it goes on behind its answer to an HTTP request
}

const (
	sasl       = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism></mechanisms>"
	goodSecure = sasl + "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-256-PLUS</mechanism><inline><fast xmlns='urn:xmpp:fast:0'/></inline></authentication>" +
		"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>" +
		"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes><idle-seconds>60</idle-seconds></limits>" +
		"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://soft.test' ver='x='/>"
	s2sSecure = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms><dialback xmlns='urn:xmpp:features:dialback'/>"
	limitOf   = 10000
)

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (s server) run(c *lab.ScriptConn) {
	if s.direct {
		s.tls(c)
	}
	s.stream(c, s.direct)
}

func (s server) tls(c *lab.ScriptConn) {
	conf := &tls.Config{Certificates: []tls.Certificate{s.cert}}
	if s.direct {
		conf.NextProtos = []string{"xmpp-client"}
	}
	if s.s2s {
		conf.ClientAuth = tls.RequestClientCert
		conf.NextProtos = []string{"xmpp-server"}
	}
	if s.conf != nil {
		s.conf(conf)
	}
	t := tls.Server(c.Conn, conf)
	if err := t.Handshake(); err != nil {
		_ = c.Close()
		return
	}
	c.Conn = t
}

func (s server) header() string {
	ns := "jabber:client"
	if s.s2s {
		ns = "jabber:server"
	}
	return "<?xml version='1.0'?><stream:stream xmlns='" + ns + "' xmlns:stream='http://etherx.jabber.org/streams' from='" + or(s.from, domain) + "' id='i1' version='1.0' xml:lang='en'>"
}

func streamError(what string) string {
	return "<stream:error>" + what + "</stream:error></stream:stream>"
}

func condition(name string) string {
	return "<" + name + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
}

func (s server) stream(c *lab.ScriptConn, secure bool) {
	m := c.Expect(`<stream:stream[^>]* to='([^']*)'[^>]*>|GET [^\n]*`)
	switch {
	case m[1] == "":
		c.Send(or(s.http, s.header()+streamError(condition("not-well-formed"))))
		if s.listens {
			c.Hang()
		}
		return
	case s.error != "":
		c.Send(s.header() + streamError(s.error))
		return
	case m[1] != domain && !s.anyHost && (secure || !s.later):
		c.Send(s.header() + streamError(condition("host-unknown")))
		return
	case m[1] != domain && !s.always:
		s.from = m[1]
	}
	features := or(s.plain, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>")
	if secure && s.s2s {
		features = or(s.secure, s2sSecure)
	} else if secure {
		features = or(s.secure, goodSecure)
	}
	c.Send(s.header() + "<stream:features>" + features + "</stream:features>")
	if s.hangUp && !secure {
		return
	}
	begin := `<starttls[^>]*/>[\s\S]*` // nothing of what is behind it may last
	if s.inject {
		begin = `<starttls[^>]*/>`
	}
	m = c.Expect(`(` + begin + `)|<iq [^>]*id='([^']*)'.*</iq>|(<message [^>]*><body>)|(<stream:stream)`)
	switch {
	case s.wary && !strings.HasSuffix(m[1], "/>"):
		if s.excuse != "" {
			c.Send(lab.Proceed)
			s.tls(c)
			c.Send(s.header() + streamError(condition(s.excuse)))
			return
		}
		c.Send(streamError(condition("policy-violation")))
	case m[1] != "":
		c.Send(lab.Proceed + s.clear)
		s.tls(c)
		s.stream(c, true)
	case m[2] != "" && s.form != "":
		c.Send("<iq type='result' id='" + m[2] + "' from='" + domain + "'><query xmlns='jabber:iq:register'>" + s.form + "</query></iq>")
		c.Hang()
	case m[2] != "" && s.busy:
		c.Send("<iq type='error' id='" + m[2] + "'><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		c.Hang()
	case m[2] != "":
		c.Send("<iq type='error' id='" + m[2] + "' from='" + domain + "'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		c.Hang()
	case m[3] != "" && s.endless:
		c.Hang()
	case m[3] != "":
		_, _ = io.CopyN(io.Discard, c.Conn, limitOf)
		c.Send(streamError(condition("policy-violation")))
	default:
		c.Send(streamError(condition("not-well-formed")))
	}
}

// lot is a test's servers, their authority and the network to them.
type lot struct {
	t   *testing.T
	ca  *lab.CA
	net *network
}

func newLot(t *testing.T) *lot {
	t.Helper()
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return &lot{t: t, ca: ca, net: &network{to: map[string]string{}}}
}

func (l *lot) cert(leaf lab.CALeaf) tls.Certificate {
	l.t.Helper()
	c, err := l.ca.Leaf(leaf)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// start runs a script at a name.
func (l *lot) start(name string, run func(*lab.ScriptConn)) *lab.Script {
	l.t.Helper()
	s, err := lab.NewScript(run)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(s.Close)
	l.net.to[name] = s.Addr()
	return s
}

func at(uri string) policy.Endpoint {
	e, err := policy.ParseEndpoint(uri)
	if err != nil {
		panic(err)
	}
	return e
}
