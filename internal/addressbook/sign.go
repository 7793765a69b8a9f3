package addressbook

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"aead.dev/minisign"

	"xmpp-gw/internal/ownfile"
)

// ParseKey reads a minisign public key: its line ("RW…") or the file with it.
func ParseKey(text string) (minisign.PublicKey, error) {
	var key minisign.PublicKey
	if err := key.UnmarshalText([]byte(strings.TrimSpace(text) + "\n")); err != nil {
		return key, &Error{What: "that is no public key of minisign", Why: strings.TrimPrefix(err.Error(), "minisign: "),
			Hint: "it is one line that begins with RW, from the curator of the list", Err: err}
	}
	return key, nil
}

// KeyID is a key's number as minisign prints it.
func KeyID(key minisign.PublicKey) string { return fmt.Sprintf("%016X", key.ID()) }

// verify demands that key signed text.
func verify(key minisign.PublicKey, text, signature []byte) error {
	var sig minisign.Signature
	if err := sig.UnmarshalText(signature); err != nil {
		return fmt.Errorf("its signature cannot be read: %s", strings.TrimPrefix(err.Error(), "minisign: "))
	}
	if sig.KeyID != key.ID() {
		return fmt.Errorf("it was signed by key %016X, not by key %s", sig.KeyID, KeyID(key))
	}
	if !minisign.Verify(key, text, signature) {
		return fmt.Errorf("its signature is not one of key %s: the list or the signature was changed, or another key has the same number", KeyID(key))
	}
	return nil
}

// Sign signs a list, and refuses one with mistakes: nobody could import it.
func Sign(key minisign.PrivateKey, text []byte, now time.Time) ([]byte, error) {
	l, err := ParseList(text)
	if err != nil {
		return nil, &Error{What: "the list was not signed", Why: err.Error(), Hint: "correct it", Err: err}
	}
	if now.After(l.Expires) {
		return nil, &Error{What: "the list was not signed", Why: "it has expired", Hint: `set "expires:" to a later day`}
	}
	trusted := fmt.Sprintf("timestamp:%d\tonion map issued %s", now.Unix(), l.Issued.Format(time.RFC3339))
	r := minisign.NewReader(bytes.NewReader(text))
	if _, err := new(bytes.Buffer).ReadFrom(r); err != nil {
		return nil, err
	}
	return r.SignWithComments(key, trusted, "signature of an xmpp-gw onion map"), nil
}

// maxKeyFile bounds the file of a key.
const maxKeyFile = 4 << 10

// ReadSecretKey reads a secret key of minisign (or of keygen) from a file that is
// this user's alone. password is called when the key is encrypted.
func ReadSecretKey(path string, password func() (string, error)) (minisign.PrivateKey, error) {
	var key minisign.PrivateKey
	fail := func(err error, hint string) (minisign.PrivateKey, error) {
		return minisign.PrivateKey{}, &Error{What: "the secret key cannot be used", Why: strings.TrimPrefix(err.Error(), "minisign: "), Hint: hint, Err: err}
	}
	text, err := ownfile.Read(path, ownfile.NoAccess, maxKeyFile)
	if err != nil {
		return fail(err, "")
	}
	defer clear(text)
	if !minisign.IsEncrypted(text) {
		if err := key.UnmarshalText(text); err != nil {
			return fail(err, "name the secret key of `xmpp-gw onion map keygen` or of minisign")
		}
		return key, nil
	}
	word, err := password()
	if err != nil {
		return fail(err, "")
	}
	if key, err = minisign.DecryptKey(word, text); err != nil {
		return fail(err, "check the password")
	}
	return key, nil
}

// NewKey makes a key, and writes its secret half to a new file (0600) in the
// format of minisign, not encrypted.
func NewKey(path string) (minisign.PublicKey, error) {
	public, secret, err := minisign.GenerateKey(nil)
	if err != nil {
		return public, err
	}
	text, err := secret.MarshalText()
	if err != nil {
		return public, err
	}
	defer clear(text)
	if err := ownfile.Create(path, append(text, '\n')); err != nil {
		return public, &Error{What: "the secret key was not written", Why: err.Error(), Hint: "a key is never overwritten: name another file", Err: err}
	}
	return public, nil
}

// A kept list is one file, so that it changes as a whole: the key's line, the four
// lines of the signature, and the list.

// seal puts the three together.
func seal(key minisign.PublicKey, signature, text []byte) []byte {
	out := append([]byte(key.String()), '\n')
	out = append(out, bytes.TrimRight(signature, "\r\n")...)
	return append(append(out, '\n'), text...)
}

// open takes them apart again and verifies the list.
func open(sealed []byte) (Imported, error) {
	parts := bytes.SplitN(sealed, []byte("\n"), 6)
	if len(parts) < 6 {
		return Imported{}, fmt.Errorf("it is cut short")
	}
	key, err := ParseKey(string(parts[0]))
	if err != nil {
		return Imported{}, err
	}
	signature := append(bytes.Join(parts[1:5], []byte("\n")), '\n')
	if err := verify(key, parts[5], signature); err != nil {
		return Imported{}, err
	}
	l, err := ParseList(parts[5])
	return Imported{List: l, Key: key, ID: KeyID(key), signed: signedAt(signature)}, err
}

// signedAt is the time in a signature's trusted comment, which is signed too, as
// minisign writes it ("timestamp:1763700000\tfile:…"); 0 where there is none.
func signedAt(signature []byte) int64 {
	var sig minisign.Signature
	if sig.UnmarshalText(signature) != nil {
		return 0
	}
	for _, word := range strings.Fields(sig.TrustedComment) {
		if digits, ok := strings.CutPrefix(word, "timestamp:"); ok {
			at, _ := strconv.ParseInt(digits, 10, 64)
			return at
		}
	}
	return 0
}
