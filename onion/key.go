package onion

import (
	"bytes"
	"crypto/sha3"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cretz/bine/torutil/ed25519"

	"xmpp-gw/internal/ownfile"
)

// Tor's own files begin with a tag, padded with zeros to 32 bytes.
const (
	tagSize   = 32
	secretTag = "== ed25519v1-secret: type0 =="
	publicTag = "== ed25519v1-public: type0 =="
	// secretSize is the length of hs_ed25519_secret_key.
	secretSize = tagSize + ed25519.PrivateKeySize
)

// Key is the identity key of a v3 onion service, in the expanded form that Tor
// keeps: the clamped scalar and the prefix of the nonces. It prints as its
// address and never as itself.
type Key struct{ pair ed25519.KeyPair }

// NewKey makes a key.
func NewKey() (*Key, error) {
	pair, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return &Key{pair}, nil
}

// ParseKey reads the content of Tor's hs_ed25519_secret_key: a tag of 32 bytes
// and 64 bytes of key.
func ParseKey(b []byte) (*Key, error) {
	switch {
	case bytes.HasPrefix(b, []byte("-----BEGIN RSA")):
		return nil, errors.New("this is the key of a v2 onion service, which the Tor network gave up in 2021: make a new one")
	case len(b) != secretSize:
		return nil, fmt.Errorf("a v3 onion key file (hs_ed25519_secret_key) has %d bytes, this one has %d: it is cut off, or another kind of file", secretSize, len(b))
	case !bytes.Equal(b[:tagSize], tag(secretTag)):
		return nil, fmt.Errorf("a v3 onion key file (hs_ed25519_secret_key) begins with %q, this one does not: it is another kind of file", secretTag)
	}
	secret := bytes.Clone(b[tagSize:])
	// rend-spec-v3 [KEYS] takes RFC 8032 §5.1.5 scalars: clamped. A file that is
	// not is damaged, and would give an address that is nobody's.
	if secret[0]&7 != 0 || secret[31]&0xc0 != 0x40 {
		return nil, errors.New("this onion key file is damaged: its secret is no ed25519 scalar; take it from a backup")
	}
	return &Key{ed25519.PrivateKey(secret).KeyPair()}, nil
}

// ReadKeyFile reads a key file, which must be this user's and closed to others.
func ReadKeyFile(path string) (*Key, error) {
	b, err := ownfile.Read(path, ownfile.NoAccess, 4*secretSize)
	if err != nil {
		return nil, err
	}
	k, err := ParseKey(b)
	clear(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// WriteFile writes the key in Tor's format with mode 0600. fs.ErrExist when
// there is such a file: a key is never overwritten.
func (k *Key) WriteFile(path string) error {
	b := k.Marshal()
	defer clear(b)
	return ownfile.Create(path, b)
}

// Marshal is the content of hs_ed25519_secret_key.
func (k *Key) Marshal() []byte {
	return append(tag(secretTag), k.pair.PrivateKey()...)
}

// Address is the service's name: 56 characters and ".onion".
func (k *Key) Address() string { return encodeAddress(k.pair.PublicKey()) + onionSuffix }

// String is the address.
func (k *Key) String() string { return k.Address() }

// GoString is the address as well: no way of printing shows the secret.
func (k *Key) GoString() string { return k.Address() }

// blob is the key as ADD_ONION takes it (control-spec §3.27).
func (k *Key) blob() string {
	return "ED25519-V3:" + base64.StdEncoding.EncodeToString(k.pair.PrivateKey())
}

// public is the content of hs_ed25519_public_key.
func (k *Key) public() []byte { return append(tag(publicTag), k.pair.PublicKey()...) }

func tag(s string) []byte {
	b := make([]byte, tagSize, secretSize)
	copy(b, s)
	return b
}

// The files of a HiddenServiceDir.
const (
	secretFile   = "hs_ed25519_secret_key"
	publicFile   = "hs_ed25519_public_key"
	hostnameFile = "hostname"
	clientsDir   = "authorized_clients"
	balanceFile  = "ob_config"
)

// writeDir puts the key's three files into a HiddenServiceDir that has none.
// The secret is first: whatever is missing of the rest Tor makes of it.
func (k *Key) writeDir(dir string) error {
	if err := k.WriteFile(filepath.Join(dir, secretFile)); err != nil {
		return err
	}
	return k.writePublic(dir)
}

// writePublic writes, or corrects, what is derived from the secret.
func (k *Key) writePublic(dir string) error {
	if err := ownfile.Replace(filepath.Join(dir, publicFile), k.public()); err != nil {
		return err
	}
	return ownfile.Replace(filepath.Join(dir, hostnameFile), []byte(k.Address()+"\n"))
}

const onionSuffix = ".onion"

// base32Lower is how addresses are written: lower case, without padding.
var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// encodeAddress is rend-spec-v3 §6 [ONIONADDRESS]: public key, checksum and
// version in base32.
func encodeAddress(public []byte) string {
	b := append(bytes.Clone(public), addressChecksum(public)...)
	return base32Lower.EncodeToString(append(b, addressVersion))
}

const addressVersion = 3

func addressChecksum(public []byte) []byte {
	sum := sha3.Sum256(append(append([]byte(".onion checksum"), public...), addressVersion))
	return sum[:2]
}

// CheckAddress reads an onion address with or without ".onion" (and whatever
// names it has in front), in any case, and returns it in full and in lower
// case. It is exact: a v2 address, a mistyped letter and a wrong length are
// errors that say so.
func CheckAddress(s string) (string, error) {
	name := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), onionSuffix)
	name = name[strings.LastIndexByte(name, '.')+1:]
	shown := printable(s)
	switch len(name) {
	case 56:
	case 16:
		return "", fmt.Errorf("%q is a v2 onion address, which the Tor network gave up in 2021: ask for the new one of 56 letters and digits", shown)
	default:
		return "", fmt.Errorf("%q is no onion address: before \".onion\" it has %d characters, and 56 are needed", shown, len(name))
	}
	b, err := base32Lower.DecodeString(name)
	if err != nil || len(b) != ed25519.PublicKeySize+3 {
		return "", fmt.Errorf("%q is no onion address: it may have the letters a to z and the digits 2 to 7 only", shown)
	}
	public, sum, version := b[:ed25519.PublicKeySize], b[ed25519.PublicKeySize:len(b)-1], b[len(b)-1]
	switch {
	case version != addressVersion:
		return "", fmt.Errorf("%q is an onion address of version %d; only version 3 is known", shown, version)
	case !bytes.Equal(sum, addressChecksum(public)):
		return "", fmt.Errorf("%q is mistyped: its checksum is wrong; copy it again from where you got it", shown)
	}
	return name + onionSuffix, nil
}
