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

// validHost reports whether s is a host's name, in which DNS, unlike a JID, may
// also have underscores.
func validHost(s string) bool { return policy.IsHostname(strings.ReplaceAll(s, "_", "x")) }
