package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"xmpp-gw/internal/forward"
	"xmpp-gw/onion"
)

// How long the publisher waits before it asks a tor again that refused: twice as
// long after each refusal in a row.
const (
	publishPauseMin = 2 * time.Second
	publishPauseMax = time.Minute
)

// shelfLook is how often the shelf is looked at unasked: a command that did not
// find our control socket may have changed it. Tor hears of it only if so.
const shelfLook = 15 * time.Second

// publisher makes the network agree with the shelf. It goes over the whole of it
// again whenever anything changes (the shelf, tor, the time), and telling tor
// what it knows already does nothing; so a tor that was killed and started again
// gets everything, and nothing has to be remembered.
type publisher struct {
	*onionShelf
	tor     *torKeeper
	gates   *gates
	console *console
	notify  func() // tells the service manager
	pause   time.Duration
	poke    chan struct{} // something changed

	// Of run alone.
	told     bool // this or an earlier tor was told of services
	authed   bool // and of keys
	replaced bool // the system's tor was given up once for our own

	mu       sync.Mutex
	asked    uint64            // looks that were asked for, see now
	done     uint64            // how many of them were over when the last one ended
	ended    chan struct{}     // closed when one ends
	failures map[string]error  // by service, or one of the names below
	announce map[string]string // what was last printed of an address
}

// What may fail besides a service; no service has such a name.
const (
	allServices = ""       // tor, or the shelf, refused
	authKeys    = "(keys)" // tor did not take the keys for other people's services
)

func newPublisher(shelf *onionShelf, tor *torKeeper, g *gates, c *console, notify func()) *publisher {
	return &publisher{
		onionShelf: shelf, tor: tor, gates: g, console: c, notify: notify, pause: publishPauseMin,
		poke: make(chan struct{}, 1), ended: make(chan struct{}), announce: make(map[string]string),
	}
}

// changed asks for another look. It may be called from anywhere.
func (p *publisher) changed() {
	select {
	case p.poke <- struct{}{}:
	default:
	}
}

