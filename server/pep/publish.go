package pep

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/dataform"
	"xmpp-gw/server/store"
)

const nsRSM = "http://jabber.org/protocol/rsm"

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
	if it.ID == "" {
		it.ID = rand.Text()
	}
	if err := fits(name, it); err != nil {
		return nil, err
	}
	var options *dataform.Submission
	if o := q.Payload.Child(NS, "publish-options"); o != nil {
		var err error
		if options, err = submitted(o, formOptions); err != nil {
			return nil, err
		}
	}
	c, err := p.ensure(ctx, q.Owner, name, options)
	if err != nil {
		return nil, err
	}
	if err := p.put(ctx, q.Owner, name, it, c); err != nil {
		return nil, err
	}
	for _, f := range p.published {
		f(ctx, q.Owner, name, it)
	}

	b := xmppstream.Escape([]byte("<pubsub xmlns='"+NS+"'><publish node='"), name)
	b = xmppstream.Escape(append(b, "'><item id='"...), it.ID)
	return append(b, "'/></publish></pubsub>"...), nil
}

// fits refuses what is too long.
func fits(node string, it store.Item) error {
	switch {
	case len(node) > maxName || len(it.ID) > maxName:
		return server.ErrNotAcceptable.Because("The name of the node or of the item is too long.")
	case len(it.Raw) > maxItemBytes:
		return errorWith(server.ErrNotAcceptable, "payload-too-big")
	}
	return nil
}

// put stores an item, if the node keeps any, and tells whoever is interested.
func (p *PEP) put(ctx context.Context, owner address.Address, node string, it store.Item, c config) error {
	if c.persist {
		size, err := p.items.ItemBytes(ctx, owner)
		if err != nil {
			return err
		}
		if size+int64(len(it.Raw)) > maxBytes {
			return server.ErrResourceConstraint.Because("The account keeps as much as it may.")
		}
		if err := p.items.PutItem(ctx, owner, node, it, c.max); err != nil {
			return missing(err)
		}
	}
	p.notify(ctx, owner, node, c, itemsEvent(node, c, it))
	return nil
}

// Publish publishes an item on the owner's behalf, as from another way to set the
// same thing: those whom [PEP.Published] registered are not told. access is the
// node's access model if it is made now.
func (p *PEP) Publish(ctx context.Context, owner address.Address, node, access string, it store.Item) error {
	if err := fits(node, it); err != nil {
		return err
	}
	_, c, err := p.node(ctx, owner, node)
	if errors.Is(err, server.ErrItemNotFound) {
		c = defaults()
		c.access = access
		err = p.make(ctx, owner, node, c)
	}
	if err != nil {
		return err
	}
	return p.put(ctx, owner, node, it, c)
}

// ensure gives the node's configuration, and makes the node if it is not there. An
// existing one must be as the options want it.
func (p *PEP) ensure(ctx context.Context, owner address.Address, name string, options *dataform.Submission) (config, error) {
	_, c, err := p.node(ctx, owner, name)
	is := err == nil
	if !is {
		if !errors.Is(err, server.ErrItemNotFound) {
			return c, err
		}
		c = defaults()
	}
	wanted, err := c.wanted(options)
	switch {
	case err != nil:
		return c, err
	case !is:
		return wanted, p.make(ctx, owner, name, wanted)
	case wanted != c:
		return c, errPrecondition
	}
	return c, nil
}

func (p *PEP) make(ctx context.Context, owner address.Address, name string, c config) error {
	err := p.items.PutNode(ctx, owner, store.Node{Name: name, Config: c.append(nil, dataform.TypeSubmit)}, maxNodes)
	if errors.Is(err, store.ErrFull) {
		return errorWith(server.ErrConflict, "max-nodes-exceeded") // XEP-0060 §16.7.2
	}
	return err
}

// create makes a node (XEP-0060 §8.1), configured by the way.
func (p *PEP) create(ctx context.Context, q *server.IQ, n *xmppstream.Node) ([]byte, error) {
	name := n.Attr("node")
	if name == "" {
		return nil, errorWith(server.ErrNotAcceptable, "nodeid-required") // no instant nodes
	}
	if len(name) > maxName {
		return nil, server.ErrNotAcceptable
	}
	if _, err := p.items.Node(ctx, q.Owner, name); err == nil {
		return nil, server.ErrConflict
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	c := defaults()
	if conf := q.Payload.Child(NS, "configure"); conf != nil {
		form, err := submitted(conf, formConfig)
		if err != nil {
			return nil, err
		}
		if c, err = c.with(form); err != nil {
			return nil, err
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
	if notify, _ := dataform.Truth(n.Attr("notify")); notify || c.notifyRetract {
		b := xmppstream.Escape([]byte("<event xmlns='"+NSEvent+"'><items node='"), name)
		b = xmppstream.Escape(append(b, "'><retract id='"...), item.Attr("id"))
		p.notify(ctx, q.Owner, name, c, append(b, "'/></items></event>"...))
	}
	p.isEmptied(ctx, q.Owner, name)
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
		if err != nil || v < 1 { // an xs:positiveInteger
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
	for i, it := range items {
		if i > 0 && len(b)+len(it.Raw) > maxReply {
			return appendPage(append(b, "</items>"...), items, i), nil
		}
		b = appendItem(b, it, true)
	}
	return append(b, "</items></pubsub>"...), nil
}

// appendPage ends an answer that has only the first n items, and says so
// (XEP-0060 §6.5.4): the others can be asked for by their ids.
func appendPage(b []byte, items []store.Item, n int) []byte {
	b = xmppstream.Escape(append(b, "<set xmlns='"+nsRSM+"'><first index='0'>"...), items[0].ID)
	b = xmppstream.Escape(append(b, "</first><last>"...), items[n-1].ID)
	b = strconv.AppendInt(append(b, "</last><count>"...), int64(len(items)), 10)
	return append(b, "</count></set></pubsub>"...)
}

func appendItem(b []byte, it store.Item, payload bool) []byte {
	b = xmppstream.Escape(append(b, "<item id='"...), it.ID)
	b = append(b, "'>"...)
	if payload {
		b = append(b, it.Raw...)
	}
	return append(b, "</item>"...)
}
