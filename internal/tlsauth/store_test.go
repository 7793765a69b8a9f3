package tlsauth

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	keyA = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	keyB = "sha256/BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="
)

var march = time.Date(2026, 3, 4, 23, 0, 0, 0, time.UTC)

func TestCheckPin(t *testing.T) {
	for pin, ok := range map[string]bool{
		keyA:                true,
		keyB:                true,
		"":                  false,
		"sha256/":           false,
		keyA[7:]:            false,
		"sha1/" + keyA:      false,
		"SHA256" + keyA[6:]: false,
		keyA[:len(keyA)-1]:  false, // no padding
		keyA + "=":          false,
		keyA + "\n":         false,
		"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=": false, // bits behind the end: a second spelling
		"sha256/AAAA": false,
	} {
		if err := CheckPin(pin); (err == nil) != ok {
			t.Errorf("pin %q: %v", pin, err)
		}
	}
}

// TestFile: what is written, and when.
func TestFile(t *testing.T) {
	s := openPins(t)
	path := s.Path()
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a file without need")
	}
	meet := func(domain, key string, at time.Time) {
		t.Helper()
		if _, _, err := s.meet(domain, key, at, true); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	meet("example.org", keyA, march)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode())
	}
	text := read()
	if !strings.HasPrefix(text, "# ") || !strings.HasSuffix(text, "\nexample.org  first=2026-03-04  last=2026-03-04  "+keyA+"\n") {
		t.Errorf("file %q", text)
	}

	// The same day changes nothing, so nothing is written.
	meet("example.org", keyA, march.Add(30*time.Minute))
	if again, err := os.Stat(path); err != nil || !os.SameFile(info, again) {
		t.Error("the file was written without need")
	}
	meet("example.org", keyA, march.Add(2*time.Hour))
	if text := read(); !strings.Contains(text, "first=2026-03-04  last=2026-03-05") {
		t.Errorf("file %q", text)
	}
	if err := s.SetRatchet("example.com"); err != nil {
		t.Fatal(err)
	}
	meet("example.org", keyB, march)
	other, err := OpenPins(path)
	if err != nil {
		t.Fatal(err)
	}
	seen, ok, err := other.Seen("example.org")
	if err != nil || !ok || !slices.Equal(seen.Keys, []string{keyA, keyB}) || seen.First != "2026-03-04" || seen.Plus {
		t.Errorf("read again: %+v, %t, %v", seen, ok, err)
	}
	if !other.Ratchet("example.com") || other.Ratchet("example.org") || other.Ratchet("im.example.com") {
		t.Error("the ratchet is not where it was set")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}

	// Many keys do not pile up.
	for i := range 20 {
		meet("example.org", "sha256/"+strings.Repeat(string(rune('C'+i)), 42)+"A=", march)
	}
	if seen, _, _ := s.Seen("example.org"); len(seen.Keys) != maxKeys {
		t.Errorf("%d keys", len(seen.Keys))
	}
	for _, bad := range []string{"", "a b", "x#y", "a\nb", "Example.org"} {
		if _, _, err := s.meet(bad, keyA, march, true); err == nil {
			t.Errorf("%q was remembered", bad)
		}
	}
}

