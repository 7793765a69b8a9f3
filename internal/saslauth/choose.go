package saslauth

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"hash"
	"slices"
	"strings"

	"github.com/xdg-go/scram"

	"xmpp-gw/policy"
)

// Channel says what protects the connection to the server. The zero value
// refuses every login: no SASL byte goes out before the far end is proven.
type Channel uint8

// The channels. ChannelOnion is a stream without TLS through Tor to an onion
// address, which authenticates itself and encrypts end to end.
const (
	ChannelUnset Channel = iota
	ChannelTLS           // TLS whose certificate was verified
	ChannelOnion
)

// Rules are the owner's demands on one login. The zero value refuses.
type Rules struct {
	Min     policy.AuthMin // weakest mechanism that may be used
	Binding policy.Binding // whether channel binding must be used
	Channel Channel        // what protects the connection

	// RatchetPlus says that an earlier login at this domain was bound to its TLS
	// connection ([Outcome].Plus). Then this one must be as well: a server does
	// not lose the ability, but a man in the middle has to hide it.
	RatchetPlus bool
}

// The names of the mechanisms besides SCRAM.
const (
	external = "EXTERNAL"
	plain    = "PLAIN"
	plus     = "-PLUS"
)

// family is SCRAM with one hash function.
type family struct {
	name    string
	newHash func() hash.Hash
}

// families are the SCRAM mechanisms we speak, best first (RFC 5802, RFC 7677,
// draft-melnikov-scram-sha-512). Channel binding counts for more than the hash:
// no SCRAM hash is known to be breakable inside HMAC and PBKDF2, SHA-1 included,
// while a login that is not bound can be relayed by whoever holds a certificate
// for the domain. So any -PLUS comes before all that are not.
var families = []family{
	{"SCRAM-SHA-512", sha512.New},
	{"SCRAM-SHA-256", sha256.New},
	{"SCRAM-SHA-1", sha1.New},
}

// attempt is one way to log in that the rules allow.
type attempt struct {
	proto     Protocol
	mechanism string
	offered   []string // the mechanisms of proto, for XEP-0474

	// The rest is for SCRAM.
	family   family
	flag     byte                 // GS2 channel binding flag: 'p', 'y' or 'n'
	cb       scram.ChannelBinding // for flag 'p'
	needHash bool                 // the XEP-0474 hash must be present
}

// choose lists what to try, in order: one attempt, or two where a server sent no
// list of binding types (see the package comment). state is nil without TLS.
func choose(o Offer, haveCert bool, r Rules, state *tls.ConnectionState) ([]attempt, error) {
	if r.Min == policy.AuthUnset || r.Binding == policy.BindingUnset || r.Channel == ChannelUnset {
		return nil, errorOf(ErrRules, "The gateway has no complete rules for logging in at this domain, so it refuses.")
	}
	if r.Channel != ChannelTLS {
		state = nil
		o.SASL2 = nil // XEP-0388 §3: only after TLS
	} else if state == nil {
		return nil, errorOf(ErrRules, "The gateway lost the facts about its TLS connection to the server, so it refuses to log in.")
	}
	lists := []attempt{{proto: SASL2, offered: o.SASL2}, {proto: SASL1, offered: o.Mechanisms}}

	if haveCert && state != nil {
		for _, a := range lists {
			if slices.Contains(a.offered, external) {
				a.mechanism = external
				return []attempt{a}, nil
			}
		}
	}
	if r.Min == policy.AuthExternal {
		return nil, errorOf(ErrTooWeak, "Logging in here needs a client certificate (auth_min = \"external\"), but "+
			reason(haveCert, "the server does not offer EXTERNAL.", "none is configured for this domain."))
	}
	for _, a := range lists {
		if slices.ContainsFunc(a.offered, speaksSCRAM) {
			return chooseSCRAM(a, o.BindingTypes, r, state)
		}
	}
	return choosePlain(lists, r, state)
}

func reason(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}

// choosePlain is for servers that offer no SCRAM that we speak.
func choosePlain(lists []attempt, r Rules, state *tls.ConnectionState) ([]attempt, error) {
	for _, a := range lists {
		if !slices.Contains(a.offered, plain) {
			continue
		}
		switch {
		case r.RatchetPlus:
			return nil, errRatchet
		case r.Min != policy.AuthPlain || r.Binding == policy.BindingRequire:
			return nil, errorOf(ErrTooWeak, "The server wants the password itself (PLAIN) and offers nothing better. "+
				"If that is expected, allow it for this domain by name: auth_min = \"plain\".")
		case state == nil:
			return nil, errorOf(ErrTooWeak, "The server wants the password itself (PLAIN) on a stream without TLS; that is never sent.")
		}
		a.mechanism = plain
		return []attempt{a}, nil
	}
	return nil, errorOf(ErrTooWeak, "The server offers no way to log in that the gateway speaks (SCRAM, EXTERNAL or PLAIN).")
}

// errRatchet names the likeliest reasons for the loss, the worst one first.
var errRatchet = errorOf(ErrRatchet, "Earlier logins at this domain were bound to their TLS connection, and the server does not offer that now. "+
	"Somebody in the middle who holds a certificate for the domain would have to hide exactly this. "+
	"If its operator says that channel binding was switched off (or that an old server moved to TLS 1.3), remove the domain from the gateway's pin file and log in again.")

