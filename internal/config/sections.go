package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"xmpp-gw/policy"
)

// errReported is a key of a section that was reported already.
var errReported = errors.New("reported already")

// table opens a table and reports whether its keys mean anything.
func (l *loader) table(path []string, line int) bool {
	name := "[" + dotted(path) + "]"
	if before, ok := l.tables[join(path...)]; ok {
		l.mistake(line, hinted(fmt.Sprintf("%s is there twice, first in line %d", name, before), "put its keys together"))
	}
	l.tables[join(path...)] = line
	switch {
	case len(path) == 1 && slices.Contains(sectionNames(), path[0]):
		return true
	case len(path) == 2 && path[0] == "domain":
		return l.domain(path[1], line) != ""
	case len(path) == 2 && path[0] == "socks":
		l.hop(path[1], line)
		return true
	case len(path) > 2 && path[0] == "domain":
		l.mistake(line, hinted(name+" is no section", `quote the domain: [domain."`+strings.Join(path[1:], ".")+`"]`))
	case slices.Contains(sectionNames(), path[0]):
		l.mistake(line, hinted(name+" is no section", "xmpp-gw config describe lists what there is"))
	default:
		l.mistake(line, hinted(name+" is no section", nearest(path[0], sectionNames())))
	}
	return false
}

func sectionNames() []string {
	names := []string{"default", "domain", "socks"}
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

// hop notes that a SOCKS hop has a section.
func (l *loader) hop(name string, line int) {
	if _, ok := l.hops[name]; !ok {
		l.hops[name] = line
	}
}

// domain gives the normalised name of a [domain] section, "" where it has none.
func (l *loader) domain(written string, line int) string {
	if l.bad[written] {
		return ""
	}
	name, err := policy.NormalizeDomain(written)
	if err == nil && policy.IsOnion(name) && name != "onion" { // [domain.onion] is for all onion addresses
		err = policy.CheckOnion(name)
	}
	before, seen := l.domains[name]
	switch {
	case err != nil:
		err = hinted(fmt.Sprintf("[domain.%q] cannot be: %v", written, err), "")
	case seen && before != written:
		err = hinted(fmt.Sprintf("[domain.%q] is the same domain as [domain.%q]", written, before), "put their keys together")
	}
	if err != nil {
		l.bad[written] = true
		l.mistake(line, err)
		return ""
	}
	if !seen {
		l.domains[name] = written
		l.c.Rules.Domains[name] = policy.Rule{}
	}
	return name
}

// set takes the value of one full key.
func (l *loader) set(full []string, line int, v value) error {
	first, last := full[0], full[len(full)-1]
	source := fmt.Sprintf("%s:%d", l.file, line)
	i := slices.IndexFunc(sections, func(s section) bool { return s.name == first })
	switch {
	case len(full) == 1 && slices.Contains(sectionNames(), first):
		return hinted("this is a section and has no value", "write ["+first+"]")
	case len(full) == 1:
		return hinted("it stands in no section", nearest(last, allKeys()))
	case first == "default" && len(full) == 2:
		if _, ok := find(domainKeys, last); ok {
			return hinted("it belongs to one domain", `set it in a [domain."NAME"] section`)
		}
		return l.rule(target{&l.c.Rules.Default, source, false}, ruleKeys, last, line, v)
	case first == "domain" && len(full) == 3:
		name := l.domain(full[1], line)
		if name == "" {
			return errReported
		}
		rule := l.c.Rules.Domains[name]
		defer func() { l.c.Rules.Domains[name] = rule }()
		return l.rule(target{&rule, source, true}, slices.Concat(ruleKeys, domainKeys), last, line, v)
	case first == "domain" && len(full) > 3:
		return hinted(fmt.Sprintf("[%s] is no section", dotted(full[:len(full)-1])),
			`a domain stands in quotes: [domain."`+strings.Join(full[1:len(full)-1], ".")+`"]`)
	case first == "domain":
		return hinted("it belongs to no domain", `write [domain."NAME"]`)
	case first == "socks" && len(full) == 3:
		l.hop(full[1], line)
		u := l.c.SOCKS[full[1]]
		defer func() { l.c.SOCKS[full[1]] = u }()
		return take(socksKeys, last, &u, v)
	case first == "socks":
		return hinted("it belongs to no hop", "write [socks.NAME]")
	case i >= 0 && len(full) == 2:
		return take(sections[i].keys, last, l.c, v)
	case i >= 0 || first == "default":
		return hinted(fmt.Sprintf("[%s] is no section", dotted(full[:len(full)-1])), "xmpp-gw config describe lists what there is")
	}
	return hinted(fmt.Sprintf("[%s] is no section", dotted(full[:len(full)-1])), nearest(first, sectionNames()))
}

// rule takes a key of a rule, and keeps a route to see later whether its hop
// exists.
func (l *loader) rule(t target, keys []key[target], name string, line int, v value) error {
	err := take(keys, name, t, v)
	if r := t.rule.Route.V; err == nil && name == "route" && r.Kind == policy.RouteSOCKS {
		l.routes = append(l.routes, hopUse{r.Name, line})
	}
	return err
}

// take sets the key of that name.
func take[T any](keys []key[T], name string, to T, v value) error {
	if k, ok := find(keys, name); ok {
		return k.set(to, v)
	}
	return hinted("there is no such key", nearest(name, names(keys)))
}

func find[T any](keys []key[T], name string) (key[T], bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	return key[T]{}, false
}

func names[T any](keys []key[T]) []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return list
}

func allKeys() []string {
	list := slices.Concat(names(ruleKeys), names(domainKeys))
	for _, s := range sections {
		list = append(list, names(s.keys)...)
	}
	return list
}

// nearest is a hint at the name that was probably meant.
func nearest(name string, names []string) string {
	best, bestDistance := "", 3
	if len(name) <= 64 { // nobody means a key with more
		for _, n := range names {
			if d := distance(name, n); d < bestDistance {
				best, bestDistance = n, d
			}
		}
	}
	if best == "" {
		return "xmpp-gw config describe lists what there is"
	}
	return "did you mean " + best + "?"
}

// distance is the number of letters to insert, delete or change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
