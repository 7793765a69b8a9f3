package saslserver

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"xmpp-gw/internal/saslauth"
)

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of the standards. The last one has attributes that are only to be
// signed.
func TestVectors(t *testing.T) {
	tests := []struct {
		name, password            string
		hash                      Hash
		first, server, final, sig string
	}{
		{"RFC 5802 §5", "pencil", SHA1, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		{"RFC 7677 §3", "pencil", SHA256, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
			"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
		{"RFC 6120 §9.1.2", "r0m30myr0m30", SHA1, "n,,n=juliet,r=oMsTAAwAAAAMAAAANP0TAAAAAABPU0AA",
			"r=oMsTAAwAAAAMAAAANP0TAAAAAABPU0AAe124695b-69a9-4de6-9c30-b51b3808c59e,s=NjhkYTM0MDgtNGY0Zi00NjdmLTkxMmUtNDlmNTNmNDNkMDMz,i=4096",
			"c=biws,r=oMsTAAwAAAAMAAAANP0TAAAAAABPU0AAe124695b-69a9-4de6-9c30-b51b3808c59e,p=UA57tM/SvpATBkH2FXs0WDXvJYw=", "pNNDFVEQxuXxCoSEiW8GEZ+1RSo="},
		{"XEP-0474 §6.3", "pencil", SHA1, "p=tls-exporter,,n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6",
			"r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=",
			"c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,x=19C6532F-1CF4-4A27-A18D-DC9CEA41BBB3,p=M/SIDjT+dfcxUh89jZEypRvFxB4=",
			"MQrMPvv7yv4x4Cq4W4Ih25EqS2c="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, err := parseClientFirst([]byte(tt.first))
			if err != nil {
				t.Fatal(err)
			}
			final, err := parseClientFinal([]byte(tt.final))
			if err != nil {
				t.Fatal(err)
			}
			server := attributes(tt.server)
			if string(final.nonce) != server['r'] || !bytes.HasPrefix(final.binding, first.gs2) {
				t.Errorf("final read as %q", final)
			}
			keys, err := deriveKeys(tt.password, tt.hash, unb64(t, server['s']), 4096)
			if err != nil {
				t.Fatal(err)
			}
			message := string(first.bare) + "," + tt.server + "," + string(final.withoutProof)
			sig, ok := keys.verify([]byte(message), final.proof)
			if !ok || base64.StdEncoding.EncodeToString(sig) != tt.sig {
				t.Errorf("proof fits: %v, signature %x", ok, sig)
			}
			for i := range final.proof {
				wrong := bytes.Clone(final.proof)
				wrong[i] ^= 1
				if _, ok := keys.verify([]byte(message), wrong); ok {
					t.Fatalf("a proof with another byte %d fits", i)
				}
			}
			if h, ok := server['h']; ok {
				offered := []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}
				got := saslauth.DowngradeHash(tt.hash.new, offered, []string{"tls-server-end-point", "tls-exporter"})
				if base64.StdEncoding.EncodeToString(got) != h {
					t.Errorf("downgrade hash %x", got)
				}
			}
		})
	}
}

