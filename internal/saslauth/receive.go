package saslauth

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"xmpp-gw/internal/xmppstream"
)

// Bounds of a client's PLAIN message, in bytes.
const (
	maxUsername = 1023 // RFC 7622 §3.1
	maxPassword = 1024
)

// ClientFeatures is what a client is offered to log in with, as children of
// <stream:features/>: PLAIN, since the gateway needs the password to log in
// upstream. encrypted says that the client leg has TLS; without it (loopback,
// where the owner allowed that) SASL2 is not offered (XEP-0388 §3).
func ClientFeatures(encrypted bool) []byte {
	b := []byte("<mechanisms xmlns='" + xmppstream.NSSASL + "'><mechanism>" + plain + "</mechanism></mechanisms>")
	if encrypted {
		b = append(b, "<authentication xmlns='"+xmppstream.NSSASL2+"'><mechanism>"+plain+"</mechanism></authentication>"...)
	}
	return b
}

// Receive reads a client's login. first is the element that the client began
// with: <auth/> or <authenticate/>. domains are the spellings of the stream's
// domain (as the client wrote it, and as A-labels); a client may give its user
// name as a whole JID of one of them.
//
// A [*Failure] is an error of the client's, to be answered with
// [Protocol.Failure]; the client may then try again. Other errors end the stream.
// After success the caller owns the credentials and wipes them when done.
func Receive(s Stream, first *xmppstream.Node, domains ...string) (Protocol, *Credentials, error) {
	var p Protocol
	var text string
	var given bool // there is an initial response
	switch {
	case first.Space == xmppstream.NSSASL && first.Name == "auth":
		p, text = SASL1, first.Text
		given = strings.TrimSpace(text) != ""
	case first.Space == xmppstream.NSSASL2 && first.Name == "authenticate":
		p = SASL2
		if c := first.Child(xmppstream.NSSASL2, "initial-response"); c != nil {
			text, given = c.Text, true
		}
	case first.Space == xmppstream.NSSASL2:
		return SASL2, nil, &Failure{MalformedRequest, "A login begins with <authenticate/>."}
	default:
		return SASL1, nil, &Failure{MalformedRequest, "A login begins with <auth/>."}
	}
	if m := first.Attr("mechanism"); m != plain {
		return p, nil, &Failure{InvalidMechanism, "This gateway takes the mechanism PLAIN; it logs in at the server with a stronger one."}
	}
	if !given {
		var err error
		if text, err = ask(s, p); err != nil {
			return p, nil, err
		}
	}
	msg, ok := decode(text)
	if !ok {
		return p, nil, &Failure{IncorrectEncoding, "The login is not base64."}
	}
	cred, err := parsePlain(msg, domains)
	clear(msg)
	return p, cred, err
}

// ask sends an empty challenge to a client that gave no initial response, and
// returns the text of its answer (RFC 4616 §2: the client speaks first).
func ask(s Stream, p Protocol) (string, error) {
	if err := s.Send(p.Challenge(nil)); err != nil {
		return "", err
	}
	for range maxElements {
		e, err := s.Next()
		if closed(err) || err == nil && e.Kind == xmppstream.End {
			return "", errorOf(ErrClosed, "The client closed the stream in the middle of the login.")
		}
		if err != nil {
			return "", err
		}
		if e.Kind == xmppstream.Whitespace {
			continue
		}
		n, err := e.Node()
		if err != nil {
			return "", err
		}
		switch {
		case n.Space == p.space() && n.Name == "response":
			return n.Text, nil
		case n.Space == p.space() && n.Name == "abort":
			return "", &Failure{Aborted, "The client gave up."}
		}
		return "", &Failure{MalformedRequest, "The answer to a challenge is <response/> or <abort/>."}
	}
	return "", errorOf(ErrProtocol, "The client does not come to an end with the login.")
}

// parsePlain reads a PLAIN message (RFC 4616 §2): authorization identity, user
// name and password with a NUL between them.
func parsePlain(msg []byte, domains []string) (*Credentials, error) {
	if !utf8.Valid(msg) {
		return nil, &Failure{MalformedRequest, "User name and password must be UTF-8."}
	}
	parts := bytes.Split(msg, []byte{0})
	if len(parts) != 3 {
		return nil, &Failure{MalformedRequest, "A PLAIN login is an identity, a user name and a password with a NUL between them."}
	}
	authzid, user, password := string(parts[0]), string(parts[1]), parts[2]
	if local, domain, whole := strings.Cut(user, "@"); whole {
		if !oneOf(domain, domains) {
			return nil, &Failure{NotAuthorized, "The user name is an address of another domain than the one this stream was opened for."}
		}
		user = local
	}
	switch {
	case user == "" || len(user) > maxUsername || strings.ContainsFunc(user, notLocal):
		return nil, &Failure{NotAuthorized, "The user name is not the local part of an XMPP address."}
	case len(password) == 0 || len(password) > maxPassword:
		return nil, &Failure{NotAuthorized, "The password is empty or too long."}
	}
	if authzid != "" {
		// Only oneself: acting for others is for the server to allow, and it
		// would not learn of it.
		local, domain, _ := strings.Cut(authzid, "@")
		if !strings.EqualFold(local, user) || !oneOf(domain, domains) {
			return nil, &Failure{InvalidAuthzid, "The authorization identity must be the account's own address."}
		}
	}
	return &Credentials{Username: user, Password: bytes.Clone(password)}, nil
}

// notLocal reports characters that no local part has (RFC 7622 §3.3.1).
func notLocal(r rune) bool {
	return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune("\"&'/:<>@", r)
}

func oneOf(domain string, domains []string) bool {
	for _, d := range domains {
		if d != "" && strings.EqualFold(strings.TrimSuffix(d, "."), strings.TrimSuffix(domain, ".")) {
			return true
		}
	}
	return false
}
