package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/dnssec"
	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/probe"
)

// checkParallel is how many targets are looked at at the same time.
const checkParallel = 4

// look is a target and what policy says of it.
type look struct {
	*aim
	decision policy.Decision
	err      error // why it is not looked at
}

// decideAll asks policy about every target.
func (j *checkJob) decideAll() []*look {
	looks := make([]*look, len(j.aims))
	for i, a := range j.aims {
		looks[i] = &look{aim: a}
		looks[i].decision, looks[i].err = j.decide(a)
	}
	return looks
}

// decide is what policy says of a target, with what the command line puts in its
// place. An onion address goes by Tor or not at all.
func (j *checkJob) decide(a *aim) (policy.Decision, error) {
	target, rules, tor := policy.Target{Domain: a.domain}, j.rules, policy.Route{Kind: policy.RouteTor}
	switch via, isOnion := j.via, policy.IsOnion(a.domain); {
	case via.Kind != policy.RouteUnset && (!isOnion || via.ViaTor()):
		rules = sentBy(rules, via)
	case isOnion:
		d, _ := rules.Decide(target)
		if via.Kind != policy.RouteUnset || d.Route.Kind != policy.RouteBlock && !d.Route.ViaTor() {
			rules = sentBy(rules, tor)
		}
	}
	d, err := rules.Decide(target)
	if r, ok := errors.AsType[*policy.Refusal](err); ok && d.Route.Kind == policy.RouteBlock {
		blocked := *r
		blocked.Hint = "--via tor looks at it nevertheless; or give it another route in the configuration"
		err = &blocked
	}
	if err != nil {
		return d, err
	}
	switch {
	case len(a.endpoints) > 0:
		d.Endpoints = a.endpoints
	case d.Onion != nil:
		d.Endpoints = []policy.Endpoint{*d.Onion}
	case len(d.Endpoints) == 0:
		d.Endpoints = d.Known.Endpoints
	}
	if slices.ContainsFunc(d.Endpoints, policy.Endpoint.Onion) && !d.Route.ViaTor() {
		return d, &policy.Refusal{Domain: a.domain, Why: "an onion address is to be looked at, which only Tor can reach", Hint: "Go by --via tor"}
	}
	if d.Route.ViaTor() && (a.domain == "localhost" || strings.HasSuffix(a.domain, ".localhost")) {
		return d, &policy.Refusal{Domain: a.domain, Why: "it is this machine, and its route (" + d.Route.String() + ") leads elsewhere",
			Hint: "--via direct looks at the server here; --self at this machine's set-up"}
	}
	if j.ca != "" {
		d.CAFile = j.ca
	}
	return d, nil
}

// sentBy is rules with another route for everything.
func sentBy(rules policy.Rules, route policy.Route) policy.Rules {
	value := policy.Value[policy.Route]{V: route, Source: "--via"}
	rules.Default.Route = value
	rules.Domains = maps.Clone(rules.Domains)
	for domain, rule := range rules.Domains {
		if rule.Route.IsSet() {
			rule.Route = value
			rules.Domains[domain] = rule
		}
	}
	return rules
}

// lookAll looks at this machine and at all targets, some at a time, and gives their
// reports in the order of the command line, and what a person must be told of those
// that were not looked at.
func (j *checkJob) lookAll(ctx context.Context, w *ways, looks []*look) (reports []*audit.Report, failures []*missed) {
	defer j.tor.close()
	if slices.ContainsFunc(looks, func(l *look) bool { return l.err == nil && l.decision.Route.ViaTor() }) {
		j.tor.start(ctx, j) // an error is for those that go by it
	}
	slots := make(chan struct{}, checkParallel)
	found := make([]*audit.Report, len(looks))
	var wg sync.WaitGroup
	for i, l := range looks {
		if l.err == nil && l.decision.Route.ViaTor() {
			_, l.err = j.tor.SOCKS(ctx)
		}
		if l.err != nil {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if l.err = ctx.Err(); l.err == nil {
				found[i], l.err = j.look(ctx, w, l)
			}
		})
	}
	wg.Wait()
	if j.machine() {
		here, err := j.lookHere(ctx)
		if err != nil {
			here, failures = j.notLooked(&audit.Observation{At: time.Now()}, "this machine", j.why(ctx, err), failures)
		}
		reports = append(reports, here)
	}
	for i, l := range looks {
		clear(l.password)
		if l.err != nil {
			seen := &audit.Observation{Domain: l.domain, Via: l.decision.Route.String(), At: time.Now()}
			found[i], failures = j.notLooked(seen, policy.DisplayDomain(l.domain), j.why(ctx, l.err), failures)
		}
	}
	return append(reports, found...), failures
}

// why says why a target was not looked at, and what to do.
func (j *checkJob) why(ctx context.Context, err error) *problem {
	if r, ok := errors.AsType[*policy.Refusal](err); ok {
		p := &problem{why: r.Why, hint: r.Hint}
		if r.Source != "" {
			p.why += " (" + r.Source + ")"
		}
		return p
	}
	if ctx.Err() != nil {
		return &problem{why: "it was interrupted"}
	}
	p := explain(err)
	why := p.what
	if p.why != "" {
		why += ": " + p.why
	}
	return &problem{why: why, hint: p.hint}
}