// chooseSCRAM decides about channel binding. a.offered has a SCRAM that we speak.
func chooseSCRAM(a attempt, types []string, r Rules, state *tls.ConnectionState) ([]attempt, error) {
	if state == nil {
		return unbound(a, r, 'n', "This stream has no TLS to bind the login to.")
	}
	bindable := offersPlus(a.offered)
	switch {
	case !bindable && types != nil: // XEP-0440 §3 rule 5
		return nil, errorOf(ErrDowngrade, "The server lists types of channel binding but no mechanism that uses one: "+
			"somebody in the middle may have removed those, or its operator disabled them and left the list.")
	case !bindable: // rule 3
		return unbound(a, r, 'y', "The server offers no channel binding (SCRAM-…-PLUS).")
	case types == nil && a.proto == SASL2: // rule 4
		return nil, errorOf(ErrDowngrade, "The server offers channel binding but no list of its types, which SASL2 demands: "+
			"somebody in the middle may have removed the list.")
	}
	var cb scram.ChannelBinding
	var ok bool
	if types == nil {
		cb, ok = defaultBinding(state)
	} else {
		cb, ok = bindingFor(state, types)
	}
	bound, ok := withBinding(a, cb, ok)
	switch {
	case ok && types != nil:
		return []attempt{bound}, nil
	case ok:
		if free, err := unbound(a, r, 'n', ""); err == nil {
			return []attempt{bound, free[0]}, nil
		}
		return []attempt{bound}, nil
	case types == nil:
		return unbound(a, r, 'n', "This TLS connection has nothing that the login could be bound to.")
	}
	// The server can bind and so can we, but not in a common way. XEP-0440 §3
	// rule 6 sees an attack in that unless tls-server-end-point, which all must
	// have, is listed; XEP-0474 §7 lets us go on where the server's hash proves
	// the lists.
	a.needHash = !slices.Contains(types, TLSServerEndPoint)
	return unbound(a, r, 'n', "The server's channel binding ("+CleanText(strings.Join(types, ", "))+") does not fit this TLS connection.")
}

// withBinding picks the best -PLUS mechanism, if there is a binding to use.
func withBinding(a attempt, cb scram.ChannelBinding, ok bool) (attempt, bool) {
	for _, f := range families {
		if ok && slices.Contains(a.offered, f.name+plus) {
			a.mechanism, a.family, a.flag, a.cb = f.name+plus, f, 'p', cb
			return a, true
		}
	}
	return a, false
}

// unbound picks the best SCRAM mechanism without channel binding, where the
// rules let one go without; why says what stands in the way of binding.
func unbound(a attempt, r Rules, flag byte, why string) ([]attempt, error) {
	switch {
	case r.RatchetPlus:
		return nil, errRatchet
	case r.Binding == policy.BindingRequire || r.Min >= policy.AuthSCRAMPlus:
		return nil, errorOf(ErrBinding, why+" The rules for this domain demand it (binding = \"require\" or auth_min = \"scram-plus\").")
	}
	for _, f := range families {
		if slices.Contains(a.offered, f.name) {
			a.mechanism, a.family, a.flag = f.name, f, flag
			return []attempt{a}, nil
		}
	}
	return nil, errorOf(ErrBinding, why+" The server offers no SCRAM without it.")
}

// offersPlus reports whether mechanisms has one that binds, spoken here or not.
func offersPlus(mechanisms []string) bool {
	return slices.ContainsFunc(mechanisms, func(m string) bool { return strings.HasSuffix(m, plus) })
}

// speaksSCRAM reports whether mechanism is a SCRAM that we speak, bound or not.
func speaksSCRAM(mechanism string) bool {
	name := strings.TrimSuffix(mechanism, plus)
	return slices.ContainsFunc(families, func(f family) bool { return f.name == name })
}

// AllowedInRelay says whether a client may use mechanism in relay mode, where
// its own SASL goes to the server untouched; nil means that it may. What the
// gateway does not know cannot be judged and is refused.
//
// Channel binding and relay exclude each other, since the gateway ends the
// client's TLS: a -PLUS login passes here and fails at the server.
func AllowedInRelay(mechanism string, r Rules) error {
	rank := policy.AuthUnset
	switch {
	case mechanism == external:
		rank = policy.AuthExternal
	case strings.HasPrefix(mechanism, "SCRAM-") && strings.HasSuffix(mechanism, plus):
		rank = policy.AuthSCRAMPlus
	case strings.HasPrefix(mechanism, "SCRAM-"):
		rank = policy.AuthSCRAM
	case mechanism == plain:
		rank = policy.AuthPlain
	}
	floor := r.Min
	if r.Binding == policy.BindingRequire {
		floor = max(floor, policy.AuthSCRAMPlus)
	}
	switch {
	case r.Min == policy.AuthUnset || r.Binding == policy.BindingUnset || r.Channel == ChannelUnset:
		return errorOf(ErrRules, "The gateway has no complete rules for logging in at this domain, so it refuses.")
	case rank == policy.AuthUnset:
		return errorOf(ErrTooWeak, "The gateway does not let the mechanism "+CleanText(mechanism)+" through; use a SCRAM mechanism.")
	case rank < floor:
		return errorOf(ErrTooWeak, "The mechanism "+mechanism+" is weaker than the rules for this domain allow.")
	case rank == policy.AuthPlain && r.Channel != ChannelTLS:
		return errorOf(ErrTooWeak, "The password itself (PLAIN) is never sent on a stream without TLS.")
	}
	return nil
}
