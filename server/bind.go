package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"slices"
	"strings"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/store"
)

// bind binds a resource (RFC 6120 §7).
func (l *link) bind(ctx context.Context, e *xmppstream.Element) (step, error) {
	st, fault := l.srv.read(e, nil)
	if st == nil {
		return stay, l.premature(e)
	}
	if fault == nil && st.Type == "set" && st.Has(xmppstream.NSSession, "session") {
		fault = ErrNotAllowed // RFC 3921 §3: after the resource
	}
	if fault == nil && !(st.Type == "set" && st.Has(xmppstream.NSBind, "bind")) {
		return stay, l.premature(e)
	}
	if fault == nil {
		wanted := st.Node().Child(xmppstream.NSBind, "bind").ChildText(xmppstream.NSBind, "resource")
		var s *Session
		if s, fault = l.newSession(ctx, wanted); fault == nil {
			reply := append([]byte("<bind xmlns='"+xmppstream.NSBind+"'><jid>"), xmppstream.Escape(nil, s.full)...)
			if err := l.Send(st.Result(append(reply, "</jid></bind>"...)).Raw()); err != nil {
				return stay, err
			}
			return stay, s.ready()
		}
	}
	return stay, l.Send(st.Error(fault).Raw())
}

// newSession binds a resource: the one that is wanted, or one that is made up.
// Stanzas for it wait until [Session.ready].
func (l *link) newSession(ctx context.Context, wanted string) (*Session, *StanzaError) {
	login := l.n.login
	made := wanted == ""
	if made {
		wanted = rand.Text()[:12]
		if len(login.Resources) > 0 {
			wanted = login.Resources[0]
		}
	}
	jid, err := login.Account.WithResource(wanted)
	if err != nil {
		return nil, ErrBadRequest.Because("The resource is not valid.") // RFC 6120 §7.7.2.1
	}
	// XEP-0257 §3: the certificate may be good for some resources only.
	if login.Resources != nil && !slices.Contains(login.Resources, jid.Resource) {
		return nil, ErrNotAllowed.Because("The certificate is not good for this resource.")
	}
	srv := l.srv
	s := newSession(srv, l, jid)
	for range 8 {
		holder, full := srv.table.add(s, srv.cfg.Limits.Sessions)
		switch {
		case full && srv.endWaiting(login.Account):
			continue
		case full: // RFC 6120 §7.6.2.1
			l.out.reset()
			return nil, ErrResourceConstraint.Because("The account has as many sessions as it may have.")
		case holder == nil:
			l.mu.Lock()
			l.session = s
			l.mu.Unlock()
			if err := s.begin(ctx); errors.Is(err, errBarred) {
				s.gone(errBarred)
				return nil, ErrNotAllowed
			} else if err != nil {
				if ctx.Err() == nil { // else the client has gone
					srv.log.Error("a session could not begin", "error", err)
				}
				s.gone(nil)
				return nil, ErrInternalServerError
			}
			l.n.bound = true
			return s, nil
		}
		switch { // RFC 6120 §7.7.2.2
		case srv.cfg.OnConflict == RefuseNewer && !holder.waiting():
			l.out.reset()
			return nil, ErrConflict.Because("Another session has this resource.")
		case srv.cfg.OnConflict == Rename && !holder.waiting():
			s.jid.Resource, s.full = "", ""
			if s.jid, err = login.Account.WithResource(wanted + "-" + strings.ToLower(rand.Text()[:6])); err != nil {
				return nil, ErrConflict
			}
			s.full = s.jid.String()
		default:
			holder.gone(streamError("conflict", "Another session took the resource."))
		}
	}
	return nil, ErrConflict
}

// errBarred ends the stream of somebody whose account has gone since the login.
var errBarred = streamError(xmppstream.NotAuthorized, "This account was removed or disabled.")

