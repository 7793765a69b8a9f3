package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"xmpp-gw/internal/config"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

const someOnion = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaam2dqd.onion"

// TestReadAim: what people write for a target.
func TestReadAim(t *testing.T) {
	for _, tt := range []struct{ asked, domain, account, endpoints, err string }{
		{asked: "Example.ORG.", domain: "example.org"},
		{asked: "bücher.example", domain: "xn--bcher-kva.example"},
		{asked: "juliet@example.org", domain: "example.org", account: "juliet@example.org"},
		{asked: "juliet@example.org/a@b/c", domain: "example.org", account: "juliet@example.org"},
		{asked: "example.org/room", domain: "example.org"},
		{asked: "xmpp:juliet@example.org?message", domain: "example.org", account: "juliet@example.org"},
		{asked: "juliet@bücher.example", domain: "xn--bcher-kva.example", account: "juliet@bücher.example"},
		{asked: someOnion, domain: someOnion},
		{asked: "xmpp.example.org:5222", domain: "xmpp.example.org", endpoints: "starttls://xmpp.example.org:5222"},
		{asked: "xmpp.example.org:5223", domain: "xmpp.example.org", endpoints: "tls://xmpp.example.org:5223"},
		{asked: "[::1]:5222", domain: "::1", endpoints: "starttls://[::1]:5222"},
		{asked: "2001:db8::1", domain: "2001:db8::1"},
		{asked: "192.0.2.1", domain: "192.0.2.1"},
		{asked: "wss://example.org/ws", domain: "example.org", endpoints: "wss://example.org:443/ws"},
		{asked: "tls://example.org", domain: "example.org", endpoints: "tls://example.org:5223"},
		{asked: "", err: "domain"},
		{asked: "@example.org", err: "in front of the @"},
		{asked: "example.org:70000", err: "port"},
		{asked: "https://example.org", err: "starttls"},
		{asked: strings.Replace(someOnion, "dqd", "dqx", 1), err: "onion"},
	} {
		a, err := readAim(tt.asked)
		if tt.err != "" || err != nil {
			if err == nil || tt.err == "" || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: %v, want %q", tt.asked, err, tt.err)
			}
			continue
		}
		if got := strings.Join(spell(a.endpoints), " "); a.domain != tt.domain || a.account != tt.account || got != tt.endpoints {
			t.Errorf("%q: %q, %q, %q", tt.asked, a.domain, a.account, got)
		}
	}
}

