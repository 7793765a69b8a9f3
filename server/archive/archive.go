// Package archive keeps the history of each account's conversations and lets the
// owner, and nobody else, read it (XEP-0313).
//
// A message is in the archives of both its sides before either is told that it is
// safe: the acknowledgement that its sender gets (XEP-0198) waits for the disk, so
// that what a client believes sent survives the machine's sudden end.
package archive

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/peraccount"
	"xmpp-gw/server/store"
)

// Namespaces of the archive.
const (
	NS         = "urn:xmpp:mam:2"
	NSExtended = "urn:xmpp:mam:2#extended"
)

const (
	nsStanzaID = "urn:xmpp:sid:0"
	nsHints    = "urn:xmpp:hints"
	nsForward  = "urn:xmpp:forward:0"
	nsDelay    = "urn:xmpp:delay"
)

// Contacts says who is in an account's roster.
type Contacts interface {
	InRoster(ctx context.Context, owner, contact address.Address) (bool, error)
}

// Options say what is kept.
type Options struct {
	// Default is what holds for an account that has set nothing: [Always],
	// [Roster] or [Never].
	Default Choice
	// Retention is how long messages are kept, zero for ever.
	Retention time.Duration
	Contacts  Contacts
}

// Storage is what the archive needs of the store.
type Storage interface {
	store.Archive
	store.Documents
}

// New makes the module.
func New(storage Storage, o Options) server.Module {
	if o.Default == "" {
		o.Default = Always
	}
	m := &module{Options: o, storage: storage}
	m.preferences = peraccount.New(m.loadPreferences, func(p *preferences) int { return 1 + len(p.always) + len(p.never) }, 100_000)
	return m
}

type module struct {
	Options
	storage     Storage
	server      *server.Server
	log         *slog.Logger
	preferences *peraccount.Cache[preferences]
	stopped     chan struct{}
	done        chan struct{}
}

func (*module) Name() string { return "archive" }

func (m *module) Setup(r *server.Registry) error {
	m.server = r.Server()
	m.log = m.server.Log()
	r.Feature(server.AtAccount, NS, NSExtended, nsStanzaID)
	r.IQ(server.AtAccount, NS, "query", m.query)
	r.IQ(server.AtAccount, NS, "metadata", m.metadata)
	r.IQ(server.AtAccount, NS, "prefs", m.prefs)
	r.Outbound(m.sent)
	r.Inbound(m.received)
	r.AccountGone(func(_ context.Context, owner address.Address) error {
		m.preferences.Forget(owner)
		return nil
	})
	if m.Retention > 0 {
		r.Lifecycle(m.start, m.stop)
	}
	return nil
}

// expireEvery is how often old messages are looked for.
const expireEvery = time.Hour

func (m *module) start(context.Context) error {
	m.stopped, m.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(m.done)
		tick := time.NewTicker(expireEvery)
		defer tick.Stop()
		for {
			ctx, cancel := context.WithTimeout(context.Background(), expireEvery)
			if _, err := m.storage.ExpireArchive(ctx, m.server.Now().Add(-m.Retention)); err != nil {
				m.log.Warn("messages beyond the archive's retention could not be removed", "err", err)
			}
			cancel()
			select {
			case <-m.stopped:
				return
			case <-tick.C:
			}
		}
	}()
	return nil
}

func (m *module) stop(context.Context) {
	close(m.stopped)
	<-m.done
}

// sent archives what a session sends, for its own account.
func (m *module) sent(ctx context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
	// What goes to oneself is archived once, on its arrival.
	if st.Kind != server.Message || st.To.IsZero() || st.To.Bare() == s.Owner() || !worth(st) {
		return st, nil
	}
	_, err := m.keep(ctx, s.Owner(), st.To, st)
	return st, err
}

// received archives what arrives for an account, and says so in the message.
func (m *module) received(ctx context.Context, owner address.Address, st *server.Stanza) (*server.Stanza, error) {
	if st.Kind != server.Message {
		return st, nil
	}
	// Only we say where in our archive something is (XEP-0359 §6).
	st = st.Without(func(space, name string, raw []byte) bool {
		return space == nsStanzaID && name == "stanza-id" && claims(raw, owner)
	})
	if !worth(st) {
		return st, nil
	}
	id, err := m.keep(ctx, owner, st.From, st)
	if err != nil || id == "" {
		return st, err
	}
	b := xmppstream.Escape([]byte("<stanza-id xmlns='"+nsStanzaID+"' by='"), owner.String())
	return st.With(append(append(append(b, "' id='"...), id...), "'/>"...)), nil
}

// claims reports a stanza-id in the name of owner's archive, or one that cannot be
// read as it stands there.
func claims(raw []byte, owner address.Address) bool {
	n, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
	if err != nil {
		return true
	}
	by, err := address.Parse(n.Attr("by"))
	return err != nil || by == owner
}

// keep adds st to an account's archive, if the account wants that, and makes the
// sender's acknowledgement wait for the disk. id is empty for what is not kept.
func (m *module) keep(ctx context.Context, owner, with address.Address, st *server.Stanza) (id string, err error) {
	e, err := m.preferences.Hold(ctx, owner)
	if err != nil {
		return "", err
	}
	wanted, err := e.Value.wants(ctx, m.Contacts, owner, with)
	e.Release()
	if err != nil || !wanted {
		return "", err
	}
	ids, pending := m.storage.Archive(ctx, []store.ArchiveAppend{{
		Owner: owner, At: m.server.Now(), With: with, Raw: st.Standalone(),
	}})
	if len(ids) != 1 {
		return "", pending.Err()
	}
	st.Await(pending)
	return ids[0], nil
}

// payloads are what makes a message without a body worth keeping: encrypted ones,
// and what changes the standing of earlier ones.
var payloads = []string{
	"eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2", "urn:xmpp:openpgp:0", "jabber:x:encrypted",
	"urn:xmpp:receipts", "urn:xmpp:chat-markers:0", "urn:xmpp:reactions:0", "urn:xmpp:message-retract:1",
	"urn:xmpp:message-correct:0", "jabber:x:conference",
}

// worth reports whether a message belongs to a conversation (XEP-0313 §5.1.1).
// Its sender's hints go before (XEP-0334 §4).
func worth(st *server.Stanza) bool {
	switch st.Type {
	case "error", "groupchat", "headline":
		return false
	}
	switch {
	case st.Has(nsHints, "no-store"), st.Has(nsHints, "no-permanent-store"):
		return false
	case st.Has(nsHints, "store"), st.Has(xmppstream.NSClient, "body"):
		return true
	}
	return slices.ContainsFunc(payloads, func(ns string) bool { return st.Has(ns, "") })
}

// errFrom makes of a store's error what the client is told.
func errFrom(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return server.ErrItemNotFound
	}
	return err
}
