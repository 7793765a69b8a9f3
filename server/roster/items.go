package roster

import (
	"strconv"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// nsRoster qualifies rosters (RFC 6121 §2.1).
const nsRoster = "jabber:iq:roster"

// The limits of an item, in bytes. A name is what a person gives a person.
const (
	maxName   = 1023
	maxGroup  = 255
	maxGroups = 32
)

// change is one roster set that has been read.
type change struct {
	contact address.Address
	remove  bool
	name    string
	groups  []string
}

// readSet reads the <query/> of a roster set of owner (RFC 6121 §2.1.5, §2.3.3).
func readSet(owner address.Address, query *xmppstream.Node) (c change, bad *server.StanzaError) {
	if len(query.Children) != 1 || !query.Children[0].Is(nsRoster, "item") {
		return c, server.ErrBadRequest.Because("a roster set has one item")
	}
	item := query.Children[0]
	contact, err := address.Parse(item.Attr("jid"))
	if err != nil {
		return c, server.ErrJIDMalformed.Because("the contact's address is not valid")
	}
	if contact.IsFull() {
		return c, server.ErrBadRequest.Because("a contact's address has no resource")
	}
	if contact == owner {
		return c, server.ErrNotAllowed.Because("nobody is their own contact")
	}
	c.contact = contact
	// Other values are the server's to decide, and ignored (§2.1.5).
	if item.Attr("subscription") == "remove" {
		c.remove = true
		return c, nil
	}
	if c.name = item.Attr("name"); len(c.name) > maxName {
		return c, server.ErrNotAcceptable.Because("the name has more than " + strconv.Itoa(maxName) + " bytes")
	}
	for _, g := range item.Children {
		if !g.Is(nsRoster, "group") {
			continue
		}
		switch {
		case g.Text == "":
			return c, server.ErrNotAcceptable.Because("a group without a name")
		case len(g.Text) > maxGroup:
			return c, server.ErrNotAcceptable.Because("the name of a group has more than " + strconv.Itoa(maxGroup) + " bytes")
		case len(c.groups) == maxGroups:
			return c, server.ErrNotAcceptable.Because("a contact is in at most " + strconv.Itoa(maxGroups) + " groups")
		}
		for _, other := range c.groups {
			if other == g.Text {
				return c, server.ErrBadRequest.Because("the same group twice")
			}
		}
		c.groups = append(c.groups, g.Text)
	}
	return c, nil
}

// version reads what a client has of the roster (§2.6): false for nothing, or for
// what no server of ours has said.
func version(query *xmppstream.Node) (uint64, bool) {
	v, err := strconv.ParseUint(query.Attr("ver"), 10, 64)
	return v, err == nil
}

// appendQuery appends a <query/> with these items; each is called for its XML.
func appendQuery(dst []byte, ver uint64, items func(dst []byte) []byte) []byte {
	dst = append(dst, "<query xmlns='"+nsRoster+"' ver='"...)
	dst = strconv.AppendUint(dst, ver, 10)
	dst = append(dst, "'>"...)
	dst = items(dst)
	return append(dst, "</query>"...)
}

// appendItem appends an item as the owner sees it (§2.1.2). Pending In is not shown.
func appendItem(dst []byte, it *store.RosterItem) []byte {
	dst = append(dst, "<item jid='"...)
	dst = appendAddress(dst, it.Contact)
	if it.Approved {
		dst = append(dst, "' approved='true"...)
	}
	if it.Ask {
		dst = append(dst, "' ask='subscribe"...)
	}
	if it.Name != "" {
		dst = append(dst, "' name='"...)
		dst = xmppstream.Escape(dst, it.Name)
	}
	dst = append(dst, "' subscription='"...)
	dst = append(dst, [...]string{"none", "to", "from", "both"}[it.Sub&store.SubBoth]...)
	if len(it.Groups) == 0 {
		return append(dst, "'/>"...)
	}
	dst = append(dst, "'>"...)
	for _, g := range it.Groups {
		dst = append(dst, "<group>"...)
		dst = xmppstream.Escape(dst, g)
		dst = append(dst, "</group>"...)
	}
	return append(dst, "</item>"...)
}

// appendRemoved appends the item of a push for a contact that left (§2.5.2).
func appendRemoved(dst []byte, contact address.Address) []byte {
	dst = append(dst, "<item jid='"...)
	dst = appendAddress(dst, contact)
	return append(dst, "' subscription='remove'/>"...)
}

func appendAddress(dst []byte, a address.Address) []byte {
	return xmppstream.Escape(dst, a.String())
}
