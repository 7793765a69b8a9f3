// Package address holds XMPP addresses (RFC 7622) as comparable values.
//
// An address is normalised once, by [Parse], and from then on compared with ==,
// used as the key of a map, and copied freely:
//
//	to, err := address.Parse("Romeo@Example.Net/orchard")
//	to.Bare() == address.New("romeo", "example.net", "") // true
//
// The rules are those of mellium.im/xmpp/jid. Most addresses on a stream are
// plain lower-case ASCII, which a scan of the bytes recognises without them.
package address

import (
	"errors"
	"fmt"

	"mellium.im/xmpp/jid"
)

// MaxPart is the most bytes that a part of an address may have (RFC 7622 §3.1).
const MaxPart = 1023

// Address is a normalised XMPP address, [LOCAL@]DOMAIN[/RESOURCE]. The zero
// value is no address.
type Address struct{ Local, Domain, Resource string }

// ErrEmpty is the error for an address of no characters.
var ErrEmpty = errors.New("the address is empty")

// Parse reads and normalises an address.
func Parse(s string) (Address, error) {
	if s == "" {
		return Address{}, ErrEmpty
	}
	if a, ok := parsePlain(s); ok {
		return a, nil
	}
	j, err := jid.Parse(s)
	if err != nil {
		return Address{}, fmt.Errorf("no valid address: %w", err)
	}
	return Address{j.Localpart(), j.Domainpart(), j.Resourcepart()}, nil
}

// ParseBytes is [Parse] for bytes that the caller keeps.
func ParseBytes(b []byte) (Address, error) { return Parse(string(b)) }

// Account is the bare address of an account, of a name as a person writes it. The
// domain is normalised already.
func Account(local, domain string) (Address, error) {
	a, err := Parse(local + "@" + domain)
	if err == nil && (a.Domain != domain || !a.IsBare()) {
		err = errors.New("no valid address: the name has characters that no name may have")
	}
	if err != nil {
		return Address{}, err
	}
	return a, nil
}

// WithResource is the full address of a resource, which is normalised here.
func (a Address) WithResource(resource string) (Address, error) {
	if resource == "" {
		return Address{}, errors.New("the resource is empty")
	}
	if len(resource) <= MaxPart && plainResource(resource) {
		return Address{a.Local, a.Domain, resource}, nil
	}
	j, err := jid.New(a.Local, a.Domain, resource)
	if err != nil {
		return Address{}, fmt.Errorf("no valid resource: %w", err)
	}
	return Address{a.Local, a.Domain, j.Resourcepart()}, nil
}

// Bare is the address without its resource.
func (a Address) Bare() Address { return Address{a.Local, a.Domain, ""} }

// Server is the address of the domain alone.
func (a Address) Server() Address { return Address{"", a.Domain, ""} }

// IsZero reports whether a is no address.
func (a Address) IsZero() bool { return a == Address{} }

// IsBare reports whether a names an account, without a resource.
func (a Address) IsBare() bool { return a.Local != "" && a.Resource == "" }

// IsFull reports whether a has a resource.
func (a Address) IsFull() bool { return a.Resource != "" }

// IsServer reports whether a is a domain alone.
func (a Address) IsServer() bool { return a.Local == "" && a.Resource == "" && a.Domain != "" }

// String is the address as it stands on a stream, "" for none.
func (a Address) String() string {
	switch {
	case a.Local == "" && a.Resource == "":
		return a.Domain
	case a.Local == "":
		return a.Domain + "/" + a.Resource
	case a.Resource == "":
		return a.Local + "@" + a.Domain
	}
	return a.Local + "@" + a.Domain + "/" + a.Resource
}

// Append appends the address as it stands on a stream. It is not escaped.
func (a Address) Append(dst []byte) []byte {
	if a.Local != "" {
		dst = append(append(dst, a.Local...), '@')
	}
	dst = append(dst, a.Domain...)
	if a.Resource != "" {
		dst = append(append(dst, '/'), a.Resource...)
	}
	return dst
}

// parsePlain reads an address that is its own normal form and needs no table to
// see that: lower-case ASCII letters, digits and a few signs. False says nothing
// about the address.
func parsePlain(s string) (Address, bool) {
	if len(s) > MaxPart { // each part is then within its bound
		return Address{}, false
	}
	at, slash := -1, -1
scan:
	for i := range len(s) {
		switch c := s[i]; {
		case c == '@':
			if at >= 0 {
				return Address{}, false
			}
			at = i
		case c == '/':
			slash = i
			break scan
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_' && at < 0:
		default:
			return Address{}, false
		}
	}
	var a Address
	rest := s
	if slash >= 0 {
		if a.Resource = s[slash+1:]; !plainResource(a.Resource) {
			return Address{}, false
		}
		rest = s[:slash]
	}
	if at >= 0 {
		if a.Local = rest[:at]; a.Local == "" {
			return Address{}, false
		}
		rest = rest[at+1:]
	}
	if a.Domain = rest; !plainDomain(rest) {
		return Address{}, false
	}
	return a, true
}

// plainResource accepts printable ASCII without spaces, which OpaqueString
// leaves as it is (RFC 8265 §4.2).
func plainResource(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// plainDomain accepts labels of letters, digits and inner hyphens that are no
// A-label, and no number, which could be an IPv4 address.
func plainDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	start, digits := 0, true
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if s[i] == '_' {
				return false
			}
			digits = digits && '0' <= s[i] && s[i] <= '9'
			continue
		}
		label := s[start:i]
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if len(label) > 3 && label[2:4] == "--" { // RFC 5890 §2.3.1: reserved
			return false
		}
		if i == len(s) {
			return !digits
		}
		start, digits = i+1, true
	}
	return false
}
