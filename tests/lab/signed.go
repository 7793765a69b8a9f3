package lab

import (
	"cmp"
	"context"
	"crypto"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// SignedZone is a zone of a SignedTree. The delegation in the zone above, with its
// DS record, and the SOA and NS records are made by the tree.
type SignedZone struct {
	Name    string
	Records []string // lines of a zone file, with absolute names

	Unsigned  bool   // no keys, no signatures
	NoDS      bool   // signed, but the zone above does not say so
	Algorithm uint8  // zero: ECDSA P-256
	Digest    uint8  // of its DS record; zero: SHA-256
	NSEC3     bool   // else NSEC
	OptOut    bool   // with NSEC3: unsigned delegations have no record of their own
	Salt      string // with NSEC3
	Rounds    uint16 // with NSEC3: additional iterations

	Begin, End time.Time // of the signatures; zero: an hour before and a day after now

	Key *dns.DNSKEY // made by the tree

	signer crypto.Signer
	sets   map[string]map[uint16][]dns.RR // by name and type
	gaps   []string                       // owners of NSEC or hashed NSEC3 names, in order
	plain  map[string]string              // hash → name
}

// SignedTree is a resolver for zones that it signs itself: the whole DNS of a test,
// from a root of its own down. Its answers are right; a test that wants wrong ones
// changes them.
type SignedTree struct {
	now   time.Time
	zones []*SignedZone // the deepest first

	mu     sync.Mutex
	signed map[string]*dns.RRSIG
}

// SignTree makes a tree. A root is added when zones have none. It panics on records
// that are none, as that is a mistake in the test.
func SignTree(now time.Time, zones ...SignedZone) *SignedTree {
	t := &SignedTree{now: now, signed: map[string]*dns.RRSIG{}}
	if !slices.ContainsFunc(zones, func(z SignedZone) bool { return z.Name == "." }) {
		zones = append(zones, SignedZone{Name: "."})
	}
	for _, z := range zones {
		t.zones = append(t.zones, z.prepare(now))
	}
	slices.SortStableFunc(t.zones, func(a, b *SignedZone) int {
		return cmp.Compare(dns.CountLabel(b.Name), dns.CountLabel(a.Name))
	})
	for _, z := range t.zones {
		if z.Name == "." {
			continue
		}
		up := t.Zone(dnsUp(z.Name))
		up.add(must(dns.NewRR(z.Name + " 300 IN NS ns." + strings.TrimPrefix(z.Name, "."))))
		if !z.Unsigned && !z.NoDS {
			up.add(z.Key.ToDS(cmp.Or(z.Digest, dns.SHA256)))
		}
	}
	for _, z := range t.zones {
		z.chain(t)
	}
	return t
}

// must panics on the error of a record that the test has written wrong.
func must(rr dns.RR, err error) dns.RR {
	if err != nil || rr == nil {
		panic(fmt.Sprintf("no record: %v", err))
	}
	return rr
}

// Zone gives the zone that holds a name.
func (t *SignedTree) Zone(name string) *SignedZone {
	for _, z := range t.zones {
		if dns.IsSubDomain(z.Name, name) {
			return z
		}
	}
	panic("no root")
}

// Anchors are the trust anchors of the tree: the key of its root.
func (t *SignedTree) Anchors() []*dns.DS { return []*dns.DS{t.Zone(".").Key.ToDS(dns.SHA256)} }

// Section is the [dns] section of a gateway that asks server and trusts the tree's
// root, whose key goes to a file in dir.
func (t *SignedTree) Section(server, dir string) (string, error) {
	file := filepath.Join(dir, "root.key")
	var b strings.Builder
	for _, ds := range t.Anchors() {
		fmt.Fprintln(&b, ds)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("[dns]\nservers = [%q]\ntrust_anchors = %q\n", server, file), nil
}

// Files writes the zones with their signatures to files in dir, for another server to
// serve, and gives the files by the zones' names.
func (t *SignedTree) Files(dir string) (map[string]string, error) {
	files := map[string]string{}
	for _, z := range t.zones {
		var b strings.Builder
		for name, sets := range z.sets {
			for qtype := range sets {
				for _, rr := range t.with(z, name, qtype, "") {
					fmt.Fprintln(&b, rr)
				}
			}
		}
		files[z.Name] = filepath.Join(dir, "zone."+z.Name)
		if err := os.WriteFile(files[z.Name], []byte(b.String()), 0o600); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// prepare makes the key and the records that every zone has.
func (z SignedZone) prepare(now time.Time) *SignedZone {
	z.Name = dns.CanonicalName(z.Name)
	z.Algorithm = cmp.Or(z.Algorithm, dns.ECDSAP256SHA256)
	if z.Begin.IsZero() {
		z.Begin, z.End = now.Add(-time.Hour), now.Add(24*time.Hour)
	}
	z.sets = map[string]map[uint16][]dns.RR{}
	z.add(must(dns.NewRR(z.Name + " 300 IN SOA ns." + strings.TrimPrefix(z.Name, ".") + " root. 1 3600 600 86400 300")))
	z.add(must(dns.NewRR(z.Name + " 300 IN NS ns." + strings.TrimPrefix(z.Name, "."))))
	for _, line := range z.Records {
		z.add(must(dns.NewRR("$TTL 300\n" + line)))
	}
	if !z.Unsigned {
		z.Key, z.signer = newZoneKey(z.Name, z.Algorithm)
		z.add(z.Key)
	}
	return &z
}

// newZoneKey makes a key for a zone.
func newZoneKey(zone string, algorithm uint8) (*dns.DNSKEY, crypto.Signer) {
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
		Flags: 257, Protocol: 3, Algorithm: algorithm}
	bits := 256
	switch algorithm {
	case dns.ECDSAP384SHA384:
		bits = 384
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512:
		bits = 2048
	}
	private, err := k.Generate(bits)
	if err != nil {
		panic(err)
	}
	return k, private.(crypto.Signer)
}

// add puts a record in the zone.
func (z *SignedZone) add(rr dns.RR) {
	name := dns.CanonicalName(rr.Header().Name)
	rr.Header().Name = name
	if z.sets[name] == nil {
		z.sets[name] = map[uint16][]dns.RR{}
	}
	t := rr.Header().Rrtype
	z.sets[name][t] = append(z.sets[name][t], rr)
}

// chain makes the NSEC or NSEC3 records.
func (z *SignedZone) chain(t *SignedTree) {
	if z.Unsigned {
		return
	}
	z.plain = map[string]string{}
	names := map[string]bool{}
	for name, sets := range z.sets {
		if z.NSEC3 && z.OptOut && name != z.Name && sets[dns.TypeNS] != nil && sets[dns.TypeDS] == nil {
			continue
		}
		names[name] = true
		for up := name; z.NSEC3 && up != z.Name; up = dnsUp(up) {
			names[up] = true // RFC 5155 §7.1: empty names too
		}
	}
	for name := range names {
		if z.NSEC3 {
			hash := dns.HashName(name, dns.SHA1, z.Rounds, z.Salt)
			z.plain[hash] = name
			name = hash
		}
		z.gaps = append(z.gaps, name)
	}
	slices.SortFunc(z.gaps, func(a, b string) int {
		if z.NSEC3 {
			return cmp.Compare(a, b)
		}
		return dnsCompare(a, b)
	})
	for i, name := range z.gaps {
		next := z.gaps[(i+1)%len(z.gaps)]
		hdr := dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300}
		if !z.NSEC3 {
			z.add(&dns.NSEC{Hdr: hdr, NextDomain: next, TypeBitMap: z.types(name)})
			continue
		}
		hdr.Name, hdr.Rrtype = z.owner(name), dns.TypeNSEC3
		n := &dns.NSEC3{Hdr: hdr, Hash: dns.SHA1, Iterations: z.Rounds, SaltLength: uint8(len(z.Salt) / 2), Salt: z.Salt,
			HashLength: 20, NextDomain: next, TypeBitMap: z.types(z.plain[name])}
		if z.OptOut {
			n.Flags = 1
		}
		z.add(n)
	}
}

func (z *SignedZone) owner(hash string) string {
	return strings.ToLower(hash) + "." + strings.TrimPrefix(z.Name, ".")
}

// types is the bitmap of a name.
func (z *SignedZone) types(name string) []uint16 {
	var types []uint16
	sets := z.sets[name]
	for t := range sets {
		types = append(types, t)
	}
	if len(types) == 0 {
		return nil
	}
	if !z.NSEC3 {
		types = append(types, dns.TypeNSEC)
	}
	if sets[dns.TypeNS] == nil || sets[dns.TypeSOA] != nil || sets[dns.TypeDS] != nil || !z.NSEC3 {
		types = append(types, dns.TypeRRSIG)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// Sign makes a signature with the zone's key. Change, which may be nil, alters it
// before.
func (z *SignedZone) Sign(set []dns.RR, change func(*dns.RRSIG)) *dns.RRSIG {
	sig := &dns.RRSIG{Hdr: dns.RR_Header{Ttl: 300}, Algorithm: z.Algorithm, KeyTag: z.Key.KeyTag(), SignerName: z.Name,
		Inception: uint32(z.Begin.Unix()), Expiration: uint32(z.End.Unix())}
	if change != nil {
		change(sig)
	}
	if err := sig.Sign(z.signer, set); err != nil {
		panic(err)
	}
	return sig
}

// with gives a set and its signature, under another name where a wildcard stands
// for it.
func (t *SignedTree) with(z *SignedZone, name string, qtype uint16, as string) []dns.RR {
	set := z.sets[name][qtype]
	if len(set) == 0 {
		return nil
	}
	out := slices.Clone(set)
	delegation := name != z.Name && z.sets[name][dns.TypeNS] != nil && qtype != dns.TypeDS && qtype != dns.TypeNSEC
	if !z.Unsigned && !delegation {
		key := fmt.Sprint(z.Name, " ", name, " ", qtype)
		t.mu.Lock()
		sig := t.signed[key]
		if sig == nil {
			sig = z.Sign(set, nil)
			t.signed[key] = sig
		}
		t.mu.Unlock()
		out = append(out, sig)
	}
	for i := range out {
		out[i] = dns.Copy(out[i])
		if as != "" {
			out[i].Header().Name = as
		}
	}
	return out
}

// Exchange answers as a resolver that does not judge; it is a dnssec.Exchange.
func (t *SignedTree) Exchange(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	r := new(dns.Msg)
	r.SetReply(q)
	r.RecursionAvailable = true
	r.SetEdns0(1232, true)
	qtype := q.Question[0].Qtype
	name := dns.CanonicalName(q.Question[0].Name)
	for range 12 {
		target := t.step(r, name, qtype)
		if target == "" {
			break
		}
		name = target
	}
	return r, nil
}

// step answers for one name, and gives the next when it is an alias.
func (t *SignedTree) step(r *dns.Msg, name string, qtype uint16) (next string) {
	z := t.Zone(name)
	if qtype == dns.TypeDS && z.Name == name && name != "." {
		z = t.Zone(dnsUp(name))
	}
	for up := name; up != z.Name; {
		up = dnsUp(up)
		if d := z.sets[up][dns.TypeDNAME]; d != nil {
			r.Answer = append(r.Answer, t.with(z, up, dns.TypeDNAME, "")...)
			target := strings.TrimSuffix(name, up) + d[0].(*dns.DNAME).Target
			r.Answer = append(r.Answer, must(dns.NewRR(name+" 300 IN CNAME "+target)))
			return target
		}
	}
	at, as := name, ""
	if !z.exists(name) {
		up := dnsUp(name)
		for !z.exists(up) {
			up = dnsUp(up)
		}
		star := "*." + strings.TrimPrefix(up, ".")
		if z.sets[star] == nil {
			r.Rcode = dns.RcodeNameError
			r.Ns = append(r.Ns, t.with(z, z.Name, dns.TypeSOA, "")...)
			t.prove(r, z, name, star)
			return ""
		}
		at, as = star, name
		t.prove(r, z, name)
	}
	sets := z.sets[at]
	switch {
	case sets[qtype] != nil:
		r.Answer = append(r.Answer, t.with(z, at, qtype, as)...)
	case sets[dns.TypeCNAME] != nil:
		r.Answer = append(r.Answer, t.with(z, at, dns.TypeCNAME, as)...)
		return dns.CanonicalName(sets[dns.TypeCNAME][0].(*dns.CNAME).Target)
	default:
		r.Ns = append(r.Ns, t.with(z, z.Name, dns.TypeSOA, "")...)
		t.prove(r, z, at)
	}
	return ""
}

// exists reports whether a name is there, be it empty.
func (z *SignedZone) exists(name string) bool {
	for n := range z.sets {
		if dns.IsSubDomain(name, n) {
			return true
		}
	}
	return false
}

// prove adds what shows that names do not exist, or what they have.
func (t *SignedTree) prove(r *dns.Msg, z *SignedZone, names ...string) {
	if z.Unsigned {
		return
	}
	add := func(owner string, qtype uint16) {
		if !slices.ContainsFunc(r.Ns, func(rr dns.RR) bool { return rr.Header().Name == owner && rr.Header().Rrtype == qtype }) {
			r.Ns = append(r.Ns, t.with(z, owner, qtype, "")...)
		}
	}
	for _, name := range names {
		if !z.NSEC3 {
			add(z.gap(name), dns.TypeNSEC)
			continue
		}
		for up := name; ; up = dnsUp(up) {
			hash := dns.HashName(up, dns.SHA1, z.Rounds, z.Salt)
			add(z.owner(z.gap(hash)), dns.TypeNSEC3)
			if z.plain[hash] != "" {
				break
			}
		}
	}
}

// gap gives the owner of the gap that a name, or a hash, is in or begins.
func (z *SignedZone) gap(name string) string {
	found := z.gaps[len(z.gaps)-1]
	for _, g := range z.gaps {
		if z.NSEC3 && g > name || !z.NSEC3 && dnsCompare(g, name) > 0 {
			break
		}
		found = g
	}
	return found
}

// Gap gives the NSEC or NSEC3 record of a name, or of the gap where it would be,
// without its signature.
func (z *SignedZone) Gap(name string) []dns.RR {
	if !z.NSEC3 {
		return []dns.RR{dns.Copy(z.sets[z.gap(name)][dns.TypeNSEC][0])}
	}
	owner := z.owner(z.gap(dns.HashName(name, dns.SHA1, z.Rounds, z.Salt)))
	return []dns.RR{dns.Copy(z.sets[owner][dns.TypeNSEC3][0])}
}

// dnsUp is name without its first label.
func dnsUp(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// dnsCompare is the order of RFC 4034 §6.1 for names of plain letters.
func dnsCompare(a, b string) int {
	la, lb := dns.SplitDomainName(a), dns.SplitDomainName(b)
	slices.Reverse(la)
	slices.Reverse(lb)
	return slices.Compare(la, lb)
}
