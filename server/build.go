package server

import (
	"strings"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
)

// NewMessage makes a message with these children, whole elements. Zero addresses
// and empty strings are left out. A payload that is not well-formed is left out
// as well: it would end the stream of whoever receives it.
func NewMessage(from, to address.Address, typ, id string, payload ...[]byte) *Stanza {
	return build(Message, from, to, typ, id, payload)
}

// NewPresence is [NewMessage] for a presence.
func NewPresence(from, to address.Address, typ, id string, payload ...[]byte) *Stanza {
	return build(Presence, from, to, typ, id, payload)
}

// NewIQ is [NewMessage] for an IQ.
func NewIQ(from, to address.Address, typ, id string, payload ...[]byte) *Stanza {
	return build(IQStanza, from, to, typ, id, payload)
}

func build(kind Kind, from, to address.Address, typ, id string, payload [][]byte) *Stanza {
	size := 128 + len(id)
	for _, p := range payload {
		size += len(p)
	}
	raw := appendStart(make([]byte, 0, size), kind, from, to, typ, id)
	empty := len(raw)
	raw = append(raw, '>')
	for _, p := range payload {
		raw = append(raw, p...)
	}
	raw = append(append(append(raw, "</"...), kind.String()...), '>')
	e, err := xmppstream.ParseElement(raw, parseLimits)
	if err != nil || len(e.Children) == 0 {
		raw = append(raw[:empty], "/>"...)
		st := &Stanza{
			Kind: kind, Type: typ, ID: id, From: from, To: to, raw: string(raw),
			root: xmppstream.Root{Name: 1 + len(kind.String()), Empty: true, Default: true},
		}
		st.fate = &st.itself
		return st
	}
	st := newStanza(kind, e)
	st.From, st.To = from, to
	st.raw, st.root = string(raw), e.Root()
	st.setChildren(e, 0)
	return st
}

// appendStart appends a start tag without its end.
func appendStart(dst []byte, kind Kind, from, to address.Address, typ, id string) []byte {
	dst = append(append(dst, '<'), kind.String()...)
	for _, a := range [...]struct{ name, value string }{
		{" from='", from.String()}, {" to='", to.String()}, {" id='", id}, {" type='", typ},
	} {
		if a.value != "" {
			dst = append(xmppstream.Escape(append(dst, a.name...), a.value), '\'')
		}
	}
	return dst
}

// copy is a stanza with the same head and other bytes.
func (st *Stanza) copy(raw string) *Stanza {
	return &Stanza{
		Kind: st.Kind, Type: st.Type, ID: st.ID, Lang: st.Lang, From: st.From, To: st.To,
		raw: raw, root: st.root, fate: st.fate,
	}
}

// parsed is copy for bytes whose children are not known yet.
func (st *Stanza) parsed(raw string) *Stanza {
	e, err := xmppstream.ParseElement([]byte(raw), parseLimits)
	if err != nil {
		return st
	}
	c := st.copy(raw)
	c.root = e.Root()
	c.setChildren(e, 0)
	return c
}

// With is a copy with more children at the end, whole elements. Those that are
// not well-formed are not added.
func (st *Stanza) With(children ...[]byte) *Stanza {
	var b strings.Builder
	if st.root.Empty {
		b.WriteString(st.raw[:len(st.raw)-2])
		b.WriteByte('>')
	} else {
		b.WriteString(st.raw[:strings.LastIndex(st.raw, "</")])
	}
	for _, c := range children {
		b.Write(c)
	}
	b.WriteString("</")
	b.WriteString(st.raw[1:st.root.Name])
	b.WriteByte('>')
	return st.parsed(b.String())
}

// Without is a copy without the direct children that match. raw is the child as
// it stands in the stanza. When none matches it is st itself.
func (st *Stanza) Without(match func(space, name string, raw []byte) bool) *Stanza {
	var b strings.Builder
	at := 0
	for _, c := range st.children {
		if match(c.space, c.name, []byte(st.raw[c.start:c.end])) {
			b.WriteString(st.raw[at:c.start])
			at = c.end
		}
	}
	if at == 0 {
		return st
	}
	b.WriteString(st.raw[at:])
	return st.parsed(b.String())
}

// Readdress is a copy with other addresses; zero ones are left out.
func (st *Stanza) Readdress(from, to address.Address) *Stanza {
	e, err := xmppstream.ParseElement([]byte(st.raw), parseLimits)
	if err != nil {
		return st
	}
	raw, shift := e.AppendAddressed(nil, from.String(), to.String(), "")
	c := st.copy(string(raw))
	c.From, c.To = from, to
	c.setChildren(e, shift)
	return c
}

// intern is string(b), without an allocation for what comes all the time.
func intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := common[string(b)]; ok {
		return s
	}
	return string(b)
}

// common are names, namespaces and types that most stanzas have. It is never
// written to.
var common = func() map[string]string {
	m := make(map[string]string)
	for _, s := range []string{
		xmppstream.NSClient, "body", "subject", "thread", "chat", "normal", "groupchat", "headline", "error",
		"get", "set", "result", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe",
		"show", "status", "priority", "query", "ping", "x", "c", "event", "delay", "en", "de", "fr", "es",
		"active", "composing", "paused", "inactive", "gone", "http://jabber.org/protocol/chatstates",
		"request", "received", "urn:xmpp:receipts", "markable", "displayed", "urn:xmpp:chat-markers:0",
		"origin-id", "stanza-id", "urn:xmpp:sid:0", "store", "no-store", "no-copy", "no-permanent-store", "urn:xmpp:hints",
		"encrypted", "eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2", "encryption", "urn:xmpp:eme:0",
		"replace", "urn:xmpp:message-correct:0", "reply", "urn:xmpp:reply:0", "fallback", "urn:xmpp:fallback:0",
		"reactions", "urn:xmpp:reactions:0", "http://jabber.org/protocol/caps", "vcard-temp:x:update",
		"http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user", "jabber:x:oob",
		"http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items", "jabber:iq:roster",
		"urn:xmpp:ping", "urn:xmpp:delay", "urn:xmpp:carbons:2", "private", "pubsub", "http://jabber.org/protocol/pubsub",
		"http://jabber.org/protocol/pubsub#event", "urn:xmpp:mam:2", "urn:xmpp:bind:0", "urn:xmpp:jingle-message:0",
	} {
		m[s] = s
	}
	return m
}()
