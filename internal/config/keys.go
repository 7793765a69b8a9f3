package config

import (
	"encoding"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"xmpp-gw/internal/resolve"
	"xmpp-gw/policy"
)

// key is one setting: its name, its default as TOML writes it ("" for none), what
// it means, and how its value is taken. T is what it belongs to.
type key[T any] struct {
	name, def, doc string
	set            func(to T, v value) error
}

// section is a table of the file and its keys.
type section struct {
	name, doc string
	keys      []key[*Config]
}

// sections are the tables with a fixed name. [default] and [domain."NAME"] have
// the ruleKeys, [socks.NAME] the socksKeys.
var sections = []section{
	{"listen", "Where clients connect.", []key[*Config]{
		{"c2s", `["127.0.0.1:5222", "[::1]:5222"]`, `STARTTLS listeners; "unix:/run/..." works too. systemd's sockets replace them.`,
			func(c *Config, v value) error { return v.addresses(&c.Listen.C2S) }},
		{"c2s_tls", `["127.0.0.1:5223", "[::1]:5223"]`, "Direct TLS listeners (XEP-0368).",
			func(c *Config, v value) error { return v.addresses(&c.Listen.C2STLS) }},
		{"client_tls", `"required"`, "required | optional (lets clients on loopback and unix sockets stay without TLS).",
			func(c *Config, v value) error { return v.oneOf(&c.Listen.ClientTLS, "required", "optional") }},
		{"max_connections", "1000", "How many clients may be connected at the same time; 0 is no bound.",
			func(c *Config, v value) error { return v.number(&c.Listen.MaxConnections, 0, 1_000_000) }},
		{"metrics", `""`, `Where Prometheus may ask, for example "127.0.0.1:9522"; empty is nowhere.`,
			func(c *Config, v value) error { return v.optionalAddress(&c.Listen.Metrics) }},
		{"metrics_public", "false", "Lets metrics listen beyond loopback.",
			func(c *Config, v value) error { return v.boolean(&c.Listen.MetricsPublic) }},
	}},
	{"tor", "Which Tor carries the tor and onion-only routes.", []key[*Config]{
		{"mode", `"auto"`, "auto (the system's if it answers, else one of our own) | managed | system | off.",
			func(c *Config, v value) error { return v.oneOf(&c.Tor.Mode, "auto", "managed", "system", "off") }},
		{"socks", `["127.0.0.1:9050", "unix:/run/tor/socks"]`, "Where the system's Tor may listen for SOCKS.",
			func(c *Config, v value) error { return v.addresses(&c.Tor.SOCKS) }},
		{"control", `""`, `The system's Tor's control port ("unix:/run/tor/control"), to show circuits.`,
			func(c *Config, v value) error { return v.optionalAddress(&c.Tor.Control) }},
		{"torrc", `""`, "A file whose lines a managed Tor takes as well.",
			func(c *Config, v value) error { return v.path(&c.Tor.Torrc) }},
	}},
	{"dns", "Who is asked for names, in turn, over the decided route; never the system's resolver.", []key[*Config]{
		{"servers", `["tls://9.9.9.9:853#dns.quad9.net", "tls://1.1.1.1:853#cloudflare-dns.com"]`, "tls://IP:PORT#NAME or tcp://IP:PORT.",
			func(c *Config, v value) error { return v.dnsServers(&c.DNS.Servers) }},
		{"ca", `""`, "A PEM file with one more root for tls servers.",
			func(c *Config, v value) error { return v.path(&c.DNS.CA) }},
	}},
	{"limits", "What a client may cost.", []key[*Config]{
		{"preauth_bytes", "16384", "Most bytes of one element before the login.",
			func(c *Config, v value) error { return v.number(&c.Limits.PreAuthBytes, 4096, 1<<20) }},
		{"stanza_bytes", "524288", "Most bytes of one stanza.",
			func(c *Config, v value) error { return v.number(&c.Limits.StanzaBytes, 10_000, 64<<20) }},
		{"preauth_seconds", "60", "Most seconds up to the login, waiting for the server not counted.",
			func(c *Config, v value) error { return v.seconds(&c.Limits.PreAuth, 1, 600) }},
		{"idle_ping_seconds", "90", "Seconds of silence after which the server is asked for a sign of life; 0 never asks.",
			func(c *Config, v value) error { return v.seconds(&c.Limits.IdlePing, 0, 86_400) }},
	}},
}

// target is a rule under construction and where its settings stand.
type target struct {
	rule   *policy.Rule
	source string
	domain bool // a [domain] section, which may be laxer than the defaults
}

