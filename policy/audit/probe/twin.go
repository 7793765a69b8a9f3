package probe

import (
	"context"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// maxTwins is how many places are tried to find the twin at.
const maxTwins = 3

// twin looks at the clearnet twin of an onion target as at any endpoint, once. Err
// of what it gives says why there is nothing to compare.
func (r *run) twin(ctx context.Context) *audit.Endpoint {
	domain, err := policy.NormalizeDomain(r.target.Twin)
	if err != nil {
		return &audit.Endpoint{Err: clip(err.Error())}
	}
	var seen *audit.Endpoint
	for _, at := range r.places(ctx, domain) {
		s := spot{at: at, service: audit.C2S, domain: domain, dialer: r.Dialer}
		seen = &audit.Endpoint{At: at, Service: audit.C2S}
		if seen.Err = r.within(ctx, 2*r.Step, "twin: "+s.what("stream"), func(ctx context.Context) error {
			_, err := r.first(ctx, s, seen)
			return err
		}); seen.Err != "" {
			continue
		}
		switch {
		case seen.TLS == nil || seen.TLS.Err != "" || seen.TLS.ChainErr != "" || seen.TLS.NameErr != "":
			seen.Err = "its certificate does not prove that it is the domain's"
		case seen.Secure == nil || seen.Secure.Err != "" || seen.Secure.Error != "":
			seen.Err = "it opens no stream inside TLS"
		default:
			return seen
		}
	}
	return seen
}

// places are where a domain's clients go, the best first.
func (r *run) places(ctx context.Context, domain string) []policy.Endpoint {
	var out []policy.Endpoint
	if r.Lookup != nil {
		for _, l := range srvLabels[:2] {
			_, records := r.ask(ctx, l.label+"."+domain, dns.TypeSRV)
			for _, t := range targets(records) {
				if t.Port != 0 && elsewhere(t.Target) && !policy.IsOnion(t.Target) && len(out) < maxTwins {
					out = append(out, policy.Endpoint{Transport: l.transport, Host: t.Target, Port: t.Port})
				}
			}
		}
	}
	if len(out) == 0 {
		out = append(out, policy.Endpoint{Transport: policy.STARTTLS, Host: domain, Port: uint16(defaultPort(audit.C2S))})
	}
	return out
}

// compareTwin writes down what strangers see to be the same at both.
func compareTwin(seen *audit.Onion, endpoints []audit.Endpoint, twin *audit.Endpoint) {
	if twin.Err != "" {
		seen.TwinErr = twin.Err
		return
	}
	i := slices.IndexFunc(endpoints, func(e audit.Endpoint) bool { return e.At.Onion() && e.Service == audit.C2S && shown(&e) != nil })
	if i < 0 {
		seen.TwinErr = "the onion service opened no stream"
		return
	}
	ours := &endpoints[i]
	seen.TwinDiffers = differences(ours, twin)
	same := len(seen.TwinDiffers) == 0
	seen.TwinSame = &same
	seen.TwinProof = together(seen, ours, twin)
}

// shown is the stream of an endpoint that shows the most.
func shown(e *audit.Endpoint) *audit.Stream {
	for _, s := range []*audit.Stream{e.Secure, e.Plain} {
		if s != nil && s.Err == "" && s.Error == "" {
			return s
		}
	}
	return nil
}

// differences are what two endpoints do not share of what a server's software and
// its configuration make. TLS is not among it: at an onion address there may be none.
func differences(a, b *audit.Endpoint) []string {
	var out []string
	compare := func(what, x, y string) {
		if x != y {
			out = append(out, clip(what+": "+orNone(x)+" here, "+orNone(y)+" there"))
		}
	}
	x, y := shown(a), shown(b)
	compare("software in the capabilities", x.CapsNode, y.CapsNode)
	if x.CapsNode == y.CapsNode && x.CapsVer != y.CapsVer { // XEP-0115 §5.1: it is of features and contacts
		out = append(out, "capabilities: other features or contacts")
	}
	compare("ids of streams", shape(x.ID), shape(y.ID))
	compare("features", features(x), features(y))
	compare("logins", mechanisms(x), mechanisms(y))
	if a.Registration != nil && b.Registration != nil {
		compare("fields for new accounts", strings.Join(a.Registration.Fields, " "), strings.Join(b.Registration.Fields, " "))
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// features are the names of features, without those that TLS brings along.
func features(s *audit.Stream) string {
	var names []string
	for _, f := range s.Features {
		space, name, _ := strings.Cut(f, " ")
		if name != "starttls" && name != "sasl-channel-binding" && !slices.Contains(names, space) {
			names = append(names, space)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// mechanisms are those that do not need TLS.
func mechanisms(s *audit.Stream) string {
	var names []string
	for _, m := range slices.Concat(s.Mechanisms, s.SASL2) {
		if m = strings.TrimSuffix(m, "-PLUS"); !slices.Contains(names, m) && m != "PLAIN" && m != "EXTERNAL" {
			names = append(names, m)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// shape is how a server makes the ids of its streams, each kind in its own way.
func shape(id string) string {
	kinds := ""
	for _, c := range id {
		kind := "other"
		switch {
		case '0' <= c && c <= '9':
			kind = "decimal"
		case 'a' <= c && c <= 'f':
			kind = "hexadecimal"
		case c == '-':
			kind = "dashed"
		}
		if !strings.Contains(kinds, kind) {
			kinds += kind
		}
	}
	switch {
	case strings.Contains(kinds, "other"):
		return "other"
	case strings.Contains(kinds, "dashed"):
		return "dashed"
	case strings.Contains(kinds, "hexadecimal"):
		return "hexadecimal"
	}
	return kinds
}

// together is what proves that both belong to one operator, empty if nothing does.
func together(seen *audit.Onion, a, b *audit.Endpoint) string {
	chain := func(e *audit.Endpoint) bool { return e.TLS != nil && len(e.TLS.Chain) > 0 }
	names := func(e *audit.Endpoint, host string) bool {
		return chain(e) && slices.Contains(e.TLS.Chain[0].DNSNames, host)
	}
	switch {
	case names(b, seen.Address):
		return "its certificate names the onion address"
	case chain(a) && chain(b) && tlsauth.SPKI(a.TLS.Chain[0]) == tlsauth.SPKI(b.TLS.Chain[0]):
		return "the same key"
	}
	return ""
}
