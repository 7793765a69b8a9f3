package policy

import (
	"crypto/ed25519"
	"crypto/sha3"
	"encoding/base32"
	"strings"
	"testing"
)

func TestNormalizeDomain(t *testing.T) {
	for in, want := range map[string]string{
		"example.org":             "example.org",
		"Example.ORG.":            "example.org",
		"bücher.example":          "xn--bcher-kva.example",
		"XN--BCHER-KVA.example":   "xn--bcher-kva.example",
		"faß.example":             "xn--fa-hia.example", // IDNA 2008, not "fass"
		"ｅｘａｍｐｌｅ。org":             "example.org",
		"r3---sn.example":         "r3---sn.example",
		"_xmpp.example":           "",
		"localhost":               "localhost",
		"127.0.0.1":               "127.0.0.1",
		"[127.0.0.1]":             "127.0.0.1",
		"127.0.0.1.":              "127.0.0.1",
		"１２７.0.0.1":               "127.0.0.1",
		"[2001:DB8::1]":           "2001:db8::1",
		"::ffff:192.0.2.1":        "192.0.2.1",
		"[::FFFF:7f00:1]":         "127.0.0.1",
		"::127.0.0.1":             "::7f00:1", // not mapped, and nobody's (RFC 4291 §2.5.5.1)
		strings.Repeat("a", 63):   strings.Repeat("a", 63),
		"":                        "",
		".":                       "",
		"a..b":                    "",
		".example.org":            "",
		"example.org..":           "",
		"-a.example":              "",
		"a-.example":              "",
		"a b.example":             "",
		"a\nb.example":            "",
		"a/b":                     "",
		"a@b.example":             "",
		"example.org:5222":        "",
		"[example.org]":           "",
		"[::1":                    "",
		"127.0.0.1]":              "",
		"fe80::1%eth0":            "",
		"[fe80::1%\n]":            "",
		"127.1":                   "",
		"0177.0.0.1":              "",
		"2130706433":              "",
		"a\u202e.example":         "",
		"\xff.example":            "",
		strings.Repeat("a", 64):   "",
		strings.Repeat("a.", 127): "a" + strings.Repeat(".a", 126),
		strings.Repeat("a.", 128): "",
		"xn--a.example":           "",
		"xn--bcher-kva\u200d.a":   "",
	} {
		got, err := NormalizeDomain(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

// What no domain can be is refused before the costly mapping.
func TestLongDomain(t *testing.T) {
	if _, err := NormalizeDomain(strings.Repeat("é", 512)); err == nil || !strings.Contains(err.Error(), "1023") {
		t.Errorf("%v", err)
	}
}

func TestDisplayDomain(t *testing.T) {
	for in, want := range map[string]string{
		"example.org":           "example.org",
		"xn--bcher-kva.example": "bücher.example",
		"2001:db8::1":           "[2001:db8::1]",
		"127.0.0.1":             "127.0.0.1",
		"xn--a.example":         "xn--a.example",
	} {
		if got := DisplayDomain(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// FuzzNormalizeDomain: what is normalised is a host, stays as it is, and is found
// again from the form that is shown.
func FuzzNormalizeDomain(f *testing.F) {
	for _, s := range []string{"Example.ORG.", "bücher.example", "[::1]", "127.0.0.1", "faß", "xn--fa-hia", "ｅｘ。org", "１.2.3.4", "a.1", "xn--1ch", "İ.example", "אב.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, err := NormalizeDomain(in)
		if err != nil {
			if name != "" {
				t.Fatalf("%q: %q beside an error", in, name)
			}
			return
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"<>&'/@%[]\`, r) }) {
			t.Fatalf("%q: %q is no host", in, name)
		}
		if again, err := NormalizeDomain(name); again != name || err != nil {
			t.Fatalf("%q: %q becomes %q, %v", in, name, again, err)
		}
		if shown, err := NormalizeDomain(DisplayDomain(name)); shown != name || err != nil {
			t.Fatalf("%q: shown as %q, which is %q, %v", in, DisplayDomain(name), shown, err)
		}
	})
}

// onionOf is the address of a key (rend-spec-v3 §6), made as a server makes it.
func onionOf(key ed25519.PublicKey, version byte) string {
	sum := sha3.Sum256([]byte(".onion checksum" + string(key) + string(version)))
	raw := append(append([]byte{}, key...), sum[0], sum[1], version)
	return strings.ToLower(base32.StdEncoding.EncodeToString(raw)) + ".onion"
}

func testOnion() string {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	return onionOf(key, 3)
}

func TestCheckOnion(t *testing.T) {
	good := testOnion()
	swapped := []byte(good)
	swapped[7], swapped[8] = swapped[8], swapped[7]
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	for in, want := range map[string]string{
		good:                               "",
		strings.ToUpper(good):              "",
		good + ".":                         "",
		"chat." + good:                     "",
		string(swapped):                    "checksum",
		"b" + good[1:]:                     "checksum",
		onionOf(key, 4):                    "not a version 3",
		"expyuzz4wqqyqhjn.onion":           "version 2",
		good[1:]:                           "has 55",
		"onion":                            "characters",
		"":                                 "has 0",
		"1" + good[1:]:                     "only the letters",
		strings.Repeat("\n", 56):           "only the letters",
		good[:48] + "\n\n\n\n\n\n\n\n":     "only the letters",
		strings.Repeat("a", 56) + ".onion": "not a version 3",
	} {
		err := CheckOnion(in)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
	if string(swapped) == good {
		t.Fatal("the mistyped address is the good one")
	}
}

func TestIsOnion(t *testing.T) {
	for in, want := range map[string]bool{
		"a.onion": true, "A.ONION.": true, "onion": true, "b.a.onion": true,
		"onion.example": false, "aonion": false, "": false, "a.onion.example": false,
	} {
		if IsOnion(in) != want {
			t.Errorf("%q: %v", in, !want)
		}
	}
}