// begin tells the modules of a new session, which has its place already: an account
// that is removed or disabled from here on ends it, and what was before is seen here.
func (s *Session) begin(ctx context.Context) error {
	if a, err := s.srv.cfg.Store.Account(ctx, s.owner); errors.Is(err, store.ErrNotFound) || a.Disabled {
		return errBarred
	} else if err != nil {
		return err
	}
	for _, f := range s.srv.hooks.bound {
		if err := f(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// endWaiting makes room for a session of an account: of those that nobody has resumed
// so far the oldest ends.
func (srv *Server) endWaiting(owner address.Address) bool {
	for _, one := range srv.Sessions(owner) {
		if one.waiting() {
			one.gone(nil)
			return true
		}
	}
	return false
}

// inline does what a client asked for inside <authenticate/> (XEP-0388 §2.6):
// resumption, or else binding (XEP-0386), and answers it with <success/>.
func (l *link) inline(ctx context.Context, login *saslserver.Login) (step, error) {
	l.n.after = true
	var results [][]byte
	if r := login.Request.Child(xmppstream.NSSM, "resume"); r != nil { // XEP-0198 §8
		s, answer := l.takeOver(r)
		if s != nil {
			l.n.bound = true
			l.mu.Lock()
			l.session = s
			l.mu.Unlock()
			return stay, s.resume(ctx, l, append(login.Success(s.jid, answer), l.featuresElement(ctx)...))
		}
		results = append(results, answer)
	}
	want := login.Request.Child(xmppstream.NSBind2, "bind")
	if want == nil {
		return stay, l.Send(login.Success(login.Account, results...))
	}
	s, fault := l.newSession(ctx, l.resourceFor(login, want.ChildText(xmppstream.NSBind2, "tag")))
	if fault != nil {
		l.n.login = nil
		_ = l.Send(login.Refuse(saslauth.Failure{Condition: saslauth.TemporaryAuthFailure, Text: fault.Text}))
		return stay, streamError(xmppstream.PolicyViolation, "No session could be bound.")
	}
	bound := []byte("<bound xmlns='" + xmppstream.NSBind2 + "'>")
	for _, c := range want.Children {
		if c.Is(xmppstream.NSSM, "enable") {
			bound = append(bound, s.enable(c, true)...)
			continue
		}
		if f := l.srv.hooks.bindInline[c.Space]; f != nil {
			reply, err := f(ctx, s, c)
			if err != nil {
				l.srv.log.Error("a module could not do what a client asked for while binding", "error", err)
			}
			bound = append(bound, reply...)
		}
	}
	results = append(results, append(bound, "</bound>"...))
	if err := l.Send(login.Success(s.jid, results...)); err != nil {
		return stay, err
	}
	if err := l.sendFeatures(ctx); err != nil {
		return stay, err
	}
	return stay, s.ready()
}

// resourceFor makes the resource of a client that uses Bind 2: its tag, and
// something that stays the same for the same installation (XEP-0386 §3.2), so that
// it takes the place of its own dead session.
func (l *link) resourceFor(login *saslserver.Login, tag string) string {
	if len(login.Resources) > 0 {
		return login.Resources[0]
	}
	unique := rand.Text()[:12]
	if login.UserAgent.ID != "" {
		m := hmac.New(sha256.New, l.srv.cfg.Secret)
		m.Write([]byte("resource\x00" + login.Account.String() + "\x00" + login.UserAgent.ID))
		unique = base32.StdEncoding.EncodeToString(m.Sum(nil))[:12]
	}
	unique = strings.ToLower(unique)
	if tag == "" || len(tag) > address.MaxPart/2 {
		return unique
	}
	if _, err := login.Account.WithResource(tag + "." + unique); err != nil {
		return unique
	}
	return tag + "." + unique
}

// resume is <resume/> on a stream of its own (XEP-0198 §5).
func (l *link) resume(ctx context.Context, e *xmppstream.Element) (step, error) {
	n, err := e.Node()
	if err != nil {
		return stay, err
	}
	if n.Name != "resume" { // XEP-0198 §3: after a resource is bound
		return stay, l.Send(smFailed("unexpected-request", nil))
	}
	s, answer := l.takeOver(n)
	if s == nil {
		return stay, l.Send(answer)
	}
	l.n.bound = true
	return stay, s.resume(ctx, l, answer)
}

// inlineFeatures is what SASL2 offers inside <inline/>: Bind 2 and resumption.
func (s *Server) inlineFeatures() []byte {
	b := []byte("<bind xmlns='" + xmppstream.NSBind2 + "'><inline><feature var='" + xmppstream.NSSM + "'/>")
	for _, space := range s.hooks.bindInlineSpaces {
		b = append(xmppstream.Escape(append(b, "<feature var='"...), space), "'/>"...)
	}
	return append(b, "</inline></bind>"+smFeature...)
}
