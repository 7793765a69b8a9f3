package policy

import (
	"crypto/sha3"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// NormalizeDomain brings a JID's domain to the form in which it is compared,
// looked up and matched against certificates: A-labels (RFC 5891) in lower case
// without the final dot; an IP literal stays one, without the brackets that a JID
// has around IPv6 (RFC 7622 §3.2.1).
func NormalizeDomain(domain string) (string, error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(domain, "["), "]")); err == nil {
		return ip.String(), nil
	}
	// Case and width are mapped as UTS 46 says; hyphens in the third and fourth
	// place are left alone, because there are such domains.
	profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
		idna.StrictDomainName(true), idna.CheckHyphens(false))
	ascii, err := profile.ToASCII(strings.TrimSuffix(domain, "."))
	if err != nil || !isHostname(ascii) {
		return "", errors.New("it is no valid domain name (RFC 5891)")
	}
	return ascii, nil
}

// DisplayDomain is the form of a normalised domain that stands in XMPP addresses
// (RFC 7622 §3.2.2): U-labels.
func DisplayDomain(domain string) string {
	unicode, err := idna.Lookup.ToUnicode(domain)
	if err != nil {
		return domain
	}
	return unicode
}

// isHostname reports whether s is a name of letters, digits, hyphens and
// underscores within the lengths of RFC 1035 §2.3.4. DNS itself would carry any
// byte, but such a name is no host and has no business in a log or a SOCKS
// request.
func isHostname(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
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
	if err != nil {
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
