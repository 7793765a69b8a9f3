// Package policy turns rules into decisions: given what a client asks for (a
// [Target]), [Rules.Decide] says by which route, to which endpoints, with what
// demands on TLS and SASL the gateway may go there, and which line of the
// configuration says so.
//
// The package is pure: it does no I/O and imports nothing else of this program.
// The zero value of each of its types refuses.
package policy

// Target is what a client asks for.
type Target struct {
	// Domain is the domain part of the account's JID, in A-label form and
	// lower case.
	Domain string
	// Local is the account's local part, empty while it is not known.
	Local string
}

// TLSMode says what proves that the far end is the domain's server.
type TLSMode uint8

// The TLS modes. TLSUnset refuses.
const (
	TLSUnset    TLSMode = iota
	TLSVerify           // "verify": PKIX certificate for the JID's domain (RFC 6125, RFC 7590 §3)
	TLSDANE             // "dane": what TLSA records say, where the domain has some that are proven (RFC 7673), else as TLSVerify
	TLSDANEOnly         // "dane-only": TLSA records that are proven, and nothing else
	TLSPin              // "pin": one of the configured SPKI pins, no certificate authority needed
	TLSOnion            // "onion": the onion address itself, which the owner bound to the domain
)

// UsesTLSA reports whether TLSA records are asked for.
func (m TLSMode) UsesTLSA() bool { return m == TLSDANE || m == TLSDANEOnly }

// PQ says whether the post-quantum key exchange X25519MLKEM768 is used.
type PQ uint8

// The post-quantum settings.
const (
	PQUnset PQ = iota
	PQOff
	PQPrefer
	PQRequire
)

// SASLMode says who authenticates upstream (docs/security.md).
type SASLMode uint8

// The SASL modes. SASLUnset refuses.
const (
	SASLUnset SASLMode = iota
	Originate
	Relay
	Passthrough
)

// AuthMin is the weakest SASL mechanism that may go upstream, in rising order.
type AuthMin uint8

// The authentication floors. AuthUnset refuses. AuthPlain can only be set for a
// domain by name.
const (
	AuthUnset AuthMin = iota
	AuthPlain
	AuthSCRAM
	AuthSCRAMPlus
	AuthExternal
)

// Binding says whether SASL channel binding (RFC 5056) must be used.
type Binding uint8

// The channel binding settings.
const (
	BindingUnset Binding = iota
	BindingPrefer
	BindingRequire
)

// PinMode says what becomes of the server keys that were seen.
type PinMode uint8

// The pin modes: trust on first use, and then warn or refuse on a change.
const (
	PinUnset PinMode = iota
	PinOff
	PinTOFUWarn
	PinTOFUStrict
)

// SCT says what becomes of a certificate that no two logs of Certificate
// Transparency vouch for (RFC 6962).
type SCT uint8

// The transparency settings.
const (
	SCTUnset SCT = iota
	SCTOff
	SCTWarn
	SCTRequire
)

// DNSSEC says what proof discovery wants of what DNS says. An answer that should
// be provable and is not is refused with both of the latter.
type DNSSEC uint8

// The DNSSEC settings: look at no proof; take what is proven, and what belongs to
// a part of the tree that nobody signs; take only what is proven.
const (
	DNSSECUnset DNSSEC = iota
	DNSSECOff
	DNSSECPrefer
	DNSSECRequire
)

// Witness says when the server's key is looked at a second time, over another
// circuit.
type Witness uint8

// The witness settings: never, when it is another key than before, at each login.
const (
	WitnessUnset Witness = iota
	WitnessOff
	WitnessOnChange
	WitnessAlways
)

// Mode says what becomes of a server that falls short of the stricter demands,
// those whose lack is no proof of an attack. What must never be is refused in both.
type Mode uint8

// The modes: refuse it, or tell and go on.
const (
	ModeUnset Mode = iota
	Enforce
	Report
)

// Redirect says whether see-other-host (RFC 6120 §4.9.3.19) is followed.
type Redirect uint8

// The redirect settings.
const (
	RedirectUnset Redirect = iota
	RedirectDeny
	RedirectSameDomain
)

// Registration says whether a client may make an account through the gateway
// (XEP-0077).
type Registration uint8

// The registration settings.
const (
	RegistrationUnset Registration = iota
	RegistrationDeny
	RegistrationAllow
)

// Upgrade says what becomes of onion endpoints that a domain's SRV records and
// host-meta name.
type Upgrade uint8

// The upgrade settings: leave them aside; or go there over Tor, and once a login
// succeeded there, nowhere else.
const (
	UpgradeUnset Upgrade = iota
	UpgradeOff
	UpgradeSticky
)

// Decision is what policy says of a target.
type Decision struct {
	Target Target

	Route     Route
	Endpoints []Endpoint // where to go; empty: discover by DNS over the route
	Onion     *Endpoint  // the onion endpoint the owner bound to the domain, tried first and alone
	Known     Known      // onion endpoints that others gave, where the owner named nothing
	Upgrade   Upgrade    // whether discovery may add onion endpoints

	TLS        TLSMode
	MinTLS     uint16 // tls.VersionTLS12 or tls.VersionTLS13
	PQ         PQ
	CAFile     string   // PEM file of one more root, for this domain alone; empty: none
	Pins       []string // "sha256/BASE64" of the SubjectPublicKeyInfo
	Pin        PinMode
	SCT        SCT
	DNSSEC     DNSSEC
	Witness    Witness
	Mode       Mode
	ClientCert string // PEM file with certificate and key for SASL EXTERNAL; empty: none

	// PasswordFile holds in its first line what the local client must give as
	// password where ClientCert logs in: the server does not see it, so that
	// nothing else would keep any local program out of the account.
	PasswordFile string

	SASL         SASLMode
	AuthMin      AuthMin
	Binding      Binding
	Redirect     Redirect
	Registration Registration

	// Why names, for each setting, the value and where it comes from, in the
	// order in which explain prints them.
	Why []Reason
}

// Reason is one setting of a decision and its source.
type Reason struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"` // "built-in default", or FILE:LINE
}
