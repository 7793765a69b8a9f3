package policy

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Value is one setting and where it stands. One without a source is not set.
type Value[T any] struct {
	V      T
	Source string // "built-in default", or FILE:LINE
}

// IsSet reports whether somebody gave the setting.
func (v Value[T]) IsSet() bool { return v.Source != "" }

// or is v where it is set, else w.
func (v Value[T]) or(w Value[T]) Value[T] {
	if v.IsSet() {
		return v
	}
	return w
}

// Rule is one section of settings: the defaults or those of a domain and the
// domains under it, which get all of them: an onion address, endpoints, pins, a
// root and a client certificate too.
type Rule struct {
	Route        Value[Route]
	TLS          Value[TLSMode]
	MinTLS       Value[TLSVersion]
	PQ           Value[PQ]
	SASL         Value[SASLMode]
	AuthMin      Value[AuthMin]
	Binding      Value[Binding]
	Pin          Value[PinMode]
	SCT          Value[SCT]
	DNSSEC       Value[DNSSEC]
	Witness      Value[Witness]
	Mode         Value[Mode]
	Redirect     Value[Redirect]
	Registration Value[Registration]
	Upgrade      Value[Upgrade]

	// These make sense for a domain only.
	Onion      Value[Endpoint]
	Endpoints  Value[[]Endpoint]
	CA         Value[string]
	Pins       Value[[]string]
	ClientCert Value[string]
	// PasswordFile goes with ClientCert.
	PasswordFile Value[string]
}

// over lays r over base: what r leaves open is base's.
func (r Rule) over(base Rule) Rule {
	return Rule{
		Route:        r.Route.or(base.Route),
		TLS:          r.TLS.or(base.TLS),
		MinTLS:       r.MinTLS.or(base.MinTLS),
		PQ:           r.PQ.or(base.PQ),
		SASL:         r.SASL.or(base.SASL),
		AuthMin:      r.AuthMin.or(base.AuthMin),
		Binding:      r.Binding.or(base.Binding),
		Pin:          r.Pin.or(base.Pin),
		SCT:          r.SCT.or(base.SCT),
		DNSSEC:       r.DNSSEC.or(base.DNSSEC),
		Witness:      r.Witness.or(base.Witness),
		Mode:         r.Mode.or(base.Mode),
		Redirect:     r.Redirect.or(base.Redirect),
		Registration: r.Registration.or(base.Registration),
		Upgrade:      r.Upgrade.or(base.Upgrade),
		Onion:        r.Onion.or(base.Onion),
		Endpoints:    r.Endpoints.or(base.Endpoints),
		CA:           r.CA.or(base.CA),
		Pins:         r.Pins.or(base.Pins),
		ClientCert:   r.ClientCert.or(base.ClientCert),
		PasswordFile: r.PasswordFile.or(base.PasswordFile),
	}
}

// Rules is all that decides. The zero value refuses every target.
type Rules struct {
	Default Rule
	Domains map[string]Rule // by normalised domain

	// Known gives what is known of a normalised domain's onion endpoints; nil:
	// nothing.
	Known func(domain string) Known
}

// ruleFor is the rule in force for domain: the longest suffix of whole labels
// that has a section, laid over the defaults. Shorter suffixes have no say, so
// that all that holds for a domain stands in two places at most. An address has
// no suffixes. own is that section alone.
func (r Rules) ruleFor(domain string) (rule, own Rule) {
	_, err := netip.ParseAddr(domain)
	literal := err == nil
	for suffix := domain; ; {
		if own, ok := r.Domains[suffix]; ok {
			return own.over(r.Default), own
		}
		_, rest, more := strings.Cut(suffix, ".")
		if literal || !more {
			return r.Default, Rule{}
		}
		suffix = rest
	}
}

// Refusal is a target that policy does not let through. Its text is one a
// person can read: what, why, what to do.
type Refusal struct {
	Domain string `json:"-"`
	Why    string `json:"why"`
	Hint   string `json:"hint,omitempty"`
	Source string `json:"source,omitempty"` // of the setting that refuses
}

func (e *Refusal) Error() string {
	s := e.Domain + " is refused: " + e.Why
	if e.Source != "" {
		s += " (" + e.Source + ")"
	}
	if e.Hint != "" {
		s += ". " + e.Hint
	}
	return s + "."
}

