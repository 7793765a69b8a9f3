package dnssec

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// hashed is an NSEC3 record whose names are ready for comparison.
type hashed struct {
	*dns.NSEC3
	owner, next string // base32hex in upper case, without the zone
}

const (
	optOut     = 1
	hashLength = 32 // of SHA-1 in base32hex
)

// readHashed checks what makes an NSEC3 record one of a zone that can be used:
// RFC 5155 §8.1 (SHA-1, the only hash there is) and §8.2 (no unknown flags).
func readHashed(n *dns.NSEC3, zone string) *hashed {
	if n.Hash != dns.SHA1 || n.Flags&^optOut != 0 || parent(n.Hdr.Name) != zone || n.Hdr.Name == zone {
		return nil
	}
	first, _, _ := strings.Cut(n.Hdr.Name, ".")
	h := &hashed{n, strings.ToUpper(first), strings.ToUpper(n.NextDomain)}
	if len(h.owner) != hashLength || len(h.next) != hashLength {
		return nil
	}
	return h
}

// covers reports whether a hash lies in the gap (RFC 5155 §8.3); the last gap goes
// around the end.
func (h *hashed) covers(hash string) bool {
	if len(hash) != hashLength {
		return false
	}
	if h.owner < h.next {
		return h.owner < hash && hash < h.next
	}
	return h.owner < hash || hash < h.next
}

// encloser is what NSEC3 records say about where a name would be.
type encloser struct {
	match  *hashed // of the name itself, which then exists
	name   string  // the longest name above it that exists
	gap    *hashed // that covers the name one label longer, which does not exist
	costly string  // nothing can be said, as the hashes would cost too much
}

// encloser is the proof of RFC 5155 §8.3.
func (r *run) encloser(p *proofs, name string) (e encloser, err error) {
	if e.costly = r.costly(p); e.costly != "" || !under(p.zone.name, name) {
		return e, nil
	}
	longer := ""
	for n := name; ; n = parent(n) {
		hash, err := r.hash(p, n)
		if err != nil {
			return e, err
		}
		if match := p.matching(hash); match != nil {
			if longer == "" {
				e.match = match
				return e, nil
			}
			if hides(match.TypeBitMap) {
				return e, nil
			}
			e.name = n
			break
		}
		if n == p.zone.name {
			return e, nil
		}
		longer = n
	}
	hash, err := r.hash(p, longer)
	if err != nil {
		return e, err
	}
	e.gap = p.covering(hash)
	return e, nil
}

// costly is the sentence for hashes that are not computed (RFC 9276 §3.2).
func (r *run) costly(p *proofs) string {
	for _, h := range p.nsec3 {
		if int(h.Iterations) > r.v.limits.Iterations {
			return fmt.Sprintf("%s hashes names %d times over, so that its denials prove nothing here", p.zone.describe(), h.Iterations)
		}
	}
	return ""
}

// hash is RFC 5155 §5, with the parameters of the first record: others are then not
// found by it, as §8.2 wants.
func (r *run) hash(p *proofs, name string) (string, error) {
	h := p.nsec3[0]
	key := fmt.Sprintf("%d %s %s", h.Iterations, h.Salt, name)
	if s, ok := r.hashed[key]; ok {
		return s, nil
	}
	if r.left.Hashes--; r.left.Hashes < 0 {
		return "", overworked("proving this takes more than %d hashed names", r.v.limits.Hashes)
	}
	s := dns.HashName(name, dns.SHA1, h.Iterations, h.Salt)
	r.hashed[key] = s
	return s, nil
}

// same reports whether a record is hashed like the first one.
func (p *proofs) same(h *hashed) bool {
	return h.Iterations == p.nsec3[0].Iterations && strings.EqualFold(h.Salt, p.nsec3[0].Salt)
}

func (p *proofs) matching(hash string) *hashed {
	for _, h := range p.nsec3 {
		if p.same(h) && h.owner == hash {
			return h
		}
	}
	return nil
}

func (p *proofs) covering(hash string) *hashed {
	for _, h := range p.nsec3 {
		if p.same(h) && h.covers(hash) {
			return h
		}
	}
	return nil
}

// optedOut is the sentence for a gap that may hold unsigned delegations: what it
// denies may be there all the same, in a zone that nobody signs (RFC 5155 §6, §9.2).
func (e encloser) optedOut(name string) string {
	if e.gap == nil || e.gap.Flags&optOut == 0 {
		return ""
	}
	return "the zone above " + name + " leaves out what is not signed (opt-out)"
}

// denyNSEC3 is RFC 5155 §8.4 to §8.7.
func (r *run) denyNSEC3(p *proofs, name string, qtype uint16) (denial, error) {
	e, err := r.encloser(p, name)
	switch {
	case err != nil:
		return denial{}, err
	case e.costly != "":
		return denial{proven: true, insecure: e.costly}, nil
	case e.match != nil:
		return lacks(e.match.TypeBitMap, name, qtype), nil // §8.5, §8.6
	case e.gap == nil:
		return p.none(), nil
	}
	insecure := e.optedOut(name)
	star := wildcard(e.name)
	hash, err := r.hash(p, star)
	if err != nil {
		return denial{}, err
	}
	if match := p.matching(hash); match != nil { // §8.7
		d := lacks(match.TypeBitMap, star, qtype)
		d.insecure = insecure
		return d, nil
	}
	if p.covering(hash) != nil { // §8.4
		return denial{proven: true, gone: true, insecure: insecure}, nil
	}
	if insecure != "" {
		// §8.6; and a name that exists only because an unsigned zone is below it has
		// no record of its own either (§7.1).
		return denial{proven: true, insecure: insecure}, nil
	}
	return unprovenf("the wildcard %s may stand for it", star), nil
}

// noCloserNSEC3 is RFC 5155 §8.8.
func (r *run) noCloserNSEC3(p *proofs, name string, labels int) (denial, error) {
	if costly := r.costly(p); costly != "" {
		return denial{proven: true, insecure: costly}, nil
	}
	hash, err := r.hash(p, last(name, labels+1))
	if err != nil {
		return denial{}, err
	}
	e := encloser{gap: p.covering(hash)}
	if e.gap == nil {
		return p.none(), nil
	}
	return denial{proven: true, insecure: e.optedOut(name)}, nil
}

// undelegatedNSEC3 is RFC 5155 §8.6 and §8.9.
func (r *run) undelegatedNSEC3(p *proofs, name string) (denial, error) {
	e, err := r.encloser(p, name)
	switch {
	case err != nil:
		return denial{}, err
	case e.costly != "":
		return denial{proven: true, insecure: e.costly}, nil
	case e.match != nil:
		return delegates(e.match.TypeBitMap, name), nil
	case e.gap == nil:
		return p.none(), nil
	}
	return denial{proven: true, gone: true, insecure: e.optedOut(name)}, nil
}
