package dnssec

import "github.com/miekg/dns"

// at gives the NSEC record of a name.
func (p *proofs) at(name string) *dns.NSEC {
	for _, n := range p.nsec {
		if n.Hdr.Name == name {
			return n
		}
	}
	return nil
}

// over gives an NSEC record in whose gap a name lies.
func (p *proofs) over(name string) *dns.NSEC {
	for _, n := range p.nsec {
		if p.covers(n, name) {
			return n
		}
	}
	return nil
}

// covers reports whether a name would stand between the owner of an NSEC record
// and the next name (RFC 4034 §4.1.1; the last one leads to the start of the zone).
func (p *proofs) covers(n *dns.NSEC, name string) bool {
	owner, next := n.Hdr.Name, dns.CanonicalName(n.NextDomain)
	if !under(p.zone.name, name) || !under(p.zone.name, next) || compare(owner, name) >= 0 {
		return false
	}
	if next != p.zone.name && compare(name, next) >= 0 {
		return false
	}
	return !below(owner, name) || !hides(n.TypeBitMap)
}

// closest is the number of labels of the longest name above a covered one that
// exists: both ends of the gap do, and so do all names above them.
func closest(n *dns.NSEC, name string) int {
	return max(common(n.Hdr.Name, name), common(dns.CanonicalName(n.NextDomain), name))
}

// emptyHere reports whether a covered name exists all the same, because the next
// name is below it (RFC 4035 §3.1.3.2, RFC 4592 §2.2.2).
func emptyHere(n *dns.NSEC, name string) bool { return below(name, dns.CanonicalName(n.NextDomain)) }

// denyNSEC is RFC 4035 §5.4.
func (p *proofs) denyNSEC(name string, qtype uint16) denial {
	if n := p.at(name); n != nil {
		return lacks(n.TypeBitMap, name, qtype)
	}
	gap := p.over(name)
	if gap == nil {
		return p.none()
	}
	if emptyHere(gap, name) {
		return denial{proven: true}
	}
	// The name is not there; now for the wildcard that would stand for it.
	star := wildcard(last(name, closest(gap, name)))
	if n := p.at(star); n != nil {
		return lacks(n.TypeBitMap, star, qtype)
	}
	if p.over(star) == nil {
		return unprovenf("the wildcard %s may stand for it", star)
	}
	return denial{proven: true, gone: true}
}

// noCloserNSEC is RFC 4035 §5.3.4.
func (p *proofs) noCloserNSEC(name string, labels int) denial {
	gap := p.over(name)
	if gap == nil || closest(gap, name) != labels {
		return p.none()
	}
	return denial{proven: true}
}

// undelegatedNSEC is RFC 4035 §5.2 with RFC 6840 §4.4. A wildcard needs no look: it
// delegates nothing (RFC 4592 §4.2).
func (p *proofs) undelegatedNSEC(name string) denial {
	if n := p.at(name); n != nil {
		return delegates(n.TypeBitMap, name)
	}
	gap := p.over(name)
	if gap == nil {
		return p.none()
	}
	return denial{proven: true, gone: !emptyHere(gap, name)}
}
