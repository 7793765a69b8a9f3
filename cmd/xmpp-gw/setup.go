package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/config"
	"xmpp-gw/internal/control"
	"xmpp-gw/internal/localca"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/inspect"
)

// observeSetup looks at what stands on this machine's disk and in its configuration:
// everything of `check --self` that needs nobody's answer. running are the listeners
// of a daemon, where one runs.
func observeSetup(s *settings, p paths, running []control.Listener) *audit.SelfObservation {
	owner := inspect.Owner(p.state)
	seen := &audit.SelfObservation{
		Listeners: s.listenersSeen(running),
		Files:     inspect.Files(s.filesOf(p), owner),
		Settings:  true,
	}
	seen.CA, seen.Trust = inspect.Authority(p.ca(), owner, map[string]localca.Store{"system": localca.System()})
	seen.Weaker, seen.Logins = inspect.Settings(s.Rules, config.Default().Rules.Default, config.BuiltIn)
	seen.Weaker = append(seen.Weaker, s.weaker()...)
	return seen
}

// listenersSeen are the configured listeners and those that run.
func (s *settings) listenersSeen(running []control.Listener) []audit.Listener {
	var list []audit.Listener
	add := func(kind, address string) {
		l := audit.Listener{Address: address, Kind: kind, TLS: "required"}
		switch kind {
		case kindSTARTTLS:
			if s.Listen.ClientTLS == "optional" { // the configuration lets it be so for this machine alone
				l.TLS = "optional"
			}
		case kindNodeSTARTTLS, kindNodeDirectTLS:
			key := strings.ReplaceAll(strings.TrimPrefix(kind, "node-"), "-", "_")
			l.Needed = "node." + key + " (" + s.Source("node", key) + ")"
		case kindMetrics:
			l.TLS = "none"
			if s.Listen.MetricsPublic {
				l.Needed = "listen.metrics_public (" + s.Source("listen", "metrics_public") + ")"
			}
		}
		if !slices.Contains(list, l) {
			list = append(list, l)
		}
	}
	for _, p := range s.places() {
		if _, port, err := net.SplitHostPort(p.address); err == nil && port == "0" && len(running) > 0 {
			continue // the daemon says which it is
		}
		add(p.kind, p.address)
	}
	for _, l := range running {
		add(l.Kind, l.Address)
	}
	return list
}

// filesOf are the files and folders that matter, whether they are there or not.
func (s *settings) filesOf(p paths) []inspect.Place {
	in := func(parts ...string) string { return filepath.Join(append([]string{p.state}, parts...)...) }
	list := []inspect.Place{
		{Path: s.File, Is: "the configuration", Max: 0o644, OwnGroup: true},
		{Path: p.state, Is: "the state folder", Max: 0o755},
		{Path: p.ca(), Is: "the authority's folder", Max: 0o700, Secret: true},
		{Path: in("ca", "ca.pem"), Is: "the authority's certificate", Max: 0o644},
		{Path: p.pins(), Is: "the servers that were met, and their keys", Max: 0o600, Secret: true},
		{Path: in("map"), Is: "the folder of address books", Max: 0o700, Secret: true},
		{Path: in("map", "seen"), Is: "the domains that were reached at onion addresses", Max: 0o600, Secret: true},
		{Path: p.onions(), Is: "the folder of onion services", Max: 0o700, Secret: true},
		{Path: p.onions(), Each: "*/hs_ed25519_secret_key", Is: "an onion service's key", Max: 0o600, Secret: true},
		{Path: p.onions(), Each: "*/*/*/hs_ed25519_secret_key", Is: "a former key of an onion service", Max: 0o600, Secret: true},
		{Path: in("onion-auth"), Is: "the folder of keys for others' onion services", Max: 0o700, Secret: true},
		{Path: in("onion-auth"), Each: "*.auth_private", Is: "a key for another's onion service", Max: 0o600, Secret: true},
		{Path: in("tor"), Is: "tor's folder", Max: 0o700, Secret: true},
		{Path: in("check-tor"), Is: "the folder of the tor of checks", Max: 0o700, Secret: true},
		{Path: in("node-secret"), Is: "the node's secret", Max: 0o600, Secret: true},
		{Path: in("node-tls.pem"), Is: "the node's key", Max: 0o600, Secret: true},
		{Path: p.control(), Is: "the control socket", Max: 0o600, Secret: true},
		{Path: filepath.Join(p.runtime, "gates"), Is: "the folder of onion services' sockets", Max: 0o700, Secret: true},
		{Path: s.Tor.Torrc, Is: "tor.torrc", Max: 0o644, OwnGroup: true},
		{Path: s.DNS.CA, Is: "dns.ca", Max: 0o644, OwnGroup: true},
		{Path: s.DNS.TrustAnchors, Is: "dns.trust_anchors", Max: 0o644},
		{Path: s.CT.Logs, Is: "ct.logs", Max: 0o644},
		{Path: s.CT.Logs, Is: "ct.logs", Max: 0o644},
		{Path: s.Onion.ClientKeys, Is: "onion.client_keys", Max: 0o755},
		{Path: s.Onion.ClientKeys, Each: "*.auth_private", Is: "a key for another's onion service", Max: 0o600, Secret: true},
		{Path: s.Node.Certificate, Is: "node.certificate", Max: 0o644, OwnGroup: true, Kept: true},
		{Path: s.Node.Key, Is: "node.key", Max: 0o640, Secret: true, Kept: true},
	}
	if s.secretInside() {
		list[0] = inspect.Place{Path: s.File, Is: "the configuration, with a password in it", Max: 0o640, Secret: true}
	}
	if file, ok := strings.CutPrefix(storeIn(p, s.Node.Store), "sqlite:"); ok && file != ":memory:" && s.Node.Domain != "" {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			list = append(list, inspect.Place{Path: file + suffix, Is: "the node's database", Max: 0o600, Secret: true})
		}
	}
	for _, l := range s.places() {
		if path, ok := strings.CutPrefix(l.address, "unix:"); ok { // who may connect is its mode's to say, and who is there its folder's
			list = append(list, inspect.Place{Path: path, Is: "the socket of " + l.kind, Max: 0o777, Kept: true})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Rules.Domains)) {
		r := s.Rules.Domains[name]
		list = append(list,
			inspect.Place{Path: r.CA.V, Is: "ca of " + name, Max: 0o644},
			inspect.Place{Path: r.ClientCert.V, Is: "client_cert of " + name, Max: 0o640, Secret: true},
			inspect.Place{Path: r.PasswordFile.V, Is: "password_file of " + name, Max: 0o640, Secret: true})
	}
	return slices.DeleteFunc(list, func(f inspect.Place) bool { return f.Path == "" })
}

