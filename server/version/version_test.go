package version_test

import (
	"testing"

	"xmpp-gw/server/servertest"
	"xmpp-gw/server/version"
)

func TestAnswers(t *testing.T) {
	for _, tt := range []struct{ name, number, want string }{
		{"XMPP server", "", "<query xmlns='jabber:iq:version'><name>XMPP server</name><version>-</version></query>"},
		{"<node>", "1.0 & more", "<query xmlns='jabber:iq:version'><name>&lt;node&gt;</name><version>1.0 &amp; more</version></query>"},
	} {
		c := servertest.Dial(t, servertest.New(t, version.New(tt.name, tt.number)), "romeo@example.org/orchard")
		const query = "<query xmlns='jabber:iq:version'/>"
		if got := string(c.Request("get", "example.org", query).Append(nil)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
		for name, r := range map[string][3]string{
			"set":        {"set", "example.org", "not-allowed"},
			"an account": {"get", "romeo@example.org", "service-unavailable"}, // what client somebody has is the client's to tell
		} {
			if got := c.RequestError(r[0], r[1], query); got != r[2] {
				t.Errorf("%s: %s, want %s", name, got, r[2])
			}
		}
	}
}