// Decide says what may be done for t, whose domain may be in any spelling; the
// decision has it as [NormalizeDomain] writes it, because no other spelling finds
// its section. A refusal is a [*Refusal]; the decision that comes with it still
// says why, for explain.
func (r Rules) Decide(t Target) (Decision, error) {
	name, bad := NormalizeDomain(t.Domain)
	if bad == nil {
		t.Domain = name
	}
	rule, own := r.ruleFor(t.Domain)
	d := Decision{
		Target:       t,
		Route:        rule.Route.V,
		Endpoints:    rule.Endpoints.V,
		TLS:          rule.TLS.V,
		MinTLS:       uint16(rule.MinTLS.V),
		PQ:           rule.PQ.V,
		CAFile:       rule.CA.V,
		Pins:         rule.Pins.V,
		Pin:          rule.Pin.V,
		SCT:          rule.SCT.V,
		DNSSEC:       rule.DNSSEC.V,
		Witness:      rule.Witness.V,
		Mode:         rule.Mode.V,
		ClientCert:   rule.ClientCert.V,
		PasswordFile: rule.PasswordFile.V,
		SASL:         rule.SASL.V,
		AuthMin:      rule.AuthMin.V,
		Binding:      rule.Binding.V,
		Redirect:     rule.Redirect.V,
		Registration: rule.Registration.V,
		Upgrade:      rule.Upgrade.V,
		Why:          rule.why(),
	}
	if rule.Onion.IsSet() {
		onion := rule.Onion.V
		d.Onion = &onion
	}
	if bad != nil && t.Domain != "" {
		return d, &Refusal{Domain: "the target", Why: bad.Error()}
	}
	known, err := r.known(t.Domain, rule, own)
	d.Known = known
	d.Why = append(d.Why, known.why()...)
	if refusal := d.judge(rule); refusal != nil {
		return d, refusal
	}
	return d, err
}

// judge finds what stands against the decision.
func (d Decision) judge(rule Rule) error {
	no := func(source, why, hint string) error {
		return &Refusal{Domain: d.Target.Domain, Why: why, Hint: hint, Source: source}
	}
	onionDomain := IsOnion(d.Target.Domain)
	bound := d.Onion != nil || len(d.Endpoints) > 0 && !slices.ContainsFunc(d.Endpoints, Endpoint.notOnion)
	switch {
	case d.Target.Domain == "":
		return &Refusal{Domain: "the target", Why: "it names no domain"}
	case d.Route.Kind == RouteUnset:
		return no("", "no rule gives it a route", "Set route in [default] or for the domain")
	case d.Route.Kind == RouteBlock:
		return no(rule.Route.Source, "policy blocks it (route = \"block\")", "Give the domain another route if that is not what you want")
	case d.incomplete():
		return no("", "its rules are incomplete", "This is a mistake in the program that made them")
	case onionDomain && !d.Route.ViaTor():
		return no(rule.Route.Source, "it is an onion address, which only Tor can reach", "Set route = \"tor\" for it")
	case (d.Onion != nil || slices.ContainsFunc(d.Endpoints, Endpoint.Onion)) && !d.Route.ViaTor():
		return no(rule.Route.Source, "its server is at an onion address, which only Tor can reach", "Set route = \"tor\" for it")
	}
	if onionDomain {
		if err := CheckOnion(d.Target.Domain); err != nil {
			return no("", err.Error(), "Check the address in the client")
		}
		elsewhere := func(e Endpoint) bool { return onionService(e.Host) != onionService(d.Target.Domain) }
		switch {
		case slices.ContainsFunc(d.Endpoints, elsewhere):
			return no(rule.Endpoints.Source, "it is an onion address, and its endpoints are others", "Leave endpoints out, or name that onion address only")
		case d.Onion != nil && elsewhere(*d.Onion):
			return no(rule.Onion.Source, "it is an onion address, and onion names another", "Leave onion out")
		}
	}
	plain := func(e Endpoint) bool { return e.Transport == PlainWebSocket && !d.OnionProves(e) }
	switch {
	case d.Onion != nil && plain(*d.Onion):
		return no(rule.Onion.Source, "a WebSocket without TLS (ws://) needs an onion address that proves the server", "Set tls = \"onion\" in the domain's section, or use wss://")
	case slices.ContainsFunc(d.Endpoints, plain):
		return no(rule.Endpoints.Source, "a WebSocket without TLS (ws://) needs an onion address that proves the server", "Set tls = \"onion\" in the domain's section, or use wss://")
	case d.Route.Kind == RouteOnionOnly && !bound && len(d.Known.Endpoints) == 0 && (!onionDomain || len(d.Endpoints) > 0):
		return no(rule.Route.Source, "it may only be reached at an onion address and none is known", "Add onion = \"….onion\" to the domain's section, or import an address book that has it (xmpp-gw onion map)")
	case d.TLS == TLSOnion && !bound && !onionDomain:
		return no(rule.TLS.Source, "an onion address must prove it (tls = \"onion\") and none is set", "Add onion = \"….onion\" to the domain's section")
	case d.TLS == TLSPin && len(d.Pins) == 0:
		return no(rule.TLS.Source, "its key must be pinned (tls = \"pin\") and no pin is set", "Add pins = [\"sha256/…\"] to the domain's section")
	case d.TLS.UsesTLSA() && d.DNSSEC == DNSSECOff:
		return no(rule.TLS.Source, fmt.Sprintf("what proves it stands in DNS (tls = %q) and nobody may look whether that is proven (dns = \"off\")", d.TLS), "Set dns = \"dnssec-prefer\" for it")
	case d.TLS == TLSDANEOnly && !onionDomain && (bound || d.Route.Kind == RouteOnionOnly):
		return no(rule.TLS.Source, "TLSA records must prove it (tls = \"dane-only\"), and there are none for an onion address", "Set tls = \"onion\" or \"verify\" for it")
	case d.SASL == Originate && d.AuthMin == AuthExternal && d.ClientCert == "":
		return no(rule.AuthMin.Source, "only a client certificate may log in (auth_min = \"external\") and none is set", "Add client_cert and password_file to the domain's section")
	case d.ClientCert != "" && d.PasswordFile == "":
		return no(rule.ClientCert.Source, "any program on this machine could log in with its client_cert", "Add password_file to the domain's section")
	}
	return nil
}

