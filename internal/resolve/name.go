package resolve

import (
	"strings"

	"xmpp-gw/policy"
)

// ToASCII gives the form of a JID's domain that DNS, TLS and SOCKS want, which is
// that of [policy.NormalizeDomain].
func ToASCII(domain string) (string, error) {
	ascii, err := policy.NormalizeDomain(domain)
	if err != nil {
		return "", &Error{Kind: ErrRefused, What: "the domain cannot be used", Why: err.Error(), Hint: "check its spelling", Err: err}
	}
	return ascii, nil
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
