package saslauth

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strings"

	"xmpp-gw/internal/xmppstream"
)

// Credentials are what a login is made with. They live in memory only.
type Credentials struct {
	Username string // local part of the account's JID
	Password []byte

	// Certificate says that the TLS connection presented the owner's client
	// certificate, so that EXTERNAL may be used.
	Certificate bool
	// Authzid is the bare JID to log in as by EXTERNAL. Empty: the one that the
	// certificate names, which must then be the only one (XEP-0178 §2).
	Authzid string
}

// Wipe overwrites the password. Copies that Go's strings, the XML tree and the
// SCRAM library made stay until the collector's memory is used again.
func (c *Credentials) Wipe() { clear(c.Password) }

// Outcome is a login that succeeded.
type Outcome struct {
	Protocol  Protocol // after SASL2 the stream is not restarted
	Mechanism string
	Binding   string // channel binding type; empty when the login was not bound

	// Plus says that the login was bound to its TLS connection: the caller
	// remembers that for the domain (see [Rules].RatchetPlus).
	Plus        bool
	PlusOffered bool // the server offered a -PLUS mechanism, used or not
	Hashed      bool // the server's XEP-0474 hash was there and right

	// Identity is the JID that SASL2 reports; SASL reports none.
	Identity string
}

// maxElements is the most elements read in one exchange: SCRAM needs three, and
// a few whitespace keepalives may stand between them.
const maxElements = 16

// mechanism is the client side of one SASL mechanism.
type mechanism interface {
	start() ([]byte, error)                // initial response
	next(challenge []byte) ([]byte, error) // answer to a challenge
	finish(data []byte) error              // nil: the success is believed
}

// Authenticate logs in at the server whose features said offer. state is the TLS
// connection's, nil without TLS.
//
// Errors: [*Failure] is the server's no, after which its stream goes on; [*Error]
// is ours, after which the caller closes it; any other error is the stream's.
// Nothing that depends on the password leaves before the server's first message
// was checked, and the password itself only by PLAIN.
func Authenticate(ctx context.Context, s Stream, offer Offer, cred *Credentials, rules Rules, state *tls.ConnectionState) (Outcome, error) {
	attempts, err := choose(offer, cred.Certificate, rules, state)
	if err != nil {
		return Outcome{}, err
	}
	for i, a := range attempts {
		x := &exchange{ctx: ctx, s: s, attempt: a}
		m, err := a.client(offer.BindingTypes, cred)
		if err != nil {
			return Outcome{}, err
		}
		out, err := x.run(m)
		var refused *Failure
		if guessed := a.flag == 'p' && offer.BindingTypes == nil; !guessed || x.challenged || !errors.As(err, &refused) {
			return out, err
		}
		if i+1 == len(attempts) {
			return Outcome{}, errRefusedType(rules, a, refused)
		}
		// Once more without binding: see the package comment.
	}
	return Outcome{}, errorOf(ErrTooWeak, "There is no way to log in.")
}

// errRefusedType is for a server that said no to a guessed type of binding where
// there is no going on without.
func errRefusedType(r Rules, a attempt, f *Failure) error {
	kind := ErrBinding
	if r.RatchetPlus {
		kind = ErrRatchet
	}
	return errorOf(kind, "The server refused the login before it began ("+string(f.Condition)+"). It offers "+a.mechanism+
		" without saying for which types of channel binding (XEP-0440), and does not know the account or does not take "+string(a.cb.Type)+
		". Going on without is ruled out: the domain's rules demand it, or an earlier login was bound.")
}

// client makes the client side of the attempt's mechanism.
func (a attempt) client(types []string, cred *Credentials) (mechanism, error) {
	switch a.mechanism {
	case external:
		return oneStep(cred.Authzid), nil
	case plain:
		return newPlain(cred)
	}
	return newSCRAM(a, types, cred)
}

// exchange is one run of one mechanism.
type exchange struct {
	attempt
	ctx        context.Context
	s          Stream
	read       int  // elements so far
	challenged bool // the server accepted our first message
}

func (x *exchange) run(m mechanism) (Outcome, error) {
	initial, err := m.start()
	if err != nil {
		return Outcome{}, err
	}
	element := x.proto.auth(x.mechanism, initial)
	err = x.s.Send(element)
	clear(initial)
	clear(element) // PLAIN's password stands in it
	if err != nil {
		return Outcome{}, err
	}
	for {
		n, err := x.next()
		if err != nil {
			return Outcome{}, err
		}
		switch n.Name {
		case "challenge":
			x.challenged = true
			if err := x.answer(m, n); err != nil {
				return Outcome{}, err
			}
		case "success":
			return x.success(m, n)
		case "failure":
			return Outcome{}, failureOf(n)
		case "continue": // XEP-0388 §2.6.3
			x.abort()
			return Outcome{}, errorOf(ErrMoreSteps, "The server wants a further step after the password (such as a one-time code), which the gateway cannot do. "+
				"Use an application password, or sasl = \"relay\" for this domain.")
		default:
			x.abort()
			return Outcome{}, errorOf(ErrProtocol, "The server sent <"+CleanText(n.Name)+"/> in the middle of the login.")
		}
	}
}

