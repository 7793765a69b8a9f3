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
	"xmpp-gw/server/dataform"
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
	maxItems     = 1000      // of a node
	maxItemBytes = 256 << 10 // of a payload
	maxBytes     = 16 << 20  // of all payloads
	maxName      = 1023      // of a node, of an item's id
	maxReply     = 2 << 20   // of an answer
)

// Contacts says who sees whose presence.
type Contacts interface {
	Sees(ctx context.Context, owner, contact address.Address) (bool, error)
	// Watchers see the owner's presence; Watching are those whose presence the
	// owner sees.
	Watchers(ctx context.Context, owner address.Address) ([]address.Address, error)
	Watching(ctx context.Context, owner address.Address) ([]address.Address, error)
	// Groups is which of the owner's groups a contact is in.
	Groups(ctx context.Context, owner, contact address.Address) ([]string, error)
}

// Interests says what a client wants to be told of.
type Interests interface {
	Wants(s *server.Session, feature string) bool
	// Interests are the features that end so, without that end.
	Interests(s *server.Session, suffix string) []string
}

// PEP is the module.
type PEP struct {
	items     store.Items
	roster    Contacts
	interests Interests
	server    *server.Server
	log       *slog.Logger
	told      server.SessionSlot[told]
	blocked   func(ctx context.Context, owner, other address.Address) bool
	published []func(ctx context.Context, owner address.Address, node string, it store.Item)
	emptied   []func(ctx context.Context, owner address.Address, node string)
}

// New makes the module. It is behind the one that keeps presence.
func New(items store.Items, roster Contacts, interests Interests) *PEP {
	return &PEP{
		items: items, roster: roster, interests: interests,
		blocked: func(context.Context, address.Address, address.Address) bool { return false },
	}
}

// HideFrom makes the module tell nothing to whom an owner has blocked, before the
// server runs.
func (p *PEP) HideFrom(blocked func(ctx context.Context, owner, other address.Address) bool) {
	p.blocked = blocked
}

// Published registers who is told of each item that an owner has published, before
// the server runs.
func (p *PEP) Published(f func(ctx context.Context, owner address.Address, node string, it store.Item)) {
	p.published = append(p.published, f)
}

// Emptied registers who is told that an owner has removed an item, or all of them,
// before the server runs.
func (p *PEP) Emptied(f func(ctx context.Context, owner address.Address, node string)) {
	p.emptied = append(p.emptied, f)
}

// Items gives an owner's items as the owner sees them: those of the ids, or the
// newest. It fails with [store.ErrNotFound] without the node.
func (p *PEP) Items(ctx context.Context, owner address.Address, node string, ids ...string) ([]store.Item, error) {
	return p.items.Items(ctx, owner, node, ids, 1)
}

// Access is a node's access model, such as [Open].
func (p *PEP) Access(ctx context.Context, owner address.Address, node string) (string, error) {
	_, c, err := p.node(ctx, owner, node)
	return c.access, err
}

// Name implements [server.Module].
func (p *PEP) Name() string { return "personal eventing" }

// Setup implements [server.Module].
func (p *PEP) Setup(r *server.Registry) error {
	p.server = r.Server()
	p.log = p.server.Log()
	r.Identity(server.AtAccount, server.Identity{Category: "pubsub", Type: "pep"})
	for _, f := range []string{
		"access-open", "access-presence", "access-roster", "access-whitelist", "auto-create", "auto-subscribe", "config-node", "config-node-max",
		"create-and-configure", "create-nodes", "delete-items", "delete-nodes", "filtered-notifications", "item-ids",
		"last-published", "multi-items", "persistent-items", "presence-notifications", "publish", "publish-options",
		"purge-nodes", "retract-items", "retrieve-default", "retrieve-items",
	} {
		r.Feature(server.AtAccount, NS+"#"+f)
	}
	r.Feature(server.AtAccount, NS)
	r.Items(server.AtAccount, p.nodes)
	r.Node(server.AtAccount, p.nodeInfo)
	r.IQ(server.AtAccount, NS, "pubsub", p.pubsub)
	r.IQ(server.AtAccount, NSOwner, "pubsub", p.owner)
	p.told = server.NewSessionSlot[told](r)
	r.Outbound(func(_ context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
		if st.Kind == server.Presence && st.Type == "unavailable" && st.To.IsZero() {
			p.told.Set(s, nil)
		}
		return st, nil
	})
	return nil
}

