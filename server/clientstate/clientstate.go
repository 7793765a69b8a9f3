// Package clientstate spares a phone in a pocket what it need not know now
// (XEP-0352). While a client says that nobody looks at it, presence waits in the
// server, of each address only the last, as do events, receipts and what the person
// does on another device; chat states are dropped. Anything that a person would want
// to be woken for goes out at once and takes what waits along, so that the order
// stays.
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
	nsStableID   = "urn:xmpp:sid:0"
	nsDelay      = "urn:xmpp:delay"
	nsReceipts   = "urn:xmpp:receipts"
	nsMarkers    = "urn:xmpp:chat-markers:0"
	nsCarbons    = "urn:xmpp:carbons:2"
	nsForward    = "urn:xmpp:forward:0"
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
	if m.inactive.Get(s) == nil {
		return server.QueueNow
	}
	switch st.Kind {
	case server.Presence:
		// Requests for a subscription are for a person; errors may end a room's visit.
		if st.Type == "" || st.Type == "unavailable" {
			return server.QueueHeld
		}
	case server.Message:
		return message(st)
	}
	return server.QueueNow // a client waits for the answers to its own requests
}

// message says what becomes of a message. What is not known here does not wait.
func message(st *server.Stanza) server.Disposition {
	switch {
	case st.Type == "error", st.Has(xmppstream.NSClient, "body"), st.Has(xmppstream.NSClient, "subject"):
		return server.QueueNow
	case st.Has(nsPubSub, "event"):
		return server.QueueHeld
	case st.Has(nsCarbons, "sent"): // the person did that elsewhere
		return server.QueueHeld
	case st.Has(nsCarbons, "received"):
		return copied(st.Node().Child(nsCarbons, "received").Child(nsForward, "forwarded").Child(xmppstream.NSClient, "message"))
	case st.Only(fleeting):
		return server.QueueDrop // it says how things are now, and later they are not
	case st.Only(light):
		return server.QueueHeld
	}
	return server.QueueNow
}

// copied judges a message by what is inside a carbon copy of it.
func copied(n *xmppstream.Node) server.Disposition {
	if n == nil || n.Child(xmppstream.NSClient, "body") != nil {
		return server.QueueNow
	}
	every := func(such func(space, name string) bool) bool {
		return !slices.ContainsFunc(n.Children, func(c *xmppstream.Node) bool { return !such(c.Space, c.Name) })
	}
	switch {
	case every(fleeting):
		return server.QueueDrop
	case every(light):
		return server.QueueHeld
	}
	return server.QueueNow
}

// fleeting is a chat state and what goes with it.
func fleeting(space, name string) bool {
	switch space {
	case nsChatStates, nsStableID, nsDelay:
		return true
	case nsHints:
		return name != "store"
	}
	return space == xmppstream.NSClient && name == "thread"
}

// light is what nobody is woken for: that something was received or read.
func light(space, name string) bool {
	return fleeting(space, name) || space == nsReceipts || space == nsMarkers || space == nsHints
}
