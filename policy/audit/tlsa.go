package audit

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// association is one TLSA record (RFC 6698 §2.1).
type association struct {
	usage, selector, matching uint64
	data                      []byte
}

// parseTLSA reads "USAGE SELECTOR MATCHING HEX".
func parseTLSA(record string) (a association, ok bool) {
	f := strings.Fields(record)
	if len(f) < 4 {
		return a, false
	}
	for i, to := range []*uint64{&a.usage, &a.selector, &a.matching} {
		n, err := strconv.ParseUint(f[i], 10, 8)
		if err != nil {
			return a, false
		}
		*to = n
	}
	var err error
	a.data, err = hex.DecodeString(strings.Join(f[3:], ""))
	return a, err == nil && len(a.data) > 0 && a.usage <= 3 && a.selector <= 1 && a.matching <= 2
}

// names reports whether the association is with this certificate.
func (a association) names(c *x509.Certificate) bool {
	data := c.Raw
	if a.selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch a.matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, a.data)
}

// matches reports whether the chain that TLS showed is the one that the association
// asks for (RFC 6698 §2.1.1).
func (a association) matches(t *TLS, now time.Time) bool {
	switch a.usage {
	case 3: // DANE-EE: this key, whatever else the certificate says (RFC 7671 §5.1)
		return a.names(t.Chain[0])
	case 1: // PKIX-EE
		return t.ChainErr == "" && a.names(t.Chain[0])
	case 0: // PKIX-TA
		if t.ChainErr != "" {
			return false
		}
	}
	for _, c := range t.Chain[1:] {
		if a.names(c) && leadsTo(t.Chain, c, now) {
			return true
		}
	}
	return false
}

// leadsTo reports whether the chain's leaf was issued below the authority.
func leadsTo(chain []*x509.Certificate, authority *x509.Certificate, now time.Time) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(authority)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil
}

func notOnion(e *Endpoint) bool { return !e.At.Onion() }

func askTLSA(j *judge) {
	if j.noDNS() {
		return
	}
	j.eachTLS("endpoint with TLS and a name in DNS", func(e *Endpoint, target string) {
		a, asked := j.DNS.TLSA[fmt.Sprintf("%d %s", e.At.Port, e.At.Host)]
		switch {
		case !asked:
			j.unknown(target, "TLSA was not asked for")
			return
		case a.Security == Bogus:
			j.fail(target, "the TLSA answer is bogus: %s", a.Why)
			return
		case a.Err != "":
			j.unknown(target, "TLSA: %s", a.Err)
			return
		case a.Missing || len(a.Records) == 0:
			j.warn(target, "no TLSA record").at(Low)
			return
		case len(e.TLS.Chain) == 0:
			j.unknown(target, "no certificate was seen")
			return
		}
		usable := 0
		for _, r := range a.Records {
			if record, ok := parseTLSA(r); ok {
				usable++
				if record.matches(e.TLS, j.At) {
					if a.Security != Secure {
						j.warn(target, "%s matches, but DNS is not signed: it counts for nothing", r).at(Medium)
					} else {
						j.pass(target, "%s", r)
					}
					return
				}
			}
		}
		if usable == 0 {
			j.fail(target, "no TLSA record can be used: %s", list(a.Records, ""))
		} else {
			j.fail(target, "none matches the key: %s", list(a.Records, ""))
		}
	}, notOnion)
}
