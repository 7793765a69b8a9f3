package probe

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// onionOf gathers what the endpoints at onion addresses showed.
func onionOf(target Target, endpoints []audit.Endpoint) *audit.Onion {
	seen := &audit.Onion{Address: target.Domain, Twin: target.Twin}
	tried := false
	for _, e := range endpoints {
		if !e.At.Onion() {
			continue
		}
		if !policy.IsOnion(seen.Address) {
			seen.Address = e.At.Host
		}
		ours := e.At.Host == seen.Address // not another of the domain's addresses
		if ours && !tried {
			tried, seen.Code, seen.Err = true, e.Code, e.Err
		}
		seen.Reached = seen.Reached || ours && (e.Plain != nil || e.TLS != nil || e.Secure != nil)
		looked := e.Witness != "" || e.WitnessErr != ""
		if ours && seen.FirstKey == "" && looked && e.TLS != nil && len(e.TLS.Chain) > 0 {
			seen.FirstKey, seen.SecondKey = tlsauth.SPKI(e.TLS.Chain[0]), e.Witness
		}
		for _, place := range clearnet(e, target.Domain) {
			if len(seen.Clearnet) < maxKept && !slices.Contains(seen.Clearnet, place) {
				seen.Clearnet = append(seen.Clearnet, place)
			}
		}
	}
	return seen
}

// clearnet is every name outside .onion that an endpoint showed, and where. The
// domain that was asked for is none: whoever asks knows it.
func clearnet(e audit.Endpoint, domain string) []string {
	var out []string
	add := func(where, name string) {
		host := hostIn(name)
		if host != "" && host != domain && !policy.IsOnion(host) && !strings.HasSuffix(host, ".invalid") {
			out = append(out, fmt.Sprintf("%s in %s", clip(host), where))
		}
	}
	if e.TLS != nil && len(e.TLS.Chain) > 0 {
		leaf := e.TLS.Chain[0]
		for _, name := range leaf.DNSNames {
			add("certificate", name)
		}
		for _, ip := range leaf.IPAddresses {
			add("certificate", ip.String())
		}
		for _, name := range slices.Concat(tlsauth.XMPPAddrs(leaf), leaf.EmailAddresses) {
			add("certificate", name)
		}
		for _, name := range tlsauth.SRVNames(leaf) { // "_xmpp-client.NAME" (RFC 4985 §2)
			_, host, _ := strings.Cut(name, ".")
			add("certificate", host)
		}
		for _, u := range leaf.URIs {
			add("certificate", u.String())
		}
		add("the certificate's common name", leaf.Subject.CommonName)
	}
	for where, s := range map[string]*audit.Stream{"stream before TLS": e.Plain, "stream": e.Secure, "stream for an unknown host": e.UnknownHost} {
		if s != nil {
			add(where, s.From)
			add("redirect", s.Elsewhere)
		}
	}
	if e.Registration != nil {
		for _, word := range strings.Fields(e.Registration.Instructions) {
			if strings.Contains(word, "://") || strings.Contains(word, "@") || strings.HasPrefix(word, "www.") {
				add("registration form", word)
			}
		}
	}
	slices.Sort(out)
	return out
}

// hostIn is the host in a name, an address or a URI, empty if there is none.
func hostIn(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		s = u.Hostname()
	}
	s = strings.TrimPrefix(s, "*.")
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		s = s[at+1:]
	}
	s, _, _ = strings.Cut(s, "/")
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	host, err := policy.NormalizeDomain(s)
	if err != nil || !strings.ContainsAny(host, ".:") {
		return ""
	}
	return host
}