func TestClientMessages(t *testing.T) {
	good := []struct{ msg, user, authzid string }{
		{"n,,n=user,r=abc", "user", ""},
		{"y,,n=a=2Cb=3Dc,r=!~", "a,b=c", ""},
		{"p=tls-exporter,a=user@example.org,n=user,r=abc", "user", "user@example.org"},
		{"n,,n=user,r=abc,x=ignored,Z=too", "user", ""},
		{"n,,n=jürgen,r=abc", "jürgen", ""},
	}
	for _, tt := range good {
		f, err := parseClientFirst([]byte(tt.msg))
		if err != nil || f.user != tt.user || f.authzid != tt.authzid || string(f.gs2)+string(f.bare) != tt.msg {
			t.Errorf("%q read as %q, %v", tt.msg, f, err)
		}
	}
	bad := []string{
		"", ",", "n,,", "n,", "n", "n,,n=user", "n,,n=user,", "n,,n=user,r=", "n,,n=,r=abc", "n,,r=abc,n=user", "n=user,r=abc",
		"x,,n=user,r=abc", "n=x,,n=user,r=abc", "p,,n=user,r=abc", "p=,,n=user,r=abc", "p=tls_x,,n=user,r=abc", "Y,,n=user,r=abc",
		"n,user,n=user,r=abc", "n,a=,n=user,r=abc", "n,a=x=,n=user,r=abc",
		"n,,n=a=b,r=abc", "n,,n=a=2c,r=abc", "n,,n=a=,r=abc", "n,,n==,r=abc",
		"n,,n=user,r=a c", "n,,n=user,r=a\x7f", "n,,n=user,r=ü", "n,,n=user,r=" + strings.Repeat("a", maxNonce+1),
		"n,,n=\xff,r=abc", "n,,n=a\x00b,r=abc",
		"n,,m=x,n=user,r=abc", "n,,n=user,r=abc,m=x", "n,,n=user,r=abc,", "n,,n=user,r=abc,x", "n,,n=user,r=abc,x=", "n,,n=user,r=abc,1=x",
		"n,,n=user,r=abc,p=x", "n,,n=user,r=abc,r=x",
		"n,,n=" + strings.Repeat("a", maxMessage) + ",r=abc",
	}
	for _, msg := range bad {
		var f *saslauth.Failure
		if _, err := parseClientFirst([]byte(msg)); !errors.As(err, &f) || f.Condition != saslauth.MalformedRequest {
			t.Errorf("client-first %.60q: %v", msg, err)
		}
	}
	badFinal := []string{
		"", "c=biws", "c=biws,r=abc", "c=biws,r=abc,p=", "c=biws,r=abc,p=AA", "c=biws,r=abc,p=AA==,x=y", "c=,r=abc,p=AAAA", "r=abc,c=biws,p=AAAA",
		"c=bi ws,r=abc,p=AAAA", "c=biws,r=abc,p=AA\nAA", "c=biw,r=abc,p=AAAA", "c=biws,r=,p=AAAA", "c=biws,r=a b,p=AAAA", "c=biws,r=abc,p=AB==",
		"m=x,c=biws,r=abc,p=AAAA", "c=biws,r=abc,m=x,p=AAAA", "c=biws,r=abc,r=abc,p=AAAA", "c=biws,r=abc,c=biws,p=AAAA", "c=biws,r=abc,,p=AAAA",
		"c=biws,r=abc,x=y,p=" + strings.Repeat("AAAA", maxMessage/4),
	}
	for _, msg := range badFinal {
		var f *saslauth.Failure
		if _, err := parseClientFinal([]byte(msg)); !errors.As(err, &f) || f.Condition != saslauth.MalformedRequest {
			t.Errorf("client-final %.60q: %v", msg, err)
		}
	}
}

func TestNewKeys(t *testing.T) {
	for _, h := range Hashes() {
		a, err := NewKeys(password, h, 0)
		b, err2 := NewKeys(password, h, 0)
		if err != nil || err2 != nil || !a.usable(h) || a.Iterations != DefaultIterations || len(a.Salt) != saltSize || bytes.Equal(a.Salt, b.Salt) {
			t.Errorf("%v: %+v %v %v", h, a, err, err2)
		}
		if !matches(password, &a) || matches("Pencil", &a) || a.usable(0) {
			t.Errorf("%v: matches", h)
		}
		if again, ok := ParseHash(h.String()); !ok || again != h {
			t.Errorf("%v is read as %v", h, again)
		}
	}
	for _, bad := range []string{"", "a\x00b", "a\nb", "\xff", strings.Repeat("x", maxPassword+1), "\u202e"} {
		if _, err := NewKeys(bad, SHA256, 0); !errors.Is(err, ErrPassword) {
			t.Errorf("password %.20q: %v", bad, err)
		}
	}
	for _, i := range []int{1, minIterations - 1, maxIterations + 1, -1} {
		if _, err := NewKeys(password, SHA256, i); err == nil {
			t.Errorf("%d iterations", i)
		}
	}
	if _, err := NewKeys(password, 0, 0); err == nil {
		t.Error("no hash")
	}
	same := [][2]string{
		{"I\u00adX", "IX"}, {"\u2168", "IX"}, {"\u00aa", "a"}, // RFC 4013 §3
		{"a\u00a0b", "a b"}, {"e\u0301", "\u00e9"},
		{"\U0001fae0", "\U0001fae0"}, // younger than SASLprep
	}
	for _, s := range same {
		k, err := NewKeys(s[0], SHA256, minIterations)
		if err != nil || !matches(s[1], &k) {
			t.Errorf("%q does not match %q: %v", s[0], s[1], err)
		}
	}
}
