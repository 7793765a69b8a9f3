package saslserver

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
)

// Config is what a [Server] is made with. Domain, Accounts and Secret must be set.
type Config struct {
	Domain       string // whose accounts log in here, normalised
	Accounts     Accounts
	Certificates Certificates   // nil: no certificates of XEP-0257
	ClientRoots  *x509.CertPool // whose signature makes an XmppAddr of a client's certificate true (XEP-0178); nil: nobody's
	Tokens       Tokens         // nil: no FAST

	// Secret makes the salts of names without an account; at least 32 random
	// bytes that stay the same over restarts and are nobody else's to know.
	Secret []byte

	// Hashes are those of SCRAM that are offered, best first; nil means all. Offer
	// only hashes that all accounts have keys for: a client takes the best one and
	// does not try another. PLAIN is held against the first.
	Hashes []Hash
	// Iterations is the count in the keys of most accounts, which names without an
	// account must show as well. 0 means [DefaultIterations].
	Iterations int
	// AllowPlain offers PLAIN inside TLS. It hands the password to this process,
	// costs it a PBKDF2 for each try, and helps whoever can stand in the middle.
	AllowPlain bool
	// NoBinding offers no channel binding, for clients that get it wrong: without
	// it somebody with a certificate of ours could stand in the middle of a login.
	NoBinding bool

	// Inline is offered inside <inline/> of SASL2 (XEP-0388 §2.1): whole elements,
	// such as that of Bind 2. FAST's is added.
	Inline []byte

	// TokenLife is how long a FAST token is good for, TokenRotation the age from
	// which its use gives a new one. 0 means three weeks and one day.
	TokenLife, TokenRotation time.Duration

	Now func() time.Time // nil: time.Now
}

// Server is what all connections to one domain have in common. It is safe for
// concurrent use.
type Server struct {
	cfg      Config
	throttle *throttle
	sleep    func(time.Duration) (<-chan time.Time, func() bool)
	decoy    [SHA512 + 1]Keys // what a proof for a name without an account is held against
	offers   [offerVariants]atomic.Pointer[offer]

	// plain bounds how many passwords are hashed at once, so that PLAIN cannot
	// take all processors.
	plain chan struct{}

	seed   maphash.Seed
	tokens [64]sync.Mutex // by account and client
}

// minSecret is the fewest bytes of a secret.
const minSecret = 32

// New makes a Server.
func New(cfg Config) (*Server, error) {
	domain, err := address.Parse(cfg.Domain)
	switch {
	case err != nil || !domain.IsServer() || domain.Domain != cfg.Domain:
		return nil, errors.New("saslserver: the domain is not a normalised domain name")
	case cfg.Accounts == nil:
		return nil, errors.New("saslserver: no accounts were given")
	case len(cfg.Secret) < minSecret:
		return nil, errors.New("saslserver: the secret has fewer than 32 bytes")
	case cfg.Hashes != nil && len(cfg.Hashes) == 0, slices.ContainsFunc(cfg.Hashes, func(h Hash) bool { return h.Size() == 0 }):
		return nil, errors.New("saslserver: no hash, or an unknown one, is to be offered")
	}
	if cfg.Hashes == nil {
		cfg.Hashes = Hashes()
	}
	if cfg.Iterations == 0 {
		cfg.Iterations = DefaultIterations
	}
	if cfg.TokenLife == 0 {
		cfg.TokenLife = 21 * 24 * time.Hour
	}
	if cfg.TokenRotation == 0 {
		cfg.TokenRotation = 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{
		cfg: cfg, throttle: newThrottle(maxBuckets), sleep: timer,
		seed: maphash.MakeSeed(), plain: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	for _, h := range Hashes() {
		stored := make([]byte, h.Size())
		rand.Read(stored)
		s.decoy[h] = Keys{Hash: h, Iterations: cfg.Iterations, StoredKey: stored, ServerKey: stored}
	}
	return s, nil
}

func timer(d time.Duration) (<-chan time.Time, func() bool) {
	t := time.NewTimer(d)
	return t.C, t.Stop
}

// decoyKeys are the keys shown for a name that has none: the salt looks random,
// differs by name and hash, and is the same each time. They fit no password. The
// work is done for names with an account as well, so that both take as long.
func (s *Server) decoyKeys(name string, h Hash) Keys {
	m := hmac.New(sha256.New, s.cfg.Secret)
	m.Write([]byte{byte(h)})
	m.Write([]byte(s.cfg.Domain))
	m.Write([]byte{0})
	m.Write([]byte(name))
	k := s.decoy[h]
	k.Salt = m.Sum(nil)[:saltSize]
	return k
}

// claim is a user name that somebody wants to be.
type claim struct {
	name    string          // the account's local part, or what the client wrote
	account address.Address // zero when the name can have none
}

// claimOf reads a user name, which is a local part (RFC 6120 §6.3.7). What is no
// local part is treated as a name without an account.
func (s *Server) claimOf(name string) claim {
	a, err := address.Parse(name + "@" + s.cfg.Domain)
	if err != nil || a.Local == "" || a.Domain != s.cfg.Domain || a.Resource != "" {
		return claim{name: name}
	}
	return claim{a.Local, a}
}

// The failures that do not depend on where they arise. Whoever was refused learns
// no more from their text than from their condition.
var (
	errRefused   = &saslauth.Failure{Condition: saslauth.NotAuthorized, Text: "The user name or the password is wrong."}
	errDisabled  = &saslauth.Failure{Condition: saslauth.AccountDisabled, Text: "This account was disabled by the server's operator."}
	errAuthzid   = &saslauth.Failure{Condition: saslauth.InvalidAuthzid, Text: "The authorization identity must be the account's own address."}
	errStorage   = &saslauth.Failure{Condition: saslauth.TemporaryAuthFailure, Text: "The server could not look the account up. Try again later."}
	errMalformed = &saslauth.Failure{Condition: saslauth.MalformedRequest, Text: "The message does not follow the rules of its mechanism."}
)
