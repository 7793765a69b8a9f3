// Package disco answers service discovery (XEP-0030) with what the modules have
// registered, and announces the server's capabilities (XEP-0115).
package disco

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"slices"
	"sync"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/dataform"
)

// Namespaces of service discovery and of capabilities.
const (
	NSInfo  = "http://jabber.org/protocol/disco#info"
	NSItems = "http://jabber.org/protocol/disco#items"
	NSCaps  = "http://jabber.org/protocol/caps"
)

// Subscriptions says whether an account lets an address see its presence.
type Subscriptions interface {
	Sees(ctx context.Context, owner, contact address.Address) (bool, error)
}

// Options say what is announced.
type Options struct {
	// Software is the name of the server's identity; generic, as it need not tell
	// strangers what to attack.
	Software string
	// Node is the URI of the capabilities (XEP-0115 §4).
	Node string
	// Contacts are addresses for those who need to reach the operator, by the
	// kind that XEP-0157 §2 names: "abuse", "admin", "feedback", "sales",
	// "security", "status", "support". Each is a URI.
	Contacts map[string][]string
	// Subscriptions decides who may ask about an account.
	Subscriptions Subscriptions
}

// New makes the module.
func New(o Options) server.Module { return &module{Options: o} }

type module struct {
	Options
	server *server.Server

	// of is what was last announced, and hash what stands for it: each stream has it
	// among its features.
	mu       sync.Mutex
	of, hash string
}

func (*module) Name() string { return "disco" }

func (m *module) Setup(r *server.Registry) error {
	m.server = r.Server()
	both := server.AtServer | server.AtAccount
	r.Feature(both, NSInfo, NSItems)
	r.Identity(server.AtServer, server.Identity{Category: "server", Type: "im", Name: m.Software})
	r.Identity(server.AtAccount, server.Identity{Category: "account", Type: "registered"})
	if len(m.Contacts) > 0 {
		form := contactForm(m.Contacts)
		r.Form(server.AtServer, func(context.Context) []byte { return form })
	}
	r.IQ(server.AtServer, NSInfo, "query", m.serverInfo)
	r.IQ(server.AtServer, NSItems, "query", m.items(server.AtServer))
	r.IQ(server.AtAccount, NSInfo, "query", m.accountInfo)
	r.IQ(server.AtAccount, NSItems, "query", m.items(server.AtAccount))
	r.StreamFeature(m.capabilities)
	return nil
}

func (m *module) serverInfo(ctx context.Context, q *server.IQ) ([]byte, error) {
	if q.Type != "get" {
		return nil, server.ErrNotAllowed
	}
	node := q.Payload.Attr("node")
	if m.Node != "" && node == m.Node+"#"+m.ver(ctx) { // XEP-0115 §6.2
		return reply(node, m.info(ctx, server.AtServer)), nil
	}
	return m.answer(ctx, server.AtServer, q, node)
}

// accountInfo tells strangers the same as if there were no account (RFC 6121 §8.5.1).
func (m *module) accountInfo(ctx context.Context, q *server.IQ) ([]byte, error) {
	if q.Type != "get" {
		return nil, server.ErrNotAllowed
	}
	if err := m.mayAsk(ctx, q); err != nil {
		return nil, err
	}
	return m.answer(ctx, server.AtAccount, q, q.Payload.Attr("node"))
}

func (m *module) mayAsk(ctx context.Context, q *server.IQ) error {
	if q.Own() {
		return nil
	}
	sees, err := m.Subscriptions.Sees(ctx, q.Owner, q.From.Bare())
	if err == nil && !sees {
		err = server.ErrServiceUnavailable
	}
	return err
}

// entity is who is asked: the account, also if the request has no address.
func entity(q *server.IQ) address.Address {
	if !q.Owner.IsZero() {
		return q.Owner
	}
	return q.To
}

