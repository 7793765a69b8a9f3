package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"xmpp-gw/policy"
)

// The golden files show what each kind of decision reads like, as text and as
// JSON.
func TestExplain(t *testing.T) {
	c, err := Parse("gw.toml", []byte(`
[socks.i2p]
url = "socks5://127.0.0.1:4447"
[domain."riseup.example"]
route = "onion-only"
onion = "`+someOnion+`"
tls = "onion"
registration = "deny"
[domain."bücher.example"]
route = "direct"
endpoints = ["tls://192.0.2.1", "starttls://xmpp.example.org"]
ca = "/etc/\u001b[31mroot.pem"
pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
min_tls = "1.2"
auth_min = "plain"
[domain."bound.example"]
route = "socks:i2p"
tls = "pin"
pins = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
pq = "require"
binding = "require"
[domain."cert.example"]
auth_min = "scram-plus"
client_cert = "/etc/c.pem"
password_file = "/etc/password"
[domain."onlycert.example"]
auth_min = "external"
client_cert = "/etc/c.pem"
password_file = "/etc/password"
[domain."relay.example"]
sasl = "relay"
[domain."own.example"]
sasl = "passthrough"
auth_min = "external"
[domain."dane.example"]
tls = "dane"
dns = "dnssec-require"
mode = "report"
[domain."daneonly.example"]
tls = "dane-only"
[domain."bad.example"]
route = "block"
`))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	docs := []Explanation{}
	for _, domain := range []string{
		"example.org", "riseup.example", "xn--bcher-kva.example", "bound.example", "cert.example", "onlycert.example", "relay.example",
		"own.example", someOnion, "dane.example", "daneonly.example", "bad.example", "expyuzz4wqqyqhjn.onion",
	} {
		e := Explain(c.Rules.Decide(policy.Target{Domain: domain}))
		docs = append(docs, e)
		if err := e.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(&text, "\n")
	}
	golden(t, "explain.txt", text.String())
	out, err := json.MarshalIndent(docs, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "explain.json", string(out)+"\n")
}

// The JSON has the same names for every decision, and lists are never null.
func TestExplainEmpty(t *testing.T) {
	e := Explain(policy.Rules{}.Decide(policy.Target{Domain: "example.org"}))
	out, err := json.Marshal(e)
	if err != nil || strings.Contains(string(out), "null") || e.Allowed || e.Refusal == nil || len(e.Sentences) != 0 {
		t.Errorf("%s, %v", out, err)
	}
	if e := Explain(policy.Decision{}, errors.New("odd")); e.Allowed || e.Refusal.Why != "odd" {
		t.Errorf("%+v", e)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestWriteErrors(t *testing.T) {
	if err := (Explanation{}).WriteText(brokenPipe{}); err == nil {
		t.Error("the error of the writer was lost")
	}
	if err := Describe(brokenPipe{}); err == nil {
		t.Error("the error of the writer was lost")
	}
}
