package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"os"
	"strconv"
	"time"

	"mellium.im/xmpp/jid"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// maxLogins is how often a client may try before its stream ends (RFC 6120
// §6.4.5 recommends 2 to 5).
const maxLogins = 3

// login is the originate mode: the client gives its password to the gateway,
// which logs in upstream with the strongest mechanism there is. e is the
// client's first element after the features.
func (s *session) login(e *xmppstream.Element) error {
	var form registration
	defer form.close()
	s.info.setState(stateLogin)
	for failures := 0; ; {
		switch {
		case isLogin(e):
			form.close() // the account's own circuit is another one
			err := s.tryLogin(e)
			if err == nil {
				return nil
			}
			var refused *loginRefused
			if !errors.As(err, &refused) {
				return err
			}
			if failures++; failures == maxLogins {
				return &xmppstream.Error{Condition: xmppstream.PolicyViolation, Text: "Too many failed logins."}
			}
		case isRegistration(e):
			if err := form.handle(s, e); err != nil {
				return err
			}
		default: // RFC 6120 §6.3.1
			return &xmppstream.Error{Condition: xmppstream.NotAuthorized, Text: "Log in first (SASL)."}
		}
		var err error
		if e, err = s.nextFromClient(); err != nil {
			return err
		}
	}
}

func isLogin(e *xmppstream.Element) bool {
	return string(e.Space) == xmppstream.NSSASL || string(e.Space) == xmppstream.NSSASL2
}

// loginRefused says that the client was told of a SASL failure and may go on.
type loginRefused struct{ failure saslauth.Failure }

func (e *loginRefused) Error() string { return e.failure.Error() }

// tryLogin is one login from the client's first SASL element to its success or
// failure.
func (s *session) tryLogin(e *xmppstream.Element) error {
	first, err := e.Node()
	if err != nil {
		return err
	}
	proto, cred, err := saslauth.Receive(&s.client, first, s.domain, s.asked)
	var failure *saslauth.Failure
	if errors.As(err, &failure) {
		return s.refuseLogin(proto, *failure)
	} else if err != nil {
		return fromClientLogin(err)
	}
	defer cred.Wipe()
	if s.decision.PasswordFile != "" {
		ok, err := passwordFits(s.decision.PasswordFile, cred.Password)
		if err != nil {
			return err
		}
		if !ok {
			return s.refuseLogin(proto, saslauth.Failure{Condition: saslauth.NotAuthorized,
				Text: "That is not the password in the gateway's file for this domain (password_file)."})
		}
	}
	// The account's address is normalised here once (RFC 7622), so that two
	// spellings of it do not get two circuits.
	account, err := jid.New(cred.Username, s.name, "")
	if err != nil {
		return s.refuseLogin(proto, saslauth.Failure{Condition: saslauth.NotAuthorized, Text: "The user name is not the local part of an XMPP address."})
	}

	s.info.setState(stateConnecting)
	err = s.waitUpstream(func(ctx context.Context) error { return s.loginUpstream(ctx, account, cred) })
	s.info.setState(stateLogin)
	var ours *saslauth.Error
	if errors.As(err, &failure) || errors.As(err, &ours) {
		s.log().Info("upstream login failed", "error", err)
		s.gw.cfg.Observer.UpstreamFailed("login")
		return s.refuseLogin(proto, saslauth.ClientFailure(err))
	} else if err != nil {
		return err
	}
	return s.admit(proto, account)
}

// fromClientLogin tells a client's own faults in its login from the server's.
func fromClientLogin(err error) error {
	var sasl *saslauth.Error
	switch {
	case errors.Is(err, saslauth.ErrClosed):
		return errClientGone
	case errors.As(err, &sasl):
		return &xmppstream.Error{Condition: xmppstream.PolicyViolation, Text: sasl.Text}
	}
	return err
}

// passwordFits compares a local client's password with the first line of a file.
// It stands in for the server's check where the gateway logs in by certificate:
// without it, every program on the machine could use the account.
func passwordFits(file string, given []byte) (bool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return false, &localFile{"password_file", err}
	}
	defer clear(text)
	line, _, _ := bytes.Cut(text, []byte("\n"))
	want := sha256.Sum256(bytes.TrimSuffix(line, []byte("\r")))
	got := sha256.Sum256(given)
	return len(line) > 0 && subtle.ConstantTimeCompare(want[:], got[:]) == 1, nil
}

// localFile is a file of the configuration that cannot be used.
type localFile struct {
	key string
	err error
}

func (e *localFile) Error() string { return e.key + " cannot be read: " + e.err.Error() }

