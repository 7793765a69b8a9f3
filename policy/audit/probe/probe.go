// Package probe looks at an XMPP server and writes down what it saw, as an
// [audit.Observation], without judging it:
//
//	seen, err := probe.Probe(ctx, probe.Target{Domain: "example.org"}, probe.Options{
//		Dialer: dialer,            // the way out that policy decided
//		Lookup: validator.Lookup,  // dnssec, by the same way
//		S2S:    true,
//	})
//
// Everything goes by the dialer that is handed in: there is no other way out, and
// no name is resolved here but by Lookup. Hosts are handed to the dialer as they
// are written.
//
// A server is a stranger. Each probe has a connection of its own, a budget of time
// and one of bytes, and the whole run has an end; what could not be seen has its
// Err set, and a check makes Unknown of it, never a pass. Nothing is followed that
// the server names (redirects), no login is tried and no account made. What a
// probe sends is what a client or a server might send, with three exceptions that
// any server must bear: a header behind <starttls/>, an HTTP request, and one
// element of up to a mebibyte.
package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/egress"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// Target is what to look at.
type Target struct {
	// Domain is the domain of a JID, or an onion address.
	Domain string
	// Endpoints, if there are any, are looked at as client endpoints in place of
	// those that DNS names.
	Endpoints []policy.Endpoint
	// ServerEndpoints likewise, for other servers; only with Options.S2S.
	ServerEndpoints []policy.Endpoint
	// Twin is the clearnet domain of an onion target, if it is known. It is looked at
	// too, once and by the same way out, to compare the two.
	Twin string
}

// Options say how to look.
type Options struct {
	Via    string        // the route, as policy writes it; for the observation alone
	Dialer egress.Dialer // the way out; required
	// Second is a way out over other circuits, for a second look at the key
	// of each endpoint; nil: no second look.
	Second egress.Dialer
	// Lookup asks DNS, and proves the answers; nil: DNS is not asked. It must end
	// when its context does.
	Lookup func(ctx context.Context, name string, qtype uint16) (dnssec.Result, error)
	Roots  *x509.CertPool   // nil: the system's
	Logs   *ct.List         // of Certificate Transparency; nil: those that are built in
	Now    func() time.Time // nil: time.Now
	// Budget is for the whole run, Step for one probe. Zero: 60 s, and a quarter
	// of Budget.
	Budget, Step time.Duration
	// Idle is how long a connection without a login is held at least, to see
	// whether the server ends it. It is held as long as other probes of the
	// endpoint go on in any case.
	Idle time.Duration
	S2S  bool // look at the endpoints for other servers too
	// Login is an account to log in with, for what strangers are not shown; nil:
	// nobody logs in. See [Login].
	Login *Login
	// Parallel is how many connections may be open at a time; zero: 8.
	Parallel int
	// Progress gets a line when a probe ends; nil: nobody does. It is called by
	// one goroutine at a time.
	Progress func(line string)
}

// Bounds on what one target may make us do.
const (
	defaultBudget   = 60 * time.Second
	defaultParallel = 8
	maxEndpoints    = 12 // of one service; those beyond are only named
	maxKept         = 32 // records of one answer that are kept
	maxText         = 240
)

// Probe looks at target. An error means that there was nothing to look at, or no
// way to; whatever the server did or did not do is in the observation. That comes
// within Budget and a moment.
func Probe(ctx context.Context, target Target, o Options) (*audit.Observation, error) {
	if o.Dialer == nil {
		return nil, errors.New("nothing was looked at: no route is set up (this is a fault of the program; report it)")
	}
	domain, err := policy.NormalizeDomain(target.Domain)
	if err != nil {
		return nil, fmt.Errorf("nothing was looked at: the domain cannot be used: %w", err)
	}
	target.Domain = domain
	var account jid.JID
	if o.Login != nil {
		if account, err = o.Login.account(domain); err != nil {
			return nil, err
		}
	}
	o.defaults()
	ctx, cancel := context.WithTimeout(ctx, o.Budget)
	defer cancel()

	r := &run{Options: o, target: target, account: account, slots: make(chan struct{}, o.Parallel),
		seen: &audit.Observation{Domain: domain, Via: o.Via, At: o.Now()}}
	r.all(ctx)
	return r.seen, nil
}

