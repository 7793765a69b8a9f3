// Package ping answers pings (XEP-0199), for the server and for accounts.
package ping

import (
	"context"

	"xmpp-gw/server"
)

// NS is the namespace of pings.
const NS = "urn:xmpp:ping"

// New makes the module.
func New() server.Module { return module{} }

type module struct{}

func (module) Name() string { return "ping" }

func (module) Setup(r *server.Registry) error {
	r.Feature(server.AtServer|server.AtAccount, NS)
	r.IQ(server.AtServer, NS, "ping", pong)
	r.IQ(server.AtAccount, NS, "ping", func(ctx context.Context, q *server.IQ) ([]byte, error) {
		if !q.Own() { // a stranger learns nothing about the account (XEP-0199 §4.2)
			return nil, server.ErrServiceUnavailable
		}
		return pong(ctx, q)
	})
	return nil
}

func pong(_ context.Context, q *server.IQ) ([]byte, error) {
	if q.Type != "get" {
		return nil, server.ErrBadRequest
	}
	return nil, nil
}
