package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Policy is what somebody asks of their server. The zero value asks for nothing
// below a critical failure.
type Policy struct {
	Name        string
	Description string
	// Level is the lowest severity whose warnings and failures break the policy,
	// whatever their id. Info means Low: what is for information breaks nothing.
	Level Severity
	// Require must pass: at least once, and nowhere less. IfApplies must pass
	// wherever they apply; that they were skipped is well.
	Require, IfApplies []string
	Exceptions         []Exception
}

// Exception lets one finding be.
type Exception struct {
	ID     string
	Target string    // "" for every target
	Reason string    // for those who read the policy later
	Until  time.Time // the last day on which it holds; zero for ever
}

func (e Exception) covers(id, target string, now time.Time) bool {
	return e.ID == id && (e.Target == "" || e.Target == target) && (e.Until.IsZero() || now.Before(e.Until.AddDate(0, 0, 1)))
}

// Comparison is what of a policy is not met.
type Comparison struct {
	Policy  string
	Unmet   []Unmet
	Excused int // findings that an exception let be
}

// Unmet is one thing that a policy asks for and does not get.
type Unmet struct {
	ID, Target string
	Verdict    Verdict
	Why        string
}

func (u Unmet) String() string {
	if u.Target == "" {
		return u.ID + ": " + u.Why
	}
	return u.ID + " at " + u.Target + ": " + u.Why
}

// String is the outcome in one line.
func (c *Comparison) String() string {
	if len(c.Unmet) == 0 {
		return fmt.Sprintf("%s: met", Clean(c.Policy))
	}
	return fmt.Sprintf("%s: %d not met", Clean(c.Policy), len(c.Unmet))
}

func (c *Comparison) exit() int {
	code := ExitGood
	for _, u := range c.Unmet {
		if u.Verdict == Skip || u.Verdict == Pass { // asked for, and not there
			code = ExitFailures
		}
		code = max(code, exitOf(u.Verdict))
	}
	return code
}

// Compare says what of the policy the findings do not meet. now is for exceptions
// that end. A required check that was not run at all is not met.
func (p *Policy) Compare(findings []Finding, now time.Time) *Comparison {
	c := &Comparison{Policy: p.Name}
	level := max(p.Level, Low)
	passed := map[string]bool{}
	skipped := map[string]string{}
	seen := map[string]bool{}
	for _, f := range findings {
		seen[f.ID] = true
		if p.excuses(f.ID, f.Target, now) {
			c.Excused++
			passed[f.ID] = true
			continue
		}
		required := slices.Contains(p.Require, f.ID) || slices.Contains(p.IfApplies, f.ID)
		switch {
		case f.Verdict == Pass:
			passed[f.ID] = true
		case f.Verdict == Skip:
			skipped[f.ID] = f.Evidence
		case required, f.Verdict != Unknown && f.Severity >= level:
			c.Unmet = append(c.Unmet, Unmet{f.ID, f.Target, f.Verdict, f.Verdict.String() + ", " + f.Evidence})
		}
	}
	failed := func(id string) bool { return slices.ContainsFunc(c.Unmet, func(u Unmet) bool { return u.ID == id }) }
	for _, id := range slices.Concat(p.Require, p.IfApplies) {
		needed := slices.Contains(p.Require, id)
		switch why, skip := skipped[id]; {
		case passed[id] || failed(id) || p.excuses(id, "", now):
		case skip && needed:
			c.Unmet = append(c.Unmet, Unmet{id, "", Skip, "it must pass, and was skipped: " + why})
		case !seen[id]:
			c.Unmet = append(c.Unmet, Unmet{id, "", Unknown, "it was not looked at"})
		}
	}
	slices.SortStableFunc(c.Unmet, func(a, b Unmet) int { return a.Verdict.badness() - b.Verdict.badness() })
	return c
}

func (p *Policy) excuses(id, target string, now time.Time) bool {
	return slices.ContainsFunc(p.Exceptions, func(e Exception) bool { return e.covers(id, target, now) })
}

