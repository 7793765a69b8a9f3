package config

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"xmpp-gw/policy"
)

// Explanation is a decision for people and, as JSON, for programs. The names in
// it stay; others may be added.
type Explanation struct {
	Domain  string          `json:"domain"` // as it is compared: A-labels, lower case
	Allowed bool            `json:"allowed"`
	Refusal *policy.Refusal `json:"refusal,omitempty"` // where it is not allowed

	Route        string   `json:"route"`
	Onion        string   `json:"onion,omitempty"`
	Endpoints    []string `json:"endpoints"` // none: what DNS says
	Known        *Known   `json:"known,omitempty"`
	TLS          string   `json:"tls"`
	MinTLS       string   `json:"min_tls"`
	PQ           string   `json:"pq"`
	CA           string   `json:"ca,omitempty"`
	Pin          string   `json:"pin"`
	Pins         []string `json:"pins"`
	SCT          string   `json:"sct"`
	DNS          string   `json:"dns"`
	Witness      string   `json:"witness"`
	Mode         string   `json:"mode"`
	SASL         string   `json:"sasl"`
	AuthMin      string   `json:"auth_min"`
	Binding      string   `json:"binding"`
	ClientCert   string   `json:"client_cert,omitempty"`
	PasswordFile string   `json:"password_file,omitempty"`
	Redirect     string   `json:"redirect"`
	OnionUpgrade string   `json:"onion_upgrade"`
	Registration string   `json:"registration"`

	// Sentences say what will happen, in order: where to, what proves the
	// server, who logs in and how. A refused target has none.
	Sentences []string `json:"sentences"`
	// Why is every setting and where it stands, in the order of the file.
	Why []policy.Reason `json:"why"`
}

// Known is what an address book, or a login at an onion address, says of a domain
// that has no onion and no endpoints of its own in the rules.
type Known struct {
	Onions []string `json:"onions"` // used alone
	Source string   `json:"source,omitempty"`
	Listed bool     `json:"listed"`          // they stand in an address book
	Since  string   `json:"since,omitempty"` // the day of the first login there
}

// Explain turns what [policy.Rules.Decide] gave into words.
func Explain(d policy.Decision, refusal error) Explanation {
	e := Explanation{
		Domain:       d.Target.Domain,
		Allowed:      refusal == nil,
		Route:        d.Route.String(),
		Endpoints:    spell(d.Endpoints),
		TLS:          d.TLS.String(),
		MinTLS:       policy.TLSVersion(d.MinTLS).String(),
		PQ:           d.PQ.String(),
		CA:           d.CAFile,
		Pin:          d.Pin.String(),
		Pins:         append([]string{}, d.Pins...),
		SCT:          d.SCT.String(),
		DNS:          d.DNSSEC.String(),
		Witness:      d.Witness.String(),
		Mode:         d.Mode.String(),
		SASL:         d.SASL.String(),
		AuthMin:      d.AuthMin.String(),
		Binding:      d.Binding.String(),
		ClientCert:   d.ClientCert,
		PasswordFile: d.PasswordFile,
		Redirect:     d.Redirect.String(),
		OnionUpgrade: d.Upgrade.String(),
		Registration: d.Registration.String(),
		Sentences:    []string{},
		Why:          append([]policy.Reason{}, d.Why...),
	}
	if d.Onion != nil {
		e.Onion = d.Onion.String()
	}
	if k := d.Known; len(k.Endpoints) > 0 || k.Since != "" {
		e.Known = &Known{Onions: spell(k.Endpoints), Source: k.Source, Listed: k.Listed, Since: k.Since}
	}
	if refusal != nil {
		if r, ok := errors.AsType[*policy.Refusal](refusal); ok {
			e.Refusal = r
		} else {
			e.Refusal = &policy.Refusal{Domain: d.Target.Domain, Why: refusal.Error()}
		}
		return e
	}
	e.Sentences = append(e.Sentences, where(d), proof(d))
	if s := doubts(d); s != "" {
		e.Sentences = append(e.Sentences, s)
	}
	e.Sentences = append(e.Sentences, login(d))
	if d.Known.Since != "" {
		e.Sentences = append(e.Sentences, fmt.Sprintf("It is reached at onion addresses only, since a login there on %s; `%s` lifts that.",
			d.Known.Since, policy.Forget(d.Target.Domain)))
	}
	if d.Mode == policy.Report {
		e.Sentences = append(e.Sentences, "A server that falls short of the stricter of these rules is let through, and you are told.")
	}
	if d.Registration == policy.RegistrationDeny && d.SASL != policy.Passthrough {
		e.Sentences = append(e.Sentences, "Accounts cannot be made from within the client.")
	}
	return e
}

