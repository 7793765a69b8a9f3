package server

import (
	"context"
	"errors"
	"fmt"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/server/store"
)

// Exists reports whether there is an account.
func (s *Server) Exists(ctx context.Context, owner address.Address) (bool, error) {
	if !s.Hosts(owner.Domain) || owner.Local == "" {
		return false, nil
	}
	if a := s.table.get(owner.Bare()); a != nil && len(a.sessions()) > 0 {
		return true, nil
	}
	known, gone := s.existing.has(owner.Bare())
	if known {
		return true, nil
	}
	_, err := s.cfg.Store.Account(ctx, owner.Bare())
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		s.existing.note(owner.Bare(), gone)
	}
	return err == nil, err
}

// CreateAccount makes an account. Without a password only a client certificate
// can log in to it. It fails with [store.ErrExists], or with
// [saslserver.ErrPassword] for a password that nobody could log in with.
func (s *Server) CreateAccount(ctx context.Context, owner address.Address, password string, admin bool) error {
	if !owner.IsBare() || !s.Hosts(owner.Domain) {
		return fmt.Errorf("%s is no address of an account here: it must be NAME@DOMAIN with one of the domains of this server", owner)
	}
	var keys []store.Keys
	if password != "" {
		var err error
		if keys, err = s.keys(password); err != nil {
			return err
		}
	}
	return s.cfg.Store.CreateAccount(ctx, store.Account{Address: owner, Admin: admin, Created: s.Now()}, keys)
}

// SetPassword replaces an account's password and forgets the tokens that stood for
// the old one. Sessions go on.
func (s *Server) SetPassword(ctx context.Context, owner address.Address, password string) error {
	keys, err := s.keys(password)
	if err != nil {
		return err
	}
	return s.cfg.Store.SetAccountKeys(ctx, owner.Bare(), keys)
}

// keys makes what is kept of a password, for each hash.
func (s *Server) keys(password string) ([]store.Keys, error) {
	keys := make([]store.Keys, 0, len(saslserver.Hashes()))
	for _, h := range saslserver.Hashes() {
		k, err := saslserver.NewKeys(password, h, s.cfg.Iterations)
		if err != nil {
			return nil, err
		}
		keys = append(keys, store.Keys{
			Hash: h.String(), Salt: k.Salt, Iterations: k.Iterations, StoredKey: k.StoredKey, ServerKey: k.ServerKey,
		})
	}
	return keys, nil
}

// Disable makes that nobody can log in to an account, or lets them again. Its
// sessions end.
func (s *Server) Disable(ctx context.Context, owner address.Address, disabled bool) error {
	if err := s.cfg.Store.SetDisabled(ctx, owner.Bare(), disabled); err != nil {
		return err
	}
	if disabled {
		s.endAll(owner, streamError("not-authorized", "This account was disabled."))
	}
	return nil
}

// DeleteAccount removes an account with all that it owns and ends its sessions.
// Before they end, gone is called, so that one of them can be told that it is done.
func (s *Server) DeleteAccount(ctx context.Context, owner address.Address, gone ...func()) error {
	owner = owner.Bare()
	if _, err := s.cfg.Store.Account(ctx, owner); err != nil {
		return err
	}
	for _, f := range s.hooks.accountGone {
		if err := f(ctx, owner); err != nil {
			return err
		}
	}
	if err := s.cfg.Store.DeleteAccount(ctx, owner); err != nil {
		return err
	}
	s.existing.forget(owner)
	for _, f := range gone {
		f()
	}
	s.endAll(owner, streamError("not-authorized", "This account was removed.")) // XEP-0077 §3.2
	s.Forget(owner)
	return nil
}

// Forget forgets what is in memory of an account: it was written past the server, as
// an import does. Sessions that it has keep what they know.
func (s *Server) Forget(owner address.Address) {
	owner = owner.Bare()
	s.existing.forget(owner)
	for _, f := range s.hooks.forget {
		f(owner)
	}
}

// endAll ends the sessions of an account for good, and the connections on which it
// is logged in and has no session yet.
func (s *Server) endAll(owner address.Address, why error) {
	for _, l := range s.unbound(owner) {
		l.end(why)
	}
	for _, one := range s.Sessions(owner) {
		one.gone(why)
	}
}

// unbound are the connections of an account that have no session yet.
func (s *Server) unbound(owner address.Address) (list []*link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		l.mu.Lock()
		if l.account == owner.Bare() && l.session == nil {
			list = append(list, l)
		}
		l.mu.Unlock()
	}
	return list
}

// accounts is the server as saslserver sees it.
type accounts Server

// Credentials looks up what an account logs in with.
func (s *accounts) Credentials(ctx context.Context, owner address.Address, h saslserver.Hash) (c saslserver.Credentials, err error) {
	a, err := s.cfg.Store.Account(ctx, owner)
	if errors.Is(err, store.ErrNotFound) {
		return c, saslserver.ErrNoAccount
	}
	if err != nil {
		return c, err
	}
	c.Disabled = a.Disabled
	if h == 0 {
		return c, nil
	}
	keys, err := s.cfg.Store.AccountKeys(ctx, owner)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return c, err
	}
	for _, k := range keys {
		if k.Hash == h.String() {
			c.Keys = saslserver.Keys{Hash: h, Salt: k.Salt, Iterations: k.Iterations, StoredKey: k.StoredKey, ServerKey: k.ServerKey}
		}
	}
	return c, nil
}

// tokens is the server's store of FAST tokens as saslserver sees it.
type tokens Server

// Tokens gives those of one client of an account.
func (s *tokens) Tokens(ctx context.Context, owner address.Address, client string) ([]saslserver.Token, error) {
	kept, err := s.cfg.Store.Tokens(ctx, owner, client)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	list := make([]saslserver.Token, len(kept))
	for i, t := range kept {
		list[i] = saslserver.Token{Mechanism: t.Mechanism, Secret: t.Secret, Issued: t.Issued, Expires: t.Expires, Count: t.Count}
	}
	return list, nil
}

// PutTokens replaces them.
func (s *tokens) PutTokens(ctx context.Context, owner address.Address, client string, list []saslserver.Token) error {
	keep := make([]store.Token, len(list))
	for i, t := range list {
		keep[i] = store.Token{ClientID: client, Mechanism: t.Mechanism, Secret: t.Secret, Issued: t.Issued, Expires: t.Expires, Count: t.Count}
	}
	return s.cfg.Store.PutTokens(ctx, owner, client, keep)
}
