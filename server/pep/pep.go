// Package pep is personal eventing (XEP-0163): each account is a small publish and
// subscribe service (XEP-0060) for its contacts. Encryption keys (OMEMO), avatars
// and bookmarks live here.
//
// Who is told: the owner's own clients and those of contacts that see the owner's
// presence, each if it announces an interest in the node (NODE+notify in its
// capabilities). Who may read: what the node's access model says.
package pep

import (
	"context"
	"errors"
	"log/slog"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// Namespaces of publish and subscribe.
const (
	NS       = "http://jabber.org/protocol/pubsub"
	NSOwner  = "http://jabber.org/protocol/pubsub#owner"
	NSEvent  = "http://jabber.org/protocol/pubsub#event"
	NSErrors = "http://jabber.org/protocol/pubsub#errors"
)

// Limits of one account.
const (
	maxNodes     = 256
	maxItems     = 1000
	maxItemBytes = 256 << 10
)

// Roster says who sees whose presence.
type Roster interface {
	Sees(ctx context.Context, owner, contact address.Address) (bool, error)
	// Watchers see the owner's presence; Watching are those whose presence the
	// owner sees.
	Watchers(ctx context.Context, owner address.Address) ([]address.Address, error)
	Watching(ctx context.Context, owner address.Address) ([]address.Address, error)
}

// Interests says what a client wants to be told of.
type Interests interface {
	Wants(s *server.Session, feature string) bool
}

// PEP is the module.
type PEP struct {
	items     store.Items
	roster    Roster
	interests Interests
	server    *server.Server
	log       *slog.Logger
	published []func(ctx context.Context, owner address.Address, node string, it store.Item)
}

// New makes the module.
func New(items store.Items, roster Roster, interests Interests) *PEP {
	return &PEP{items: items, roster: roster, interests: interests}
}

// Published registers who is told of each item that an owner has published, before
// the server runs.
func (p *PEP) Published(f func(ctx context.Context, owner address.Address, node string, it store.Item)) {
	p.published = append(p.published, f)
}

// Name implements [server.Module].
func (p *PEP) Name() string { return "personal eventing" }

// Setup implements [server.Module].
func (p *PEP) Setup(r *server.Registry) error {
	p.server = r.Server()
	p.log = p.server.Log()
	r.Identity(server.AtAccount, server.Identity{Category: "pubsub", Type: "pep"})
	for _, f := range []string{
		"access-open", "access-presence", "access-whitelist", "auto-create", "auto-subscribe", "config-node", "config-node-max",
		"create-and-configure", "create-nodes", "delete-items", "delete-nodes", "filtered-notifications", "item-ids",
		"last-published", "multi-items", "persistent-items", "presence-notifications", "publish", "publish-options",
		"purge-nodes", "retract-items", "retrieve-items",
	} {
		r.Feature(server.AtAccount, NS+"#"+f)
	}
	r.Feature(server.AtAccount, NS)
	r.Items(server.AtAccount, p.nodes)
	r.Node(server.AtAccount, p.nodeInfo)
	r.IQ(server.AtAccount, NS, "pubsub", p.pubsub)
	r.IQ(server.AtAccount, NSOwner, "pubsub", p.owner)
	return nil
}

// errorWith is a stanza error with a condition of publish and subscribe beside it.
func errorWith(e *server.StanzaError, condition string) error {
	c := *e
	c.App = []byte("<" + condition + " xmlns='" + NSErrors + "'/>")
	return &c
}

// pubsub answers what anybody may ask for.
func (p *PEP) pubsub(ctx context.Context, q *server.IQ) ([]byte, error) {
	n := first(q.Payload)
	if n == nil {
		return nil, server.ErrBadRequest
	}
	if q.Type == "get" {
		if n.Name == "items" {
			return p.retrieve(ctx, q, n)
		}
		return nil, server.ErrFeatureNotImplemented
	}
	if !q.Own() {
		// Contacts follow by presence; there are no other subscriptions.
		if n.Name == "subscribe" || n.Name == "unsubscribe" {
			return nil, errorWith(server.ErrFeatureNotImplemented, "unsupported")
		}
		return nil, server.ErrForbidden
	}
	switch n.Name {
	case "publish":
		return p.publish(ctx, q, n)
	case "retract":
		return p.retract(ctx, q, n)
	case "create":
		return p.create(ctx, q, n)
	}
	return nil, server.ErrFeatureNotImplemented
}

// owner answers what the owner alone may ask for.
func (p *PEP) owner(ctx context.Context, q *server.IQ) ([]byte, error) {
	if !q.Own() {
		return nil, server.ErrForbidden
	}
	n := first(q.Payload)
	if n == nil {
		return nil, server.ErrBadRequest
	}
	name := n.Attr("node")
	if name == "" {
		return nil, errorWith(server.ErrBadRequest, "nodeid-required")
	}
	node, c, err := p.node(ctx, q.Owner, name)
	if err != nil {
		return nil, err
	}
	switch {
	case q.Type == "get" && n.Name == "configure":
		b := xmppstream.Escape([]byte("<pubsub xmlns='"+NSOwner+"'><configure node='"), name)
		return append(c.append(append(b, "'>"...), "form"), "</configure></pubsub>"...), nil
	case q.Type == "set" && n.Name == "configure":
		x := n.Child(nsForm, "x")
		if x == nil {
			return nil, server.ErrBadRequest
		}
		if x.Attr("type") == "cancel" {
			return nil, nil
		}
		if c, err = c.with(x, formConfig); err != nil {
			return nil, err
		}
		node.Config = c.append(nil, "submit")
		return nil, p.items.PutNode(ctx, q.Owner, node, maxNodes)
	case q.Type == "set" && n.Name == "delete":
		if err := p.items.DeleteNode(ctx, q.Owner, name); err != nil {
			return nil, missing(err)
		}
		p.notify(ctx, q.Owner, name, c, event("<delete node='", name, "'/>"))
		return nil, nil
	case q.Type == "set" && n.Name == "purge":
		if err := p.items.PurgeItems(ctx, q.Owner, name); err != nil {
			return nil, missing(err)
		}
		p.notify(ctx, q.Owner, name, c, event("<purge node='", name, "'/>"))
		return nil, nil
	}
	return nil, server.ErrFeatureNotImplemented
}

// node reads a node and its configuration.
func (p *PEP) node(ctx context.Context, owner address.Address, name string) (store.Node, config, error) {
	n, err := p.items.Node(ctx, owner, name)
	if err != nil {
		return n, config{}, missing(err)
	}
	c, err := readConfig(n.Config)
	return n, c, err
}

func missing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return server.ErrItemNotFound
	}
	return err
}