// where says which way the bytes go, and where to.
func where(d policy.Decision) string {
	var way string
	switch d.Route.Kind {
	case policy.RouteTor:
		way = "through Tor"
	case policy.RouteOnionOnly:
		way = "through Tor, and to onion addresses only"
	case policy.RouteSOCKS:
		way = fmt.Sprintf("through the SOCKS hop %q", d.Route.Name)
	case policy.RouteDirect:
		way = "straight from this machine, whose address the server sees"
	}
	to := "what DNS names, asked by the same route"
	switch d.DNSSEC {
	case policy.DNSSECPrefer:
		to += ", unless DNSSEC speaks against it"
	case policy.DNSSECRequire:
		to += " and proven by DNSSEC"
	}
	switch {
	case d.Onion != nil:
		to = d.Onion.String()
	case len(d.Endpoints) > 0:
		to = strings.Join(spell(d.Endpoints), ", then ")
	case len(d.Known.Endpoints) > 0:
		to = strings.Join(spell(d.Known.Endpoints), ", then ") + ", from " + d.Known.Source
	case policy.IsOnion(d.Target.Domain):
		to = "the onion address itself"
	}
	return fmt.Sprintf("The connection goes %s: to %s.", way, to)
}

// spell writes endpoints as the configuration does.
func spell(list []policy.Endpoint) []string {
	words := make([]string, len(list))
	for i, e := range list {
		words[i] = e.String()
	}
	return words
}

// proof says what makes sure that the far end is the domain's server.
func proof(d policy.Decision) string {
	least := "TLS " + policy.TLSVersion(d.MinTLS).String() + " or newer"
	if d.PQ == policy.PQRequire {
		least += " with post-quantum key exchange"
	}
	domain := policy.DisplayDomain(d.Target.Domain)
	switch {
	case d.SASL == policy.Passthrough:
		return "The client's own TLS goes through to the server: it is the client that checks the certificate."
	case d.TLS == policy.TLSPin:
		return least + "; the server must have one of the pinned keys."
	case policy.IsOnion(d.Target.Domain) && d.Onion == nil && len(d.Endpoints) == 0:
		return least + "; the onion address is the server's key and proves it."
	case d.TLS == policy.TLSOnion:
		return least + "; the onion address that the configuration binds to " + domain + " proves the server."
	}
	const tlsa = "the server must fit its TLSA records in DNS, which DNSSEC proves"
	if d.TLS == policy.TLSDANEOnly {
		return least + "; " + tlsa + ", and it must have some."
	}
	if d.TLS == policy.TLSDANE {
		least += "; " + tlsa + ", and where it has none"
	} else {
		least += ";"
	}
	s := fmt.Sprintf("%s the server's certificate must be for %s, from an authority that the system trusts", least, domain)
	if d.CAFile != "" {
		s += " or one of " + d.CAFile
	}
	if len(d.Pins) > 0 {
		s += ", with one of the pinned keys"
	}
	return s + "."
}

