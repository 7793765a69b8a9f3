package entitytime_test

import (
	"testing"
	"time"

	"xmpp-gw/server"
	"xmpp-gw/server/entitytime"
	"xmpp-gw/server/servertest"
)

// The time is told in UTC, whatever the machine's zone.
func TestAnswers(t *testing.T) {
	s := servertest.NewWith(t, func(c *server.Config) {
		c.Now = func() time.Time { return time.Date(2026, 3, 1, 1, 2, 3, 4, time.FixedZone("", -3600)) }
	}, entitytime.New())
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	const query = "<time xmlns='urn:xmpp:time'/>"
	if got := string(c.Request("get", "example.org", query).Append(nil)); got != "<time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>2026-03-01T02:02:03Z</utc></time>" {
		t.Errorf("got %s", got)
	}
	if got := c.RequestError("set", "example.org", query); got != "not-allowed" {
		t.Errorf("set: %s", got)
	}
	if got := c.RequestError("get", "", query); got != "service-unavailable" {
		t.Errorf("an account: %s", got)
	}
}
