package onion

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/ownfile"
)

// Rotate gives a service a new key, and so a new address. The old one leads to
// it as well for the time of overlap; then [Shelf.Expire] forgets it. Clients
// with keys are let in at the new address too, once they know it: the string
// that they were given names the old one. With an overlap of 0 the old key is gone
// at once; less than that is an error.
func (s *Shelf) Rotate(name string, overlap time.Duration) (e Entry, err error) {
	if overlap < 0 {
		return e, errors.New("the overlap of a rotation cannot be negative")
	}
	k, err := NewKey()
	if err != nil {
		return e, err
	}
	err = s.change(name, func(old *Entry) error {
		service := old.Service
		// The same address twice means that an earlier Rotate was cut short.
		service.Previous = slices.DeleteFunc(slices.Clone(service.Previous), func(p Previous) bool { return p.Address == old.Address })
		if overlap > 0 {
			p := Previous{old.Address, now().Add(overlap)}
			if err := old.keepAs(old.previous(p)); err != nil {
				return err
			}
			service.Previous = append(service.Previous, p)
		}
		// First the note that the old address stays, then the new key: cut short
		// in between, the service simply has the old address.
		if err := save(old.Dir, service); err != nil {
			return err
		}
		if err := old.setKey(k); err != nil {
			return err
		}
		e, err = s.load(name)
		return err
	})
	return e, err
}

// keepAs makes dir a HiddenServiceDir with the service's present key and
// clients.
func (e *Entry) keepAs(dir string) error {
	if err := os.RemoveAll(dir); err != nil { // of a Rotate that was cut short
		return err
	}
	if err := privateDir(filepath.Dir(dir)); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), newPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	k, err := ReadKeyFile(filepath.Join(e.Dir, secretFile))
	if err != nil {
		return err
	}
	if err := k.writeDir(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(tmp, clientsDir), 0o700); err != nil {
		return err
	}
	files, err := authFiles(e.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := ownfile.Read(filepath.Join(e.Dir, clientsDir, f), ownfile.NoWriters, 4096)
		if err != nil {
			return err
		}
		if err := ownfile.Create(filepath.Join(tmp, clientsDir, f), b); err != nil {
			return err
		}
	}
	return os.Rename(tmp, dir)
}

// setKey gives the service another key. The public files go first: Tor makes
// missing ones anew, but refuses a pair that does not fit.
func (e *Entry) setKey(k *Key) error {
	for _, name := range []string{publicFile, hostnameFile} {
		if err := os.Remove(filepath.Join(e.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	b := k.Marshal()
	defer clear(b)
	if err := ownfile.Replace(filepath.Join(e.Dir, secretFile), b); err != nil {
		return err
	}
	return k.writePublic(e.Dir)
}

// Expire forgets the former addresses whose time is over, their keys included,
// and names the services that had such.
func (s *Shelf) Expire(now time.Time) (changed []string, err error) {
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	over := func(p Previous) bool { return !now.Before(p.Until) }
	for _, e := range all {
		if !slices.ContainsFunc(e.Previous, over) {
			continue
		}
		err := s.change(e.Name, func(e *Entry) error {
			service := e.Service
			service.Previous = slices.DeleteFunc(slices.Clone(service.Previous), over)
			if err := save(e.Dir, service); err != nil {
				return err
			}
			return e.sweep(service.Previous)
		})
		if err != nil {
			return changed, err
		}
		changed = append(changed, e.Name)
	}
	return changed, nil
}

// sweep removes the keys of former addresses but those to keep.
func (e *Entry) sweep(keep []Previous) error {
	files, err := os.ReadDir(filepath.Join(e.Dir, previousDir))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, f := range files {
		if slices.ContainsFunc(keep, func(p Previous) bool { return strings.TrimSuffix(p.Address, onionSuffix) == f.Name() }) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(e.Dir, previousDir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
