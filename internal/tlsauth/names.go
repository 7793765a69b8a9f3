package tlsauth

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cryptoasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"xmpp-gw/policy"
)

// The names of other kinds that a subjectAltName may hold for XMPP.
var (
	oidSAN      = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXmppAddr = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5} // RFC 6120 §13.7.1.4
	oidDNSSRV   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7} // RFC 4985 §2
)

// maxName bounds what is read as one name (a JID has at most 3071 bytes, a
// domain in it 1023: RFC 7622 §3.1).
const maxName = 1023

// names are the identifiers of a certificate that count for XMPP. The common
// name is not among them (RFC 6120 §13.7.1.2.1, RFC 9525 §2).
type names struct {
	dns  []string     // DNS-ID
	ips  []netip.Addr // IP-ID, for a domain that is an address
	srv  []string     // SRV-ID, such as _xmpp-client.example.org
	xmpp []string     // XmppAddr
}

// namesOf collects the names of cert. A subjectAltName that cannot be read
// gives none of the other kinds.
func namesOf(cert *x509.Certificate) names {
	n := names{dns: cert.DNSNames}
	for _, ip := range cert.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			n.ips = append(n.ips, a.Unmap())
		}
	}
	for _, ext := range cert.Extensions {
		if ext.Id.Equal(oidSAN) {
			if srv, xmpp, err := otherNames(ext.Value); err == nil {
				n.srv, n.xmpp = srv, xmpp
			}
		}
	}
	return n
}

var errSAN = errors.New("malformed subjectAltName")

// otherNames reads the SRV names and XMPP addresses of a subjectAltName
// extension (RFC 5280 §4.2.1.6). A name of one of these kinds whose value has
// the wrong type or content is left out; a broken structure is an error.
func otherNames(der []byte) (srv, xmpp []string, err error) {
	in := cryptobyte.String(der)
	var list cryptobyte.String
	if !in.ReadASN1(&list, cryptoasn1.SEQUENCE) || !in.Empty() {
		return nil, nil, errSAN
	}
	otherName := cryptoasn1.Tag(0).ContextSpecific().Constructed()
	for !list.Empty() {
		var name cryptobyte.String
		var tag cryptoasn1.Tag
		if !list.ReadAnyASN1(&name, &tag) {
			return nil, nil, errSAN
		}
		if tag != otherName {
			continue
		}
		var oid asn1.ObjectIdentifier
		var value cryptobyte.String
		if !name.ReadASN1ObjectIdentifier(&oid) ||
			!name.ReadASN1(&value, cryptoasn1.Tag(0).ContextSpecific().Constructed()) || !name.Empty() {
			return nil, nil, errSAN
		}
		switch {
		case oid.Equal(oidDNSSRV):
			if s, ok := readText(value, cryptoasn1.IA5String); ok && isASCII(s) {
				srv = append(srv, s)
			}
		case oid.Equal(oidXmppAddr):
			if s, ok := readText(value, cryptoasn1.UTF8String); ok && utf8.ValidString(s) {
				xmpp = append(xmpp, s)
			}
		}
	}
	return srv, xmpp, nil
}

// readText reads a value that is one string of the given type.
func readText(value cryptobyte.String, tag cryptoasn1.Tag) (string, bool) {
	var text cryptobyte.String
	if !value.ReadASN1(&text, tag) || !value.Empty() || len(text) == 0 || len(text) > maxName || slices.Contains(text, 0) {
		return "", false
	}
	return string(text), true
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// The forms of a name, as they are shown.
const (
	formDNS      = "DNS-ID"
	formIP       = "IP-ID"
	formSRV      = "SRV-ID"
	formXMPPAddr = "XmppAddr"
)

// match finds the name that stands for domain (A-labels in lower case, or an
// address) and, in an SRV-ID, for the service "xmpp-client" or "xmpp-server"; both
// results are empty when there is none.
func (n names) match(domain, service string) (form, name string) {
	if ip, err := netip.ParseAddr(domain); err == nil {
		if slices.Contains(n.ips, ip.Unmap()) {
			return formIP, domain
		}
		return "", ""
	}
	for _, name := range n.dns {
		if matchDNS(name, domain) {
			return formDNS, name
		}
	}
	for _, name := range n.srv {
		// RFC 4985 §2: the service and a whole domain; there is no wildcard.
		if strings.EqualFold(name, "_"+service+"."+domain) {
			return formSRV, name
		}
	}
	for _, name := range n.xmpp {
		// RFC 6120 §13.7.1.4: a server's address is a domain alone, in U-labels.
		if d, err := policy.NormalizeDomain(name); err == nil && d == domain {
			return formXMPPAddr, domain
		}
	}
	return "", ""
}

// matchDNS compares a DNS-ID with a domain. A wildcard is the whole left-most
// label, stands for exactly one, and not for those right under a top-level
// domain (RFC 6125 §6.4.3, RFC 9525 §6.3).
func matchDNS(name, domain string) bool {
	if strings.EqualFold(name, domain) {
		return true
	}
	base, ok := strings.CutPrefix(name, "*.")
	if !ok || !strings.Contains(base, ".") {
		return false
	}
	_, rest, ok := strings.Cut(domain, ".")
	return ok && strings.EqualFold(base, rest)
}

func (n names) empty() bool { return len(n.dns)+len(n.ips)+len(n.srv)+len(n.xmpp) == 0 }

// list is what a person is shown of the names: a few, in safe characters, and
// of an account's address the domain only.
func (n names) list() string {
	all := slices.Concat(n.dns, n.srv)
	for _, addr := range n.xmpp {
		addr, _, _ = strings.Cut(addr, "/")
		all = append(all, addr[strings.IndexByte(addr, '@')+1:])
	}
	for _, ip := range n.ips {
		all = append(all, ip.String())
	}
	const most = 5
	shown := all[:min(len(all), most)]
	for i, s := range shown {
		shown[i] = printable(s, 64)
	}
	s := strings.Join(shown, ", ")
	if more := len(all) - len(shown); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