// TestDecideAim: policy decides the route; --via goes before it, and neither leads to
// an onion address but by Tor.
func TestDecideAim(t *testing.T) {
	const text = `
[default]
route = "socks:hop"
[socks.hop]
url = "socks5://127.0.0.1:1"
[domain."own.test"]
route = "direct"
endpoints = ["tls://127.0.0.1:7"]
ca = "/own.pem"
[domain."bound.test"]
route = "tor"
onion = "` + someOnion + `:5222"
[domain."shut.test"]
route = "block"
[domain."hidden.test"]
route = "onion-only"
`
	c, err := config.Parse("c", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ asked, via, at, ca, want string }{
		{asked: "example.org", want: "socks:hop []"},
		{asked: "example.org", via: "direct", want: "direct []"},
		{asked: "example.org", at: "tls://127.0.0.1:9", want: "socks:hop [tls://127.0.0.1:9]"},
		{asked: "own.test", want: "direct [tls://127.0.0.1:7] /own.pem"},
		{asked: "own.test", via: "tor", ca: "other.pem", want: "tor [tls://127.0.0.1:7] other.pem"},
		{asked: "sub.own.test", at: "tls://127.0.0.1:9", want: "direct [tls://127.0.0.1:9] /own.pem"},
		{asked: "bound.test", want: "tor [starttls://" + someOnion + ":5222]"},
		{asked: "bound.test", via: "direct", want: "refused: its server is at an onion address, which only Tor can reach"},
		{asked: "shut.test", want: "refused: policy blocks it"},
		{asked: "shut.test", via: "tor", want: "tor []"},
		{asked: "hidden.test", want: "refused: it may only be reached at an onion address"},
		{asked: someOnion, want: "tor []"},
		{asked: someOnion, via: "direct", want: "tor []"},
		{asked: someOnion, via: "onion-only", want: "onion-only []"},
		{asked: "example.org", at: "starttls://" + someOnion, want: "refused: an onion address is to be looked at"},
		{asked: "localhost", via: "tor", want: "refused: it is this machine"},
		{asked: "localhost", via: "direct", want: "direct []"},
	} {
		a, err := readAim(tt.asked)
		if err != nil {
			t.Fatal(err)
		}
		if tt.at != "" {
			at, err := policy.ParseEndpoint(tt.at)
			if err != nil {
				t.Fatal(err)
			}
			a.endpoints = []policy.Endpoint{at}
		}
		via, err := viaOf(tt.via, &settings{c})
		if err != nil {
			t.Fatal(err)
		}
		j := &checkJob{rules: c.Rules, via: via, ca: tt.ca}
		d, err := j.decide(a)
		got := strings.TrimSpace(fmt.Sprintf("%v %v %s", d.Route, spell(d.Endpoints), d.CAFile))
		if r, ok := errors.AsType[*policy.Refusal](err); ok {
			got = "refused: " + r.Why
		}
		if !strings.HasPrefix(got, tt.want) || !strings.HasPrefix(tt.want, "refused") && got != tt.want {
			t.Errorf("%s via %q: %s, want %s", tt.asked, tt.via, got, tt.want)
		}
	}
	if j := (&checkJob{rules: c.Rules}); j.twin(someOnion) != "bound.test" || j.twin("own.test") != "" {
		t.Errorf("the twin is %q", j.twin(someOnion))
	}
}

// TestSharedFailure: what keeps several targets from being looked at is said once,
// with the names of all of them.
func TestSharedFailure(t *testing.T) {
	j := new(checkJob)
	var all []*missed
	for _, name := range []string{"a.test", "b.test"} {
		r, more := j.notLooked(&audit.Observation{Domain: name}, name, &problem{why: "no Tor"}, all)
		all = more
		if r.Rule != "not looked at: no Tor" || r.Exit(0) != exitFailed {
			t.Errorf("%+v", r)
		}
	}
	if len(all) != 1 || all[0].what != "a.test, b.test were not looked at" {
		t.Errorf("%+v", all)
	}
}

// TestSelected: --only that leaves nothing to ask is a mistake, not a good report.
func TestSelected(t *testing.T) {
	for args, want := range map[string]string{
		"--only self.files example.org":          "nothing to ask of a server",
		"--self --only tls":                      "nothing to ask of --self",
		"--self --egress --only self,tls.cipher": "nothing to ask of --egress",
		"--self --only tls,self example.org":     "",
	} {
		var said bytes.Buffer
		u := newUI(&said, &said)
		var got error
		app := &cli.App{Commands: []*cli.Command{checkCommand(u)}, Writer: &said, ErrWriter: &said, ExitErrHandler: func(*cli.Context, error) {}}
		app.Commands[0].Action = func(c *cli.Context) error {
			_, got = newCheck(c, u)
			return nil
		}
		if err := app.Run(append([]string{"xmpp-gw", "check"}, strings.Fields(args)...)); err != nil {
			t.Fatal(err)
		}
		if want == "" && got != nil || want != "" && (got == nil || !strings.Contains(got.Error(), want)) {
			t.Errorf("%s: %v, want %q", args, got, want)
		}
	}
}

// TestReadLine: passwords, a line each, of which nothing is read ahead.
func TestReadLine(t *testing.T) {
	in := strings.NewReader("first one\r\nsecond\n\nlast")
	for _, want := range []string{"first one", "second", "", "last", ""} {
		if got, err := readLine(in); string(got) != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := readLine(strings.NewReader(strings.Repeat("x", maxPassword+1))); err == nil {
		t.Error("a line without end was read")
	}
}