// refuseLogin answers a failure after a short pause.
func (s *session) refuseLogin(proto saslauth.Protocol, f saslauth.Failure) error {
	select {
	case <-time.After(pause):
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	if err := s.client.Send(proto.Failure(f)); err != nil {
		return err
	}
	return &loginRefused{f}
}

// loginUpstream opens the upstream leg for account and logs in there.
func (s *session) loginUpstream(ctx context.Context, account jid.JID, cred *saslauth.Credentials) error {
	// Circuits are the account's. After a leg broke they are new ones: Tor would
	// give a circuit whose far end died without a word to the next session too, for
	// the two minutes that it waits.
	isolation := s.gw.cfg.Isolate("account", s.domain, account.Localpart(), strconv.FormatUint(s.gw.broken.Load(), 10))
	s.info.set(func(n *SessionInfo) { n.isolation = isolation.User })
	up, err := s.connect(ctx, s.decision, isolation)
	if err != nil {
		s.gw.broken.Add(1)
		return err
	}
	stop := context.AfterFunc(ctx, up.close)
	defer stop()
	cred.Username = account.Localpart()
	cred.Certificate = up.tls != nil && s.decision.ClientCert != ""
	cred.Authzid = account.Bare().String()
	rules := s.saslRules(up)
	ask := rules
	if s.decision.Mode == policy.Report {
		ask = lenient(rules)
	}
	out, err := saslauth.Authenticate(ctx, &up.leg, up.offer, cred, ask, up.tlsState())
	if err == nil {
		err = s.judgeBinding(rules, out)
	}
	if err != nil {
		up.close()
		up.release()
		return fromLogin(err)
	}
	if err := up.enter(s, out, account); err != nil {
		up.close()
		up.release()
		return fromServer(err)
	}
	s.remember(out)
	s.keepOnion(up)
	s.saw(up, out)
	s.info.set(func(n *SessionInfo) {
		up.describe(n)
		n.Warnings = s.warnings(up)
		n.SASL, n.Binding = out.Mechanism, out.Binding
	})
	return s.setUpstream(up)
}

// fromLogin marks what is the connection's fault rather than SASL's.
func fromLogin(err error) error {
	var failure *saslauth.Failure
	if errors.As(err, &failure) {
		return err
	}
	return fromServer(err)
}

// enter brings the leg from the login to the features of a stream that is
// logged in, restarting it after SASL (RFC 6120 §6.4.6) and not after SASL2
// (XEP-0388 §2.6.1).
func (u *upstream) enter(s *session, out saslauth.Outcome, account jid.JID) (err error) {
	if out.Protocol == saslauth.SASL1 {
		u.r.Restart()
		from := "" // known to the server already, and worth nothing outside TLS
		if u.tls != nil {
			from = account.Bare().String()
		}
		if err := u.openStream(s.name, from, s.lang); err != nil {
			return err
		}
	}
	u.features, err = u.readFeatures()
	return err
}

// saslRules are the owner's demands on the login over up.
func (s *session) saslRules(up *upstream) saslauth.Rules {
	r := saslauth.Rules{Min: s.decision.AuthMin, Binding: s.decision.Binding}
	switch {
	case up.tls != nil:
		r.Channel = saslauth.ChannelTLS
	case s.decision.OnionProves(up.endpoint):
		r.Channel = saslauth.ChannelOnion
	}
	if s.gw.cfg.Pins != nil {
		r.RatchetPlus = s.gw.cfg.Pins.Ratchet(s.domain)
	}
	return r
}

// remember keeps for the domain that its logins can be bound.
func (s *session) remember(out saslauth.Outcome) {
	if !out.Plus || s.gw.cfg.Pins == nil {
		return
	}
	if err := s.gw.cfg.Pins.SetRatchet(s.domain); err != nil {
		s.log().Warn("cannot remember that this domain binds logins to TLS", "error", err)
	}
}

// admit tells the client that it is in, and shows it the server's features.
func (s *session) admit(proto saslauth.Protocol, account jid.JID) error {
	if proto == saslauth.SASL2 {
		if err := s.client.Send(proto.Success(account.Bare().String())); err != nil {
			return err
		}
		return s.showFeatures()
	}
	s.restartClient()
	if err := s.client.Send(proto.Success("")); err != nil {
		return err
	}
	if err := s.clientHeader(); err != nil {
		return err
	}
	if err := s.respondHeader(); err != nil {
		return err
	}
	return s.showFeatures()
}

// showFeatures passes the upstream features on, less what belongs to the
// negotiation of the other leg. Compression is among that: it would hide the
// stanzas and leak their lengths (XEP-0138 §7).
func (s *session) showFeatures() error {
	b := []byte("<stream:features>")
	for _, f := range s.up.features.Children {
		switch f.Space {
		case xmppstream.NSTLS, xmppstream.NSSASL, xmppstream.NSSASL2, xmppstream.NSSASLCB, nsCompressFtr:
			continue
		}
		b = f.Append(b)
	}
	return s.client.Send(append(b, "</stream:features>"...))
}

// tlsState is what SASL binds to; nil without TLS.
func (u *upstream) tlsState() *tls.ConnectionState {
	if u.tls == nil {
		return nil
	}
	state := u.tls.State()
	return &state
}

// describe notes what status shows of the leg.
func (u *upstream) describe(n *SessionInfo) {
	n.Endpoint = u.endpoint.String()
	if u.tls == nil {
		n.TLSVersion, n.Identity = "none", "onion"
		return
	}
	n.TLSVersion, n.Group, n.Cipher = "TLS "+u.tls.Version, u.tls.Group, u.tls.Cipher
	n.Identity = u.tls.Identity
	n.Logs, n.Witness = u.tls.Logs.Text, u.tls.Witness.Text
}
