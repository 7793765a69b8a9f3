package proxy

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// Passthrough: the client's TLS goes end to end. The gateway picks the route
// and the endpoint and insists on TLS before anything else; it sees no stanza,
// so that it can neither judge the certificate nor the login.

// passSTARTTLS speaks both sides' part up to <proceed/> and then moves bytes.
func (s *session) passSTARTTLS() error {
	var up *upstream
	err := s.waitUpstream(func(ctx context.Context) (err error) {
		up, err = s.connectPlain(ctx, policy.STARTTLS)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.respondHeader(); err != nil {
		return err
	}
	if err := s.client.Send([]byte("<stream:features><starttls xmlns='" + xmppstream.NSTLS + "'><required/></starttls></stream:features>")); err != nil {
		return err
	}
	e, err := s.nextFromClient()
	if err != nil {
		return err
	}
	if !e.Is(xmppstream.NSTLS, "starttls") {
		return &xmppstream.Error{Condition: xmppstream.PolicyViolation, Text: "Encryption comes first here: the client must use STARTTLS."}
	}
	if err := s.nothingBehindSTARTTLS(); err != nil {
		return err
	}
	if err := s.waitUpstream(func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, up.close)
		defer stop()
		up.grant()
		return fromServer(up.startTLS())
	}); err != nil {
		return err
	}
	// From here on only TLS may come from the client.
	if err := s.proceed(); err != nil {
		return err
	}
	return s.pipe(s.client.wire, up.conn)
}

// passDirectTLS moves bytes from the client's first TLS message on.
func (s *session) passDirectTLS() error {
	var up *upstream
	err := s.waitUpstream(func(ctx context.Context) (err error) {
		up, err = s.connectPlain(ctx, policy.DirectTLS)
		return err
	})
	if err != nil {
		return err
	}
	return s.pipe(s.client.wire, up.conn)
}

// connectPlain opens an upstream leg of the transport that the client speaks,
// up to the point where TLS starts.
func (s *session) connectPlain(ctx context.Context, transport policy.Transport) (*upstream, error) {
	isolation := s.gw.cfg.Isolate("session", s.domain, s.id)
	s.info.set(func(n *SessionInfo) { n.isolation = isolation.User })
	up, err := s.dial(ctx, s.decision, isolation, func(e policy.Endpoint) bool { return e.Transport == transport },
		func(_ context.Context, up *upstream) error {
			if transport == policy.DirectTLS {
				return nil
			}
			up.on(up.conn, s.live.Limits.PreAuth)
			if err := up.greet(s.name, s.lang); err != nil {
				return err
			}
			if !up.offer.StartTLS {
				return errNoSTARTTLS(s.domain)
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	up.openings = nil // nothing is seen of the login
	s.info.set(func(n *SessionInfo) { n.Endpoint, n.Warnings = up.endpoint.String(), s.warnings(up) })
	return up, s.setUpstream(up)
}

// pipe moves bytes both ways, each direction on its own, with half-closes passed
// on.
func (s *session) pipe(client, server net.Conn) error {
	s.relay.raw.Store(true)
	s.unlessEnded(func() {
		_ = s.socket.SetDeadline(time.Time{})
		_ = server.SetDeadline(time.Time{})
	})
	s.info.setState(stateOnline)
	s.retain(2)
	go s.copyHalf(server, client, &s.info.upBytes)
	go s.copyHalf(client, server, &s.info.downBytes)
	return nil
}

func (s *session) copyHalf(dst, src net.Conn, moved *atomic.Uint64) {
	defer s.release()
	buf := make([]byte, 16<<10)
	_, err := io.CopyBuffer(countingWriter{dst, moved}, onlyReader{src}, buf)
	half, ok := dst.(interface{ CloseWrite() error })
	if err == nil && ok && half.CloseWrite() == nil {
		// The peer has all it will get; what it still has to say must not take forever.
		_ = dst.SetReadDeadline(time.Now().Add(negotiateTime))
		return
	}
	_ = dst.Close()
	_ = src.Close()
}

// onlyReader hides ReadFrom and WriteTo, so that bytes are counted as they go.
type onlyReader struct{ io.Reader }

type countingWriter struct {
	io.Writer
	n *atomic.Uint64
}

func (w countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n.Add(uint64(n))
	return n, err
}
