package policy

import (
	"crypto/sha3"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// lookup maps case and width as UTS 46 says; hyphens in the third and fourth
// place are left alone, because there are such domains.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
	idna.StrictDomainName(true), idna.CheckHyphens(false))

var errDomain = errors.New("it is no valid domain name (RFC 5891)")

// NormalizeDomain brings a JID's domain to the form in which it is compared,
// looked up and matched against certificates: A-labels (RFC 5891) in lower case
// without the final dot; an IP literal stays one, without the brackets that a JID
// has around IPv6 (RFC 7622 §3.2.1) and never with a zone, and an IPv4 address that
// is written as IPv6 (RFC 4291 §2.5.5.2) is that IPv4 address, as a rule for one of
// them must hold for both. It changes nothing about its own results.
func NormalizeDomain(domain string) (string, error) {
	if len(domain) > 1023 { // RFC 7622 §3.2
		return "", errors.New("it has more than 1023 bytes (RFC 7622 §3.2)")
	}
	literal := domain
	if in, ok := strings.CutPrefix(domain, "["); ok {
		if literal, ok = strings.CutSuffix(in, "]"); !ok {
			return "", errDomain
		}
	}
	if ip, err := netip.ParseAddr(literal); err == nil {
		if ip.Zone() != "" {
			return "", errors.New("an address with a zone means something on one machine only")
		}
		return ip.Unmap().String(), nil
	}
	// Bytes that are no UTF-8 would be taken for U+FFFD.
	ascii, err := lookup.ToASCII(strings.TrimSuffix(domain, "."))
	if err != nil || strings.ContainsRune(domain, utf8.RuneError) || !IsHostname(ascii) {
		return "", errDomain
	}
	// A name that ends in a number is an address to some programs ("127.1",
	// "0177.0.0.1") and none to others. What is written in other digits may only
	// now be a plain one.
	if last := ascii[strings.LastIndexByte(ascii, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		ip, err := netip.ParseAddr(ascii)
		if err != nil {
			return "", errDomain
		}
		return ip.Unmap().String(), nil
	}
	return ascii, nil
}

// DisplayDomain is the form of a normalised domain that stands in XMPP addresses
// (RFC 7622 §3.2): U-labels, and brackets around IPv6. Where that would be
// another domain it stays as it is.
func DisplayDomain(domain string) string {
	if ip, err := netip.ParseAddr(domain); err == nil && ip.Is6() {
		return "[" + domain + "]"
	}
	unicode, err := idna.Lookup.ToUnicode(domain)
	if err != nil {
		return domain
	}
	return unicode
}

// IsHostname reports whether s is a name of letters, digits and hyphens (not at
// the ends of a label) within the lengths of RFC 1035 §2.3.4. DNS itself would
// carry any byte, but such a name is no host and has no business in a log or a
// SOCKS request.
func IsHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
			default:
				return false
			}
		}
	}
	return true
}

// CheckOnion says what is wrong with an onion address, nil if it is a version 3
// address whose checksum fits (Tor's rend-spec-v3 §6, "Encoding onion
// addresses"). Labels before the address are allowed, as Tor ignores them.
func CheckOnion(host string) error {
	name := strings.TrimSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".onion")
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	switch {
	case len(name) == 16:
		return errors.New("it is a version 2 onion address, which Tor no longer has since 2021: ask the operator for the new one of 56 characters")
	case len(name) != 56:
		return fmt.Errorf("an onion address has 56 characters before .onion, this one has %d", len(name))
	}
	raw, err := base32.StdEncoding.DecodeString(strings.ToUpper(name))
	if err != nil || len(raw) != 35 { // the decoder skips line ends
		return errors.New("an onion address has only the letters a to z and the digits 2 to 7")
	}
	key, sum, version := raw[:32], raw[32:34], raw[34]
	if version != 3 {
		return errors.New("it is not a version 3 onion address")
	}
	h := sha3.Sum256(append(append([]byte(".onion checksum"), key...), version))
	if sum[0] != h[0] || sum[1] != h[1] {
		return errors.New("its checksum does not fit: a character is mistyped or missing")
	}
	return nil
}
