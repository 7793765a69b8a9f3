package config

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"

	"xmpp-gw/policy"
)

// warnings are about what loads and yet will not do what its writer wants, or
// should not stay as it is.
func (c *Config) warnings() []string {
	var list []string
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }

	for _, name := range slices.Sorted(maps.Keys(c.SOCKS)) {
		if _, ok := c.SOCKS[name].User.Password(); ok && othersMayRead(c.File) {
			warn("%s holds the password of the SOCKS hop %q, and others may read it: chmod 600 %[1]s", c.File, name)
			break
		}
	}
	if c.Tor.Mode == "off" && c.Rules.Default.Route.V.ViaTor() {
		warn("%s: route is %q and Tor is switched off, so that every domain without a route of its own is refused",
			c.Rules.Default.Route.Source, c.Rules.Default.Route.V)
	}
	for _, f := range []struct{ section, key, path string }{{"dns", "trust_anchors", c.DNS.TrustAnchors}, {"ct", "logs", c.CT.Logs}} {
		if f.path == "" {
			continue
		}
		if file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
			warn("%s:%d: %s cannot be read: %v", c.File, c.lines[join(f.section, f.key)], f.key, err)
		} else {
			file.Close()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Rules.Domains)) {
		rule := c.Rules.Domains[name]
		for _, f := range []struct {
			key    string
			value  policy.Value[string]
			secret bool
		}{{"ca", rule.CA, false}, {"client_cert", rule.ClientCert, true}, {"password_file", rule.PasswordFile, true}} {
			if f.value.V == "" {
				continue
			}
			if file, err := os.OpenFile(f.value.V, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
				warn("%s: %s cannot be read: %v", f.value.Source, f.key, err)
			} else if file.Close(); f.secret && othersMayRead(f.value.V) {
				warn("%s: others may read the file of %s: chmod 600 %s", f.value.Source, f.key, f.value.V)
			}
		}
		d, err := c.Rules.Decide(policy.Target{Domain: name})
		if err != nil && d.Route.Kind != policy.RouteBlock && name != "onion" {
			warn("%v", err)
		}
		if w := rule.Witness; err == nil && w.IsSet() && w.V != policy.WitnessOff && !d.Route.ViaTor() {
			warn("%s: witness is %q, and route %q has no second circuit: the server's key is looked at once", w.Source, w.V, d.Route)
		}
	}
	c.nodeWarnings(warn)
	return list
}

// othersMayRead reports whether a file is open to more than its owner and group.
// A group is how a service gets at secrets that root owns.
func othersMayRead(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().Perm()&0o007 != 0
}
