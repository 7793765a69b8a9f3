package scrub

import (
	"regexp"
	"strings"
	"testing"
)

const onion = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad"

func TestText(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "session closed after 3m2s, 12 stanzas", "session closed after 3m2s, 12 stanzas"},
		{"time of day", "at 04:38:50 it ended", "at 04:38:50 it ended"},
		{"version", "xmpp-gw 0.1.0 on go1.26", "xmpp-gw 0.1.0 on go1.26"},
		{"tor's version", "tor 0.4.9.11 is ready", "tor 0.4.9.11 is ready"},
		{"ratio", "0.8 of 1.5.", "0.8 of 1.5."},
		{"ellipsis", "starting tor... done", "starting tor... done"},
		{"namespace", "urn:xmpp:sasl:2 and urn:xmpp:sm:3", "urn:xmpp:sasl:2 and urn:xmpp:sm:3"},

		{"IPv4", "dial 192.0.2.7: refused", "dial [address]: refused"},
		{"IPv4 with port", "dial 192.0.2.7:5222: refused", "dial [address]: refused"},
		{"IPv4 glued", "x192.0.2.7y", "[address]"},
		{"IPv4 in a longer run", "1.192.0.2.7.5", "[address]"},
		{"IPv4 behind a zero", "0.192.0.2.7", "[address]"},
		{"two IPv4", "192.0.2.7->198.51.100.9", "[address]->[address]"},
		{"IPv6", "dial 2001:db8::1: refused", "dial [address]: refused"},
		{"IPv6 in brackets", "dial tcp [2001:db8::1]:5222: refused", "dial tcp [address]: refused"},
		{"IPv6 long", "2001:db8:0:0:0:0:0:1", "[address]"},
		{"IPv6 with a zone", "fe80::1%eth0.", "[address]"},
		{"IPv6 loopback", "[::1]:5222", "[address]"},
		{"IPv6 at the end", "at 2001:db8::", "at [address]"},
		{"IPv4 in IPv6", "::ffff:192.0.2.7", "[address]"},
		{"IPv4 in long IPv6", "64:ff9b:0:0:0:0:192.0.2.7", "[address]"},

		{"domain", "no SRV for example.org.", "no SRV for [address]."},
		{"domain with port", "dial xmpp.example.org:5222: EOF", "dial [address]: EOF"},
		{"absolute domain", "lookup example.org.: no such host", "lookup [address].: no such host"},
		{"A-label", "xn--bcher-kva.example", "[address]"},
		{"U-label", "host bücher.example not found", "host [address] not found"},
		{"single label", "dial nas:5222: refused", "dial [address]: refused"},
		{"localhost", "point your client at localhost:5222", "point your client at localhost:5222"},
		{"URL", "https://example.org/path", "https://[address]/path"},
		{"files", "/etc/xmpp-gw/config.toml:12: bad; see config.toml:12", "/etc/xmpp-gw/config.toml:12: bad; see config.toml:12"},
		{"dotted directory", "/run/credentials/xmpp.d/x", "/run/credentials/xmpp.d/x"},

		{"onion", "dial " + onion + ".onion:5222: F0", "dial [address]: F0"},
		{"onion in capitals", strings.ToUpper(onion) + ".ONION", "[address]"},
		{"onion's subdomain", "a." + onion + ".onion", "[address]"},
		{"onion in a path", "/var/lib/tor/" + onion + ".onion/key", "/var/lib/tor/[address]/key"},
		{"onion without .onion", "HS_DESC UPLOADED " + onion + " ok", "HS_DESC UPLOADED [address] ok"},
		{"short onion", "expyuzz4wqqyqhjn.onion", "[address]"},
		{"text as long as an onion's identifier", strings.Repeat("ab ", 30), strings.Repeat("ab ", 30)},

		{"JID", "login of alice@example.org failed", "login of [jid] failed"},
		{"full JID", "alice@example.org/phone: bound", "[jid]: bound"},
		{"JID on an address", "alice@192.0.2.7, not reached", "[jid], not reached"},
		{"JID in quotes", `to="alice@example.org"`, `to="[jid]"`},
		{"JID URI", "xmpp:alice@example.org", "xmpp:[jid]"},
		{"two JIDs", "<alice@example.org> <bob@example.org>", "<[jid]> <[jid]>"},
		{"U-label JID", "jürgen@bücher.example", "[jid]"},
		{"lone @", "a @ b", "a @ b"},

		{"password", "password=hunter2 rest", "password=[secret] rest"},
		{"quoted password", `api_key="two words" rest`, "api_key=[secret] rest"},
		{"JSON", `{"user":"x","password":"a\"b","n":1}`, `{"user":"x","password":[secret],"n":1}`},
		{"JSON with a blank", `{"password": "x"}`, `{"password":[secret]}`},
		{"URL with a user", "socks5://me:pw@127.0.0.1:9050 died", "socks5://[secret] died"},

		{"bare element", "the server offers no <starttls/>", "the server offers no <starttls/>"},
		{"stanza", "got <message><body>hello</body></message> here", "got [xml] here"},
		{"open tag", "got <message type='chat'> here", "got [xml] here"},
		{"cut stanza", "got <message><body>hello</bo", "got [xml]"},
		{"cut tag", "got <iq type='get", "got [xml]"},
		{"comparison", "a < b and c > d", "a < b and c > d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (Show{}).Text(tt.in); got != tt.want {
				t.Errorf("Text(%q)\n got %q\nwant %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestTextShows(t *testing.T) {
	const in = "alice@example.org via xmpp.example.org:5222 password=hunter2 socks5://u:p@h.example"
	tests := []struct {
		show Show
		want string
	}{
		{Show{}, "[jid] via [address] password=[secret] socks5://[secret]"},
		{Show{Addresses: true}, "[jid] via xmpp.example.org:5222 password=[secret] socks5://[secret]"},
		{Show{JIDs: true}, "alice@example.org via [address] password=[secret] socks5://[secret]"},
		{Show{true, true}, "alice@example.org via xmpp.example.org:5222 password=[secret] socks5://[secret]"},
	}
	for _, tt := range tests {
		if got := tt.show.Text(in); got != tt.want {
			t.Errorf("%+v.Text\n got %q\nwant %q", tt.show, got, tt.want)
		}
	}
}

// What is looked for in the output is written differently from the code under
// test, so that a mistake has to be made twice.
var (
	reQuad  = regexp.MustCompile(`(^|[^0-9.])[1-9][0-9]{0,2}(\.[0-9]{1,3}){3}`)
	reV6    = regexp.MustCompile(`(?i)[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}|[0-9a-f]{1,4}::|::[0-9a-f]{1,4}`)
	reOnion = regexp.MustCompile(`(?i)[a-z2-7]{56}|[a-z2-7]+\.onion`)
	reJID   = regexp.MustCompile("[^\\s\x00-\x1f\"'`<>:/@\x7f]@[^\\s\x00-\x1f\"'`<>@\x7f.,;:!?)\\]}]")
)

// marks takes what stands for hidden things out of a text.
var marks = strings.NewReplacer(hiddenAddress, " ", hiddenJID, " ", hiddenSecret, " ", hiddenXML, " ")

// FuzzText asserts that no address, JID or onion name is left, whatever stands
// around it and however often.
func FuzzText(f *testing.F) {
	items := []string{
		"192.0.2.7", "192.0.2.7:5222", "2001:db8::1", "[2001:db8::1]:5222", "fe80::1%eth0",
		"1:2:3:4:5:6:7:8", "::ffff:192.0.2.7", onion, onion + ".onion", onion + ".onion:5222",
		"alice@example.org", "alice@example.org/phone", "jürgen@bücher.example",
	}
	for i, item := range items {
		f.Add("dial ", item, ": refused ", i)
		f.Add("", item, "", 0)
		f.Add("[", item, "]", 3)
		f.Add("::", item, "::", i)
		f.Add("1.", item, ".0.0.1", i)
		f.Add("<a b='", item, "'/>", i)
		f.Add("password=", item, "\"", i)
		f.Add("//", item, "@", i)
	}
	f.Add("0", "::", "@", 2)
	f.Add("//", "fe80::", "@a\xaa", 24)
	f.Fuzz(func(t *testing.T, before, item, after string, n int) {
		in := before + item + after
		if n >= 0 && n < len(items) {
			in += items[n] + after
		}
		out := (Show{}).Text(in)
		left := marks.Replace(out) // what was hidden is no part of a name
		for _, re := range []*regexp.Regexp{reQuad, reV6, reOnion, reJID} {
			if found := re.FindString(left); found != "" {
				t.Errorf("%q survived\n in %q\nout %q", found, in, out)
			}
		}
		if again := (Show{}).Text(out); reJID.MatchString(marks.Replace(again)) {
			t.Errorf("scrubbing twice brought a JID back: %q", again)
		}
	})
}

func BenchmarkText(b *testing.B) {
	b.Run("clean", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			(Show{}).Text("session closed by the client")
		}
	})
	b.Run("dirty", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			(Show{}).Text("dial tcp 192.0.2.7:5222: login of alice@example.org refused")
		}
	})
}
