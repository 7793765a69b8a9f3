package config

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"xmpp-gw/policy"
)

// check looks at what settings mean together.
func (l *loader) check() {
	for _, use := range l.routes {
		if _, ok := l.hops[use.name]; !ok {
			l.mistake(use.line, hinted(fmt.Sprintf("route: there is no SOCKS hop %q", use.name), fmt.Sprintf("add [socks.%s] with its url", dotted([]string{use.name}))))
		}
	}
	for name, line := range l.hops {
		if _, ok := l.keys[join("socks", name, "url")]; !ok {
			l.mistake(line, hinted(fmt.Sprintf("[socks.%s] has no url", dotted([]string{name})), `write url = "socks5://IP:PORT"`))
		}
	}
	if len(l.c.Tor.Bridges) > 0 && l.c.Tor.Mode == "system" {
		l.mistake(l.keys[join("tor", "bridges")], hinted("bridges: the system's Tor has its own", `set them in its torrc, or mode = "managed"`))
	}
	l.checkNode()
	l.checkListen()
	for name, written := range l.domains {
		l.checkDomain(name, written)
	}
	base := l.c.Rules.Default
	l.checkRelay(policy.Decision{SASL: base.SASL.V, AuthMin: base.AuthMin.V, Binding: base.Binding.V}, true, func(key, what, advice string) {
		l.mistake(l.keys[join("default", key)], hinted(key+": "+what, advice))
	})
	l.checkDANE(policy.Decision{TLS: base.TLS.V, DNSSEC: base.DNSSEC.V}, true, func(key, what, advice string) {
		l.mistake(l.keys[join("default", key)], hinted(key+": "+what, advice))
	})
	if mode := base.TLS.V; mode == policy.TLSPin || mode == policy.TLSOnion {
		l.mistake(l.keys[join("default", "tls")], hinted(fmt.Sprintf("tls: %q cannot hold for every domain", mode), `set it in a [domain."NAME"] section`))
	}
}

func (l *loader) checkListen() {
	listen := l.c.Listen
	if listen.ClientTLS == "optional" {
		i := slices.IndexFunc(listen.C2S, func(a string) bool { return !loopback(a) })
		if i >= 0 {
			l.mistake(l.keys[join("listen", "client_tls")], hinted(fmt.Sprintf("client_tls: it is optional, and others can reach the listener %s", listen.C2S[i]),
				"keep clients without TLS to loopback and unix sockets"))
		}
	}
	if m := listen.Metrics; m != "" && !loopback(m) && !listen.MetricsPublic {
		l.mistake(l.keys[join("listen", "metrics")], hinted("metrics: it listens beyond loopback", "set metrics_public = true if that is what you want"))
	}
	type holder struct {
		name string
		line int
	}
	taken := map[string]holder{}
	for _, use := range []struct {
		section, key string
		list         []string
	}{
		{"listen", "c2s", listen.C2S}, {"listen", "c2s_tls", listen.C2STLS}, {"listen", "metrics", []string{listen.Metrics}},
		{"node", "c2s", l.c.Node.C2S}, {"node", "c2s_tls", l.c.Node.C2STLS},
	} {
		name := use.key
		if use.section != "listen" {
			name = use.section + "." + use.key
		}
		at := l.keys[join(use.section, use.key)]
		for _, a := range use.list {
			if before, ok := taken[a]; ok && !strings.HasSuffix(a, ":0") {
				// One of them may be a default.
				l.mistake(max(at, before.line), hinted(fmt.Sprintf("%s: %s is taken by %s", name, a, before.name), "give each its own port"))
			}
			if a != "" {
				taken[a] = holder{name, at}
			}
		}
	}
}

