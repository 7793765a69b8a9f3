package addressbook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha3"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"xmpp-gw/policy"
)

var today = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// onion is a valid address, another for each n.
func onion(n byte) string {
	seed := bytes.Repeat([]byte{n}, ed25519.SeedSize)
	key := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	sum := sha3.Sum256(append(append([]byte(".onion checksum"), key...), 3))
	raw := append(append(append([]byte{}, key...), sum[:2]...), 3)
	return strings.ToLower(base32.StdEncoding.EncodeToString(raw)) + ".onion"
}

func endpoint(n byte) policy.Endpoint {
	return policy.Endpoint{Transport: policy.STARTTLS, Host: onion(n), Port: 5222}
}

func listText(issued, expires string, lines ...string) []byte {
	return fmt.Appendf(nil, "xmpp-gw-onion-map: 1\ntitle: Test\nissued: %s\nexpires: %s\n\n%s\n", issued, expires, strings.Join(lines, "\n"))
}

// curator is somebody with a key.
type curator struct {
	public minisign.PublicKey
	secret minisign.PrivateKey
}

func newCurator(t *testing.T) curator {
	t.Helper()
	public, secret, err := minisign.GenerateKey(nil)
	check(t, err)
	return curator{public, secret}
}

func (c curator) sign(t *testing.T, text []byte) []byte {
	t.Helper()
	sig, err := Sign(c.secret, text, today)
	check(t, err)
	return sig
}

func newStore(t *testing.T) *Store {
	t.Helper()
	s := Open(filepath.Join(t.TempDir(), "map"))
	s.now = func() time.Time { return today }
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, what string, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("%s: %v, want %q", what, err, part)
	}
}

func TestImportAndKnown(t *testing.T) {
	s, c := newStore(t), newCurator(t)
	if k := s.Known("example.org"); len(k.Endpoints) > 0 || k.Problem != nil || k.Since != "" {
		t.Errorf("an empty store knows %+v", k)
	}
	if _, err := os.Stat(s.dir); err == nil {
		t.Error("a question made the folder")
	}
	text := listText("2026-11-20", "2026-12-31",
		"# a remark", "Example.ORG  "+endpoint(1).String()+"  wss://"+onion(1)+"/ws",
		"bücher.example tls://"+onion(2)+":5223 expires=2026-11-20")
	_, err := s.Import(text, c.sign(t, text), nil)
	wantError(t, "without a key", err, "no list by key")
	got, err := s.Import(text, c.sign(t, text), &c.public)
	check(t, err)
	if got.Title != "Test" || len(got.Entries) != 2 || got.ID != KeyID(c.public) || got.Expires.Format(time.RFC3339) != "2026-12-31T23:59:59Z" {
		t.Errorf("imported %+v", got)
	}
	if info, err := os.Stat(got.File); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	k := s.Known("example.org")
	if len(k.Endpoints) != 2 || k.Endpoints[1].String() != "wss://"+onion(1)+":443/ws" || !k.Listed || !strings.Contains(k.Source, got.ID) || k.Since != "" {
		t.Errorf("known: %+v", k)
	}
	for _, domain := range []string{"chat.example.org", "xn--bcher-kva.example"} { // not below, and not when the line has expired
		if k := s.Known(domain); len(k.Endpoints) > 0 || k.Problem != nil {
			t.Errorf("%s: %+v", domain, k)
		}
	}
	// Another process sees the same, and the list ends by itself.
	other := Open(s.dir)
	other.now = func() time.Time { return today.AddDate(0, 2, 0) }
	if k := other.Known("example.org"); len(k.Endpoints) > 0 {
		t.Errorf("known behind the end: %+v", k)
	}
	check(t, other.Remove(strings.ToLower(got.ID)))
	if k := s.Known("example.org"); len(k.Endpoints) > 0 {
		t.Errorf("known after the list was removed: %+v", k)
	}
	wantError(t, "removed twice", s.Remove(got.ID), "no list by key")
	wantError(t, "a path", s.Remove("../../../../seen"), "no list by key")
}

