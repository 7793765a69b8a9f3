package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/control"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/server/invite"
	"xmpp-gw/server/portable"
	"xmpp-gw/server/store"
)

// accountDesk does what is asked about accounts. It is the same in a daemon and for
// a command that opens the node by itself.
type accountDesk struct{ *node }

var _ control.Accounts = accountDesk{}

// ask is what the methods begin with: there is a node, and the account is one of its.
func (d accountDesk) ask(what, jid string) (address.Address, error) {
	if d.node == nil {
		return address.Address{}, &control.Error{What: what, Why: "there is no node", Hint: "set domain under [node]"}
	}
	if !strings.Contains(jid, "@") {
		jid += "@" + d.domain
	}
	a, err := address.Parse(jid)
	switch {
	case err != nil || !a.IsBare():
		return a, &control.Error{What: what, Why: "that is no address of an account", Hint: "write NAME@" + d.domain + ", or only the name"}
	case a.Domain != d.domain:
		return a, &control.Error{What: what, Why: "the node's accounts are at " + d.domain + ", and not at " + a.Domain, Hint: "write NAME@" + d.domain + ", or only the name"}
	}
	return a, nil
}

// accountRefusal is err as the control socket tells it; nil for nil.
func accountRefusal(what string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e
	}
	e := &control.Error{What: what, Why: err.Error()}
	switch {
	case errors.Is(err, store.ErrNotFound):
		e.Why, e.Hint = "there is no such account", "`xmpp-gw account list` shows all"
	case errors.Is(err, store.ErrExists):
		e.Why, e.Hint = "there is one of that name already", "`xmpp-gw account passwd` gives it another password"
	case errors.Is(err, saslserver.ErrPassword):
		e.Hint = "take another password"
	case errors.Is(err, invite.ErrTaken), errors.Is(err, invite.ErrName):
		e.Hint = "take another name"
	}
	return e
}

// describe is an account as it is listed.
func (d accountDesk) describe(a store.Account) control.Account {
	when := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	return control.Account{
		JID: a.Address.String(), Admin: a.Admin, Disabled: a.Disabled,
		Created: when(a.Created), LastSeen: when(a.LastSeen), Sessions: len(d.server.Sessions(a.Address)),
	}
}

func (d accountDesk) account(ctx context.Context, what string, a address.Address) (control.Account, error) {
	one, err := d.db.Account(ctx, a)
	return d.describe(one), accountRefusal(what, err)
}

// Accounts is part of [control.Accounts].
func (d accountDesk) Accounts(ctx context.Context) ([]control.Account, error) {
	const what = "the accounts cannot be listed"
	if _, err := d.ask(what, "x"); err != nil {
		return nil, err
	}
	var list []control.Account
	for a, err := range eachAccount(ctx, d.db, d.domain) {
		if err != nil {
			return nil, accountRefusal(what, err)
		}
		list = append(list, d.describe(a))
	}
	return list, nil
}

// eachAccount goes over the accounts of a domain by name.
func eachAccount(ctx context.Context, db *store.DB, domain string) func(yield func(store.Account, error) bool) {
	const page = 500
	return func(yield func(store.Account, error) bool) {
		after := ""
		for {
			list, err := db.ListAccounts(ctx, domain, after, page)
			if err != nil {
				yield(store.Account{}, err)
				return
			}
			for _, a := range list {
				if !yield(a, nil) {
					return
				}
				after = a.Address.Local
			}
			if len(list) < page {
				return
			}
		}
	}
}

// AddAccount is part of [control.Accounts].
func (d accountDesk) AddAccount(ctx context.Context, n control.NewAccount) (control.Account, error) {
	const what = "the account is not made"
	a, err := d.ask(what, n.JID)
	if err != nil {
		return control.Account{}, err
	}
	if n.Password == "" {
		return control.Account{}, &control.Error{What: what, Why: "it has no password"}
	}
	if err := d.server.CreateAccount(ctx, a, n.Password, n.Admin || slices.Contains(d.appointed, a)); err != nil {
		return control.Account{}, accountRefusal(what, err)
	}
	return d.account(ctx, what, a)
}

// SetPassword is part of [control.Accounts].
func (d accountDesk) SetPassword(ctx context.Context, jid, password string) (control.Account, error) {
	const what = "the password is not changed"
	a, err := d.ask(what, jid)
	if err != nil {
		return control.Account{}, err
	}
	if err := d.server.SetPassword(ctx, a, password); err != nil {
		return control.Account{}, accountRefusal(what, err)
	}
	return d.account(ctx, what, a)
}

// SetDisabled is part of [control.Accounts].
func (d accountDesk) SetDisabled(ctx context.Context, jid string, disabled bool) (control.Account, error) {
	const what = "the account stays as it is"
	a, err := d.ask(what, jid)
	if err != nil {
		return control.Account{}, err
	}
	if err := d.server.Disable(ctx, a, disabled); err != nil {
		return control.Account{}, accountRefusal(what, err)
	}
	return d.account(ctx, what, a)
}

