package offline

import (
	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

const (
	nsHints      = "urn:xmpp:hints"
	nsChatStates = "http://jabber.org/protocol/chatstates"
	nsStanzaID   = "urn:xmpp:sid:0"
	nsDelay      = "urn:xmpp:delay"
)

// verdict is what becomes of a message that nobody takes.
type verdict uint8

const (
	keep   verdict = iota // stored
	refuse                // answered with an error
	forget                // nobody misses it
)

// judge decides by type and content (XEP-0160 §3) and by the sender's hints
// (XEP-0334 §4). <no-permanent-store/> is no bar: what waits here does not stay.
func judge(st *server.Stanza) verdict {
	switch st.Type {
	case "error", "headline":
		return forget
	case "groupchat":
		return refuse
	}
	switch {
	case st.Has(nsHints, "no-store"):
		if st.Has(xmppstream.NSClient, "body") {
			return refuse // who wrote it has to know that it did not arrive
		}
		return forget
	case st.Has(nsHints, "store"):
		return keep
	case !hasContent(st):
		return forget
	}
	return keep
}

// hasContent is false for messages that say nothing later: those of chat states
// alone (XEP-0085), or of nothing.
func hasContent(st *server.Stanza) bool {
	for _, c := range st.Node().Children {
		switch c.Space {
		case nsChatStates, nsHints, nsStanzaID:
			continue
		case xmppstream.NSClient:
			if c.Name == "thread" || c.Name == "body" && c.Text == "" {
				continue
			}
		}
		return true
	}
	return false
}

// archived reports whether the owner's archive has the message: only it puts its
// stanza-id there (XEP-0359 §6).
func archived(st *server.Stanza, owner address.Address) bool {
	if !st.Has(nsStanzaID, "stanza-id") {
		return false
	}
	by := owner.String()
	for _, c := range st.Node().Children {
		if c.Is(nsStanzaID, "stanza-id") && c.Attr("by") == by {
			return true
		}
	}
	return false
}
