package archive

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// Choice is whose messages are kept (XEP-0313, archiving preferences).
type Choice string

// The choices.
const (
	Always Choice = "always"
	Never  Choice = "never"
	Roster Choice = "roster" // of contacts in the roster
)

// account is what is in memory of an account.
type account struct {
	preferences atomic.Pointer[preferences]
	changes     sync.Mutex // makes the storage and the memory change in one order
}

func (a *account) weight() int {
	p := a.preferences.Load()
	return 1 + len(p.always) + len(p.never)
}

func (m *module) load(ctx context.Context, owner address.Address) (*account, error) {
	p, err := m.loadPreferences(ctx, owner)
	if err != nil {
		return nil, err
	}
	a := &account{}
	a.preferences.Store(p)
	return a, nil
}

// preferences are one account's. They are not changed.
type preferences struct {
	choice        Choice
	always, never []address.Address
}

// Limits of an account's preferences.
const (
	maxExceptions  = 1000
	preferencesKey = "preferences"
	documentKind   = "archive"
)

// wants reports whether messages from or to with are kept. A full address is
// looked for before the bare one, and the exceptions before the default.
func (p *preferences) wants(ctx context.Context, contacts Contacts, owner, with address.Address) (bool, error) {
	for _, a := range []address.Address{with, with.Bare()} {
		if slices.Contains(p.never, a) {
			return false, nil
		}
		if slices.Contains(p.always, a) {
			return true, nil
		}
	}
	switch p.choice {
	case Never:
		return false, nil
	case Roster:
		if with.Bare() == owner {
			return true, nil
		}
		return contacts.InRoster(ctx, owner, with.Bare())
	}
	return true, nil
}

func (p *preferences) append(b []byte) []byte {
	b = append(append(append(b, "<prefs xmlns='"+NS+"' default='"...), p.choice...), "'>"...)
	for _, l := range []struct {
		name string
		jids []address.Address
	}{{"always", p.always}, {"never", p.never}} {
		b = append(append(append(b, '<'), l.name...), '>')
		for _, j := range l.jids {
			b = append(xmppstream.Escape(append(b, "<jid>"...), j.String()), "</jid>"...)
		}
		b = append(append(append(b, "</"...), l.name...), '>')
	}
	return append(b, "</prefs>"...)
}

func parsePreferences(n *xmppstream.Node) (*preferences, error) {
	p := &preferences{choice: Choice(n.Attr("default"))}
	switch p.choice {
	case Always, Never, Roster:
	default:
		return nil, server.ErrBadRequest.Because("The default is always, never or roster.")
	}
	for name, list := range map[string]*[]address.Address{"always": &p.always, "never": &p.never} {
		c := n.Child(NS, name)
		if c == nil {
			continue
		}
		if len(c.Children) > maxExceptions {
			return nil, server.ErrPolicyViolation.Because("There are too many exceptions.")
		}
		for _, j := range c.Children {
			if !j.Is(NS, "jid") {
				return nil, server.ErrBadRequest
			}
			a, err := address.Parse(j.Text)
			if err != nil {
				return nil, server.ErrJIDMalformed
			}
			if !slices.Contains(*list, a) {
				*list = append(*list, a)
			}
		}
	}
	return p, nil
}

func (m *module) loadPreferences(ctx context.Context, owner address.Address) (*preferences, error) {
	raw, err := m.storage.Document(ctx, owner, documentKind, preferencesKey)
	if errors.Is(err, store.ErrNotFound) {
		return &preferences{choice: m.Default}, nil
	}
	if err != nil {
		return nil, err
	}
	n, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
	if err != nil {
		return nil, err
	}
	return parsePreferences(n)
}

// prefs shows or changes the preferences.
func (m *module) prefs(ctx context.Context, q *server.IQ) ([]byte, error) {
	if !q.Own() {
		return nil, server.ErrForbidden
	}
	e, err := m.accounts.Hold(ctx, q.Owner)
	if err != nil {
		return nil, err
	}
	defer e.Release()
	if q.Type == "get" {
		return e.Value.preferences.Load().append(nil), nil
	}
	p, err := parsePreferences(q.Payload)
	if err != nil {
		return nil, err
	}
	e.Value.changes.Lock()
	defer e.Value.changes.Unlock()
	raw := p.append(nil)
	if err := m.storage.PutDocument(ctx, q.Owner, documentKind, preferencesKey, raw, 1); err != nil {
		return nil, err
	}
	e.Value.preferences.Store(p)
	return raw, nil
}
