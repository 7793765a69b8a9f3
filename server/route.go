package server

import (
	"context"
	"errors"

	"xmpp-gw/internal/address"
)

// sent takes a stanza from the session that sent it.
func (srv *Server) sent(ctx context.Context, s *Session, st *Stanza) {
	for _, f := range srv.hooks.outbound {
		next, err := f(ctx, s, st)
		if err != nil {
			srv.refuse(ctx, s, st, err)
			return
		}
		if next == nil {
			return
		}
		st = next
	}
	if st.Kind == Presence && st.To.IsZero() {
		srv.ownPresence(s, st)
		return
	}
	srv.route(ctx, s, st)
}

// ownPresence is what the core does with a broadcast that no module took: it knows
// who is available (RFC 6121 §4), and tells nobody.
func (srv *Server) ownPresence(s *Session, st *Stanza) {
	if st.Type == "" || st.Type == "unavailable" {
		s.SetPresence(st)
	}
}

// refuse answers a stanza that a filter or a handler did not take.
func (srv *Server) refuse(ctx context.Context, s *Session, st *Stanza, err error) {
	if !st.answerable() {
		return
	}
	reply := st.Error(srv.stanzaError(err))
	if s != nil {
		srv.deliver(ctx, s, reply)
		return
	}
	_ = srv.Route(ctx, reply)
}

// stanzaError is what an error is to the sender.
func (srv *Server) stanzaError(err error) *StanzaError {
	var e *StanzaError
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, errGone) || errors.Is(err, errFull) {
		return ErrResourceConstraint // of a session that is about to end
	}
	srv.log.Error("a stanza could not be processed", "error", err)
	return ErrInternalServerError
}

// Route takes a stanza to where it is addressed, as if it had just come from
// st.From, but for the Outbound hooks (RFC 6121 §8). Its error is that the stanza
// cannot be routed at all; what becomes of it later its sender learns.
func (srv *Server) Route(ctx context.Context, st *Stanza) error {
	if st.To.IsZero() {
		return errors.New("server: a stanza without an address cannot be routed")
	}
	srv.route(ctx, nil, st)
	return nil
}

// route goes by the address. s is the sender's session, nil without one.
func (srv *Server) route(ctx context.Context, s *Session, st *Stanza) {
	to := st.To
	switch {
	case to.IsZero(): // an IQ: the sender's own account answers (RFC 6120 §10.3.3)
		srv.toAccount(ctx, s, s.owner, st)
	case !srv.Hosts(to.Domain):
		srv.refuse(ctx, s, st, ErrRemoteServerNotFound) // §10.4
	case to.Local == "":
		srv.toServer(ctx, s, st)
	default:
		srv.toAccount(ctx, s, to.Bare(), st)
	}
}

// toServer takes what is addressed to a domain (RFC 6120 §10.5.1 and §10.5.2).
func (srv *Server) toServer(ctx context.Context, s *Session, st *Stanza) {
	switch {
	case st.Kind == Presence:
	case st.Kind == IQStanza && st.To.Resource == "":
		srv.request(ctx, s, AtServer, address.Address{}, st)
	default:
		srv.refuse(ctx, s, st, ErrServiceUnavailable)
	}
}

// toAccount takes what is addressed to an account or to one of its sessions.
func (srv *Server) toAccount(ctx context.Context, s *Session, owner address.Address, st *Stanza) {
	if ok, err := srv.Exists(ctx, owner); err != nil {
		srv.refuse(ctx, s, st, err)
		return
	} else if !ok {
		if st.Kind == IQStanza || st.Kind == Message && st.Type != "headline" { // §8.5.1
			srv.refuse(ctx, s, st, ErrServiceUnavailable)
		}
		return
	}
	for _, f := range srv.hooks.inbound {
		next, err := f(ctx, owner, st)
		if err != nil {
			srv.refuse(ctx, s, st, err)
			return
		}
		if next == nil {
			return
		}
		st = next
	}
	var err error
	switch st.Kind {
	case Message:
		err = srv.message(ctx, owner, st)
	case Presence:
		srv.directed(ctx, owner, st)
	case IQStanza:
		if st.To.Resource == "" {
			srv.request(ctx, s, AtAccount, owner, st)
			return
		}
		err = srv.iqToSession(ctx, st)
	}
	if err != nil {
		srv.refuse(ctx, s, st, err)
	}
}

