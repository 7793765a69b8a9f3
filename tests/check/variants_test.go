//go:build e2e

package check

import (
	"time"

	"xmpp-gw/tests/lab"
)

// variants are the configurations; what each must be judged as is in testdata.
var variants = []variant{
	{name: "prosody-good"},
	{name: "prosody-plain", lines: `c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_require_encryption = false
s2s_secure_auth = false`},
	{name: "prosody-no-starttls", without: []string{`"tls", `}, lines: `c2s_require_encryption = false
s2s_require_encryption = false`},
	{name: "prosody-old-tls", weak: true, lines: `ssl = { protocol = "tlsv1+", ciphers = "ALL:@SECLEVEL=0" }
password_hash = "SHA-1"`},
	{name: "prosody-expired", leaf: lab.CALeaf{Names: []string{domain}, Expired: true}},
	{name: "prosody-wrong-name", leaf: lab.CALeaf{Names: []string{host}}, lines: `ssl = { certificate = "TESTDIR/live/example.test/fullchain.pem", key = "TESTDIR/live/example.test/privkey.pem" }`},
	{name: "prosody-self-signed", leaf: lab.CALeaf{Names: []string{domain}, SelfSigned: true}},
	{name: "prosody-open", lines: `allow_registration = true
modules_enabled = { "register_ibr" }`},
	{name: "prosody-invite", lines: `allow_registration = true
registration_invite_only = true
modules_enabled = { "invites", "invites_register" }`},
	{name: "prosody-two-keys", lines: `c2s_direct_tls_ssl = { certificate = "TESTDIR/other.pem", key = "TESTDIR/other.key" }`},
	{name: "prosody-no-direct", without: []string{"c2s_direct_tls_ports = { {{.DirectTLS}} }", "s2s_direct_tls_ports = { {{index .More 1}} }"}, zone: []string{"_xmpps-client._tcp.example.test. 300 IN SRV NONE", "_xmpps-server._tcp.example.test. 300 IN SRV 0 0 0 ."}},
	{name: "prosody-away", lines: `modules_enabled = { "away" }`},
	{name: "prosody-no-scram", lines: `disable_sasl_mechanisms = { "SCRAM-SHA-1", "SCRAM-SHA-256" }`},
	{name: "prosody-dialback", lines: `s2s_secure_auth = false
s2s_ssl = { verify = "none" }
modules_enabled = { "dialback" }`},
	{name: "prosody-multiplex", lines: `modules_enabled = { "net_multiplex" }
ports = { 5222 }
c2s_ports = { }`},
	{name: "prosody-dns", zone: []string{
		"_xmpp-client._tcp.example.test. 300 IN SRV 0 5 5222 alias.example.test.",
		"alias.example.test. 300 IN CNAME xmpp.example.test.",
		"_5269._tcp.xmpp.example.test. 300 IN TLSA NONE",
		"_5223._tcp.xmpp.example.test. 300 IN TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000",
		`example.test. 300 IN CAA 128 issue "ca.test"`,
	}},
	{name: "prosody-bogus", spoil: func(z *lab.SignedZone) {
		z.Begin, z.End = time.Now().Add(-72*time.Hour), time.Now().Add(-48*time.Hour)
	}},
	{name: "prosody-no-records", zone: []string{
		"_xmpp-client._tcp.example.test. 300 IN SRV NONE", "_xmpps-client._tcp.example.test. 300 IN SRV NONE",
		"_xmpp-server._tcp.example.test. 300 IN SRV NONE", "_xmpps-server._tcp.example.test. 300 IN SRV NONE",
		"example.test. 300 IN CAA NONE",
	}},
	{name: "prosody-unsigned", spoil: func(z *lab.SignedZone) { z.Unsigned = true }},

	{name: "prosody-account", login: true, lines: `modules_enabled = { "version" }
modules_disabled = { "pep", "carbons", "blocklist", "smacks" }`},

	{name: "ejabberd-good"},
	{name: "ejabberd-expired", leaf: lab.CALeaf{Names: []string{host}, Expired: true}},
	{name: "ejabberd-account", login: true, lines: "modules:\n  mod_version: {}\n"},
	{name: "ejabberd-dead-record", without: []string{
		"  - port: 5270\n    ip: \"127.0.0.1\"\n    module: ejabberd_s2s_in\n    tls: true\n    max_stanza_size: 524288\n",
		"  - port: 5223\n    ip: \"127.0.0.1\"\n    module: ejabberd_c2s\n    tls: true\n    max_stanza_size: 262144\n",
	}, zone: []string{"_xmpps-client._tcp.example.test. 300 IN SRV NONE"}},
	{name: "ejabberd-no-host-meta", without: []string{"      /.well-known/host-meta: mod_host_meta\n      /.well-known/host-meta.json: mod_host_meta\n", "  mod_host_meta:\n    websocket_url: \"wss://example.test/ws\"\n"}},
	{name: "ejabberd-old-web-tls", weak: true, without: []string{"    protocol_options: [no_sslv3, no_tlsv1, no_tlsv1_1]\n    ciphers: \"ECDHE+AESGCM:ECDHE+CHACHA20\"\n"}, lines: `
listen:
  - port: 443
    module: ejabberd_http
    ciphers: "ALL:@SECLEVEL=0"
`},
	{name: "ejabberd-plain", lines: `
auth_password_format: plain
s2s_use_starttls: optional
listen:
  - port: 5222
    module: ejabberd_c2s
    starttls_required: false
  - port: 5269
    module: ejabberd_s2s_in
`},
	{name: "ejabberd-old-tls", weak: true, lines: `
c2s_protocol_options: []
s2s_protocol_options: []
c2s_ciphers: "ALL:@SECLEVEL=0"
s2s_ciphers: "ALL:@SECLEVEL=0"
disable_sasl_mechanisms: []
auth_scram_hash: sha
`},
	{name: "ejabberd-open", lines: `
modules:
  mod_register:
    ip_access: all
    access: all
`},
	{name: "ejabberd-captcha", lines: `
captcha_cmd: TESTDATA/captcha.sh
captcha_url: https://example.test/captcha
modules:
  mod_register:
    ip_access: all
    access: all
    captcha_protected: true
`},
	{name: "ejabberd-no-scram", lines: `
disable_sasl_mechanisms: [DIGEST-MD5, X-OAUTH2, SCRAM-SHA-1, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-256-PLUS, SCRAM-SHA-512, SCRAM-SHA-512-PLUS]
`},
	{name: "ejabberd-no-s2s-tls", lines: "s2s_use_starttls: false\n"},
	{name: "ejabberd-no-limits", without: []string{"    max_stanza_size: 262144\n", "    max_stanza_size: 524288\n"}},
	{name: "ejabberd-no-starttls", without: []string{"    starttls: true\n    starttls_required: true\n"}},
}