// run keeps tor told until ctx ends. The gates are left open.
func (p *publisher) run(ctx context.Context) {
	pause := p.pause
	for ctx.Err() == nil {
		_, torChanged, _ := p.tor.get() // before apply, so that no change is missed
		p.mu.Lock()
		asked := p.asked
		p.mu.Unlock()
		next, err := p.apply(ctx)
		p.mu.Lock()
		p.done = asked
		close(p.ended)
		p.ended = make(chan struct{})
		p.mu.Unlock()
		if ctx.Err() == nil {
			p.tell()
		}
		wait := time.Until(next)
		if err != nil {
			wait = min(wait, pause)
			pause = min(2*pause, publishPauseMax)
		} else {
			pause = p.pause
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
		case <-torChanged:
		case <-p.poke:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// apply tells tor what stands on the shelf. It gives the time at which the shelf
// changes by itself, as a former address expires.
func (p *publisher) apply(ctx context.Context) (next time.Time, err error) {
	failures := make(map[string]error)
	defer func() {
		failures[allServices] = err
		p.report(ctx, failures)
		for _, failure := range failures {
			err = errors.Join(err, failure)
		}
	}()
	now := time.Now()
	next = now.Add(shelfLook)
	expired, err := p.services.Expire(now)
	for _, name := range expired {
		p.console.line("onion", "%s: a former address is given up, its time is over", name)
	}
	if err != nil {
		return next, err
	}
	entries, err := p.services.List()
	if err != nil {
		return next, err
	}
	all, services := p.publications(entries, failures)
	for _, s := range services {
		for _, old := range s.Previous {
			next = minTime(next, old.Until)
		}
	}
	keys, keysErr := p.clientKeys()
	failures[authKeys] = keysErr
	if len(services) > 0 {
		p.tor.want()
	}
	if tor, _, _ := p.tor.get(); tor != nil {
		err = p.hand(ctx, tor, all, keys, failures)
	}
	p.gates.keep(services) // after tor was told to connect elsewhere
	return next, err
}

// clientKeys are the keys for other people's services: of the configuration's
// folder, and then ours, which take the place of those for the same address.
func (p *publisher) clientKeys() (keys []onion.ClientKey, err error) {
	if dir := p.settings().Onion.ClientKeys; dir != "" {
		if keys, err = onion.ReadClientKeys(dir); err != nil {
			err = fmt.Errorf("onion.client_keys: %w", err)
		}
	}
	own, ownErr := p.auths.List()
	return append(keys, own...), errors.Join(err, ownErr)
}

// report keeps why something failed, and prints what is new of it.
func (p *publisher) report(ctx context.Context, failures map[string]error) {
	p.mu.Lock()
	before := p.failures
	p.failures = failures
	p.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	for name, err := range failures {
		if err == nil || before[name] != nil && before[name].Error() == err.Error() {
			continue
		}
		what := "the onion service " + name + " is not published"
		switch name {
		case allServices:
			what = "the onion services are not all published"
		case authKeys:
			what = "tor does not have the keys for other people's onion services"
		}
		p.console.fail(explain(refusal(what, err)))
	}
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// publications is what tor shall publish, with a gate for each port. A service
// that cannot be used does not keep the others from the network.
func (p *publisher) publications(entries []onion.Entry, failures map[string]error) (all []onion.Publication, services []onion.Service) {
	for _, e := range entries {
		if e.Err != nil {
			failures[e.Name] = e.Err
			continue
		}
		if e.Disabled {
			continue
		}
		// Again, since the listeners may have changed, and the file.
		err := p.targetsElsewhere(e.Service)
		var targets []onion.Port
		if err == nil {
			targets, err = p.gates.targets(e.Service)
		}
		if err != nil {
			failures[e.Name] = err
			continue
		}
		services = append(services, e.Service)
		all = append(all, e.Publications(targets)...)
	}
	return all, services
}

// targetsElsewhere refuses a service that would lead to this program.
func (p *publisher) targetsElsewhere(s onion.Service) error {
	for _, port := range s.Ports {
		if err := p.notOurselves(port.Target); err != nil {
			return err
		}
	}
	return nil
}

// hand gives tor the services and keys. A tor that never had any is not asked to
// have none: a system's tor would need its control port for that. A service that
// this kind of tor cannot do is left out.
func (p *publisher) hand(ctx context.Context, tor torDaemon, all []onion.Publication, keys []onion.ClientKey, failures map[string]error) error {
	if len(all) > 0 && !tor.Managed() && p.settings().Tor.Mode == "auto" && !p.replaced {
		// The system's tor was good enough until now; publishing takes our own. Once
		// alone: the daemon may have been started with another mode than it has now.
		p.replaced = true
		p.tor.again(tor)
		return nil
	}
	var err error
	if len(all) > 0 || p.told {
		p.told = true
		for {
			err = tor.Publish(ctx, all)
			e, ok := errors.AsType[*onion.ManagedOnlyError](err)
			if !ok || failures[e.Service] != nil {
				break
			}
			failures[e.Service] = e
			all = slices.DeleteFunc(all, func(q onion.Publication) bool { return q.Name == e.Service })
		}
	}
	if failures[authKeys] == nil && (len(keys) > 0 || p.authed) {
		p.authed = true
		failures[authKeys] = tor.Authorize(ctx, keys)
	}
	return err
}

// needsTor reports whether something on the shelf is for tor to publish.
func (p *publisher) needsTor() bool {
	all, err := p.services.List()
	return err == nil && slices.ContainsFunc(all, func(e onion.Entry) bool { return e.Err == nil && !e.Disabled })
}

// tell prints what has become of each address, once.
func (p *publisher) tell() {
	all, err := p.services.List()
	if err != nil {
		return
	}
	states := p.states()
	p.mu.Lock()
	defer p.mu.Unlock()
	news := false
	for _, e := range all {
		state, ok := states[e.Address]
		if !ok || p.announce[e.Address] == string(state.State) {
			continue
		}
		p.announce[e.Address] = string(state.State)
		news = true
		switch state.State {
		case onion.StatePublished:
			p.console.line("onion", "%s is published at %s, %s", e.Name, e.Address, portsText(e.Ports))
		case onion.StateFailed:
			p.console.warn("the onion service %s is not published (%s), and is tried again", e.Name, state.Error)
		}
	}
	for address := range p.announce {
		if _, ok := states[address]; !ok { // tor ended, or it was unpublished
			delete(p.announce, address)
			news = true
		}
	}
	if news {
		p.notify()
	}
}

// count is how many services are published, and how many should be.
func (p *publisher) count() (published, all int) {
	entries, err := p.services.List()
	if err != nil {
		return 0, 0
	}
	states := p.states()
	for _, e := range entries {
		if e.Disabled {
			continue
		}
		all++
		if states[e.Address].State == onion.StatePublished {
			published++
		}
	}
	return published, all
}

func portsText(ports []onion.Port) string {
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = strconv.Itoa(p.Virtual)
	}
	if len(list) == 1 {
		return "port " + list[0]
	}
	return "ports " + strings.Join(list, ", ")
}

// states is what tor says of its services, by address.
func (p *publisher) states() map[string]onion.ServiceState {
	states := make(map[string]onion.ServiceState)
	if tor, _, _ := p.tor.get(); tor != nil {
		for _, s := range tor.Services() {
			states[s.Address] = s
		}
	}
	return states
}

// onionLimits is what one circuit may do at a published service.
func (s *settings) onionLimits() forward.Limits {
	l := forward.DefaultLimits()
	l.Open, l.PerMinute = s.Onion.CircuitConnections, s.Onion.CircuitPerMinute
	return l
}
