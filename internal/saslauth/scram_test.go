package saslauth

import (
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"hash"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// The exchanges printed in RFC 5802 §5 and RFC 7677 §3.
func TestVectors(t *testing.T) {
	for _, v := range []struct {
		name                               string
		newHash                            func() hash.Hash
		nonce, first, server, final, proof string
	}{
		{
			"SCRAM-SHA-1", sha1.New, "fyko+d2lbbFgONRv9qkxdawL",
			"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
			"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
		},
		{
			"SCRAM-SHA-256", sha256.New, "rOprNGfwEbeRWgbNEkqO",
			"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			a := attempt{mechanism: v.name, family: family{v.name, v.newHash}, flag: 'n'}
			s, err := newSCRAM(a, nil, &Credentials{Username: "user", Password: []byte("pencil")})
			if err != nil {
				t.Fatal(err)
			}
			client, err := scram.HashGeneratorFcn(v.newHash).NewClient("user", "pencil", "")
			if err != nil {
				t.Fatal(err)
			}
			s.conv = client.WithNonceGenerator(func() string { return v.nonce }).NewConversation()
			if got, _ := s.start(); string(got) != v.first {
				t.Errorf("client-first %q", got)
			}
			got, err := s.next([]byte(v.server))
			if err != nil || string(got) != v.final {
				t.Errorf("client-final %q, %v", got, err)
			}
			if err := s.finish([]byte(v.proof)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestServerFirst(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"r=abc,s=QSXC,i=4096", ""},
		{"r=abc,s=QSXC,i=4096,h=eA==", ""},
		{"r=abc,s=QSXC,i=4096,x=unknown,d=older", ""}, // RFC 5802 §5.1: ignored
		{"r=abc,s=QSXC,i=4096,m=must", "demands an extension"},
		{"m=must,r=abc,s=QSXC,i=4096", "demands an extension"},
		{"r=abc,s=QSXC,i=4096,h=eA==,h=eA==", "two downgrade hashes"},
		{"s=QSXC,r=abc,i=4096", "not in their places"},
		{"r=abc,i=4096,s=QSXC", "not in their places"},
		{"r=abc,s=QSXC", "incomplete"},
		{"", "no name"},
		{"r=abc,s=QSXC,i=4096,", "no name"},
		{"r=abc,s=QSXC,i=4096,=", "no name"},
		{"r=abc,s=QSXC,i=4096,i=1", "does not belong"},
		{"r=abc,s=QSXC,i=4096,v=eA==", "does not belong"},
		{"r=abc,s=QSXC,i=4096,e=other-error", "does not belong"},
		{"r=a\x00c,s=QSXC,i=4096", "not printable"},
		{"r=é,s=QSXC,i=4096", "not printable"},
		{"r=abc,s=,i=4096", "salt"},
		{"r=abc,s=" + strings.Repeat("A", 516) + ",i=4096", "salt"},
		{"r=abc,s=QSXC,i=", "not a number"},
		{"r=abc,s=QSXC,i=+4096", "not a number"},
		{"r=abc,s=QSXC,i=04096", "not a number"},
		{"r=abc,s=QSXC,i=99999999999999999999", "not a number"},
		{"r=" + strings.Repeat("a", 2100), "too long"},
	} {
		_, err := parseServerFirst(c.in)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%.40q: %v", c.in, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%.40q: got %v, want %q", c.in, err, c.want)
		}
	}
}

// SASLprep maps what it knows (RFC 4013 §3) and lets what it does not know pass
// as it is, in the password only.
func TestPreparation(t *testing.T) {
	a := attempt{family: families[1], flag: 'n'}
	first := func(user, pass string) (string, error) {
		s, err := newSCRAM(a, nil, &Credentials{Username: user, Password: []byte(pass)})
		if err != nil {
			return "", err
		}
		b, err := s.start()
		return string(b), err
	}
	for _, c := range []struct{ user, want string }{
		{"I\u00adX", "n,,n=IX,r="},
		{"\u00aa", "n,,n=a,r="},
		{"a=b,c", "n,,n=a=3Db=2Cc,r="},
	} {
		if got, err := first(c.user, "x"); err != nil || !strings.HasPrefix(got, c.want) {
			t.Errorf("%q: %q, %v", c.user, got, err)
		}
	}
	for _, c := range []struct{ user, pass string }{{"a\u0007", "x"}, {"\u00ad", "x"}, {"", "x"}, {"a", ""}, {"a", "\u00ad"}} {
		_, err := first(c.user, c.pass)
		if !errors.Is(err, ErrCredentials) {
			t.Errorf("%q %q: %v", c.user, c.pass, err)
		} else if c.user != "" && strings.Contains(err.Error(), c.user+"\u0007") {
			t.Error("the error names the user")
		}
	}
	if _, err := first("a", "correct 🐴 battery"); err != nil {
		t.Errorf("an emoji in a password: %v", err)
	}
}

// The example of XEP-0474 §6.3.
func TestDowngradeHash(t *testing.T) {
	mechs := []string{"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"}
	types := []string{"tls-server-end-point", "tls-exporter"}
	const h = "G6k/rBLDqgOhRRaCuuatSDFkJ08="
	if err := checkDowngrade(h, sha1.New, mechs, types); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		h            string
		mechs, types []string
	}{
		"a mechanism is gone": {h, mechs[1:], types},
		"a type is gone":      {h, mechs, types[1:]},
		"the list is gone":    {h, mechs, nil},
		"not base64":          {"***", mechs, types},
		"empty":               {"", mechs, types},
	} {
		if err := checkDowngrade(c.h, sha1.New, c.mechs, c.types); !errors.Is(err, ErrDowngrade) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if mechs[0] != "SCRAM-SHA-1-PLUS" {
		t.Error("the offer was sorted in place")
	}
	if string(downgradeHash(sha1.New, mechs, nil)) == string(downgradeHash(sha1.New, mechs, []string{})) {
		t.Error("no list and an empty list hash alike")
	}
}
