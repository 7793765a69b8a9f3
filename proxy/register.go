package proxy

import (
	"context"
	"errors"
	"time"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// registration is an account in the making from within the client (XEP-0077
// §3.1), before authentication. It has an upstream leg of its own: on a circuit
// that no account uses, since there is none yet.
type registration struct{ up *upstream }

// close ends the leg, if there is one.
func (g *registration) close() {
	if g.up == nil {
		return
	}
	_ = g.up.w.Close()
	g.up.close()
	g.up.release()
	g.up = nil
}

// isRegistration reports whether e belongs to XEP-0077.
func isRegistration(e *xmppstream.Element) bool {
	return e.Is(xmppstream.NSClient, "iq") && e.HasChild(xmppstream.NSRegister, "query") &&
		(string(e.Type) == "get" || string(e.Type) == "set")
}

// handle passes one request to the server and its answer back. The password of
// the new account is in the request, so that it goes out only over verified TLS
// or to an onion address that proves itself.
func (g *registration) handle(s *session, e *xmppstream.Element) error {
	if s.decision.Registration != policy.RegistrationAllow {
		return s.answerError(e, "cancel", "not-allowed", "Making accounts through this gateway is switched off for this domain (registration = \"deny\").")
	}
	request := e.Append(nil)
	defer clear(request)
	id := string(e.ID)
	err := s.waitUpstream(func(ctx context.Context) error {
		if g.up == nil {
			up, err := s.connect(ctx, s.decision, s.gw.cfg.Isolate("registration", s.domain, s.id))
			if err != nil {
				return err
			}
			g.up = up
		}
		if !g.up.offer.Register {
			return errNotOffered
		}
		stop := context.AfterFunc(ctx, g.up.close)
		defer stop()
		g.up.grant()
		return g.pass(s, request, id)
	})
	if errors.Is(err, errNotOffered) {
		return s.answerError(e, "cancel", "service-unavailable", "The server does not make accounts from within a client. Look at its web page.")
	}
	if err == nil {
		s.grant(formTime)
	}
	return err
}

// formTime is what a person gets to fill in the server's form.
const formTime = 5 * time.Minute

var errNotOffered = errors.New("the server does not offer registration")

// pass sends one request and brings the answer with its id back.
func (g *registration) pass(s *session, request []byte, id string) error {
	if err := g.up.Send(request); err != nil {
		return fromServer(err)
	}
	for {
		e, err := g.up.next()
		if err != nil {
			return fromServer(err)
		}
		if !e.Is(xmppstream.NSClient, "iq") || string(e.ID) != id {
			continue
		}
		if err := s.client.w.Element(e); err != nil {
			return err
		}
		return s.client.w.Flush()
	}
}

// answerError answers the client's IQ e with an error (RFC 6120 §8.3).
func (s *session) answerError(e *xmppstream.Element, kind, condition, text string) error {
	b := append([]byte(nil), "<iq type='error' id='"...)
	b = xmppstream.Escape(b, string(e.ID))
	b = append(b, "'><error type='"+kind+"'><"+condition+" xmlns='"+xmppstream.NSStanzaErr+"'/><text xmlns='"+xmppstream.NSStanzaErr+"' xml:lang='en'>"...)
	b = xmppstream.Escape(b, text)
	return s.client.Send(append(b, "</text></error></iq>"...))
}
