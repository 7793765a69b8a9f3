package proxy

import (
	"context"
	"slices"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// maxRounds bounds the steps of a login that is handed through.
const maxRounds = 64

// relayLogin is the relay mode: the client's own SASL goes to the server and
// back untouched, but for mechanisms that policy forbids. The mechanism list is
// shown as the server sent it, because a client that checks it (XEP-0474) would
// see any change as an attack. extra goes before the server's features.
//
// The account is not known before the login, so each session has circuits of
// its own.
func (s *session) relayLogin(extra string) error {
	s.info.setState(stateConnecting)
	err := s.waitUpstream(func(ctx context.Context) error {
		isolation := s.gw.cfg.Isolate("session", s.domain, s.id)
		s.info.set(func(n *SessionInfo) { n.isolation = isolation.User })
		up, err := s.connect(ctx, s.decision, isolation)
		if err != nil {
			return err
		}
		s.info.set(func(n *SessionInfo) {
			up.describe(n)
			n.Warnings = s.warnings(up)
		})
		return s.setUpstream(up)
	})
	if err != nil {
		return err
	}
	s.info.setState(stateLogin)
	if err := s.showOffer(extra); err != nil {
		return err
	}
	for range maxRounds {
		e, err := s.nextFromClient()
		if err != nil {
			return err
		}
		done, err := s.relayStep(e, extra != "")
		if done || err != nil {
			return err
		}
	}
	return &xmppstream.Error{Condition: xmppstream.PolicyViolation, Text: "The login does not come to an end."}
}

// showOffer shows the client the server's features before the login.
func (s *session) showOffer(extra string) error {
	b := []byte("<stream:features>" + extra)
	for _, f := range s.up.features.Children {
		switch f.Space {
		case xmppstream.NSTLS, nsCompressFtr:
			continue
		case xmppstream.NSSASL2:
			f = withoutInline(f)
		case xmppstream.NSRegFeat:
			if s.decision.Registration != policy.RegistrationAllow {
				continue
			}
		}
		b = f.Append(b)
	}
	return s.client.Send(append(b, "</stream:features>"...))
}

// withoutInline is the SASL2 feature f without what can be asked for along with
// the login (XEP-0388 §2.2 <inline/>): stream management inside a success would
// pass the gateway by, and its location with it (never 6).
func withoutInline(f *xmppstream.Node) *xmppstream.Node {
	plain := *f
	plain.Children = slices.DeleteFunc(slices.Clone(f.Children), func(c *xmppstream.Node) bool { return c.Name == "inline" })
	return &plain
}

// asksInline reports whether a login asks for what withoutInline hides.
func asksInline(n *xmppstream.Node) bool {
	return slices.ContainsFunc(n.Children, func(c *xmppstream.Node) bool {
		return c.Space == xmppstream.NSBind2 || isSM([]byte(c.Space))
	})
}

// relayStep hands one element of the client to the server and the answer back.
// It reports whether the login is over and stanzas may pass.
func (s *session) relayStep(e *xmppstream.Element, starttls bool) (done bool, err error) {
	switch {
	case starttls && e.Is(xmppstream.NSTLS, "starttls"):
		// Inside TLS the client starts over, with a fresh leg to the server.
		s.dropUpstream()
		return true, s.upgradeClient()
	case isLogin(e):
		if refused, err := s.judgeMechanism(e); refused || err != nil {
			return false, err
		}
	case isRegistration(e):
		if s.decision.Registration != policy.RegistrationAllow {
			var none registration
			return false, none.handle(s, e)
		}
	default:
		return false, &xmppstream.Error{Condition: xmppstream.NotAuthorized, Text: "Log in first (SASL)."}
	}
	space := string(e.Space)
	sasl1 := space == xmppstream.NSSASL
	if err := s.up.w.Element(e); err != nil {
		return false, &upstreamLost{err: err, negotiating: true}
	}
	if err := s.up.w.Flush(); err != nil {
		return false, &upstreamLost{err: err, negotiating: true}
	}
	answer, err := s.upstreamAnswer()
	if err != nil {
		return false, err
	}
	if string(answer.Space) != space { // least of all a success that nobody asked for (never 5)
		return false, &Refused{class: "protocol", Text: "The server sent something else where its answer to the login belongs."}
	}
	success := isLogin(answer) && string(answer.Name) == "success"
	if success && sasl1 {
		s.restartClient()
	}
	if err := s.client.w.Element(answer); err != nil {
		return false, err
	}
	if err := s.client.w.Flush(); err != nil {
		return false, err
	}
	if !success {
		return false, nil
	}
	if sasl1 {
		err = s.restartBoth()
	} else {
		err = s.featuresAfterSASL2()
	}
	if err == nil {
		s.keepOnion(s.up)
		s.saw(s.up, saslauth.Outcome{Mechanism: s.info.snapshot().SASL})
	}
	return true, err
}

// upstreamAnswer waits for the server's next element.
func (s *session) upstreamAnswer() (answer *xmppstream.Element, err error) {
	err = s.waitUpstream(func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, s.up.close)
		defer stop()
		s.up.grant()
		answer, err = s.up.next()
		if err != nil {
			return fromServer(err)
		}
		return nil
	})
	return answer, err
}

