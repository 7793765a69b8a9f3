package dane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"xmpp-gw/tests/lab"
)

// chain is a server's certificate, its authority, and another authority.
func chain(t *testing.T, l lab.CALeaf) (leaf, authority, other *x509.Certificate) {
	t.Helper()
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Leaf(l)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf, ca.Certificate(), stranger.Certificate()
}

// of makes the record of a certificate.
func of(usage, selector, matching uint8, c *x509.Certificate) Record {
	data := c.Raw
	if selector == publicKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case sha2256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case sha512s:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return Record{usage, selector, matching, slices.Clone(data)}
}

// Each usage with each selector and matching type, right and wrong.
func TestMatch(t *testing.T) {
	leaf, ca, other := chain(t, lab.CALeaf{Names: []string{"example.org"}})
	shown := []*x509.Certificate{leaf, ca}
	trusted := [][]*x509.Certificate{shown}
	for selector := range uint8(2) {
		for matching := range uint8(3) {
			for _, c := range []struct {
				what    string
				usage   uint8
				of      *x509.Certificate
				shown   []*x509.Certificate
				trusted [][]*x509.Certificate
				want    bool
			}{
				{"DANE-EE", DANEEE, leaf, shown, nil, true},
				{"DANE-EE, alone", DANEEE, leaf, shown[:1], nil, true},
				{"DANE-EE of the authority", DANEEE, ca, shown, trusted, false},
				{"DANE-EE of another", DANEEE, other, shown, trusted, false},
				{"DANE-TA", DANETA, ca, shown, nil, true},
				{"DANE-TA that is not shown", DANETA, ca, shown[:1], nil, false},
				{"DANE-TA of the leaf", DANETA, leaf, shown, trusted, false},
				{"DANE-TA of a stranger that is shown", DANETA, other, []*x509.Certificate{leaf, ca, other}, nil, false},
				{"PKIX-EE", PKIXEE, leaf, shown, trusted, true},
				{"PKIX-EE, not trusted", PKIXEE, leaf, shown, nil, false},
				{"PKIX-EE of another", PKIXEE, other, shown, trusted, false},
				{"PKIX-TA", PKIXTA, ca, shown, trusted, true},
				{"PKIX-TA that is not shown", PKIXTA, ca, shown[:1], trusted, true},
				{"PKIX-TA, not trusted", PKIXTA, ca, shown, nil, false},
				{"PKIX-TA of a stranger that is shown", PKIXTA, other, []*x509.Certificate{leaf, ca, other}, [][]*x509.Certificate{{leaf, ca, other}}, false},
				{"nothing shown", DANEEE, leaf, nil, trusted, false},
				{"usage 4", 4, leaf, shown, trusted, false},
			} {
				if got := of(c.usage, selector, matching, c.of).Match(c.shown, c.trusted, time.Now()); got != c.want {
					t.Errorf("%s, %d %d: %v", c.what, selector, matching, got)
				}
			}
		}
	}
}

// Dates count below an authority and not with the key itself.
func TestExpired(t *testing.T) {
	leaf, ca, _ := chain(t, lab.CALeaf{Names: []string{"example.org"}, Expired: true})
	shown := []*x509.Certificate{leaf, ca}
	if !of(DANEEE, 1, 1, leaf).Match(shown, nil, time.Now()) {
		t.Error("an expired certificate with the right key was refused")
	}
	if of(DANETA, 1, 1, ca).Match(shown, nil, time.Now()) {
		t.Error("an expired certificate below the right authority was taken")
	}
}

func TestUsable(t *testing.T) {
	d256, d512 := strings.Repeat("ab", 32), strings.Repeat("cd", 64)
	for _, c := range []struct {
		records []string
		want    string
	}{
		{[]string{"3 1 1 " + d256}, "3 1 1"},
		{[]string{"3 1 1 " + d256, "3 1 2 " + d512}, "3 1 2"},                                // RFC 7671 §9
		{[]string{"3 1 1 " + d256, "3 0 2 " + d512, "2 1 2 " + d512}, "3 1 1, 3 0 2, 2 1 2"}, // of other parameters
		{[]string{"3 1 1 " + d256, "3 1 2 " + d256, "3 1 2 zz", "3 1 2"}, "3 1 1"},           // the strong ones are broken
		{[]string{"3 1 0 00", "3 1 2 " + d512, "3 1 1 " + d256}, "3 1 0, 3 1 2"},
		{[]string{"3 1 1 " + d256[:62] + " " + d256[62:]}, "3 1 1"},
		{[]string{"4 1 1 " + d256, "3 2 1 " + d256, "3 1 3 " + d256, "3 1 1 " + d256[2:], "3 1 0", "255 1 1 " + d256, "256 1 1 " + d256, "-1 1 1 00", ""}, ""},
	} {
		var all []Record
		for _, text := range c.records {
			if r, ok := Parse(text); ok {
				if strings.ReplaceAll(text[strings.Index(text, " "):], " ", "") != strings.ReplaceAll(r.Text()[strings.Index(r.Text(), " "):], " ", "") {
					t.Errorf("%s is written as %s", text, r.Text())
				}
				all = append(all, r)
			}
		}
		var got []string
		for _, r := range Usable(all) {
			got = append(got, fmt.Sprintf("%d %d %d", r.Usage, r.Selector, r.Matching))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%v: %v, want %s", c.records, got, c.want)
		}
	}
	for usage, want := range []string{"PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE", "usage 4"} {
		if s := (Record{Usage: uint8(usage)}).String(); s != want {
			t.Errorf("usage %d is %s", usage, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("3 1 1 " + hex.EncodeToString(make([]byte, 32)))
	f.Add("2 0 0 00")
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := Parse(text)
		if again, fine := Parse(r.Text()); ok && len(r.Data) > 0 && (!fine || again.Text() != r.Text()) {
			t.Errorf("%q is %q, which is %q", text, r.Text(), again.Text())
		}
		Usable([]Record{r, r})
	})
}

// Whoever has no key can show hundreds of certificates with the key of a record's
// authority in them: telling that none of them signed anything must not take long.
func TestManyAuthorities(t *testing.T) {
	_, ca, _ := chain(t, lab.CALeaf{})
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := func(n int, subject pkix.Name, key any) *x509.Certificate {
		t.Helper()
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(n)), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"example.org"}}
		der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: ca.Subject}, key, own)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	shown := []*x509.Certificate{made(1, pkix.Name{CommonName: "example.org"}, own.Public())}
	for n := range 400 {
		shown = append(shown, made(n+2, ca.Subject, ca.PublicKey))
	}
	begin := time.Now()
	if of(DANETA, publicKey, sha2256, ca).Match(shown, nil, time.Now()) {
		t.Error("a certificate that the authority did not sign")
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}