// SetAdmin is part of [control.Accounts].
func (d accountDesk) SetAdmin(ctx context.Context, jid string, admin bool) (control.Account, error) {
	const what = "the account keeps the rights that it has"
	a, err := d.ask(what, jid)
	if err != nil {
		return control.Account{}, err
	}
	if !admin && slices.Contains(d.appointed, a) {
		return control.Account{}, &control.Error{
			What: what, Why: "the configuration names it as an administrator", Hint: "take it out of admins under [node], and start xmpp-gw again",
		}
	}
	if err := d.db.SetAdmin(ctx, a, admin); err != nil {
		return control.Account{}, accountRefusal(what, err)
	}
	return d.account(ctx, what, a)
}

// RemoveAccount is part of [control.Accounts].
func (d accountDesk) RemoveAccount(ctx context.Context, jid string) (control.Account, error) {
	const what = "the account is not removed"
	a, err := d.ask(what, jid)
	if err != nil {
		return control.Account{}, err
	}
	was, err := d.account(ctx, what, a)
	if err != nil {
		return was, err
	}
	return was, accountRefusal(what, d.server.DeleteAccount(ctx, a))
}

// Invite is part of [control.Accounts].
func (d accountDesk) Invite(ctx context.Context, i control.Invitation) (control.Invited, error) {
	const what = "there is no invitation"
	r := invite.Request{Account: true, Local: i.Name, Lifetime: time.Duration(i.Lifetime) * time.Second, Uses: i.Uses}
	if i.Contact != "" {
		a, err := d.ask(what, i.Contact)
		if err != nil {
			return control.Invited{}, err
		}
		if _, err := d.db.Account(ctx, a); err != nil {
			return control.Invited{}, accountRefusal(what, err)
		}
		r.Inviter, r.Contact = a, true
	} else if _, err := d.ask(what, "x"); err != nil {
		return control.Invited{}, err
	}
	if d.registration == "closed" {
		return control.Invited{}, &control.Error{
			What: what, Why: "registration is closed", Hint: "set registration = \"invite\" under [node], or make the account with `xmpp-gw account add`",
		}
	}
	r.Domain = d.domain
	made, uri, err := invite.New(d.db, invite.Options{}).Create(ctx, r)
	if err != nil {
		return control.Invited{}, accountRefusal(what, err)
	}
	return control.Invited{URI: uri, Domain: d.domain, Expires: made.Expires.UTC().Truncate(time.Second), Uses: made.Uses}, nil
}

// Export is part of [control.Accounts].
func (d accountDesk) Export(ctx context.Context, jids []string, w io.Writer) error {
	const what = "nothing is exported"
	if _, err := d.ask(what, "x"); err != nil {
		return err
	}
	var list []address.Address
	for _, jid := range jids {
		a, err := d.ask(what, jid)
		if err == nil {
			_, err = d.db.Account(ctx, a)
		}
		if err != nil {
			return accountRefusal(what, err)
		}
		list = append(list, a)
	}
	if jids == nil {
		for a, err := range eachAccount(ctx, d.db, d.domain) {
			if err != nil {
				return accountRefusal(what, err)
			}
			list = append(list, a.Address)
		}
	}
	return accountRefusal(what, portable.Export(ctx, d.db, list, w))
}

// made is how many accounts an import made.
func made(i control.Imported) (n int) {
	for _, a := range i.Accounts {
		if a.Error == "" {
			n++
		}
	}
	return n
}

// Import is part of [control.Accounts].
func (d accountDesk) Import(ctx context.Context, r io.Reader) (control.Imported, error) {
	const what = "the import ended early"
	var done control.Imported
	if _, err := d.ask("nothing is imported", "x"); err != nil {
		return done, err
	}
	report, err := portable.Import(ctx, d.db, r, portable.ImportOptions{
		Hosts: d.server.Hosts,
		Done:  d.server.Forget, // what it remembers is of before
	})
	for _, a := range report.Accounts {
		one := control.ImportedAccount{
			JID: a.Address.String(), Contacts: a.Contacts, Offline: a.Offline, Archived: a.Archived, Items: a.Items, Weak: a.Weak,
		}
		if a.Err != nil {
			one.Error = a.Err.Error()
		}
		done.Accounts = append(done.Accounts, one)
	}
	done.Notes = report.Notes
	if err == nil {
		err = d.server.Reoffer(ctx)
	}
	if err != nil {
		e := &control.Error{What: what, Why: err.Error()}
		if n := made(done); n > 0 {
			e.Why += fmt.Sprintf("; %d accounts were imported before", n)
			e.Hint = "what was imported stays, and is left as it is when the file is imported again"
		}
		return done, e
	}
	return done, nil
}
