package dnssec

import (
	"errors"
	"fmt"
	"io"

	"github.com/miekg/dns"
)

// RootAnchors are the keys of the root as IANA publishes them (RFC 9718): that of
// 2017, which signs, and that of 2024, which takes over.
func RootAnchors() []*dns.DS {
	ds := func(tag uint16, digest string) *dns.DS {
		return &dns.DS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeDS, Class: dns.ClassINET},
			KeyTag: tag, Algorithm: dns.RSASHA256, DigestType: dns.SHA256, Digest: digest}
	}
	return []*dns.DS{
		ds(20326, "e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d"),
		ds(38696, "683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16"),
	}
}

// maxAnchors is the most that a file may hold.
const maxAnchors = 64

// ParseAnchors reads trust anchors, DS or DNSKEY records in the form of a zone file
// such as Debian's /usr/share/dns/root.key. A file without any is an error.
func ParseAnchors(r io.Reader) ([]*dns.DS, error) {
	var anchors []*dns.DS
	zp := dns.NewZoneParser(r, ".", "")
	zp.SetDefaultTTL(0)
	for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
		switch a := rr.(type) {
		case *dns.DS:
			anchors = append(anchors, a)
		case *dns.DNSKEY:
			if !usable(a) {
				return nil, fmt.Errorf("trust anchors: the key %d of %s cannot be used (is it a zone key, not revoked, of a known algorithm?)", a.KeyTag(), a.Hdr.Name)
			}
			anchors = append(anchors, a.ToDS(dns.SHA256))
		default:
			return nil, fmt.Errorf("trust anchors: a %s record of %s is neither DS nor DNSKEY", typeName(rr.Header().Rrtype), rr.Header().Name)
		}
		if len(anchors) > maxAnchors {
			return nil, fmt.Errorf("trust anchors: more than %d", maxAnchors)
		}
	}
	if err := zp.Err(); err != nil {
		return nil, fmt.Errorf("trust anchors: %w", err)
	}
	if len(anchors) == 0 {
		return nil, errors.New("trust anchors: there is none (write DS or DNSKEY records as in a zone file)")
	}
	for _, ds := range anchors {
		if !knownAlgorithm(ds.Algorithm) || !knownDigest(ds.DigestType) {
			return nil, fmt.Errorf("trust anchors: the algorithm or digest of key %d of %s is unknown here", ds.KeyTag, ds.Hdr.Name)
		}
	}
	return anchors, nil
}