func TestImportRefuses(t *testing.T) {
	s, c, stranger := newStore(t), newCurator(t), newCurator(t)
	text := listText("2026-11-20T10:00:00Z", "2026-12-31", "example.org "+endpoint(1).String())
	good := c.sign(t, text)
	_, err := s.Import(text, good, &c.public)
	check(t, err)
	change := func(b []byte, old, new string) []byte {
		return bytes.Replace(bytes.Clone(b), []byte(old), []byte(new), 1)
	}
	resign := func(text []byte) []byte { // Sign itself refuses bad lists
		return minisign.Sign(c.secret, text)
	}
	old := listText("2026-11-19", "2026-12-31", "example.org "+endpoint(1).String())
	gone := listText("2026-10-01", "2026-11-20", "example.org "+endpoint(1).String())
	future := listText("2026-11-23", "2026-12-31", "example.org "+endpoint(1).String())
	bad := listText("2026-11-21", "2026-12-31", "example.org starttls://b"+onion(1)[1:])
	for name, x := range map[string]struct {
		text, sig []byte
		key       *minisign.PublicKey
		want      string
	}{
		"another key":             {text, good, &stranger.public, "was signed by key"},
		"changed list":            {change(text, "5222", "5223"), good, &c.public, "was changed"},
		"changed trusted comment": {text, change(good, "timestamp:", "timestamp:1"), &c.public, "was changed"},
		"signature of another":    {text, stranger.sign(t, text), nil, "no list by key"},
		"no signature":            {text, text, nil, "signature cannot be read"},
		"older":                   {old, c.sign(t, old), nil, "older than the one"},
		"expired":                 {gone, resign(gone), nil, "expired on 2026-11-20"},
		"of the future":           {future, c.sign(t, future), nil, "in the future"},
		"mistyped onion":          {bad, resign(bad), nil, "checksum"},
	} {
		if _, err := s.Import(x.text, x.sig, x.key); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	if k := s.Known("example.org"); len(k.Endpoints) != 1 {
		t.Errorf("a refused list changed what is known: %+v", k)
	}
	next := listText("2026-11-21", "2027-01-31", "example.org "+endpoint(2).String())
	_, err = s.Import(next, resign(next), nil)
	check(t, err)
	if k := s.Known("example.org"); k.Endpoints[0] != endpoint(2) {
		t.Errorf("after the next list: %+v", k)
	}
}

// A key's number is no secret: another key that has it replaces nothing.
func TestSameNumber(t *testing.T) {
	s, c := newStore(t), newCurator(t)
	text := listText("2026-11-20", "2026-12-31", "example.org "+endpoint(1).String())
	_, err := s.Import(text, c.sign(t, text), &c.public)
	check(t, err)
	stranger := newCurator(t)
	raw, err := stranger.secret.MarshalText()
	check(t, err)
	forged := forgeID(t, raw, c.public.ID())
	public := forged.Public().(minisign.PublicKey)
	_, err = s.Import(text, minisign.Sign(forged, text), &public)
	wantError(t, "a key with the same number", err, "another key with the same number")
	_, err = s.Import(text, minisign.Sign(forged, text), nil)
	wantError(t, "its signature alone", err, "same number")
}

// What was changed on the disk is not used, and does not open another way.
func TestDamage(t *testing.T) {
	s, c := newStore(t), newCurator(t)
	text := listText("2026-11-20", "2026-12-31", "example.org "+endpoint(1).String())
	got, err := s.Import(text, c.sign(t, text), &c.public)
	check(t, err)
	sealed, err := os.ReadFile(got.File)
	check(t, err)
	for name, damage := range map[string]func(){
		"changed": func() {
			check(t, os.WriteFile(got.File, bytes.Replace(sealed, []byte("5222"), []byte("5223"), 1), 0o600))
		},
		"cut short": func() { check(t, os.WriteFile(got.File, sealed[:100], 0o600)) },
		"open to others": func() {
			check(t, os.WriteFile(got.File, sealed, 0o600))
			check(t, os.Chmod(got.File, 0o644))
		},
		"a folder for all": func() {
			check(t, os.Chmod(got.File, 0o600))
			check(t, os.Chmod(s.dir, 0o777))
		},
	} {
		_ = name
		damage()
		for _, domain := range []string{"example.org", "other.example"} {
			if k := s.Known(domain); k.Problem == nil || len(k.Endpoints) > 0 {
				t.Errorf("%s: %s is %+v", name, domain, k)
			}
		}
		check(t, os.Chmod(s.dir, 0o700))
		check(t, os.Chmod(got.File, 0o600))
		check(t, os.WriteFile(got.File, sealed, 0o600))
		if k := s.Known("example.org"); k.Problem != nil || len(k.Endpoints) != 1 {
			t.Errorf("%s: put right again: %+v", name, k)
		}
	}
}

func TestMemory(t *testing.T) {
	s := newStore(t)
	for _, bad := range []struct {
		domain string
		e      policy.Endpoint
	}{{"Example.org", endpoint(1)}, {onion(1), endpoint(1)}, {"example.org", policy.Endpoint{Transport: policy.STARTTLS, Host: "example.org", Port: 1}}} {
		if err := s.Reached(bad.domain, bad.e); err == nil {
			t.Errorf("%+v was remembered", bad)
		}
	}
	check(t, s.Reached("example.org", endpoint(1)))
	check(t, s.Reached("example.org", endpoint(1)))
	s.now = func() time.Time { return today.AddDate(0, 0, 1) }
	check(t, s.Reached("example.org", endpoint(2)))
	check(t, s.Reached("other.example", endpoint(3)))
	k := s.Known("example.org")
	if k.Since != "2026-11-21" || len(k.Endpoints) != 2 || k.Endpoints[0] != endpoint(2) || k.Listed || k.Source != "a login there on 2026-11-22" {
		t.Errorf("known: %+v", k)
	}
	text, err := os.ReadFile(s.memoryFile())
	check(t, err)
	if info, _ := os.Stat(s.memoryFile()); info.Mode() != 0o600 || !strings.HasPrefix(string(text), "# The domains") {
		t.Errorf("%v\n%s", info, text)
	}
	// An edit counts at once, and a line that makes no sense refuses its domain.
	check(t, os.WriteFile(s.memoryFile(), append(text, "third.example since=yesterday "+endpoint(1).String()+"\n"...), 0o600))
	if k := s.Known("third.example"); k.Problem == nil || !strings.Contains(k.Problem.Error(), "yesterday") {
		t.Errorf("known: %+v", k)
	}
	if k := s.Known("example.org"); k.Problem != nil || k.Since == "" {
		t.Errorf("known: %+v", k)
	}
	if err := s.Reached("third.example", endpoint(1)); err == nil {
		t.Error("a line that makes no sense was written over")
	}
	list, err := s.Remembered()
	if len(list) != 2 || err == nil {
		t.Errorf("remembered: %+v, %v", list, err)
	}
	other := Open(s.dir)
	for _, domain := range []string{"example.org", "third.example"} {
		if ok, err := other.Forget(domain); !ok || err != nil {
			t.Errorf("%s: %v %v", domain, ok, err)
		}
		if ok, err := other.Forget(domain); ok || err != nil {
			t.Errorf("%s, twice: %v %v", domain, ok, err)
		}
		if k := s.Known(domain); k.Since != "" || k.Problem != nil {
			t.Errorf("%s, forgotten: %+v", domain, k)
		}
	}
	if k := s.Known("other.example"); k.Since == "" {
		t.Errorf("forgotten along: %+v", k)
	}
	// A list goes before the memory, which still holds.
	c := newCurator(t)
	l := listText("2026-11-20", "2026-12-31", "other.example "+endpoint(9).String())
	_, err = s.Import(l, c.sign(t, l), &c.public)
	check(t, err)
	if k := s.Known("other.example"); k.Endpoints[0] != endpoint(9) || len(k.Endpoints) != 1 || k.Since == "" || !k.Listed {
		t.Errorf("known: %+v", k)
	}
}

// A daemon's and a command's stores do not undo each other's changes.
func TestTwoStores(t *testing.T) {
	s := newStore(t)
	check(t, s.Reached("forgotten.example", endpoint(1)))
	other := Open(s.dir)
	other.now = s.now
	const n = 40
	done := make(chan error, 2)
	for i, store := range []*Store{s, other} {
		go func() {
			for j := range n {
				if err := store.Reached(fmt.Sprintf("d%d-%d.example", i, j), endpoint(2)); err != nil {
					done <- err
					return
				}
				if i == 1 && j == n/2 {
					if _, err := store.Forget("forgotten.example"); err != nil {
						done <- err
						return
					}
				}
			}
			done <- nil
		}()
	}
	check(t, errors.Join(<-done, <-done))
	list, err := s.Remembered()
	check(t, err)
	if len(list) != 2*n || s.Known("forgotten.example").Since != "" {
		t.Errorf("%d domains are remembered, want %d; forgotten: %+v", len(list), 2*n, s.Known("forgotten.example"))
	}
}

// Two lists of one day: the signature's time tells which is the newer.
func TestSameDay(t *testing.T) {
	s, c := newStore(t), newCurator(t)
	sign := func(text []byte, at int64) []byte {
		r := minisign.NewReader(bytes.NewReader(text))
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		return r.SignWithComments(c.secret, fmt.Sprintf("timestamp:%d\tfile:map", at), "")
	}
	wrong := listText("2026-11-20", "2026-12-31", "example.org "+endpoint(1).String())
	right := listText("2026-11-20", "2026-12-31", "example.org "+endpoint(2).String())
	for _, x := range []struct {
		text []byte
		at   int64
	}{{wrong, 1000}, {right, 2000}, {right, 2000}} {
		_, err := s.Import(x.text, sign(x.text, x.at), &c.public)
		check(t, err)
	}
	_, err := s.Import(wrong, sign(wrong, 1000), nil)
	wantError(t, "the withdrawn list of the same day", err, "older than the one")
	if k := s.Known("example.org"); k.Endpoints[0] != endpoint(2) {
		t.Errorf("known: %+v", k)
	}
}

// The real minisign takes what is signed here, and the other way round, in both of
// its formats.
func TestMinisign(t *testing.T) {
	program, err := exec.LookPath("minisign")
	if err != nil {
		t.Fatal("minisign is missing: sudo apt install minisign")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("minisign %q: %v\n%s", args, err, out)
		}
	}
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		check(t, err)
		return b
	}
	text := listText("2026-11-20", "2026-12-31", "example.org "+endpoint(1).String())
	check(t, os.WriteFile(filepath.Join(dir, "list"), text, 0o600))
	run("-G", "-W", "-p", "their.pub", "-s", "their.key")
	theirs, err := ParseKey(string(read("their.pub")))
	check(t, err)
	for _, format := range [][]string{{}, {"-l"}} {
		run(append([]string{"-S", "-W", "-s", "their.key", "-m", "list"}, format...)...)
		if _, err := newStore(t).Import(text, read("list.minisig"), &theirs); err != nil {
			t.Errorf("a signature of minisign %v: %v", format, err)
		}
	}
	// Their secret key signs here, and ours there.
	check(t, os.Chmod(filepath.Join(dir, "their.key"), 0o600))
	nobody := func() (string, error) { return "", errors.New("nobody to ask") }
	secret, err := ReadSecretKey(filepath.Join(dir, "their.key"), nobody)
	check(t, err)
	ours, err := NewKey(filepath.Join(dir, "our.key"))
	check(t, err)
	our, err := ReadSecretKey(filepath.Join(dir, "our.key"), nobody)
	check(t, err)
	for _, x := range []struct {
		public string
		secret minisign.PrivateKey
	}{{theirs.String(), secret}, {ours.String(), our}} {
		sig, err := Sign(x.secret, text, today)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, "list.minisig"), sig, 0o600))
		run("-V", "-P", x.public, "-m", "list")
	}
	check(t, os.WriteFile(filepath.Join(dir, "more"), text, 0o600))
	run("-S", "-W", "-s", "our.key", "-m", "more")
	if _, err := newStore(t).Import(text, read("more.minisig"), &ours); err != nil {
		t.Errorf("signed by minisign with our key: %v", err)
	}
	if _, err := NewKey(filepath.Join(dir, "our.key")); err == nil {
		t.Error("a key was written over")
	}
	// With a password, and the cheapest scrypt there is.
	check(t, os.WriteFile(filepath.Join(dir, "locked.key"), lock(t, read("our.key")), 0o600))
	asked := false
	_, err = ReadSecretKey(filepath.Join(dir, "locked.key"), func() (string, error) { asked = true; return "wrong", nil })
	wantError(t, "a wrong password", err, "check the password")
	if _, err := ReadSecretKey(filepath.Join(dir, "locked.key"), nobody); err == nil || !asked {
		t.Errorf("without a password: %v, asked: %v", err, asked)
	}
	check(t, os.Chmod(filepath.Join(dir, "our.key"), 0o644))
	if _, err := ReadSecretKey(filepath.Join(dir, "our.key"), nobody); err == nil {
		t.Error("a secret key that others may read was used")
	}
}