// incomplete reports whether a setting is missing without which nothing may be done.
func (d Decision) incomplete() bool {
	return d.TLS == TLSUnset || d.MinTLS == 0 || d.PQ == PQUnset ||
		d.SASL == SASLUnset || d.AuthMin == AuthUnset || d.Binding == BindingUnset ||
		d.Pin == PinUnset || d.SCT == SCTUnset || d.DNSSEC == DNSSECUnset || d.Witness == WitnessUnset || d.Mode == ModeUnset ||
		d.Redirect == RedirectUnset || d.Registration == RegistrationUnset || d.Upgrade == UpgradeUnset
}

// onionService is host without the labels before the onion address, which Tor
// ignores.
func onionService(host string) string {
	labels := strings.Split(host, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}

func (e Endpoint) notOnion() bool { return !e.Onion() }

// why lists the rule's settings with their sources, in the order of the
// configuration.
func (r Rule) why() []Reason {
	var list []Reason
	add := func(key, value, source string) {
		if source != "" {
			list = append(list, Reason{Key: key, Value: value, Source: source})
		}
	}
	add("route", r.Route.V.String(), r.Route.Source)
	add("onion", r.Onion.V.String(), r.Onion.Source)
	add("endpoints", join(r.Endpoints.V), r.Endpoints.Source)
	add("tls", r.TLS.V.String(), r.TLS.Source)
	add("min_tls", r.MinTLS.V.String(), r.MinTLS.Source)
	add("pq", r.PQ.V.String(), r.PQ.Source)
	add("ca", r.CA.V, r.CA.Source)
	add("pin", r.Pin.V.String(), r.Pin.Source)
	add("pins", strings.Join(r.Pins.V, " "), r.Pins.Source)
	add("sct", r.SCT.V.String(), r.SCT.Source)
	add("dns", r.DNSSEC.V.String(), r.DNSSEC.Source)
	add("witness", r.Witness.V.String(), r.Witness.Source)
	add("sasl", r.SASL.V.String(), r.SASL.Source)
	add("auth_min", r.AuthMin.V.String(), r.AuthMin.Source)
	add("binding", r.Binding.V.String(), r.Binding.Source)
	add("client_cert", r.ClientCert.V, r.ClientCert.Source)
	add("password_file", r.PasswordFile.V, r.PasswordFile.Source)
	add("redirect", r.Redirect.V.String(), r.Redirect.Source)
	add("onion_upgrade", r.Upgrade.V.String(), r.Upgrade.Source)
	add("mode", r.Mode.V.String(), r.Mode.Source)
	add("registration", r.Registration.V.String(), r.Registration.Source)
	return list
}

// join writes endpoints one behind the other.
func join(list []Endpoint) string {
	words := make([]string, len(list))
	for i, e := range list {
		words[i] = e.String()
	}
	return strings.Join(words, " ")
}

// CheckPin says what is wrong with a pin, nil if it is "sha256/" and the base64
// of 32 bytes.
func CheckPin(pin string) error {
	sum, ok := strings.CutPrefix(pin, "sha256/")
	if raw, err := base64.StdEncoding.DecodeString(sum); !ok || err != nil || len(raw) != 32 {
		return fmt.Errorf("%q is no pin: it must be sha256/ and the base64 of 32 bytes", pin)
	}
	return nil
}
