package ping_test

import (
	"testing"

	"xmpp-gw/server/ping"
	"xmpp-gw/server/servertest"
)

func TestAnswers(t *testing.T) {
	s := servertest.New(t, ping.New())
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	s.Account(t, "juliet@example.org")
	const request = "<ping xmlns='urn:xmpp:ping'/>"
	for _, to := range []string{"", "example.org", "example.net", "romeo@example.org"} {
		if n := c.Request("get", to, request); n != nil {
			t.Errorf("%q: %s", to, n.Append(nil))
		}
	}
	// From one client to another it passes (XEP-0199 §4.4), here to oneself.
	c.Send("<iq type='get' id='1' to='romeo@example.org/orchard'>" + request + "</iq>")
	c.Expect("<iq type='get' id='1' from='romeo@example.org/orchard'>" + request + "</iq>")
	for name, tt := range map[string]struct{ typ, to, payload, want string }{
		"another's account": {"get", "juliet@example.org", request, "service-unavailable"},
		"nobody's":          {"get", "nurse@example.org", request, "service-unavailable"},
		"set":               {"set", "", request, "bad-request"},
		"something else":    {"get", "", "<pong xmlns='urn:xmpp:ping'/>", "service-unavailable"},
	} {
		if got := c.RequestError(tt.typ, tt.to, tt.payload); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
