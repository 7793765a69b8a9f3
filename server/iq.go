package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
)

// iqToSession delivers an IQ to a full address (RFC 6121 §8.5.3).
func (srv *Server) iqToSession(ctx context.Context, st *Stanza) error {
	if one := srv.Session(st.To); one != nil && srv.deliver(ctx, one, st) {
		return nil
	}
	return ErrServiceUnavailable
}

// request answers an IQ on behalf of the server or of an account (RFC 6121
// §8.5.2.1.3, §8.5.2.2.3).
func (srv *Server) request(ctx context.Context, s *Session, at Where, owner address.Address, st *Stanza) {
	if st.Type != "get" && st.Type != "set" {
		srv.asked.answer(st)
		return
	}
	c := st.children[0]
	h := srv.hooks.iq[iqKey{at, c.space, c.name}]
	if h == nil {
		h = srv.hooks.iq[iqKey{at, c.space, ""}]
	}
	switch {
	case c.space == xmppstream.NSSession && st.To.IsZero(): // RFC 3921 §3, which old clients want
		h = func(context.Context, *IQ) ([]byte, error) { return nil, nil }
	case c.space == xmppstream.NSBind: // RFC 6120 §7.1: one resource a stream
		h = func(context.Context, *IQ) ([]byte, error) { return nil, ErrNotAllowed }
	}
	if h == nil {
		srv.refuse(ctx, s, st, ErrServiceUnavailable)
		return
	}
	reply := srv.answer(st, func(payload *xmppstream.Node) ([]byte, error) {
		return h(ctx, &IQ{Stanza: st, Session: s, Payload: payload, Owner: owner})
	})
	switch {
	case reply == nil:
	case s != nil:
		srv.deliver(ctx, s, reply)
	default:
		_ = srv.Route(ctx, reply)
	}
}

// answer makes the reply to a request of what a handler gives: nil when that has
// sent it.
func (srv *Server) answer(st *Stanza, handle func(payload *xmppstream.Node) ([]byte, error)) *Stanza {
	n := st.Node()
	if len(n.Children) != 1 {
		return st.Error(ErrBadRequest)
	}
	reply, err := handle(n.Children[0])
	if errors.Is(err, ErrAnswered) {
		return nil
	}
	if err != nil {
		return st.Error(srv.stanzaError(err))
	}
	return st.Result(reply)
}

// asked are requests of the server's own that wait for an answer.
type asked struct {
	mu   sync.Mutex
	open map[askedKey]*question
}

type askedKey struct {
	by, of address.Address
	id     string
}

type question struct {
	timer    *time.Timer
	answered func(reply *Stanza)
}

func (a *asked) init() { a.open = make(map[askedKey]*question) }

// Ask sends a request and returns at once. answered is called once, on a goroutine
// of its own, with the result or the error, or with nil when none came in time.
// q.From is a domain of the server's or a bare address here, and q.ID is not used
// twice at the same time between the same two.
func (srv *Server) Ask(ctx context.Context, q *Stanza, timeout time.Duration, answered func(reply *Stanza)) {
	key := askedKey{q.From, q.To, q.ID}
	w := &question{answered: answered}
	srv.asked.mu.Lock()
	srv.asked.open[key] = w
	w.timer = time.AfterFunc(timeout, func() { srv.asked.take(key, w, nil) })
	srv.asked.mu.Unlock()
	srv.route(ctx, nil, q)
}

// answer takes a result or an error that came for the server or an account.
func (a *asked) answer(st *Stanza) {
	key := askedKey{st.To, st.From, st.ID}
	a.mu.Lock()
	w := a.open[key]
	a.mu.Unlock()
	if w != nil && w.timer.Stop() {
		go a.take(key, w, st)
	}
}

// take ends the waiting for an answer.
func (a *asked) take(key askedKey, w *question, reply *Stanza) {
	a.mu.Lock()
	if a.open[key] == w {
		delete(a.open, key)
	}
	a.mu.Unlock()
	w.answered(reply)
}
