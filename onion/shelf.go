package onion

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"xmpp-gw/internal/ownfile"
)

// Shelf is the folder with the onion services of this machine, one folder each,
// which is also the HiddenServiceDir that a managed Tor is given. What stands in
// it is published; it is the same for a daemon and for a command that works
// while none runs. Each method holds the folder's lock, so any number of
// processes and goroutines may use it.
type Shelf struct{ dir string }

// Files beside Tor's own in a service's folder.
const (
	serviceFile = "service.json"
	previousDir = "previous" // old HiddenServiceDirs, by address
	lockFile    = ".lock"
)

// Errors of a Shelf that a caller may want to tell apart.
var (
	ErrNoService     = errors.New("there is no onion service of that name; \"xmpp-gw onion list\" shows all")
	ErrServiceExists = errors.New("there is an onion service of that name already")
	ErrNoClient      = errors.New("the service has no client of that name")
	ErrClientExists  = errors.New("the service has a client of that name already: remove it first, or take another name")
)

// OpenShelf makes dir where it is missing. It refuses one that others may read.
func OpenShelf(dir string) (*Shelf, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := ownfile.Dir(dir, ownfile.NoAccess); err != nil {
		return nil, err
	}
	s := &Shelf{dir}
	return s, s.locked(syscall.LOCK_EX, s.tidy)
}

// Folders under construction and those that are being removed; none outlives the
// lock but by a crash.
const (
	newPrefix = ".new-"
	oldPrefix = ".old-"
)

// tidy removes what a crash left: a key that was to be forgotten must not stay.
func (s *Shelf) tidy() error {
	files, err := os.ReadDir(s.dir)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), newPrefix) || strings.HasPrefix(f.Name(), oldPrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, f.Name())))
		}
	}
	return err
}

// Entry is a service on the shelf.
type Entry struct {
	Service
	Address string   `json:"address"` // with ".onion"
	Clients []string `json:"clients,omitempty"`
	// Restricted reports that only clients with a key get in (perhaps none).
	Restricted bool   `json:"restricted,omitempty"`
	Dir        string `json:"-"`
	// Err says why a service cannot be used, such as a key file that others may
	// read; then only its Name and Dir are sure.
	Err error `json:"-"`
}

// Publications is what a Tor has to publish for this service: its address and
// those that it had before. targets is what Tor connects to for each port, nil:
// the service's own targets. A disabled or broken service gives none.
func (e Entry) Publications(targets []Port) []Publication {
	if e.Disabled || e.Err != nil {
		return nil
	}
	if targets == nil {
		targets = e.Ports
	}
	all := []Publication{{Service: e.Service, Address: e.Address, Dir: e.Dir, Targets: targets}}
	for _, p := range e.Previous {
		if p.Address != e.Address {
			all = append(all, Publication{Service: e.Service, Address: p.Address, Dir: e.previous(p), Targets: targets})
		}
	}
	return all
}

func (e Entry) previous(p Previous) string {
	return filepath.Join(e.Dir, previousDir, strings.TrimSuffix(p.Address, onionSuffix))
}

// List gives all services by name. One that is broken has its Err.
func (s *Shelf) List() (all []Entry, err error) {
	err = s.locked(syscall.LOCK_SH, func() error {
		all, err = s.list()
		return err
	})
	return all, err
}

func (s *Shelf) list() ([]Entry, error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, f := range files {
		if f.IsDir() && checkName("service", f.Name()) == nil {
			e, err := s.load(f.Name())
			if errors.Is(err, ErrNoService) {
				continue
			}
			e.Err = err
			all = append(all, e)
		}
	}
	refuseTwice(all)
	return all, nil
}

