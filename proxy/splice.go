package proxy

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/websocket"
	"xmpp-gw/internal/xmppstream"
)

// relay is the state of a session that moves stanzas.
type relay struct {
	raw       atomic.Bool // passthrough: bytes, not stanzas
	resumable atomic.Bool // XEP-0198 §5: the server keeps the session when the connection is cut
	pinger    pinger

	mu     sync.Mutex
	halves int         // directions that have seen </stream:stream>
	drain  atomic.Bool // one half has closed: the other may stay quiet only for Limits.Drain
}

// splice starts the two directions. Each is one goroutine that reads from its
// side and writes to the other: a peer that does not read holds up its own
// direction and no other.
func (s *session) splice() {
	// Both legs were negotiated against the clock; from here on silence is the
	// pinger's business.
	s.unlessEnded(func() {
		_ = s.socket.SetDeadline(time.Time{})
		_ = s.up.wire.SetDeadline(time.Time{})
	})
	s.client.r.SetLimits(s.live.Limits.Session)
	s.up.r.SetLimits(upstreamLimits(s.live.Limits.Session))
	if web, ok := s.up.conn.(*websocket.Conn); ok {
		web.SetLimit(messageLimit(upstreamLimits(s.live.Limits.Session)))
	}
	s.up.features, s.up.offer = nil, saslauth.Offer{} // of no more use
	s.info.setState(stateOnline)
	s.gw.tidy.later()
	s.retain(2)
	go s.pump(s.forwardUp, &s.client, &s.up.leg)
	go s.pump(s.forwardDown, &s.up.leg, &s.client)
	s.relay.pinger.start(s)
}

// upstreamLimits leaves room for what servers send and clients do not: a roster
// or an item list in one stanza.
func upstreamLimits(l xmppstream.Limits) xmppstream.Limits {
	l.Bytes *= 16
	l.Elements *= 16
	return l
}

// pump runs one direction until its sender's stream ends.
func (s *session) pump(forward func() error, from, to *leg) {
	defer s.release()
	from.r.Ready = from.wire.Ready
	from.wire.BeforeWait = func() error {
		if err := to.w.Push(); err != nil {
			return &otherLegError{err}
		}
		if s.relay.drain.Load() {
			_ = from.conn.SetReadDeadline(time.Now().Add(s.live.Limits.Drain))
		}
		if from == &s.up.leg {
			s.relay.pinger.waiting()
		}
		return nil
	}
	err := forward()
	if err == nil {
		err = to.w.Flush()
	}
	s.halfClosed(err, from, to)
}

// otherLegError says that a direction ended because the leg it writes to
// failed, which that leg's own reader reports better.
type otherLegError struct{ err error }

func (e *otherLegError) Error() string { return "write: " + e.err.Error() }
func (e *otherLegError) Unwrap() error { return e.err }

// halfClosed is the closing handshake (RFC 6120 §4.4): </stream:stream> from
// one side goes to the other, which may still send what it has, as long as it
// keeps sending.
func (s *session) halfClosed(err error, from, to *leg) {
	drained := s.relay.drain.Load() && errors.Is(err, os.ErrDeadlineExceeded)
	if err != nil && !drained {
		s.end(s.blame(err, from))
		return
	}
	if s.ctx.Err() != nil {
		return // end is under way, and closes the other leg with more to say
	}
	_ = to.conn.SetWriteDeadline(time.Now().Add(s.live.Limits.Drain))
	_ = to.w.Close()
	s.relay.mu.Lock()
	s.relay.halves++
	both := s.relay.halves == 2
	s.relay.mu.Unlock()
	if both || drained {
		s.end(errFinished)
		return
	}
	s.relay.drain.Store(true)
	_ = to.conn.SetReadDeadline(time.Now().Add(s.live.Limits.Drain))
}

// blame finds the leg that err came from: the one that was read or, for a
// failed write, the other one.
func (s *session) blame(err error, from *leg) error {
	var write *otherLegError
	upstreamSide := (from == &s.up.leg) != errors.As(err, &write)
	switch {
	case isRefusal(err):
		return err
	case upstreamSide:
		return &upstreamLost{err: err}
	case errors.Is(err, io.EOF) || write != nil || isNetError(err):
		return errClientGone
	}
	return err
}

