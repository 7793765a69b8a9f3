// Package carbons gives each of an account's clients the conversations of the
// others (XEP-0280).
package carbons

import (
	"context"
	"slices"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

// Namespaces of carbons.
const (
	NS      = "urn:xmpp:carbons:2"
	NSRules = "urn:xmpp:carbons:rules:0" // XEP-0280 §6.1 holds as it stands
)

const (
	nsHints    = "urn:xmpp:hints"
	nsForward  = "urn:xmpp:forward:0"
	nsStanzaID = "urn:xmpp:sid:0"
	nsMUCUser  = "http://jabber.org/protocol/muc#user"
	nsInvite   = "jabber:x:conference"
)

// imPayloads are payloads by which a message without a body is one of a
// conversation (XEP-0280 §6.1): receipts, chat states, markers.
var imPayloads = []string{
	"urn:xmpp:receipts",
	"http://jabber.org/protocol/chatstates",
	"urn:xmpp:chat-markers:0",
}

// New makes the module.
func New() server.Module { return &module{} }

type module struct {
	server  *server.Server
	enabled server.SessionSlot[struct{}]
}

func (*module) Name() string { return "carbons" }

func (m *module) Setup(r *server.Registry) error {
	m.server = r.Server()
	m.enabled = server.NewSessionSlot[struct{}](r)
	r.Feature(server.AtServer|server.AtAccount, NS, NSRules)
	r.IQ(server.AtAccount, NS, "enable", m.set(&struct{}{}))
	r.IQ(server.AtAccount, NS, "disable", m.set(nil))
	r.BindInline(NS, func(_ context.Context, s *server.Session, n *xmppstream.Node) ([]byte, error) {
		if n.Name == "enable" { // XEP-0280 §10
			m.enabled.Set(s, &struct{}{})
		}
		return nil, nil
	})
	r.Outbound(m.sent)
	r.Delivered(m.received)
	return nil
}

// set turns carbons on or off for the session that asks.
func (m *module) set(on *struct{}) server.IQHandler {
	return func(_ context.Context, q *server.IQ) ([]byte, error) {
		if q.Type != "set" {
			return nil, server.ErrBadRequest
		}
		if !q.Own() {
			return nil, server.ErrForbidden
		}
		m.enabled.Set(q.Session, on)
		return nil, nil
	}
}

// sent copies what a session sends to the account's other sessions (§8).
func (m *module) sent(ctx context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
	// To oneself the message comes to the other sessions as received.
	if st.Kind == server.Message && st.To.Bare() != s.Owner() && eligible(st) {
		m.copyTo(ctx, s.Owner(), st, "sent", []*server.Session{s})
	}
	return st, nil
}

// received copies what was delivered to the sessions that did not get it (§7).
func (m *module) received(ctx context.Context, owner address.Address, st *server.Stanza, to []*server.Session) {
	if !eligible(st) {
		return
	}
	// A private message in a room came to each client that is in the room.
	if st.From.IsFull() && st.Has(nsMUCUser, "x") && !invitation(st) {
		return
	}
	if s := m.server.Session(st.From); s != nil && s.Owner() == owner {
		to = append(slices.Clip(to), s) // who sent it to its own account has it
	}
	m.copyTo(ctx, owner, st, "received", to)
}

// copyTo sends the copies to the sessions that have carbons on, but for some.
func (m *module) copyTo(ctx context.Context, owner address.Address, st *server.Stanza, what string, without []*server.Session) {
	var wrapped []byte
	for _, s := range m.server.Sessions(owner) {
		if m.enabled.Get(s) == nil || slices.Contains(without, s) {
			continue
		}
		if wrapped == nil {
			wrapped = wrap(owner, st, what)
		}
		// A session that cannot take it is about to end; that is reported there.
		_ = s.SendIn(ctx, server.NewMessage(owner, s.JID(), st.Type, "", wrapped))
	}
}

// wrap is the payload of the copies. What was sent bears the place where the
// sender's archive has it (XEP-0313 §3); what was received bears it already.
func wrap(owner address.Address, st *server.Stanza, what string) []byte {
	if id := st.Archived(owner); id != "" && what == "sent" {
		b := xmppstream.Escape([]byte("<stanza-id xmlns='"+nsStanzaID+"' by='"), owner.String())
		b = xmppstream.Escape(append(b, "' id='"...), id)
		st = st.WithElement(nsStanzaID, "stanza-id", append(b, "'/>"...))
	}
	b := append([]byte("<"+what+" xmlns='"+NS+"'><forwarded xmlns='"+nsForward+"'>"), st.Standalone()...)
	return append(b, "</forwarded></"+what+">"...)
}

// eligible is XEP-0280 §6.1. An error is taken for one of a conversation if it
// says of which message: those that we see answer what our account has sent.
func eligible(st *server.Stanza) bool {
	switch {
	case st.Kind != server.Message,
		st.Has(NS, "private"), st.Has(nsHints, "no-copy"), // §9
		st.Has(NS, "sent"), st.Has(NS, "received"): // a copy is not copied
		return false
	}
	switch st.Type {
	case "chat":
		return true
	case "groupchat":
		return false
	case "error":
		return st.ID != "" && !st.Has(nsMUCUser, "x")
	case "headline":
	default: // normal (RFC 6121 §5.2.2)
		if st.Has(xmppstream.NSClient, "body") {
			return true
		}
	}
	return invitation(st) || slices.ContainsFunc(imPayloads, func(ns string) bool { return st.Has(ns, "") })
}

// invitation reports invitations to rooms, direct (XEP-0249) or mediated (XEP-0045 §7.8.2).
func invitation(st *server.Stanza) bool {
	if st.Has(nsInvite, "x") {
		return true
	}
	if !st.Has(nsMUCUser, "x") {
		return false
	}
	return st.Node().Child(nsMUCUser, "x").Child(nsMUCUser, "invite") != nil
}
