package config

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"xmpp-gw/policy"
)

// FuzzLoad: no text makes the loader panic; what loads is TOML, and decides
// about any domain with words to explain it; what does not load says where.
func FuzzLoad(f *testing.F) {
	for _, file := range []string{"testdata/mistakes.toml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "example.org")
	}
	var b strings.Builder
	if err := Describe(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String(), "example.org")
	f.Add(strings.ReplaceAll(b.String(), "\n# ", "\n"), someOnion)
	f.Add("[domain.'a.b']\nroute='socks:x'\n[socks]\nx={url='socks5://u:p@[::1]:1'}", "c.a.b")
	f.Add("default.route='onion-only'\ndomain={'a.b'={route='tor'}}", "[::1]")
	f.Add("[[a.b]]\n[a]\nb.c=[1,{d=2}]\n''=1979-05-27\n", "")
	f.Add("[domain.'\\u0000']\r\n\"\\u00e9\".x='''\n'''", "é")
	f.Fuzz(func(t *testing.T, text, domain string) {
		c, err := Parse("gw.toml", []byte(text))
		if err != nil {
			mistakes, ok := errors.AsType[Errors](err)
			if !ok || len(mistakes) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			last := strings.Count(text, "\n") + 1
			for i, m := range mistakes {
				if m.Line < 1 || m.Line > last || m.What == "" || i > 0 && m.Line < mistakes[i-1].Line {
					t.Fatalf("%#v of %d lines", m, last)
				}
			}
			return
		}
		var all map[string]any
		if err := toml.Unmarshal([]byte(strings.TrimPrefix(text, "\ufeff")), &all); err != nil {
			t.Fatalf("it loads and is no TOML: %v", err)
		}
		for _, name := range []string{domain, "example.org", someOnion} {
			e := Explain(c.Rules.Decide(policy.Target{Domain: name}))
			if e.Allowed == (e.Refusal != nil) || e.Allowed && (len(e.Sentences) < 3 || strings.Contains(strings.Join(e.Sentences, " "), "by .")) {
				t.Fatalf("%+v", e)
			}
			if strings.Contains(e.Route+e.TLS+e.MinTLS+e.SASL+e.AuthMin, "unset") {
				t.Fatalf("a setting is missing: %+v", e)
			}
			if err := e.WriteText(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	})
}
