package pep

import (
	"context"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

const nsDelay = "urn:xmpp:delay"

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
// (XEP-0163 §4.3). What is for the owner alone is told to nobody else.
func (p *PEP) notify(ctx context.Context, owner address.Address, node string, c config, event []byte) {
	p.tell(ctx, owner, owner, node, event)
	if c.access == whitelist {
		return
	}
	watchers, err := p.roster.Watchers(ctx, owner)
	if err != nil {
		p.log.Error("the contacts to tell of an event cannot be read", "err", err)
		return
	}
	for _, w := range watchers {
		if p.server.Hosts(w.Domain) {
			p.tell(ctx, owner, w, node, event)
		}
	}
}

// tell sends an event to the interested clients of one account.
func (p *PEP) tell(ctx context.Context, owner, to address.Address, node string, event []byte) {
	for _, s := range p.server.Sessions(to) {
		if s.Available() && p.interests.Wants(s, node+"+notify") {
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

// Known tells a client, once it is known what it is interested in, of the last
// items of its owner and of the contacts (XEP-0163 §4.3.4): give it to
// [xmpp-gw/server/caps.New].
func (p *PEP) Known(ctx context.Context, s *server.Session) {
	if !s.Available() {
		return
	}
	p.last(ctx, s, s.Owner())
	contacts, err := p.roster.Watching(ctx, s.Owner())
	if err != nil {
		p.log.Error("the contacts whose events are of interest cannot be read", "err", err)
		return
	}
	for _, c := range contacts {
		if p.server.Hosts(c.Domain) && c.Local != "" {
			p.last(ctx, s, c)
		}
	}
}

// last sends the last item of each of the owner's nodes that s is interested in.
func (p *PEP) last(ctx context.Context, s *server.Session, owner address.Address) {
	nodes, err := p.items.Nodes(ctx, owner)
	if err != nil {
		p.log.Error("the nodes of an account cannot be read", "err", err)
		return
	}
	for _, n := range nodes {
		if !p.interests.Wants(s, n.Name+"+notify") {
			continue
		}
		c, err := readConfig(n.Config)
		if err != nil || c.sendLast != sendPresence || p.mayRead(ctx, owner, s.JID(), c) != nil {
			continue
		}
		items, err := p.items.Items(ctx, owner, n.Name, nil, 1)
		if err != nil || len(items) == 0 {
			continue
		}
		delay := "<delay xmlns='" + nsDelay + "' stamp='" + items[0].At.UTC().Format("2006-01-02T15:04:05Z") + "'/>"
		p.send(ctx, owner, s, itemsEvent(n.Name, c, items[0]), []byte(delay))
	}
}
