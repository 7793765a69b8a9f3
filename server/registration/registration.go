// Package registration lets people make an account, change its password and remove
// it, all from their client (XEP-0077).
//
// Strangers can make accounts only if the operator says so: with an invitation
// (XEP-0445) or, in [Open], without one. Every account's owner can change the
// password and remove the account.
package registration

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/dataform"
	"xmpp-gw/server/invite"
	"xmpp-gw/server/store"
)

// Namespaces of registration.
const (
	NS         = "jabber:iq:register"
	NSFeature  = "http://jabber.org/features/iq-register"
	NSToken    = "urn:xmpp:ibr-token:0"
	nsPassword = "jabber:iq:register:changepassword"
)

// Mode says who can make an account.
type Mode uint8

// The modes.
const (
	Closed   Mode = iota // nobody, from a client
	ByInvite             // who has an invitation
	Open                 // everybody
)

// Options say what is allowed. The zero value lets nobody make an account.
type Options struct {
	Mode      Mode
	Names     Names
	Passwords Passwords
	// Attempts bounds what one peer tries: accounts and invitations, whether it
	// succeeds or not (default: 10, then one in 5 minutes). All bounds what all
	// together try without an invitation (default: 100, then one in 10 seconds).
	Attempts, All Rate
	// Fixed keeps owners from changing passwords and removing accounts, where
	// something else manages them.
	Fixed bool
}

// Invitations is what registration needs of invitations. See server/invite.
type Invitations interface {
	Look(ctx context.Context, token, domain string) (*invite.Invitation, error)
	Use(ctx context.Context, i *invite.Invitation) error
	Return(ctx context.Context, i *invite.Invitation) error
	Kept(ctx context.Context, a address.Address) (bool, error)
	Befriend(ctx context.Context, inviter, guest address.Address) error
}

// New makes the module.
func New(invitations Invitations, o Options) server.Module {
	o.Attempts = o.Attempts.orDefault(Rate{10, 5 * time.Minute})
	o.All = o.All.orDefault(Rate{100, 10 * time.Second})
	return &module{Options: o, invitations: invitations}
}

type module struct {
	Options
	invitations Invitations
	server      *server.Server
	log         *slog.Logger
	peers, all  limiter // of visitors
	changes     limiter // of passwords, by account
}

func (*module) Name() string { return "registration" }

func (m *module) Setup(r *server.Registry) error {
	m.server = r.Server()
	m.log = m.server.Log()
	r.VisitorFeature(m.feature)
	r.VisitorIQ(NS, "query", m.visitor)
	r.VisitorIQ(invite.NSPreauth, "preauth", m.preauth)
	r.Feature(server.AtServer, NS)
	r.IQ(server.AtServer|server.AtAccount, NS, "query", m.owner)
	return nil
}

// feature offers what strangers can do (XEP-0077 §8, XEP-0445 §3).
func (m *module) feature(context.Context, *server.Visitor) []byte {
	if m.Mode == Closed {
		return nil
	}
	return []byte("<register xmlns='" + NSFeature + "'/><register xmlns='" + NSToken + "'/>")
}

// guest is what is kept of a visitor.
type guest struct {
	invitation *invite.Invitation // that was shown, nil for none
	registered bool
}

type guestKey struct{}

func guestOf(v *server.Visitor) *guest {
	g, ok := v.Value[guestKey{}].(*guest)
	if !ok {
		g = &guest{}
		v.Value[guestKey{}] = g
	}
	return g
}

var (
	errTooOften = server.ErrResourceConstraint.Because("There were too many attempts; try again later.")
	errInvite   = server.ErrForbidden.Because("Accounts are made by invitation here: open the link of an invitation.")
	errToken    = server.ErrItemNotFound.Because("The invitation is unknown, used up or expired; ask for another one.")
	errTaken    = server.ErrConflict.Because("The name is taken; choose another one.")
)

// preauth looks at an invitation (XEP-0445 §4). It is not used up before there is
// an account.
func (m *module) preauth(ctx context.Context, v *server.Visitor, q *server.IQ) ([]byte, error) {
	if m.Mode == Closed {
		return nil, server.ErrServiceUnavailable
	}
	token := q.Payload.Attr("token")
	if q.Type != "set" || token == "" {
		return nil, server.ErrBadRequest
	}
	if !m.allowed(v) {
		return nil, errTooOften
	}
	i, err := m.invitations.Look(ctx, token, v.Domain)
	if errors.Is(err, invite.ErrInvalid) {
		return nil, errToken
	}
	if err != nil {
		return nil, err
	}
	guestOf(v).invitation = i
	return nil, nil
}

// allowed counts an attempt of a peer that can be told from others.
func (m *module) allowed(v *server.Visitor) bool {
	return v.Peer == "" || m.peers.allow(v.Peer, m.Attempts, m.server.Now())
}

