package dnssec

import (
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// zone is a part of the tree and the keys that sign it.
type zone struct {
	name     string
	keys     map[keyID][]*dns.DNSKEY
	insecure string // why nobody signs it; empty when it is signed
}

type keyID struct {
	tag       uint16
	algorithm uint8
}

func (z *zone) describe() string {
	if z.name == "." {
		return "the root zone"
	}
	return "the zone " + z.name
}

// cut is what is known of a name: that a zone begins there, or that none does.
type cut struct {
	zone  *zone // nil: none
	empty bool  // and there is no name below either
	until time.Time
}

const (
	maxKeep = time.Hour
	maxCuts = 1024
)

// cached gives what is known of a name.
func (v *Validator) cached(name string, now time.Time) (cut, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, ok := v.cuts[name]
	return c, ok && now.Before(c.until)
}

// remember keeps what was proven.
func (v *Validator) remember(name string, c cut) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.cuts) >= maxCuts {
		clear(v.cuts) // it costs a few questions each, and no more
	}
	v.cuts[name] = c
}

// zone walks from the trust anchor down to the zone that name is in. It stops
// where the tree ceases to be signed, and the zone says so.
func (r *run) zone(name string) (*zone, error) {
	anchor := name
	for r.v.anchors[anchor] == nil {
		if anchor == "." {
			// RFC 4033 §5
			return nil, failuref(Indeterminate, "there is no trust anchor for %s", name)
		}
		anchor = parent(anchor)
	}
	var z *zone
	for n := dns.CountLabel(anchor); n <= dns.CountLabel(name); n++ {
		c, err := r.cut(last(name, n), z)
		if err != nil {
			return nil, err
		}
		if c.zone != nil {
			z = c.zone
		}
		if c.empty || z.insecure != "" {
			break
		}
	}
	return z, nil
}

// cut finds out whether a zone begins at name, in a signed zone; up is nil at the
// trust anchor.
func (r *run) cut(name string, up *zone) (cut, error) {
	if c, ok := r.v.cached(name, r.now); ok {
		return c, nil
	}
	if err := r.failed[name]; err != nil {
		return cut{}, err
	}
	var c cut
	var err error
	if up == nil {
		c, err = r.keys(name, r.v.anchors[name], r.now.Add(maxKeep))
	} else {
		c, err = r.delegation(name, up)
	}
	if err != nil {
		r.failed[name] = err
		return cut{}, err
	}
	r.v.remember(name, c)
	return c, nil
}

// delegation asks for the DS records of name, which the zone above signs.
func (r *run) delegation(name string, up *zone) (cut, error) {
	m, err := r.ask(name, dns.TypeDS)
	if err != nil {
		return cut{}, unavailable(err, "whether %s is signed could not be found out: %v", name, err)
	}
	set, _ := m.find(name, dns.TypeDS)
	if set == nil {
		return r.noDelegation(m, name, up)
	}
	sig, err := r.verify(set, up)
	if err != nil {
		return cut{}, err
	}
	c := cut{until: r.until(set, sig)}
	if set.rtype != dns.TypeDS {
		// An alias: nothing else is at this name (RFC 2181 §10.1), so no zone begins
		// here. Below a DNAME there is nothing at all (RFC 6672 §2.4).
		insecure, err := r.expansion(set, sig, m, up)
		if insecure != "" {
			c.zone = &zone{name: name, insecure: insecure}
		}
		c.empty = set.rtype == dns.TypeDNAME
		return c, err
	}
	if expanded(set, sig) {
		return cut{}, failuref(Bogus, "the DS records of %s come from a wildcard", name)
	}
	var known []*dns.DS
	for _, rr := range set.rrs {
		if ds, ok := rr.(*dns.DS); ok && knownAlgorithm(ds.Algorithm) && knownDigest(ds.DigestType) {
			known = append(known, ds)
		}
	}
	if len(known) == 0 {
		// RFC 4035 §5.2: as if it were not signed.
		c.zone = &zone{name: name, insecure: "the zone " + name + " is signed only with what proves nothing here (" + algorithmNames(set.rrs) + ")"}
		return c, nil
	}
	return r.keys(name, known, c.until)
}

