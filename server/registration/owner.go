package registration

import (
	"context"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
)

// owner answers who has logged in (XEP-0077 §3.2, §3.3).
func (m *module) owner(ctx context.Context, q *server.IQ) ([]byte, error) {
	if q.Session == nil {
		return nil, server.ErrForbidden
	}
	account := q.Session.Owner()
	switch {
	case q.Owner != (address.Address{}) && q.Owner != account:
		return nil, server.ErrForbidden // somebody else's
	case q.To.Domain != "" && q.To.Domain != account.Domain:
		return nil, server.ErrRegistrationRequired // of another domain here
	}
	if q.Type == "get" {
		b := xmppstream.Escape([]byte("<query xmlns='"+NS+"'><registered/><username>"), account.Local)
		return append(b, "</username><password/></query>"...), nil
	}
	if m.Fixed {
		return nil, server.ErrNotAllowed.Because("Accounts are managed elsewhere here; ask the operator.")
	}
	if q.Payload.Child(NS, "remove") != nil {
		if len(q.Payload.Children) != 1 {
			return nil, server.ErrBadRequest
		}
		return nil, m.remove(ctx, q, account)
	}
	return nil, m.setPassword(ctx, q, account)
}

// managed reports a session that may do as its owner does: not one that logged in
// with a certificate, which may be a machine's (XEP-0257 §5.2).
func managed(s *server.Session) error {
	if _, byCertificate := s.Certificate(); byCertificate {
		return server.ErrNotAuthorized.Because("This client logged in with a certificate; use one that knows the password.")
	}
	return nil
}

// remove removes the account with all that it owns. The client is told so before its
// stream ends.
func (m *module) remove(ctx context.Context, q *server.IQ, account address.Address) error {
	if err := managed(q.Session); err != nil {
		return err
	}
	err := m.server.DeleteAccount(context.WithoutCancel(ctx), account, func() {
		_ = q.Session.SendIn(ctx, q.Stanza.Result(nil))
	})
	if err != nil {
		return refusal(err)
	}
	return server.ErrAnswered
}

// changes bounds how often one account changes its password, as each time costs the
// server some work.
var changes = Rate{10, time.Minute}

// setPassword changes the password (§3.3).
func (m *module) setPassword(ctx context.Context, q *server.IQ, account address.Address) error {
	if err := managed(q.Session); err != nil {
		return err
	}
	f, err := filled(q.Payload, nsPassword)
	if err != nil {
		return err
	}
	if f.username == "" || f.password == "" {
		return server.ErrBadRequest.Because("A name and a password are needed.")
	}
	// Some clients write the whole address.
	if named, err := address.Parse(f.username); err != nil || named != account {
		if named, err = address.Account(f.username, account.Domain); err != nil || named != account {
			return server.ErrForbidden.Because("This is not the name of your account.")
		}
	}
	if why := m.Passwords.Check(f.password, account.Local); why != "" {
		return server.ErrNotAcceptable.Because(why)
	}
	if !m.changes.allow(account.String(), changes, m.server.Now()) {
		return server.ErrResourceConstraint.Because("The password was changed too often; try again later.")
	}
	return refusal(m.server.SetPassword(context.WithoutCancel(ctx), account, f.password))
}
