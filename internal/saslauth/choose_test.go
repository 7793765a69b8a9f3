package saslauth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"

	"xmpp-gw/policy"
)

var usual = Rules{Min: policy.AuthSCRAM, Binding: policy.BindingPrefer, Channel: ChannelTLS}

func TestChoose(t *testing.T) {
	tls13, _ := handshake(t, tls.VersionTLS13)
	tls12, _ := handshake(t, tls.VersionTLS12)
	words := strings.Fields
	both := words("PLAIN SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS")
	all3 := words(TLSUnique + " " + TLSServerEndPoint + " " + TLSExporter)

	with := func(edit func(*Rules)) Rules { r := usual; edit(&r); return r }
	require := with(func(r *Rules) { r.Binding = policy.BindingRequire })
	plusFloor := with(func(r *Rules) { r.Min = policy.AuthSCRAMPlus })
	ratchet := with(func(r *Rules) { r.RatchetPlus = true })
	plainOK := with(func(r *Rules) { r.Min = policy.AuthPlain })
	extFloor := with(func(r *Rules) { r.Min = policy.AuthExternal })
	onion := with(func(r *Rules) { r.Channel = ChannelOnion })

	for _, c := range []struct {
		name  string
		offer Offer
		rules Rules
		state *tls.ConnectionState
		cert  bool
		want  string // "PROTOCOL MECHANISM FLAG[=TYPE] [hash]" of each attempt
		err   error
	}{
		{name: "bound, by the list", offer: Offer{Mechanisms: both, BindingTypes: all3}, state: tls13, want: "SASL SCRAM-SHA-256-PLUS p=tls-exporter"},
		{name: "bound, weaker type only", offer: Offer{Mechanisms: both, BindingTypes: words(TLSServerEndPoint)}, state: tls13, want: "SASL SCRAM-SHA-256-PLUS p=tls-server-end-point"},
		{name: "TLS 1.3 has no tls-unique", offer: Offer{Mechanisms: both, BindingTypes: words(TLSUnique + " " + TLSServerEndPoint)}, state: tls13, want: "SASL SCRAM-SHA-256-PLUS p=tls-server-end-point"},
		{name: "TLS 1.2 has it", offer: Offer{Mechanisms: both, BindingTypes: words(TLSUnique + " " + TLSServerEndPoint)}, state: tls12, want: "SASL SCRAM-SHA-256-PLUS p=tls-unique"},
		{name: "TLS 1.2 with an exporter", offer: Offer{Mechanisms: both, BindingTypes: all3}, state: tls12, want: "SASL SCRAM-SHA-256-PLUS p=tls-exporter"},
		{name: "bound beats a better hash", offer: Offer{Mechanisms: words("SCRAM-SHA-512 SCRAM-SHA-1-PLUS"), BindingTypes: all3}, state: tls13, want: "SASL SCRAM-SHA-1-PLUS p=tls-exporter"},
		{name: "SHA-512 first", offer: Offer{Mechanisms: words("SCRAM-SHA-1-PLUS SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS"), BindingTypes: all3}, state: tls13, want: "SASL SCRAM-SHA-512-PLUS p=tls-exporter"},

		{name: "no list, TLS 1.3", offer: Offer{Mechanisms: both}, state: tls13, want: "SASL SCRAM-SHA-256-PLUS p=tls-exporter, SASL SCRAM-SHA-256 n"},
		{name: "no list, TLS 1.2", offer: Offer{Mechanisms: both}, state: tls12, want: "SASL SCRAM-SHA-256-PLUS p=tls-unique, SASL SCRAM-SHA-256 n"},
		{name: "no list, required", offer: Offer{Mechanisms: both}, rules: require, state: tls13, want: "SASL SCRAM-SHA-256-PLUS p=tls-exporter"},
		{name: "no list, bound before", offer: Offer{Mechanisms: both}, rules: ratchet, state: tls13, want: "SASL SCRAM-SHA-256-PLUS p=tls-exporter"},
		{name: "no list, floor", offer: Offer{Mechanisms: both}, rules: plusFloor, state: tls13, want: "SASL SCRAM-SHA-256-PLUS p=tls-exporter"},

		{name: "not offered: y", offer: Offer{Mechanisms: words("SCRAM-SHA-1 SCRAM-SHA-256 PLAIN")}, state: tls13, want: "SASL SCRAM-SHA-256 y"},
		{name: "not offered, required", offer: Offer{Mechanisms: words("SCRAM-SHA-1")}, rules: require, state: tls13, err: ErrBinding},
		{name: "not offered, floor", offer: Offer{Mechanisms: words("SCRAM-SHA-1")}, rules: plusFloor, state: tls13, err: ErrBinding},
		{name: "not offered, bound before", offer: Offer{Mechanisms: words("SCRAM-SHA-1")}, rules: ratchet, state: tls13, err: ErrRatchet},
		{name: "PLAIN only, bound before", offer: Offer{Mechanisms: words("PLAIN")}, rules: with(func(r *Rules) { r.RatchetPlus = true; r.Min = policy.AuthPlain }), state: tls13, err: ErrRatchet},

		{name: "types without a mechanism", offer: Offer{Mechanisms: words("SCRAM-SHA-1"), BindingTypes: all3}, state: tls13, err: ErrDowngrade},
		{name: "the same in SASL2", offer: Offer{SASL2: words("SCRAM-SHA-1"), BindingTypes: all3}, state: tls13, err: ErrDowngrade},
		{name: "SASL2 without types", offer: Offer{SASL2: both}, state: tls13, err: ErrDowngrade},
		{name: "only types unknown here", offer: Offer{Mechanisms: both, BindingTypes: words("tls-future")}, state: tls13, want: "SASL SCRAM-SHA-256 n hash"},
		{name: "an empty list", offer: Offer{Mechanisms: both, BindingTypes: []string{}}, state: tls13, want: "SASL SCRAM-SHA-256 n hash"},
		{name: "the same, bound before", offer: Offer{Mechanisms: both, BindingTypes: words("tls-future")}, rules: ratchet, state: tls13, err: ErrRatchet},
		{name: "an unknown -PLUS only", offer: Offer{Mechanisms: words("SCRAM-SHA-1 SCRAM-SHA3-512-PLUS"), BindingTypes: all3}, state: tls13, want: "SASL SCRAM-SHA-1 n"},

		{name: "SASL2 first", offer: Offer{Mechanisms: both, SASL2: both, BindingTypes: all3}, state: tls13, want: "SASL2 SCRAM-SHA-256-PLUS p=tls-exporter"},
		{name: "SASL2 with nothing for us", offer: Offer{Mechanisms: both, SASL2: words("HT-SHA-256-NONE"), BindingTypes: all3}, state: tls13, want: "SASL SCRAM-SHA-256-PLUS p=tls-exporter"},
		{name: "SASL2 with PLAIN alone", offer: Offer{Mechanisms: both, SASL2: words("PLAIN"), BindingTypes: all3}, rules: plainOK, state: tls13, want: "SASL SCRAM-SHA-256-PLUS p=tls-exporter"},

		{name: "onion without TLS: n", offer: Offer{Mechanisms: both, SASL2: both, BindingTypes: all3}, rules: onion, state: tls13, want: "SASL SCRAM-SHA-256 n"},
		{name: "onion, required", offer: Offer{Mechanisms: both}, rules: with(func(r *Rules) { r.Channel = ChannelOnion; r.Binding = policy.BindingRequire }), err: ErrBinding},
		{name: "onion, PLAIN", offer: Offer{Mechanisms: words("PLAIN")}, rules: with(func(r *Rules) { r.Channel = ChannelOnion; r.Min = policy.AuthPlain }), err: ErrTooWeak},
		{name: "onion, EXTERNAL", offer: Offer{Mechanisms: words("EXTERNAL SCRAM-SHA-1")}, rules: onion, cert: true, want: "SASL SCRAM-SHA-1 n"},

		{name: "certificate", offer: Offer{Mechanisms: words("EXTERNAL SCRAM-SHA-1-PLUS")}, rules: ratchet, state: tls13, cert: true, want: "SASL EXTERNAL"},
		{name: "EXTERNAL without certificate", offer: Offer{Mechanisms: words("EXTERNAL SCRAM-SHA-1")}, state: tls13, want: "SASL SCRAM-SHA-1 y"},
		{name: "external floor, no certificate", offer: Offer{Mechanisms: words("EXTERNAL SCRAM-SHA-1-PLUS")}, rules: extFloor, state: tls13, err: ErrTooWeak},
		{name: "external floor, not offered", offer: Offer{Mechanisms: both}, rules: extFloor, state: tls13, cert: true, err: ErrTooWeak},

		{name: "PLAIN only", offer: Offer{Mechanisms: words("PLAIN")}, state: tls13, err: ErrTooWeak},
		{name: "PLAIN only, allowed", offer: Offer{Mechanisms: words("PLAIN")}, rules: plainOK, state: tls13, want: "SASL PLAIN"},
		{name: "PLAIN allowed, SCRAM there", offer: Offer{Mechanisms: words("PLAIN SCRAM-SHA-1")}, rules: plainOK, state: tls13, want: "SASL SCRAM-SHA-1 y"},
		{name: "PLAIN allowed, binding required", offer: Offer{Mechanisms: words("PLAIN")}, rules: with(func(r *Rules) { r.Min = policy.AuthPlain; r.Binding = policy.BindingRequire }), state: tls13, err: ErrTooWeak},
		{name: "PLAIN allowed, types listed", offer: Offer{Mechanisms: words("PLAIN"), BindingTypes: all3}, rules: plainOK, state: tls13, want: "SASL PLAIN"},
		{name: "PLAIN allowed, SCRAM unbindable", offer: Offer{Mechanisms: words("PLAIN SCRAM-SHA-1-PLUS"), BindingTypes: words("tls-future")}, rules: plainOK, state: tls13, err: ErrBinding},
		{name: "nothing known", offer: Offer{Mechanisms: words("DIGEST-MD5 X-OAUTH2 ANONYMOUS")}, rules: plainOK, state: tls13, err: ErrTooWeak},
		{name: "nothing at all", state: tls13, err: ErrTooWeak},

		{name: "TLS without its state", offer: Offer{Mechanisms: both}, err: ErrRules},
		{name: "no floor", offer: Offer{Mechanisms: both}, rules: with(func(r *Rules) { r.Min = 0 }), state: tls13, err: ErrRules},
		{name: "no word on binding", offer: Offer{Mechanisms: both}, rules: with(func(r *Rules) { r.Binding = 0 }), state: tls13, err: ErrRules},
		{name: "unproven channel", offer: Offer{Mechanisms: both}, rules: with(func(r *Rules) { r.Channel = 0 }), state: tls13, err: ErrRules},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := c.rules
			if rules == (Rules{}) {
				rules = usual
			}
			attempts, err := choose(c.offer, c.cert, rules, c.state)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			var got []string
			for _, a := range attempts {
				s := fmt.Sprintf("%v %s", a.proto, a.mechanism)
				if a.flag != 0 {
					s += " " + string(a.flag)
				}
				if a.flag == 'p' {
					s += "=" + string(a.cb.Type)
				}
				if a.needHash {
					s += " hash"
				}
				got = append(got, s)
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("got %q\nwant %q", s, c.want)
			}
		})
	}
	if _, err := choose(Offer{Mechanisms: both}, true, Rules{}, tls13); !errors.Is(err, ErrRules) {
		t.Errorf("the zero value of Rules does not refuse: %v", err)
	}
}

