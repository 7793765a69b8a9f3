package audit

import (
	"fmt"
	"slices"
	"strings"
)

// Checks are all checks, in the order in which --list prints them. Their ids are
// stable.
func Checks() []Check {
	var all []Check
	for _, q := range questions() {
		all = append(all, q.check())
	}
	return all
}

func questions() []question {
	return slices.Concat(dnsChecks(), tlsChecks(), certChecks(), saslChecks(), registerChecks(), s2sChecks(),
		streamChecks(), infoChecks(), onionChecks(), suiteChecks(), selfChecks(), egressChecks())
}

// of is what the check with that id looks at.
func of(id string) about {
	switch Group(id) {
	case "self":
		return aSelf
	case "egress":
		return anEgress
	}
	return aServer
}

// Group is the part of an id before its first dot.
func Group(id string) string {
	group, _, _ := strings.Cut(id, ".")
	return group
}

// Select gives the checks with these ids; "tls" stands for all whose id begins with
// "tls.". None means all. An id that is none is an error.
func Select(ids []string) ([]Check, error) {
	all := Checks()
	if len(ids) == 0 {
		return all, nil
	}
	wanted := map[string]bool{}
	for _, id := range ids {
		found := false
		for _, c := range all {
			if c.ID == id || strings.HasPrefix(c.ID, id+".") {
				found, wanted[c.ID] = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no check %q", Clean(id))
		}
	}
	return slices.DeleteFunc(all, func(c Check) bool { return !wanted[c.ID] }), nil
}

// Judge runs those of the checks that apply to what was observed: a server, this
// machine, or its ways out.
func Judge(o *Observation, checks []Check) []Finding {
	var findings []Finding
	for _, c := range checks {
		switch of(c.ID) {
		case aServer:
			if o.Domain == "" {
				continue
			}
		case aSelf:
			if o.Self == nil {
				continue
			}
		case anEgress:
			if o.Egress == nil {
				continue
			}
		}
		findings = append(findings, c.Run(o)...)
	}
	return findings
}