// checkDomain finds rules that could never hold.
func (l *loader) checkDomain(name, written string) {
	own := l.c.Rules.Domains[name]
	d, _ := l.c.Rules.Decide(policy.Target{Domain: name})
	// line is where a key of the section stands, else where its default does.
	line := func(key string) int {
		if n := l.keys[join("domain", written, key)]; n > 0 {
			return n
		}
		return l.keys[join("default", key)]
	}
	say := func(key, what, advice string) { l.mistake(line(key), hinted(key+": "+what, advice)) }

	onion := own.Onion.IsSet() || policy.IsOnion(name)
	bound := onion || slices.ContainsFunc(own.Endpoints.V, policy.Endpoint.Onion)
	if own.TLS.V == policy.TLSOnion && !bound {
		say("tls", `"onion" needs an onion address for the domain`, `add onion = "....onion"`)
	}
	if own.TLS.V == policy.TLSPin && !own.Pins.IsSet() {
		say("tls", `"pin" needs pins for the domain`, `add pins = ["sha256/..."]`)
	}
	if d.TLS == policy.TLSDANEOnly && (own.Onion.IsSet() || len(own.Endpoints.V) > 0 && !slices.ContainsFunc(own.Endpoints.V, func(e policy.Endpoint) bool { return !e.Onion() })) {
		say("tls", `"dane-only" can never hold: there are no TLSA records for an onion address`, `use tls = "onion", or leave the onion address out`)
	}
	l.checkDANE(d, own.TLS.IsSet() || own.DNSSEC.IsSet(), say)
	if own.Onion.IsSet() && own.Endpoints.IsSet() {
		say("endpoints", "they would never be used, as the onion address is used alone", "keep one of the two")
	}
	if policy.IsOnion(name) {
		elsewhere := func(e policy.Endpoint) bool { return e.Host != name && !strings.HasSuffix(name, "."+e.Host) }
		advice := "leave it out: the domain is the address to go to"
		if slices.ContainsFunc(own.Endpoints.V, elsewhere) {
			say("endpoints", "[domain."+dotted([]string{name})+"] is an onion address, and they must be that onion address", advice)
		}
		if own.Onion.IsSet() && elsewhere(own.Onion.V) {
			say("onion", "[domain."+dotted([]string{name})+"] is an onion address, and this is another one", advice)
		}
	}
	const noTLS, prove = "a WebSocket without TLS (ws://) needs an onion address that proves the server", `set tls = "onion", or use wss://`
	plain := func(e policy.Endpoint) bool { return e.Transport == policy.PlainWebSocket && !d.OnionProves(e) }
	if slices.ContainsFunc(own.Endpoints.V, plain) {
		say("endpoints", noTLS, prove)
	}
	if own.Onion.IsSet() && plain(own.Onion.V) {
		say("onion", noTLS, prove)
	}
	l.checkRelay(d, own.SASL.IsSet() || own.AuthMin.IsSet() || own.Binding.IsSet(), say)
	if d.Route.Kind == policy.RouteDirect || d.Route.Kind == policy.RouteSOCKS {
		toOnion := slices.ContainsFunc(own.Endpoints.V, policy.Endpoint.Onion)
		at := "route"
		switch {
		case line(at) > 0:
		case own.Onion.IsSet():
			at = "onion"
		case toOnion:
			at = "endpoints"
		}
		if onion || toOnion {
			say(at, fmt.Sprintf("only Tor can reach an onion address, and the route is %s", d.Route), `use route = "tor" or "onion-only"`)
		}
	}
	if d.Route.Kind == policy.RouteOnionOnly && !own.Onion.IsSet() {
		if slices.ContainsFunc(own.Endpoints.V, func(e policy.Endpoint) bool { return !e.Onion() }) {
			say("endpoints", "not all are onion addresses, and the route is onion-only", `use route = "tor", or name onion addresses only`)
		}
	}
	switch {
	case own.ClientCert.IsSet() && !own.PasswordFile.IsSet():
		say("client_cert", "without a password every program on this machine could log in", "add password_file: a file whose first line clients must give as password")
	case own.PasswordFile.IsSet() && !own.ClientCert.IsSet():
		say("password_file", "it goes with client_cert, which is not there", "without client_cert it is the server that checks passwords")
	case own.ClientCert.IsSet() && d.SASL != policy.Originate:
		say("client_cert", fmt.Sprintf("it is for sasl = \"originate\", and sasl is %q", d.SASL), "leave it out, or let the gateway log in")
	}
	if own.AuthMin.V == policy.AuthExternal && !own.ClientCert.IsSet() && d.SASL == policy.Originate {
		say("auth_min", `"external" needs a certificate to log in with`, "add client_cert and password_file")
	}
}

// checkRelay finds a login that is relayed and must be bound to TLS: the gateway
// ends the client's TLS, so what the client could bind to is not the server's.
// here is whether the section at hand has a part in it; say tells a key's mistake.
func (l *loader) checkRelay(d policy.Decision, here bool, say func(key, what, advice string)) {
	if !here || d.SASL != policy.Relay {
		return
	}
	const why, advice = `the gateway ends the client's TLS, so with sasl = "relay" no login can be bound to it`, `use sasl = "originate"`
	if d.AuthMin == policy.AuthSCRAMPlus {
		say("auth_min", `"scram-plus" can never hold: `+why, advice)
	}
	if d.Binding == policy.BindingRequire {
		say("binding", `"require" can never hold: `+why, advice)
	}
}

// checkDANE finds TLSA records that would count without proof. Here and say are as
// in checkRelay.
func (l *loader) checkDANE(d policy.Decision, here bool, say func(key, what, advice string)) {
	if here && d.TLS.UsesTLSA() && d.DNSSEC == policy.DNSSECOff {
		say("dns", fmt.Sprintf("tls is %q, which needs proof of what DNS says", d.TLS), `use dns = "dnssec-prefer"`)
	}
}

func loopback(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}
