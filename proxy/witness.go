package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/internal/wire"
	"xmpp-gw/policy"
)

// lookTime bounds a second look: a circuit, and what comes before the server's key.
// The first connection waits meanwhile, and servers end those that say nothing for
// too long.
const lookTime = 30 * time.Second

// secondLook is a look at the key of up's endpoint over another circuit than
// isolation's, a new one each time; nil for a route on which there are no circuits, and
// where nobody will ask. With witness = "always" it has begun when this returns, so
// that it costs little time; otherwise it begins when it is called, which is seldom. It
// ends with ctx.
func (s *session) secondLook(ctx context.Context, d policy.Decision, up *upstream, isolation egress.Isolation) tlsauth.Look {
	if !d.Route.ViaTor() || d.Witness == policy.WitnessOff || len(d.Pins) > 0 || up.endpoint.Onion() && !upgraded(d, up.endpoint) {
		return nil
	}
	other := s.gw.cfg.Isolate("witness", isolation.User, randomID())
	first := upstream{endpoint: up.endpoint, tlsa: up.tlsa}
	look := func(ctx context.Context) (string, error) { return s.look(ctx, d, first, other) }
	if d.Witness != policy.WitnessAlways {
		return look
	}
	type answer struct {
		key string
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		key, err := look(ctx)
		answers <- answer{key, err}
	}()
	return func(ctx context.Context) (string, error) {
		select {
		case a := <-answers:
			return a.key, a.err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// look sees a key where first goes, once: of a server that proves itself in the same
// way, by its certificate or by the records that DNS has of it. It says nothing of the
// account, and asks for no more than the handshake needs. It runs beside the session's
// negotiation, and changes nothing of the session.
func (s *session) look(ctx context.Context, d policy.Decision, first upstream, isolation egress.Isolation) (string, error) {
	d.Pin, d.SCT, d.Witness = policy.PinOff, policy.SCTOff, policy.WitnessOff
	d.ClientCert = "" // it would tell who looks
	if d.Mode == policy.Report {
		d.Mode, d.MinTLS, d.PQ = policy.Enforce, tls.VersionTLS12, policy.PQPrefer // objections are the first connection's
	}
	within, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	key, err := s.lookOver(within, d, first, isolation)
	var way *egress.Error
	switch {
	case err != nil && ctx.Err() == nil && within.Err() != nil:
		err = errors.New("the second circuit, or the server at its end, was too slow")
	case errors.As(err, &way):
		err = errors.New(way.What) // its hint is for the first connection
	}
	return key, err
}

func (s *session) lookOver(ctx context.Context, d policy.Decision, first upstream, isolation egress.Isolation) (string, error) {
	w, err := s.way(ctx, d, isolation)
	if err != nil {
		return "", err
	}
	if !upgraded(d, first.endpoint) {
		return s.keyOver(ctx, d, first, w)
	}
	// Nobody is between Tor and an onion address: the question is whose it is.
	named := make(chan error, 1)
	go func() { named <- s.namedAgain(ctx, d, w, first.endpoint) }()
	key, err := s.keyOver(ctx, d, first, w)
	if other := <-named; other != nil {
		return "", other
	}
	return key, err
}

// keyOver sees the key at the other end of w.
func (s *session) keyOver(ctx context.Context, d policy.Decision, first upstream, w *way) (string, error) {
	conn, err := w.DialContext(ctx, "tcp", first.endpoint.Address())
	if err != nil {
		return "", err
	}
	up := &upstream{endpoint: first.endpoint, tlsa: first.tlsa}
	up.wire = wire.New(conn)
	up.conn = up.wire
	up.grant()
	defer up.release()
	defer up.close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := s.negotiateUpstream(ctx, up, d); err != nil {
		return "", err
	}
	if up.tls == nil {
		return "", errors.New("there is no TLS at the end of the second circuit")
	}
	return up.tls.SPKI, nil
}

// tell logs what the server was let pass with. Status says more.
func (s *session) tell(up *upstream) {
	if up.tls == nil {
		return
	}
	if up.tls.Logs.Warns {
		s.log().Warn("public logs do not vouch for the server's certificate", "logs", up.tls.Logs.Text)
	}
	if up.tls.Witness.Warns {
		s.log().Warn("a second look does not bear out the server's key", "witness", up.tls.Witness.Text)
	}
}
