package dnssec

import (
	"slices"

	"github.com/miekg/dns"
)

// rrset are the records of one name and type, and the signatures on them.
type rrset struct {
	name  string // canonical
	rtype uint16
	rrs   []dns.RR
	sigs  []*dns.RRSIG
}

type setKey struct {
	name  string
	rtype uint16
}

// section is a part of a message, by name and type.
type section struct {
	sets  map[setKey]*rrset
	order []*rrset // those with records, as they came
}

// message is an answer. Its code (NXDOMAIN or not) is left out: nobody signs it.
type message struct {
	answer, authority section
}

// read sorts an answer.
func read(m *dns.Msg) *message {
	return &message{readSection(m.Answer), readSection(m.Ns)}
}

func readSection(rrs []dns.RR) section {
	s := section{sets: map[setKey]*rrset{}}
	at := func(name string, rtype uint16) *rrset {
		k := setKey{name, rtype}
		if s.sets[k] == nil {
			s.sets[k] = &rrset{name: name, rtype: rtype}
		}
		return s.sets[k]
	}
	for _, rr := range rrs {
		if rr == nil || rr.Header().Class != dns.ClassINET {
			continue
		}
		name := dns.CanonicalName(rr.Header().Name)
		if rr.Header().Name != name {
			// RFC 4034 §6.2: in lower case, or the records of a set would seem to be of
			// different names.
			rr = dns.Copy(rr)
			rr.Header().Name = name
		}
		if sig, ok := rr.(*dns.RRSIG); ok {
			set := at(name, sig.TypeCovered)
			set.sigs = append(set.sigs, sig)
			continue
		}
		set := at(name, rr.Header().Rrtype)
		set.rrs = append(set.rrs, rr)
		if len(set.rrs) == 1 {
			s.order = append(s.order, set)
		}
	}
	return s
}

// get gives a set that has records, or nil.
func (s section) get(name string, rtype uint16) *rrset {
	if set := s.sets[setKey{name, rtype}]; set != nil && len(set.rrs) > 0 {
		return set
	}
	return nil
}

// find gives the set of an answer that tells something about a name: the records
// asked for, or those of an alias and the name where it leads, which is empty when
// there is no such name.
func (m *message) find(name string, qtype uint16) (set *rrset, target string) {
	if set := m.answer.get(name, qtype); set != nil {
		return set, ""
	}
	if qtype == dns.TypeCNAME {
		qtype = dns.TypeNone
	}
	alias := m.answer.get(name, dns.TypeCNAME)
	if alias != nil && len(alias.sigs) > 0 {
		return follow(alias)
	}
	// RFC 6672 §5.3.1: the CNAME that a server makes of a DNAME is not signed; the
	// DNAME is, and says the same.
	for n := name; n != "."; {
		n = parent(n)
		if d := m.answer.get(n, dns.TypeDNAME); d != nil {
			dname, ok := d.rrs[0].(*dns.DNAME)
			if !ok || len(d.rrs) != 1 {
				return d, ""
			}
			return d, substitute(name, n, dname.Target)
		}
	}
	if alias != nil {
		return follow(alias)
	}
	return nil, ""
}

// follow gives an alias and its target. Two targets at one name are none
// (RFC 2181 §10.1).
func follow(alias *rrset) (*rrset, string) {
	cname, ok := alias.rrs[0].(*dns.CNAME)
	if !ok || len(alias.rrs) != 1 {
		return alias, ""
	}
	target, err := canonical(cname.Target)
	if err != nil {
		return alias, ""
	}
	return alias, target
}

// signers are the zones that claim to have signed a set, the closest first: names
// at or above its owner (RFC 4035 §5.3.1), or above it only.
func (s *rrset) signers(above bool) []string {
	return signersOf(s.sigs, s.name, above)
}

func signersOf(sigs []*dns.RRSIG, name string, above bool) []string {
	var names []string
	for _, sig := range sigs {
		n := dns.CanonicalName(sig.SignerName)
		if !under(n, name) || above && n == name && n != "." || slices.Contains(names, n) {
			continue
		}
		names = append(names, n)
	}
	slices.SortStableFunc(names, func(a, b string) int { return len(b) - len(a) })
	return names[:min(len(names), maxSigners)]
}

// deniers are the zones that claim to prove what name has not.
func (m *message) deniers(name string, above bool) []string {
	var sigs []*dns.RRSIG
	for _, s := range m.authority.order {
		if s.rtype == dns.TypeNSEC || s.rtype == dns.TypeNSEC3 {
			sigs = append(sigs, s.sigs...)
		}
	}
	return signersOf(sigs, name, above)
}
