// Package load is a client made to load XMPP servers, any of them, and to cost
// little itself: it knows as much of XMPP as logging in takes, and then counts
// bytes.
//
// It favours no server. It speaks RFC 6120 and RFC 6121 alone (STARTTLS, SCRAM,
// resource binding, initial presence), asks for nothing optional, and sends what
// clients send: one stanza, one write.
package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/xdg-go/scram"
)

// Target is the server to load.
type Target struct {
	// Addr is HOST:PORT of its STARTTLS listener.
	Addr   string
	Domain string
	// TLS verifies the server; nil stays in the clear, as far as the server lets us.
	TLS *tls.Config
	// Mechanism is "SCRAM-SHA-1" or "SCRAM-SHA-256"; keep it the same for servers
	// that are compared.
	Mechanism string
	// Password is that of all accounts. Account i is u<i>.
	Password string
	// Dial connects, nil for TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// Account is the user name of account i.
func Account(i int) string { return fmt.Sprintf("u%d", i) }

// stepTime bounds each step of a login.
const stepTime = 30 * time.Second

// Session is a stream with a bound resource.
type Session struct {
	net.Conn
	JID string
	r   *bufio.Reader // nil once the login is done and nothing is left in it
}

// Login logs account i in. With presence it also becomes available, and has seen
// the server reflect that.
func (t *Target) Login(ctx context.Context, i int, presence bool) (*Session, error) {
	s, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.login(t, i, presence); err != nil {
		s.Conn.Close()
		return nil, fmt.Errorf("log account %d in: %w", i, err)
	}
	return s, nil
}

func (t *Target) dial(ctx context.Context) (*Session, error) {
	dial := t.Dial
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	conn, err := dial(ctx, t.Addr)
	if err != nil {
		return nil, err
	}
	return &Session{Conn: conn, r: bufio.NewReaderSize(conn, 1024)}, nil
}

// header is the client's stream header.
func (t *Target) header() string {
	return "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='" + t.Domain + "' version='1.0'>"
}

// open brings the stream up to the features inside TLS, where that is wanted.
func (s *Session) open(t *Target) error {
	if _, err := s.ask(t.header(), "</stream:features>"); err != nil || t.TLS == nil {
		return err
	}
	if _, err := s.ask("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed"); err != nil {
		return err
	}
	if _, err := s.upTo(">"); err != nil {
		return err
	}
	c := tls.Client(s.Conn, t.TLS)
	if err := c.Handshake(); err != nil {
		return err
	}
	s.Conn = c
	s.r.Reset(c)
	_, err := s.ask(t.header(), "</stream:features>")
	return err
}

func (s *Session) login(t *Target, i int, presence bool) error {
	if err := s.open(t); err != nil {
		return err
	}
	if err := s.scram(t, Account(i)); err != nil {
		return err
	}
	if _, err := s.ask(t.header(), "</stream:features>"); err != nil {
		return err
	}
	bound, err := s.ask("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>load</resource></bind></iq>", "</iq>")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(bound, "<jid>")
	if s.JID, _, _ = strings.Cut(rest, "</jid>"); s.JID == "" {
		return fmt.Errorf("no address in %q", bound)
	}
	if presence {
		if _, err := s.ask("<presence/>", "<presence"); err != nil {
			return err
		}
		if _, err := s.upTo(">"); err != nil {
			return err
		}
	}
	return s.SetDeadline(time.Time{})
}

// scram logs in without channel binding (RFC 5802).
func (s *Session) scram(t *Target, user string) error {
	hash := scram.SHA1
	if t.Mechanism == "SCRAM-SHA-256" {
		hash = scram.SHA256
	}
	client, err := hash.NewClient(user, t.Password, "")
	if err != nil {
		return err
	}
	conv := client.NewConversation()
	first, err := conv.Step("")
	if err != nil {
		return err
	}
	const ns = " xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
	element := func(name, attrs, text string) string {
		return "<" + name + ns + attrs + ">" + base64.StdEncoding.EncodeToString([]byte(text)) + "</" + name + ">"
	}
	answer, err := s.ask(element("auth", " mechanism='"+t.Mechanism+"'", first), "</challenge>")
	if err != nil {
		return err
	}
	final, err := conv.Step(text(answer))
	if err != nil {
		return err
	}
	if answer, err = s.ask(element("response", "", final), "</success>"); err != nil {
		return err
	}
	_, err = conv.Step(text(answer))
	return err
}

// text is the base64 character data of the last element.
func text(xml string) string {
	end := strings.LastIndex(xml, "</")
	start := strings.LastIndex(xml[:max(end, 0)], ">")
	b, err := base64.StdEncoding.DecodeString(xml[start+1 : max(end, start+1)])
	if err != nil {
		return ""
	}
	return string(b)
}

// ask writes and reads up to want.
func (s *Session) ask(what, want string) (string, error) {
	if err := s.SetDeadline(time.Now().Add(stepTime)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(s.Conn, what); err != nil {
		return "", err
	}
	return s.upTo(want)
}

// upTo reads up to the end of want.
func (s *Session) upTo(want string) (string, error) {
	var seen []byte
	for !bytes.HasSuffix(seen, []byte(want)) {
		b, err := s.r.ReadByte()
		if err != nil {
			return "", fmt.Errorf("waiting for %s: %w (got %q)", want, err, seen)
		}
		if seen = append(seen, b); len(seen) > 64<<10 {
			return "", errors.New("the server does not come to an end")
		}
	}
	return string(seen), nil
}

// Read gives first what the login read too much of.
func (s *Session) Read(p []byte) (int, error) {
	if s.r != nil {
		if s.r.Buffered() > 0 {
			return s.r.Read(p)
		}
		s.r = nil // an idle session holds no buffer
	}
	return s.Conn.Read(p)
}

// Register makes the accounts first … first+n-1 in band (XEP-0077), over one
// connection. Those that exist already are left as they are.
func (t *Target) Register(ctx context.Context, first, n int) error {
	s, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	if err := s.open(t); err != nil {
		return err
	}
	for i := first; i < first+n; i++ {
		answer, err := s.ask(fmt.Sprintf("<iq type='set' id='r%d' to='%s'><query xmlns='jabber:iq:register'><username>%s</username><password>%s</password></query></iq>",
			i, t.Domain, Account(i), t.Password), ">")
		if err != nil {
			return err
		}
		if strings.HasSuffix(answer, "/>") {
			continue // <iq type='result' … />
		}
		rest, err := s.upTo("</iq>")
		if err != nil {
			return err
		}
		if strings.Contains(rest, "<error") && !strings.Contains(rest, "<conflict") {
			return fmt.Errorf("register account %d: %s", i, rest)
		}
	}
	return nil
}
