package dnssec

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// canonical gives the one spelling of a name that is used here: absolute, in lower
// case, with the escapes that miekg/dns writes.
func canonical(name string) (string, error) {
	var wire [256]byte
	off, err := dns.PackDomainName(dns.Fqdn(name), wire[:], 0, nil, false)
	if err != nil || name == "" || off > 255 {
		return "", errors.New("that is no DNS name")
	}
	name, _, err = dns.UnpackDomainName(wire[:off], 0)
	if err != nil {
		return "", errors.New("that is no DNS name")
	}
	return dns.CanonicalName(name), nil
}

// parent is name without its first label; the root is its own parent.
func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// under reports whether name is zone or below it.
func under(zone, name string) bool { return dns.IsSubDomain(zone, name) }

// below reports whether name is below zone and not zone itself.
func below(zone, name string) bool { return zone != name && under(zone, name) }

// last gives the name that the last n labels of name make.
func last(name string, n int) string {
	for extra := dns.CountLabel(name) - n; extra > 0; extra-- {
		name = parent(name)
	}
	return name
}

// common counts the labels that two names share at their end.
func common(a, b string) int { return dns.CompareDomainName(a, b) }

// wildcard is the name of the wildcard below name.
func wildcard(name string) string {
	if name == "." {
		return "*."
	}
	return "*." + name
}

// substitute puts target in the place of owner at the end of name (RFC 6672 §2.2).
// It is empty when the result would be too long.
func substitute(name, owner, target string) string {
	prefix := name
	if owner != "." {
		prefix = strings.TrimSuffix(name, owner)
	}
	if target == "." {
		target = ""
	}
	s, err := canonical(prefix + target)
	if err != nil {
		return ""
	}
	return s
}

// compare is the order of names in a zone (RFC 4034 §6.1): label by label from the
// end, as bytes in lower case.
func compare(a, b string) int {
	la, lb := labels(a), labels(b)
	for i := 1; i <= min(len(la), len(lb)); i++ {
		if c := bytes.Compare(la[len(la)-i], lb[len(lb)-i]); c != 0 {
			return c
		}
	}
	return len(la) - len(lb)
}

// labels gives the labels of a name as bytes.
func labels(name string) [][]byte {
	wire := make([]byte, 256)
	off, err := dns.PackDomainName(name, wire, 0, nil, false)
	if err != nil {
		return nil
	}
	var out [][]byte
	for wire = wire[:off]; len(wire) > 0 && wire[0] > 0; wire = wire[wire[0]+1:] {
		out = append(out, wire[1:wire[0]+1])
	}
	return out
}

// typeName is the name of a record type.
func typeName(t uint16) string {
	if s, ok := dns.TypeToString[t]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(t))
}
