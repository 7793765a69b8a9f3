package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"slices"

	"xmpp-gw/internal/config"
	"xmpp-gw/onion"
	"xmpp-gw/policy"
	"xmpp-gw/proxy"
)

// settings is a configuration and what the daemon makes of it.
type settings struct{ *config.Config }

// loadSettings reads the file of --config, or the usual one, or the defaults.
func loadSettings(flag string) (*settings, error) {
	file := config.Find(flag)
	c, err := config.Load(file)
	if err == nil {
		err = checkBridges(c)
	}
	if err == nil {
		return &settings{c}, nil
	}
	if mistakes, ok := errors.AsType[config.Errors](err); ok {
		what := fmt.Sprintf("the configuration has %d mistakes", len(mistakes))
		if len(mistakes) == 1 {
			what = "the configuration has a mistake"
		}
		return nil, &problem{
			what: what, why: mistakes.Error(), code: exitMistake, err: err,
			hint: "`xmpp-gw config describe` prints every key with its meaning",
		}
	}
	p := &problem{what: "the configuration cannot be read", why: err.Error(), code: exitMistake}
	if errors.Is(err, fs.ErrNotExist) {
		p.why = "there is no file " + file
		p.hint = "`xmpp-gw config init` writes one; none is needed either"
	}
	return nil, p
}

// checkBridges finds the bridge lines that cannot be read: the configuration
// knows them as texts, onion what they mean.
func checkBridges(c *config.Config) error {
	var mistakes config.Errors
	for i, line := range c.Tor.Bridges {
		if _, err := onion.ParseBridge(line); err != nil {
			mistakes = append(mistakes, c.MistakeAt(fmt.Errorf("number %d: %w", i+1, err), "tor", "bridges"))
		}
	}
	if mistakes == nil {
		return nil // not an empty list in a full interface
	}
	return mistakes
}

// source says where the settings come from.
func (s *settings) source() string {
	if s.File == "" {
		return "built-in defaults (no file; `xmpp-gw config init` writes one)"
	}
	return s.File
}

// places is where to listen.
func (s *settings) places() []place {
	var list []place
	add := func(kind string, addresses ...string) {
		for _, a := range addresses {
			// Both addresses of localhost are known without asking anybody
			// (RFC 6761 §6.3).
			if host, port, err := net.SplitHostPort(a); err == nil && host == "localhost" {
				list = append(list, place{kind, "127.0.0.1:" + port}, place{kind, "[::1]:" + port})
				continue
			}
			list = append(list, place{kind, a})
		}
	}
	add(kindSTARTTLS, s.Listen.C2S...)
	add(kindDirectTLS, s.Listen.C2STLS...)
	add(kindNodeSTARTTLS, s.Node.C2S...)
	add(kindNodeDirectTLS, s.Node.C2STLS...)
	if s.Listen.Metrics != "" {
		add(kindMetrics, s.Listen.Metrics)
	}
	return list
}

// needsTor reports whether a rule goes through Tor.
func (s *settings) needsTor() bool {
	if s.Rules.Default.Route.V.ViaTor() {
		return true
	}
	return slices.ContainsFunc(slices.Collect(maps.Values(s.Rules.Domains)),
		func(r policy.Rule) bool { return r.Route.V.ViaTor() })
}

// sameTor reports whether both sets of settings start the same Tor.
func (s *settings) sameTor(other *settings) bool { return reflect.DeepEqual(s.Tor, other.Tor) }

// certificateNames are the domains that the machine's authority may certify; nil
// is any. It is bound to the configuration's domains where these are all that a
// client can ask for, and to that of the node, which is hosted ("" for none).
func (s *settings) certificateNames(hosted string) []string {
	if s.Rules.Default.Route.V.Kind != policy.RouteBlock {
		return nil
	}
	list := slices.Sorted(maps.Keys(s.Rules.Domains))
	if hosted != "" && !slices.Contains(list, hosted) {
		list = append(list, hosted)
	}
	return list
}

// limits is what clients may cost.
func (s *settings) limits() proxy.Limits {
	l := proxy.DefaultLimits()
	l.Connections = s.Listen.MaxConnections
	l.PreAuth.Bytes = s.Limits.PreAuthBytes
	l.Session.Bytes = s.Limits.StanzaBytes
	l.Negotiation = s.Limits.PreAuth
	l.IdlePing = s.Limits.IdlePing
	return l
}

// torOptions is how Tor is started.
func (s *settings) torOptions(p paths) (onion.Options, error) {
	mode, err := onion.ParseMode(s.Tor.Mode)
	o := onion.Options{
		Mode:       mode,
		DataDir:    filepath.Join(p.state, "tor"),
		RuntimeDir: p.runtime,
		ExtraTorrc: s.Tor.Torrc,
		Bridges:    s.Tor.Bridges,
	}
	if len(o.Bridges) > 0 && mode == onion.ModeAuto {
		mode = onion.ModeManaged // the system's tor would go without them
		o.Mode = mode
	}
	// The usual places are onion's own, which also looks who listens there: any
	// user of the machine may take the port of a Tor that does not run.
	if !slices.Equal(s.Tor.SOCKS, config.Default().Tor.SOCKS) {
		o.SystemSOCKS = s.Tor.SOCKS
	}
	if s.Tor.Control != "" {
		o.SystemControl = []string{s.Tor.Control}
	}
	return o, err
}
