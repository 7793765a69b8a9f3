package tlsauth

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"xmpp-gw/tests/lab"
)

func TestStaple(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ca, err := lab.NewCA()
	must(err)
	other, err := lab.NewCA()
	must(err)
	cert, err := ca.Leaf(lab.CALeaf{Names: []string{"a.test"}})
	must(err)
	signer, err := ca.Leaf(lab.CALeaf{OCSPSigning: true})
	must(err)
	expired, err := ca.Leaf(lab.CALeaf{OCSPSigning: true, Expired: true})
	must(err)
	stranger, err := other.Leaf(lab.CALeaf{OCSPSigning: true})
	must(err)
	sibling, err := ca.Leaf(lab.CALeaf{Names: []string{"b.test"}})
	must(err)
	chain := []*x509.Certificate{cert.Leaf, ca.Certificate()}
	now := time.Now()
	answer := func(ca *lab.CA, s lab.CAStaple) []byte {
		t.Helper()
		der, err := ca.Staple(cert.Leaf, s)
		must(err)
		return der
	}
	for name, c := range map[string]struct {
		answer []byte
		chain  []*x509.Certificate
		now    time.Time
		want   string
	}{
		"none":             {},
		"good":             {answer: answer(ca, lab.CAStaple{}), want: "good"},
		"revoked":          {answer: answer(ca, lab.CAStaple{Status: ocsp.Revoked}), want: "revoked"},
		"unknown":          {answer: answer(ca, lab.CAStaple{Status: ocsp.Unknown}), want: "unknown"},
		"of the future":    {answer: answer(ca, lab.CAStaple{Early: true}), want: "it is of the future"},
		"out of date":      {answer: answer(ca, lab.CAStaple{Expired: true}), want: "it is out of date"},
		"by a signer":      {answer: answer(ca, lab.CAStaple{By: &signer}), want: "good"},
		"by the server":    {answer: answer(ca, lab.CAStaple{By: &cert}), want: "its signer may not sign such answers"},
		"by a sibling":     {answer: answer(ca, lab.CAStaple{By: &sibling}), want: "its signer may not sign such answers"},
		"by a stranger":    {answer: answer(ca, lab.CAStaple{By: &stranger}), want: "its signer is not of the authority"},
		"by an old signer": {answer: answer(ca, lab.CAStaple{By: &expired}), want: "its signer's certificate is not valid now"},
		"other authority":  {answer: answer(other, lab.CAStaple{}), want: "its signature is not the authority's"},
		"garbage":          {answer: []byte("garbage"), want: "it cannot be used: "},
		"alone":            {answer: answer(ca, lab.CAStaple{}), chain: chain[:1], want: "its signer is not known, as the server sends no certificate of its authority"},
		"another's":        {answer: answer(ca, lab.CAStaple{}), chain: []*x509.Certificate{sibling.Leaf, ca.Certificate()}, want: "it cannot be used: "},
		"much later":       {answer: answer(ca, lab.CAStaple{}), now: now.Add(48 * time.Hour), want: "it is out of date"},
	} {
		if c.chain == nil {
			c.chain = chain
		}
		if c.now.IsZero() {
			c.now = now
		}
		got := Staple(c.answer, c.chain, c.now)
		if exact := !strings.HasSuffix(c.want, ": "); exact && got != c.want || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