// mayRead is the node's access model (XEP-0060 §4.5).
func (p *PEP) mayRead(ctx context.Context, owner, who address.Address, c config) error {
	if who.Bare() == owner || c.access == open {
		return nil
	}
	if c.access == presence {
		sees, err := p.roster.Sees(ctx, owner, who.Bare())
		if err != nil || sees {
			return err
		}
		return errorWith(server.ErrNotAuthorized, "presence-subscription-required")
	}
	return errorWith(server.ErrNotAllowed, "closed-node")
}

// first is the first child: what is asked for.
func first(n *xmppstream.Node) *xmppstream.Node {
	if len(n.Children) == 0 {
		return nil
	}
	return n.Children[0]
}

// nodes are the items of the account's disco#items.
func (p *PEP) nodes(ctx context.Context, asker, owner address.Address, node string) []server.Item {
	if node != "" {
		return nil
	}
	all, err := p.items.Nodes(ctx, owner)
	if err != nil {
		p.log.Error("the nodes of an account cannot be read", "err", err)
		return nil
	}
	var list []server.Item
	for _, n := range all {
		if c, err := readConfig(n.Config); err == nil && p.mayRead(ctx, owner, asker, c) == nil {
			list = append(list, server.Item{JID: owner, Node: n.Name})
		}
	}
	return list
}

func (p *PEP) nodeInfo(ctx context.Context, asker, owner address.Address, node string) ([]byte, bool) {
	_, c, err := p.node(ctx, owner, node)
	if err != nil || p.mayRead(ctx, owner, asker, c) != nil {
		return nil, false
	}
	return []byte("<identity category='pubsub' type='leaf'/><feature var='" + NS + "'/>"), true
}
