package config

import (
	"strings"
	"testing"
)

// WebSocket endpoints, and those without TLS where nothing would prove the server.
func TestWebSocketEndpoints(t *testing.T) {
	const host = someOnionHost
	for text, want := range map[string]string{
		`endpoints = ["wss://example.org:5281/xmpp-websocket?a=b"]`: "",
		`onion = "wss://` + host + `/ws"`:                           "",
		`onion = "ws://` + host + "/ws\"\ntls = \"onion\"":          "",
		`endpoints = ["ws://` + host + "/ws\"]\ntls = \"onion\"":    "",
		`endpoints = ["ws://` + host + `/ws"]`:                      "gw.toml:2: endpoints: a WebSocket without TLS",
		`onion = "ws://` + host + `/ws"`:                            "gw.toml:2: onion: a WebSocket without TLS",
		`endpoints = ["ws://example.org/ws"]`:                       "has no encryption",
		`endpoints = ["wss://example.org/a b"]`:                     "must be written as %XX",
		`onion_upgrade = "never"`:                                   "none of off, sticky",
	} {
		_, err := Parse("gw.toml", []byte("[domain.\"a.example\"]\n"+text+"\n"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

const someOnionHost = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaam2dqd.onion"
