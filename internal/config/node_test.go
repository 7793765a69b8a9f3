package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/address"
)

func TestNode(t *testing.T) {
	c := parse(t, `
[node]
domain = "Exämple.org"
store = "postgres://node@localhost/node"
publish = true
registration = "closed"
certificate = "cert.pem"
key = "key.pem"
c2s = ["0.0.0.0:15222"]
c2s_tls = ["[::]:15223"]
admins = ["Me@exämple.org"]
contacts = ["abuse mailto:abuse@example.org", "abuse  xmpp:abuse@example.org"]
plain = true
channel_binding = false
archive = "roster"
archive_days = 30
`)
	want := Node{
		Domain: "xn--exmple-cua.org", Store: "postgres://node@localhost/node", Publish: true, Registration: "closed",
		Plain:       true,
		Certificate: "/etc/cert.pem", Key: "/etc/key.pem", C2S: []string{"0.0.0.0:15222"}, C2STLS: []string{"[::]:15223"},
		Admins:   []address.Address{{Local: "me", Domain: "exämple.org"}},
		Contacts: map[string][]string{"abuse": {"mailto:abuse@example.org", "xmpp:abuse@example.org"}},
		Software: "XMPP server", Archive: "roster", ArchiveTime: 30 * 24 * time.Hour,
		OfflineMessages: 1000, RosterItems: 10000, Sessions: 25,
	}
	if !reflect.DeepEqual(c.Node, want) {
		t.Errorf("got  %+v\nwant %+v", c.Node, want)
	}
	for text, domain := range map[string]string{
		"":                           "localhost",
		"publish = true":             OnionDomain,
		"domain = 'onion'":           OnionDomain,
		"domain = ''":                "",
		"domain = 'home.localhost'":  "home.localhost",
		"publish=true\ndomain='a.b'": "a.b",
		"c2s = ['127.0.0.1:15222']":  "localhost",
		"domain='onion'\nadmins=['a@" + someOnion + "']": OnionDomain,
	} {
		if c := parse(t, "[node]\n"+text); c.Node.Domain != domain {
			t.Errorf("%s: the domain is %q, want %q", text, c.Node.Domain, domain)
		}
	}
}

func TestNodeMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"domain = 1":                                     "2: domain: it must be a string",
		"domain = 'a b'":                                 "2: domain:",
		"domain = '192.0.2.1'":                           `2: domain: "192.0.2.1" is no name`,
		"domain = '" + someOnion + "'":                   `2: domain: an onion address is made here | write "onion"`,
		"store = 'node.db'":                              "2: store: this names no database",
		"store = 'sqlite:'":                              "2: store: this names no database",
		"store = 'postgres://u:pp%zz@'":                  "2: store: the address of the database cannot be read",
		"registration = 'yes'":                           `2: registration: "yes" is none of invite, closed, open`,
		"publish = true\ndomain = ''":                    "2: publish: there is no node to publish",
		"publish = true\ndomain = 'localhost'":           `2: publish: nobody else can have an account at localhost | set domain = "onion"`,
		"publish = true\n[tor]\nmode = 'off'":            "2: publish: an onion service needs Tor",
		"key = 'k'":                                      "2: key: it goes with certificate",
		"certificate = 'c'":                              "2: certificate: it goes with key",
		"domain = 'onion'\ncertificate = 'c'\nkey = 'k'": "3: certificate: an onion address is a key",
		"c2s = ['0.0.0.0:1']":                            "2: c2s: others can reach 0.0.0.0:1, and the node's domain is localhost",
		"domain = 'onion'\nc2s_tls = ['0.0.0.0:1']":      "3: c2s_tls: others can reach 0.0.0.0:1, and the node's domain is an onion address",
		"domain = 'a.b'\nc2s = ['0.0.0.0:1']":            "3: c2s: others can reach 0.0.0.0:1, and there is no certificate",
		"domain = ''\nc2s = ['127.0.0.1:1']":             "3: c2s: there is no node",
		"c2s = ['127.0.0.1:5222']":                       "2: node.c2s: 127.0.0.1:5222 is taken by c2s",
		"admins = ['localhost']":                         `2: admins: "localhost" is no account`,
		"admins = ['a@b.c']":                             "2: admins: a@b.c has no account at this node",
		"contacts = ['mailto:a@b.c']":                    "2: contacts: | the kinds are abuse",
		"contacts = ['boss mailto:a@b.c']":               "2: contacts:",
		"contacts = ['admin a@b.c']":                     "2: contacts:",
		"archive_days = -1":                              "2: archive_days: -1 is not a whole number",
		"max_sessions = 0":                               "2: max_sessions: 0 is not a whole number",
	} {
		_, err := Parse("gw.toml", []byte("[node]\n"+text))
		if err == nil {
			t.Errorf("%s: no mistake", text)
			continue
		}
		for _, part := range strings.Split(want, " | ") {
			if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "pp%zz") {
				t.Errorf("%s: got %q, want %q", text, err, part)
			}
		}
	}
}

func TestNodeWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"publish = true\nregistration = 'open'":              "registration is open, and strangers can reach the node",
		"domain = 'a.b'\n[domain.'a.b']\nroute = 'direct'":   "the node serves that domain itself",
		"store = 'sqlite::memory:'":                          "gone when xmpp-gw ends",
		"store = 'postgres://u:secret@127.0.0.1/node'":       "holds the password of the node's database",
		"domain = 'c.a.b'\n[domain.'a.b']\nroute = 'direct'": "",
		"registration = 'open'":                              "",
		"store = 'postgres://u@127.0.0.1/node'\nadmins = []": "",
	} {
		file := write(t, t.TempDir()+"/gw.toml", "[node]\n"+text, 0o644)
		c, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(c.Warnings, "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("%s: warnings %q, want %q", text, got, want)
		}
	}
}
