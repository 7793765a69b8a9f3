package dnssec

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// knownAlgorithm reports whether signatures of an algorithm are checked here.
// RSA/SHA-1 is not among them (RFC 9905 §2), nor what is only ever seen in tests.
func knownAlgorithm(a uint8) bool {
	switch a {
	case dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	return false
}

// knownDigest reports whether a DS digest is computed here. SHA-1 is for the zones
// that have no other (RFC 4509 §3).
func knownDigest(d uint8) bool {
	return d == dns.SHA1 || d == dns.SHA256 || d == dns.SHA384
}

// usable reports whether a key may sign records of a zone: RFC 4034 §2.1.1 and
// §2.1.2; RFC 5011 §2.1 for keys that are revoked.
func usable(k *dns.DNSKEY) bool {
	return k.Flags&dns.ZONE != 0 && k.Flags&dns.REVOKE == 0 && k.Protocol == 3 && knownAlgorithm(k.Algorithm)
}

// verify looks for a signature by a zone's keys under a set, and gives the one that
// holds. The error says why none does.
func (r *run) verify(s *rrset, z *zone) (*dns.RRSIG, error) {
	what := fmt.Sprintf("the %s records of %s", typeName(s.rtype), s.name)
	if len(s.rrs) > maxSet {
		return nil, overworked("%s are more than %d", what, maxSet)
	}
	if len(s.sigs) == 0 {
		return nil, failuref(Bogus, "%s have no signature", what)
	}
	// The last of these that comes up is told: each is closer to a good signature
	// than the one before.
	var byOther, noKey, late, wrong *failure
	for _, sig := range s.sigs {
		if dns.CanonicalName(sig.SignerName) != z.name || !under(z.name, s.name) {
			byOther = failuref(Bogus, "%s are not signed by %s", what, z.describe()) // RFC 4035 §5.3.1
			continue
		}
		if int(sig.Labels) > countLabels(s.name) {
			wrong = failuref(Bogus, "the signature on %s counts too many labels", what) // RFC 4035 §5.3.1
			continue
		}
		keys := z.keys[keyID{sig.KeyTag, sig.Algorithm}]
		if len(keys) == 0 {
			noKey = failuref(Bogus, "%s are signed with key %d (%s), which %s does not have", what, sig.KeyTag, algorithmName(sig.Algorithm), z.describe())
			continue
		}
		if why := r.outOfTime(sig); why != "" {
			late = failuref(Bogus, "the signature on %s %s", what, why)
			continue
		}
		for _, k := range keys[:min(len(keys), maxColliding)] {
			if err := r.spend(); err != nil {
				return nil, err
			}
			if wellFormed(sig) && sig.Verify(k, s.rrs) == nil {
				return sig, nil
			}
			wrong = failuref(Bogus, "the signature on %s is wrong", what)
			if r.left.Failures--; r.left.Failures < 0 {
				return nil, overworked("more than %d signatures of %s and above are wrong", r.v.limits.Failures, s.name)
			}
		}
	}
	for _, f := range []*failure{wrong, late, noKey, byOther} {
		if f != nil {
			return nil, f
		}
	}
	return nil, failuref(Bogus, "%s have no signature", what)
}

// spend takes one check from what the lookup may do.
func (r *run) spend() error {
	if r.left.Checks--; r.left.Checks < 0 {
		return overworked("proving this takes more than %d signature checks", r.v.limits.Checks)
	}
	if err := r.ctx.Err(); err != nil {
		return &failure{security: Indeterminate, why: "the time for proving this is over", spent: true}
	}
	return nil
}

// outOfTime says why a signature does not hold now; empty when it does.
func (r *run) outOfTime(sig *dns.RRSIG) string {
	// RFC 4034 §3.1.5: seconds modulo 2³², compared as serial numbers.
	now := uint32(r.now.Unix())
	switch {
	case int32(sig.Expiration-sig.Inception) < 0:
		return "ends before it begins"
	case int32(now-sig.Inception) < 0:
		return "is not valid before " + r.date(sig.Inception)
	case int32(sig.Expiration-now) < 0:
		return "expired on " + r.date(sig.Expiration)
	}
	return ""
}

// date writes a time of a signature, the one of its value that is closest to now.
func (r *run) date(t uint32) string {
	return r.expiry(t).UTC().Format(time.DateTime) + " UTC"
}

// expiry is a time of a signature as a time.
func (r *run) expiry(t uint32) time.Time {
	return r.now.Add(time.Duration(int32(t-uint32(r.now.Unix()))) * time.Second)
}

// wellFormed checks what miekg/dns leaves open: the length of an ECDSA signature
// (RFC 6605 §4).
func wellFormed(sig *dns.RRSIG) bool {
	b, err := base64.StdEncoding.DecodeString(sig.Signature)
	if err != nil || len(b) == 0 {
		return false
	}
	switch sig.Algorithm {
	case dns.ECDSAP256SHA256:
		return len(b) == 64
	case dns.ECDSAP384SHA384:
		return len(b) == 96
	}
	return true
}

// expanded reports whether a signed set stands for a wildcard: its owner has more
// labels than were signed (RFC 4035 §5.3.1 and §5.3.4).
func expanded(s *rrset, sig *dns.RRSIG) bool { return int(sig.Labels) < countLabels(s.name) }

// countLabels counts as RFC 4034 §3.1.3 does: without the root and a wildcard's
// asterisk.
func countLabels(name string) int {
	n := dns.CountLabel(name)
	if strings.HasPrefix(name, "*.") {
		n--
	}
	return n
}

// until is how long a proven set may be remembered.
func (r *run) until(s *rrset, sig *dns.RRSIG) time.Time {
	ttl := min(sig.OrigTtl, uint32(maxKeep/time.Second)) // RFC 4035 §5.3.3
	for _, rr := range s.rrs {
		ttl = min(ttl, rr.Header().Ttl)
	}
	t := r.now.Add(time.Duration(ttl) * time.Second)
	if e := r.expiry(sig.Expiration); e.Before(t) {
		return e
	}
	return t
}

// algorithmName is the name of an algorithm.
func algorithmName(a uint8) string {
	if s, ok := dns.AlgorithmToString[a]; ok {
		return s
	}
	return fmt.Sprintf("algorithm %d", a)
}

// algorithmNames lists the algorithms of DS records, for a sentence.
func algorithmNames(set []dns.RR) string {
	var names []string
	for _, rr := range set {
		if ds, ok := rr.(*dns.DS); ok && !slices.Contains(names, algorithmName(ds.Algorithm)) && len(names) < 4 {
			names = append(names, algorithmName(ds.Algorithm))
		}
	}
	return strings.Join(names, ", ")
}
