package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/policy"
)

// OnionDomain is [Node.Domain] where the node's domain is its own onion address.
const OnionDomain = "onion"

// localDomain is the node's domain without a configuration: it is this machine's
// own for everybody (RFC 6761 §6.3).
const localDomain = "localhost"

// Node is the bundled server.
type Node struct {
	// Domain is whose accounts live here: a name in A-labels, [OnionDomain], or ""
	// for no server at all.
	Domain       string
	Store        string // "sqlite:PATH" or "postgres://..."; a path may be relative to the state folder
	Publish      bool   // as the onion service "node"
	Registration string // "invite", "closed" or "open"
	// Certificate and Key are PEM files for clients of a named domain, "" for the
	// machine's own authority.
	Certificate, Key string
	Plain            bool     // passwords are taken in the clear inside TLS as well
	Binding          bool     // channel binding is offered
	C2S, C2STLS      []string // listeners for the node's clients alone
	Admins           []address.Address
	Contacts         map[string][]string // URIs by kind (XEP-0157)
	Software         string
	Archive          string        // "always", "roster" or "never", until an account says otherwise
	ArchiveTime      time.Duration // 0: for ever
	OfflineMessages  int           // of one account
	RosterItems      int           // of one account
	Sessions         int           // of one account
}

const nodeDoc = "The bundled XMPP server. Clients that ask for its domain are served by it, and nothing about that domain leaves this machine but what publish and the listeners here let in."

// contactKinds are those of XEP-0157 §2.
var contactKinds = []string{"abuse", "admin", "feedback", "sales", "security", "status", "support"}

var nodeKeys = []key[*Config]{
	{"domain", `"localhost"`, `Whose accounts live here: "localhost" (this machine's people, nobody else), "onion" (the address of the node's onion service, which is made at the first start), a name of your own, or "" for no server. With publish = true it is "onion" if it is not set.`,
		func(c *Config, v value) error { return v.nodeDomain(&c.Node.Domain) }},
	{"store", `"sqlite:node.db"`, "Where accounts and messages are kept: sqlite:FILE (relative to the state folder, ~/.local/state/xmpp-gw) or postgres://USER@HOST/NAME.",
		func(c *Config, v value) error { return v.store(&c.Node.Store) }},
	{"publish", "false", "Publishes the node as an onion service, reachable by everybody who knows its address.",
		func(c *Config, v value) error { return v.boolean(&c.Node.Publish) }},
	{"registration", `"invite"`, "Who may make an account: invite (who has an invitation; `xmpp-gw account invite` makes one) | closed (only `xmpp-gw account add`) | open (everybody who can connect).",
		func(c *Config, v value) error { return v.oneOf(&c.Node.Registration, "invite", "closed", "open") }},
	{"certificate", `""`, "A PEM file with the certificate for a domain that is a name, and key the file of its key; both are read again on reload. Without them the machine's own authority makes one.",
		func(c *Config, v value) error { return v.path(&c.Node.Certificate) }},
	{"key", `""`, "See certificate.",
		func(c *Config, v value) error { return v.path(&c.Node.Key) }},
	{"plain", "false", "Takes passwords as they are, inside TLS, besides SCRAM: for clients that know nothing better, such as go-sendxmpp 0.5.",
		func(c *Config, v value) error { return v.boolean(&c.Node.Plain) }},
	{"channel_binding", "true", "Offers logins that are bound to their TLS connection. slixmpp up to 1.8 and poezio need false: they try a binding that TLS 1.3 does not have, and then one the server must take for an attack.",
		func(c *Config, v value) error { return v.boolean(&c.Node.Binding) }},
	{"c2s", `[]`, `STARTTLS listeners for the node's clients alone, such as "0.0.0.0:15222": whoever connects there reaches the node and nothing else.`,
		func(c *Config, v value) error { return v.addresses(&c.Node.C2S) }},
	{"c2s_tls", `[]`, "The same with direct TLS (XEP-0368).",
		func(c *Config, v value) error { return v.addresses(&c.Node.C2STLS) }},
	{"admins", `[]`, `Accounts that may administer the node from within a client (XEP-0133), such as "me@localhost". Such a name cannot be chosen by a guest: xmpp-gw account add makes the account. Who is taken out of the list stays one until xmpp-gw account admin --off.`,
		func(c *Config, v value) error { return v.accounts(&c.Node.Admins) }},
	{"contacts", `[]`, `How the operator is reached (XEP-0157): KIND and address, such as "abuse mailto:abuse@example.org" or "admin xmpp:me@example.org". Kinds: abuse, admin, feedback, sales, security, status, support.`,
		func(c *Config, v value) error { return v.contacts(&c.Node.Contacts) }},
	{"software", `"XMPP server"`, "What the node says it is; the default tells nothing.",
		func(c *Config, v value) (err error) {
			c.Node.Software, err = v.str()
			return err
		}},
	{"archive", `"always"`, "Whose messages are kept in the archive (XEP-0313), as long as an account does not say otherwise: always | roster (of contacts) | never.",
		func(c *Config, v value) error { return v.oneOf(&c.Node.Archive, "always", "roster", "never") }},
	{"archive_days", "0", "For how many days; 0 is for ever.",
		func(c *Config, v value) error { return v.days(&c.Node.ArchiveTime) }},
	{"offline_messages", "1000", "How many messages wait for an account that is not there, at most.",
		func(c *Config, v value) error { return v.number(&c.Node.OfflineMessages, 1, 1_000_000) }},
	{"roster_items", "10000", "How many contacts an account may have.",
		func(c *Config, v value) error { return v.number(&c.Node.RosterItems, 1, 1_000_000) }},
	{"max_sessions", "25", "How many clients of one account may be connected at the same time.",
		func(c *Config, v value) error { return v.number(&c.Node.Sessions, 1, 10_000) }},
}

