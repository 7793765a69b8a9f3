package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// srvLabels are the services that a domain may name (RFC 6120 §3.2.1, XEP-0368 §2).
var srvLabels = []struct {
	label     string
	service   audit.Service
	transport policy.Transport
}{
	{"_xmpp-client._tcp", audit.C2S, policy.STARTTLS},
	{"_xmpps-client._tcp", audit.C2S, policy.DirectTLS},
	{"_xmpp-server._tcp", audit.S2S, policy.STARTTLS},
	{"_xmpps-server._tcp", audit.S2S, policy.DirectTLS},
}

// dns asks for everything that the domain's zone says about XMPP: first the
// services, then what hangs on their targets.
func (r *run) dns(ctx context.Context) *audit.DNS {
	seen := &audit.DNS{SRV: map[string]audit.Answer{}, Records: map[string][]audit.SRV{}, TLSA: map[string]audit.Answer{}}
	domain := r.target.Domain
	if _, err := netip.ParseAddr(domain); err == nil || isHere(domain) {
		return nil
	}
	var mu sync.Mutex // for the maps
	var wg sync.WaitGroup
	for _, s := range srvLabels {
		wg.Go(func() {
			answer, records := r.ask(ctx, s.label+"."+domain, dns.TypeSRV)
			mu.Lock()
			defer mu.Unlock()
			seen.SRV[s.label], seen.Records[s.label] = answer, targets(records)
		})
	}
	wg.Go(func() { seen.Address = r.addresses(ctx, domain) })
	wg.Go(func() { seen.CAA = r.caa(ctx, domain) })
	wg.Wait()

	hosts := map[string]*audit.Answer{}
	for label, list := range seen.Records {
		for i := range list {
			host := list[i].Target
			if host == "." || policy.IsOnion(host) || !isHost(host) || len(hosts) >= maxKept {
				continue
			}
			if hosts[host] == nil {
				hosts[host] = &audit.Answer{}
			}
			key := fmt.Sprintf("%d %s", list[i].Port, host)
			if _, asked := seen.TLSA[key]; !asked {
				seen.TLSA[key] = audit.Answer{}
			}
		}
		seen.Records[label] = list
	}
	if len(seen.TLSA) == 0 {
		// RFC 6120 §3.2.2: without records the domain itself is the host.
		for _, port := range []int{defaultPort(audit.C2S), defaultPort(audit.S2S)} {
			seen.TLSA[fmt.Sprintf("%d %s", port, domain)] = audit.Answer{}
		}
	}
	for host, answer := range hosts {
		wg.Go(func() { *answer = r.addresses(ctx, host) })
	}
	wg.Go(func() { r.tlsa(ctx, seen.TLSA, slices.Collect(maps.Keys(seen.TLSA))) })
	wg.Wait()
	for _, list := range seen.Records {
		for i := range list {
			if a := hosts[list[i].Target]; a != nil {
				list[i].Addresses = *a
			}
		}
	}
	return seen
}

// tlsa asks for the TLSA records of each "PORT HOST" in keys (RFC 7673 §3.1).
func (r *run) tlsa(ctx context.Context, seen map[string]audit.Answer, keys []string) {
	var mu sync.Mutex // for the map
	var wg sync.WaitGroup
	for _, key := range keys {
		wg.Go(func() {
			port, host, _ := strings.Cut(key, " ")
			answer, _ := r.ask(ctx, "_"+port+"._tcp."+host, dns.TypeTLSA)
			mu.Lock()
			defer mu.Unlock()
			seen[key] = answer
		})
	}
	wg.Wait()
}

