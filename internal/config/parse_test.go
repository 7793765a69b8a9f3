package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"xmpp-gw/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// parse reads a text that has no mistakes.
func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("/etc/gw.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := Default()
	want := &Config{
		Listen: Listen{
			C2S:    []string{"127.0.0.1:5222", "[::1]:5222"},
			C2STLS: []string{"127.0.0.1:5223", "[::1]:5223"}, ClientTLS: "required", MaxConnections: 1000,
		},
		Tor:    Tor{Mode: "auto", SOCKS: []string{"unix:/run/tor/socks", "127.0.0.1:9050"}, Bridges: []string{}},
		Onion:  Onion{CircuitConnections: 64, CircuitPerMinute: 120},
		DNS:    DNS{Servers: []string{"tls://9.9.9.9:853#dns.quad9.net", "tls://1.1.1.1:853#cloudflare-dns.com"}},
		Limits: Limits{PreAuthBytes: 16384, StanzaBytes: 524288, PreAuth: time.Minute, IdlePing: 90 * time.Second},
		SOCKS:  c.SOCKS,
		Rules:  c.Rules,
		Node: Node{
			Domain: "localhost", Store: "sqlite:node.db", Registration: "invite", Binding: true, C2S: []string{}, C2STLS: []string{},
			Contacts: map[string][]string{}, Software: "XMPP server", Archive: "always",
			OfflineMessages: 1000, RosterItems: 10000, Sessions: 25,
		},
		lines: c.lines,
	}
	if !reflect.DeepEqual(c, want) || len(c.SOCKS)+len(c.Rules.Domains) != 0 {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	d, err := c.Rules.Decide(policy.Target{Domain: "example.org"})
	if err != nil || d.Route.Kind != policy.RouteTor || d.TLS != policy.TLSVerify || d.MinTLS != 0x0304 || d.PQ != policy.PQPrefer ||
		d.SASL != policy.Originate || d.AuthMin != policy.AuthSCRAM || d.Binding != policy.BindingPrefer ||
		d.Pin != policy.PinTOFUWarn || d.Redirect != policy.RedirectSameDomain || d.Registration != policy.RegistrationAllow {
		t.Errorf("%+v, %v", d, err)
	}
	for _, r := range d.Why {
		if r.Source != BuiltIn {
			t.Errorf("%s comes from %q", r.Key, r.Source)
		}
	}
}

func TestEveryKey(t *testing.T) {
	c := parse(t, "\ufeff"+strings.ReplaceAll(`[listen] # in a file with CRLF line ends
c2s = [
	"127.0.0.1:0",  # a comment
	'unix:c2s.sock',
]
c2s_tls = []
client_tls = "optional"
max_connections = 1_0
metrics = "192.0.2.1:9522"
metrics_public = true
[tor]
mode = "system"
socks = ["unix:/run/x"]
control = "unix:run/control"
torrc = "extra.torrc"
[onion]
circuit_connections = 0
circuit_per_minute = 7
client_keys = "keys"
[dns]
servers = ["tcp://127.0.0.1:53"]
ca = "ca.pem"
trust_anchors = "root.key"
[ct]
logs = "log_list.json"
[limits]
preauth_bytes = 0x4000
stanza_bytes = 10_000
preauth_seconds = +5
idle_ping_seconds = 0
[socks]
"a b" = { url = "socks5://romeo:pass%20word@127.0.0.1:1080" }
unix.url = "socks5+unix:///run/proxy"
[default]
route = "block"
binding = "require"
[domain."Bücher.Example."]
route = """socks:a b"""
tls = "pin"
min_tls = "1.2"
pq = "off"
sasl = "originate"
auth_min = "plain"
pin = "tofu-strict"
redirect = "deny"
sct = "require"
dns = "dnssec-require"
witness = "always"
mode = "report"
registration = "deny"
onion_upgrade = "off"
endpoints = ["tls://xmpp.example", "starttls://[::1]:1"]
ca = "root.pem"
pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
client_cert = "/c.pem"
password_file = "pw"
`, "\n", "\r\n"))
	if got := c.Listen; !reflect.DeepEqual(got, Listen{
		C2S: []string{"127.0.0.1:0", "unix:/etc/c2s.sock"}, C2STLS: []string{}, ClientTLS: "optional",
		MaxConnections: 10, Metrics: "192.0.2.1:9522", MetricsPublic: true,
	}) {
		t.Errorf("%+v", got)
	}
	if got := c.Tor; !reflect.DeepEqual(got, Tor{"system", []string{"unix:/run/x"}, "unix:/etc/run/control", "/etc/extra.torrc", []string{}}) {
		t.Errorf("%+v", got)
	}
	if got := c.Onion; got != (Onion{0, 7, "/etc/keys"}) {
		t.Errorf("%+v", got)
	}
	if m := c.MistakeAt(errors.New("no"), "onion", "circuit_per_minute"); m.Error() != "/etc/gw.toml:"+strconv.Itoa(m.Line)+": circuit_per_minute: no" || m.Line < 2 {
		t.Errorf("%v", m)
	}
	if got := c.DNS; !reflect.DeepEqual(got, DNS{[]string{"tcp://127.0.0.1:53"}, "/etc/ca.pem", "/etc/root.key"}) || c.CT.Logs != "/etc/log_list.json" {
		t.Errorf("%+v, %+v", got, c.CT)
	}
	if got := c.Limits; got != (Limits{0x4000, 10000, 5 * time.Second, 0}) {
		t.Errorf("%+v", got)
	}
	if password, _ := c.SOCKS["a b"].User.Password(); password != "pass word" || c.SOCKS["unix"].Path != "/run/proxy" {
		t.Errorf("%v", c.SOCKS)
	}
	d, err := c.Rules.Decide(policy.Target{Domain: "chat.xn--bcher-kva.example"})
	if err != nil {
		t.Fatal(err)
	}
	var why strings.Builder
	for _, r := range d.Why {
		why.WriteString(r.Key + "=" + r.Value + " " + strings.TrimPrefix(r.Source, "/etc/gw.toml:") + "\n")
	}
	if want := `route=socks:a b 38
endpoints=tls://xmpp.example:5223 starttls://[::1]:1 52
tls=pin 39
min_tls=1.2 40
pq=off 41
ca=/etc/root.pem 53
pin=tofu-strict 44
pins=sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= 54
sct=require 46
dns=dnssec-require 47
witness=always 48
sasl=originate 42
auth_min=plain 43
binding=require 36
client_cert=/c.pem 55
password_file=/etc/pw 56
redirect=deny 45
onion_upgrade=off 51
mode=report 49
registration=deny 50
`; why.String() != want {
		t.Errorf("got\n%swant\n%s", why.String(), want)
	}
	if _, err := c.Rules.Decide(policy.Target{Domain: "example.org"}); err == nil {
		t.Error("the default route is block, and a domain was let through")
	}
}

// A file with ten mistakes gives ten errors in one go, each with its line.
func TestTenMistakes(t *testing.T) {
	text, err := os.ReadFile("testdata/mistakes.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("gw.toml", text)
	mistakes, ok := errors.AsType[Errors](err)
	if !ok || len(mistakes) != 10 {
		t.Errorf("%d mistakes: %v", len(mistakes), err)
	}
	golden(t, "mistakes.txt", err.Error()+"\n")
	// Each stands on the line that it tells of, and so does the next one.
	for i, m := range mistakes {
		if i > 0 && m.Line <= mistakes[i-1].Line {
			t.Errorf("line %d follows line %d", m.Line, mistakes[i-1].Line)
		}
		if m.Hint == "" && !strings.Contains(m.What, "none of") && !strings.Contains(m.What, "must be") && !strings.Contains(m.What, "(write") {
			t.Errorf("no advice: %v", m)
		}
	}
}