// Make is the policy that a server with these findings meets just so: what passed
// everywhere is asked for from now on, and what counts against it is excused by name,
// for somebody to look at.
func Make(name string, findings []Finding) *Policy {
	p := &Policy{Name: name, Description: "made from findings; look at every exception", Level: Medium}
	worst := map[string]Verdict{}
	for _, f := range findings {
		if before, seen := worst[f.ID]; !seen || f.Verdict.badness() < before.badness() {
			worst[f.ID] = f.Verdict
		}
		counts := f.Verdict == Fail || f.Verdict == Warn
		if counts && f.Severity >= p.Level && !p.excuses(f.ID, f.Target, time.Time{}) {
			p.Exceptions = append(p.Exceptions, Exception{ID: f.ID, Target: f.Target, Reason: "it was so when the policy was made: " + f.Evidence})
		}
	}
	for _, c := range Checks() {
		if v, seen := worst[c.ID]; seen && v == Pass {
			p.Require = append(p.Require, c.ID)
		}
	}
	return p
}

// TOML writes the policy as [ParsePolicy] reads it.
func (p *Policy) TOML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version = 1\nname = %s\n", quote(p.Name))
	if p.Description != "" {
		fmt.Fprintf(&b, "description = %s\n", quote(p.Description))
	}
	fmt.Fprintf(&b, "level = %q\n", p.Level)
	ids := func(key string, list []string) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n%s = [\n", key)
		for _, id := range list {
			fmt.Fprintf(&b, "  %s,\n", quote(id))
		}
		b.WriteString("]\n")
	}
	ids("require", p.Require)
	ids("require_if_applies", p.IfApplies)
	for _, e := range p.Exceptions {
		fmt.Fprintf(&b, "\n[[exception]]\nid = %s\n", quote(e.ID))
		if e.Target != "" {
			fmt.Fprintf(&b, "target = %s\n", quote(e.Target))
		}
		fmt.Fprintf(&b, "reason = %s\n", quote(e.Reason))
		if !e.Until.IsZero() {
			fmt.Fprintf(&b, "until = %s\n", e.Until.Format(time.DateOnly))
		}
	}
	return b.String()
}

// quote is a TOML basic string. Clean text needs no other escapes.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(lines(s)) + `"`
}

// The names of the policies that are built in.
func PolicyNames() []string { return []string{"modern", "intermediate", "onion"} }

// BuiltIn gives a built-in policy by name.
func BuiltIn(name string) (*Policy, bool) {
	base := []string{"tls.version", "tls.cipher", "cert.key", "stream.from", "stream.unknown-host", "limit.pretls", "sasl.posttls", "sasl.scram"}
	clearnet := []string{"tls.starttls.offered", "tls.starttls.required", "tls.injection", "sasl.pretls", "tls.samekey", "reg.open", "stream.redirect", "witness.key", "s2s.required", "s2s.dialback-only"}
	switch name {
	case "modern":
		return &Policy{Name: name, Description: "what a server of today can do: signed DNS, TLS 1.3, logins bound to TLS", Level: Medium,
			Require:   slices.Concat([]string{"dns.srv.c2s", "dns.srv.c2s-tls", "dns.dnssec", "caa.present", "cert.chain", "cert.name", "cert.expiry", "cert.sct"}, base, []string{"sasl.plus", "cb.types", "cb.endpoint", "cb.exporter", "tls.group.pq"}),
			IfApplies: slices.Concat(clearnet, []string{"dane.tlsa", "tls.alpn.direct"})}, true
	case "intermediate":
		return &Policy{Name: name, Description: "what every server should do: real TLS, good certificates, no readable passwords", Level: High,
			Require: slices.Concat([]string{"cert.chain", "cert.name", "cert.expiry"}, base), IfApplies: clearnet}, true
	case "onion":
		return &Policy{Name: name, Description: "an onion service that can be reached, and does not tell who runs it", Level: High,
			Require:   []string{"onion.desc", "onion.reach", "onion.auth", "onion.deanon", "stream.from", "stream.unknown-host", "limit.pretls", "sasl.scram", "sasl.posttls"},
			IfApplies: []string{"tls.version", "tls.cipher", "tls.injection", "witness.key", "reg.open", "stream.redirect"}}, true
	}
	return nil, false
}
