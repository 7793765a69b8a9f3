package server

import (
	"context"
	"strconv"

	"xmpp-gw/internal/wire"
	"xmpp-gw/internal/xmppstream"
)

// step is how a negotiation goes on.
type step uint8

const (
	stay    step = iota // on the same stream
	restart             // with a new stream header of the client's
)

// feature is one thing that a stream can negotiate (RFC 6120 §4.3).
type feature struct {
	offered   func(l *link) bool                                  // may it be negotiated now?
	append    func(l *link, ctx context.Context, b []byte) []byte // what <stream:features/> says
	takes     func(e *xmppstream.Element) bool                    // is this element the client's wish for it?
	negotiate func(l *link, ctx context.Context, e *xmppstream.Element) (step, error)
}

// features are those of the core, in the order in which they are offered.
func features() []feature {
	stranger := func(l *link) bool { return l.n.login == nil && l.safe() }
	unbound := func(l *link) bool { return l.n.login != nil && !l.n.bound }
	return []feature{
		{
			offered: func(l *link) bool { return l.n.login == nil && l.n.tls == nil },
			append: func(l *link, _ context.Context, b []byte) []byte {
				b = append(b, "<starttls xmlns='"+xmppstream.NSTLS+"'>"...)
				if !l.opts.Private {
					b = append(b, "<required/>"...) // RFC 7590 §3
				}
				return append(b, "</starttls>"...)
			},
			takes:     is(xmppstream.NSTLS, "starttls"),
			negotiate: (*link).startTLS,
		},
		{
			offered:   stranger,
			append:    func(l *link, ctx context.Context, b []byte) []byte { return l.n.sasl.AppendFeatures(ctx, b) },
			takes:     func(e *xmppstream.Element) bool { return in(e, xmppstream.NSSASL) || in(e, xmppstream.NSSASL2) },
			negotiate: (*link).login,
		},
		{
			offered:   stranger,
			append:    (*link).appendVisitorFeatures,
			takes:     is(xmppstream.NSClient, "iq"),
			negotiate: (*link).visitorIQ,
		},
		{
			offered: unbound,
			append: func(_ *link, _ context.Context, b []byte) []byte {
				return append(b, "<bind xmlns='"+xmppstream.NSBind+"'/><session xmlns='"+xmppstream.NSSession+"'><optional/></session>"...)
			},
			takes:     is(xmppstream.NSClient, "iq"),
			negotiate: (*link).bind,
		},
		{
			offered: func(l *link) bool { return l.n.login != nil },
			append: func(_ *link, _ context.Context, b []byte) []byte {
				return append(b, smFeature...)
			},
			takes:     func(e *xmppstream.Element) bool { return in(e, xmppstream.NSSM) },
			negotiate: (*link).resume,
		},
		{
			offered: func(*link) bool { return true },
			append: func(l *link, _ context.Context, b []byte) []byte {
				return l.srv.appendLimits(b, l.n.login != nil)
			},
			takes: func(*xmppstream.Element) bool { return false },
		},
		{
			offered: func(l *link) bool { return l.n.login != nil },
			append: func(l *link, ctx context.Context, b []byte) []byte {
				for _, f := range l.srv.hooks.features {
					b = append(b, f(ctx, l.session)...)
				}
				return b
			},
			takes: func(*xmppstream.Element) bool { return false },
		},
	}
}

func is(space, name string) func(*xmppstream.Element) bool {
	return func(e *xmppstream.Element) bool { return e.Is(space, name) }
}

func in(e *xmppstream.Element, space string) bool { return string(e.Space) == space }

// sendFeatures tells what can be negotiated now (RFC 6120 §4.3.2).
func (l *link) sendFeatures(ctx context.Context) error { return l.Send(l.featuresElement(ctx)) }

func (l *link) featuresElement(ctx context.Context) []byte {
	b := append(make([]byte, 0, 1024), "<stream:features>"...)
	for _, f := range l.srv.features {
		if f.offered(l) {
			b = f.append(l, ctx, b)
		}
	}
	return append(b, "</stream:features>"...)
}

