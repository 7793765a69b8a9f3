// Package entitytime tells the server's time (XEP-0202), in UTC: where the machine
// stands is nobody's business.
package entitytime

import (
	"context"

	"xmpp-gw/server"
)

// NS is the namespace of entity time.
const NS = "urn:xmpp:time"

// New makes the module.
func New() server.Module { return module{} }

type module struct{}

func (module) Name() string { return "entity time" }

func (module) Setup(r *server.Registry) error {
	r.Feature(server.AtServer, NS)
	now := r.Server().Now
	r.IQ(server.AtServer, NS, "time", func(_ context.Context, q *server.IQ) ([]byte, error) {
		if q.Type != "get" {
			return nil, server.ErrNotAllowed
		}
		utc := now().UTC().Format("2006-01-02T15:04:05Z") // XEP-0082
		return []byte("<time xmlns='" + NS + "'><tzo>+00:00</tzo><utc>" + utc + "</utc></time>"), nil
	})
	return nil
}
