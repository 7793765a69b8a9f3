package audit

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"

	"xmpp-gw/internal/dane"
)

// inDNS is an endpoint whose host is a name that DNS has.
func inDNS(e *Endpoint) bool {
	_, err := netip.ParseAddr(e.At.Host)
	return !e.At.Onion() && err != nil
}

// strayed reports whether anybody may have named the endpoint's host (RFC 7673 §3.1).
func (j *judge) strayed(e *Endpoint) bool {
	labels := []string{"_xmpp-client._tcp", "_xmpps-client._tcp"}
	if e.Service == S2S {
		labels = []string{"_xmpp-server._tcp", "_xmpps-server._tcp"}
	}
	return e.Source == "SRV" && slices.ContainsFunc(labels, func(l string) bool {
		a := j.DNS.SRV[l]
		return a.Security == Insecure || a.Security != Secure && len(j.DNS.Records[l]) > 0
	})
}

// record is the line that is missing, with the key that the server showed if its
// certificate is good: no other key is put into anybody's hands.
func (j *judge) record(e *Endpoint, security Security) map[string]string {
	if security == Insecure {
		return fix("", "", signZone+"; a TLSA record counts for something then")
	}
	if len(e.TLS.Chain) == 0 || e.TLS.ChainErr != "" || e.TLS.NameErr != "" {
		return j.question.fix
	}
	sum := sha256.Sum256(e.TLS.Chain[0].RawSubjectPublicKeyInfo)
	return fix("", "", fmt.Sprintf("zone: _%d._tcp.%s. 3600 IN TLSA 3 1 1 %x  ; in a signed zone, if that is the key on the server; another for the next key before it is used",
		e.At.Port, e.At.Host, sum))
}

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
			j.fail(target, "the TLSA answer is bogus: %s", a.Why).Fix = fix("", "", renewZone)
			return
		case a.Err != "":
			j.unknown(target, "TLSA: %s", a.Err)
			return
		case a.Missing || len(a.Records) == 0:
			j.warn(target, "no TLSA record").at(Low).Fix = j.record(e, a.Security)
			return
		case len(e.TLS.Chain) == 0:
			j.unknown(target, "no certificate was seen")
			return
		}
		var records []dane.Record
		for _, text := range a.Records {
			if r, ok := dane.Parse(text); ok {
				records = append(records, r)
			}
		}
		if records = dane.Usable(records); len(records) == 0 {
			j.fail(target, "no TLSA record can be used: %s", list(a.Records, ""))
			return
		}
		var trusted [][]*x509.Certificate
		if e.TLS.Verified != nil {
			trusted = append(trusted, e.TLS.Verified)
		}
		for _, r := range records {
			switch {
			case !r.Match(e.TLS.Chain, trusted, j.At):
				continue
			case a.Security != Secure:
				j.warn(target, "%s matches, but DNS is not signed: it counts for nothing", r.Text()).at(Medium).Fix = fix("", "", signZone)
			case j.strayed(e):
				j.warn(target, "%s matches, but the SRV records that name the host are not proven: it counts for nothing", r.Text()).at(Medium).Fix = fix("", "", signZone)
			default:
				j.pass(target, "%s", r.Text())
			}
			return
		}
		j.fail(target, "no record matches the key, so that who uses DANE refuses: %s", list(a.Records, "")).Fix =
			fix("", "", "compare the records with the key on the server itself: if that is the one that was shown, the zone needs its record (TLSA 3 1 1 and the key's SHA-256); if not, somebody stands in between")
	}, inDNS)
}
