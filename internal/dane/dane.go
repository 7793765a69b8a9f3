// Package dane compares the certificates that a server shows with the TLSA records
// of its host (RFC 6698, RFC 7671):
//
//	for _, r := range dane.Usable(all) {
//		if r.Match(chain, trusted, now) { … }
//	}
//
// It takes for granted that the records are proven: package resolve asks for them.
// Names and expiry are the caller's matter where [Record.EndEntity] does not say that
// they do not count.
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The usages (RFC 6698 §2.1.1, RFC 7218 §2.1).
const (
	PKIXTA uint8 = iota // an authority that must also be trusted otherwise
	PKIXEE              // a server's key, whose certificate must also be trusted otherwise
	DANETA              // an authority of the domain's own
	DANEEE              // the server's key, whatever else its certificate says
)

// The selectors and matching types (RFC 6698 §2.1.2 and §2.1.3).
const (
	certificate, publicKey  uint8 = 0, 1
	whole, sha2256, sha512s uint8 = 0, 1, 2
)

// Set is what is proven of the records at a port of a host.
type Set struct {
	// Records are all that there are, usable or not.
	Records []Record
	// Hosts are the names that a certificate may be for where a record says so: the
	// host, and the name that its aliases lead to (RFC 7671 §7).
	Hosts []string
	// Missing says why there are no records; empty where there are some.
	Missing string
}

// Record is one TLSA record.
type Record struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// Parse reads a record as a zone file has it: "USAGE SELECTOR MATCHING HEX". It need
// not be usable.
func Parse(text string) (r Record, ok bool) {
	f := strings.Fields(text)
	if len(f) < 4 {
		return r, false
	}
	for i, to := range []*uint8{&r.Usage, &r.Selector, &r.Matching} {
		n, err := strconv.ParseUint(f[i], 10, 8)
		if err != nil {
			return r, false
		}
		*to = uint8(n)
	}
	var err error
	r.Data, err = hex.DecodeString(strings.Join(f[3:], ""))
	return r, err == nil
}

// Text is the record as Parse reads it.
func (r Record) Text() string {
	return fmt.Sprintf("%d %d %d %x", r.Usage, r.Selector, r.Matching, r.Data)
}

// String is the name of the record's usage (RFC 7218 §2.1).
func (r Record) String() string {
	if int(r.Usage) >= len(usages) {
		return fmt.Sprintf("usage %d", r.Usage)
	}
	return usages[r.Usage]
}

var usages = [...]string{"PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE"}

// EndEntity reports whether neither the certificate's names nor its dates count
// (RFC 7671 §5.1).
func (r Record) EndEntity() bool { return r.Usage == DANEEE }

// CanUse reports whether all of the record's parts are known and its digest is as
// long as it must be (RFC 6698 §4.1).
func (r Record) CanUse() bool {
	if r.Usage > DANEEE || r.Selector > publicKey {
		return false
	}
	switch r.Matching {
	case whole:
		return len(r.Data) > 0
	case sha2256:
		return len(r.Data) == sha256.Size
	case sha512s:
		return len(r.Data) == sha512.Size
	}
	return false
}

// Usable gives the records that can be used. Of several digests of one usage and
// selector only the strongest counts (RFC 7671 §9).
func Usable(all []Record) []Record {
	strong := func(of Record) bool {
		return slices.ContainsFunc(all, func(r Record) bool {
			return r.CanUse() && r.Usage == of.Usage && r.Selector == of.Selector && r.Matching == sha512s
		})
	}
	var list []Record
	for _, r := range all {
		if r.CanUse() && !(r.Matching == sha2256 && strong(r)) {
			list = append(list, r)
		}
	}
	return list
}

// Names reports whether the record is of this certificate.
func (r Record) Names(c *x509.Certificate) bool {
	data := c.Raw
	if r.Selector == publicKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case sha2256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case sha512s:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, r.Data)
}

// Match reports whether the certificates that TLS showed, the server's first, are
// what the record asks for (RFC 6698 §2.1.1). Trusted are the ways from the server's
// certificate to an authority that is trusted without DNS, none where there is none;
// nothing is fetched.
func (r Record) Match(shown []*x509.Certificate, trusted [][]*x509.Certificate, now time.Time) bool {
	if !r.CanUse() || len(shown) == 0 {
		return false
	}
	switch r.Usage {
	case DANEEE:
		return r.Names(shown[0])
	case PKIXEE:
		return len(trusted) > 0 && r.Names(shown[0])
	case PKIXTA:
		return slices.ContainsFunc(trusted, func(way []*x509.Certificate) bool { return r.above(way, now) })
	}
	// RFC 7671 §5.2.2: the authority is among what the server shows.
	return r.above(shown, now)
}

// above reports whether an authority that the record names is in the chain, and the
// first certificate was issued below it.
func (r Record) above(chain []*x509.Certificate, now time.Time) bool {
	roots, between, named := x509.NewCertPool(), x509.NewCertPool(), false
	for _, c := range chain[1:] {
		if r.Names(c) {
			roots.AddCert(c)
			named = true
		} else {
			between.AddCert(c)
		}
	}
	if !named {
		return false
	}
	// Once for all that it names, as anybody can show hundreds with one key: the
	// signatures that are tried are bounded for each call.
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err == nil
}
