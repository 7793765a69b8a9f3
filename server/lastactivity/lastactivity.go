// Package lastactivity tells contacts how long somebody has been away (XEP-0012),
// and how long the server is up. It is not among the standard modules unless asked
// for: when people are at their machines is a pattern of their lives.
package lastactivity

import (
	"context"
	"errors"
	"strconv"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// NS is the namespace of last activity.
const NS = "jabber:iq:last"

// Subscriptions says whether an account lets an address see its presence.
type Subscriptions interface {
	Sees(ctx context.Context, owner, contact address.Address) (bool, error)
}

// New makes the module.
func New(accounts store.Accounts, subscriptions Subscriptions) server.Module {
	return &module{accounts: accounts, subscriptions: subscriptions}
}

type module struct {
	accounts      store.Accounts
	subscriptions Subscriptions
	server        *server.Server
	started       time.Time
}

func (*module) Name() string { return "last activity" }

func (m *module) Setup(r *server.Registry) error {
	m.server = r.Server()
	m.started = m.server.Now()
	r.Feature(server.AtServer|server.AtAccount, NS)
	r.IQ(server.AtServer, NS, "query", func(_ context.Context, q *server.IQ) ([]byte, error) {
		if q.Type != "get" {
			return nil, server.ErrNotAllowed
		}
		return seconds(m.server.Now().Sub(m.started)), nil
	})
	r.IQ(server.AtAccount, NS, "query", m.account)
	return nil
}

// account answers for an account: zero while somebody is there (XEP-0012 §4). Who
// may not see the presence is told so.
func (m *module) account(ctx context.Context, q *server.IQ) ([]byte, error) {
	if q.Type != "get" {
		return nil, server.ErrNotAllowed
	}
	if !q.Own() {
		sees, err := m.subscriptions.Sees(ctx, q.Owner, q.From.Bare())
		if err != nil {
			return nil, err
		}
		if !sees {
			return nil, server.ErrForbidden
		}
	}
	for _, s := range m.server.Sessions(q.Owner) {
		if s.Available() {
			return seconds(0), nil
		}
	}
	a, err := m.accounts.Account(ctx, q.Owner)
	if errors.Is(err, store.ErrNotFound) || err == nil && a.LastSeen.IsZero() {
		return nil, server.ErrItemNotFound
	}
	if err != nil {
		return nil, err
	}
	return seconds(m.server.Now().Sub(a.LastSeen)), nil
}

func seconds(d time.Duration) []byte {
	return []byte("<query xmlns='" + NS + "' seconds='" + strconv.FormatInt(int64(max(d, 0)/time.Second), 10) + "'/>")
}
