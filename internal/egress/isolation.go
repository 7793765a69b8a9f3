package egress

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
)

// Isolation is the SOCKS username and password of a dial (RFC 1929). Tor never
// puts two streams of different pairs on one circuit (IsolateSOCKSAuth). The
// zero value asks for no isolation.
type Isolation struct {
	User, Password string
}

// Isolator turns what must be kept apart (an account, a domain, a purpose) into
// an [Isolation]. Tor shows the username on its control port and may write it
// to its log, so the pair is a keyed hash: it says nothing about its parts, and
// is another one at each start of the program. The zero value is ready for use,
// by several goroutines.
type Isolator struct {
	once sync.Once
	key  [32]byte
}

// For returns the pair of these parts: always the same one for the same parts
// in the same order, as long as the program runs.
func (i *Isolator) For(parts ...string) Isolation {
	i.once.Do(func() { rand.Read(i.key[:]) }) // never fails, crypto/rand
	mac := hmac.New(sha256.New, i.key[:])
	var size [8]byte
	for _, p := range parts {
		// The length before each part keeps ("ab","c") and ("a","bc") apart.
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		mac.Write(size[:])
		mac.Write([]byte(p))
	}
	sum := mac.Sum(nil)
	return Isolation{User: hex.EncodeToString(sum[:16]), Password: hex.EncodeToString(sum[16:])}
}