func (m *module) answer(ctx context.Context, at server.Where, q *server.IQ, node string) ([]byte, error) {
	if node == "" {
		return reply("", m.info(ctx, at)), nil
	}
	for _, f := range m.server.Disco(at).Nodes {
		if info, ok := f(ctx, q.From, entity(q), node); ok {
			return reply(node, info), nil
		}
	}
	return nil, server.ErrItemNotFound
}

func (m *module) items(at server.Where) server.IQHandler {
	return func(ctx context.Context, q *server.IQ) ([]byte, error) {
		if q.Type != "get" {
			return nil, server.ErrNotAllowed
		}
		if at == server.AtAccount {
			if err := m.mayAsk(ctx, q); err != nil {
				return nil, err
			}
		}
		node := q.Payload.Attr("node")
		b := []byte("<query xmlns='" + NSItems + "'")
		b = attr(b, "node", node)
		b = append(b, '>')
		for _, f := range m.server.Disco(at).Items {
			for _, it := range f(ctx, q.From, entity(q), node) {
				b = append(b, "<item"...)
				b = attr(b, "jid", it.JID.String())
				b = attr(b, "node", it.Node)
				b = attr(b, "name", it.Name)
				b = append(b, "/>"...)
			}
		}
		return append(b, "</query>"...), nil
	}
}

// info is the children of <query/>.
func (m *module) info(ctx context.Context, at server.Where) []byte {
	d := m.server.Disco(at)
	var b []byte
	for _, i := range d.Identities {
		b = append(b, "<identity"...)
		b = attr(b, "category", i.Category)
		b = attr(b, "type", i.Type)
		b = attr(b, "name", i.Name)
		b = append(b, "/>"...)
	}
	for _, f := range features(d) {
		b = append(b, "<feature"...)
		b = attr(b, "var", f)
		b = append(b, "/>"...)
	}
	for _, form := range d.Forms {
		b = append(b, form(ctx)...)
	}
	return b
}

// features are in order and without doubles: two modules may announce the same.
func features(d server.Disco) []string {
	return slices.Compact(slices.Sorted(slices.Values(d.Features)))
}

func (m *module) capabilities(ctx context.Context, _ *server.Session) []byte {
	ver := m.ver(ctx)
	if m.Node == "" || ver == "" {
		return nil
	}
	b := []byte("<c xmlns='" + NSCaps + "' hash='sha-1'")
	b = attr(b, "node", m.Node)
	b = attr(b, "ver", ver)
	return append(b, "/>"...)
}

// ver is the verification string of what the server announces (XEP-0115 §5.1).
func (m *module) ver(ctx context.Context) string {
	info := m.info(ctx, server.AtServer)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of != string(info) {
		m.of, m.hash = string(info), hash(info)
	}
	return m.hash
}

// hash is "" for what cannot be announced.
func hash(info []byte) string {
	n, err := xmppstream.Parse(reply("", info), xmppstream.SessionLimits())
	if err != nil {
		return ""
	}
	v, err := Verification(n)
	if err != nil {
		return ""
	}
	sum := sha1.Sum([]byte(v))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func reply(node string, children []byte) []byte {
	b := []byte("<query xmlns='" + NSInfo + "'")
	b = attr(b, "node", node)
	b = append(b, '>')
	b = append(b, children...)
	return append(b, "</query>"...)
}

// attr appends an attribute, nothing for an empty value.
func attr(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, ' '), name...), "='"...)
	return append(xmppstream.Escape(b, value), '\'')
}

// contactForm is the form of XEP-0157 §2.
func contactForm(contacts map[string][]string) []byte {
	form := dataform.Form{Type: dataform.TypeResult, FormType: "http://jabber.org/network/serverinfo"}
	for _, kind := range slices.Sorted(maps.Keys(contacts)) {
		form.Fields = append(form.Fields, dataform.Field{Var: kind + "-addresses", Type: dataform.ListMulti, Values: contacts[kind]})
	}
	return form.Append(nil)
}