// ruleKeys are the keys of [default] and [domain."NAME"].
var ruleKeys = []key[target]{
	{"route", `"tor"`, "tor | onion-only | socks:NAME | direct | block. A route that fails is never replaced by another.",
		func(t target, v value) error { return ruleText(t, v, &t.rule.Route.V, &t.rule.Route.Source) }},
	{"tls", `"verify"`, "What proves the server: verify (certificate for the account's domain) | pin (one of pins) | onion (the onion address that you bound to the domain).",
		func(t target, v value) error { return ruleText(t, v, &t.rule.TLS.V, &t.rule.TLS.Source) }},
	{"min_tls", `"1.3"`, `"1.2" is possible for a domain by name.`,
		func(t target, v value) error {
			if v.text == "1.2" && !t.domain {
				return hinted("1.2 is not for everybody", `set it in a [domain."..."] section`)
			}
			return ruleText(t, v, &t.rule.MinTLS.V, &t.rule.MinTLS.Source)
		}},
	{"pq", `"prefer"`, "Post-quantum key exchange (X25519MLKEM768): off | prefer | require.",
		func(t target, v value) error { return ruleText(t, v, &t.rule.PQ.V, &t.rule.PQ.Source) }},
	{"sasl", `"originate"`, "Who logs in at the server: originate (the gateway, with the strongest mechanism) | relay (the client) | passthrough (the client, inside its own TLS).",
		func(t target, v value) error { return ruleText(t, v, &t.rule.SASL.V, &t.rule.SASL.Source) }},
	{"auth_min", `"scram"`, `The weakest login: scram | scram-plus (bound to TLS) | external (client certificate). "plain" is possible for a domain by name.`,
		func(t target, v value) error {
			if v.text == "plain" && !t.domain {
				return hinted("plain is not for everybody", `set it in a [domain."..."] section`)
			}
			return ruleText(t, v, &t.rule.AuthMin.V, &t.rule.AuthMin.Source)
		}},
	{"binding", `"prefer"`, "Binding the login to the TLS connection: prefer | require.",
		func(t target, v value) error { return ruleText(t, v, &t.rule.Binding.V, &t.rule.Binding.Source) }},
	{"pin", `"tofu-warn"`, "The server's key is remembered at first use: off | tofu-warn | tofu-strict (a change ends the connection).",
		func(t target, v value) error { return ruleText(t, v, &t.rule.Pin.V, &t.rule.Pin.Source) }},
	{"redirect", `"same-domain"`, "When a server sends its clients elsewhere: deny | same-domain.",
		func(t target, v value) error { return ruleText(t, v, &t.rule.Redirect.V, &t.rule.Redirect.Source) }},
	{"registration", `"allow"`, "Making accounts from within a client: allow | deny.",
		func(t target, v value) error {
			return ruleText(t, v, &t.rule.Registration.V, &t.rule.Registration.Source)
		}},
}

// domainKeys are the further keys of [domain."NAME"].
var domainKeys = []key[target]{
	{"onion", "", `The domain's onion address, "....onion:5222"; used first and alone.`,
		func(t target, v value) error {
			text, err := v.str()
			if err != nil {
				return err
			}
			if !strings.Contains(text, "://") {
				text = "starttls://" + text
			}
			e, err := policy.ParseEndpoint(text)
			if err != nil {
				return err
			}
			if !e.Onion() {
				return hinted(fmt.Sprintf("%q is not an onion address", e.Host), "other hosts go into endpoints")
			}
			if err := policy.CheckOnion(e.Host); err != nil {
				return err
			}
			t.rule.Onion = policy.Value[policy.Endpoint]{V: e, Source: t.source}
			return nil
		}},
	{"endpoints", "", `Where the server is, instead of asking DNS: "starttls://HOST:PORT", "tls://HOST:PORT".`,
		func(t target, v value) error {
			texts, err := v.strings()
			if err != nil {
				return err
			}
			var list []policy.Endpoint
			for _, text := range texts {
				e, err := policy.ParseEndpoint(text)
				if err != nil {
					return err
				}
				if e.Onion() {
					if err := policy.CheckOnion(e.Host); err != nil {
						return err
					}
				}
				list = append(list, e)
			}
			t.rule.Endpoints = policy.Value[[]policy.Endpoint]{V: list, Source: t.source}
			return nil
		}},
	{"ca", "", "A PEM file with one more root, for this domain alone.",
		func(t target, v value) error {
			t.rule.CA.Source = t.source
			return v.path(&t.rule.CA.V)
		}},
	{"pins", "", `Keys of the server, "sha256/BASE64" of the SubjectPublicKeyInfo.`,
		func(t target, v value) error {
			list, err := v.strings()
			if err != nil {
				return err
			}
			for _, p := range list {
				if err := policy.CheckPin(p); err != nil {
					return err
				}
			}
			t.rule.Pins = policy.Value[[]string]{V: list, Source: t.source}
			return nil
		}},
	{"client_cert", "", "A PEM file with certificate and key to log in with (SASL EXTERNAL).",
		func(t target, v value) error {
			t.rule.ClientCert.Source = t.source
			return v.path(&t.rule.ClientCert.V)
		}},
}

