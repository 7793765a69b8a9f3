package policy

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// set is a setting with a source.
func set[T any](v T) Value[T] { return Value[T]{V: v, Source: "test"} }

// complete is a rule that lets everything through Tor.
func complete() Rule {
	return Rule{
		Route: set(Route{Kind: RouteTor}), TLS: set(TLSVerify), MinTLS: set(TLSVersion(0x0304)), PQ: set(PQPrefer),
		SASL: set(Originate), AuthMin: set(AuthSCRAM), Binding: set(BindingPrefer), Pin: set(PinTOFUWarn),
		SCT: set(SCTWarn), DNSSEC: set(DNSSECPrefer), Witness: set(WitnessOnChange), Mode: set(Enforce),
		Redirect: set(RedirectSameDomain), Registration: set(RegistrationAllow),
		Upgrade: set(UpgradeSticky),
	}
}

// at changes a complete rule.
func at(change func(*Rule)) Rule {
	r := complete()
	change(&r)
	return r
}

func route(t *testing.T, s string) Value[Route] {
	t.Helper()
	r, err := ParseRoute(s)
	if err != nil {
		t.Fatal(err)
	}
	return set(r)
}

func TestZeroRefuses(t *testing.T) {
	for _, domain := range []string{"", "example.org", "127.0.0.1", testOnion()} {
		if _, err := (Rules{}).Decide(Target{Domain: domain}); err == nil {
			t.Errorf("no rules let %q through", domain)
		}
	}
	if _, err := (Rules{Default: complete()}).Decide(Target{}); err == nil {
		t.Error("a target without a domain was let through")
	}
	// Each missing setting refuses by itself.
	for name, drop := range map[string]func(*Rule){
		"route": func(r *Rule) { r.Route = Value[Route]{} }, "tls": func(r *Rule) { r.TLS = Value[TLSMode]{} },
		"min_tls": func(r *Rule) { r.MinTLS = Value[TLSVersion]{} }, "pq": func(r *Rule) { r.PQ = Value[PQ]{} },
		"sasl": func(r *Rule) { r.SASL = Value[SASLMode]{} }, "auth_min": func(r *Rule) { r.AuthMin = Value[AuthMin]{} },
		"binding": func(r *Rule) { r.Binding = Value[Binding]{} }, "pin": func(r *Rule) { r.Pin = Value[PinMode]{} },
		"sct": func(r *Rule) { r.SCT = Value[SCT]{} }, "dns": func(r *Rule) { r.DNSSEC = Value[DNSSEC]{} },
		"witness": func(r *Rule) { r.Witness = Value[Witness]{} }, "mode": func(r *Rule) { r.Mode = Value[Mode]{} },
		"redirect": func(r *Rule) { r.Redirect = Value[Redirect]{} }, "registration": func(r *Rule) { r.Registration = Value[Registration]{} },
		"onion_upgrade": func(r *Rule) { r.Upgrade = Value[Upgrade]{} },
	} {
		if _, err := (Rules{Default: at(drop)}).Decide(Target{Domain: "example.org"}); err == nil {
			t.Errorf("rules without %s let a domain through", name)
		}
	}
	if d, err := (Rules{Default: complete()}).Decide(Target{Domain: "example.org"}); err != nil || d.Route.Kind != RouteTor || len(d.Why) != 15 {
		t.Errorf("complete rules: %+v, %v", d, err)
	}
}

