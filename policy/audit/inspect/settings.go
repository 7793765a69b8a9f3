package inspect

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// Settings compares rules with the defaults: every place where a line makes them
// weaker, and who logs in at the servers of each domain. builtIn is the source of
// what no line says.
func Settings(rules policy.Rules, defaults policy.Rule, builtIn string) ([]audit.Weaker, []audit.LoginMode) {
	c := comparison{defaults: defaults, builtIn: builtIn}
	c.rule("default", rules.Default)
	whole := "all domains"
	var logins []audit.LoginMode
	for _, domain := range slices.Sorted(maps.Keys(rules.Domains)) {
		rule := rules.Domains[domain]
		c.rule(`domain."`+domain+`"`, rule)
		if rule.SASL.IsSet() {
			whole = "all other domains"
			logins = append(logins, audit.LoginMode{For: policy.DisplayDomain(domain), Mode: rule.SASL.V.String(), Source: rule.SASL.Source})
		}
	}
	all := audit.LoginMode{For: whole, Mode: rules.Default.SASL.V.String(), Source: rules.Default.SASL.Source}
	return c.found, append([]audit.LoginMode{all}, logins...)
}

// comparison collects what is weaker.
type comparison struct {
	defaults policy.Rule
	builtIn  string
	found    []audit.Weaker
}

// rule compares one section.
func (c *comparison) rule(section string, r policy.Rule) {
	add := func(key, value, source, usual string, s audit.Severity) {
		c.found = append(c.found, audit.Weaker{Key: section + "." + key, Value: value, Default: usual, Source: source, Severity: s})
	}
	d := c.defaults
	if s, weak := routeRisk(r); weak && c.said(r.Route.Source) {
		add("route", r.Route.V.String(), r.Route.Source, d.Route.V.String(), s)
	}
	weaker(c, section, "min_tls", r.MinTLS, d.MinTLS, audit.Medium)
	weaker(c, section, "pq", r.PQ, d.PQ, audit.Low)
	if r.CA.V != "" {
		add("ca", r.CA.V, r.CA.Source, "none", audit.Low)
	}
	weaker(c, section, "pin", r.Pin, d.Pin, audit.Medium)
	weaker(c, section, "sct", r.SCT, d.SCT, audit.Low)
	weaker(c, section, "dns", r.DNSSEC, d.DNSSEC, audit.Medium)
	weaker(c, section, "witness", r.Witness, d.Witness, audit.Low)
	// Of these the stronger come first.
	if c.said(r.Mode.Source) && r.Mode.V > d.Mode.V {
		add("mode", r.Mode.V.String(), r.Mode.Source, d.Mode.V.String(), audit.Medium)
	}
	if c.said(r.SASL.Source) && r.SASL.V > d.SASL.V {
		add("sasl", r.SASL.V.String(), r.SASL.Source, d.SASL.V.String(), audit.Medium)
	}
	weaker(c, section, "auth_min", r.AuthMin, d.AuthMin, audit.High)
	weaker(c, section, "binding", r.Binding, d.Binding, audit.Medium)
	weaker(c, section, "onion_upgrade", r.Upgrade, d.Upgrade, audit.Low)
}

// said reports whether a line gives the setting.
func (c *comparison) said(source string) bool { return source != "" && source != c.builtIn }

// setting is a value of a rule whose kinds stand in rising order of strength.
type setting interface {
	~uint8 | ~uint16
	String() string
}

// weaker notes a setting that is below the usual one.
func weaker[T setting](c *comparison, section, key string, is, usual policy.Value[T], s audit.Severity) {
	if c.said(is.Source) && is.V < usual.V {
		c.found = append(c.found, audit.Weaker{Key: section + "." + key, Value: is.V.String(), Default: usual.V.String(), Source: is.Source, Severity: s})
	}
}

// routeRisk is how much weaker than Tor a route is. One to this machine itself shows
// nobody anything.
func routeRisk(r policy.Rule) (audit.Severity, bool) {
	here := func(e policy.Endpoint) bool {
		ip, err := netip.ParseAddr(e.Host)
		return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(e.Host, "localhost")
	}
	switch r.Route.V.Kind {
	case policy.RouteDirect:
		if len(r.Endpoints.V) > 0 && !slices.ContainsFunc(r.Endpoints.V, func(e policy.Endpoint) bool { return !here(e) }) {
			return audit.Info, false
		}
		return audit.High, true
	case policy.RouteSOCKS:
		return audit.Medium, true
	}
	return audit.Info, false
}