// forwardUp moves the client's stanzas to the server.
func (s *session) forwardUp() error {
	w := s.up.w
	for {
		e, err := s.client.follow()
		if err != nil {
			return err
		}
		switch e.Kind {
		case xmppstream.End:
			return nil
		case xmppstream.Whitespace:
			err = w.Raw(e.Raw)
		default:
			if negotiates(e) {
				return &xmppstream.Error{
					Condition: xmppstream.UnsupportedStanzaType,
					Text:      "The stream is negotiated already: TLS, SASL and compression are closed.",
				}
			}
			if isSM(e.Space) && (string(e.Name) == "enable" || string(e.Name) == "resume") {
				s.relay.pinger.hold()
			}
			s.info.upStanzas.Add(1)
			err = w.Element(e)
		}
		if err != nil {
			return &otherLegError{err}
		}
		s.info.upBytes.Add(uint64(len(e.Raw)))
	}
}

// forwardDown moves the server's stanzas to the client, but for what must not
// pass: the gateway's own pings' answers and words of another place to go.
func (s *session) forwardDown() error {
	w := s.client.w
	for {
		e, err := s.up.follow()
		if _, moved := errors.AsType[*websocket.Moved](err); moved {
			return errMoved
		}
		if err != nil {
			return err
		}
		s.relay.pinger.busy()
		switch e.Kind {
		case xmppstream.End:
			return nil
		case xmppstream.Whitespace:
			err = w.Raw(e.Raw)
		default:
			switch {
			case negotiates(e) || e.Is(xmppstream.NSStream, "features"):
				return errServerRenegotiates
			case e.Is(xmppstream.NSStream, "error"):
				return s.streamError(e)
			case s.relay.pinger.answered(e):
				continue
			case isSM(e.Space):
				err = s.streamManagement(e)
			default:
				s.relay.pinger.sees(e)
				err = w.Element(e)
			}
			s.info.downStanzas.Add(1)
		}
		if err != nil {
			return &otherLegError{err}
		}
		s.info.downBytes.Add(uint64(len(e.Raw)))
	}
}

// streamError passes the server's stream error on, unless it sends the client
// elsewhere: then the client is asked to come back through the gateway, which
// alone may follow a redirect (never 6; RFC 6120 §4.9.3.19).
func (s *session) streamError(e *xmppstream.Element) error {
	if e.HasChild(xmppstream.NSStreamErr, "see-other-host") {
		return errMoved
	}
	if err := s.client.w.Element(e); err != nil {
		return &otherLegError{err}
	}
	return nil
}

// streamManagement passes XEP-0198 answers on, without the address at which
// the server would like to be resumed (XEP-0198 §3: location), and keeps in
// mind that a session can be resumed.
func (s *session) streamManagement(e *xmppstream.Element) error {
	switch string(e.Name) {
	case "enabled", "resumed":
	case "failed":
		s.relay.pinger.goOn()
		return s.client.w.Element(e)
	default:
		return s.client.w.Element(e)
	}
	n, err := e.Node()
	if err != nil {
		return err
	}
	resume := n.Attr("resume")
	s.relay.resumable.Store(n.Name == "resumed" || resume == "true" || resume == "1")
	s.relay.pinger.useSM(n.Space)
	if n.Attr("location") == "" {
		return s.client.w.Element(e)
	}
	n.Attrs = slices.DeleteFunc(n.Attrs, func(a xmppstream.Attr) bool { return a.Name == "location" })
	return s.client.w.Node(n)
}

// isSM reports whether space is a version of XEP-0198 in use.
func isSM(space []byte) bool {
	return string(space) == xmppstream.NSSM || string(space) == nsSM2
}

const (
	nsSM2         = "urn:xmpp:sm:2"
	nsCompress    = "http://jabber.org/protocol/compress"
	nsCompressFtr = "http://jabber.org/features/compress"
)

// negotiates reports whether e would change the stream under the gateway's
// feet.
func negotiates(e *xmppstream.Element) bool {
	switch string(e.Space) {
	case xmppstream.NSTLS, xmppstream.NSSASL, xmppstream.NSSASL2, nsCompress:
		return true
	}
	return false
}
