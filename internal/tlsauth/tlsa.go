package tlsauth

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"xmpp-gw/internal/dane"
)

// wantsTLSA reports whether TLSA records may decide. An address that is the account's
// domain proves itself.
func (v *verifier) wantsTLSA() bool {
	return v.decision.TLS.UsesTLSA() && !v.decision.OnionProves(v.endpoint)
}

// noTLSA is a server without usable records where nothing else may prove it.
func (v *verifier) noTLSA(set *dane.Set) *Error {
	why := set.Missing
	if why == "" {
		why = "none of those that it has can be used"
	}
	return &Error{Kind: ErrTLSA, What: "TLS to the server of " + v.domain + " was not started",
		Why:  `tls = "dane-only" is set, and no TLSA records prove its key: ` + why,
		Hint: `ask its operator for DNSSEC and TLSA records, or set tls = "dane" in ` + v.section()}
}

// fits demands that the server's certificates fit a TLSA record, and says which (RFC
// 7673 §4.2). It is called where there is a usable one: a certificate that everybody
// else trusts is no way around it then.
func (v *verifier) fits(leaf *x509.Certificate, more []*x509.Certificate) (string, error) {
	has := namesOf(leaf)
	shown := append([]*x509.Certificate{readable(leaf, has)}, more...)
	trusted, _ := v.chains(leaf, more, has)
	var wrong error
	// First those that name the server's own key, which leave no room for another.
	records := slices.SortedStableFunc(slices.Values(v.records), func(a, b dane.Record) int { return cmp.Compare(rank(a), rank(b)) })
	for _, r := range records {
		if !r.Match(shown, trusted, v.now) {
			continue
		}
		if r.EndEntity() {
			v.noLogs, v.noLook = inDNS+"the key", inDNS+"the key"
			return fmt.Sprintf("%s %s", r, v.hosts[0]), nil // RFC 7671 §5.1: whatever else it says
		}
		ways := trusted
		if r.Usage == dane.DANETA {
			ways = [][]*x509.Certificate{shown}
		}
		name, err := v.named(has, ways)
		if err == nil {
			v.bounded(r, shown, trusted)
			return fmt.Sprintf("%s %s, %s", r, v.hosts[0], name), nil
		}
		wrong = err
	}
	if wrong != nil {
		return "", wrong
	}
	return "", &Error{Kind: ErrTLSA, What: "the server of " + v.domain + " has another key than DNS says",
		Why: fmt.Sprintf("it shows %s, which fits none of the TLSA records of %s (%s): either they are out of date, or somebody is in the middle",
			v.spki, v.hosts[0], usages(v.records)),
		Hint: "ask its operator over another way than this one"}
}

const inDNS = "not asked: TLSA records in DNS prove "

// bounded says what is still to be asked of the authority under a record that the
// server fits: whatever a certificate by itself would be asked, but for what the record
// rules out.
func (v *verifier) bounded(r dane.Record, shown []*x509.Certificate, trusted [][]*x509.Certificate) {
	v.way = shown
	through := slices.IndexFunc(trusted, func(way []*x509.Certificate) bool { return slices.ContainsFunc(way[1:], r.Names) })
	if through >= 0 {
		v.way = trusted[through]
	}
	switch r.Usage {
	case dane.PKIXEE:
		v.way, v.noLook = trusted[0], inDNS+"the key"
	case dane.DANETA:
		v.noLogs = inDNS + "the authority" // RFC 7671 §4.2
		if through < 0 {
			v.noLook = v.noLogs // it is the domain's own, and no public one
		}
	}
}

// rank is low for a record of the server's own key.
func rank(r dane.Record) int {
	if r.Usage == dane.DANEEE || r.Usage == dane.PKIXEE {
		return 0
	}
	return 1
}

// named demands that the certificate is for the account's domain, or for the host that
// the records are of: what named the host is proven (RFC 7673 §4.2).
func (v *verifier) named(has names, ways [][]*x509.Certificate) (string, error) {
	if form, name := has.match(v.domain, "xmpp-client"); form != "" && v.mayBe(form, ways) {
		return form + " " + printable(name, 260), nil
	}
	ids := names{dns: has.dns}
	for _, host := range v.hosts {
		if form, name := ids.match(host, ""); form != "" {
			return form + " " + printable(name, 260), nil
		}
	}
	return "", v.nameError(has)
}

// usages lists the usages of records.
func usages(records []dane.Record) string {
	words := make([]string, len(records))
	for i, r := range records {
		words[i] = r.String()
	}
	return strings.Join(words, ", ")
}