func (v value) nodeDomain(to *string) error {
	s, err := v.str()
	if err != nil || s == "" || s == OnionDomain {
		*to = s
		return err
	}
	name, err := policy.NormalizeDomain(s)
	switch {
	case err != nil:
		return err
	case policy.IsOnion(name):
		return hinted("an onion address is made here and not chosen", `write "onion"; `+"`xmpp-gw onion publish node --key FILE` brings the key of an address that you have")
	case !policy.IsHostname(name) || net.ParseIP(name) != nil:
		return hinted(fmt.Sprintf("%q is no name", s), `write a name, "onion" or "localhost"`)
	}
	*to = name
	return nil
}

func (v value) store(to *string) error {
	s, err := v.str()
	if err != nil {
		return err
	}
	scheme, rest, _ := strings.Cut(s, ":")
	switch {
	case scheme == "sqlite" && rest != "":
	case scheme == "postgres" || scheme == "postgresql":
		if _, err := url.Parse(s); err != nil { // its text would show the password
			return hinted("the address of the database cannot be read", "write postgres://USER@HOST/NAME")
		}
	default:
		return hinted("this names no database", `write "sqlite:node.db" or "postgres://USER@HOST/NAME"`)
	}
	*to = s
	return nil
}

func (v value) accounts(to *[]address.Address) error {
	list, err := v.strings()
	if err != nil {
		return err
	}
	*to = nil
	for _, s := range list {
		a, err := address.Parse(s)
		if err != nil || !a.IsBare() {
			return hinted(fmt.Sprintf("%q is no account", s), "write NAME@DOMAIN")
		}
		*to = append(*to, a)
	}
	return nil
}

func (v value) contacts(to *map[string][]string) error {
	list, err := v.strings()
	if err != nil {
		return err
	}
	*to = map[string][]string{}
	for _, s := range list {
		kind, uri, _ := strings.Cut(s, " ")
		uri = strings.TrimSpace(uri)
		if u, err := url.Parse(uri); err != nil || !slices.Contains(contactKinds, kind) || u.Scheme == "" {
			return hinted(fmt.Sprintf("%q is no contact", s), `write a kind and an address, such as "abuse mailto:abuse@example.org"; the kinds are `+strings.Join(contactKinds, ", "))
		}
		(*to)[kind] = append((*to)[kind], uri)
	}
	return nil
}

