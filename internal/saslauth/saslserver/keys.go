package saslserver

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"hash"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
	"golang.org/x/text/secure/precis"
)

// Hash is a hash function of SCRAM.
type Hash uint8

// The hashes. The zero Hash is none.
const (
	SHA1   Hash = iota + 1 // RFC 5802
	SHA256                 // RFC 7677
	SHA512                 // draft-melnikov-scram-sha-512
)

// Hashes are all of them, best first.
func Hashes() []Hash { return []Hash{SHA512, SHA256, SHA1} }

// String is the name as in SCRAM's mechanisms, such as "SHA-256"; ParseHash reads it.
func (h Hash) String() string {
	switch h {
	case SHA1:
		return "SHA-1"
	case SHA256:
		return "SHA-256"
	case SHA512:
		return "SHA-512"
	}
	return "none"
}

// ParseHash reads what String writes.
func ParseHash(name string) (Hash, bool) {
	for _, h := range Hashes() {
		if h.String() == name {
			return h, true
		}
	}
	return 0, false
}

// Size is the length of the hash in bytes, 0 for none.
func (h Hash) Size() int {
	switch h {
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	}
	return 0
}

// new makes a hash; h must not be zero.
func (h Hash) new() hash.Hash {
	switch h {
	case SHA512:
		return sha512.New()
	case SHA256:
		return sha256.New()
	}
	return sha1.New()
}

// mechanism is the SCRAM mechanism without channel binding.
func (h Hash) mechanism() string { return "SCRAM-" + h.String() }

// DefaultIterations is PBKDF2's count for new keys. The client pays for it at
// each login, phones included, and the server when the password is set; the floor
// of the RFCs is 4,096.
const DefaultIterations = 10_000

// Bounds of what is stored, and of what NewKeys makes.
const (
	minIterations = 4096 // RFC 5802 §5.1
	maxIterations = 1_000_000
	saltSize      = 16 // bytes; also of the salts that names without an account get
	maxPassword   = 1024
)

// Keys are what the server keeps of a password for one hash (RFC 5802 §3). They
// prove a password and cannot be used to log in, here or elsewhere.
type Keys struct {
	Hash       Hash
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// usable reports whether k are whole keys for h.
func (k *Keys) usable(h Hash) bool {
	return k.Hash == h && k.Iterations > 0 && len(k.Salt) > 0 &&
		len(k.StoredKey) == h.Size() && len(k.ServerKey) == h.Size()
}

// ErrPassword is for a password that nobody could log in with.
var ErrPassword = errors.New("the password is empty, longer than 1024 bytes, or has characters that no password may have (such as control characters)")

// NewKeys makes the keys of a password, with a salt of their own. iterations 0
// means [DefaultIterations]; fewer than 4,096 or more than 1,000,000 are an error.
// It takes some milliseconds a call.
func NewKeys(password string, h Hash, iterations int) (Keys, error) {
	if iterations == 0 {
		iterations = DefaultIterations
	}
	switch {
	case h.Size() == 0:
		return Keys{}, errors.New("saslserver: no hash was chosen for the keys")
	case iterations < minIterations || iterations > maxIterations:
		return Keys{}, errors.New("saslserver: the iteration count must be 4096 to 1000000")
	}
	password, err := prepare(password)
	if err != nil {
		return Keys{}, err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	return deriveKeys(password, h, salt, iterations)
}

// deriveKeys is RFC 5802 §3, for a password that was prepared.
func deriveKeys(password string, h Hash, salt []byte, iterations int) (Keys, error) {
	salted, err := pbkdf2.Key(h.new, password, salt, iterations, h.Size())
	if err != nil {
		return Keys{}, err
	}
	client := mac(h, salted, []byte("Client Key"))
	stored := h.new()
	stored.Write(client)
	return Keys{
		Hash: h, Salt: salt, Iterations: iterations,
		StoredKey: stored.Sum(nil), ServerKey: mac(h, salted, []byte("Server Key")),
	}, nil
}

// verify checks the ClientProof for an AuthMessage; signature is the
// ServerSignature that proves the server in turn (RFC 5802 §3). Whether the proof
// fits or not does not show in the time that it takes to find out.
func (k *Keys) verify(auth, proof []byte) (signature []byte, ok bool) {
	clientKey := mac(k.Hash, k.StoredKey, auth) // the ClientSignature, so far
	if len(proof) != len(clientKey) {
		return nil, false
	}
	subtle.XORBytes(clientKey, clientKey, proof)
	h := k.Hash.new()
	h.Write(clientKey)
	ok = subtle.ConstantTimeCompare(h.Sum(nil), k.StoredKey) == 1
	return mac(k.Hash, k.ServerKey, auth), ok
}

// mac is HMAC(key, text).
func mac(h Hash, key, text []byte) []byte {
	m := hmac.New(h.new, key)
	m.Write(text)
	return m.Sum(nil)
}

// prepare brings a password into the form that clients hash: SASLprep (RFC 5802
// §2.2). SASLprep knows the Unicode of 2002 and refuses what came later; for such
// a password the form is PRECIS' OpaqueString (RFC 8265 §4.2), which succeeded it.
func prepare(password string) (string, error) {
	if !utf8.ValidString(password) || len(password) > maxPassword {
		return "", ErrPassword
	}
	if strings.ContainsFunc(password, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return "", ErrPassword
	}
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil {
		prepared, err = precis.OpaqueString.String(password)
	}
	if err != nil || prepared == "" {
		return "", ErrPassword
	}
	return prepared, nil
}
