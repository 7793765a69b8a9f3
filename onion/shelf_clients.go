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

// authSuffix ends the names of the files that let clients in.
const authSuffix = ".auth"

// nobody is a client whose secret was thrown away. It stands in every restricted
// service, since Tor takes one without clients for one that is open to all: the
// last client's removal must not open the door.
const nobody = "nobody"

// errBalanced: what keeps strangers out is a service's descriptor, and OnionBalance
// puts the way in into one of its own, for everybody.
var errBalanced = errors.New("a service behind OnionBalance cannot let in clients with keys alone, as OnionBalance's own descriptor is open to everybody; publish another service for them")

// Clients names those who are let in; restricted is false where everybody is.
func (s *Shelf) Clients(name string) (clients []string, restricted bool, err error) {
	e, err := s.Get(name)
	return e.Clients, e.Restricted, err
}

// AddClient lets one more client in and returns the secret to hand over, which
// is kept nowhere. From the first client on, nobody else gets in.
func (s *Shelf) AddClient(name, client string) (k ClientKey, err error) {
	if err := checkName("client", client); err != nil {
		return k, err
	}
	if client == nobody {
		return k, fmt.Errorf("%q is kept for the gateway's own use: take another name", nobody)
	}
	err = s.change(name, func(e *Entry) error {
		if e.Backend != "" {
			return errBalanced
		}
		if k, err = newClientKey(e.Address); err != nil {
			return err
		}
		if err := writeClient(e.Dir, client, k); err != nil {
			return err
		}
		// At the former addresses too, which know nothing of this client.
		for _, dir := range e.dirs() {
			if err := closeDoor(dir); err != nil {
				return err
			}
		}
		return nil
	})
	return k, err
}

// RemoveClient lets a client in no more, at the service's former addresses
// neither. The service stays closed to strangers when it was the last one.
func (s *Shelf) RemoveClient(name, client string) error {
	if err := checkName("client", client); err != nil {
		return err
	}
	return s.change(name, func(e *Entry) error {
		if client == nobody {
			return ErrNoClient
		}
		found := false
		for _, dir := range e.dirs() {
			path := filepath.Join(dir, clientsDir, client+authSuffix)
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := closeDoor(dir); err != nil {
				return err
			}
			if err := os.Remove(path); err != nil {
				return err
			}
			found = true
		}
		if !found {
			return ErrNoClient
		}
		return nil
	})
}

// Open lets everybody in again. The clients must be removed before, so that it
// is no slip of the hand.
func (s *Shelf) Open(name string) error {
	return s.change(name, func(e *Entry) error {
		if len(e.Clients) > 0 {
			return fmt.Errorf("the service still has clients with keys (%s): remove them first, if everybody shall get in", strings.Join(e.Clients, ", "))
		}
		for _, dir := range e.dirs() {
			if err := os.Remove(filepath.Join(dir, clientsDir, nobody+authSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

// dirs are the service's HiddenServiceDirs: its own and those before.
func (e *Entry) dirs() []string {
	dirs := []string{e.Dir}
	for _, p := range e.Previous {
		dirs = append(dirs, e.previous(p))
	}
	return dirs
}

// closeDoor puts nobody into a HiddenServiceDir.
func closeDoor(dir string) error {
	k, err := newClientKey("")
	if err != nil {
		return err
	}
	if err := writeClient(dir, nobody, k); !errors.Is(err, ErrClientExists) {
		return err
	}
	return nil
}

func writeClient(dir, client string, k ClientKey) error {
	dir = filepath.Join(dir, clientsDir)
	if err := privateDir(dir); err != nil {
		return err
	}
	err := ownfile.Create(filepath.Join(dir, client+authSuffix), []byte(k.auth()+"\n"))
	if errors.Is(err, fs.ErrExist) {
		return ErrClientExists
	}
	return err
}

// authFiles are the files of a HiddenServiceDir that let clients in.
func authFiles(dir string) ([]string, error) {
	files, err := os.ReadDir(filepath.Join(dir, clientsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, f := range files {
		// Tor takes no file that begins with a dot; ours do while they are written.
		if name := f.Name(); strings.HasSuffix(name, authSuffix) && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, nil
}

func clientNames(dir string) (names []string, restricted bool, err error) {
	files, err := authFiles(dir)
	for _, f := range files {
		if name := strings.TrimSuffix(f, authSuffix); name != nobody {
			names = append(names, name)
		}
	}
	return names, len(files) > 0, err
}

// clientKeys are the public keys of those that a HiddenServiceDir lets in.
func clientKeys(dir string) ([]string, error) {
	files, err := authFiles(dir)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, f := range files {
		path := filepath.Join(dir, clientsDir, f)
		b, err := ownfile.Read(path, ownfile.NoWriters, 4096)
		if err != nil {
			return nil, err
		}
		key, err := parseAuth(string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