// message delivers a message by the tables of RFC 6121 §8.5.
func (srv *Server) message(ctx context.Context, owner address.Address, st *Stanza) error {
	sessions := srv.Sessions(owner)
	if st.To.Resource != "" {
		for _, one := range sessions { // §8.5.3.1
			if one.jid == st.To && srv.deliver(ctx, one, st) {
				srv.delivered(ctx, owner, st, []*Session{one})
				return nil
			}
		}
		switch st.Type { // §8.5.3.2.1
		case "headline", "error":
			return nil
		case "chat": // as if to the bare address
		default:
			return ErrServiceUnavailable
		}
	}
	switch st.Type { // §8.5.2.1.1, §8.5.2.2.1
	case "groupchat":
		return ErrServiceUnavailable
	case "error":
		return nil
	}
	if to := srv.deliverBest(ctx, sessions, st); to != nil {
		srv.delivered(ctx, owner, st, to)
		return nil
	}
	if st.Type == "headline" {
		return nil
	}
	return srv.undelivered(ctx, owner, st)
}

// deliverBest delivers to the most available sessions: those that share the highest
// priority, of those that are not negative; a headline goes to all of these.
func (srv *Server) deliverBest(ctx context.Context, sessions []*Session, st *Stanza) (to []*Session) {
	best := int8(0)
	if st.Type != "headline" {
		for _, one := range sessions {
			if one.Available() {
				best = max(best, one.Priority())
			}
		}
	}
	for _, one := range sessions {
		if one.Available() && one.Priority() >= best && srv.deliver(ctx, one, st) {
			to = append(to, one)
		}
	}
	return to
}

// deliver queues a stanza for a session, and reports whether that took it.
func (srv *Server) deliver(ctx context.Context, s *Session, st *Stanza) bool {
	return s.queue(st, batchOf(ctx)) == nil
}

func (srv *Server) delivered(ctx context.Context, owner address.Address, st *Stanza, to []*Session) {
	for _, f := range srv.hooks.delivered {
		f(ctx, owner, st, to)
	}
}

// undelivered offers a message that no session takes to the modules.
func (srv *Server) undelivered(ctx context.Context, owner address.Address, st *Stanza) error {
	for _, f := range srv.hooks.undelivered {
		taken, err := f(ctx, owner, st)
		if taken || err != nil {
			return err
		}
	}
	return ErrServiceUnavailable
}

// directed delivers a presence that no module took (§8.5.2.1.2, §8.5.3.1).
func (srv *Server) directed(ctx context.Context, owner address.Address, st *Stanza) {
	if st.Type == "probe" { // never to a client
		return
	}
	for _, one := range srv.Sessions(owner) {
		if one.jid == st.To || st.To.Resource == "" && one.Available() {
			srv.deliver(ctx, one, st)
		}
	}
}

// again finds another place for what a session that has ended did not receive for
// certain (XEP-0198 §5).
func (srv *Server) again(ctx context.Context, gone *Session, list []*Stanza) {
	if len(list) == 0 {
		return
	}
	if ok, err := srv.Exists(ctx, gone.owner); err == nil && !ok {
		for _, st := range list { // it ended because the account did
			if st.From != gone.owner && st.Kind != Presence {
				srv.refuse(ctx, nil, st, ErrServiceUnavailable)
			}
		}
		return
	}
	for _, st := range list {
		switch {
		case st.From == gone.owner, st.isConfirmed():
			// The account's own word (copies, events, history), or another session has it.
		case st.Kind == Message && st.Type != "error" && st.Type != "headline":
			if st.Type != "groupchat" {
				if to := srv.deliverBest(ctx, srv.Sessions(gone.owner), st); to != nil {
					continue
				}
				if srv.undelivered(ctx, gone.owner, st) == nil {
					continue
				}
			}
			srv.refuse(ctx, nil, st, ErrRecipientUnavailable)
		case st.Kind == IQStanza && (st.Type == "get" || st.Type == "set") && !st.From.IsZero() && st.From.Bare() != gone.owner:
			srv.refuse(ctx, nil, st, ErrServiceUnavailable)
		}
	}
}
