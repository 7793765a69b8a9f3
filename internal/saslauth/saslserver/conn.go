package saslserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
)

// Link is what the server knows of a connection. The zero Link may not log in.
type Link struct {
	TLS         *tls.ConnectionState // nil without TLS
	Certificate *x509.Certificate    // our own, as shown in that handshake, for tls-server-end-point; nil if not known

	// Private says that nobody can listen although there is no TLS: the stream of
	// an onion service, or one inside this process. SASL2 and PLAIN need TLS all
	// the same.
	Private bool

	// Peer tells those who log in apart for throttling: a circuit, or an address.
	// Empty where they cannot be told apart; it must not be the same for all.
	Peer string

	// From is the address that the stream's header claims, if any. It proves
	// nothing, but may not contradict an authorization identity (XEP-0388 §2.3).
	From address.Address

	// EarlyData says that the login came as TLS 1.3 early data, where anybody can
	// repeat it: only FAST with a fresh replay counter is accepted then.
	EarlyData bool
}

// maxAttempts is how often one connection may begin to log in (RFC 6120 §6.4.5:
// at least two retries and no more than five).
const maxAttempts = 6

// Conn is the SASL side of one connection until its login. It is not safe for
// concurrent use.
type Conn struct {
	srv      *Server
	link     Link
	offer    *offer
	offered  bool // offer is set, though it may be nil
	attempts int
	done     bool // somebody logged in
	x        *exchange
}

// Conn begins with a connection. After STARTTLS there must be a new one.
func (s *Server) Conn(l Link) *Conn { return &Conn{srv: s, link: l} }

func (c *Conn) offerFor(ctx context.Context) *offer {
	if !c.offered {
		c.offer, c.offered = c.srv.offerFor(ctx, &c.link), true
	}
	return c.offer
}

// AppendFeatures appends what is offered to log in with, as children of
// <stream:features/>: the mechanisms of SASL and of SASL2, and the types of
// channel binding. It appends nothing where nobody may log in.
func (c *Conn) AppendFeatures(ctx context.Context, dst []byte) []byte {
	if o := c.offerFor(ctx); o != nil {
		dst = append(dst, o.features...)
	}
	return dst
}

// Mechanisms are the names of the mechanisms offered, FAST's not among them.
func (c *Conn) Mechanisms(ctx context.Context) []string {
	if o := c.offerFor(ctx); o != nil {
		return slices.Clone(o.mechanisms)
	}
	return nil
}

// Answer is what follows from one element of the client.
type Answer struct {
	Element []byte            // to be sent; nil with a Login
	Login   *Login            // the client has proven who it is
	Failure *saslauth.Failure // what Element says, when it is a failure; the client may try again
}

// exchange is one run of one mechanism.
type exchange struct {
	proto     saslauth.Protocol
	mechanism string
	request   *xmppstream.Node // SASL2's <authenticate/>
	machine   machine
}

// machine is one mechanism's side of the server. next takes a message of the
// client and gives a challenge, or at the end the proof. An error is a [*saslauth.Failure].
type machine interface {
	next(ctx context.Context, msg []byte) (challenge []byte, p *proof, err error)
}

// proof is what a mechanism has shown.
type proof struct {
	account address.Address
	data    []byte // additional data for the success; nil for none
	binding string
	authzid bool     // the client named an authorization identity
	allowed []string // resources that the client's certificate allows; nil for any
	token   *usedToken
}

