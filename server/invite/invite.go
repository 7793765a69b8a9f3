// Package invite makes and redeems invitations: a link that lets somebody make an
// account here (XEP-0401, XEP-0445), or become a contact of the inviter at once
// (XEP-0379), or both.
//
//	inv, uri, err := invite.New(st, invite.Options{}).Create(ctx, invite.Request{Domain: "example.org", Account: true})
//	// xmpp:example.org?register;preauth=…
//
// An [Invitations] needs the storage alone, so that it works without a server too.
// [Invitations.Module] is what a server does with invitations: the commands by which
// users make them, and contacts who come with one. Accounts are made by
// server/registration.
package invite

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server/store"
)

// Options bound invitations. Zero fields are the defaults.
type Options struct {
	// Lifetime is how long an invitation can be used (default 7 days).
	Lifetime time.Duration
	// PerUser is how many unused invitations a user can have (default 20). Those of
	// the operator are not counted.
	PerUser int
	// UsersInviteAccounts lets every user invite others to make an account here.
	// Otherwise users invite contacts, and administrators accounts.
	UsersInviteAccounts bool
	// Names says why users may not keep a name for a guest, "" if they may; nil: they
	// may keep any. The operator may in any case.
	Names func(local string) (why string)
	Now   func() time.Time // nil: time.Now
}

// MaxLifetime is the longest time for which an invitation can be used.
const MaxLifetime = 366 * 24 * time.Hour

// Storage is what invitations need of the store.
type Storage interface {
	store.Invites
	store.Accounts
}

// Invitations makes and redeems invitations. It is safe for concurrent use.
type Invitations struct {
	storage Storage
	options Options
}

// New makes one.
func New(s Storage, o Options) *Invitations {
	if o.Lifetime <= 0 {
		o.Lifetime = 7 * 24 * time.Hour
	}
	if o.PerUser <= 0 {
		o.PerUser = 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Invitations{s, o}
}

// Request says what an invitation is for.
type Request struct {
	Domain  string          // where it is used; normalised
	Inviter address.Address // zero for the operator
	Account bool            // an account may be made with it
	Contact bool            // the guest and the inviter become contacts
	// Local is the name that is kept for the guest until the invitation expires;
	// "" lets the guest choose. It is for accounts.
	Local    string
	Lifetime time.Duration // 0: that of the options
	Uses     int           // 0: once
}

// Errors that callers tell apart. What they unwrap from says more, in a sentence.
var (
	// ErrInvalid is for a token that is unknown, used up or expired, or not good
	// for what it was shown for. Which of them is nobody's business.
	ErrInvalid = errors.New("the invitation is unknown, used up or expired")
	// ErrName is for a name that no account can have.
	ErrName = errors.New("no account can have this name")
	// ErrTaken is for a name that an account has, or that is kept for somebody.
	ErrTaken = errors.New("the name is taken")
	// ErrTooMany is for a user with as many invitations as allowed.
	ErrTooMany = errors.New("there are too many unused invitations; use some, or wait until they expire")
)

// Create makes an invitation, and the link that is its other half.
func (v *Invitations) Create(ctx context.Context, r Request) (store.Invite, string, error) {
	now := v.options.Now()
	i := store.Invite{
		Domain: r.Domain, Inviter: r.Inviter.Bare(), Account: r.Account, Contact: r.Contact,
		Created: now, Uses: max(r.Uses, 1), Token: rand.Text(), // 26 signs of base32, 130 bits
	}
	switch {
	case !r.Account && !r.Contact:
		return i, "", errors.New("invite: the invitation is for nothing: neither an account nor a contact")
	case r.Contact && r.Inviter.IsZero():
		return i, "", errors.New("invite: nobody is named whose contact the guest becomes")
	case !r.Inviter.IsZero() && r.Inviter.Domain != r.Domain:
		return i, "", errors.New("invite: the inviter is of another domain")
	case r.Lifetime < 0 || r.Lifetime > MaxLifetime:
		return i, "", fmt.Errorf("an invitation cannot be good for %v: want more than nothing, and at most a year", r.Lifetime)
	case r.Uses < 0:
		return i, "", errors.New("an invitation cannot be used less than once")
	}
	if r.Lifetime == 0 {
		r.Lifetime = v.options.Lifetime
	}
	i.Expires = now.Add(r.Lifetime)
	if r.Local != "" {
		a, err := v.keep(ctx, r)
		if err != nil {
			return i, "", err
		}
		i.Local = a.Local
	}
	if err := v.count(ctx, i, now); err != nil {
		return i, "", err
	}
	if err := v.storage.CreateInvite(ctx, i); err != nil {
		return i, "", err
	}
	return i, URI(i), nil
}

// keep checks that a name can be kept for a guest.
func (v *Invitations) keep(ctx context.Context, r Request) (address.Address, error) {
	a, err := address.Account(r.Local, r.Domain)
	switch {
	case err != nil:
		return a, fmt.Errorf("%w: %w", ErrName, err)
	case !r.Account || r.Uses > 1:
		return a, errors.New("a name is kept for one account: the invitation must be for an account, and be used once")
	}
	if check := v.options.Names; check != nil && !r.Inviter.IsZero() {
		if why := check(a.Local); why != "" {
			return a, fmt.Errorf("%w: %s", ErrName, why)
		}
	}
	_, err = v.storage.Account(ctx, a)
	if err == nil {
		return a, ErrTaken
	}
	if !errors.Is(err, store.ErrNotFound) {
		return a, err
	}
	kept, err := v.Kept(ctx, a)
	if err == nil && kept {
		err = ErrTaken
	}
	return a, err
}

// count bounds the invitations of one user.
func (v *Invitations) count(ctx context.Context, i store.Invite, now time.Time) error {
	if i.Inviter.IsZero() {
		return nil
	}
	list, err := v.storage.ListInvites(ctx, i.Domain, i.Inviter)
	if err != nil {
		return err
	}
	n := 0
	for _, one := range list {
		if usable(one, now) {
			n++
		}
	}
	if n >= v.options.PerUser {
		return ErrTooMany
	}
	return nil
}

// Kept reports whether a name is kept for the guest of an invitation that can still
// be used (XEP-0445 §5).
func (v *Invitations) Kept(ctx context.Context, a address.Address) (bool, error) {
	list, err := v.storage.ListInvites(ctx, a.Domain, address.Address{})
	if err != nil {
		return false, err
	}
	now := v.options.Now()
	for _, i := range list {
		if i.Local == a.Local && usable(i, now) {
			return true, nil
		}
	}
	return false, nil
}

func usable(i store.Invite, now time.Time) bool {
	return i.Uses > 0 && (i.Expires.IsZero() || now.Before(i.Expires))
}

// stands reports whether the inviter's word still counts: an account that was disabled
// lets nobody in either.
func (v *Invitations) stands(ctx context.Context, i store.Invite) (bool, error) {
	if i.Inviter.IsZero() {
		return true, nil
	}
	a, err := v.storage.Account(ctx, i.Inviter)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return !a.Disabled, err
}

// Invitation is one that was shown and found good.
type Invitation struct {
	store.Invite
	shown time.Time
}

// Look finds the invitation with which an account of the domain may be made. It does
// not use it. It fails with [ErrInvalid].
func (v *Invitations) Look(ctx context.Context, token, domain string) (*Invitation, error) {
	now := v.options.Now()
	i, err := v.storage.Invite(ctx, token)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, ErrInvalid
	case err != nil:
		return nil, err
	case !i.Account || i.Domain != domain || !usable(i, now):
		return nil, ErrInvalid
	}
	if ok, err := v.stands(ctx, i); err != nil || !ok {
		return nil, cmp.Or(err, ErrInvalid)
	}
	return &Invitation{i, now}, nil
}

