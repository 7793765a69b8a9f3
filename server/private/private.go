// Package private keeps XML for clients that only their owner sees (XEP-0049),
// such as bookmarks of old clients.
package private

import (
	"context"
	"errors"

	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// NS is the namespace of private XML storage.
const NS = "jabber:iq:private"

// Limits of one account.
const (
	maxDocuments = 128
	maxBytes     = 64 << 10
)

// kind is where the documents are in the store.
const kind = "private"

// New makes the module.
func New(documents store.Documents) server.Module { return &module{documents} }

type module struct{ documents store.Documents }

func (*module) Name() string { return "private storage" }

func (m *module) Setup(r *server.Registry) error {
	r.Feature(server.AtAccount|server.AtServer, NS) // some clients look for it there
	r.IQ(server.AtAccount, NS, "query", m.answer)
	return nil
}

func (m *module) answer(ctx context.Context, q *server.IQ) ([]byte, error) {
	if !q.Own() {
		return nil, server.ErrForbidden // XEP-0049 §4
	}
	// One element says what is meant, and it is in a namespace of its own.
	if len(q.Payload.Children) != 1 {
		return nil, server.ErrNotAcceptable
	}
	n := q.Payload.Children[0]
	if n.Space == "" || n.Space == NS || n.Space == "jabber:client" {
		return nil, server.ErrNotAcceptable
	}
	key := n.Space + " " + n.Name
	if q.Type == "get" {
		raw, err := m.documents.Document(ctx, q.Owner, kind, key)
		if errors.Is(err, store.ErrNotFound) {
			empty := *n
			empty.Attrs, empty.Children, empty.Text = nil, nil, ""
			raw, err = empty.Append(nil), nil
		}
		if err != nil {
			return nil, err
		}
		return append(append([]byte("<query xmlns='"+NS+"'>"), raw...), "</query>"...), nil
	}
	raw := n.Append(nil)
	if len(raw) > maxBytes {
		return nil, server.ErrResourceConstraint
	}
	err := m.documents.PutDocument(ctx, q.Owner, kind, key, raw, maxDocuments)
	if errors.Is(err, store.ErrFull) {
		return nil, server.ErrResourceConstraint
	}
	return nil, err
}