func (x *exchange) answer(m mechanism, n *xmppstream.Node) error {
	data, ok := decode(n.Text)
	if !ok {
		x.abort()
		return errorOf(ErrProtocol, "The server sent a challenge that is not base64.")
	}
	answer, err := m.next(data)
	if err != nil {
		x.abort()
		return err
	}
	return x.s.Send(x.proto.response(answer))
}

func (x *exchange) success(m mechanism, n *xmppstream.Node) (Outcome, error) {
	out := Outcome{Protocol: x.proto, Mechanism: x.mechanism, PlusOffered: offersPlus(x.offered)}
	text := n.Text
	if x.proto == SASL2 {
		text = n.ChildText(xmppstream.NSSASL2, "additional-data")
		out.Identity = n.ChildText(xmppstream.NSSASL2, "authorization-identifier")
	}
	data, ok := decode(text)
	if !ok {
		return Outcome{}, errorOf(ErrProtocol, "The server sent data with its success that are not base64.")
	}
	if err := m.finish(data); err != nil {
		return Outcome{}, err
	}
	if x.flag == 'p' {
		out.Binding, out.Plus = string(x.cb.Type), true
	}
	if c, ok := m.(*scramClient); ok {
		out.Hashed = c.hashed
	}
	return out, nil
}

// abort tells the server that we give up. The stream ends anyhow, so that what
// becomes of the element does not matter.
func (x *exchange) abort() { _ = x.s.Send(x.proto.abort()) }

// next reads the server's next word of this exchange.
func (x *exchange) next() (*xmppstream.Node, error) {
	for {
		if err := x.ctx.Err(); err != nil {
			return nil, err
		}
		e, err := x.s.Next()
		if err != nil {
			if closed(err) {
				err = errClosed
			}
			return nil, err
		}
		if x.read++; x.read > maxElements {
			return nil, errorOf(ErrProtocol, "The server does not come to an end with the login.")
		}
		switch e.Kind {
		case xmppstream.Whitespace:
			continue
		case xmppstream.End:
			return nil, errClosed
		}
		n, err := e.Node()
		if err != nil {
			return nil, err
		}
		if n.Space == xmppstream.NSStream && n.Name == "error" {
			return nil, streamError(n)
		}
		if n.Space != x.proto.space() {
			x.abort()
			return nil, errorOf(ErrProtocol, "The server sent <"+CleanText(n.Name)+"/> in the middle of the login.")
		}
		return n, nil
	}
}

// closed reports whether err means that the other side went.
func closed(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

var errClosed = errorOf(ErrClosed, "The server closed the stream in the middle of the login.")

// streamError reads a <stream:error/> (RFC 6120 §4.9). Where a see-other-host
// points is nobody's business here.
func streamError(n *xmppstream.Node) error {
	cond, text := "undefined-condition", ""
	for _, c := range n.Children {
		if c.Space != xmppstream.NSStreamErr {
			continue
		}
		if c.Name == "text" {
			text = CleanText(c.Text)
		} else {
			cond = CleanText(c.Name)
		}
	}
	if text != "" {
		cond += ": " + text
	}
	return errorOf(ErrClosed, "The server ended the stream in the middle of the login ("+cond+").")
}

// oneStep is a mechanism whose first message says all: EXTERNAL (RFC 4422
// appendix A) and PLAIN (RFC 4616).
type oneStep []byte

func (m oneStep) start() ([]byte, error) { return []byte(m), nil }

func (m oneStep) next([]byte) ([]byte, error) {
	return nil, errorOf(ErrProtocol, "The server answers with a challenge where the mechanism has none.")
}

func (m oneStep) finish(data []byte) error {
	if len(data) != 0 {
		return errorOf(ErrProtocol, "The server sent data with its success where the mechanism has none.")
	}
	return nil
}

func newPlain(cred *Credentials) (mechanism, error) {
	if cred.Username == "" || len(cred.Password) == 0 ||
		strings.IndexByte(cred.Username, 0) >= 0 || strings.IndexByte(string(cred.Password), 0) >= 0 {
		return nil, errorOf(ErrCredentials, "The user name or the password is empty or has a NUL in it.")
	}
	msg := make([]byte, 0, len(cred.Username)+len(cred.Password)+2)
	msg = append(msg, 0)
	msg = append(msg, cred.Username...)
	msg = append(msg, 0)
	return oneStep(append(msg, cred.Password...)), nil
}