// Handle takes one element in either of SASL's namespaces. Its answer is to be
// sent, unless there is a login, which [Login.Success] answers. An error is of
// type [*xmppstream.Error] and ends the stream, or comes of the context.
//
// The element's tree is not kept, but for the requests of SASL2.
func (c *Conn) Handle(ctx context.Context, n *xmppstream.Node) (Answer, error) {
	p := saslauth.SASL1
	switch {
	case n.Space == xmppstream.NSSASL2:
		p = saslauth.SASL2
	case n.Space != xmppstream.NSSASL:
		return Answer{}, &xmppstream.Error{Condition: "not-authorized", Text: "log in first"} // RFC 6120 §4.9.3.12
	}
	if c.done {
		return Answer{}, &xmppstream.Error{Condition: "policy-violation", Text: "somebody is logged in on this stream already"}
	}
	begin := p == saslauth.SASL1 && n.Name == "auth" || p == saslauth.SASL2 && n.Name == "authenticate"
	if begin {
		if c.attempts++; c.attempts > maxAttempts {
			return Answer{}, &xmppstream.Error{Condition: "policy-violation", Text: "too many failed logins on this stream"}
		}
	}
	login, challenge, err := c.step(ctx, p, n, begin)
	var f *saslauth.Failure
	switch {
	case errors.As(err, &f):
		c.x = nil
		return Answer{Element: p.Failure(*f), Failure: f}, nil
	case err != nil:
		return Answer{}, err
	case login != nil:
		c.x, c.done = nil, true
		return Answer{Login: login}, nil
	}
	return Answer{Element: p.Challenge(challenge)}, nil
}

// step does what Handle does, up to the writing.
func (c *Conn) step(ctx context.Context, p saslauth.Protocol, n *xmppstream.Node, begin bool) (*Login, []byte, error) {
	var text string
	switch {
	case begin:
		given, initial, err := c.begin(ctx, p, n)
		if err != nil {
			return nil, nil, err
		}
		if !given { // the mechanisms here all let the client speak first (RFC 4422 §5)
			return nil, nil, nil
		}
		text = initial
	case c.x == nil || c.x.proto != p:
		return nil, nil, &saslauth.Failure{Condition: saslauth.MalformedRequest, Text: "No login is under way."}
	case n.Name == "response":
		text = n.Text
	case n.Name == "abort":
		return nil, nil, &saslauth.Failure{Condition: saslauth.Aborted}
	default:
		return nil, nil, errMalformed
	}
	msg, ok := saslauth.Decode(text)
	if !ok {
		return nil, nil, &saslauth.Failure{Condition: saslauth.IncorrectEncoding, Text: "The message is not base64."}
	}
	challenge, proven, err := c.x.machine.next(ctx, msg)
	if err != nil || proven == nil {
		return nil, challenge, err
	}
	login, err := c.login(ctx, proven)
	return login, nil, err
}

// begin starts a mechanism. given says that the client sent an initial response.
func (c *Conn) begin(ctx context.Context, p saslauth.Protocol, n *xmppstream.Node) (given bool, initial string, err error) {
	if c.x != nil { // RFC 6120 §6.4.4: it is aborted first
		return false, "", &saslauth.Failure{Condition: saslauth.MalformedRequest, Text: "Another login is under way."}
	}
	o := c.offerFor(ctx)
	if o == nil || p == saslauth.SASL2 && !o.sasl2 {
		return false, "", &saslauth.Failure{Condition: saslauth.EncryptionRequired, Text: "Logging in needs TLS."}
	}
	x := &exchange{proto: p, mechanism: n.Attr("mechanism")}
	if p == saslauth.SASL2 {
		x.request = n
		if r := n.Child(xmppstream.NSSASL2, "initial-response"); r != nil {
			given, initial = true, r.Text
		}
	} else {
		initial = n.Text
		given = strings.TrimSpace(initial) != ""
	}
	if x.machine = c.machine(o, x); x.machine == nil {
		return false, "", &saslauth.Failure{Condition: saslauth.InvalidMechanism, Text: "This mechanism is not offered here."}
	}
	if _, fast := x.machine.(*fastMachine); c.link.EarlyData && !fast { // XEP-0388 §3
		return false, "", &saslauth.Failure{Condition: saslauth.MalformedRequest, Text: "TLS early data may carry a FAST login only."}
	}
	c.x = x
	return given, initial, nil
}

// machine makes the machine of an offered mechanism, nil for others.
func (c *Conn) machine(o *offer, x *exchange) machine {
	switch {
	case x.proto == saslauth.SASL2 && slices.Contains(o.fast, x.mechanism):
		return newFast(c, x)
	case !slices.Contains(o.mechanisms, x.mechanism):
		return nil
	case x.mechanism == external:
		return &externalMachine{c}
	case x.mechanism == plain:
		return &plainMachine{c}
	}
	name, bound := strings.CutSuffix(x.mechanism, plus)
	for _, h := range c.srv.cfg.Hashes {
		if h.mechanism() == name {
			return &scramMachine{conn: c, offer: o, hash: h, plus: bound}
		}
	}
	return nil
}

