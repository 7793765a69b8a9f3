package invite

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/dataform"
	"xmpp-gw/server/store"
)

// NSPreauth is the namespace of the token that a guest shows.
const NSPreauth = "urn:xmpp:pars:0"

// The commands' nodes (XEP-0401 §3) and the form of their result.
const (
	NodeInvite        = "urn:xmpp:invite#invite"
	NodeCreateAccount = "urn:xmpp:invite#create-account"
	formInvitation    = "urn:xmpp:invite#invitation"
)

// Roster is what invitations need of the roster.
type Roster interface {
	Sees(ctx context.Context, owner, contact address.Address) (bool, error)
	// Subscription does what the owner's presence of this type to the contact does.
	Subscription(ctx context.Context, owner, contact address.Address, typ string) error
	// Approve grants a contact's request before it comes.
	Approve(ctx context.Context, owner, contact address.Address) error
}

// Module is what a server does with invitations. It belongs between what blocks
// people and the roster, as it looks at requests before the roster answers them. By
// the commands users make invitations; register says that accounts can be made with
// them.
func (v *Invitations) Module(roster Roster, commands *adhoc.Commands, register bool) *Module {
	m := &Module{Invitations: v, roster: roster, register: register}
	commands.Add(
		adhoc.Command{Node: NodeInvite, Name: "Invite somebody", Start: m.invite},
		adhoc.Command{
			Node: NodeCreateAccount, Name: "Invite somebody to make an account",
			Allowed: m.mayInviteAccounts, Start: adhoc.Ask(accountForm, m.createAccount),
		},
	)
	return m
}

// Module is invitations as part of a server.
type Module struct {
	*Invitations
	roster   Roster
	register bool
	log      *slog.Logger

	ctx  context.Context // ends with the server
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Name implements [server.Module].
func (m *Module) Name() string { return "invitations" }

// Setup implements [server.Module].
func (m *Module) Setup(r *server.Registry) error {
	m.log = r.Server().Log()
	m.ctx, m.stop = context.WithCancel(context.Background())
	r.Inbound(m.request)
	r.Lifecycle(nil, func(context.Context) { m.stop(); m.wg.Wait() })
	return nil
}

// request looks at requests for subscription that come with a token (XEP-0379 §3.5):
// with a good one the roster answers at once, and the inviter asks in turn. A bad
// token is as none (§4.1).
func (m *Module) request(ctx context.Context, owner address.Address, st *server.Stanza) (*server.Stanza, error) {
	if st.Kind != server.Presence || st.Type != "subscribe" || !st.Has(NSPreauth, "preauth") {
		return st, nil
	}
	guest := st.From.Bare()
	token := st.Node().Child(NSPreauth, "preauth").Attr("token")
	if token == "" || guest == owner {
		return st, nil
	}
	i, err := m.contact(ctx, token, owner, guest)
	if err != nil || i == nil {
		return st, err
	}
	// A request that repeats itself needs no invitation.
	if sees, err := m.roster.Sees(ctx, owner, guest); err != nil || sees {
		return st, err
	}
	if err := m.Use(ctx, i); errors.Is(err, ErrInvalid) {
		return st, nil // somebody else was quicker
	} else if err != nil {
		return nil, err
	}
	if err := m.roster.Approve(ctx, owner, guest); err != nil {
		return nil, err
	}
	// The inviter's own request is a stanza of theirs, which waits for others of
	// theirs; the guest's must not wait for it.
	m.wg.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, time.Minute)
		defer cancel()
		if err := m.roster.Subscription(ctx, owner, guest, "subscribe"); err != nil {
			m.log.Warn("an inviter could not ask a guest for their presence", "error", err)
		}
	})
	return st, nil
}

// Befriend makes an inviter and a guest contacts that see each other, as if each had
// approved and then asked the other (XEP-0401 §5.4).
func (m *Module) Befriend(ctx context.Context, inviter, guest address.Address) error {
	for _, pair := range [][2]address.Address{{inviter, guest}, {guest, inviter}} {
		if err := m.roster.Approve(ctx, pair[0], pair[1]); err != nil {
			return err
		}
	}
	return errors.Join(
		m.roster.Subscription(ctx, guest, inviter, "subscribe"),
		m.roster.Subscription(ctx, inviter, guest, "subscribe"),
	)
}

// mayInviteAccounts says whose guests may make accounts.
func (m *Module) mayInviteAccounts(ctx context.Context, account address.Address) (bool, error) {
	if !m.register || m.options.UsersInviteAccounts {
		return m.register, nil
	}
	a, err := m.storage.Account(ctx, account)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return a.Admin, err
}

// invite makes a user invitation (XEP-0401 §5.1).
func (m *Module) invite(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
	account, err := m.mayInviteAccounts(ctx, c.Caller)
	if err != nil {
		return nil, err
	}
	i, uri, err := m.Create(ctx, Request{Domain: c.Domain, Inviter: c.Caller, Contact: true, Account: account})
	return result(i, uri, err)
}

var accountForm = dataform.Form{
	Title:        "Invite somebody to make an account",
	Instructions: "The answer is a link for one guest.",
	Fields: []dataform.Field{
		{Var: "username", Type: dataform.TextSingle, Label: "Name that is kept for the guest; empty for one of their choice"},
		{Var: "roster-subscription", Type: dataform.Boolean, Label: "The guest becomes your contact", Values: []string{"0"}},
	},
}

// createAccount makes an invitation to an account (XEP-0401 §5.3).
func (m *Module) createAccount(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
	contact := false
	if c.Form.Has("roster-subscription") {
		var ok bool
		if contact, ok = dataform.Truth(c.Form.Value("roster-subscription")); !ok {
			return nil, adhoc.BadPayload("Whether the guest becomes a contact is 0 or 1.")
		}
	}
	i, _, err := m.Create(ctx, Request{
		Domain: c.Domain, Inviter: c.Caller, Account: true, Contact: contact, Local: c.Form.Value("username"),
	})
	return result(i, AccountURI(i), err)
}

// result shows an invitation, or why there is none.
func result(i store.Invite, uri string, err error) (*adhoc.Reply, error) {
	switch {
	case errors.Is(err, ErrTaken):
		return nil, server.ErrConflict.Because("The name is taken.")
	case errors.Is(err, ErrName):
		return nil, server.ErrNotAcceptable.Because("No account can have this name.")
	case errors.Is(err, ErrTooMany):
		return nil, server.ErrResourceConstraint.Because("You have too many unused invitations; use some, or wait until they expire.")
	case err != nil:
		return nil, err
	}
	return &adhoc.Reply{Form: &dataform.Form{Type: dataform.TypeResult, FormType: formInvitation, Fields: []dataform.Field{
		{Var: "uri", Type: dataform.TextSingle, Label: "Link for the guest", Values: []string{uri}},
		{Var: "expire", Type: dataform.TextSingle, Label: "Good until", Values: []string{i.Expires.UTC().Format(time.RFC3339)}},
	}}}, nil
}
