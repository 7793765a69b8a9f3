package dnssec

import (
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// proofs are the NSEC and NSEC3 records of a message that a zone has signed.
type proofs struct {
	zone  *zone
	nsec  []*dns.NSEC
	nsec3 []*hashed
	until time.Time // how long all of them hold
	why   string    // why the last one that was left out was
}

// denial is what proofs say about a question.
type denial struct {
	proven   bool
	gone     bool   // no such name, and none below it
	insecure string // proven, but an unsigned zone may be there all the same
	why      string // why it is not proven
}

// because is the reason as the rest of a sentence.
func (d denial) because() string {
	if d.why == "" {
		return ""
	}
	return " (" + d.why + ")"
}

func unprovenf(format string, args ...any) denial { return denial{why: fmt.Sprintf(format, args...)} }

// proofs checks the signatures of the NSEC and NSEC3 records of a message.
func (r *run) proofs(m *message, z *zone) (*proofs, error) {
	p := &proofs{zone: z, until: r.now.Add(maxKeep)}
	seen := 0
	for _, s := range m.authority.order {
		if s.rtype != dns.TypeNSEC && s.rtype != dns.TypeNSEC3 {
			continue
		}
		if seen++; seen > maxProofs {
			break
		}
		sig, err := r.verify(s, z)
		if spent(err) {
			return nil, err
		}
		if err != nil {
			p.why = err.Error()
			continue
		}
		if expanded(s, sig) {
			continue // a gap between names is not one between others
		}
		if u := r.until(s, sig); u.Before(p.until) {
			p.until = u
		}
		for _, rr := range s.rrs {
			switch n := rr.(type) {
			case *dns.NSEC:
				p.nsec = append(p.nsec, n)
			case *dns.NSEC3:
				if h := readHashed(n, z.name); h != nil {
					p.nsec3 = append(p.nsec3, h)
				}
			}
		}
	}
	return p, nil
}

// none is the denial when there is nothing to go by.
func (p *proofs) none() denial { return denial{why: p.why} }

// deny finds out whether name has no records of a type, be it that it does not
// exist.
func (r *run) deny(p *proofs, name string, qtype uint16) (denial, error) {
	if d := p.denyNSEC(name, qtype); d.proven || len(p.nsec3) == 0 {
		return d, nil
	}
	return r.denyNSEC3(p, name, qtype)
}

// noCloser finds out whether nothing is at name, nor between it and the wildcard
// that has so many labels above it.
func (r *run) noCloser(p *proofs, name string, labels int) (denial, error) {
	if d := p.noCloserNSEC(name, labels); d.proven || len(p.nsec3) == 0 {
		return d, nil
	}
	return r.noCloserNSEC3(p, name, labels)
}

// undelegated finds out, of a name that has no DS records, whether a zone begins
// there that is not signed.
func (r *run) undelegated(p *proofs, name string) (denial, error) {
	if d := p.undelegatedNSEC(name); d.proven || len(p.nsec3) == 0 {
		return d, nil
	}
	return r.undelegatedNSEC3(p, name)
}

// lacks reads from the types of a name that there are no records of a type: the
// common part of RFC 4035 §5.4 and RFC 5155 §8.5 to §8.7.
func lacks(types []uint16, name string, qtype uint16) denial {
	has := func(t uint16) bool { return slices.Contains(types, t) }
	switch {
	case has(qtype):
		return unprovenf("the proof itself says that %s has some", name)
	case has(dns.TypeCNAME):
		return unprovenf("an alias at %s was left out", name) // RFC 6840 §4.3
	case qtype == dns.TypeDS:
		return lacksDS(types, name)
	case qtype != dns.TypeDS && has(dns.TypeNS) && !has(dns.TypeSOA):
		// RFC 6840 §4.1: nor the parent what its child has.
		return unprovenf("the proof is that of the zone above %s", name)
	}
	return denial{proven: true}
}

// lacksDS is lacks for DS records: RFC 6840 §4.4 and RFC 5155 §8.6.
func lacksDS(types []uint16, name string) denial {
	switch {
	case slices.Contains(types, dns.TypeDS):
		return unprovenf("the proof itself says that %s has some", name)
	case slices.Contains(types, dns.TypeSOA) && name != ".":
		// The child cannot tell what its parent has.
		return unprovenf("the proof is that of %s, not of the zone above it", name)
	}
	return denial{proven: true}
}

// delegates reads from the types of a name without DS records whether an unsigned
// zone begins there. Where an alias is, none does.
func delegates(types []uint16, name string) denial {
	d := lacksDS(types, name)
	if d.proven && slices.Contains(types, dns.TypeNS) { // RFC 6840 §4.4
		d.insecure = "the zone " + name + " is not signed"
	}
	return d
}

// hides reports whether what is below a name with these types is not for its zone
// to tell: it is another zone's, or a DNAME stands there (RFC 6840 §4.1, RFC 5155
// §8.3, RFC 6672 §5.3.4.1).
func hides(types []uint16) bool {
	has := func(t uint16) bool { return slices.Contains(types, t) }
	return has(dns.TypeDNAME) || has(dns.TypeNS) && !has(dns.TypeSOA)
}
