package saslauth

import (
	"crypto/hmac"
	"encoding/base64"
	"hash"
	"slices"
	"strings"
)

// checkDowngrade compares the server's hash of what it offered (XEP-0474, the
// attribute "h" of its first SCRAM message) with what reached us. Whoever changed
// the lists on the way would have to change the hash as well, and that spoils
// both proofs, because the message that carries it is signed by the password.
func checkDowngrade(sent string, newHash func() hash.Hash, mechanisms, types []string) error {
	got, err := base64.StdEncoding.DecodeString(sent)
	if err != nil || !hmac.Equal(got, downgradeHash(newHash, mechanisms, types)) {
		return errorOf(ErrDowngrade, "The server says that it offered other ways to log in than those that arrived here: "+
			"somebody in the middle may have removed the strong ones. The login was given up before anything secret was sent.")
	}
	return nil
}

// downgradeHash is XEP-0474 §6.1. types is nil when the server sent no list of
// channel binding types. Sorting Go strings is the i;octet collation it asks for.
func downgradeHash(newHash func() hash.Hash, mechanisms, types []string) []byte {
	var s strings.Builder
	s.WriteString(strings.Join(slices.Sorted(slices.Values(mechanisms)), "\x1e"))
	if types != nil {
		s.WriteByte(0x1f)
		s.WriteString(strings.Join(slices.Sorted(slices.Values(types)), "\x1e"))
	}
	h := newHash()
	h.Write([]byte(s.String()))
	return h.Sum(nil)
}
