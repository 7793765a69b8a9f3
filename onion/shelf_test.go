package onion

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func openShelf(t *testing.T) *Shelf {
	t.Helper()
	s, err := OpenShelf(filepath.Join(t.TempDir(), "onions"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCreate(t *testing.T, s *Shelf, name string, edit func(*Service)) Entry {
	t.Helper()
	service := Service{Name: name, Ports: []Port{{5222, "127.0.0.1:5222"}}}
	if edit != nil {
		edit(&service)
	}
	e, err := s.Create(service, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestShelf(t *testing.T) {
	s := openShelf(t)
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b := mustCreate(t, s, "b", func(v *Service) { v.Backend = k.Address() })
	mustCreate(t, s, "a", nil)
	all, err := s.List()
	if err != nil || len(all) != 2 || all[0].Name != "a" || !reflect.DeepEqual(all[1], b) {
		t.Errorf("the list is %+v, %v", all, err)
	}
	if text, err := os.ReadFile(filepath.Join(b.Dir, balanceFile)); string(text) != "MasterOnionAddress "+k.Address()+"\n" {
		t.Errorf("ob_config is %q, %v", text, err)
	}
	if _, err := s.Create(b.Service, nil); !errors.Is(err, ErrServiceExists) {
		t.Errorf("the same name: %v", err)
	}
	bKey, err := s.Key("b")
	if err != nil || bKey.Address() != b.Address {
		t.Errorf("the key of b is %v, %v", bKey, err)
	}
	if _, err := s.Create(Service{Name: "c", Ports: b.Ports}, bKey); err == nil || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("the same key: %v", err)
	}
	got, err := s.Update("b", func(v *Service) error {
		v.Name, v.Backend, v.Disabled, v.Ports[0].Target = "z", "", true, "unix:/x"
		return nil
	})
	if err != nil || got.Name != "b" || !got.Disabled || got.Publications(nil) != nil || got.Ports[0].Target != "unix:/x" || b.Ports[0].Target != "127.0.0.1:5222" {
		t.Errorf("updated: %+v, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(b.Dir, balanceFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ob_config stays: %v", err)
	}
	for name, edit := range map[string]func(*Service) error{
		"single hop": func(v *Service) error { v.SingleHop = true; return nil },
		"no port":    func(v *Service) error { v.Ports = nil; return nil },
		"own error":  func(*Service) error { return errors.New("no") },
	} {
		if _, err := s.Update("b", edit); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if again, err := s.Get("b"); err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("after refused changes: %+v, %v", again, err)
	}
	if err := s.Remove("b"); err != nil {
		t.Error(err)
	}
	for _, err := range []error{s.Remove("b"), second(s.Get("b")), second(s.Key("b")), s.RemoveClient("b", "x"), s.Open("b")} {
		if !errors.Is(err, ErrNoService) {
			t.Errorf("of what was removed: %v", err)
		}
	}
	if _, err := s.Get("../a"); err == nil {
		t.Error("a name led out of the folder")
	}
	checkModes(t, s.dir)
}

func second[T any](_ T, err error) error { return err }

// checkModes wants everything to be the owner's alone and nothing half done.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if strings.HasPrefix(d.Name(), ".") && d.Name() != lockFile {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestServiceMistakes(t *testing.T) {
	ok := Service{Name: "x", Ports: []Port{{5222, "127.0.0.1:5222"}}}
	if err := ok.Check(); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*Service){
		"no name for a service": func(s *Service) { s.Name = "../x" },
		"(not in front)":        func(s *Service) { s.Name = "-x" },
		"at least one port":     func(s *Service) { s.Ports = nil },
		"given twice":           func(s *Service) { s.Ports = append(s.Ports, s.Ports[0]) },
		"no port number":        func(s *Service) { s.Ports[0].Virtual = 65536 },
		"names are not looked":  func(s *Service) { s.Ports[0].Target = "localhost:5222" },
		"has no port":           func(s *Service) { s.Ports[0].Target = "127.0.0.1:0" },
		"absolute path":         func(s *Service) { s.Ports[0].Target = "unix:x" },
		"control characters":    func(s *Service) { s.Ports[0].Target = "unix:/x\ny" },
		"PROXY protocol":        func(s *Service) { s.Proxy = "v3" },
		"needs circuit ids":     func(s *Service) { s.Proxy = "v1" },
		"introduction points":   func(s *Service) { s.IntroPoints = 21 },
		"limit of streams":      func(s *Service) { s.MaxStreams = -1 },
		"proof-of-work":         func(s *Service) { s.PoW.Rate = -1 },
		"frontend":              func(s *Service) { s.Backend = "x.onion" },
	} {
		s := ok
		s.Ports = slices.Clone(ok.Ports)
		edit(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for in, want := range map[string]Port{"5222": {5222, "127.0.0.1:5222"}, "80=[::1]:8080": {80, "[::1]:8080"}, "80=unix:/a=b": {80, "unix:/a=b"}, "x": {}, "80=": {}, "0": {}} {
		if p, err := ParsePort(in); (err == nil) != (want != Port{}) || err == nil && (p != want) {
			t.Errorf("%q is read as %v, %v", in, p, err)
		}
	}
}

// A broken service is shown with its reason and hides no other.
func TestShelfBroken(t *testing.T) {
	for want, harm := range map[string]func(dir string) error{
		"chmod 600":      func(dir string) error { return os.Chmod(filepath.Join(dir, secretFile), 0o640) },
		"chmod 700":      func(dir string) error { return os.Chmod(dir, 0o750) },
		"96 bytes":       func(dir string) error { return os.Truncate(filepath.Join(dir, secretFile), 95) },
		"no such file":   func(dir string) error { return os.Remove(filepath.Join(dir, secretFile)) },
		"service.json":   func(dir string) error { return os.WriteFile(filepath.Join(dir, serviceFile), []byte("{"), 0o600) },
		"needs at least": func(dir string) error { return os.WriteFile(filepath.Join(dir, serviceFile), []byte("{}"), 0o600) },
		"another user":   func(dir string) error { return os.Chown(filepath.Join(dir, secretFile), 12345, -1) },
		"52 letters": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, clientsDir, "x.auth"), []byte("descriptor:x25519:AAAA\n"), 0o600)
		},
		"not a regular f": func(dir string) error {
			os.Remove(filepath.Join(dir, secretFile))
			return os.Mkdir(filepath.Join(dir, secretFile), 0o700)
		},
	} {
		t.Run(want, func(t *testing.T) {
			s := openShelf(t)
			mustCreate(t, s, "good", nil)
			if err := harm(mustCreate(t, s, "bad", nil).Dir); err != nil {
				if want == "another user" && os.Geteuid() != 0 {
					return // only root can give a file away
				}
				t.Fatal(err)
			}
			all, err := s.List()
			if err != nil || len(all) != 2 || all[0].Err == nil || !strings.Contains(all[0].Err.Error(), want) || all[0].Name != "bad" || all[1].Err != nil {
				t.Errorf("the list is %+v, %v", all, err)
			}
			if all[0].Publications(nil) != nil {
				t.Error("it would be published")
			}
			if _, err := s.Get("bad"); err == nil {
				t.Error("it can be had alone")
			}
		})
	}
	s := openShelf(t)
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenShelf(s.dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a folder that others may read: %v", err)
	}
}

// A folder that is in the way is left as it is.
func TestCreateOverNothing(t *testing.T) {
	s := openShelf(t)
	path := filepath.Join(s.dir, "x", secretFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(Service{Name: "x", Ports: []Port{{80, "127.0.0.1:80"}}}, nil); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "a key" {
		t.Error("it was overwritten")
	}
	checkModes(t, s.dir)
}

func TestShelfClients(t *testing.T) {
	s := openShelf(t)
	e := mustCreate(t, s, "x", nil)
	clients := func(want string, restricted bool) {
		t.Helper()
		got, r, err := s.Clients("x")
		if err != nil || strings.Join(got, " ") != want || r != restricted {
			t.Errorf("clients are %q, restricted %v, %v; want %q, %v", got, r, err, want, restricted)
		}
	}
	clients("", false)
	alice, err := s.AddClient("x", "alice")
	if err != nil || alice.Address() != e.Address {
		t.Fatal(alice, err)
	}
	clients("alice", true)
	text, err := os.ReadFile(filepath.Join(e.Dir, clientsDir, "alice.auth"))
	if err != nil || string(text) != alice.auth()+"\n" {
		t.Errorf("alice.auth is %q, %v", text, err)
	}
	if _, err := s.AddClient("x", "alice"); !errors.Is(err, ErrClientExists) {
		t.Errorf("twice: %v", err)
	}
	for _, name := range []string{"", "a.b", "../a", "Alice", nobody} {
		if _, err := s.AddClient("x", name); err == nil {
			t.Errorf("a client may be called %q", name)
		}
	}
	if err := s.Open("x"); err == nil || !strings.Contains(err.Error(), "alice") {
		t.Errorf("opened with a client in: %v", err)
	}
	if err := s.RemoveClient("x", "alice"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alice", nobody} {
		if err := s.RemoveClient("x", name); !errors.Is(err, ErrNoClient) {
			t.Errorf("%s: %v", name, err)
		}
	}
	clients("", true) // nobody gets in, rather than everybody
	if keys, err := clientKeys(e.Dir); err != nil || len(keys) != 1 {
		t.Errorf("tor would let in %v, %v", keys, err)
	}
	if err := s.Open("x"); err != nil {
		t.Fatal(err)
	}
	clients("", false)
	checkModes(t, s.dir)
}

// OnionBalance would let in everybody where clients need keys.
func TestClientsBehindOnionBalance(t *testing.T) {
	s, frontend := openShelf(t), clientKey(t).Address()
	mustCreate(t, s, "balanced", func(v *Service) { v.Backend = frontend })
	if _, err := s.AddClient("balanced", "alice"); err == nil || !strings.Contains(err.Error(), "OnionBalance") {
		t.Errorf("a client: %v", err)
	}
	mustCreate(t, s, "closed", nil)
	if _, err := s.AddClient("closed", "alice"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update("closed", func(v *Service) error { v.Backend = frontend; return nil }); err == nil || !strings.Contains(err.Error(), "OnionBalance") {
		t.Errorf("a backend: %v", err)
	}
}

func TestRotateAndExpire(t *testing.T) {
	s := openShelf(t)
	old := mustCreate(t, s, "x", nil)
	for _, c := range []string{"alice", "bob"} {
		if _, err := s.AddClient("x", c); err != nil {
			t.Fatal(err)
		}
	}
	oldKey, err := s.Key("x")
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Rotate("x", time.Hour)
	if err != nil || e.Address == old.Address || len(e.Previous) != 1 || e.Previous[0].Address != old.Address {
		t.Fatalf("rotated: %+v, %v", e, err)
	}
	pubs, err := inspect(e.Publications([]Port{{5222, "unix:/f"}}))
	if err != nil || len(pubs) != 2 || pubs[0].Address != e.Address || pubs[1].Address != old.Address || pubs[1].Targets[0].Target != "unix:/f" {
		t.Fatalf("published would be %+v, %v", pubs, err)
	}
	if len(pubs[0].clients) != 3 || !slices.Equal(pubs[0].clients, pubs[1].clients) {
		t.Errorf("clients are %v and %v", pubs[0].clients, pubs[1].clients)
	}
	if kept, err := ReadKeyFile(filepath.Join(pubs[1].Dir, secretFile)); err != nil || !bytes.Equal(kept.Marshal(), oldKey.Marshal()) {
		t.Errorf("the old key is %v, %v", kept, err)
	}
	if err := s.RemoveClient("x", "bob"); err != nil {
		t.Fatal(err)
	}
	if pubs, err = inspect(e.Publications(nil)); err != nil || len(pubs[1].clients) != 2 {
		t.Errorf("bob still gets in at the old address: %v, %v", pubs[1].clients, err)
	}
	if changed, err := s.Expire(e.Previous[0].Until.Add(-time.Second)); err != nil || changed != nil {
		t.Errorf("too early: %v, %v", changed, err)
	}
	changed, err := s.Expire(e.Previous[0].Until)
	if err != nil || !slices.Equal(changed, []string{"x"}) {
		t.Errorf("in time: %v, %v", changed, err)
	}
	if e, err = s.Get("x"); err != nil || len(e.Publications(nil)) != 1 {
		t.Errorf("after its time: %+v, %v", e, err)
	}
	if left, _ := os.ReadDir(filepath.Join(e.Dir, previousDir)); len(left) != 0 {
		t.Errorf("old keys are left: %v", left)
	}
	if e, err = s.Rotate("x", 0); err != nil || len(e.Publications(nil)) != 1 {
		t.Errorf("without overlap: %+v, %v", e, err)
	}
	checkModes(t, s.dir)
}

// The first client closes the address that the service had before as well.
func TestFirstClientAfterRotate(t *testing.T) {
	s := openShelf(t)
	mustCreate(t, s, "x", nil)
	if _, err := s.Rotate("x", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddClient("x", "alice"); err != nil {
		t.Fatal(err)
	}
	e, err := s.Get("x")
	if err != nil {
		t.Fatal(err)
	}
	pubs, err := inspect(e.Publications(nil))
	if err != nil || len(pubs) != 2 || len(pubs[0].clients) != 2 || len(pubs[1].clients) != 1 {
		t.Errorf("the former address is open to everybody: %+v, %v", pubs, err)
	}
	if err := s.RemoveClient("x", "alice"); err != nil {
		t.Fatal(err)
	}
	if err := s.Open("x"); err != nil {
		t.Fatal(err)
	}
	if pubs, err = inspect(e.Publications(nil)); err != nil || len(pubs[0].clients)+len(pubs[1].clients) != 0 {
		t.Errorf("opened again: %+v, %v", pubs, err)
	}
}

// A key belongs to one service, former ones included; two that have the same do no
// harm to a third.
func TestOneKeyTwice(t *testing.T) {
	s := openShelf(t)
	a := mustCreate(t, s, "a", nil)
	k, err := s.Key("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rotate("a", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(Service{Name: "b", Ports: a.Ports}, k); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("the former key of a for b: %v", err)
	}
	mustCreate(t, s, "c", nil)
	if err := os.CopyFS(filepath.Join(s.dir, "copy"), os.DirFS(filepath.Join(s.dir, "c"))); err != nil {
		t.Fatal(err)
	}
	chmod := func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return errors.Join(err, os.Chmod(path, 0o700))
		}
		return os.Chmod(path, 0o600)
	}
	if err := filepath.WalkDir(filepath.Join(s.dir, "copy"), chmod); err != nil {
		t.Fatal(err)
	}
	all, err := s.List()
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for _, e := range all {
		if bad := e.Err != nil; bad != (e.Name == "copy") {
			t.Errorf("%s: %v", e.Name, e.Err)
		}
	}
}

// What a crash left behind of keys goes with the next start.
func TestShelfLeftovers(t *testing.T) {
	s := openShelf(t)
	e := mustCreate(t, s, "x", nil)
	for _, dir := range []string{".old-1/x", ".new-2"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		k, err := s.Key("x")
		if err != nil {
			t.Fatal(err)
		}
		if err := k.WriteFile(filepath.Join(s.dir, dir, secretFile)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenShelf(s.dir); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(s.dir, ".[no]*-*"))
	if got, err := s.Get("x"); err != nil || got.Address != e.Address || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A Rotate that was cut short after the old key was put aside.
func TestRotateCutShort(t *testing.T) {
	s := openShelf(t)
	e := mustCreate(t, s, "x", nil)
	p := Previous{e.Address, now().Add(time.Hour)}
	if err := e.keepAs(e.previous(p)); err != nil {
		t.Fatal(err)
	}
	e.Service.Previous = []Previous{p}
	if err := save(e.Dir, e.Service); err != nil {
		t.Fatal(err)
	}
	if e, _ = s.Get("x"); len(e.Publications(nil)) != 1 {
		t.Errorf("one address would be published twice: %+v", e)
	}
	again, err := s.Rotate("x", time.Hour)
	if err != nil || len(again.Previous) != 1 || len(again.Publications(nil)) != 2 {
		t.Errorf("the next Rotate: %+v, %v", again, err)
	}
	// After the secret alone was replaced, the rest follows from it.
	for _, f := range []string{publicFile, hostnameFile} {
		if err := os.Remove(filepath.Join(again.Dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := s.Get("x"); err != nil || e.Address != again.Address {
		t.Errorf("without the public files: %+v, %v", e, err)
	}
}

// Many at once, as daemon and command are: each change is whole.
func TestShelfConcurrently(t *testing.T) {
	s := openShelf(t)
	mustCreate(t, s, "x", nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			other, err := OpenShelf(s.dir)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := other.Update("x", func(v *Service) error { v.MaxStreams++; return nil }); err != nil {
				t.Error(err)
			}
			other.Create(Service{Name: "same", Ports: []Port{{80 + i, "127.0.0.1:80"}}}, nil)
			if _, err := s.List(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if e, err := s.Get("x"); err != nil || e.MaxStreams != 8 {
		t.Errorf("%d of 8 changes are there, %v", e.MaxStreams, err)
	}
	checkModes(t, s.dir)
}

func TestClientKeys(t *testing.T) {
	c, err := OpenClientKeys(filepath.Join(t.TempDir(), "auth"))
	if err != nil {
		t.Fatal(err)
	}
	k := clientKey(t)
	address, err := c.Add("  " + k.Line() + "\n")
	if err != nil || address != k.Address() {
		t.Fatal(address, err)
	}
	newer, err := newClientKey(k.Address())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add(newer.Line()); err != nil {
		t.Fatal(err)
	}
	if all, err := c.List(); err != nil || len(all) != 1 || all[0].Line() != newer.Line() {
		t.Errorf("kept are %v, %v", all, err)
	}
	checkModes(t, c.dir)
	if err := c.Remove(strings.ToUpper(k.Address())); err != nil {
		t.Error(err)
	}
	if err := c.Remove(k.Address()); !errors.Is(err, ErrNoClientKey) {
		t.Errorf("twice: %v", err)
	}
	if all, err := c.List(); err != nil || len(all) != 0 {
		t.Errorf("kept are %v, %v", all, err)
	}
}
