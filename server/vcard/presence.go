package vcard

import (
	"context"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

// presence puts the photo's hash into what a session sends (XEP-0398 §4), be it to all
// who see it or to somebody.
func (m *module) presence(ctx context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
	if st.Kind != server.Presence || st.Type != "" {
		return st, nil
	}
	own := m.slot.Get(s)
	if own == nil {
		e, err := m.accounts.Hold(ctx, s.Owner())
		if err != nil {
			m.log.Error("the hash of a photo cannot be read", "err", err)
			return st, nil // better a presence without it than none
		}
		own = &session{entry: e}
		m.slot.Set(s, own)
	}
	if st.To.IsZero() {
		own.mu.Lock()
		own.sent = st
		own.mu.Unlock()
	}
	return announce(st, own.entry.Value), nil
}

// announce is a presence with the hash of the account's photo. A client that says
// that there is no photo has its way.
func announce(st *server.Stanza, a *account) *server.Stanza {
	hash, none := a.photo()
	if hash == "" && !none || saysNone(st) {
		return st
	}
	st = st.Without(func(space, name string, _ []byte) bool { return space == NSUpdate && name == "x" })
	b := append([]byte("<x xmlns='"+NSUpdate+"'><photo>"), hash...)
	return st.WithElement(NSUpdate, "x", append(b, "</photo></x>"...))
}

// saysNone reports an empty <photo/>.
func saysNone(st *server.Stanza) bool {
	if !st.Has(NSUpdate, "x") {
		return false
	}
	p := st.Node().Child(NSUpdate, "x").Child(NSUpdate, "photo")
	return p != nil && p.Text == ""
}

// renew sends the presence of an account's sessions with the photo that is now.
func (m *module) renew(ctx context.Context, owner address.Address, a *account) {
	for _, s := range m.server.Sessions(owner) {
		own := m.slot.Get(s)
		if own == nil {
			continue
		}
		m.Contacts.Renew(ctx, s, func(was *server.Stanza) *server.Stanza {
			own.mu.Lock()
			sent := own.sent
			own.mu.Unlock()
			if sent == nil || saysNone(sent) {
				return nil
			}
			return announce(sent, a)
		})
	}
}

// child makes a node with text.
func child(space, name, text string) *xmppstream.Node {
	return &xmppstream.Node{Space: space, Name: name, Text: text}
}