// doubts says what else is asked where public authorities prove the server, any of
// which could be made to prove somebody else; "" where something else does.
func doubts(d policy.Decision) string {
	if d.SASL == policy.Passthrough || len(d.Pins) > 0 || d.TLS != policy.TLSVerify && d.TLS != policy.TLSDANE ||
		policy.IsOnion(d.Target.Domain) && d.Onion == nil && len(d.Endpoints) == 0 {
		return ""
	}
	var parts []string
	switch {
	case d.CAFile != "" || d.SCT == policy.SCTOff:
	case d.SCT == policy.SCTRequire:
		parts = append(parts, "public logs must vouch for the certificate")
	default:
		parts = append(parts, "public logs should vouch for the certificate, or you are told")
	}
	atOnion := d.Route.Kind == policy.RouteOnionOnly || d.Onion != nil || len(d.Endpoints) > 0 && !slices.ContainsFunc(d.Endpoints, func(e policy.Endpoint) bool { return !e.Onion() })
	switch {
	case d.Witness == policy.WitnessOff || atOnion:
	case !d.Route.ViaTor():
		parts = append(parts, "the server's key is looked at once, as this route has no second circuit (witness)")
	case d.Witness == policy.WitnessAlways:
		parts = append(parts, "a second look over another circuit must see the same key, at each login")
	default:
		parts = append(parts, "a key that is not known is looked at over another circuit too")
	}
	if len(parts) == 0 {
		return ""
	}
	s := strings.Join(parts, "; ") + "."
	return strings.ToUpper(s[:1]) + s[1:]
}

// login says who logs in and what is the least.
func login(d policy.Decision) string {
	if d.SASL == policy.Passthrough {
		return "The gateway sees no stanza and no login, so no rule about logins holds; it insists on TLS and no more."
	}
	var least string
	switch d.AuthMin {
	case policy.AuthPlain:
		least = "SCRAM, or PLAIN where the server has nothing better"
	case policy.AuthSCRAM:
		least = "SCRAM or better, and never with a password that the server could read"
	case policy.AuthSCRAMPlus:
		least = "SCRAM bound to the TLS connection, or better"
	case policy.AuthExternal:
		least = "a client certificate and nothing else"
	}
	if d.Binding == policy.BindingRequire && d.AuthMin < policy.AuthSCRAMPlus {
		least += "; it must be bound to the TLS connection"
	}
	switch {
	case d.SASL == policy.Relay:
		return "The client logs in itself, by " + least + "."
	case d.ClientCert != "" && d.AuthMin != policy.AuthExternal:
		return "The gateway logs in, with the client certificate where the server takes it, else by " + least + "."
	}
	return "The gateway logs in, by " + least + "."
}

// WriteText writes e for a person.
func (e Explanation) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	verdict := "allowed"
	if !e.Allowed {
		verdict = "refused"
	}
	fmt.Fprintf(b, "%s: %s\n", policy.DisplayDomain(e.Domain), verdict)
	if r := e.Refusal; r != nil {
		fmt.Fprintf(b, "  why:  %s\n", printable(r.Why))
		if r.Source != "" {
			fmt.Fprintf(b, "        (%s)\n", printable(r.Source))
		}
		if r.Hint != "" {
			fmt.Fprintf(b, "  hint: %s\n", printable(r.Hint))
		}
	}
	for _, s := range e.Sentences {
		fmt.Fprintf(b, "  %s\n", printable(s))
	}
	if len(e.Why) > 0 {
		fmt.Fprintln(b)
	}
	// Most values are short; a long one does not push the others' sources away.
	var key, value int
	for _, r := range e.Why {
		key = max(key, len(r.Key))
		if n := utf8.RuneCountInString(printable(r.Value)); n <= 40 {
			value = max(value, n)
		}
	}
	for _, r := range e.Why {
		fmt.Fprintf(b, "%-*s  %-*s  %s\n", key, r.Key, value, printable(r.Value), printable(r.Source))
	}
	return b.Flush()
}

// printable is s, in quotes where it would not be a line of text.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