// refuseTwice finds services with the key of an older one, such as a folder that
// was copied: Tor would take none of all that it is told then.
func refuseTwice(all []Entry) {
	byAge := make([]*Entry, 0, len(all))
	for i := range all {
		if all[i].Err == nil && !all[i].Disabled {
			byAge = append(byAge, &all[i])
		}
	}
	slices.SortStableFunc(byAge, func(a, b *Entry) int { return a.Created.Compare(b.Created) })
	owner := make(map[string]string)
	for _, e := range byAge {
		for _, address := range e.addresses() {
			if other, taken := owner[address]; taken && other != e.Name {
				e.Err = fmt.Errorf("the onion service %q cannot be used: its address, or one that it had, is that of %q as well; remove the folder of one of the two", e.Name, other)
			}
		}
		for _, address := range e.addresses() {
			if e.Err == nil {
				owner[address] = e.Name
			}
		}
	}
}

// addresses are the service's own and those that it had before.
func (e *Entry) addresses() []string {
	list := []string{e.Address}
	for _, p := range e.Previous {
		list = append(list, p.Address)
	}
	return list
}

// Get gives one service, or ErrNoService.
func (s *Shelf) Get(name string) (e Entry, err error) {
	err = s.locked(syscall.LOCK_SH, func() error {
		e, err = s.load(name)
		return err
	})
	return e, err
}

// Key reads a service's key, for an export.
func (s *Shelf) Key(name string) (k *Key, err error) {
	err = s.change(name, func(e *Entry) error {
		k, err = ReadKeyFile(filepath.Join(e.Dir, secretFile))
		return err
	})
	return k, err
}

// Create puts a new service on the shelf, with a new key where k is nil.
// ErrServiceExists when the name is taken; a key that another service has is
// refused as well.
func (s *Shelf) Create(service Service, k *Key) (e Entry, err error) {
	if k == nil {
		if k, err = NewKey(); err != nil {
			return e, err
		}
	}
	service.Created, service.Previous = now(), nil
	if err := service.Check(); err != nil {
		return e, err
	}
	err = s.locked(syscall.LOCK_EX, func() error {
		all, err := s.list()
		if err != nil {
			return err
		}
		for _, other := range all {
			switch {
			case other.Name == service.Name:
				return ErrServiceExists
			case slices.Contains(other.addresses(), k.Address()):
				return fmt.Errorf("this key is in use already: it is, or was until lately, that of the onion service %q", other.Name)
			}
		}
		if err := s.create(service, k); err != nil {
			return err
		}
		e, err = s.load(service.Name)
		return err
	})
	return e, err
}

// create builds the folder aside and gives it its name when it is whole.
func (s *Shelf) create(service Service, k *Key) error {
	tmp, err := os.MkdirTemp(s.dir, newPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Mkdir(filepath.Join(tmp, clientsDir), 0o700); err != nil {
		return err
	}
	if err := k.writeDir(tmp); err != nil {
		return err
	}
	if err := save(tmp, service); err != nil {
		return err
	}
	// A folder is never put in place of one that has something in it.
	path := filepath.Join(s.dir, service.Name)
	if err := os.Rename(tmp, path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("the folder %s is in the way: it has no %s, so it is no service; look into it and remove it", path, serviceFile)
		}
		return err
	}
	return nil
}

// Update changes a service's settings. Name, SingleHop, Created and Previous
// cannot be changed.
func (s *Shelf) Update(name string, edit func(*Service) error) (e Entry, err error) {
	err = s.change(name, func(now *Entry) error {
		service := now.Service
		service.Ports = slices.Clone(service.Ports)
		if err := edit(&service); err != nil {
			return err
		}
		if service.SingleHop != now.SingleHop {
			return errors.New("an address that was published over single hops is known to be this machine's, and one that was not must stay anonymous: publish another service for that")
		}
		if service.Backend != "" && now.Restricted {
			return errBalanced
		}
		service.Name, service.Created, service.Previous = now.Name, now.Created, now.Previous
		if err := service.Check(); err != nil {
			return err
		}
		if err := save(now.Dir, service); err != nil {
			return err
		}
		e, err = s.load(name)
		return err
	})
	return e, err
}