// moreTLSA asks for those of endpoints that no SRV record named.
func (r *run) moreTLSA(ctx context.Context) {
	var keys []string
	for i := range r.seen.Endpoints { // which others are writing to
		at := r.seen.Endpoints[i].At
		key := fmt.Sprintf("%d %s", at.Port, at.Host)
		_, asked := r.seen.DNS.TLSA[key]
		_, noIP := netip.ParseAddr(at.Host)
		if !asked && !at.Onion() && noIP != nil && isHost(at.Host) && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	r.tlsa(ctx, r.seen.DNS.TLSA, keys)
}

func isHost(s string) bool { return policy.IsHostname(strings.ReplaceAll(s, "_", "x")) }

// defaultPort is that of RFC 6120 §3.2.2 and §14.7.
func defaultPort(s audit.Service) int {
	if s == audit.S2S {
		return 5269
	}
	return 5222
}

// ask puts one question.
func (r *run) ask(ctx context.Context, name string, qtype uint16) (audit.Answer, []dns.RR) {
	answer := audit.Answer{Name: name, Type: dns.TypeToString[qtype]}
	var found dnssec.Result
	what := "dns: " + answer.Type + " " + name
	answer.Err = r.step(ctx, what, func(ctx context.Context) (err error) {
		found, err = r.Lookup(ctx, name, qtype)
		return err
	})
	if answer.Err != "" {
		return answer, nil
	}
	answer.Security, answer.Why = standing(found.Security), clip(found.Why)
	answer.Missing, answer.CNAME = found.Missing, len(found.Aliases) > 0
	if len(found.Records) > maxKept && qtype != dns.TypeSRV { // of which a check says itself that they are many
		answer.Err = fmt.Sprintf("it has %d records, and %d are looked at", len(found.Records), maxKept)
	}
	for _, rr := range found.Records[:min(len(found.Records), maxKept)] {
		answer.Records = append(answer.Records, data(rr))
	}
	return answer, found.Records
}

// data is a record without its name, class and time to live. It is whole: an
// association that was cut would not match.
func data(rr dns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }

func standing(s dnssec.Security) audit.Security {
	switch s {
	case dnssec.Secure:
		return audit.Secure
	case dnssec.Insecure:
		return audit.Insecure
	case dnssec.Bogus:
		return audit.Bogus
	}
	return audit.Indeterminate
}

// targets reads SRV records, the best first, and one more than are kept, so that too
// many are seen to be.
func targets(records []dns.RR) []audit.SRV {
	var out []audit.SRV
	for _, rr := range records {
		if s, ok := rr.(*dns.SRV); ok {
			target := strings.ToLower(s.Target)
			if target != "." {
				target = strings.TrimSuffix(target, ".")
			}
			out = append(out, audit.SRV{Priority: s.Priority, Weight: s.Weight, Port: s.Port, Target: target})
		}
	}
	slices.SortStableFunc(out, func(a, b audit.SRV) int { return int(a.Priority) - int(b.Priority) })
	return out[:min(len(out), maxKept+1)]
}

// addresses asks for both families and puts the answers together: what is the worse
// of the two standings is that of both.
func (r *run) addresses(ctx context.Context, host string) audit.Answer {
	var v4, v6 audit.Answer
	var wg sync.WaitGroup
	wg.Go(func() { v4, _ = r.ask(ctx, host, dns.TypeA) })
	wg.Go(func() { v6, _ = r.ask(ctx, host, dns.TypeAAAA) })
	wg.Wait()
	both := v4
	both.Type = "A, AAAA"
	if worse(v6, v4) {
		both.Security, both.Why, both.Err = v6.Security, v6.Why, v6.Err
	}
	both.Missing, both.CNAME = v4.Missing && v6.Missing, v4.CNAME || v6.CNAME
	both.Records = slices.Concat(v6.Records, v4.Records)
	if len(both.Records) > 0 {
		both.Err = ""
	}
	return both
}

// worse compares what two answers are worth.
func worse(a, b audit.Answer) bool {
	rank := func(x audit.Answer) int {
		if x.Err != "" {
			return 1 // what is forged is worse than what is not there
		}
		return 2 * slices.Index([]audit.Security{audit.Bogus, audit.Indeterminate, audit.Insecure, audit.Secure}, x.Security)
	}
	return rank(a) < rank(b)
}

// caa climbs from the domain to the first name that says who may issue certificates
// (RFC 8659 §3). What is not known ends the climb: above it nothing would count.
func (r *run) caa(ctx context.Context, domain string) audit.Answer {
	first := audit.Answer{}
	for name, climbed := domain, 0; climbed < 10; climbed++ {
		answer, _ := r.ask(ctx, name, dns.TypeCAA)
		if first.Name == "" {
			first = answer
		}
		if answer.Err != "" || len(answer.Records) > 0 || answer.Security == audit.Bogus || answer.Security == audit.Indeterminate {
			return answer
		}
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		name = rest
	}
	return first
}

// hostMeta asks the domain's web server (XEP-0156 §2).
func (r *run) hostMeta(ctx context.Context) *audit.HostMeta {
	seen := &audit.HostMeta{}
	var found resolve.Documents
	if why := r.step(ctx, "host-meta", func(ctx context.Context) error {
		found = resolve.HostMeta{Dial: r.Dialer, Roots: r.Roots}.All(ctx, r.target.Domain)
		return nil // each form has its own
	}); why != "" {
		seen.XMLErr, seen.JSONErr = why, why
		return seen
	}
	describe := func(err error) (string, bool) {
		switch {
		case err == nil:
			return "", false
		case errors.Is(err, resolve.ErrNoHostMeta):
			return clip(err.Error()), true
		}
		return clip(reason(err)), false
	}
	seen.XMLErr, seen.XMLMissing = describe(found.XMLErr)
	seen.JSONErr, seen.JSONMissing = describe(found.JSONErr)
	seen.XMLLinks, seen.JSONLinks, seen.Native = links(found.XML), links(found.JSON), found.Native
	few := func(n int, err *string) { // what is cut would hide a link
		if n > maxKept && *err == "" {
			*err = fmt.Sprintf("it has %d links, and %d are looked at", n, maxKept)
		}
	}
	few(len(found.XML), &seen.XMLErr)
	few(len(found.JSON), &seen.JSONErr)
	return seen
}

// links are the addresses of those that are for XMPP.
func links(all []resolve.Link) []string {
	var out []string
	for _, l := range all {
		switch l.Rel {
		case "urn:xmpp:alt-connections:websocket", "urn:xmpp:alt-connections:xbosh":
			out = append(out, l.Href)
		}
	}
	return clipAll(out)
}

// endpoints are the places to look at: those that were asked for, or those that SRV
// records and host-meta name, or the domain at the usual port.
func (r *run) endpoints(near map[string]bool) []audit.Endpoint {
	var out []audit.Endpoint
	count := map[audit.Service]int{}
	add := func(s audit.Service, at policy.Endpoint, source string) {
		same := func(e audit.Endpoint) bool { return e.At == at && e.Service == s }
		if count[s] > maxEndpoints || slices.ContainsFunc(out, same) {
			return
		}
		e := audit.Endpoint{At: at, Service: s, Source: source}
		count[s]++
		switch {
		case count[s] > maxEndpoints: // one stands for all of them
			e.Left, e.Err = true, fmt.Sprintf("like what comes behind it; there are more than %d places", maxEndpoints)
		case near[at.Host] && (source == "SRV" || source == "host-meta"):
			e.Left, e.Err = true, "others named it, and its address is of this machine or of a private network"
		}
		out = append(out, e)
	}
	asked := map[audit.Service][]policy.Endpoint{audit.C2S: r.target.Endpoints, audit.S2S: r.target.ServerEndpoints}
	for _, service := range []audit.Service{audit.C2S, audit.S2S} {
		if service == audit.S2S && !r.S2S {
			continue
		}
		if len(asked[service]) > 0 {
			for _, at := range asked[service] {
				add(service, at, "asked for")
			}
			continue
		}
		named := false // there are records, be it only "."
		for _, l := range srvLabels {
			if r.seen.DNS == nil || l.service != service {
				continue
			}
			for _, record := range r.seen.DNS.Records[l.label] {
				named = true
				if record.Port != 0 && elsewhere(record.Target) {
					add(service, policy.Endpoint{Transport: l.transport, Host: record.Target, Port: record.Port}, "SRV")
				}
			}
		}
		if !named {
			at := policy.Endpoint{Transport: policy.STARTTLS, Host: r.target.Domain, Port: uint16(defaultPort(service))}
			add(service, at, "default port")
			if at.Onion() { // for which no DNS could name the other
				at.Transport, at.Port = policy.DirectTLS, at.Port+1
				add(service, at, "default port")
			}
		}
		if service == audit.C2S {
			for _, at := range r.webSockets() {
				add(service, at, "host-meta")
			}
		}
	}
	return out
}

// elsewhere reports whether a host that a stranger named may be looked at: not if it
// is this machine or near it, which is none of theirs.
func elsewhere(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return !here(ip)
	}
	return isHost(host) && !isHere(host)
}

// isHere reports whether a name is every machine's own (RFC 6761 §6.3).
func isHere(name string) bool { return name == "localhost" || strings.HasSuffix(name, ".localhost") }

// webSockets are those that host-meta names, inside TLS.
func (r *run) webSockets() []policy.Endpoint {
	var out []policy.Endpoint
	if r.seen.HostMeta == nil {
		return nil
	}
	for _, link := range slices.Concat(r.seen.HostMeta.XMLLinks, r.seen.HostMeta.JSONLinks) {
		if at, err := policy.ParseEndpoint(link); err == nil && at.Transport == policy.WebSocket && elsewhere(at.Host) {
			out = append(out, at)
		}
	}
	return out
}
