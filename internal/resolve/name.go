package resolve

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// ToASCII gives the form of a JID's domain that DNS, TLS and SOCKS want: A-labels
// (RFC 5891) in lower case, without final dot. An IP literal, with or without
// the brackets that a JID has around IPv6 (RFC 7622 §3.2.1), is returned as the
// bare address.
func ToASCII(domain string) (string, error) {
	if ip, ok := literal(domain); ok {
		return ip.String(), nil
	}
	// Case and width are mapped as UTS 46 says; hyphens in the third and fourth
	// place are left alone, because there are such domains.
	profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
		idna.StrictDomainName(true), idna.CheckHyphens(false))
	ascii, err := profile.ToASCII(strings.TrimSuffix(domain, "."))
	if err != nil || !validHost(ascii) {
		return "", &Error{Kind: ErrRefused, What: "the domain cannot be used", Why: "it is no valid host name (RFC 5891)",
			Hint: "check its spelling", Err: errors.Join(err)}
	}
	return ascii, nil
}

// literal reads a domain that is an IP address.
func literal(domain string) (netip.Addr, bool) {
	if in, ok := strings.CutPrefix(domain, "["); ok {
		domain, ok = strings.CutSuffix(in, "]")
		if !ok {
			return netip.Addr{}, false
		}
	}
	ip, err := netip.ParseAddr(domain)
	return ip, err == nil
}

// isLocalhost reports whether host is this machine by definition (RFC 6761 §6.3).
func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// validHost reports whether s is a name of letters, digits, hyphens (not at the
// ends of a label) and underscores, within the lengths of RFC 1035 §2.3.4. DNS
// itself would carry any byte, but such a name is no host and has no business
// in a log or a SOCKS request.
func validHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
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