func TestDecide(t *testing.T) {
	onion := testOnion()
	bound := set(Endpoint{STARTTLS, onion, 5222, ""})
	clear1 := Endpoint{STARTTLS, "192.0.2.1", 5222, ""}
	for name, c := range map[string]struct {
		domain string
		rule   Rule
		want   string // part of the refusal; empty: allowed
	}{
		"blocked":                      {"a.example", at(func(r *Rule) { r.Route = route(t, "block") }), "policy blocks it"},
		"direct":                       {"a.example", at(func(r *Rule) { r.Route = route(t, "direct") }), ""},
		"onion domain over tor":        {onion, complete(), ""},
		"onion domain over onion-only": {onion, at(func(r *Rule) { r.Route = route(t, "onion-only") }), ""},
		"onion domain over direct":     {onion, at(func(r *Rule) { r.Route = route(t, "direct") }), "only Tor"},
		"onion domain over socks":      {onion, at(func(r *Rule) { r.Route = route(t, "socks:x") }), "only Tor"},
		"onion domain elsewhere, onion-only": {onion, at(func(r *Rule) {
			r.Route, r.Endpoints = route(t, "onion-only"), set([]Endpoint{clear1})
		}), "its endpoints are others"},
		"onion domain by another onion": {onion, at(func(r *Rule) {
			r.Endpoints = set([]Endpoint{bound.V, {STARTTLS, otherOnion(), 5222, ""}})
		}), "its endpoints are others"},
		"onion domain bound to another onion":        {onion, at(func(r *Rule) { r.Onion = set(Endpoint{STARTTLS, otherOnion(), 5222, ""}) }), "onion names another"},
		"onion domain by its own endpoint":           {onion, at(func(r *Rule) { r.Endpoints = set([]Endpoint{{DirectTLS, onion, 5270, ""}}) }), ""},
		"a name under an onion, by the onion itself": {"chat." + onion, at(func(r *Rule) { r.Endpoints = set([]Endpoint{bound.V}) }), ""},
		"mistyped onion":                             {"b" + onion[1:], complete(), "checksum"},
		"old onion":                                  {"expyuzz4wqqyqhjn.onion", complete(), "version 2"},
		"the onion domain itself":                    {"onion", complete(), "characters"},
		"onion-only, nothing known":                  {"a.example", at(func(r *Rule) { r.Route = route(t, "onion-only") }), "none is known"},
		"onion-only, bound":                          {"a.example", at(func(r *Rule) { r.Route, r.Onion = route(t, "onion-only"), bound }), ""},
		"onion-only, onion endpoints":                {"a.example", at(func(r *Rule) { r.Route, r.Endpoints = route(t, "onion-only"), set([]Endpoint{bound.V}) }), ""},
		"onion-only, mixed endpoints":                {"a.example", at(func(r *Rule) { r.Route, r.Endpoints = route(t, "onion-only"), set([]Endpoint{bound.V, clear1}) }), "none is known"},
		"direct to a bound onion":                    {"a.example", at(func(r *Rule) { r.Route, r.Onion = route(t, "direct"), bound }), "only Tor"},
		"direct to an onion endpoint":                {"a.example", at(func(r *Rule) { r.Route, r.Endpoints = route(t, "direct"), set([]Endpoint{clear1, bound.V}) }), "only Tor"},
		"socks to an onion endpoint":                 {"a.example", at(func(r *Rule) { r.Route, r.Endpoints = route(t, "socks:x"), set([]Endpoint{bound.V}) }), "only Tor"},
		"tls onion without one":                      {"a.example", at(func(r *Rule) { r.TLS = set(TLSOnion) }), "onion address must prove it"},
		"tls onion with one":                         {"a.example", at(func(r *Rule) { r.TLS, r.Onion = set(TLSOnion), bound }), ""},
		"tls onion, onion endpoints":                 {"a.example", at(func(r *Rule) { r.TLS, r.Endpoints = set(TLSOnion), set([]Endpoint{bound.V}) }), ""},
		"tls onion, mixed endpoints":                 {"a.example", at(func(r *Rule) { r.TLS, r.Endpoints = set(TLSOnion), set([]Endpoint{bound.V, clear1}) }), "onion address must prove it"},
		"tls onion for an onion":                     {onion, at(func(r *Rule) { r.TLS = set(TLSOnion) }), ""},
		"pin without pins":                           {"a.example", at(func(r *Rule) { r.TLS = set(TLSPin) }), "no pin is set"},
		"pin with pins":                              {"a.example", at(func(r *Rule) { r.TLS, r.Pins = set(TLSPin), set([]string{"sha256/x"}) }), ""},
		"dane without proof":                         {"a.example", at(func(r *Rule) { r.TLS, r.DNSSEC = set(TLSDANE), set(DNSSECOff) }), "whether that is proven"},
		"dane-only without proof":                    {"a.example", at(func(r *Rule) { r.TLS, r.DNSSEC = set(TLSDANEOnly), set(DNSSECOff) }), "whether that is proven"},
		"dane-only":                                  {"a.example", at(func(r *Rule) { r.TLS = set(TLSDANEOnly) }), ""},
		"dane-only for an onion":                     {onion, at(func(r *Rule) { r.TLS = set(TLSDANEOnly) }), ""},
		"dane-only at an onion":                      {"a.example", at(func(r *Rule) { r.TLS, r.Onion = set(TLSDANEOnly), bound }), "none for an onion address"},
		"dane-only, onion endpoints":                 {"a.example", at(func(r *Rule) { r.TLS, r.Endpoints = set(TLSDANEOnly), set([]Endpoint{bound.V}) }), "none for an onion address"},
		"dane-only over onion-only":                  {"a.example", at(func(r *Rule) { r.TLS, r.Route = set(TLSDANEOnly), route(t, "onion-only") }), "none is known"},
		"dane at an onion":                           {"a.example", at(func(r *Rule) { r.TLS, r.Onion = set(TLSDANE), bound }), ""},
		"external without certificate":               {"a.example", at(func(r *Rule) { r.AuthMin = set(AuthExternal) }), "none is set"},
		"external, but relayed":                      {"a.example", at(func(r *Rule) { r.AuthMin, r.SASL = set(AuthExternal), set(Relay) }), ""},
		"certificate without password":               {"a.example", at(func(r *Rule) { r.ClientCert = set("c.pem") }), "any program on this machine"},
		"certificate and password": {"a.example", at(func(r *Rule) {
			r.AuthMin, r.ClientCert, r.PasswordFile = set(AuthExternal), set("c.pem"), set("p")
		}), ""},
	} {
		d, err := Rules{Default: c.rule}.Decide(Target{Domain: c.domain})
		if (err == nil) != (c.want == "") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
			continue
		}
		if len(d.Why) == 0 {
			t.Errorf("%s: the decision does not say why", name)
		}
		if err == nil {
			continue
		}
		r, ok := errors.AsType[*Refusal](err)
		if !ok || r.Domain != c.domain || r.Hint == "" || !strings.Contains(r.Why, c.want) || !strings.Contains(err.Error(), c.domain) {
			t.Errorf("%s: %#v, want %q", name, err, c.want)
		}
	}
}

