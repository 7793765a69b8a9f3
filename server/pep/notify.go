package pep

import (
	"context"
	"slices"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

const (
	nsDelay      = "urn:xmpp:delay"
	notifySuffix = "+notify" // XEP-0060 §9.2
)

// event is an event with one empty element.
func event(before, node, after string) []byte {
	b := xmppstream.Escape([]byte("<event xmlns='"+NSEvent+"'>"+before), node)
	return append(append(b, after...), "</event>"...)
}

// itemsEvent is the event of a published item.
func itemsEvent(node string, c config, it store.Item) []byte {
	b := xmppstream.Escape([]byte("<event xmlns='"+NSEvent+"'><items node='"), node)
	b = appendItem(append(b, "'>"...), it, c.payloads)
	return append(b, "</items></event>"...)
}

// notify tells those of the owner's and the contacts' clients that are interested
// and may read the node (XEP-0163 §4.3).
func (p *PEP) notify(ctx context.Context, owner address.Address, node string, c config, event []byte) {
	p.tell(ctx, owner, owner, node, event)
	if c.access == Whitelist {
		return
	}
	watchers, err := p.roster.Watchers(ctx, owner)
	if err != nil {
		p.log.Error("the contacts to tell of an event cannot be read", "err", err)
		return
	}
	for _, w := range watchers {
		if p.server.Hosts(w.Domain) && p.mayHear(ctx, owner, w, c) {
			p.tell(ctx, owner, w, node, event)
		}
	}
}

// mayHear reports whether somebody who sees the owner's presence is told what
// happens at a node.
func (p *PEP) mayHear(ctx context.Context, owner, watcher address.Address, c config) bool {
	if p.blocked(ctx, owner, watcher) { // §4.3.3
		return false
	}
	if c.access == Roster {
		groups, err := p.roster.Groups(ctx, owner, watcher)
		return err == nil && c.allows(groups)
	}
	return c.access != Whitelist
}

// tell sends an event to the interested clients of one account.
func (p *PEP) tell(ctx context.Context, owner, to address.Address, node string, event []byte) {
	for _, s := range p.server.Sessions(to) {
		if s.Available() && p.interests.Wants(s, node+notifySuffix) {
			p.send(ctx, owner, s, event)
		}
	}
}

// send goes by the way of every message, so that a block list is heeded.
func (p *PEP) send(ctx context.Context, owner address.Address, s *server.Session, payload ...[]byte) {
	st := server.NewMessage(owner, s.JID(), "headline", "", payload...)
	if err := p.server.Route(ctx, st); err != nil {
		p.log.Debug("an event could not be delivered", "err", err)
	}
}

// told is which nodes' last items a session has been sent since it is available.
type told struct{ nodes map[string]struct{} }

// Known tells a client, once it is known what it is interested in, of the last
// items of its owner and of the contacts (XEP-0163 §4.3.4): give it to
// [xmpp-gw/server/caps.New]. It is called on the session's goroutine.
func (p *PEP) Known(ctx context.Context, s *server.Session) {
	if !s.Available() {
		return
	}
	t := p.told.Get(s)
	if t == nil {
		t = &told{map[string]struct{}{}}
		p.told.Set(s, t)
	}
	var nodes []string
	for _, n := range p.interests.Interests(s, notifySuffix) {
		if _, before := t.nodes[n]; !before {
			t.nodes[n] = struct{}{}
			nodes = append(nodes, n)
		}
	}
	if len(nodes) > 0 {
		p.last(ctx, s, s.Owner(), nodes)
	}
}

// Approved tells an account's clients of the last items of a contact whose presence
// it has come to see (XEP-0163 §4.3.4).
func (p *PEP) Approved(ctx context.Context, owner, contact address.Address) {
	for _, s := range p.server.Sessions(owner) {
		if nodes := p.interests.Interests(s, notifySuffix); s.Available() && len(nodes) > 0 {
			p.lastOf(ctx, s, []address.Address{contact}, nodes)
		}
	}
}

// last sends the last items of the nodes of the account itself and of whom it sees.
func (p *PEP) last(ctx context.Context, s *server.Session, owner address.Address, nodes []string) {
	contacts, err := p.roster.Watching(ctx, owner)
	if err != nil {
		p.log.Error("the contacts whose events are of interest cannot be read", "err", err)
		return
	}
	owners := []address.Address{owner}
	for _, c := range contacts {
		if p.server.Hosts(c.Domain) && c.Local != "" {
			owners = append(owners, c)
		}
	}
	// In parts, as the items of all together may be many.
	for part := range slices.Chunk(owners, 64) {
		p.lastOf(ctx, s, part, nodes)
	}
}

// lastOf sends the last items of owners that s's owner is or sees.
func (p *PEP) lastOf(ctx context.Context, s *server.Session, owners []address.Address, nodes []string) {
	items, err := p.items.LastItems(ctx, owners, nodes)
	if err != nil {
		p.log.Error("the last items of accounts cannot be read", "err", err)
		return
	}
	for _, it := range items {
		c, err := readConfig(it.Node.Config)
		if err != nil || c.sendLast != sendPresence || it.Owner != s.Owner() && !p.mayHear(ctx, it.Owner, s.Owner(), c) {
			continue
		}
		delay := "<delay xmlns='" + nsDelay + "' stamp='" + it.Item.At.UTC().Format("2006-01-02T15:04:05Z") + "'/>"
		p.send(ctx, it.Owner, s, itemsEvent(it.Node.Name, c, it.Item), []byte(delay))
	}
}