// errorWith is a stanza error with a condition of publish and subscribe beside it.
func errorWith(e *server.StanzaError, condition string) error {
	c := *e
	c.App = []byte("<" + condition + " xmlns='" + NSErrors + "'/>")
	return &c
}

// unsupported says which feature is missing (XEP-0060 §6.5.9.8).
func unsupported(feature string) error {
	c := *server.ErrFeatureNotImplemented
	c.App = append(xmppstream.Escape([]byte("<unsupported xmlns='"+NSErrors+"' feature='"), feature), "'/>"...)
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
		return nil, unsupported("retrieve-" + n.Name)
	}
	if !q.Own() {
		// Contacts follow by presence; there are no other subscriptions.
		if n.Name == "subscribe" || n.Name == "unsubscribe" {
			return nil, unsupported("subscribe")
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
	if q.Type == "get" && n.Name == "default" { // §8.3
		b := []byte("<pubsub xmlns='" + NSOwner + "'><default>")
		return append(defaults().append(b, dataform.TypeForm), "</default></pubsub>"...), nil
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
		return append(c.append(append(b, "'>"...), dataform.TypeForm), "</configure></pubsub>"...), nil
	case q.Type == "set" && n.Name == "configure":
		return nil, p.configure(ctx, q.Owner, node, c, n)
	case q.Type == "set" && n.Name == "delete":
		if err := p.items.DeleteNode(ctx, q.Owner, name); err != nil {
			return nil, missing(err)
		}
		if c.notifyDelete {
			p.notify(ctx, q.Owner, name, c, event("<delete node='", name, "'/>"))
		}
		p.isEmptied(ctx, q.Owner, name)
		return nil, nil
	case q.Type == "set" && n.Name == "purge":
		if err := p.items.PurgeItems(ctx, q.Owner, name); err != nil {
			return nil, missing(err)
		}
		p.notify(ctx, q.Owner, name, c, event("<purge node='", name, "'/>"))
		p.isEmptied(ctx, q.Owner, name)
		return nil, nil
	}
	return nil, server.ErrFeatureNotImplemented
}

// configure changes a node (§8.2.4).
func (p *PEP) configure(ctx context.Context, owner address.Address, node store.Node, c config, n *xmppstream.Node) error {
	if n.Child(dataform.NS, "x") == nil {
		return server.ErrBadRequest
	}
	form, err := submitted(n, formConfig)
	if err != nil || form == nil {
		return err
	}
	if c, err = c.with(form); err != nil {
		return err
	}
	node.Config = c.append(nil, dataform.TypeSubmit)
	if err := p.items.PutNode(ctx, owner, node, maxNodes); err != nil || c.persist {
		return err
	}
	return p.items.PurgeItems(ctx, owner, node.Name)
}

func (p *PEP) isEmptied(ctx context.Context, owner address.Address, node string) {
	for _, f := range p.emptied {
		f(ctx, owner, node)
	}
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
	if who.Bare() == owner || c.access == Open {
		return nil
	}
	if c.access == Whitelist {
		return errorWith(server.ErrNotAllowed, "closed-node")
	}
	sees, err := p.roster.Sees(ctx, owner, who.Bare())
	switch {
	case err != nil:
		return err
	case c.access == Roster:
		groups, err := p.roster.Groups(ctx, owner, who.Bare())
		if err == nil && !(sees && c.allows(groups)) {
			err = errorWith(server.ErrNotAuthorized, "not-in-roster-group")
		}
		return err
	case !sees:
		return errorWith(server.ErrNotAuthorized, "presence-subscription-required")
	}
	return nil
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