// unavailable is the failure for something that could not be had; when the lookup
// is over it is that of the limit.
func unavailable(err error, format string, args ...any) error {
	if spent(err) {
		return err
	}
	return failuref(Indeterminate, format, args...)
}

// keys asks for the keys of a zone and checks them against the digests that the
// zone above, or the trust anchor, gives (RFC 4035 §5.2).
func (r *run) keys(name string, digests []*dns.DS, until time.Time) (cut, error) {
	z := &zone{name: name, keys: map[keyID][]*dns.DNSKEY{}}
	m, err := r.ask(name, dns.TypeDNSKEY)
	if err != nil {
		return cut{}, unavailable(err, "the keys of %s could not be had: %v", z.describe(), err)
	}
	set := m.answer.get(name, dns.TypeDNSKEY)
	if set == nil {
		return cut{}, failuref(Bogus, "%s should be signed but shows no keys", z.describe())
	}
	if len(set.rrs) > maxSet {
		return cut{}, overworked("%s has more than %d keys", z.describe(), maxSet)
	}
	for _, rr := range set.rrs {
		if k, ok := rr.(*dns.DNSKEY); ok && usable(k) {
			id := keyID{k.KeyTag(), k.Algorithm}
			z.keys[id] = append(z.keys[id], k)
		}
	}
	entry, err := r.entryPoints(z, digests)
	if err != nil {
		return cut{}, err
	}
	if len(entry.keys) == 0 {
		return cut{}, failuref(Bogus, "none of the keys of %s is the one that is vouched for", z.describe())
	}
	sig, err := r.verify(set, entry)
	if err != nil {
		return cut{}, err
	}
	if expanded(set, sig) {
		return cut{}, failuref(Bogus, "the keys of %s come from a wildcard", z.describe())
	}
	if u := r.until(set, sig); u.Before(until) {
		until = u
	}
	return cut{zone: z, until: until}, nil
}

// entryPoints picks the keys of a zone that a digest vouches for.
func (r *run) entryPoints(z *zone, digests []*dns.DS) (*zone, error) {
	strong := slices.ContainsFunc(digests, func(ds *dns.DS) bool { return ds.DigestType != dns.SHA1 })
	entry := &zone{name: z.name, keys: map[keyID][]*dns.DNSKEY{}}
	for _, ds := range digests {
		if strong && ds.DigestType == dns.SHA1 {
			continue // RFC 4509 §3
		}
		id := keyID{ds.KeyTag, ds.Algorithm}
		keys := z.keys[id]
		for _, k := range keys[:min(len(keys), maxColliding)] {
			if slices.Contains(entry.keys[id], k) {
				continue
			}
			if err := r.spend(); err != nil {
				return nil, err
			}
			if d := k.ToDS(ds.DigestType); d != nil && strings.EqualFold(d.Digest, ds.Digest) {
				entry.keys[id] = append(entry.keys[id], k)
			}
		}
	}
	return entry, nil
}

// noDelegation reads from the answer to a question for DS records that there are
// none, and whether a zone begins at name all the same: one that is not signed.
func (r *run) noDelegation(m *message, name string, up *zone) (cut, error) {
	p, err := r.proofs(m, up)
	if err != nil {
		return cut{}, err
	}
	d, err := r.undelegated(p, name)
	if err != nil {
		return cut{}, err
	}
	if !d.proven {
		return cut{}, failuref(Bogus, "nothing proves that %s is not signed%s", name, d.because())
	}
	c := cut{empty: d.gone, until: p.until}
	if d.insecure != "" {
		c.zone = &zone{name: name, insecure: d.insecure}
	}
	return c, nil
}