// Use uses up an invitation once. That it was good when it was shown is enough
// (XEP-0445 §4). It fails with [ErrInvalid] when others have used it up.
func (v *Invitations) Use(ctx context.Context, i *Invitation) error {
	_, err := v.storage.UseInvite(ctx, i.Token, i.shown)
	if errors.Is(err, store.ErrNotFound) {
		return ErrInvalid
	}
	return err
}

// Return gives back a use that came to nothing.
func (v *Invitations) Return(ctx context.Context, i *Invitation) error {
	return v.storage.ReturnInvite(ctx, i.Token)
}

// contact finds the invitation with which a guest becomes its inviter's contact
// (XEP-0379 §3.5), nil for a token that is not good for that.
func (v *Invitations) contact(ctx context.Context, token string, inviter, guest address.Address) (*Invitation, error) {
	now := v.options.Now()
	i, err := v.storage.Invite(ctx, token)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil || !i.Contact || i.Inviter != inviter || !usable(i, now) {
		return nil, err
	}
	if ok, err := v.stands(ctx, i); err != nil || !ok {
		return nil, err
	}
	// XEP-0379 §5.2: of which it is known for whom it is, nobody else can use it.
	if i.Local != "" && guest != (address.Address{Local: i.Local, Domain: i.Domain}) {
		return nil, nil
	}
	return &Invitation{i, now}, nil
}

// URI is the link for an invitation (XEP-0401 §5.1). Who has it has the invitation.
func URI(i store.Invite) string {
	if !i.Contact || i.Local != "" {
		return AccountURI(i)
	}
	uri := "xmpp:" + path(i.Inviter) + "?roster;preauth=" + url.QueryEscape(i.Token)
	if i.Account {
		uri += ";ibr=y"
	}
	return uri
}

// AccountURI is the link for the account alone (XEP-0445 §2): clients do not offer
// to use an account that the guest has elsewhere.
func AccountURI(i store.Invite) string {
	return "xmpp:" + path(address.Address{Local: i.Local, Domain: i.Domain}) + "?register;preauth=" + url.QueryEscape(i.Token)
}

// path is an address as a path of RFC 5122 §2.2.
func path(a address.Address) string {
	domain := url.PathEscape(a.Domain)
	if a.Local == "" {
		return domain
	}
	return url.PathEscape(a.Local) + "@" + domain
}
