package config

import (
	"encoding"
	"net/url"

	"xmpp-gw/policy"
)

// key is one setting: its name, its default as TOML writes it (an example, where
// there is no default), what it means, and how its value is taken. T is what it
// belongs to.
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
		{"socks", `["unix:/run/tor/socks", "127.0.0.1:9050"]`, "Where the system's Tor may listen for SOCKS.",
			func(c *Config, v value) error { return v.addresses(&c.Tor.SOCKS) }},
		{"control", `""`, `The system's Tor's control port ("unix:/run/tor/control"), to show circuits.`,
			func(c *Config, v value) error { return v.optionalAddress(&c.Tor.Control) }},
		{"torrc", `""`, "A file whose lines a managed Tor takes as well.",
			func(c *Config, v value) error { return v.path(&c.Tor.Torrc) }},
		{"bridges", `[]`, "Bridge lines for networks that block Tor (obfs4, snowflake, webtunnel or plain), as bridges.torproject.org gives them; they need a managed Tor.",
			func(c *Config, v value) error { return v.texts(&c.Tor.Bridges) }},
	}},
	{"onion", "What one Tor circuit may do at the onion services that `xmpp-gw onion publish` publishes (0 is no bound), and keys for other people's.", []key[*Config]{
		{"circuit_connections", "64", "How many connections one circuit may have open.",
			func(c *Config, v value) error { return v.number(&c.Onion.CircuitConnections, 0, 1_000_000) }},
		{"circuit_per_minute", "120", "How many connections one circuit may open in a minute.",
			func(c *Config, v value) error { return v.number(&c.Onion.CircuitPerMinute, 0, 1_000_000) }},
		{"client_keys", `""`, "A folder with keys for private onion services of others, ADDRESS.auth_private as Tor's ClientOnionAuthDir has them; beside those of `xmpp-gw onion auth add`, which go before them.",
			func(c *Config, v value) error { return v.path(&c.Onion.ClientKeys) }},
	}},
	{"dns", "Who is asked for names, in turn, over the decided route; never the system's resolver.", []key[*Config]{
		{"servers", `["tls://9.9.9.9:853#dns.quad9.net", "tls://1.1.1.1:853#cloudflare-dns.com"]`, "tls://IP:PORT#NAME or tcp://IP:PORT.",
			func(c *Config, v value) error { return v.dnsServers(&c.DNS.Servers) }},
		{"ca", `""`, "A PEM file with one more root for tls servers.",
			func(c *Config, v value) error { return v.path(&c.DNS.CA) }},
		{"trust_anchors", `""`, "A file with the keys that DNSSEC begins at, DS or DNSKEY records as in Debian's /usr/share/dns/root.key; empty is both keys of the root, built in.",
			func(c *Config, v value) error { return v.path(&c.DNS.TrustAnchors) }},
	}},
	{"ct", "Certificate Transparency: who must have seen a certificate (sct).", []key[*Config]{
		{"logs", `""`, "A file with the logs that count, a log_list.json of version 3 as browsers' makers publish it; empty is the list that is built in.",
			func(c *Config, v value) error { return v.path(&c.CT.Logs) }},
	}},
	{"limits", "What a client may cost.", []key[*Config]{
		{"preauth_bytes", "16384", "Most bytes of one element before the login.",
			func(c *Config, v value) error { return v.number(&c.Limits.PreAuthBytes, 4096, 1<<20) }},
		{"stanza_bytes", "524288", "Most bytes of one stanza of a client; the server may send 16 times as much.",
			func(c *Config, v value) error { return v.number(&c.Limits.StanzaBytes, 10_000, 64<<20) }},
		{"preauth_seconds", "60", "Most seconds up to the login, waiting for the server not counted.",
			func(c *Config, v value) error { return v.seconds(&c.Limits.PreAuth, 1, 600) }},
		{"idle_ping_seconds", "90", "Seconds of silence after which the server is asked for a sign of life; 0 never asks.",
			func(c *Config, v value) error { return v.seconds(&c.Limits.IdlePing, 0, 86_400) }},
	}},
	{"node", nodeDoc, nodeKeys},
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
	{"tls", `"verify"`, "What proves the server: verify (certificate for the account's domain) | dane (the key that its TLSA records name, where it has some that DNSSEC proves, else as verify) | dane-only (TLSA records or nothing) | pin (one of pins) | onion (the onion address that you bound to the domain).",
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
	{"sct", `"warn"`, "A certificate that the public logs do not vouch for (Certificate Transparency): off | warn | require. A server that is proven by pins, an onion address, ca, or TLSA records of usage 2 or 3 needs none.",
		func(t target, v value) error { return ruleText(t, v, &t.rule.SCT.V, &t.rule.SCT.Source) }},
	{"dns", `"dnssec-prefer"`, "What DNS says of where the server is: dnssec-prefer (proven, or from a part of the tree that nobody signs; what may be forged is refused) | dnssec-require (proven) | off (as it comes).",
		func(t target, v value) error { return ruleText(t, v, &t.rule.DNSSEC.V, &t.rule.DNSSEC.Source) }},
	{"witness", `"on-change"`, "Looking at the server's key a second time over another circuit, before the login: off | on-change (when it is another key than before) | always.",
		func(t target, v value) error { return ruleText(t, v, &t.rule.Witness.V, &t.rule.Witness.Source) }},
	{"mode", `"enforce"`, "What becomes of a server that falls short of one of the stricter rules (min_tls, pq, scram-plus, binding, tofu-strict, sct, dnssec-require, witness): enforce (refused) | report (told in the log and in status, and let through). What proves the server is enforced in both. Under [default] also of an unsafe set-up of this machine at the start of run (xmpp-gw check --self): enforce (it does not start) | report (a warning).",
		func(t target, v value) error { return ruleText(t, v, &t.rule.Mode.V, &t.rule.Mode.Source) }},
	{"redirect", `"same-domain"`, "When a server sends its clients elsewhere: deny | same-domain.",
		func(t target, v value) error { return ruleText(t, v, &t.rule.Redirect.V, &t.rule.Redirect.Source) }},
	{"onion_upgrade", `"sticky"`, "Onion addresses that a domain's SRV records and host-meta name, for routes through Tor: sticky (they come first, and after the first login at one the domain is not reached in any other way) | off (left aside; in a domain's section it also lifts what was remembered).",
		func(t target, v value) error { return ruleText(t, v, &t.rule.Upgrade.V, &t.rule.Upgrade.Source) }},
	{"registration", `"allow"`, "Making accounts from within a client: allow | deny.",
		func(t target, v value) error {
			return ruleText(t, v, &t.rule.Registration.V, &t.rule.Registration.Source)
		}},
}

