package onion

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// base32Upper is how the keys of client authorization are written.
var base32Upper = base32.StdEncoding.WithPadding(base32.NoPadding)

// authPrefix begins the line of an .auth file and stands inside that of an
// .auth_private file (rend-spec-v3 appendix G.1, G.2).
const authPrefix = "descriptor:x25519:"

// ClientKey is a client's secret for one onion service that lets in known
// clients only. It prints as the address it is for.
type ClientKey struct {
	address string // with ".onion"
	secret  *ecdh.PrivateKey
}

// newClientKey makes a key for a service.
func newClientKey(address string) (ClientKey, error) {
	secret, err := ecdh.X25519().GenerateKey(rand.Reader)
	return ClientKey{address, secret}, err
}

// ParseClientKey reads the line of Tor's .auth_private files,
// "ADDRESS:descriptor:x25519:SECRET", which is the one string that an operator
// hands over. Errors never repeat it.
func ParseClientKey(line string) (ClientKey, error) {
	parts := strings.Split(strings.TrimSpace(line), ":")
	if len(parts) != 4 || parts[1]+":"+parts[2]+":" != authPrefix {
		return ClientKey{}, errors.New("this is no client authorization: it should read ADDRESS:descriptor:x25519:SECRET, in one piece, as \"xmpp-gw onion client add\" printed it")
	}
	address, err := CheckAddress(parts[0])
	if err != nil {
		return ClientKey{}, err
	}
	b, err := base32Upper.DecodeString(strings.ToUpper(parts[3]))
	if err != nil || len(b) != 32 {
		return ClientKey{}, errors.New("the secret of this client authorization is cut off or mistyped: it has 52 letters and digits (A to Z, 2 to 7)")
	}
	secret, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return ClientKey{}, err
	}
	return ClientKey{address, secret}, nil
}

// Address is the onion service's address, with ".onion".
func (k ClientKey) Address() string { return k.address }

// Line is the key as Tor's .auth_private files have it. It is a secret.
func (k ClientKey) Line() string {
	return strings.TrimSuffix(k.address, onionSuffix) + ":" + authPrefix + base32Upper.EncodeToString(k.secret.Bytes())
}

// String is the address.
func (k ClientKey) String() string { return k.address }

// GoString is the address as well.
func (k ClientKey) GoString() string { return k.address }

// auth is the line of the service's .auth file: the public half.
func (k ClientKey) auth() string {
	return authPrefix + base32Upper.EncodeToString(k.secret.PublicKey().Bytes())
}

// blob is the key as ONION_CLIENT_AUTH_ADD takes it (control-spec §3.30).
func (k ClientKey) blob() string {
	return "x25519:" + base64.StdEncoding.EncodeToString(k.secret.Bytes())
}

// parseAuth reads the line of an .auth file and returns the public key as
// ADD_ONION's ClientAuthV3 takes it.
func parseAuth(line string) (string, error) {
	s, ok := strings.CutPrefix(strings.TrimSpace(line), authPrefix)
	b, err := base32Upper.DecodeString(strings.ToUpper(s))
	if !ok || err != nil || len(b) != 32 {
		return "", fmt.Errorf("it should read %sKEY with a key of 52 letters and digits", authPrefix)
	}
	return base32Upper.EncodeToString(b), nil
}
