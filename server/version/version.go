// Package version answers what software the server is (XEP-0092): by default with
// a generic word, because the exact version helps attackers more than users.
package version

import (
	"context"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

// NS is the namespace of software versions.
const NS = "jabber:iq:version"

// New makes the module. An empty number answers "-".
func New(name, number string) server.Module {
	if number == "" {
		number = "-" // XEP-0092 demands the element
	}
	b := xmppstream.Escape([]byte("<query xmlns='"+NS+"'><name>"), name)
	b = xmppstream.Escape(append(b, "</name><version>"...), number)
	return &module{append(b, "</version></query>"...)}
}

type module struct{ answer []byte }

func (*module) Name() string { return "version" }

func (m *module) Setup(r *server.Registry) error {
	r.Feature(server.AtServer, NS)
	r.IQ(server.AtServer, NS, "query", func(_ context.Context, q *server.IQ) ([]byte, error) {
		if q.Type != "get" {
			return nil, server.ErrNotAllowed
		}
		return m.answer, nil
	})
	return nil
}
