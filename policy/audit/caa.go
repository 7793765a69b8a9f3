package audit

import (
	"maps"
	"slices"
	"strings"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// issuing is one CAA property that lets somebody issue (RFC 8659 §4.2).
type issuing struct {
	ca         string // "" for nobody
	wild       bool   // for wildcards alone, so that anybody may issue others (§4.3)
	parameters map[string]string
}

// parseCAA reads `FLAGS TAG "VALUE"`; ok is false for other properties.
func parseCAA(record string) (i issuing, ok bool) {
	fields := strings.Fields(record)
	if len(fields) < 3 || !strings.EqualFold(fields[1], "issue") && !strings.EqualFold(fields[1], "issuewild") {
		return issuing{}, false
	}
	_, value, _ := strings.Cut(record, fields[1])
	parts := strings.Split(strings.Trim(strings.TrimSpace(value), `"`), ";")
	i = issuing{ca: strings.TrimSpace(parts[0]), wild: strings.EqualFold(fields[1], "issuewild"), parameters: map[string]string{}}
	for _, p := range parts[1:] {
		if name, v, ok := strings.Cut(p, "="); ok {
			i.parameters[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(v)
		}
	}
	return i, true
}

// caa gives what may issue, nothing if anybody may; ok is false when that was said to
// be unknown or not to apply.
func (j *judge) caa() (list []issuing, ok bool) {
	if j.noDNS() {
		return nil, false
	}
	if why := j.DNS.CAA.unusable(); why != "" {
		j.unknown(j.Domain, "CAA: %s", why)
		return nil, false
	}
	free := true
	for _, r := range j.DNS.CAA.Records {
		if i, ok := parseCAA(r); ok {
			list = append(list, i)
			free = free && i.wild
		}
	}
	if free {
		list = nil
	}
	return list, true
}

func askCAA(j *judge) {
	may, ok := j.caa()
	switch {
	case !ok:
	case len(may) == 0:
		j.warn(j.Domain, "every certificate authority may issue: %s", list(j.DNS.CAA.Records, "no CAA record"))
	case j.DNS.CAA.Security != Secure:
		j.warn(j.Domain, "%s; but DNS is not signed, so that whoever forges it forges this", list(j.DNS.CAA.Records, "")).at(Low).Fix = fix("", "", signZone)
	default:
		j.pass(j.Domain, "%s", list(j.DNS.CAA.Records, ""))
	}
}

func askCAAAccount(j *judge) {
	may, ok := j.caa()
	if !ok {
		return
	}
	if len(may) == 0 {
		j.warn(j.Domain, "no CAA record says who may issue")
		return
	}
	var free, methods []string
	for _, i := range may {
		switch {
		case i.ca == "":
		case i.parameters["accounturi"] == "":
			free = append(free, i.ca)
		case i.parameters["validationmethods"] == "":
			methods = append(methods, i.ca)
		}
	}
	switch {
	case len(free) > 0:
		j.warn(j.Domain, "any account of %s may issue", list(free, ""))
	case j.DNS.CAA.Security != Secure:
		j.warn(j.Domain, "bound to an account, but DNS is not signed").at(Low).Fix = fix("", "", signZone)
	case len(methods) > 0:
		j.pass(j.Domain, "bound to an account of %s, by any method", list(methods, ""))
	case !slices.ContainsFunc(may, func(i issuing) bool { return i.ca != "" }):
		j.pass(j.Domain, "nobody may issue")
	default:
		j.pass(j.Domain, "bound to an account and a method")
	}
}
