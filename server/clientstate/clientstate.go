// Package clientstate spares a phone in a pocket what it need not know now
// (XEP-0352). While a client says that nobody looks at it, presence and chat states
// wait in the server, of each contact only the last; anything that a person would
// want to be woken for goes out at once and takes what waits along, so that the
// order stays.
package clientstate

import (
	"context"
	"slices"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

// NS is the namespace of client state indication.
const NS = "urn:xmpp:csi:0"

const (
	nsChatStates = "http://jabber.org/protocol/chatstates"
	nsPubSub     = "http://jabber.org/protocol/pubsub#event"
	nsHints      = "urn:xmpp:hints"
)

// New makes the module.
func New() server.Module { return &module{} }

type module struct{ inactive server.SessionSlot[struct{}] }

func (*module) Name() string { return "client state" }

func (m *module) Setup(r *server.Registry) error {
	m.inactive = server.NewSessionSlot[struct{}](r)
	r.StreamFeature(func(context.Context, *server.Session) []byte { return []byte("<csi xmlns='" + NS + "'/>") })
	r.Nonza(NS, m.change)
	r.BindInline(NS, func(ctx context.Context, s *server.Session, n *xmppstream.Node) ([]byte, error) {
		return nil, m.change(ctx, s, n)
	})
	r.Queue(m.decide)
	// A client that comes back is active until it says otherwise (XEP-0352 §5).
	r.Resumed(func(_ context.Context, s *server.Session) { m.activate(s) })
	return nil
}

func (m *module) change(_ context.Context, s *server.Session, n *xmppstream.Node) error {
	switch n.Name {
	case "inactive":
		m.inactive.Set(s, &struct{}{})
	case "active":
		m.activate(s)
	default:
		return &xmppstream.Error{Condition: xmppstream.UnsupportedStanzaType, Text: "A client is active or inactive."}
	}
	return nil
}

func (m *module) activate(s *server.Session) {
	m.inactive.Set(s, nil)
	s.ReleaseHeld()
}

func (m *module) decide(s *server.Session, st *server.Stanza) server.Disposition {
	if m.inactive.Get(s) == nil || urgent(st) {
		return server.QueueNow
	}
	return server.QueueHeld
}

// urgent reports what does not wait.
func urgent(st *server.Stanza) bool {
	switch st.Kind {
	case server.Presence:
		// Requests for a subscription are for a person; errors may end a room's visit.
		return st.Type != "" && st.Type != "unavailable"
	case server.Message:
		if st.Type == "error" || st.Has(xmppstream.NSClient, "body") || st.Has(xmppstream.NSClient, "subject") {
			return true
		}
		if st.Has(nsPubSub, "event") {
			return false
		}
		// A chat state alone, perhaps with the hints that go with it, can wait.
		return slices.ContainsFunc(st.Node().Children, func(c *xmppstream.Node) bool {
			return c.Space != nsChatStates && c.Space != nsHints
		})
	}
	return true // a client waits for the answers to its own requests
}
