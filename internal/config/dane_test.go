package config

import (
	"strings"
	"testing"
)

// TLSA records count only with proof, and for hosts that have some; a file for all
// that does not exist is told.
func TestDANE(t *testing.T) {
	const domain = "[domain.\"a.example\"]\n"
	for text, want := range map[string]string{
		domain + `tls = "dane"`: "",
		domain + `tls = "dane-only"` + "\n" + `endpoints = ["tls://xmpp.example"]`:          "",
		domain + `tls = "dane"` + "\n" + `dns = "off"`:                                      `gw.toml:3: dns: tls is "dane", which needs proof`,
		"[default]\ndns = \"off\"\n" + domain + `tls = "dane-only"`:                         `gw.toml:2: dns: tls is "dane-only", which needs proof`,
		"[default]\ntls = \"dane\"\ndns = \"off\"":                                          `gw.toml:3: dns: tls is "dane", which needs proof`,
		domain + `tls = "dane-only"` + "\n" + `onion = "` + someOnion + `"`:                 `gw.toml:2: tls: "dane-only" can never hold: there are no TLSA records for an onion address`,
		domain + `tls = "dane-only"` + "\n" + `endpoints = ["tls://` + someOnionHost + `"]`: `gw.toml:2: tls: "dane-only" can never hold`,
		domain + `tls = "dane"` + "\n" + `onion = "` + someOnion + `"`:                      "",
		domain + `dns = "dnssec"`:                                                           "none of off, dnssec-prefer, dnssec-require",
		domain + `sct = "prefer"`:                                                           "none of off, warn, require",
		domain + `witness = "never"`:                                                        "none of off, on-change, always",
		domain + `mode = "warn"`:                                                            "none of enforce, report",
		domain + `tls = "tlsa"`:                                                             "none of verify, dane, dane-only, pin, onion",
		"[ct]\nlog = 'x'":                                                                   "did you mean logs?",
		"[dns]\ntrust_anchor = 'x'":                                                         "did you mean trust_anchors?",
	} {
		_, err := Parse("gw.toml", []byte(text+"\n"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	c := parse(t, "[dns]\ntrust_anchors = 'none.key'\n[ct]\nlogs = 'none.json'\n")
	if w := strings.Join(c.warnings(), "\n"); !strings.Contains(w, "/etc/gw.toml:2: trust_anchors cannot be read") || !strings.Contains(w, "/etc/gw.toml:4: logs cannot be read") {
		t.Error(w)
	}
}

// A second look needs a second circuit.
func TestWitnessRoute(t *testing.T) {
	const domain = "[domain.\"a.example\"]\n"
	for text, told := range map[string]bool{
		domain + "route = 'direct'\nwitness = 'always'":    true,
		domain + "route = 'direct'\nwitness = 'on-change'": true,
		domain + "route = 'direct'\nwitness = 'off'":       false,
		domain + "route = 'direct'":                        false,
		domain + "witness = 'always'":                      false,
	} {
		w := strings.Join(parse(t, text+"\n").warnings(), "\n")
		if strings.Contains(w, "has no second circuit") != told || !told && w != "" {
			t.Errorf("%q: %s", text, w)
		}
	}
}