func otherOnion() string {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = 1
	return onionOf(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey), 3)
}

// No spelling of a domain gets past its section, and what is no domain is refused.
func TestDecideSpelling(t *testing.T) {
	rules := Rules{Default: complete(), Domains: map[string]Rule{
		"example.org":           {Route: route(t, "block")},
		"xn--bcher-kva.example": {Route: route(t, "block")},
		"127.0.0.1":             {Route: route(t, "block")},
	}}
	for _, domain := range []string{
		"example.org", "EXAMPLE.org", "example.org.", "ｅxample.org", "Im.Example.ORG", "Bücher.example",
		"127.0.0.1", "[127.0.0.1]", "::ffff:127.0.0.1", "[::ffff:7f00:1]",
	} {
		d, err := rules.Decide(Target{Domain: domain, Local: "a"})
		if err == nil || !strings.Contains(err.Error(), "policy blocks it") {
			t.Errorf("%q: %v", domain, err)
		}
		if want, _ := NormalizeDomain(domain); d.Target.Domain != want || d.Target.Local != "a" {
			t.Errorf("%q: the decision is for %+v", domain, d.Target)
		}
	}
	for _, domain := range []string{"exa mple.org", "example.org\x00", "a/b", "example.org:5222"} {
		_, err := rules.Decide(Target{Domain: domain})
		if r, ok := errors.AsType[*Refusal](err); !ok || strings.Contains(r.Error(), domain) {
			t.Errorf("%q: %v", domain, err)
		}
	}
}

// A section takes part whole: what it leaves open is the default's, never a
// shorter section's.
func TestSections(t *testing.T) {
	rules := Rules{Default: complete(), Domains: map[string]Rule{
		"example.org":      {Route: route(t, "block"), CA: set("root.pem")},
		"chat.example.org": {PQ: set(PQRequire)},
		"0.0.1":            {Route: route(t, "block")},
		"127.0.0.1":        {Route: route(t, "direct")},
	}}
	for domain, want := range map[string]string{
		"example.org":           "block root.pem prefer",
		"a.example.org":         "block root.pem prefer",
		"chat.example.org":      "tor  require",
		"room.chat.example.org": "tor  require",
		"notexample.org":        "tor  prefer",
		"org":                   "tor  prefer",
		"example.org.example":   "tor  prefer",
		"127.0.0.1":             "direct  prefer",
		"10.0.0.1":              "tor  prefer", // an address is under no domain
	} {
		d, _ := rules.Decide(Target{Domain: domain})
		if got := d.Route.String() + " " + d.CAFile + " " + d.PQ.String(); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
}

// The section in force is the longest one that is the domain or stands behind a
// dot in it.
func TestLongestSuffix(t *testing.T) {
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab"}), 1, 4).Draw(t, "labels"), ".")
	})
	rapid.Check(t, func(t *rapid.T) {
		sections := rapid.SliceOfDistinct(name, func(s string) string { return s }).Draw(t, "sections")
		domain := name.Draw(t, "domain")
		rules := Rules{Default: complete(), Domains: map[string]Rule{}}
		want := ""
		for _, s := range sections {
			rules.Domains[s] = Rule{CA: Value[string]{V: s, Source: s}}
			if (s == domain || strings.HasSuffix(domain, "."+s)) && len(s) > len(want) {
				want = s
			}
		}
		d, err := rules.Decide(Target{Domain: domain})
		if err != nil || d.CAFile != want {
			t.Fatalf("%s among %q: %q, %v; want %q", domain, sections, d.CAFile, err, want)
		}
		if i := slices.IndexFunc(d.Why, func(r Reason) bool { return r.Key == "ca" }); (i < 0) != (want == "") || i >= 0 && d.Why[i].Source != want {
			t.Fatalf("%s among %q: %v", domain, sections, d.Why)
		}
	})
}

func TestCheckPin(t *testing.T) {
	for in, ok := range map[string]bool{
		"sha256/" + strings.Repeat("A", 43) + "=": true,
		"sha256/" + strings.Repeat("A", 43):       false,
		"sha256/" + strings.Repeat("A", 40):       false,
		"sha1/" + strings.Repeat("A", 43) + "=":   false,
		strings.Repeat("A", 43) + "=":             false,
		"":                                        false,
	} {
		if err := CheckPin(in); (err == nil) != ok {
			t.Errorf("%q: %v", in, err)
		}
	}
}