// admit holds a login up, or refuses it, if too many failed. With wait false it
// only looks whether it is refused.
func (c *Conn) admit(ctx context.Context, who claim, wait bool) error {
	refused, delay := c.srv.throttle.check(who.name, c.link.Peer, c.srv.cfg.Now())
	if refused > 0 {
		seconds := int64(refused/time.Second) + 1
		return &saslauth.Failure{Condition: saslauth.TemporaryAuthFailure,
			Text: fmt.Sprintf("Too many logins failed. Try again in %d seconds.", seconds)}
	}
	if delay == 0 || !wait {
		return nil
	}
	over, stop := c.srv.sleep(delay)
	defer stop()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refuse counts a failed login.
func (c *Conn) refuse(who claim) error {
	c.srv.throttle.failed(who.name, c.link.Peer, c.srv.cfg.Now())
	return errRefused
}

// credentials looks an account up. known is false for a name without an account,
// or without keys for h; the keys are then such as fit nothing.
func (c *Conn) credentials(ctx context.Context, who claim, h Hash) (cred Credentials, known bool, err error) {
	decoy := c.srv.decoyKeys(who.name, h)
	if who.account.IsZero() {
		return Credentials{Keys: decoy}, false, nil
	}
	cred, err = c.srv.cfg.Accounts.Credentials(ctx, who.account, h)
	switch {
	case errors.Is(err, ErrNoAccount):
		return Credentials{Keys: decoy}, false, nil
	case ctx.Err() != nil:
		return cred, false, ctx.Err()
	case err != nil:
		return cred, false, errStorage
	case !cred.Keys.usable(h):
		cred.Keys = decoy
		return cred, false, nil
	}
	return cred, true, nil
}

// state asks whether an account that was proven otherwise than by a password may
// log in.
func (c *Conn) state(ctx context.Context, a address.Address) error {
	cred, err := c.srv.cfg.Accounts.Credentials(ctx, a, 0)
	switch {
	case errors.Is(err, ErrNoAccount):
		return errRefused
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return errStorage
	case cred.Disabled:
		return errDisabled
	}
	return nil
}

// Authenticate runs a login that begins with the element first, to its end or to
// its failure, which was then sent and is returned as a [*saslauth.Failure]: the
// stream goes on and the client may try again. Other errors end the stream; those
// of type [*xmppstream.Error] say with which stream error. Deadlines are the
// caller's.
func (c *Conn) Authenticate(ctx context.Context, s saslauth.Stream, first *xmppstream.Node) (*Login, error) {
	for n := first; ; {
		a, err := c.Handle(ctx, n)
		if err != nil {
			return nil, err
		}
		if a.Login != nil {
			return a.Login, nil
		}
		if err := s.Send(a.Element); err != nil {
			return nil, err
		}
		if a.Failure != nil {
			return nil, a.Failure
		}
		if n, err = c.next(ctx, s); err != nil {
			return nil, err
		}
	}
}

// next reads the client's next word of the exchange.
func (c *Conn) next(ctx context.Context, s saslauth.Stream) (*xmppstream.Node, error) {
	for range maxKeepalives {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, err := s.Next()
		if err != nil {
			return nil, err
		}
		switch e.Kind {
		case xmppstream.End:
			return nil, io.EOF
		case xmppstream.Whitespace:
			if c.x.proto == saslauth.SASL2 { // XEP-0388 §2.4
				return nil, &xmppstream.Error{Condition: "policy-violation", Text: "whitespace in the middle of a login"}
			}
			continue
		}
		return e.Node()
	}
	return nil, &xmppstream.Error{Condition: "policy-violation", Text: "whitespace instead of a login"}
}

// maxKeepalives is the most runs of whitespace between two elements of a login.
const maxKeepalives = 16