// missed are targets that were not looked at, all for the same reason.
type missed struct {
	names []string
	*problem
}

// notLooked makes the report of a target that was not looked at, and adds it to what
// a person is told: what holds for several is said once.
func (j *checkJob) notLooked(seen *audit.Observation, name string, p *problem, all []*missed) (*audit.Report, []*missed) {
	r := j.report(seen, nil)
	r.Rule = "not looked at: " + audit.Clean(p.why)
	i := slices.IndexFunc(all, func(m *missed) bool { return m.why == p.why })
	if i < 0 {
		i, all = len(all), append(all, &missed{problem: p})
	}
	m := all[i]
	m.names = append(m.names, name)
	m.what = strings.Join(m.names, ", ") + map[bool]string{true: " was not looked at", false: " were not looked at"}[len(m.names) == 1]
	return r, all
}

// ways are the ways out, of which policy chooses one for each target.
type ways struct {
	set     *egress.Set
	dns     *resolve.Client
	anchors []*dns.DS
	logs    *ct.List
	isolate egress.Isolator
}

func (j *checkJob) waysOut() (*ways, error) {
	set, client, err := waysOut(j.settings, j.tor.SOCKS)
	if err != nil {
		return nil, err
	}
	anchors, err := trustAnchors(j.settings.DNS.TrustAnchors)
	if err != nil {
		return nil, err
	}
	logs, err := ctLogs(j.settings.CT.Logs)
	if err != nil {
		return nil, err
	}
	return &ways{set: set, dns: client, anchors: anchors, logs: logs}, nil
}

// look looks at one target by the way that was decided.
func (j *checkJob) look(ctx context.Context, w *ways, l *look) (*audit.Report, error) {
	d := l.decision
	dialer, err := w.set.Dialer(d.Route, w.isolate.For("check", l.account, l.domain))
	if err != nil {
		return nil, err
	}
	budget := j.Duration("timeout")
	o := probe.Options{
		Via: d.Route.String(), Dialer: dialer, S2S: j.Bool("s2s"), Budget: budget, Logs: w.logs,
		Progress: func(line string) { j.progress.line(l.domain, line) },
	}
	if d.Route.ViaTor() {
		// Another circuit, with another exit: a look with other eyes. A second
		// connection by any other route would see what the first one saw.
		if o.Second, err = w.set.Dialer(d.Route, w.isolate.For("check again", l.account, l.domain)); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(d.Endpoints, policy.Endpoint.Onion) || policy.IsOnion(l.domain) {
		o.Step = budget / 2 // two circuits that meet take their time
	}
	if o.Roots, err = tlsauth.Roots(nil, d); err != nil {
		return nil, &problem{what: "the authority for it cannot be used", why: err.Error(), hint: "see ca in the configuration, or --ca"}
	}
	client := w.dns.Over(dialer)
	client.Timeout = min(resolve.DefaultTimeout, budget/8) // so that the second server has its turn within a probe
	o.Lookup = dnssec.New(dnssec.Config{Exchange: client.Exchange, Anchors: w.anchors}).Lookup
	if l.password != nil {
		o.Login = &probe.Login{JID: l.account, Password: l.password, Plain: d.AuthMin == policy.AuthPlain,
			Bound: d.AuthMin >= policy.AuthSCRAMPlus || d.Binding == policy.BindingRequire, Proves: d.OnionProves}
	}
	seen, err := probe.Probe(ctx, probe.Target{Domain: l.domain, Endpoints: d.Endpoints, Twin: j.twin(l.domain)}, o)
	if err != nil {
		return nil, err
	}
	seen.OwnRoots = d.CAFile != ""
	return j.report(seen, j.checks), nil
}

// twin is the domain whose server the configuration says is at an onion address.
func (j *checkJob) twin(onion string) string {
	if !policy.IsOnion(onion) {
		return ""
	}
	for _, domain := range slices.Sorted(maps.Keys(j.rules.Domains)) {
		if rule := j.rules.Domains[domain]; rule.Onion.IsSet() && rule.Onion.V.Host == onion && !policy.IsOnion(domain) {
			return domain
		}
	}
	return ""
}

// report judges what was seen.
func (j *checkJob) report(seen *audit.Observation, checks []audit.Check) *audit.Report {
	r := audit.NewReport(seen, audit.Judge(seen, checks))
	if n := len(audit.Checks()); len(checks) > 0 && len(checks) < n {
		r.Rule += fmt.Sprintf(" (of %d of %d checks: --only)", len(checks), n)
	}
	if j.policy != nil {
		r.Met = j.policy.Compare(r.Findings, time.Now())
	}
	return r
}

// paths are the places of this program; they exist or not.
func (j *checkJob) paths() (paths, error) { return findPaths(j.String("state-dir"), os.Getenv) }
