package tlsauth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"xmpp-gw/internal/ownfile"
	"xmpp-gw/policy"
)

// PinStore remembers the keys of servers and which domains have offered channel
// binding, in a file that a person can read and edit; its first lines explain
// the format. It is safe for concurrent use, and takes up what was edited while
// the program runs.
//
// The days of the first and last visit are kept, not the times.
type PinStore struct {
	path string

	mu    sync.Mutex
	read  stamp // of the file as it was read
	table *pinTable

	unsaved bool // the file could not be written
}

// Seen is what is remembered of a domain.
type Seen struct {
	Domain string
	Keys   []string // pins, the newest last
	First  string   // YYYY-MM-DD; may be empty in an edited file
	Last   string
	Plus   bool // channel binding (a -PLUS mechanism) was used with this domain
}

// since tells how long the domain is known, for a sentence.
func (s Seen) since() string {
	if s.First == "" {
		return ""
	}
	return " (the domain is known since " + s.First + ")"
}

// stamp tells whether a file was changed since.
type stamp struct {
	size int64
	mod  time.Time
	info fs.FileInfo
}

// maxPinFile bounds the file: some hundred thousand domains.
const maxPinFile = 16 << 20

// OpenPins opens the store at path; a missing file is an empty store. A file or
// directory that others may write is refused. Lines that make no sense are kept
// and reported by [PinStore.Problems]; their domains are refused until somebody
// has put them right.
func OpenPins(path string) (*PinStore, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // so that replacing the file does not replace the link
	}
	if err := ownfile.Dir(filepath.Dir(path), ownfile.NoWriters); err != nil {
		return nil, err
	}
	s := &PinStore{path: path}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.refresh()
}

// Path is the store's file.
func (s *PinStore) Path() string { return s.path }

// Problems are the lines of the file that make no sense, each with its number.
func (s *PinStore) Problems() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return []error{err}
	}
	var all []error
	for _, l := range s.table.lines {
		if l.err != nil {
			all = append(all, fmt.Errorf("%s: %w", s.path, l.err))
		}
	}
	return all
}

// Seen is what is remembered of domain. ok is false for a domain that was never
// seen. An error means that the file cannot be trusted or understood.
func (s *PinStore) Seen(domain string) (seen Seen, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return Seen{}, false, err
	}
	l := s.table.byDomain[domain]
	if l == nil {
		return Seen{}, false, nil
	}
	if l.err != nil {
		return Seen{}, false, fmt.Errorf("%s: %w", s.path, l.err)
	}
	seen = l.seen
	seen.Keys = slices.Clone(seen.Keys)
	return seen, true, nil
}

// Ratchet reports whether channel binding was ever used with domain. Where the
// file cannot be read or understood it says yes: then a login without binding is
// refused rather than waved through.
func (s *PinStore) Ratchet(domain string) bool {
	seen, ok, err := s.Seen(domain)
	return err != nil || ok && seen.Plus
}

// SetRatchet remembers that channel binding was used with domain.
func (s *PinStore) SetRatchet(domain string) error {
	return s.change(domain, func(seen *Seen) bool {
		old := seen.Plus
		seen.Plus = true
		return !old
	})
}

// meet compares the key that domain's server showed at the time now with those
// seen before, and keeps it: a new one is added, the day of a known one brought
// up to date. With add false, a new key beside others is not kept. before is
// what was remembered until now.
func (s *PinStore) meet(domain, key string, now time.Time, add bool) (state PinState, before Seen, err error) {
	today := now.UTC().Format(time.DateOnly)
	err = s.change(domain, func(seen *Seen) bool {
		before = *seen
		switch {
		case len(seen.Keys) == 0:
			state = PinFirst
		case slices.Contains(seen.Keys, key):
			state = PinKnown
		default:
			state = PinNew
			if !add {
				return false
			}
		}
		if state != PinKnown {
			seen.Keys = append(slices.Clone(seen.Keys), key)
			seen.Keys = seen.Keys[max(0, len(seen.Keys)-maxKeys):]
		}
		if seen.First == "" {
			seen.First = today
		}
		seen.Last = today
		return state != PinKnown || before.Last != today || before.First == ""
	})
	return state, before, err
}

// maxKeys is how many keys of a domain are kept. Several servers may stand
// behind one name, each with a key of its own.
const maxKeys = 8

// change lets edit change what is remembered of domain, and writes the file when
// it says that it did.
func (s *PinStore) change(domain string, edit func(*Seen) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Read again first, so that an edit of the meantime is not undone.
	if err := s.refresh(); err != nil {
		return err
	}
	l := s.table.byDomain[domain]
	if l == nil {
		if name, err := policy.NormalizeDomain(domain); err != nil || name != domain {
			return errors.New("pins: this is no domain in ASCII form")
		}
		l = s.table.add(domain)
	}
	if l.err != nil {
		return fmt.Errorf("%s: %w", s.path, l.err)
	}
	if edit(&l.seen) {
		l.changed, s.unsaved = true, true
	}
	if !s.unsaved {
		return nil
	}
	return s.write()
}

// refresh reads the file if it is another one than before.
func (s *PinStore) refresh() error {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if s.table == nil || s.read.info != nil {
			s.table, s.read = parsePins(nil), stamp{}
		}
		return nil
	case err != nil:
		return err
	}
	now := stamp{info.Size(), info.ModTime(), info}
	if r := s.read; s.table != nil && r.info != nil && r.size == now.size && r.mod.Equal(now.mod) &&
		os.SameFile(r.info, info) && r.info.Mode() == info.Mode() {
		return nil
	}
	data, err := ownfile.Read(s.path, ownfile.NoWriters, maxPinFile)
	if err != nil {
		return err
	}
	s.table, s.read, s.unsaved = parsePins(data), now, false
	return nil
}

// write replaces the file. When that fails, what changed is still remembered as
// long as the program runs, and the next change tries again.
func (s *PinStore) write() error {
	if err := ownfile.Replace(s.path, s.table.render()); err != nil {
		return err
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	s.read, s.unsaved = stamp{info.Size(), info.ModTime(), info}, false
	return nil
}
