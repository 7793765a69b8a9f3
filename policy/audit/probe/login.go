package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"xmpp-gw/internal/saslauth"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// Login is an account through whose eyes to look as well.
//
// It is logged in with once, at the target's own endpoint, only where TLS proved the
// server or where its onion address does. It binds a resource that the server names,
// sends no presence, so that no contact notices and no message comes, and asks what
// the server can. It asks for a slot to upload one byte to, which is never uploaded:
// the server may count that against the day's quota. Where the login is bound to
// TLS, two more are tried that a server must refuse; they stand in its log as failed
// ones.
type Login struct {
	// JID is the account. Its domain must be the target's; a resource is ignored.
	JID string
	// Password is what it logs in with. It is read while Probe runs and not kept:
	// whoever hands it in wipes it afterwards.
	Password []byte
	// Plain allows PLAIN where the server offers nothing better, as auth_min =
	// "plain" does. Without, such a server is not logged in to.
	Plain bool
	// Bound asks for a login that is bound to TLS, as binding = "require" and auth_min =
	// "scram-plus" do: a server that cannot is not logged in to.
	Bound bool
	// Proves says of an onion endpoint that its address alone proves the server, as
	// policy.Decision.OnionProves does; nil: only the address that is the domain.
	Proves func(policy.Endpoint) bool
}

// account is the JID of a login, once it is known to be one of the domain's.
func (l *Login) account(domain string) (jid.JID, error) {
	account, err := jid.Parse(l.JID)
	if err != nil || account.Localpart() == "" {
		return jid.JID{}, errors.New("nothing was looked at: the account for the login is no address like user@example.org")
	}
	if of, err := policy.NormalizeDomain(account.Domainpart()); err != nil || of != domain {
		return jid.JID{}, fmt.Errorf("nothing was looked at: the account for the login is not one of %s, and no other server gets its password", domain)
	}
	if len(l.Password) == 0 {
		return jid.JID{}, errors.New("nothing was looked at: the password for the login is empty")
	}
	return account.Bare(), nil
}

// door is a client endpoint after a first look, and how fit it is for a login.
type door struct {
	spot
	fit fitness
}

// fitness says whether a login at an endpoint is safe, and how much it can show.
type fitness uint8

const (
	unfit   fitness = iota // nothing proves the server
	fitWeb                 // a WebSocket, whose TLS often ends in front of the server
	fitBare                // an onion address that proves the server, without TLS
	fitTLS                 // verified TLS
	fitBest                // and the login can be bound to it
)

// fit judges an endpoint by its first look. Whether it is verified is asked once
// more by whoever logs in.
func (r *run) fit(e *audit.Endpoint) fitness {
	proven := r.proves(e.At)
	verified := e.TLS != nil && e.TLS.Err == "" && (proven || e.TLS.ChainErr == "" && e.TLS.NameErr == "")
	switch {
	case e.Err != "":
		return unfit
	case e.At.Transport.OverWebSocket():
		if e.Secure != nil && e.Secure.Err == "" && (verified || proven) {
			return fitWeb
		}
	case verified && e.Secure != nil && e.Secure.Err == "":
		if slices.ContainsFunc(slices.Concat(e.Secure.Mechanisms, e.Secure.SASL2), isPlus) {
			return fitBest
		}
		return fitTLS
	case proven && e.Plain != nil && e.Plain.StartTLS == "":
		return fitBare
	}
	return unfit
}

func isPlus(mechanism string) bool { return strings.HasSuffix(mechanism, "-PLUS") }

// proves reports whether the address of an endpoint alone proves the server.
func (r *run) proves(e policy.Endpoint) bool {
	if r.Login.Proves != nil {
		return r.Login.Proves(e)
	}
	return e.Onion() && e.Host == r.target.Domain
}

// door waits for the best endpoint to log in at. Once there is one of the best sort,
// it does not wait for slower ones, and where there is any, not for dead ones.
func (r *run) door(ctx context.Context) (door, error) {
	var best door
	var late <-chan time.Time
	begin := time.Now()
	for i := range r.seen.Endpoints { // which others are writing to
		if e := &r.seen.Endpoints[i]; e.Service != audit.C2S || e.Left || guess(e) {
			continue
		}
		select {
		case d := <-r.met:
			if d.fit > best.fit {
				best = d
			}
		case <-late:
			return best, nil
		case <-ctx.Done():
			return door{}, errOver
		}
		if best.fit == fitBest {
			break
		}
		if best.fit > unfit && late == nil {
			late = time.After(max(2*time.Second, time.Since(begin)))
		}
	}
	if best.fit == unfit {
		return door{}, errors.New("no endpoint for clients proved with its certificate to be the domain's, so nobody logged in")
	}
	return best, nil
}

// login looks at everything that only an account is shown.
func (r *run) login(ctx context.Context) *audit.Login {
	seen := &audit.Login{}
	at, err := r.door(ctx)
	if err != nil {
		seen.Err = err.Error()
		r.say("login: %s", seen.Err)
		return seen
	}
	var bound *tls.ConnectionState // of the login, if it was bound
	seen.Err = r.within(ctx, 2*r.Step, at.what("login"), func(ctx context.Context) (err error) {
		bound, err = r.visit(ctx, at.spot, seen)
		return err
	})
	if bound == nil {
		return seen
	}
	r.step(ctx, at.what("login with another connection's channel binding"), func(ctx context.Context) (err error) {
		seen.Downgrade, err = r.outcome(ctx, at.spot, func(e *entry) { e.state = relayed(bound) })
		return err
	})
	r.step(ctx, at.what("login that was not shown -PLUS"), func(ctx context.Context) (err error) {
		seen.Hidden, err = r.outcome(ctx, at.spot, func(e *entry) { e.offer = withoutPlus(e.offer) })
		return err
	})
	return seen
}

// relayed is what somebody in the middle has to bind a login to: another connection
// than the one that it goes over, and with tls-server-end-point another certificate.
func relayed(other *tls.ConnectionState) *tls.ConnectionState {
	state := *other
	leaf := *state.PeerCertificates[0]
	leaf.Raw = append(slices.Clone(leaf.Raw), 0)
	state.PeerCertificates = []*x509.Certificate{&leaf}
	return &state
}

// withoutPlus is an offer out of which somebody took channel binding.
func withoutPlus(o saslauth.Offer) saslauth.Offer {
	o.Mechanisms = slices.DeleteFunc(slices.Clone(o.Mechanisms), isPlus)
	o.SASL2 = slices.DeleteFunc(slices.Clone(o.SASL2), isPlus)
	o.BindingTypes = nil
	return o
}

// outcome is what comes of a login that spoil made one that a server must refuse
// (RFC 5802 §6): "refused", "accepted", or "noticed" where XEP-0474 told us in time.
func (r *run) outcome(ctx context.Context, s spot, spoil func(*entry)) (string, error) {
	e, err := r.enter(ctx, s)
	if err != nil {
		return "", err
	}
	defer e.close()
	spoil(e)
	_, err = e.authenticate(ctx, r)
	var no *saslauth.Failure
	switch {
	case err == nil, errors.Is(err, saslauth.ErrServerSignature):
		return "accepted", nil
	case errors.As(err, &no) && no.Condition != saslauth.TemporaryAuthFailure:
		return "refused", nil
	case errors.Is(err, saslauth.ErrClosed) && ctx.Err() == nil:
		return "refused", nil
	case errors.Is(err, saslauth.ErrDowngrade) && e.hashed:
		return "noticed", nil
	}
	return "", err
}
