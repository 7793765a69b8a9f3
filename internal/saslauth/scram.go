package saslauth

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"
)

// Bounds of a server's first SCRAM message.
const (
	// minIterations is the floor of RFC 5802 §5.1: with fewer, a fake server
	// could make our proof cheap to attack offline.
	minIterations = 4096
	// maxIterations keeps a hostile server from burning our processor: about a
	// second's work. Servers in use ask for 4,096 to some 100,000.
	maxIterations = 1_000_000
	// maxMessage is the longest message we read, in bytes.
	maxMessage = 2048
	// maxSalt is the longest salt, in characters of base64.
	maxSalt = 512
)

// scramClient is the client side of one SCRAM exchange. The cryptography is the
// library's; it does not look at extensions, upper bounds or repeated nonces.
type scramClient struct {
	attempt
	types []string // for XEP-0474
	conv  *scram.ClientConversation
	first string // our first message, of which the nonce is checked
	step  int

	hashed bool // the XEP-0474 hash was there and right
}

func newSCRAM(a attempt, types []string, cred *Credentials) (*scramClient, error) {
	user, err := stringprep.SASLprep.Prepare(cred.Username)
	if err != nil || user == "" {
		return nil, errorOf(ErrCredentials, "The user name has characters that SCRAM does not allow (SASLprep).")
	}
	pass, err := stringprep.SASLprep.Prepare(string(cred.Password))
	if err != nil {
		// SASLprep knows the Unicode of 2002 and refuses, say, emoji. Servers that
		// took such a password stored it as it is; the worst that can happen is
		// that it does not fit.
		pass = string(cred.Password)
	}
	if pass == "" {
		return nil, errorOf(ErrCredentials, "The password is empty.")
	}
	client, err := scram.HashGeneratorFcn(a.family.newHash).NewClientUnprepped(user, pass, "")
	if err != nil {
		return nil, errorOf(ErrCredentials, "The user name or the password cannot be used with SCRAM.")
	}
	client.WithMinIterations(minIterations)
	s := &scramClient{attempt: a, types: types}
	switch a.flag {
	case 'p':
		s.conv = client.NewConversationWithChannelBinding(a.cb)
	case 'y':
		s.conv = client.NewConversationAdvertisingChannelBinding()
	default:
		s.conv = client.NewConversation()
	}
	return s, nil
}

// start is the client-first-message (RFC 5802 §7).
func (s *scramClient) start() ([]byte, error) {
	first, err := s.conv.Step("")
	s.first = first
	return []byte(first), err
}

// next answers a challenge.
func (s *scramClient) next(challenge []byte) ([]byte, error) {
	s.step++
	switch s.step {
	case 1:
		if err := s.checkFirst(string(challenge)); err != nil {
			return nil, err
		}
		final, err := s.conv.Step(string(challenge))
		if err != nil {
			return nil, errorOf(ErrProtocol, "The server's first SCRAM message makes no sense.")
		}
		return []byte(final), nil
	case 2:
		// A server may send its signature as a challenge, when it cannot put data
		// into its success (RFC 4422 §3.6). Ours is then an empty response.
		return nil, s.verify(challenge)
	}
	return nil, errorOf(ErrProtocol, "The server goes on with SCRAM after the end.")
}

// finish ends the exchange with the data of the server's success.
func (s *scramClient) finish(data []byte) error {
	if s.step == 1 {
		return s.verify(data)
	}
	if s.conv.Valid() { // proven in a challenge before
		return nil
	}
	return s.unproven()
}

// verify checks the server-final-message. Only this proves that the server, and
// not somebody with its certificate, knows the password (RFC 5802 §3).
func (s *scramClient) verify(final []byte) error {
	s.step = 2
	if len(final) > maxMessage {
		return s.unproven()
	}
	if _, err := s.conv.Step(string(final)); err != nil || !s.conv.Valid() {
		return s.unproven()
	}
	return nil
}

func (s *scramClient) unproven() error {
	return errorOf(ErrServerSignature, "The server let us in without proving that it knows the password, as "+s.mechanism+
		" demands: it may not be the server it claims to be. The login was given up. Tell the server's operator.")
}

// checkFirst looks at the server-first-message before the library does.
func (s *scramClient) checkFirst(msg string) error {
	sf, err := parseServerFirst(msg)
	if err != nil {
		return errorOf(ErrProtocol, "The server's first SCRAM message is wrong: "+err.Error()+".")
	}
	_, nonce, _ := strings.Cut(s.first, ",r=")
	if len(sf.nonce) <= len(nonce) || !strings.HasPrefix(sf.nonce, nonce) {
		return errorOf(ErrProtocol, "The server did not add to our SCRAM nonce, so its answer may be an old one played again.")
	}
	if sf.iterations < minIterations || sf.iterations > maxIterations {
		return errorOf(ErrProtocol, fmt.Sprintf("The server asks for %d SCRAM iterations; the gateway accepts %d to %d.",
			sf.iterations, minIterations, maxIterations))
	}
	switch {
	case sf.hash != nil:
		s.hashed = true
		return checkDowngrade(*sf.hash, s.family.newHash, s.offered, s.types)
	case s.needHash:
		return errorOf(ErrDowngrade, "The server lists only types of channel binding that nobody here can use, and nothing proves that list (XEP-0474): "+
			"somebody in the middle may have changed it.")
	}
	return nil
}

// serverFirst is a server-first-message (RFC 5802 §7). hash is the value of the
// XEP-0474 attribute, nil when there is none.
type serverFirst struct {
	nonce      string
	salt       string // base64
	iterations int
	hash       *string
}

func parseServerFirst(msg string) (sf serverFirst, err error) {
	if len(msg) > maxMessage {
		return sf, errors.New("it is too long")
	}
	for i, attr := range strings.Split(msg, ",") {
		if len(attr) < 2 || attr[1] != '=' || attr[0]|0x20 < 'a' || attr[0]|0x20 > 'z' {
			return sf, errors.New("an attribute has no name")
		}
		name, value := attr[0], attr[2:]
		switch {
		case name == 'm':
			return sf, errors.New("it demands an extension") // RFC 5802 §5.1: must fail
		case i < 3 && name != "rsi"[i]:
			return sf, errors.New("nonce, salt and iteration count are not in their places")
		case i == 0:
			sf.nonce = value
			if strings.IndexFunc(value, func(r rune) bool { return r < 0x21 || r > 0x7e }) >= 0 {
				return sf, errors.New("its nonce is not printable")
			}
		case i == 1:
			if sf.salt = value; value == "" || len(value) > maxSalt {
				return sf, errors.New("its salt is missing or too long")
			}
		case i == 2:
			n, err := strconv.Atoi(value)
			if err != nil || value[0] < '1' || value[0] > '9' { // posit-number
				return sf, errors.New("its iteration count is not a number")
			}
			sf.iterations = n
		case name == 'h':
			if sf.hash != nil {
				return sf, errors.New("it has two downgrade hashes")
			}
			sf.hash = &value
		case strings.IndexByte("rsincpvea", name) >= 0:
			return sf, errors.New("an attribute stands where it does not belong")
		}
	}
	if sf.iterations == 0 {
		return sf, errors.New("it is incomplete")
	}
	return sf, nil
}
