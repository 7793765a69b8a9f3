package main

import (
	"context"
	"slices"
	"strings"

	"xmpp-gw/internal/control"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/probe"
	"xmpp-gw/proxy"
)

// judgeable are the checks that a login answers, or part of them: what it does not
// show is left out of the verdict, and `xmpp-gw check` asks for it.
func judgeable() []string {
	return []string{
		"tls.starttls.offered", "tls.starttls.required", "tls.group.pq", "tls.alpn.direct",
		"cert.chain", "cert.expiry", "cert.key", "cert.name", "cert.revocation", "cert.sct",
		"sasl.pretls", "sasl.posttls", "sasl.scram", "sasl.plus", "cb.types", "cb.endpoint", "cb.exporter",
		"sasl.downgrade", "sasl.sasl2", "sasl.fast", "stream.from", "limit.advertised",
	}
}

// sightings is how many logins may wait to be judged. When more come at once, some
// are not: the next login of their domain is.
const sightings = 16

// judge judges what logins showed until ctx ends. It is beside the sessions, which
// do not wait for it.
func (s *verdicts) judge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case v := <-s.seen:
			s.put(verdictOf(v))
		}
	}
}

// saw takes what a login showed.
func (s *verdicts) saw(v proxy.Sight) {
	select {
	case s.seen <- v:
	default:
	}
}

// verdictOf judges one login with the checks of `xmpp-gw check`.
func verdictOf(v proxy.Sight) control.Verdict {
	o := observationOf(v)
	checks, err := audit.Select(judgeable())
	if err != nil {
		panic("xmpp-gw: " + err.Error()) // a test selects them
	}
	findings := slices.DeleteFunc(audit.Judge(o, checks), func(f audit.Finding) bool {
		return f.Verdict == audit.Unknown || f.Verdict == audit.Skip || !counts(v, f.ID)
	})
	r := audit.NewReport(o, findings)
	out := control.Verdict{
		Domain: v.Domain, At: v.At, Route: v.Decision.Route.String(), Endpoint: v.Endpoint.String(), Mode: v.Decision.Mode.String(),
		Grade: r.Grade, Rule: r.Rule, Warnings: r.Count(audit.Warn), Failures: r.Count(audit.Fail), Objections: v.Objections,
	}
	for _, f := range r.Findings { // the worst first
		if (f.Verdict == audit.Fail || f.Verdict == audit.Warn) && f.Severity > audit.Info {
			out.Worst = &control.Finding{ID: f.ID, Severity: f.Severity.String(), Verdict: f.Verdict.String(), Evidence: f.Evidence}
			break
		}
	}
	return out
}

// counts reports whether a check says anything of this login. What a certificate's
// authority says is nothing where something else proved the server, an authority of
// the domain's own is in no public log, and no key exchange was offered that the
// owner does not want.
func counts(v proxy.Sight, id string) bool {
	switch id {
	case "cert.sct":
		return v.Decision.CAFile == "" && v.Decision.SCT != policy.SCTOff && counts(v, "cert.chain")
	case "cert.chain", "cert.name":
		return slices.ContainsFunc([]string{"DNS-ID ", "SRV-ID ", "XmppAddr ", "IP-ID "}, func(form string) bool { return strings.HasPrefix(v.Identity, form) })
	case "tls.group.pq":
		return v.Decision.PQ != policy.PQOff
	}
	return true
}

// observationOf is what a login showed, as a check would have seen it.
func observationOf(v proxy.Sight) *audit.Observation {
	e := audit.Endpoint{At: v.Endpoint, Service: audit.C2S, Source: "a login"}
	for _, opening := range v.Openings {
		s := probe.Features(opening.Features)
		s.From, s.ID, s.Version = opening.From, opening.ID, opening.Version
		if opening.Secure {
			e.Secure = s
		} else {
			e.Plain = s
		}
	}
	if v.TLS != nil {
		o := probe.Options{Logs: v.Logs}
		roots, err := tlsauth.Roots(nil, v.Decision)
		if err == nil {
			o.Roots = roots
		}
		e.TLS = probe.Handshake(o, v.Domain, v.Endpoint, v.TLS)
	}
	seen := &audit.Observation{Domain: v.Domain, Via: v.Decision.Route.String(), At: v.At, Endpoints: []audit.Endpoint{e}}
	if strings.HasPrefix(v.Mechanism, "SCRAM-") && v.Decision.SASL == policy.Originate {
		seen.Login = &audit.Login{Mechanism: v.Mechanism, Binding: v.Binding, Protection: map[bool]string{true: "verified", false: "absent"}[v.Hashed]}
	}
	return seen
}