// TestEdits: a person's hand in the file, while it is in use.
func TestEdits(t *testing.T) {
	s := openPins(t)
	edit := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.Path(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("\ufeff# mine\r\n\r\n  Example.ORG.\t" + keyA + "   plus # a friend's\r\nbücher.example " + keyB + "\nbad.example sha256/x\nold.example " + keyA + " frist=2026-01-01\n? ?\nexample.org " + keyB)
	seen, ok, err := s.Seen("example.org")
	if err != nil || !ok || !seen.Plus || !slices.Equal(seen.Keys, []string{keyA, keyB}) {
		t.Errorf("%+v, %t, %v", seen, ok, err)
	}
	if _, ok, err := s.Seen("xn--bcher-kva.example"); err != nil || !ok {
		t.Error("a domain in U-labels is not found")
	}
	for _, domain := range []string{"bad.example", "old.example"} {
		if _, _, err := s.Seen(domain); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: %v", domain, err)
		}
		if _, _, err := s.meet(domain, keyA, march, true); err == nil {
			t.Errorf("%s was written over", domain)
		}
		if !s.Ratchet(domain) {
			t.Errorf("%s has no ratchet", domain)
		}
	}
	if p := s.Problems(); len(p) != 3 || !strings.Contains(p[0].Error(), "line 5") {
		t.Errorf("problems %q", p)
	}
	if _, _, err := s.meet("example.net", keyA, march, true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{"# mine", "# a friend's", "bad.example sha256/x", "frist=2026", "? ?", "bücher.example"} {
		if !strings.Contains(string(text), kept) {
			t.Errorf("%q was lost: %s", kept, text)
		}
	}

	edit("example.org " + keyB + "\n")
	if seen, _, _ := s.Seen("example.org"); !slices.Equal(seen.Keys, []string{keyB}) || s.Ratchet("example.org") {
		t.Errorf("the edit does not count: %+v", seen)
	}
	if err := os.Remove(s.Path()); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Seen("example.org"); ok || err != nil {
		t.Errorf("a file that is gone still counts: %v", err)
	}
}

// TestUnsafeFile: what others may write cannot be trusted, and is not taken for
// an empty file.
func TestUnsafeFile(t *testing.T) {
	s := openPins(t)
	if err := s.SetRatchet("example.org"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Path(), 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPins(s.Path()); err == nil || !strings.Contains(err.Error(), "chmod 600 "+s.Path()) {
		t.Errorf("opened: %v", err)
	}
	if _, _, err := s.Seen("example.org"); err == nil {
		t.Error("still read")
	}
	if !s.Ratchet("example.net") {
		t.Error("without a file to read, a login without binding passes")
	}
	if err := s.SetRatchet("example.net"); err == nil {
		t.Error("written over")
	}
	if err := os.Chmod(filepath.Dir(s.Path()), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPins(filepath.Join(filepath.Dir(s.Path()), "new")); err == nil {
		t.Error("opened where others may put another file")
	}
}

// TestUnwritable: what cannot be written is known as long as the program runs.
func TestUnwritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, err := OpenPins(filepath.Join(dir, "pins"))
	if err != nil {
		t.Fatal(err)
	}
	away := dir + "-away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if state, _, err := s.meet("example.org", keyA, march, true); err == nil || state != PinFirst {
		t.Errorf("%s, %v", state, err)
	}
	if state, _, err := s.meet("example.org", keyB, march, false); err == nil || state != PinNew {
		t.Errorf("%s, %v", state, err)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if state, _, err := s.meet("example.org", keyA, march, true); err != nil || state != PinKnown {
		t.Errorf("%s, %v", state, err)
	}
	again, err := OpenPins(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	if seen, _, _ := again.Seen("example.org"); !slices.Equal(seen.Keys, []string{keyA}) {
		t.Errorf("%+v", seen)
	}
}

func TestConcurrent(t *testing.T) {
	s := openPins(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	first := 0
	for i := range 8 {
		wg.Go(func() {
			for n := range 10 {
				domain := strings.Repeat("x", n+1) + ".example"
				state, _, err := s.meet(domain, keyA, march, true)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				if state == PinFirst {
					first++
				}
				mu.Unlock()
				if i%2 == 0 {
					_ = s.SetRatchet(domain)
				}
				_ = s.Ratchet(domain)
			}
		})
	}
	wg.Wait()
	if first != 10 {
		t.Errorf("%d first keys for 10 domains", first)
	}
	again, err := OpenPins(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		if !again.Ratchet(strings.Repeat("x", n+1) + ".example") {
			t.Error("lost an update")
		}
	}
}

// FuzzPins: any text is read without harm, what was understood is written so that
// it is understood the same, and no other line is lost.
func FuzzPins(f *testing.F) {
	for _, seed := range []string{"", pinHeader, "example.org " + keyA, "example.org first=2026-01-01 last=2026-02-02 plus " + keyA + " " + keyB + " # x",
		"a.b " + keyA + "\na.b " + keyB, "a.b sha256/\r\n\n\n", "\ufeff#", "a.b last=9", "bücher.example plus"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		table := parsePins(text)
		for domain, l := range table.byDomain {
			l.changed = true
			if l.err == nil && (domain != l.seen.Domain || !validKeys(l.seen.Keys)) {
				t.Fatalf("%q: %+v", domain, l.seen)
			}
		}
		out := table.render()
		again := parsePins(out)
		if len(again.byDomain) != len(table.byDomain) {
			t.Fatalf("%d domains in %q, %d in %q", len(table.byDomain), text, len(again.byDomain), out)
		}
		for domain, l := range table.byDomain {
			m := again.byDomain[domain]
			if m == nil || (l.err == nil) != (m.err == nil) {
				t.Fatalf("%q: %+v became %+v", domain, l, m)
			}
			if l.err == nil && (!slices.Equal(l.seen.Keys, m.seen.Keys) || l.seen.First != m.seen.First || l.seen.Last != m.seen.Last || l.seen.Plus != m.seen.Plus) {
				t.Fatalf("%q: %+v became %+v", domain, l.seen, m.seen)
			}
		}
		if third := again.render(); !bytes.Equal(third, out) {
			t.Fatalf("%q is rendered as %q", out, third)
		}
	})
}

func validKeys(keys []string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return CheckPin(k) != nil })
}
