//go:build e2e

package check

import (
	"os/exec"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"xmpp-gw/policy/audit"
)

// elsewhere are the fixes that Debian's versions cannot show, by id and server, and
// why; where they were looked up stands with it.
var elsewhere = map[string]map[string]string{
	"dns.hostmeta":      {"prosody": "mod_http_altconnect is in Prosody since 13.0.0 (its CHANGES)"},
	"suite.web":         {"prosody": "needs mod_http_altconnect, as dns.hostmeta does"},
	"sasl.sasl2":        {"prosody": "mod_sasl2 and mod_sasl2_bind2 are at modules.prosody.im"},
	"sasl.fast":         {"prosody": "mod_sasl2_fast is at modules.prosody.im", "ejabberd": "mod_auth_fast is in ejabberd since 24.12 (its CHANGELOG)"},
	"sasl.downgrade":    {"prosody": "mod_sasl_ssdp is at modules.prosody.im"},
	"limit.pretls":      {"prosody": "for clients it holds; strange servers are not held to s2s_unauthed_stanza_size_limit before TLS by Debian's update of May 2026, and are to s2s_stanza_size_limit by Prosody 13 (plugins/mod_s2s.lua)"},
	"reg.open":          {"ejabberd": "with access: none it shows its form all the same, and makes no account: that is a low warning then (src/mod_register.erl)"},
	"cert.revocation":   {"prosody": "the lines of cert.expiry, which shows them; no authority here has revoked anything", "ejabberd": "likewise"},
	"s2s.dialback-only": {"ejabberd": "it asks for certificates wherever it has TLS, and no setting changes that"},
	"s2s.external":      {"ejabberd": "likewise"},
	"suite.core":        {"prosody": "what is missing for Advanced Server is no warning, and a server without disco cannot be asked", "ejabberd": "likewise"},
	"onion.reach":       {"prosody": "an onion service is not of this test; the option is that of the good configuration", "ejabberd": "likewise"},
}

// TestFixesCanBePasted parses what is printed with the languages' own parsers.
func TestFixesCanBePasted(t *testing.T) {
	if _, err := exec.LookPath("lua5.4"); err != nil {
		t.Fatal("lua5.4 is not installed. Install it: apt-get install lua5.4 (Debian's prosody brings it)")
	}
	for _, c := range audit.Checks() {
		if text, ok := c.Fix["prosody"]; ok {
			cmd := exec.Command("lua5.4", "-e", "assert(load(io.read('a')))")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s\n%s", c.ID, err, out, text)
			}
		}
		if text, ok := c.Fix["ejabberd"]; ok {
			var options map[string]any
			if err := yaml.Unmarshal([]byte(text), &options); err != nil {
				t.Errorf("%s: %v\n%s", c.ID, err, text)
			}
			for name := range options {
				if name == "listen" {
					_, err := listeners(nil, options[name])
					if err != nil {
						t.Errorf("%s: %v\n%s", c.ID, err, text)
					}
				}
			}
		}
		for server, text := range c.Fix {
			for l := range strings.Lines(text) {
				if server != "" && (len(l) > 125 || strings.ContainsRune(l, '\t')) {
					t.Errorf("%s: a line that is too long for a screen, or has a tab: %s", c.ID, l)
				}
			}
		}
	}
}

// missing are the fixes that no variant showed, and nothing explains.
func missing(shown map[string]bool) (ids []string) {
	for _, c := range audit.Checks() {
		for _, server := range []string{"prosody", "ejabberd", ""} {
			if settings(server, c.Fix[server]) && !shown[c.ID+" "+server] && elsewhere[c.ID][server] == "" {
				ids = append(ids, c.ID+" "+server)
			}
		}
	}
	return ids
}