// visitor answers who has not logged in (XEP-0077 §3.1).
func (m *module) visitor(ctx context.Context, v *server.Visitor, q *server.IQ) ([]byte, error) {
	if m.Mode == Closed {
		return nil, server.ErrServiceUnavailable
	}
	if q.Payload.Child(NS, "remove") != nil {
		return nil, server.ErrUnexpectedRequest // §3.2: nobody knows whose account
	}
	g := guestOf(v)
	if m.Mode == ByInvite && g.invitation == nil {
		return nil, errInvite
	}
	if q.Type == "get" {
		return fields(g.invitation), nil
	}
	if g.registered { // §3.1.1
		return nil, server.ErrNotAcceptable.Because("An account was made on this connection already; log in to it.")
	}
	f, err := filled(q.Payload, NS)
	if err != nil {
		return nil, err
	}
	if f.username == "" || f.password == "" {
		return nil, server.ErrNotAcceptable.Because("A name and a password are needed.")
	}
	owner, err := m.choose(v, g.invitation, f)
	if err != nil {
		return nil, err
	}
	if !m.allowed(v) || g.invitation == nil && !m.all.allow("", m.All, m.server.Now()) {
		return nil, errTooOften
	}
	if err := m.register(context.WithoutCancel(ctx), owner, f.password, g.invitation); err != nil {
		return nil, err
	}
	g.registered = true
	return nil, nil
}

// choose checks what a visitor has chosen.
func (m *module) choose(v *server.Visitor, i *invite.Invitation, f credentials) (address.Address, error) {
	owner, err := address.Account(f.username, v.Domain)
	if err != nil {
		return owner, server.ErrNotAcceptable.Because("The name has characters that no name may have.")
	}
	switch {
	case i != nil && i.Local == owner.Local: // whoever invited has chosen it
	case i != nil && i.Local != "":
		return owner, server.ErrNotAcceptable.Because("The invitation is for the name " + i.Local + ".")
	default:
		if why := m.Names.Check(owner.Local); why != "" {
			return owner, server.ErrNotAcceptable.Because(why)
		}
	}
	if why := m.Passwords.Check(f.password, owner.Local); why != "" {
		return owner, server.ErrNotAcceptable.Because(why)
	}
	return owner, nil
}

// register makes an account and uses up the invitation, if there is one.
func (m *module) register(ctx context.Context, owner address.Address, password string, i *invite.Invitation) error {
	switch there, err := m.server.Exists(ctx, owner); {
	case err != nil:
		return err
	case there:
		return errTaken
	}
	if i == nil || i.Local == "" {
		if kept, err := m.invitations.Kept(ctx, owner); err != nil {
			return err
		} else if kept {
			return errTaken
		}
	}
	if i != nil {
		err := m.invitations.Use(ctx, i)
		if errors.Is(err, invite.ErrInvalid) {
			return errToken
		}
		if err != nil {
			return err
		}
	}
	if err := m.server.CreateAccount(ctx, owner, password, false); err != nil {
		if i != nil {
			if e := m.invitations.Return(ctx, i); e != nil {
				m.log.Warn("an invitation was used up without an account", "error", e)
			}
		}
		return refusal(err)
	}
	if i != nil && i.Contact {
		// The account is there: what is missing now the two can do themselves.
		if err := m.invitations.Befriend(ctx, i.Inviter, owner); err != nil {
			m.log.Warn("a guest and the inviter could not be made contacts", "error", err)
		}
	}
	return nil
}

// refusal is what a client is told of an error of making an account or setting a
// password.
func refusal(err error) error {
	switch {
	case errors.Is(err, store.ErrExists):
		return errTaken
	case errors.Is(err, store.ErrNotFound):
		return server.ErrRegistrationRequired
	case errors.Is(err, saslserver.ErrPassword):
		return server.ErrNotAcceptable.Because("The password is longer than 1024 bytes, or has characters that no password may have.")
	}
	return err
}

// fields are those that a visitor fills in.
func fields(i *invite.Invitation) []byte {
	b := []byte("<query xmlns='" + NS + "'><instructions>Choose a name and a password.</instructions><username>")
	if i != nil {
		b = xmppstream.Escape(b, i.Local)
	}
	return append(b, "</username><password/></query>"...)
}

// credentials is what somebody has filled in.
type credentials struct{ username, password string }

// filled reads it: a form, or else elements (XEP-0077 §5, §6).
func filled(query *xmppstream.Node, formType string) (c credentials, err error) {
	form, err := dataform.Submitted(query, formType)
	if err != nil {
		return c, err
	}
	if form != nil {
		return credentials{form.Value("username"), form.Value("password")}, nil
	}
	for _, n := range query.Children {
		switch {
		case n.Is(NS, "username") && c.username == "":
			c.username = n.Text
		case n.Is(NS, "password") && c.password == "":
			c.password = n.Text
		case n.Is(NS, "username"), n.Is(NS, "password"):
			return c, server.ErrBadRequest.Because("There are two names, or two passwords.")
		}
	}
	return c, nil
}
