// Package vcard keeps the vCards of accounts (XEP-0054) and makes one avatar of the
// two that there are: a photo in the vCard, whose hash stands in presence (XEP-0153),
// and the one that is published (XEP-0084). Whichever a client sets, the others see
// (XEP-0398).
//
// A vCard is shown to those who see its owner's presence, and to strangers only where
// the operator wants that.
package vcard

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/peraccount"
	"xmpp-gw/server/store"
)

// Namespaces of vCards.
const (
	NS           = "vcard-temp"
	NSUpdate     = "vcard-temp:x:update"
	NSConversion = "urn:xmpp:pep-vcard-conversion:0"
)

// MaxBytes is how long a vCard may be: with a photo as large as a published one.
const MaxBytes = 384 << 10

// Where the storage has what.
const (
	kind    = "vcard"
	cardKey = "vcard"
	hashKey = "photo" // the photo's hash, so that a login need not read the vCard
	maxDocs = 2
)

// Contacts says who sees whose presence, and sends it.
type Contacts interface {
	Sees(ctx context.Context, owner, contact address.Address) (bool, error)
	Renew(ctx context.Context, s *server.Session, change func(was *server.Stanza) *server.Stanza)
}

// Avatars are the published ones: personal eventing.
type Avatars interface {
	Published(f func(ctx context.Context, owner address.Address, node string, it store.Item))
	Emptied(f func(ctx context.Context, owner address.Address, node string))
	Publish(ctx context.Context, owner address.Address, node, access string, it store.Item) error
	// Items are the newest item or those of the ids, [store.ErrNotFound] without
	// the node.
	Items(ctx context.Context, owner address.Address, node string, ids ...string) ([]store.Item, error)
	Access(ctx context.Context, owner address.Address, node string) (string, error)
}

// Options say who may see what.
type Options struct {
	// Public shows vCards to everybody.
	Public   bool
	Contacts Contacts
	// Avatars are to be the same as the vCards' photos; nil for no such thing.
	Avatars Avatars
}

// New makes the module. It is before the one that keeps presence, as it has a hand in
// what that sends.
func New(documents store.Documents, o Options) server.Module {
	m := &module{Options: o, documents: documents}
	m.accounts = peraccount.New(m.load, func(*account) int { return 1 }, 20_000)
	if o.Avatars != nil {
		o.Avatars.Published(m.published)
		o.Avatars.Emptied(m.emptied)
	}
	return m
}

type module struct {
	Options
	documents store.Documents
	server    *server.Server
	log       *slog.Logger
	accounts  *peraccount.Cache[account]
	slot      server.SessionSlot[session]
}

// account is what is in memory of an account.
type account struct {
	changes sync.Mutex // one change of the vCard at a time

	mu   sync.Mutex
	hash string // of the photo in hexadecimal, "" for none
	none bool   // there was a photo, and others have to be told that it is gone
}

func (a *account) photo() (hash string, none bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hash, a.none
}

// session is what is kept of one.
type session struct {
	entry *peraccount.Entry[account]

	mu   sync.Mutex
	sent *server.Stanza // the presence as the client sent it
}

func (*module) Name() string { return "vcard" }

func (m *module) Setup(r *server.Registry) error {
	if m.Contacts == nil {
		return errors.New("vCards are for contacts: give the module Contacts")
	}
	m.server = r.Server()
	m.log = m.server.Log()
	m.slot = server.NewSessionSlot[session](r)
	r.Feature(server.AtAccount, NS)
	if m.Avatars != nil {
		r.Feature(server.AtAccount, NSConversion)
	}
	r.IQ(server.AtAccount, NS, "vCard", m.answer)
	r.Outbound(m.presence)
	r.Unbound(func(_ context.Context, s *server.Session) {
		if own := m.slot.Get(s); own != nil {
			own.entry.Release()
		}
	})
	r.Forget(m.accounts.Forget)
	return nil
}

func (m *module) load(ctx context.Context, owner address.Address) (*account, error) {
	raw, err := m.documents.Document(ctx, owner, kind, hashKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return &account{hash: string(raw)}, nil
}

// answer gives a vCard, or sets the asker's own (XEP-0054 §3).
func (m *module) answer(ctx context.Context, q *server.IQ) ([]byte, error) {
	if q.Type == "set" {
		if !q.Own() {
			return nil, server.ErrForbidden
		}
		return nil, m.set(ctx, q)
	}
	if !q.Own() && !m.Public {
		sees, err := m.Contacts.Sees(ctx, q.Owner, q.From.Bare())
		if err != nil {
			return nil, err
		}
		if !sees { // as if there were no such account (RFC 6121 §8.5.1)
			return nil, server.ErrServiceUnavailable
		}
	}
	raw, err := m.documents.Document(ctx, q.Owner, kind, cardKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, server.ErrItemNotFound
	}
	return raw, err
}

// set replaces the asker's vCard, and publishes its photo.
func (m *module) set(ctx context.Context, q *server.IQ) error {
	raw := q.Payload.Append(nil)
	if len(raw) > MaxBytes {
		return server.ErrPolicyViolation.Because("The vCard is too long.")
	}
	e, err := m.accounts.Hold(ctx, q.Owner)
	if err != nil {
		return err
	}
	defer e.Release()
	a := e.Value
	a.changes.Lock()
	defer a.changes.Unlock()
	p := photoOf(q.Payload)
	before, _ := a.photo()
	if err := m.store(ctx, q.Owner, a, raw, p.hash); err != nil {
		return err
	}
	if p.hash != before && m.Avatars != nil {
		if err := m.publish(ctx, q.Owner, p); err != nil {
			m.log.Warn("the photo of a vCard could not be published as an avatar", "err", err)
		}
	}
	return nil
}

// store writes a vCard and its photo's hash, and has the hash announced. a.changes
// is held.
func (m *module) store(ctx context.Context, owner address.Address, a *account, raw []byte, hash string) error {
	if err := m.documents.PutDocument(ctx, owner, kind, cardKey, raw, maxDocs); err != nil {
		return err
	}
	before, _ := a.photo()
	if hash == before {
		return nil
	}
	if err := m.documents.PutDocument(ctx, owner, kind, hashKey, []byte(hash), maxDocs); err != nil {
		return err
	}
	a.mu.Lock()
	a.hash, a.none = hash, hash == ""
	a.mu.Unlock()
	m.renew(ctx, owner, a)
	return nil
}

// card is an owner's vCard as a tree, an empty one if there is none.
func (m *module) card(ctx context.Context, owner address.Address) (*xmppstream.Node, error) {
	raw, err := m.documents.Document(ctx, owner, kind, cardKey)
	if errors.Is(err, store.ErrNotFound) {
		return &xmppstream.Node{Space: NS, Name: "vCard"}, nil
	}
	if err != nil {
		return nil, err
	}
	return xmppstream.Parse(raw, xmppstream.SessionLimits())
}
