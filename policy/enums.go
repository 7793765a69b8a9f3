package policy

import (
	"crypto/tls"
	"fmt"
	"strings"
)

// names gives the configuration's spellings of one enumeration, in order of
// their values from 1 on: the zero value has no spelling.
type names []string

func (n names) string(v uint8) string {
	if v == 0 || int(v) > len(n) {
		return "unset"
	}
	return n[v-1]
}

func (n names) parse(s string) (uint8, error) {
	for i, name := range n {
		if s == name {
			return uint8(i + 1), nil
		}
	}
	return 0, fmt.Errorf("%q is none of %s", s, strings.Join(n, ", "))
}

// unmarshal sets an enumeration from its spelling.
func unmarshal[T ~uint8](v *T, n names, text []byte) error {
	u, err := n.parse(string(text))
	if err == nil {
		*v = T(u)
	}
	return err
}

var (
	tlsModes      = names{"verify", "dane", "dane-only", "pin", "onion"}
	pqs           = names{"off", "prefer", "require"}
	saslModes     = names{"originate", "relay", "passthrough"}
	authMins      = names{"plain", "scram", "scram-plus", "external"}
	bindings      = names{"prefer", "require"}
	pinModes      = names{"off", "tofu-warn", "tofu-strict"}
	scts          = names{"off", "warn", "require"}
	dnssecs       = names{"off", "dnssec-prefer", "dnssec-require"}
	witnesses     = names{"off", "on-change", "always"}
	modes         = names{"enforce", "report"}
	redirects     = names{"deny", "same-domain"}
	registrations = names{"deny", "allow"}
	upgrades      = names{"off", "sticky"}
)

// The String methods give the configuration's spelling, the UnmarshalText
// methods read it; an error lists the spellings there are.

func (v TLSMode) String() string                 { return tlsModes.string(uint8(v)) }
func (v *TLSMode) UnmarshalText(b []byte) error  { return unmarshal(v, tlsModes, b) }
func (v PQ) String() string                      { return pqs.string(uint8(v)) }
func (v *PQ) UnmarshalText(b []byte) error       { return unmarshal(v, pqs, b) }
func (v SASLMode) String() string                { return saslModes.string(uint8(v)) }
func (v *SASLMode) UnmarshalText(b []byte) error { return unmarshal(v, saslModes, b) }
func (v AuthMin) String() string                 { return authMins.string(uint8(v)) }
func (v *AuthMin) UnmarshalText(b []byte) error  { return unmarshal(v, authMins, b) }
func (v Binding) String() string                 { return bindings.string(uint8(v)) }
func (v *Binding) UnmarshalText(b []byte) error  { return unmarshal(v, bindings, b) }
func (v PinMode) String() string                 { return pinModes.string(uint8(v)) }
func (v *PinMode) UnmarshalText(b []byte) error  { return unmarshal(v, pinModes, b) }
func (v SCT) String() string                     { return scts.string(uint8(v)) }
func (v *SCT) UnmarshalText(b []byte) error      { return unmarshal(v, scts, b) }
func (v DNSSEC) String() string                  { return dnssecs.string(uint8(v)) }
func (v *DNSSEC) UnmarshalText(b []byte) error   { return unmarshal(v, dnssecs, b) }
func (v Witness) String() string                 { return witnesses.string(uint8(v)) }
func (v *Witness) UnmarshalText(b []byte) error  { return unmarshal(v, witnesses, b) }
func (v Mode) String() string                    { return modes.string(uint8(v)) }
func (v *Mode) UnmarshalText(b []byte) error     { return unmarshal(v, modes, b) }
func (v Upgrade) String() string                 { return upgrades.string(uint8(v)) }
func (v *Upgrade) UnmarshalText(b []byte) error  { return unmarshal(v, upgrades, b) }
func (v Redirect) String() string                { return redirects.string(uint8(v)) }
func (v *Redirect) UnmarshalText(b []byte) error { return unmarshal(v, redirects, b) }
func (v Registration) String() string            { return registrations.string(uint8(v)) }
func (v *Registration) UnmarshalText(b []byte) error {
	return unmarshal(v, registrations, b)
}

// UnmarshalText reads a route as ParseRoute does.
func (r *Route) UnmarshalText(b []byte) (err error) {
	*r, err = ParseRoute(string(b))
	return err
}

// UnmarshalText reads an endpoint as ParseEndpoint does.
func (e *Endpoint) UnmarshalText(b []byte) (err error) {
	*e, err = ParseEndpoint(string(b))
	return err
}

// TLSVersion is a version of TLS, as crypto/tls numbers them. The zero value
// refuses.
type TLSVersion uint16

// String is "1.2" or "1.3".
func (v TLSVersion) String() string {
	switch v {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	}
	return "unset"
}

// UnmarshalText reads "1.2" or "1.3".
func (v *TLSVersion) UnmarshalText(b []byte) error {
	switch string(b) {
	case "1.2":
		*v = tls.VersionTLS12
	case "1.3":
		*v = tls.VersionTLS13
	default:
		return fmt.Errorf("%q is none of 1.3, 1.2", b)
	}
	return nil
}