// domainKeys are the further keys of [domain."NAME"].
var domainKeys = []key[target]{
	{"onion", `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaam2dqd.onion:5222"`, "The domain's onion address; it is used alone, and DNS is not asked.",
		func(t target, v value) error {
			e, err := v.onion()
			t.rule.Onion = policy.Value[policy.Endpoint]{V: e, Source: t.source}
			return err
		}},
	{"endpoints", `["starttls://xmpp.example.org:5222", "tls://192.0.2.1:5223"]`, "Where the server is, in this order; DNS is not asked. wss://HOST/PATH is WebSocket (RFC 7395); ws:// is for an onion address that proves the server (tls = \"onion\").",
		func(t target, v value) error {
			list, err := v.endpoints()
			t.rule.Endpoints = policy.Value[[]policy.Endpoint]{V: list, Source: t.source}
			return err
		}},
	{"ca", `"/etc/xmpp-gw/example-ca.pem"`, "A PEM file with one more root, for this section alone.",
		func(t target, v value) error { return v.file(t, &t.rule.CA) }},
	{"pins", `["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]`, `Keys of the server, "sha256/BASE64" of the SubjectPublicKeyInfo.`,
		func(t target, v value) error {
			list, err := v.pins()
			t.rule.Pins = policy.Value[[]string]{V: list, Source: t.source}
			return err
		}},
	{"client_cert", `"/etc/xmpp-gw/example-client.pem"`, "A PEM file with certificate and key to log in with (SASL EXTERNAL).",
		func(t target, v value) error { return v.file(t, &t.rule.ClientCert) }},
	{"password_file", `"/etc/xmpp-gw/example-password"`, "A file whose first line clients must give as password where client_cert logs in. Without it any program on this machine could use the account.",
		func(t target, v value) error { return v.file(t, &t.rule.PasswordFile) }},
}

// socksKeys are the keys of [socks.NAME].
var socksKeys = []key[**url.URL]{
	{"url", `"socks5://127.0.0.1:4447"`, "socks5://[USER:PASSWORD@]IP:PORT or socks5+unix:///PATH. The hop resolves the names.",
		func(to **url.URL, v value) (err error) {
			*to, err = v.socksURL()
			return err
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
