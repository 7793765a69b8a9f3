package onion

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"xmpp-gw/internal/ownfile"
)

// ClientKeys is the folder with this machine's keys for other people's onion
// services, one file an address, in Tor's .auth_private format.
type ClientKeys struct{ dir string }

// privateSuffix ends the names of Tor's files with a client's secret.
const privateSuffix = ".auth_private"

// ErrNoClientKey says that there is no key for an onion service.
var ErrNoClientKey = errors.New("no key is kept for this onion address")

// OpenClientKeys makes dir where it is missing. It refuses one that others may
// read.
func OpenClientKeys(dir string) (*ClientKeys, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := ownfile.Dir(dir, ownfile.NoAccess); err != nil {
		return nil, err
	}
	return &ClientKeys{dir}, nil
}

// Add keeps the key of a line as an operator hands it over (see
// [ParseClientKey]), in place of an older one for the same address.
func (c *ClientKeys) Add(line string) (address string, err error) {
	k, err := ParseClientKey(line)
	if err != nil {
		return "", err
	}
	return k.Address(), ownfile.Replace(c.path(k.Address()), []byte(k.Line()+"\n"))
}

// Remove forgets the key for an address.
func (c *ClientKeys) Remove(address string) error {
	address, err := CheckAddress(address)
	if err != nil {
		return err
	}
	err = os.Remove(c.path(address))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoClientKey
	}
	return err
}

// List gives all keys, by address.
func (c *ClientKeys) List() ([]ClientKey, error) { return ReadClientKeys(c.dir) }

// ReadClientKeys gives the keys in a folder that is kept by somebody else, such as
// a ClientOnionAuthDir of Tor's. Each file must be this user's (or root's) and closed
// to others; what is no .auth_private file is left aside.
func ReadClientKeys(dir string) ([]ClientKey, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var keys []ClientKey
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), privateSuffix) || strings.HasPrefix(f.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, f.Name())
		b, err := ownfile.Read(path, ownfile.NoAccess, 4096)
		if err != nil {
			return nil, err
		}
		k, err := ParseClientKey(string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func (c *ClientKeys) path(address string) string {
	return filepath.Join(c.dir, strings.TrimSuffix(address, onionSuffix)+privateSuffix)
}
