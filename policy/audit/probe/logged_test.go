package probe

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"xmpp-gw/internal/ct"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/tests/lab"
)

// What logs and the authority say of a certificate comes from the server into the
// findings: right, forged, and not at all.
func TestLogged(t *testing.T) {
	l := newLot(t)
	a, err := lab.NewCTLog("one", "log a")
	b, errB := lab.NewCTLog("two", "log b")
	if err != nil || errB != nil {
		t.Fatal(err, errB)
	}
	logs, err := ct.ParseList(lab.CTList(time.Now(), a, b))
	if err != nil {
		t.Fatal(err)
	}
	plain := lab.CALeaf{Names: []string{domain}}
	logged := lab.CALeaf{Names: []string{domain}, SCTs: lab.LoggedBy(a, b)}
	forged := lab.CALeaf{Names: []string{domain}, SCTs: func(e lab.CTEntry) [][]byte {
		e.TBS = append(bytes.Clone(e.TBS), 0)
		return lab.LoggedBy(a, b)(e)
	}}
	with := func(leaf lab.CALeaf, status int, change func(*tls.Certificate, lab.CAStaple)) tls.Certificate {
		c := l.cert(leaf)
		staple := lab.CAStaple{Status: status}
		if change != nil {
			change(&c, staple)
			return c
		}
		if c.OCSPStaple, err = l.ca.Staple(c.Leaf, staple); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, c := range map[string]struct {
		cert      tls.Certificate
		list      *ct.List
		from      string
		sct, ocsp audit.Verdict
	}{
		"in the certificate": {cert: with(logged, ocsp.Good, nil), list: logs, from: ct.InCertificate, sct: audit.Pass, ocsp: audit.Pass},
		"in TLS, revoked": {cert: with(plain, ocsp.Good, func(c *tls.Certificate, s lab.CAStaple) {
			c.SignedCertificateTimestamps = lab.LoggedBy(a, b)(lab.CTEntry{Certificate: c.Leaf.Raw})
			s.Status = ocsp.Revoked
			c.OCSPStaple, err = l.ca.Staple(c.Leaf, s)
		}), list: logs, from: ct.InTLS, sct: audit.Pass, ocsp: audit.Fail},
		"in the OCSP answer": {cert: with(plain, ocsp.Good, func(c *tls.Certificate, s lab.CAStaple) {
			s.SCTs = lab.LoggedBy(a, b)(lab.CTEntry{Certificate: c.Leaf.Raw})
			c.OCSPStaple, err = l.ca.Staple(c.Leaf, s)
		}), list: logs, from: ct.InOCSP, sct: audit.Pass, ocsp: audit.Pass},
		"forged":             {cert: with(forged, ocsp.Unknown, nil), list: logs, from: ct.InCertificate, sct: audit.Fail, ocsp: audit.Unknown},
		"of logs not listed": {cert: with(logged, ocsp.Good, nil), from: ct.InCertificate, sct: audit.Unknown, ocsp: audit.Pass},
		"none":               {cert: l.cert(plain), list: logs, sct: audit.Warn, ocsp: audit.Skip},
	} {
		host := "xmpp.test:5223"
		l.start(host, server{cert: c.cert, direct: true}.run)
		seen := look(t, Target{Domain: domain, Endpoints: []policy.Endpoint{at("tls://" + host)}}, Options{Dialer: l.net, Roots: l.ca.Pool(), Logs: c.list})
		i := slices.IndexFunc(seen.Endpoints, func(e audit.Endpoint) bool { return e.Service == audit.C2S })
		for _, s := range seen.Endpoints[i].TLS.SCTs {
			if s.From != c.from {
				t.Errorf("%s: %+v", name, s)
			}
		}
		for _, f := range audit.Judge(seen, audit.Checks()) {
			want, ok := map[string]audit.Verdict{"cert.sct": c.sct, "cert.revocation": c.ocsp}[f.ID]
			if ok && f.Verdict != want {
				t.Errorf("%s: %s", name, fmt.Sprint(f.ID, " ", f.Verdict, ": ", f.Evidence))
			}
		}
	}
}
