package policy

import (
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]Endpoint{
		"starttls://example.org":                         {STARTTLS, "example.org", 5222, ""},
		"tls://example.org":                              {DirectTLS, "example.org", 5223, ""},
		"starttls://Example.ORG.:15222":                  {STARTTLS, "example.org", 15222, ""},
		"tls://bücher.example:443":                       {DirectTLS, "xn--bcher-kva.example", 443, ""},
		"tls://192.0.2.1:443":                            {DirectTLS, "192.0.2.1", 443, ""},
		"tls://[2001:DB8::1]:443":                        {DirectTLS, "2001:db8::1", 443, ""},
		"tls://[2001:db8::1]":                            {DirectTLS, "2001:db8::1", 5223, ""},
		"starttls://2001:db8::1":                         {STARTTLS, "2001:db8::1", 5222, ""},
		"starttls://" + testOnion():                      {STARTTLS, testOnion(), 5222, ""},
		"wss://example.org":                              {WebSocket, "example.org", 443, "/"},
		"wss://Example.org:5281/ws?a=%20b":               {WebSocket, "example.org", 5281, "/ws?a=%20b"},
		"wss://example.org?x":                            {WebSocket, "example.org", 443, "/?x"},
		"wss://[2001:db8::1]:5281/ws":                    {WebSocket, "2001:db8::1", 5281, "/ws"},
		"ws://" + testOnion() + "/ws":                    {PlainWebSocket, testOnion(), 80, "/ws"},
		"ws://example.org/ws":                            {},
		"wss:///ws":                                      {},
		"wss://example.org/a b":                          {},
		"wss://example.org/a#b":                          {},
		"wss://example.org/%2":                           {},
		"wss://example.org/\r\nX: y":                     {},
		"wss://example.org/" + strings.Repeat("a", 1024): {},
		"tls://example.org/ws":                           {},
		"example.org:5222":                               {},
		"":                                               {},
		"://":                                            {},
		"https://example.org":                            {},
		"TLS://example.org":                              {},
		"starttls://":                                    {},
		"starttls://:5222":                               {},
		"starttls://example.org:":                        {},
		"starttls://example.org:0":                       {},
		"starttls://example.org:65536":                   {},
		"starttls://example.org:+5222":                   {},
		"starttls://example.org:xmpp":                    {},
		"starttls://[2001:db8::1":                        {},
		"starttls://2001:db8::1]:5222":                   {},
		"starttls://[]:5222":                             {},
		"starttls://[fe80::1%eth0]:5222":                 {},
		"starttls://user@example.org":                    {},
		"starttls://example.org/path":                    {},
		"starttls://example.org\n:5222":                  {},
		"starttls://example.org:5222:522":                {},
	} {
		got, err := ParseEndpoint(in)
		if got != want || (err == nil) != (want != Endpoint{}) {
			t.Errorf("%q: got %v, %v; want %v", in, got, err, want)
		}
		if err != nil {
			continue
		}
		if again, err := ParseEndpoint(got.String()); again != got || err != nil {
			t.Errorf("%q: written as %s, which is %v, %v", in, got, again, err)
		}
	}
}
