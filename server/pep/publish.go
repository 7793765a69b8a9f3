package pep

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// publish takes an item (XEP-0060 §7.1). A node that does not exist is made, as the
// options want it (XEP-0163 §3).
func (p *PEP) publish(ctx context.Context, q *server.IQ, n *xmppstream.Node) ([]byte, error) {
	name := n.Attr("node")
	if name == "" {
		return nil, errorWith(server.ErrBadRequest, "nodeid-required")
	}
	if len(n.Children) != 1 || !n.Children[0].Is(NS, "item") {
		return nil, errorWith(server.ErrBadRequest, "item-required")
	}
	item := n.Children[0]
	if len(item.Children) > 1 {
		return nil, errorWith(server.ErrBadRequest, "invalid-payload")
	}
	it := store.Item{ID: item.Attr("id"), Publisher: q.From, At: p.server.Now()}
	if len(item.Children) == 1 {
		it.Raw = item.Children[0].Append(nil)
	}
	if len(it.Raw) > maxItemBytes {
		return nil, errorWith(server.ErrNotAcceptable, "payload-too-big")
	}
	if it.ID == "" {
		it.ID = rand.Text()
	}
	var options *xmppstream.Node
	if o := q.Payload.Child(NS, "publish-options"); o != nil {
		options = o.Child(nsForm, "x")
	}
	c, err := p.ensure(ctx, q.Owner, name, options)
	if err != nil {
		return nil, err
	}
	if err := p.items.PutItem(ctx, q.Owner, name, it, c.keep()); err != nil {
		return nil, missing(err)
	}
	for _, f := range p.published {
		f(ctx, q.Owner, name, it)
	}
	p.notify(ctx, q.Owner, name, c, itemsEvent(name, c, it))

	b := xmppstream.Escape([]byte("<pubsub xmlns='"+NS+"'><publish node='"), name)
	b = xmppstream.Escape(append(b, "'><item id='"...), it.ID)
	return append(b, "'/></publish></pubsub>"...), nil
}

// Publish publishes an item on the owner's behalf, as from another way to set the
// same thing. access is the node's access model if it is made now.
func (p *PEP) Publish(ctx context.Context, owner address.Address, node, access string, it store.Item) error {
	c, err := p.ensure(ctx, owner, node, nil)
	if err != nil {
		return err
	}
	if err := p.items.PutItem(ctx, owner, node, it, c.keep()); err != nil {
		return err
	}
	p.notify(ctx, owner, node, c, itemsEvent(node, c, it))
	return nil
}

// ensure gives the node's configuration, and makes the node if it is not there. An
// existing one must be as the options want it.
func (p *PEP) ensure(ctx context.Context, owner address.Address, name string, options *xmppstream.Node) (config, error) {
	_, c, err := p.node(ctx, owner, name)
	switch {
	case err == nil && options != nil:
		ok, err := c.meets(options)
		if err == nil && !ok {
			err = errorWith(server.ErrConflict, "precondition-not-met")
		}
		return c, err
	case err == nil || !errors.Is(err, server.ErrItemNotFound):
		return c, err
	}
	c = defaults()
	if options != nil {
		if c, err = c.with(options, formOptions); err != nil {
			return c, err
		}
	}
	return c, p.make(ctx, owner, name, c)
}

func (p *PEP) make(ctx context.Context, owner address.Address, name string, c config) error {
	err := p.items.PutNode(ctx, owner, store.Node{Name: name, Config: c.append(nil, "submit")}, maxNodes)
	if errors.Is(err, store.ErrFull) {
		return errorWith(server.ErrResourceConstraint, "max-nodes-exceeded")
	}
	return err
}

// create makes a node (XEP-0060 §8.1), configured by the way.
func (p *PEP) create(ctx context.Context, q *server.IQ, n *xmppstream.Node) ([]byte, error) {
	name := n.Attr("node")
	if name == "" {
		return nil, errorWith(server.ErrNotAcceptable, "nodeid-required") // no instant nodes
	}
	if _, err := p.items.Node(ctx, q.Owner, name); err == nil {
		return nil, server.ErrConflict
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	c := defaults()
	if conf := q.Payload.Child(NS, "configure"); conf != nil {
		if x := conf.Child(nsForm, "x"); x != nil {
			var err error
			if c, err = c.with(x, formConfig); err != nil {
				return nil, err
			}
		}
	}
	return nil, p.make(ctx, q.Owner, name, c)
}

// retract removes an item (XEP-0060 §7.2).
func (p *PEP) retract(ctx context.Context, q *server.IQ, n *xmppstream.Node) ([]byte, error) {
	name := n.Attr("node")
	item := n.Child(NS, "item")
	switch {
	case name == "":
		return nil, errorWith(server.ErrBadRequest, "nodeid-required")
	case item == nil || item.Attr("id") == "":
		return nil, errorWith(server.ErrBadRequest, "item-required")
	}
	_, c, err := p.node(ctx, q.Owner, name)
	if err != nil {
		return nil, err
	}
	if err := p.items.DeleteItem(ctx, q.Owner, name, item.Attr("id")); err != nil {
		return nil, missing(err)
	}
	if notify, _ := boolean(n.Attr("notify")); notify || c.notifyRetract {
		b := xmppstream.Escape([]byte("<event xmlns='"+NSEvent+"'><items node='"), name)
		b = xmppstream.Escape(append(b, "'><retract id='"...), item.Attr("id"))
		p.notify(ctx, q.Owner, name, c, append(b, "'/></items></event>"...))
	}
	return nil, nil
}

// retrieve gives a node's items (XEP-0060 §6.5).
func (p *PEP) retrieve(ctx context.Context, q *server.IQ, n *xmppstream.Node) ([]byte, error) {
	name := n.Attr("node")
	if name == "" {
		return nil, errorWith(server.ErrBadRequest, "nodeid-required")
	}
	_, c, err := p.node(ctx, q.Owner, name)
	if err != nil {
		return nil, err
	}
	if err := p.mayRead(ctx, q.Owner, q.From, c); err != nil {
		return nil, err
	}
	max := maxItems
	if text := n.Attr("max_items"); text != "" {
		v, err := strconv.Atoi(text)
		if err != nil || v < 0 {
			return nil, server.ErrBadRequest
		}
		max = min(v, maxItems)
	}
	var ids []string
	for _, it := range n.Children {
		if it.Is(NS, "item") && it.Attr("id") != "" {
			ids = append(ids, it.Attr("id"))
		}
	}
	if len(ids) > maxItems {
		return nil, server.ErrPolicyViolation
	}
	items, err := p.items.Items(ctx, q.Owner, name, ids, max)
	if err != nil {
		return nil, missing(err)
	}
	b := xmppstream.Escape([]byte("<pubsub xmlns='"+NS+"'><items node='"), name)
	b = append(b, "'>"...)
	for _, it := range items {
		b = appendItem(b, it, true)
	}
	return append(b, "</items></pubsub>"...), nil
}

func appendItem(b []byte, it store.Item, payload bool) []byte {
	b = xmppstream.Escape(append(b, "<item id='"...), it.ID)
	b = append(b, "'>"...)
	if payload {
		b = append(b, it.Raw...)
	}
	return append(b, "</item>"...)
}
