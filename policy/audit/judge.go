package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"xmpp-gw/policy"
)

// about is what a check looks at.
type about uint8

const (
	aServer  about = iota // a domain's server, or an onion address
	aSelf                 // this machine's set-up
	anEgress              // this machine's ways out
)

// question is how a check is written down; [Checks] makes a [Check] of it.
type question struct {
	id, asks  string
	severity  Severity
	reference string
	fix       map[string]string // what to do unless a finding says better
	ask       func(*judge)
}

// fix names a remedy for each server, and one for all; empty ones are left out.
func fix(prosody, ejabberd, all string) map[string]string {
	m := map[string]string{}
	for name, text := range map[string]string{"prosody": prosody, "ejabberd": ejabberd, "": all} {
		if text != "" {
			m[name] = text
		}
	}
	return m
}

// check is the question as others see it.
func (q question) check() Check {
	return Check{ID: q.id, Asks: q.asks, Severity: q.severity, Reference: q.reference, Fix: maps.Clone(q.fix), Run: func(o *Observation) []Finding {
		j := &judge{Observation: o, question: q}
		q.ask(j)
		for i := range j.findings {
			f := &j.findings[i]
			if f.Verdict != Warn && f.Verdict != Fail {
				f.Fix = nil
			}
			f.Fix = here(f.Fix, o.Domain)
		}
		return j.findings
	}}
}

// here is a fix with the domain that it is for.
func here(general map[string]string, domain string) map[string]string {
	if domain == "" || len(general) == 0 {
		return general
	}
	special := make(map[string]string, len(general))
	for server, text := range general {
		special[server] = strings.ReplaceAll(text, "DOMAIN", domain)
	}
	return special
}

// judge collects what one check finds.
type judge struct {
	*Observation
	question question
	findings []Finding
}

// say adds a finding, and gives it for a change of its severity, reference or fix;
// it is good until the next one.
func (j *judge) say(target string, v Verdict, format string, args ...any) *Finding {
	j.findings = append(j.findings, Finding{
		ID: j.question.id, Target: Clean(target), Severity: j.question.severity, Verdict: v,
		Evidence: Clean(fmt.Sprintf(format, args...)), Reference: j.question.reference, Fix: j.question.fix,
	})
	return &j.findings[len(j.findings)-1]
}

func (j *judge) pass(target, format string, args ...any) *Finding {
	return j.say(target, Pass, format, args...)
}
func (j *judge) warn(target, format string, args ...any) *Finding {
	return j.say(target, Warn, format, args...)
}
func (j *judge) fail(target, format string, args ...any) *Finding {
	return j.say(target, Fail, format, args...)
}
func (j *judge) unknown(target, format string, args ...any) *Finding {
	return j.say(target, Unknown, format, args...)
}
func (j *judge) skip(target, format string, args ...any) *Finding {
	return j.say(target, Skip, format, args...)
}

// at gives a finding another severity than its check's.
func (f *Finding) at(s Severity) *Finding { f.Severity = s; return f }

// onion reports whether the target itself is an onion address.
func (j *judge) onion() bool { return policy.IsOnion(j.Domain) }

// A filter says which endpoints a check is for.
type filter func(*Endpoint) bool

func c2s(e *Endpoint) bool       { return e.Service == C2S }
func s2s(e *Endpoint) bool       { return e.Service == S2S }
func startTLS(e *Endpoint) bool  { return e.At.Transport == policy.STARTTLS }
func directTLS(e *Endpoint) bool { return e.At.Transport == policy.DirectTLS }
func withTLS(e *Endpoint) bool   { return e.At.Transport != policy.PlainWebSocket }
func overTCP(e *Endpoint) bool   { return !e.At.Transport.OverWebSocket() }

// guessed is an endpoint that nothing names: that nobody answers there is no finding.
func guessed(e *Endpoint) bool {
	return e.Err != "" && e.Source == "default port" && e.At.Transport != policy.STARTTLS
}

// leftOut begins what is said of places at which nobody looked.
const leftOut = "not looked at: "

// each calls f for the endpoints that all filters want and that could be reached;
// the others are unknown. Where there are none, the check does not apply.
func (j *judge) each(what string, f func(e *Endpoint, target string), filters ...filter) {
	if len(j.Endpoints) == 0 {
		j.unknown(j.Domain, "no place was found where the server answers")
		return
	}
	n := 0
	for i := range j.Endpoints {
		e := &j.Endpoints[i]
		if guessed(e) || slices.ContainsFunc(filters, func(want filter) bool { return !want(e) }) {
			continue
		}
		n++
		if e.Left {
			j.unknown(e.At.String(), "%s%s", leftOut, e.Err)
			continue
		}
		if e.Err != "" {
			j.unknown(e.At.String(), "no connection: %s", e.Err)
			continue
		}
		f(e, e.At.String())
	}
	if n == 0 {
		j.skip(j.Domain, "no %s was looked at", what)
	}
}

// eachTLS is each, for endpoints whose TLS was seen.
func (j *judge) eachTLS(what string, f func(e *Endpoint, target string), filters ...filter) {
	j.each(what, func(e *Endpoint, target string) {
		switch {
		case e.TLS == nil && e.Plain != nil && e.Plain.Err == "" && e.Plain.StartTLS == "":
			j.unknown(target, "the server does not offer TLS")
		case e.TLS == nil:
			j.unknown(target, "TLS was not seen")
		case e.TLS.Err != "":
			j.unknown(target, "no handshake: %s", e.TLS.Err)
		default:
			f(e, target)
		}
	}, append(filters, withTLS)...)
}

// eachSecure is each, for clients' endpoints whose stream inside TLS was seen. That of an
// onion address without TLS counts: what it shows is what a login gets.
func (j *judge) eachSecure(what string, f func(e *Endpoint, s *Stream, target string), filters ...filter) {
	j.each(what, func(e *Endpoint, target string) {
		s := e.Secure
		if s == nil && (e.At.Transport == policy.PlainWebSocket || e.At.Onion() && e.Plain != nil && e.Plain.StartTLS == "") {
			s = e.Plain
		}
		switch {
		case s == nil:
			j.unknown(target, "no stream inside TLS was seen")
		case s.Err != "":
			j.unknown(target, "no stream inside TLS: %s", s.Err)
		case s.Error != "" && len(s.Features) == 0 && c2s(e): // one that ends a server without certificate says enough
			j.unknown(target, "the server ended the stream: %s", s.Error)
		default:
			f(e, s, target)
		}
	}, filters...)
}

// list is words for a sentence, and what stands for none.
func list(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, ", ")
}

// sorted is words in an order that is the same each time.
func sorted(words []string) []string { return slices.Sorted(slices.Values(words)) }

// keep is the words of list that want wants.
func keep(list []string, want func(string) bool) (kept []string) {
	for _, s := range list {
		if want(s) {
			kept = append(kept, s)
		}
	}
	return kept
}