// ruleText sets a setting that reads itself from text.
func ruleText[T encoding.TextUnmarshaler](t target, v value, to T, source *string) error {
	text, err := v.str()
	if err != nil {
		return err
	}
	if err := to.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	*source = t.source
	return nil
}

// value is a TOML value with the directory that relative paths start from.
type value struct {
	kind string // "a string", "a number", "true or false", "a list", "something else"
	text string
	list []value
	dir  string
}

// hint is an error with advice.
type hint struct {
	error
	advice string
}

func hinted(what, advice string) error { return hint{fmt.Errorf("%s", what), advice} }

func (v value) want(kind string) error {
	if v.kind != kind {
		return fmt.Errorf("it must be %s, not %s", kind, v.kind)
	}
	return nil
}

func (v value) str() (string, error) { return v.text, v.want("a string") }

func (v value) strings() ([]string, error) {
	if err := v.want("a list"); err != nil {
		return nil, err
	}
	list := make([]string, 0, len(v.list))
	for _, e := range v.list {
		s, err := e.str()
		if err != nil {
			return nil, fmt.Errorf("each element of the list: %w", err)
		}
		list = append(list, s)
	}
	return list, nil
}

func (v value) oneOf(to *string, choices ...string) error {
	s, err := v.str()
	if err != nil {
		return err
	}
	if !slices.Contains(choices, s) {
		return fmt.Errorf("%q is none of %s", s, strings.Join(choices, ", "))
	}
	*to = s
	return nil
}

func (v value) number(to *int, low, high int) error {
	if err := v.want("a number"); err != nil {
		return err
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(v.text, "_", ""), 0, 64)
	if err != nil || n < int64(low) || n > int64(high) {
		return fmt.Errorf("%s is not a whole number from %d to %d", v.text, low, high)
	}
	*to = int(n)
	return nil
}

func (v value) seconds(to *time.Duration, low, high int) error {
	var n int
	if err := v.number(&n, low, high); err != nil {
		return err
	}
	*to = time.Duration(n) * time.Second
	return nil
}

func (v value) boolean(to *bool) error {
	if err := v.want("true or false"); err != nil {
		return err
	}
	*to = v.text == "true"
	return nil
}

func (v value) path(to *string) error {
	s, err := v.str()
	if err != nil {
		return err
	}
	if s != "" && !filepath.IsAbs(s) {
		s = filepath.Join(v.dir, s)
	}
	*to = s
	return nil
}

func (v value) addresses(to *[]string) error {
	list, err := v.strings()
	if err != nil {
		return err
	}
	for i, a := range list {
		if list[i], err = v.address(a); err != nil {
			return err
		}
	}
	*to = list
	return nil
}

func (v value) optionalAddress(to *string) error {
	s, err := v.str()
	if err != nil || s == "" {
		*to = ""
		return err
	}
	*to, err = v.address(s)
	return err
}

// address checks IP:PORT, localhost:PORT or unix:PATH. Other names would have to
// be resolved, which this program does not do for its own listeners.
func (v value) address(s string) (string, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return "", fmt.Errorf("%q names no path", s)
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(v.dir, path)
		}
		return "unix:" + path, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", hinted(fmt.Sprintf("%q is no address", s), "write IP:PORT or unix:PATH")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q has no port from 0 to 65535", s)
	}
	if host != "localhost" && net.ParseIP(host) == nil {
		return "", hinted(fmt.Sprintf("%q is a name", host), "write an IP address, localhost or unix:PATH")
	}
	return s, nil
}

func (v value) dnsServers(to *[]string) error {
	list, err := v.strings()
	if err != nil {
		return err
	}
	if _, err := resolve.ParseServers(list); err != nil {
		return err
	}
	*to = list
	return nil
}

// socksURL reads the url of a [socks.NAME] section.
func (v value) socksURL() (*url.URL, error) {
	s, err := v.str()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, hinted("the url cannot be read", "write socks5://[USER:PASSWORD@]IP:PORT")
	case u.Scheme != "socks5" && u.Scheme != "socks5h" && u.Scheme != "socks5+unix":
		return nil, hinted(fmt.Sprintf("the scheme %q is not SOCKS5", u.Scheme), "write socks5://[USER:PASSWORD@]IP:PORT")
	case u.Scheme != "socks5+unix" && (net.ParseIP(u.Hostname()) == nil && u.Hostname() != "localhost" || u.Port() == ""):
		return nil, hinted("the url names no IP address and port", "write socks5://[USER:PASSWORD@]IP:PORT")
	}
	return u, nil
}
