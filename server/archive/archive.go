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
	"sync"
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

// New makes the module. It is behind those that refuse messages, such as block
// lists, and before carbons, whose copies tell what the archive has.
func New(storage Storage, o Options) server.Module {
	if o.Default == "" {
		o.Default = Always
	}
	m := &module{Options: o, storage: storage}
	m.accounts = peraccount.New(m.load, (*account).weight, 100_000)
	return m
}

type module struct {
	Options
	storage  Storage
	server   *server.Server
	log      *slog.Logger
	accounts *peraccount.Cache[account]
	// held keeps what is known of an account in memory while it has sessions.
	held server.SessionSlot[peraccount.Entry[account]]

	cancel context.CancelFunc
	done   chan struct{}
}

func (*module) Name() string { return "archive" }

func (m *module) Setup(r *server.Registry) error {
	switch {
	case m.Contacts == nil:
		return errors.New("the archive has to know who is in a roster, for those who archive only that: give it Contacts")
	case m.Default != Always && m.Default != Roster && m.Default != Never:
		return errors.New("the archive's default is always, roster or never")
	}
	m.server = r.Server()
	m.log = m.server.Log()
	m.held = server.NewSessionSlot[peraccount.Entry[account]](r)
	r.Feature(server.AtAccount, NS, NSExtended, nsStanzaID)
	r.IQ(server.AtAccount, NS, "query", m.query)
	r.IQ(server.AtAccount, NS, "metadata", m.metadata)
	r.IQ(server.AtAccount, NS, "prefs", m.prefs)
	r.Bound(m.bound)
	r.Unbound(m.unbound)
	r.Outbound(m.sent)
	r.Inbound(m.received)
	r.Forget(m.accounts.Forget)
	if m.Retention > 0 {
		r.Lifecycle(m.start, m.stop)
	}
	return nil
}

func (m *module) bound(ctx context.Context, s *server.Session) error {
	e, err := m.accounts.Hold(ctx, s.Owner())
	if err == nil {
		m.held.Set(s, e)
	}
	return err
}

func (m *module) unbound(_ context.Context, s *server.Session) {
	if e := m.held.Get(s); e != nil {
		e.Release()
	}
}

// expireEvery is how often old messages are looked for.
const expireEvery = time.Hour

func (m *module) start(context.Context) error {
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background()) // it ends with stop
	m.done = make(chan struct{})
	go func() {
		defer close(m.done)
		tick := time.NewTicker(expireEvery)
		defer tick.Stop()
		for {
			m.expire(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return nil
}

func (m *module) stop(context.Context) {
	m.cancel()
	<-m.done
}

// expire removes what is older than the retention.
func (m *module) expire(ctx context.Context) {
	_, err := m.storage.ExpireArchive(ctx, m.server.Now().Add(-m.Retention))
	if err != nil && ctx.Err() == nil {
		m.log.Warn("messages beyond the archive's retention could not be removed", "err", err)
	}
}

// sent archives what a session sends, for its own account.
func (m *module) sent(ctx context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
	if st.Kind != server.Message || st.To.IsZero() {
		return st, nil
	}
	st = genuine(st, s.Owner())
	e := m.held.Get(s)
	// What goes to oneself is archived once, on its arrival.
	if e == nil || st.To.Bare() == s.Owner() || !worth(st) {
		return st, nil
	}
	id, err := m.keep(ctx, e.Value, s.Owner(), st.To, st)
	if id != "" {
		st.SetArchived(s.Owner(), id)
	}
	return st, err
}

// received archives what arrives for an account, and says so in the message.
func (m *module) received(ctx context.Context, owner address.Address, st *server.Stanza) (*server.Stanza, error) {
	if st.Kind != server.Message {
		return st, nil
	}
	st = genuine(st, owner)
	if !worth(st) || m.refused(st) {
		return st, nil
	}
	a := m.accounts.Loaded(owner)
	if a == nil {
		e, err := m.accounts.Hold(ctx, owner)
		if err != nil {
			return nil, err
		}
		defer e.Release()
		a = e.Value
	}
	id, err := m.keep(ctx, a, owner, st.From, st)
	if err != nil || id == "" {
		return st, err
	}
	b := make([]byte, 0, 128)
	b = xmppstream.Escape(append(b, "<stanza-id xmlns='"+nsStanzaID+"' by='"...), owner.String())
	return st.WithElement(nsStanzaID, "stanza-id", append(append(append(b, "' id='"...), id...), "'/>"...)), nil
}

// refused reports a message that will come back: one for a session that is not
// there (RFC 6121 §8.5.3.2.1). It is not in the archive of whom it did not reach
// (XEP-0313 §5.1).
func (m *module) refused(st *server.Stanza) bool {
	return st.To.Resource != "" && st.Type != "chat" && m.server.Session(st.To) == nil
}

// genuine takes out what is said of a place in owner's archive: only we know
// (XEP-0359 §3.1).
func genuine(st *server.Stanza, owner address.Address) *server.Stanza {
	if !st.Has(nsStanzaID, "stanza-id") {
		return st
	}
	return st.Without(func(space, name string, raw []byte) bool {
		return space == nsStanzaID && name == "stanza-id" && claims(raw, owner)
	})
}

// claims reports a stanza-id in the name of owner's archive, or one that cannot be
// read as it stands there.
func claims(raw []byte, owner address.Address) bool {
	n, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
	if err != nil {
		return true
	}
	by, err := address.Parse(n.Attr("by"))
	return err != nil || by.Bare() == owner
}

// scratch holds messages on their way to the store, which copies them.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// keep adds st to an account's archive, if the account wants that, and makes the
// sender's acknowledgement wait for the disk. id is empty for what is not kept.
func (m *module) keep(ctx context.Context, a *account, owner, with address.Address, st *server.Stanza) (id string, err error) {
	wanted, err := a.preferences.Load().wants(ctx, m.Contacts, owner, with)
	if err != nil || !wanted {
		return "", err
	}
	buf := scratch.Get().(*[]byte)
	raw := st.AppendStandalone((*buf)[:0])
	ids, pending := m.storage.Archive(ctx, []store.ArchiveAppend{{
		Owner: owner, At: m.server.Now(), With: with, Raw: raw,
	}})
	clear(raw)
	if cap(raw) <= 64<<10 {
		*buf = raw
		scratch.Put(buf)
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
