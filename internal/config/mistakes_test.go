package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const someOnion = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaam2dqd.onion"

// otherOnion is the address of the key of 32 times 0x01.
const otherOnion = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"

// Each text has the mistakes that are listed, and no others.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // LINE: WHAT and HINT, in parts
	}{
		// Lines that are no TOML do not hide the others.
		{"[listen\n", []string{"1: not TOML"}},
		{"\n\nc2s", []string{"3: not TOML"}},
		{"[tor]\nmode = 'off\n", []string{"2: not TOML"}},
		{"[tor]\nmode = \"\xff\"", []string{"2: not TOML"}},
		{"[tor]\nmode = \"o\x00ff\"", []string{"2: not TOML"}},
		{"[limits]\npreauth_bytes = 0777", []string{"2: not TOML"}},
		{"[tor]\rmode = 'off'", []string{"1: not TOML"}},
		{"[tor]\nmode = \"off\" torrc = \"x\"", []string{"2: not TOML"}},
		{"x = 1\n[tor]\nmode = \n", []string{"1: x: it stands in no section", "3: not TOML"}},
		{"[default]\nroute = tor\nrout = 1\n[tor]\nmode = 'on'", []string{"2: not TOML | strings need quotes", "3: rout: there is no such key", `5: mode: "on" is none`}},
		{"[listen]\nc2s = [127.0.0.1:5222]\nx = 1", []string{"2: not TOML | strings need quotes", "3: x: there is no such key"}},
		{"[default]\nroute = tor\n[tor]\nmode = off\n[dns]\nx = 1", []string{"2: not TOML", "4: not TOML", "6: x: there is no such key"}},
		{"[default]\n[tor\nmode = 'off'\n[dns]\nx = 1", []string{"2: not TOML", "5: x: there is no such key"}},
		{"x = 1\n[listen]\nc2s = [\n[tor]\ny = 1\n", []string{"1: x: it stands in no section", "4: not TOML | what follows was not looked at"}},
		{strings.Repeat("a b\n", 50), append(slices.Repeat([]string{"not TOML"}, maxSyntax-1), "20: not TOML | what follows was not looked at")},

		// What settings mean together is not asked while some of them cannot be read.
		{"[domain.'a.b']\ntls = 'pin'\npins = [sha256/x]", []string{"3: not TOML | strings need quotes"}},

		// Nothing from the file reaches the terminal raw, and no password at all.
		{"[tor]\n\"a\\u001b[31m\" = 1\n'\u202e' = 1", []string{`2: "a\x1b[31m": there is no such key`, `3: "\u202e": there is no such key`}},
		{"[domain.'a.b'.\"c\\u001bd\"]", []string{`1: | c\x1bd"]`}},
		{"[socks.a]\nurl = socks5://u:pppp@127.0.0.1:1\n'socks5://u:pppp@h' = 1", []string{"2: not TOML | strings need quotes", `3: "[secret]@h": there is no such key`}},
		{"[socks.'socks5://u:pppp@h']", []string{`1: [socks."[secret]@h"] has no url`}},
		{"[default]\nroute = 'socks5://u:pp pp@pppp@h:1'", []string{`2: route: unknown route "[secret]@h:1"`}},
		{"[default]\nroute = 'socks:u:pppp@h:1'", []string{`2: route: there is no SOCKS hop "[secret]@h:1" | add [socks."[secret]@h:1"]`}},
		{"[listen]\nc2s = ['socks5://u:pppp@127.0.0.1:1']", []string{`2: c2s: | [secret]`}},
		{"[dns]\nservers = ['tls://u:pppp@9.9.9.9']", []string{`2: servers: | [secret]`}},
		{"[domain.'a.b']\nendpoints = ['tls://u:pppp@a.b']", []string{`2: endpoints: | [secret]`}},

		{"[tor]\nmode = 'system'\nbridges = ['192.0.2.1:9001']", []string{"3: bridges: the system's Tor has its own | managed"}},
		{"[tor]\nbridges = 'x'", []string{"2: bridges: it must be a list"}},

		// Sections and keys that are not there, or there twice.
		{"[tor]\n[dns]\n[tor]\n", []string{"3: [tor] is there twice, first in line 1"}},
		{"[domain.'a.b']\n[domain.\"a.b\"]", []string{"2: [domain.\"a.b\"] is there twice"}},
		{"[domain.'a.b']\n[domain.'A.b']\nroute = 'nowhere'", []string{`2: [domain."A.b"] is the same domain as [domain."a.b"]`}},
		{"[tor]\nmode='off'\nmode='auto'\n", []string{"3: tor.mode is set twice, first in line 2"}},
		{"tor = {mode='off', mode='auto'}", []string{"1: tor.mode is set twice"}},
		{"tor.mode='off'\n[tor]\n", []string{"2: not TOML"}},
		{"default={}\n[default]\n", []string{"2: [default] is there twice"}},
		{"[[domain]]\nroute='x'", []string{"1: [[domain]] is a list of tables | write [domain]"}},
		{"[torr]\nmode='x'", []string{"1: [torr] is no section | did you mean tor?"}},
		{"[quux]", []string{"1: [quux] is no section | config describe"}},
		{"[tor.bridges]\nx=1", []string{"1: [tor.bridges] is no section"}},
		{"[default.privacy]\njingle='deny'", []string{"1: [default.privacy] is no section"}},
		{"[default]\nprivacy.jingle='deny'", []string{"2: jingle: [default.privacy] is no section"}},
		{"torr.mode='x'", []string{"1: mode: [torr] is no section | did you mean tor?"}},
		{"tor = 1", []string{"1: tor: this is a section and has no value | write [tor]"}},
		{"route = 'tor'", []string{"1: route: it stands in no section | did you mean route"}},
		{"[tor]\nmodes = 'off'", []string{"2: modes: there is no such key | did you mean mode?"}},
		{"[tor]\n\"a\\nb\" = 1", []string{`2: "a\nb": there is no such key`}},
		{"[domain]\nroute = 'tor'", []string{"2: route: it belongs to no domain"}},
		{"[domain.example.org]\nroute = 'x'", []string{`1: [domain.example.org] is no section | quote the domain: [domain."example.org"]`}},
		{"domain.example.org.route = 'tor'", []string{`1: route: [domain.example.org] is no section | [domain."example.org"]`}},
		{"[domain.\"a b\"]\nroute='x'\nx=1", []string{`1: [domain."a b"] cannot be: it is no valid domain name`}},
		{"[domain]\n'a b'.route='x'\n'a b'.tls='x'", []string{`2: [domain."a b"] cannot be`}},
		{"[domain.'b" + someOnion[1:] + "']", []string{"1: | its checksum does not fit"}},
		{"[domain.'expyuzz4wqqyqhjn.onion']", []string{"1: | version 2 onion address"}},
		{"[socks]\nurl='x'", []string{"2: url: it belongs to no hop | write [socks.NAME]"}},
		{"[socks.a]\nuri='x'", []string{"1: [socks.a] has no url", "2: uri: there is no such key | did you mean url?"}},
		{"[default]\nonion='x'", []string{`2: onion: it belongs to one domain | [domain."NAME"]`}},
		{"[default]\nocsp = 'warn'", []string{"2: ocsp: there is no such key"}},

		// Values.
		{"[listen]\nc2s = '127.0.0.1:5222'", []string{"2: c2s: it must be a list, not a string"}},
		{"[listen]\nc2s = [5222]", []string{"2: c2s: each element of the list: it must be a string, not a number"}},
		{"[listen]\nc2s = ['5222']", []string{`2: c2s: "5222" is no address | write IP:PORT`}},
		{"[listen]\nc2s = ['127.0.0.1:70000']", []string{"2: c2s: | has no port"}},
		{"[listen]\nc2s = ['unix:']", []string{"2: c2s: | names no path"}},
		{"[listen]\nc2s = [\n\n'::1:1']", []string{"2: c2s: | is no address"}},
		{"[listen]\nmax_connections = -1", []string{"2: max_connections: -1 is not a whole number from 0"}},
		{"[listen]\nmax_connections = 1e3", []string{"2: max_connections: it must be a number, not something else"}},
		{"[listen]\nmax_connections = 99999999999999999999", []string{"2: max_connections: 99999999999999999999 is not"}},
		{"[listen]\nmetrics_public = 1", []string{"2: metrics_public: it must be true or false, not a number"}},
		{"[listen]\nmetrics = '0.0.0.0:1'", []string{"2: metrics: it listens beyond loopback | metrics_public"}},
		{"[listen]\nclient_tls = 'no'", []string{`2: client_tls: "no" is none of required, optional`}},
		{"[listen]\nc2s=['0.0.0.0:1']\nclient_tls = 'optional'", []string{"3: client_tls: | others can reach the listener 0.0.0.0:1"}},
		{"[listen]\nc2s=['127.0.0.1:5223']", []string{"2: c2s_tls: 127.0.0.1:5223 is taken by c2s"}},
		{"[listen]\nc2s=['127.0.0.1:1', '127.0.0.1:1']", []string{"2: c2s: 127.0.0.1:1 is taken by c2s"}},
		{"[listen]\nmetrics='127.0.0.1:5222'", []string{"2: metrics: 127.0.0.1:5222 is taken by c2s"}},
		{"[dns]\nservers = ['tls://dns.example:853']", []string{"2: servers:"}},
		{"[tor]\nmode = { a = 1 }", []string{"2: [tor.mode] is no section"}},
		{"[socks.a]\nurl='http://127.0.0.1:1'", []string{`2: url: the scheme "http" is not SOCKS5`}},
		{"[socks.a]\nurl='socks5://proxy.example:1'", []string{"2: url: the url names no IP address"}},
		{"[socks.a]\nurl='socks5://127.0.0.1:99999'", []string{"2: url: the url names no IP address"}},
		{"[socks.a]\nurl='socks5://127.0.0.1'", []string{"2: url: the url names no IP address"}},
		{"[socks.a]\nurl='socks5://127.0.0.1:1/x'", []string{"2: url: the url has a path"}},
		{"[socks.a]\nurl='socks5+unix://x'", []string{"2: url: the url names no absolute path"}},
		{"[socks.a]\nurl='socks5://u:" + strings.Repeat("p", 256) + "@127.0.0.1:1'", []string{"2: url: the password has more than 255 bytes"}},
		{"[socks.a]\nurl='socks5://u:p\\@%zz'", []string{"2: url: the url cannot be read"}},
		{"[default]\nroute='vpn:x'", []string{`2: route: unknown route "vpn:x"`}},
		{"[default]\nroute=1", []string{"2: route: it must be a string, not a number"}},
		{"[default]\nmin_tls='1.2'", []string{"2: min_tls: 1.2 is not for everybody | [domain"}},
		{"[default]\nauth_min='plain'", []string{"2: auth_min: plain is not for everybody | [domain"}},
		{"[default]\ntls='pin'", []string{`2: tls: "pin" cannot hold for every domain`}},
		{"[default]\ntls='onion'", []string{`2: tls: "onion" cannot hold for every domain`}},
		{"[domain.'a.b']\nmin_tls='1.1'", []string{`2: min_tls: "1.1" is none of 1.3, 1.2`}},
		{"[domain.'a.b']\nonion='example.org'", []string{`2: onion: "example.org" is not an onion address`}},
		{"[domain.'a.b']\nonion='b" + someOnion[1:] + "'", []string{"2: onion: its checksum does not fit"}},
		{"[domain.'a.b']\nendpoints=['example.org:5222']", []string{"2: endpoints: | has no scheme"}},
		{"[domain.'a.b']\nendpoints=[]", []string{"2: endpoints: the list is empty"}},
		{"[domain.'a.b']\npins=['sha256/AA']", []string{`2: pins: "sha256/AA" is no pin`}},
		{"[domain.'a.b']\nca=''", []string{"2: ca: it names no file"}},

		// What settings mean together.
		{"[default]\nroute='socks:x'", []string{`2: route: there is no SOCKS hop "x" | [socks.x]`}},
		{"[domain.'a.b']\nroute='socks:x'\n[socks.y]\nurl='socks5://[::1]:1'", []string{`2: route: there is no SOCKS hop "x"`}},
		{"[socks.x]", []string{"1: [socks.x] has no url"}},
		{"[domain.'a.b']\ntls='pin'", []string{`2: tls: "pin" needs pins`}},
		{"[domain.'a.b']\ntls='pin'\npins=[]", []string{"3: pins: the list is empty"}},
		{"[domain.'a.b']\ntls='onion'", []string{`2: tls: "onion" needs an onion address`}},
		{"[domain.'a.b']\nroute='direct'\nonion='" + someOnion + "'", []string{"2: route: only Tor can reach an onion address, and the route is direct"}},
		{"[default]\nroute='direct'\n[domain.'a.b']\nonion='" + someOnion + "'", []string{"2: route: only Tor"}},
		{"[domain.'a.b']\nroute='direct'\nendpoints=['tls://" + someOnion + "']", []string{"2: route: only Tor"}},
		{"[domain.'" + someOnion + "']\nroute='direct'", []string{"2: route: only Tor"}},
		{"[domain.'a.b']\nonion='" + someOnion + "'\nendpoints=['tls://a.b']", []string{"3: endpoints: they would never be used"}},
		{"[domain.'a.b']\nroute='onion-only'\nendpoints=['tls://a.b']", []string{"3: endpoints: not all are onion addresses"}},
		{"[domain.'a.b']\nclient_cert='c'", []string{"2: client_cert: | every program on this machine | add password_file"}},
		{"[domain.'a.b']\npassword_file='c'", []string{"2: password_file: it goes with client_cert"}},
		{"[domain.'a.b']\nsasl='relay'\nclient_cert='c'\npassword_file='p'", []string{`3: client_cert: it is for sasl = "originate"`}},
		{"[domain.'a.b']\nauth_min='external'", []string{`2: auth_min: "external" needs a certificate`}},
		{"[domain.'" + someOnion + "']\nendpoints=['tls://" + someOnion + "', 'tls://a.b']", []string{"2: endpoints: [domain.\"" + someOnion + "\"] is an onion address, and they must be that onion address"}},
		{"[domain.'" + someOnion + "']\nonion='" + otherOnion + "'", []string{"2: onion: | is an onion address, and this is another one"}},
		{"[default]\nsasl='relay'\nauth_min='scram-plus'", []string{`3: auth_min: "scram-plus" can never hold | use sasl = "originate"`}},
		{"[default]\nbinding='require'\n[domain.'a.b']\nsasl='relay'", []string{`2: binding: "require" can never hold`}},
		{"[domain.'a.b']\nsasl='relay'\nauth_min='scram-plus'\nbinding='require'", []string{"3: auth_min:", "4: binding:"}},
	} {
		_, err := Parse("gw.toml", []byte(c.text))
		mistakes, _ := errors.AsType[Errors](err)
		for i, m := range mistakes {
			if i >= len(c.want) {
				t.Errorf("%q: also %v", c.text, m)
				continue
			}
			for part := range strings.SplitSeq(c.want[i], " | ") {
				if !strings.Contains(strings.TrimPrefix(m.Error(), "gw.toml:"), part) {
					t.Errorf("%q: %v, want %q", c.text, m, part)
				}
			}
		}
		if len(mistakes) < len(c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
		if err != nil && strings.ContainsAny(strings.ReplaceAll(err.Error(), "pppp", "\x1b"), "\x1b\u202e") {
			t.Errorf("%q: a password or a control character is in the error", c.text)
		}
	}
}

