package onion

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(k.Marshal())
	if err != nil || again.Address() != k.Address() || !bytes.Equal(again.Marshal(), k.Marshal()) {
		t.Fatalf("read again: %v, %v", again, err)
	}
	if other, _ := NewKey(); other.Address() == k.Address() {
		t.Error("two keys are the same")
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := k.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if err := again.WriteFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a key was overwritten: %v", err)
	}
	if read, err := ReadKeyFile(path); err != nil || read.Address() != k.Address() {
		t.Errorf("from the file: %v, %v", read, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("a key that all may read: %v", err)
	}
	secret := k.Marshal()[tagSize:]
	shown := fmt.Sprintf("%v %+v %#v %s %q", k, k, k, k, k)
	if strings.Contains(shown, fmt.Sprint(secret[:4])[1:]) || strings.Count(shown, k.Address()) != 5 {
		t.Errorf("it prints as %s", shown)
	}
}

func TestKeyMistakes(t *testing.T) {
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	good := k.Marshal()
	edit := func(fn func([]byte) []byte) []byte { return fn(bytes.Clone(good)) }
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "has 0"},
		{"cut off", good[:95], "this one has 95"},
		{"longer", append(bytes.Clone(good), '\n'), "this one has 97"},
		{"the public one", k.public(), "this one has 64"},
		{"another tag", edit(func(b []byte) []byte { b[3] ^= 1; return b }), "begins with"},
		{"tag of another type", edit(func(b []byte) []byte { copy(b, "== ed25519v1-secret: type1 =="); return b }), "begins with"},
		{"damaged below", edit(func(b []byte) []byte { b[32] |= 1; return b }), "damaged"},
		{"damaged above", edit(func(b []byte) []byte { b[63] |= 0x80; return b }), "damaged"},
		{"v2", []byte("-----BEGIN RSA PRIVATE KEY-----\n"), "v2 onion service"},
	} {
		if _, err := ParseKey(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// The Tor Project's own address, and what people make of one.
func TestCheckAddress(t *testing.T) {
	const good = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
	for _, s := range []string{good, strings.ToUpper(good), " " + strings.TrimSuffix(good, ".onion") + "\n", "www." + good} {
		if got, err := CheckAddress(s); err != nil || got != good {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"":                                       "0 characters",
		"expyuzz4wqqyqhjn.onion":                 "v2 onion address",
		"3" + good[1:]:                           "mistyped",
		strings.Replace(good, "wid.", "wic.", 1): "version",
		strings.Replace(good, "2g", "1g", 1):     "digits 2 to 7",
		good[1:]:                                 "55 characters",
		"example.org":                            "no onion address",
		strings.Replace(good, "xa", "ax", 1):     "mistyped",
	} {
		if got, err := CheckAddress(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v, want %q", s, got, err, want)
		}
	}
}

func TestClientKey(t *testing.T) {
	k := clientKey(t)
	again, err := ParseClientKey(strings.ToLower(k.Line()) + "\n")
	if err != nil || again.Line() != k.Line() || again.Address() != k.Address() {
		t.Fatalf("read again: %v, %v", again, err)
	}
	if _, err := parseAuth(k.auth() + "\n"); err != nil {
		t.Error(err)
	}
	secret := k.Line()[strings.LastIndexByte(k.Line(), ':')+1:]
	if len(secret) != 52 || strings.Contains(fmt.Sprintf("%v %+v %#v", k, k, k), secret) {
		t.Errorf("a secret of %d characters, or it is printed", len(secret))
	}
	for name, line := range map[string]string{
		"empty":            "",
		"the public half":  k.auth(),
		"cut off":          k.Line()[:len(k.Line())-4],
		"mistyped address": "a" + k.Line()[1:56] + k.Line()[55:],
		"another kind":     strings.Replace(k.Line(), "x25519", "x448", 1),
		"not base32":       k.Line()[:len(k.Line())-1] + "1",
	} {
		if _, err := ParseClientKey(line); err == nil || strings.Contains(err.Error(), secret[:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, line := range []string{"", "descriptor:x25519:", k.Line(), k.auth()[:60]} {
		if _, err := parseAuth(line); err == nil {
			t.Errorf("%q is taken for an .auth file", line)
		}
	}
}