// Both ends of a connection must come to the same data, and two connections to
// different data.
func TestBindingData(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c, s := handshake(t, version)
		other, _ := handshake(t, version)
		for _, typ := range preferred {
			mine, ok := binding(c, typ)
			theirs, ok2 := binding(s, typ)
			if typ == TLSUnique && version == tls.VersionTLS13 {
				if ok {
					t.Error("TLS 1.3 does not define tls-unique")
				}
				continue
			}
			if !ok || !ok2 || !mine.Matches(theirs) {
				t.Errorf("%x %s: the ends differ (%v %v)", version, typ, ok, ok2)
			}
			if elsewhere, _ := binding(other, typ); elsewhere.Matches(mine) {
				t.Errorf("%x %s: two connections, one binding", version, typ)
			}
		}
		if _, ok := binding(c, "tls-future"); ok {
			t.Error("an unknown type has data")
		}
	}
	if _, ok := binding(nil, TLSExporter); ok {
		t.Error("no connection has data")
	}
	if _, ok := binding(&tls.ConnectionState{}, TLSServerEndPoint); ok {
		t.Error("no handshake has data")
	}
}

func TestAllowedInRelay(t *testing.T) {
	floor := func(m policy.AuthMin) Rules {
		return Rules{Min: m, Binding: policy.BindingPrefer, Channel: ChannelTLS}
	}
	require := floor(policy.AuthSCRAM)
	require.Binding = policy.BindingRequire
	onion := floor(policy.AuthPlain)
	onion.Channel = ChannelOnion
	for _, c := range []struct {
		mechanism string
		rules     Rules
		err       error
	}{
		{"SCRAM-SHA-1", floor(policy.AuthSCRAM), nil},
		{"SCRAM-SHA-256-PLUS", floor(policy.AuthSCRAM), nil},
		{"EXTERNAL", floor(policy.AuthSCRAM), nil},
		{"PLAIN", floor(policy.AuthSCRAM), ErrTooWeak},
		{"PLAIN", floor(policy.AuthPlain), nil},
		{"PLAIN", onion, ErrTooWeak},
		{"SCRAM-SHA-1", onion, nil},
		{"SCRAM-SHA-1", floor(policy.AuthSCRAMPlus), ErrTooWeak},
		{"SCRAM-SHA-1-PLUS", floor(policy.AuthSCRAMPlus), nil},
		{"SCRAM-SHA-1", require, ErrTooWeak},
		{"SCRAM-SHA-1-PLUS", require, nil},
		{"SCRAM-SHA-1-PLUS", floor(policy.AuthExternal), ErrTooWeak},
		{"EXTERNAL", floor(policy.AuthExternal), nil},
		{"DIGEST-MD5", floor(policy.AuthPlain), ErrTooWeak},
		{"scram-sha-1", floor(policy.AuthSCRAM), ErrTooWeak},
		{"plain", floor(policy.AuthPlain), ErrTooWeak},
		{"", floor(policy.AuthPlain), ErrTooWeak},
		{"SCRAM-SHA-1", Rules{}, ErrRules},
		{"EXTERNAL", Rules{Min: policy.AuthPlain, Binding: policy.BindingPrefer}, ErrRules},
	} {
		if err := AllowedInRelay(c.mechanism, c.rules); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s with %+v: %v, want %v", c.mechanism, c.rules, err, c.err)
		}
	}
}