// These have no mistakes.
func TestNoMistakes(t *testing.T) {
	for _, text := range []string{
		"", "\ufeff", "# nothing\n", "[tor]", "[domain]\n[socks]\n[default]",
		"[default]\nroute='onion-only'", // refuses most domains, each when it is asked for
		"[default]\nauth_min='external'",
		"[default]\nroute='block'\n[domain.'a.b']\nroute='tor'\n[domain.'c.a.b']\nroute='direct'",
		"[domain.onion]\nroute='tor'\n[default]\nroute='direct'",
		"[domain.localhost]\nroute='direct'",
		"[domain.'127.0.0.1']\nroute='direct'\n[domain.'[::1]']\nroute='direct'",
		"[domain.'" + someOnion + "']\ntls='onion'",
		"[domain.'a.b']\nonion='" + someOnion + ":5222'\ntls='onion'\nroute='onion-only'",
		"[domain.'a.b']\nonion='tls://" + someOnion + "'",
		"[domain.'a.b']\nendpoints=['tls://" + someOnion + "']\ntls='onion'",
		"domain.'a.b'.route='tor'\ndomain.'a.b'.tls='verify'",
		"domain = { 'a.b' = { route = 'tor' }, 'c.d' = { route = 'block' } }",
		"[domain]\n'a.b'.route='tor'\n'a.b'.tls='verify'",
		"[default]\nroute='socks:x'\n[socks.x]\nurl='socks5h://localhost:1/'",
		"[listen]\nc2s=['127.0.0.1:0']\nc2s_tls=['127.0.0.1:0']\nmetrics='127.0.0.1:0'",
		"[listen]\nclient_tls='optional'",
		"[domain.'" + someOnion + "']\nendpoints=['tls://" + someOnion + ":5270']",
		"[default]\nsasl='relay'\n[domain.'a.b']\nroute='block'",
		"[domain.'a.b']\nsasl='passthrough'\nbinding='require'",
		"[default]\nbinding='require'\n[domain.'a.b']\nsasl='relay'\nbinding='prefer'",
	} {
		if _, err := Parse("gw.toml", []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