// appendLimits says what is too much (XEP-0478).
func (s *Server) appendLimits(b []byte, known bool) []byte {
	lim := s.cfg.Limits
	size := lim.PreAuth.Bytes
	if known {
		size = lim.Session.Bytes
	}
	b = append(b, "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>"...)
	b = append(strconv.AppendInt(b, int64(size), 10), "</max-bytes>"...)
	if known {
		// A connection that answers is never closed for being idle.
		return append(b, "</limits>"...)
	}
	b = append(b, "<idle-seconds>"...)
	b = strconv.AppendInt(b, int64(lim.Negotiation.Seconds()), 10)
	return append(b, "</idle-seconds></limits>"...)
}

// element finds the feature that an element is for.
func (l *link) element(ctx context.Context, e *xmppstream.Element) (step, error) {
	for _, f := range l.srv.features {
		if f.takes(e) && f.offered(l) {
			return f.negotiate(l, ctx, e)
		}
	}
	return stay, l.premature(e)
}

// premature is what an element gets that is for later, for before, or for nobody.
func (l *link) premature(e *xmppstream.Element) error {
	_, stanza := kindOf(e)
	switch {
	case e.Is(xmppstream.NSStream, "error"):
		return errFinished
	case in(e, xmppstream.NSTLS):
		return streamError(xmppstream.PolicyViolation, "The stream is encrypted already.")
	case l.n.login == nil && !l.safe():
		// RFC 6120 §5.3.1: what is mandatory comes first.
		return streamError(xmppstream.PolicyViolation, "Encryption comes first here: the client must use STARTTLS.")
	case l.n.login == nil: // §4.9.3.12
		return streamError(xmppstream.NotAuthorized, "The client must log in first.")
	case stanza:
		return streamError(xmppstream.NotAuthorized, "The client must bind a resource first.") // §7.1
	case in(e, xmppstream.NSSASL), in(e, xmppstream.NSSASL2):
		return streamError(xmppstream.PolicyViolation, "Somebody is logged in on this stream already.")
	}
	return streamError(xmppstream.UnsupportedStanzaType, "This element means nothing here.") // §4.9.3.24
}

// startTLS answers <starttls/> and goes on inside TLS (RFC 6120 §5.4).
func (l *link) startTLS(ctx context.Context, _ *xmppstream.Element) (step, error) {
	// What came in the clear behind the request, perhaps from somebody in the middle,
	// must not be read as if it had come inside TLS. Whitespace is nothing that is
	// read; some clients send a line end.
	l.r.DropSpace()
	l.wire.DropSpace()
	if l.r.Buffered() > 0 || l.wire.Buffered() > 0 {
		return stay, streamError(xmppstream.PolicyViolation, "Bytes in the clear came behind the request for encryption.")
	}
	if err := l.Send([]byte("<proceed xmlns='" + xmppstream.NSTLS + "'/>")); err != nil {
		return stay, err
	}
	l.quiet(true)
	const patience = 4
	for range patience {
		kind, err := wire.Sniff(l.wire)
		if err != nil {
			return stay, errTLS
		}
		if kind == wire.OpeningTLS {
			return restart, l.secure(ctx, l.n.domain.name)
		}
		if l.wire.DropSpace() == 0 {
			break
		}
	}
	return stay, errTLS
}

// appendVisitorFeatures lets modules offer something before the login.
func (l *link) appendVisitorFeatures(ctx context.Context, b []byte) []byte {
	for _, f := range l.srv.hooks.visitor {
		b = append(b, f(ctx, l.n.visitor)...)
	}
	return b
}

// visitorIQ lets a module answer a request before the login.
func (l *link) visitorIQ(ctx context.Context, e *xmppstream.Element) (step, error) {
	st, fault := l.srv.read(e, nil)
	if fault != nil || len(st.children) != 1 || st.Type != "get" && st.Type != "set" || !st.To.IsZero() && (!st.To.IsServer() || st.To.Domain != l.n.domain.name) {
		return stay, l.premature(e)
	}
	c := st.children[0]
	h := l.srv.hooks.visitorIQ[iqKey{AtServer, c.space, c.name}]
	if h == nil {
		h = l.srv.hooks.visitorIQ[iqKey{AtServer, c.space, ""}]
	}
	if h == nil {
		return stay, l.premature(e)
	}
	reply := l.srv.answer(st, func(payload *xmppstream.Node) ([]byte, error) {
		return h(ctx, l.n.visitor, &IQ{Stanza: st, Payload: payload})
	})
	return stay, l.Send(reply.Raw())
}