func (o *Options) defaults() {
	if o.Budget <= 0 {
		o.Budget = defaultBudget
	}
	if o.Step <= 0 {
		o.Step = o.Budget / 4
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logs == nil {
		o.Logs = ct.BuiltIn()
	}
}

// run is one call of Probe.
type run struct {
	Options
	target  Target
	account jid.JID // of Options.Login
	seen    *audit.Observation
	slots   chan struct{} // connections that may be open
	met     chan door     // client endpoints after a first look, for a login; or nil

	mu sync.Mutex // for Progress
}

// all looks at names, then at the endpoints that come of them.
func (r *run) all(ctx context.Context) {
	onion := policy.IsOnion(r.target.Domain)
	if !onion {
		var wg sync.WaitGroup
		if r.Lookup != nil {
			wg.Go(func() { r.seen.DNS = r.dns(ctx) })
		}
		wg.Go(func() { r.seen.HostMeta = r.hostMeta(ctx) })
		wg.Wait()
	}
	r.seen.Endpoints = r.endpoints(r.near(ctx))

	var wg sync.WaitGroup
	if r.seen.DNS != nil {
		wg.Go(func() { r.moreTLSA(ctx) })
	}
	var twin *audit.Endpoint
	if onion && r.target.Twin != "" {
		wg.Go(func() { twin = r.twin(ctx) })
	}
	if r.Login != nil {
		r.met = make(chan door, len(r.seen.Endpoints))
		wg.Go(func() { r.seen.Login = r.login(ctx) })
	}
	for i := range r.seen.Endpoints {
		if !guess(&r.seen.Endpoints[i]) && !r.seen.Endpoints[i].Left {
			wg.Go(func() { r.endpoint(ctx, &r.seen.Endpoints[i]) })
		}
	}
	wg.Wait()
	for i := range r.seen.Endpoints {
		if guess(&r.seen.Endpoints[i]) {
			wg.Go(func() { r.endpoint(ctx, &r.seen.Endpoints[i]) })
		}
	}
	wg.Wait()
	if onion || slices.ContainsFunc(r.seen.Endpoints, func(e audit.Endpoint) bool { return e.At.Onion() }) {
		r.seen.Onion = onionOf(r.target, r.seen.Endpoints)
		if twin != nil {
			compareTwin(r.seen.Onion, r.seen.Endpoints, twin)
		}
	}
}

// guess is an endpoint at an onion address that nothing names. It has to wait: an onion
// service answers a port that it does not have by closing the circuit, with everything
// else that goes over it (tor(1), HiddenServiceAllowUnknownPorts).
func guess(e *audit.Endpoint) bool {
	return e.At.Onion() && e.Source == "default port" && (e.Service == audit.S2S || e.At.Transport != policy.STARTTLS)
}

// say tells of a probe that ended.
func (r *run) say(format string, args ...any) {
	if r.Progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Progress(fmt.Sprintf(format, args...))
}

// slot waits until one more connection may be opened; free gives it back. It fails
// when the run is over.
func (r *run) slot(ctx context.Context) (free func(), err error) {
	select {
	case r.slots <- struct{}{}:
		return func() { <-r.slots }, nil
	case <-ctx.Done():
		return nil, unless(ctx, errOver)
	}
}

// unless is err, unless whoever wanted the run has called it off.
func unless(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errOff
	}
	return err
}

// errOff is a probe that was called off with the whole run.
var errOff = errors.New("it was called off before this could be looked at")

// errOver is a probe for which no time was left.
var errOver = errors.New("the time for the whole run was over before this could be looked at")

// errSlow is a probe that took too long.
var errSlow = errors.New("it took more time than one probe may")

// step is one probe: within its budget and beside others. What it returns is why it
// could not see what it should.
func (r *run) step(ctx context.Context, what string, probe func(ctx context.Context) error) string {
	return r.within(ctx, r.Step, what, probe)
}

// within is step with another budget.
func (r *run) within(ctx context.Context, budget time.Duration, what string, probe func(ctx context.Context) error) string {
	free, err := r.slot(ctx)
	if err == nil {
		inner, cancel := context.WithTimeout(ctx, budget)
		err = probe(inner)
		if err != nil && inner.Err() != nil {
			err = unless(ctx, errSlow)
		}
		cancel()
		free()
	}
	if err != nil {
		why := clip(reason(err))
		r.say("%s: %s", what, why)
		return why
	}
	r.say("%s", what)
	return ""
}