func (v value) days(to *time.Duration) error {
	var n int
	err := v.number(&n, 0, 36_500)
	*to = time.Duration(n) * 24 * time.Hour
	return err
}

// checkNode looks at what the node's settings mean together, and completes them.
func (l *loader) checkNode() {
	n := &l.c.Node
	line := func(key string) int { return l.keys[join("node", key)] }
	say := func(key, what, advice string) { l.mistake(line(key), hinted(key+": "+what, advice)) }
	if n.Publish && line("domain") == 0 {
		n.Domain = OnionDomain
	}
	local := n.Domain == localDomain || strings.HasSuffix(n.Domain, "."+localDomain)
	named := n.Domain != "" && n.Domain != OnionDomain && !local
	switch {
	case n.Publish && n.Domain == "":
		say("publish", "there is no node to publish", `set domain = "onion", or leave publish out; `+"`xmpp-gw onion publish --target` publishes another server")
	case n.Publish && local:
		say("publish", "nobody else can have an account at "+n.Domain, `set domain = "onion", or a name of your own`)
	case n.Publish && l.c.Tor.Mode == "off":
		say("publish", "an onion service needs Tor, which is switched off", `set mode = "auto" under [tor]`)
	}
	switch {
	case n.Certificate == "" && n.Key != "":
		say("key", "it goes with certificate, which is not there", "name both")
	case n.Certificate != "" && n.Key == "":
		say("certificate", "it goes with key, which is not there", "name both")
	case n.Certificate != "" && n.Domain == OnionDomain:
		say("certificate", "an onion address is a key and needs no certificate", "leave it out")
	}
	for key, list := range map[string][]string{"c2s": n.C2S, "c2s_tls": n.C2STLS} {
		i := slices.IndexFunc(list, func(a string) bool { return !loopback(a) })
		switch {
		case len(list) > 0 && n.Domain == "":
			say(key, "there is no node that could listen", "set domain")
		case i >= 0 && !named:
			say(key, fmt.Sprintf("others can reach %s, and the node's domain is %s", list[i], map[bool]string{true: n.Domain, false: "an onion address"}[local]),
				"set domain to a name of your own, or keep to loopback and unix sockets")
		case i >= 0 && n.Certificate == "":
			say(key, fmt.Sprintf("others can reach %s, and there is no certificate that they could trust", list[i]), "add certificate and key")
		}
	}
	for _, a := range n.Admins {
		if n.Domain != OnionDomain && a.Domain != policy.DisplayDomain(n.Domain) {
			say("admins", fmt.Sprintf("%s has no account at this node", a), "write accounts of its domain")
		}
	}
}

// NodeSource is where the node's domain is set: FILE:LINE, or [BuiltIn].
func (c *Config) NodeSource() string {
	for _, key := range []string{"domain", "publish"} {
		if line := c.lines[join("node", key)]; line > 0 {
			return fmt.Sprintf("%s:%d", c.File, line)
		}
	}
	return BuiltIn
}

// nodeWarnings are those about the node.
func (c *Config) nodeWarnings(warn func(format string, args ...any)) {
	n := c.Node
	at := func(key string) string { return fmt.Sprintf("%s:%d", c.File, c.lines[join("node", key)]) }
	if n.Registration == "open" && (n.Publish || len(n.C2S)+len(n.C2STLS) > 0) {
		warn("%s: registration is open, and strangers can reach the node: they will make accounts in numbers", at("registration"))
	}
	if _, ok := c.Rules.Domains[n.Domain]; ok && n.Domain != "" {
		warn("%s: [domain.%q] is for the domains under it alone, as the node serves that domain itself", at("domain"), n.Domain)
	}
	if u, err := url.Parse(n.Store); err == nil && u.User != nil {
		if _, ok := u.User.Password(); ok && othersMayRead(c.File) {
			warn("%s holds the password of the node's database, and others may read it: chmod 600 %[1]s", c.File)
		}
	}
	if n.Store == "sqlite::memory:" {
		warn("%s: accounts and messages are kept in memory and are gone when xmpp-gw ends", at("store"))
	}
}
