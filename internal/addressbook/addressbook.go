// Package addressbook knows the onion endpoints of other people's domains: from
// lists that a curator signed, and from logins at them.
//
//	book := addressbook.Open(filepath.Join(state, "map"))
//	rules.Known = book.Known                       // policy asks it at each decision
//	err := book.Reached("example.org", endpoint)   // after a login that was verified there
//
// A list ([ParseList]) names domains and their onion endpoints, and the day on
// which it ends. It is signed in the format of minisign, which curators have, and
// imported with a key that the owner of this machine was given by the curator. It
// is verified again whenever it is read.
//
// What is remembered of logins is one file that a person can read and edit. A
// domain in it is reached at onion endpoints only, until [Store.Forget].
//
// Neither proves a server: the certificate must still be for the account's domain
// ([policy.Decision.OnionProves]).
//
// The folder is read again when it changed, so that the command line and a running
// daemon can share it. What cannot be read or verified is a [policy.Known] with a
// Problem, and the domain is refused: a damaged file must not be a way to send
// logins elsewhere.
package addressbook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"aead.dev/minisign"

	"xmpp-gw/internal/ownfile"
	"xmpp-gw/internal/sentence"
	"xmpp-gw/policy"
)

// Error is something that could not be done, for a person.
type Error struct {
	What string // what happened
	Why  string // why; may be empty
	Hint string // what to do; may be empty
	Err  error  // the cause; may be nil
}

// Error is one sentence: what happened, why, and what to do.
func (e *Error) Error() string { return sentence.Of(e.What, e.Why, e.Hint) }

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// Store is the folder. It is safe for concurrent use.
type Store struct {
	dir string
	now func() time.Time

	mu    sync.Mutex
	lists map[string]*kept // by file name
	seen  *memory
}

// kept is a list as it was last read, or why it could not be.
type kept struct {
	stamp stamp
	list  Imported
	err   error
}

// stamp tells whether a file was changed since.
type stamp struct {
	size int64
	mod  time.Time
	info fs.FileInfo
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.Size(), info.ModTime(), info} }

func (s stamp) same(o stamp) bool {
	return s.info != nil && o.info != nil && s.size == o.size && s.mod.Equal(o.mod) &&
		os.SameFile(s.info, o.info) && s.info.Mode() == o.info.Mode()
}

// Imported is a list and the key that signed it.
type Imported struct {
	List
	Key  minisign.PublicKey
	ID   string // of the key, 16 hexadecimal digits
	File string // where it is kept

	signed int64 // when, in Unix time, by the signature's trusted comment; 0: it does not tell
}

// Expired reports whether the whole list has ended.
func (i Imported) Expired(now time.Time) bool { return now.After(i.Expires) }

// suffix is how the file of a list ends; before it stands the key's ID.
const suffix = ".list"

// maxLists bounds the folder.
const maxLists = 64

// Open is the store in dir. Nothing is read or made before it is needed.
func Open(dir string) *Store { return &Store{dir: dir, now: time.Now} }

// Known is what the lists and the memory say of domain, which is normalised.
// Lists go before the memory, and the newest list before the others.
func (s *Store) Known(domain string) policy.Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return policy.Known{Problem: err}
	}
	var k policy.Known
	if l := s.seen.byDomain[domain]; l != nil {
		if l.err != nil {
			return policy.Known{Problem: fmt.Errorf("%s: %w", s.memoryFile(), l.err)}
		}
		k.Since, k.Endpoints = l.since, slices.Clone(l.endpoints)
		k.Source = "a login there on " + l.last
	}
	lists, err := s.sorted()
	if err != nil {
		return policy.Known{Problem: err}
	}
	now := s.now()
	for _, l := range lists {
		e, ok := l.Find(domain)
		if !ok || now.After(e.Expires) {
			continue
		}
		k.Endpoints, k.Listed = slices.Clone(e.Endpoints), true
		k.Source = fmt.Sprintf("the address book %q, signed by key %s", l.Title, l.ID)
		break
	}
	return k
}

// Lists are the imported lists, the newest first, and an error for each file that
// is none.
func (s *Store) Lists() ([]Imported, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return nil, err
	}
	lists, err := s.sorted()
	return lists, err
}

// sorted is the lists, the newest first.
func (s *Store) sorted() ([]Imported, error) {
	var lists []Imported
	var errs []error
	for _, k := range s.lists {
		if k.err != nil {
			errs = append(errs, k.err)
			continue
		}
		lists = append(lists, k.list)
	}
	slices.SortFunc(lists, func(a, b Imported) int {
		if c := b.Issued.Compare(a.Issued); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return lists, errors.Join(errs...)
}

// refresh reads what changed since the last time.
func (s *Store) refresh() error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		s.lists, s.seen = nil, new(memory)
		return nil
	}
	if err != nil {
		return err
	}
	if err := ownfile.Dir(s.dir, ownfile.NoWriters); err != nil {
		return err
	}
	before := s.lists
	s.lists = map[string]*kept{}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || !strings.HasSuffix(name, suffix) {
			continue
		}
		if len(s.lists) == maxLists {
			return fmt.Errorf("%s has more than %d lists", s.dir, maxLists)
		}
		path := filepath.Join(s.dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		now := stampOf(info)
		if k := before[name]; k != nil && k.stamp.same(now) {
			s.lists[name] = k
			continue
		}
		s.lists[name] = readList(path, now)
	}
	return s.refreshMemory()
}

// readList reads and verifies a list that was imported.
func readList(path string, at stamp) *kept {
	k := &kept{stamp: at}
	text, err := ownfile.Read(path, ownfile.NoAccess, 2*MaxList)
	if err == nil {
		k.list, err = open(text)
	}
	if err == nil && k.list.ID+suffix != filepath.Base(path) {
		err = errors.New("its name is not that of its key")
	}
	if err != nil {
		k.err = &Error{What: "the list " + path + " cannot be used", Why: err.Error(),
			Hint: "import it again, or delete the file", Err: err}
	}
	k.list.File = path
	return k
}

// make sees to it that the folder is there.
func (s *Store) make() error { return ownfile.Dir(s.dir, ownfile.NoWriters) }

// lockFile is locked while the folder is changed, so that what a daemon writes and
// what a command writes do not undo each other.
const lockFile = ".lock"

// lock takes the lock for a change; the kernel gives it back however we end.
func (s *Store) lock() (unlock func(), err error) {
	if err := s.make(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("%s cannot be locked: %w", f.Name(), err)
		}
	}
}