// judgeMechanism refuses a mechanism that is below policy's floor, with a SASL
// failure that lets the client choose another.
func (s *session) judgeMechanism(e *xmppstream.Element) (refused bool, err error) {
	n, err := e.Node()
	if err != nil {
		return false, err
	}
	proto := saslauth.SASL1
	if n.Space == xmppstream.NSSASL2 {
		proto = saslauth.SASL2
	}
	if n.Name != "auth" && n.Name != "authenticate" {
		return false, nil // a step of an exchange that was allowed to begin
	}
	if asksInline(n) {
		return true, s.client.Send(proto.Failure(saslauth.Failure{Condition: saslauth.MalformedRequest,
			Text: "The gateway does not hand through what is asked for along with a login (inline features)."}))
	}
	mechanism := n.Attr("mechanism")
	rules := s.saslRules(s.up)
	err = saslauth.AllowedInRelay(mechanism, rules)
	if err != nil && saslauth.AllowedInRelay(mechanism, lenient(rules)) == nil {
		err = s.object(err)
	}
	if err != nil {
		f := saslauth.ClientFailure(err)
		return true, s.client.Send(proto.Failure(f))
	}
	s.info.set(func(n *SessionInfo) { n.SASL, n.Warnings = mechanism, s.warnings(s.up) })
	return false, nil
}

// restartBoth restarts both streams after a SASL success (RFC 6120 §6.4.6).
func (s *session) restartBoth() error {
	if err := s.clientHeader(); err != nil {
		return err
	}
	err := s.waitUpstream(func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, s.up.close)
		defer stop()
		s.up.grant()
		s.up.r.Restart()
		if err := s.up.openStream(s.name, "", s.lang); err != nil {
			return fromServer(err)
		}
		features, err := s.up.readFeatures()
		s.up.features = features
		if err != nil {
			return fromServer(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.respondHeader(); err != nil {
		return err
	}
	return s.showFeatures()
}

// featuresAfterSASL2 passes on the features that follow a SASL2 success without
// a restart (XEP-0388 §2.6.1).
func (s *session) featuresAfterSASL2() error {
	e, err := s.upstreamAnswer()
	if err != nil {
		return err
	}
	if !e.Is(xmppstream.NSStream, "features") {
		return &Refused{class: "protocol", Text: "The server sent something else where its stream features belong."}
	}
	if s.up.features, err = e.Node(); err != nil {
		return fromServer(err)
	}
	return s.showFeatures()
}

// dropUpstream closes the upstream leg for good.
func (s *session) dropUpstream() {
	s.mu.Lock()
	up := s.up
	s.up = nil
	s.mu.Unlock()
	_ = up.w.Close()
	up.close()
	up.release()
}