// secretInside reports whether the configuration's file has a password in it.
func (s *settings) secretInside() bool {
	withPassword := func(u *url.URL) bool {
		_, has := u.User.Password()
		return has
	}
	for _, u := range s.SOCKS {
		if withPassword(u) {
			return true
		}
	}
	dsn, err := url.Parse(s.Node.Store)
	// PostgreSQL's clients take both among the parameters too.
	return err == nil && (withPassword(dsn) || dsn.Query().Has("password") || dsn.Query().Has("sslpassword"))
}

// weaker are the settings outside the rules that are weaker than the default.
func (s *settings) weaker() []audit.Weaker {
	usual := config.Default()
	var list []audit.Weaker
	add := func(is bool, section, key, value, usual string, severity audit.Severity) {
		if is {
			list = append(list, audit.Weaker{Key: section + "." + key, Value: value, Default: usual, Source: s.Source(section, key), Severity: severity})
		}
	}
	add(s.Listen.ClientTLS == "optional", "listen", "client_tls", "optional", usual.Listen.ClientTLS, audit.Medium)
	add(s.Listen.MetricsPublic, "listen", "metrics_public", "true", "false", audit.Medium)
	add(slices.ContainsFunc(s.DNS.Servers, func(a string) bool { return strings.HasPrefix(a, "tcp://") }), "dns", "servers", "tcp://…", "tls://…", audit.Low)
	add(s.DNS.CA != "", "dns", "ca", s.DNS.CA, "none", audit.Low)
	add(s.DNS.TrustAnchors != "", "dns", "trust_anchors", s.DNS.TrustAnchors, "the root's keys", audit.Low)
	add(s.CT.Logs != "", "ct", "logs", s.CT.Logs, "the built-in list", audit.Low)
	add(s.Tor.Torrc != "", "tor", "torrc", s.Tor.Torrc, "none", audit.Low)
	add(s.Node.Plain, "node", "plain", "true", "false", audit.Medium)
	add(!s.Node.Binding, "node", "channel_binding", "false", "true", audit.Low)
	add(s.Node.Registration == "open", "node", "registration", "open", usual.Node.Registration, audit.Medium)
	return list
}

// refuseUnsafe is for a start: what is critical about this machine's set-up refuses
// it, or, under [default] mode = "report", is a warning. What else fails of its files is
// a warning in both.
func refuseUnsafe(ctx context.Context, s *settings, p paths, running []control.Listener, warn func(format string, args ...any)) error {
	checks, err := audit.Select([]string{"self.listen", "self.files", "self.ca"})
	if err != nil {
		return err
	}
	seen := observeSetup(s, p, running)
	var why []string
	for _, f := range audit.Judge(&audit.Observation{At: time.Now(), Self: seen}, checks) {
		line := fmt.Sprintf("%s: %s: %s; %s", f.ID, f.Target, f.Evidence, f.Fix[""])
		switch {
		case f.Verdict == audit.Fail && f.Severity == audit.Critical:
			why = append(why, line)
		case f.Verdict == audit.Fail && f.ID == "self.files":
			warn("%s", line) // whoever can write the configuration could switch a refusal off as well
		}
	}
	if len(why) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	if s.Rules.Default.Mode.V == policy.Report {
		for _, line := range why {
			warn("%s (mode = \"report\" lets it start)", line)
		}
		return nil
	}
	return &problem{
		what: "this machine's set-up is not safe", why: strings.Join(why, "\n"), code: exitMistake,
		hint: "`xmpp-gw check --self` says more; mode = \"report\" under [default] starts nevertheless",
	}
}
