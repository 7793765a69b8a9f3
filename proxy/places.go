package proxy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
)

// OnionMemory remembers the domains that were reached at an onion address, so that
// policy does not let them be reached elsewhere; addressbook.Store is the real one.
type OnionMemory interface {
	// Reached is told of a login that succeeded at e, where TLS proved the domain.
	Reached(domain string, e policy.Endpoint) error
}

// upgradeTime is what an onion address that discovery gave may cost a login while
// there are other places to try.
const upgradeTime = 30 * time.Second

// endpoints says where to go: the owner's word first, then the address book and
// what was remembered, DNS over the same route last. An onion endpoint that the
// owner bound to the domain is the only one, and so are those that are known.
func (s *session) endpoints(ctx context.Context, d policy.Decision, w *way) ([]policy.Endpoint, error) {
	switch {
	case d.Onion != nil:
		return []policy.Endpoint{*d.Onion}, nil
	case len(d.Endpoints) > 0:
		return d.Endpoints, nil
	case len(d.Known.Endpoints) > 0:
		return d.Known.Endpoints, nil
	}
	return s.discover(ctx, d, w)
}

// discover asks DNS and, through Tor, the domain's host-meta. A domain that was
// reached at an onion address is looked for at onion addresses only.
func (s *session) discover(ctx context.Context, d policy.Decision, w *way) ([]policy.Endpoint, error) {
	o := resolve.Options{Onion: d.Route.ViaTor() && d.Upgrade == policy.UpgradeSticky, OnionOnly: d.Known.Since != ""}
	// An onion address has no TLSA records.
	o.Onion = o.Onion && d.TLS != policy.TLSDANEOnly
	// And who has a certificate for the domain should not get around those of its host.
	if o.Onion && !d.TLS.UsesTLSA() {
		roots, err := tlsauth.Roots(s.gw.cfg.Roots, d)
		if err != nil {
			return nil, &localFile{"ca", err}
		}
		o.Links = s.gw.links.Over(resolve.HostMeta{Dial: w, Roots: roots}, w.circuit)
	}
	found, err := s.find(ctx, d, w, o)
	if err != nil {
		return nil, err
	}
	return found[:min(len(found), maxEndpoints)], nil
}

// otherOnions looks for onion addresses of a domain whose known ones all failed:
// its operator may have new ones. What an address book says is not searched behind.
func (s *session) otherOnions(ctx context.Context, d policy.Decision, w *way) []policy.Endpoint {
	if d.Known.Since == "" || d.Known.Listed || len(d.Known.Endpoints) == 0 || d.Upgrade != policy.UpgradeSticky {
		return nil
	}
	found, err := s.discover(ctx, d, w)
	if err != nil {
		return nil // what failed before says more
	}
	return slices.DeleteFunc(found, func(e policy.Endpoint) bool { return slices.Contains(d.Known.Endpoints, e) })
}

// onward bounds a dial: an onion address that is only an upgrade, with others
// behind it, gets less time than a dead one would take.
func (s *session) onward(parent context.Context, e policy.Endpoint, behind []policy.Endpoint) (context.Context, context.CancelFunc) {
	if e.Onion() && slices.ContainsFunc(behind, func(o policy.Endpoint) bool { return !o.Onion() }) {
		return context.WithTimeout(parent, upgradeTime)
	}
	return parent, func() {}
}

// upgraded reports whether e is an onion address that only DNS or the domain's web
// server named, over one circuit: no owner, no address book, no earlier login.
func upgraded(d policy.Decision, e policy.Endpoint) bool {
	return e.Onion() && !policy.IsOnion(d.Target.Domain) && d.Onion == nil && len(d.Endpoints) == 0 && !slices.Contains(d.Known.Endpoints, e)
}

// namedAgain asks over w, another circuit than the one that named it, whether the
// domain names e, which is upgraded.
func (s *session) namedAgain(ctx context.Context, d policy.Decision, w *way, e policy.Endpoint) (err error) {
	var found []policy.Endpoint
	switch {
	case e.Transport == policy.WebSocket: // of the web server, and not as it is remembered
		roots, err := tlsauth.Roots(s.gw.cfg.Roots, d)
		if err != nil {
			return &localFile{"ca", err}
		}
		if found, err = (resolve.HostMeta{Dial: w, Roots: roots}).Onions(ctx, d.Target.Domain); err != nil {
			return err
		}
	case d.DNSSEC == policy.DNSSECOff:
		found, err = resolve.Discover(ctx, s.live.Lookup(w), d.Target.Domain, resolve.Options{Onion: true})
	default:
		found, _, err = w.secure.Discover(ctx, d.Target.Domain, resolve.Options{Onion: true})
	}
	if err == nil && !slices.Contains(found, e) {
		s.gw.links.Forget(d.Target.Domain)
		err = tlsauth.ErrElsewhere
	}
	return err
}

// keepOnion remembers that the domain was reached at an onion address, now that
// the login there succeeded. The address proved nothing; TLS did. Where the owner
// named the place there is nothing to remember.
func (s *session) keepOnion(up *upstream) {
	d := s.decision
	if s.gw.cfg.Onions == nil || !up.endpoint.Onion() || up.tls == nil || up.tls.Doubted || d.Upgrade != policy.UpgradeSticky ||
		d.Onion != nil || len(d.Endpoints) > 0 || policy.IsOnion(s.domain) {
		return
	}
	if err := s.gw.cfg.Onions.Reached(s.domain, up.endpoint); err != nil {
		s.log().Warn("cannot remember that this domain has an onion address", "error", err)
	}
}

// onionFailed is a domain that is reached at known onion addresses only, none of
// which would do. It tells the owner how to lift that.
type onionFailed struct {
	err    error
	domain string
	known  policy.Known
}

func (e *onionFailed) Error() string { return e.with(e.err.Error()) }
func (e *onionFailed) Unwrap() error { return e.err }

// with is text and what the owner can do.
func (e *onionFailed) with(text string) string {
	text = strings.TrimRight(text, ". ") + ". "
	if e.known.Listed {
		return text + "The onion address is from " + e.known.Source + "; `xmpp-gw onion map list` shows it, and a section for the domain in the configuration goes before it."
	}
	return text + "Since a login at its onion address on " + e.known.Since + " the gateway reaches the domain in no other way; to lift that, run `" + policy.Forget(e.domain) + "`."
}

// notOnion refuses a place that is no onion address where only those may be tried.
func notOnion(d policy.Decision, e policy.Endpoint) error {
	if e.Onion() || d.Known.Since == "" && len(d.Known.Endpoints) == 0 {
		return nil
	}
	return &Refused{class: "onion-only", Text: "The server is not at an onion address there, where alone this domain may be reached."}
}

// tooSlow is the error for an upgrade that took its time.
func tooSlow(parent context.Context, d policy.Decision, err error) error {
	if parent.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if own := (*egress.Error)(nil); errors.As(err, &own) {
		return err
	}
	return &egress.Error{Route: d.Route, Kind: egress.ErrTimeout, What: "the onion service did not answer in time",
		Why: "the time allowed for it, while there are other places to try, is over", Hint: "try again in a few minutes", Err: err}
}