// Remove takes a service from the shelf, its keys included: its address is gone
// for ever. (To end publishing alone, Update Disabled.) A Tor that publishes it
// should be told first.
func (s *Shelf) Remove(name string) error {
	return s.locked(syscall.LOCK_EX, func() error {
		if err := s.exists(name); err != nil {
			return err
		}
		// One step for whoever looks, and for a crash.
		tmp, err := os.MkdirTemp(s.dir, oldPrefix)
		if err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(s.dir, name), filepath.Join(tmp, name)); err != nil {
			return err
		}
		return os.RemoveAll(tmp)
	})
}

// change runs fn with a service under the lock.
func (s *Shelf) change(name string, fn func(*Entry) error) error {
	return s.locked(syscall.LOCK_EX, func() error {
		e, err := s.load(name)
		if err != nil {
			return err
		}
		return fn(&e)
	})
}

// locked runs fn with the shelf's lock, which the kernel gives back however we
// end. Whoever holds it has only files to write, so nobody waits long.
func (s *Shelf) locked(how int, fn func() error) error {
	f, err := os.OpenFile(filepath.Join(s.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return fn()
		}
		if !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("%s cannot be locked: %w", f.Name(), err)
		}
	}
}

func (s *Shelf) exists(name string) error {
	if err := checkName("service", name); err != nil {
		return err
	}
	// A folder without settings is none of ours: a Tor makes an empty one anew
	// when it reads its own settings between Remove and the next Publish.
	if _, err := os.Stat(filepath.Join(s.dir, name, serviceFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return ErrNoService
		}
		return err
	}
	return nil
}

// load reads a service's folder. With an error, the entry has name and folder.
func (s *Shelf) load(name string) (Entry, error) {
	e := Entry{Service: Service{Name: name}, Dir: filepath.Join(s.dir, name)}
	if err := s.exists(name); err != nil {
		return e, err
	}
	if err := e.read(); err != nil {
		return Entry{Service: Service{Name: name}, Dir: e.Dir}, fmt.Errorf("the onion service %q cannot be used: %w", name, err)
	}
	return e, nil
}

// maxServiceFile bounds service.json.
const maxServiceFile = 1 << 20

func (e *Entry) read() error {
	if err := ownfile.Dir(e.Dir, ownfile.NoAccess); err != nil {
		return err
	}
	path := filepath.Join(e.Dir, serviceFile)
	b, err := ownfile.Read(path, ownfile.NoWriters, maxServiceFile)
	if err != nil {
		return err
	}
	name := e.Name
	if err := json.Unmarshal(b, &e.Service); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	e.Name = name // the folder's, should somebody have renamed it
	if err := e.Check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	key, err := ReadKeyFile(filepath.Join(e.Dir, secretFile))
	if err != nil {
		return err
	}
	e.Address = key.Address()
	if e.Clients, e.Restricted, err = clientNames(e.Dir); err != nil {
		return err
	}
	// Whatever would keep a Tor from taking it is found here, where it harms no
	// other service.
	for _, p := range e.Previous {
		if _, err := ReadKeyFile(filepath.Join(e.previous(p), secretFile)); err != nil {
			return err
		}
	}
	for _, dir := range e.dirs() {
		if _, err := clientKeys(dir); err != nil {
			return err
		}
	}
	return nil
}

// save writes service.json.
func save(dir string, service Service) error {
	b, err := json.MarshalIndent(service, "", "  ")
	if err != nil {
		return err
	}
	if err := saveBalance(dir, service.Backend); err != nil {
		return err
	}
	return ownfile.Replace(filepath.Join(dir, serviceFile), append(b, '\n'))
}

// saveBalance writes the file by which Tor knows the OnionBalance frontend that
// this service answers for.
func saveBalance(dir, frontend string) error {
	path := filepath.Join(dir, balanceFile)
	if frontend == "" {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	address, err := CheckAddress(frontend)
	if err != nil {
		return err
	}
	return ownfile.Replace(path, []byte("MasterOnionAddress "+address+"\n"))
}

// now is the present, as service.json can keep it.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
