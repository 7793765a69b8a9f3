package onion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Publication is one address that a Tor shall publish. [Entry.Publications]
// makes it.
type Publication struct {
	Service
	Address string // with ".onion"; differs from the service's for a former one
	Dir     string // the HiddenServiceDir, with key and clients
	Targets []Port // what Tor connects to

	clients []string // the public keys of those that are let in; none: everybody
}

// Publish makes exactly these services published: others that it was given
// before end. It returns once Tor has taken the settings; [Tor.Services] and
// [Tor.WaitPublished] tell how far the descriptors are. To publish what is
// published does nothing.
//
// Who is let in is read from the folders anew. Where that became less, the
// service gets new introduction points, since whoever has its old descriptor
// could come in by the old ones for hours; connections that are open end.
//
// ctx bounds the wait for other calls, and for the second Tor that single-hop
// services need. After an error some of the services may be published; the same
// call may simply be made again.
func (t *Tor) Publish(ctx context.Context, all []Publication) error {
	ctx, release, err := t.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	all, err = inspect(all)
	if err != nil {
		return err
	}
	var anonymous, direct []Publication
	for _, p := range all {
		if p.SingleHop && !t.options.singleHop {
			direct = append(direct, p)
		} else {
			anonymous = append(anonymous, p)
		}
	}
	// What fails in one half does not keep the other from being published.
	return t.cause(errors.Join(t.publish(ctx, anonymous), t.publishDirect(ctx, direct)))
}

// take waits for the slot, and makes a context that Close ends as well.
func (t *Tor) take(ctx context.Context) (_ context.Context, release func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(t.life, cancel)
	release = func() { stop(); cancel() }
	select {
	case t.slot <- struct{}{}:
		free := release
		release = func() { free(); <-t.slot }
		err = ctx.Err()
	case <-ctx.Done():
		err = ctx.Err()
	}
	if t.life.Err() != nil {
		err = ErrControlClosed
	}
	if err != nil {
		release()
	}
	return ctx, release, err
}

// cause is err, or that Close was called.
func (t *Tor) cause(err error) error {
	if err != nil && t.life.Err() != nil {
		return ErrControlClosed
	}
	return err
}

// inspect checks what is to be published before Tor hears of it, and reads the
// clients' keys.
func inspect(all []Publication) ([]Publication, error) {
	out := slices.Clone(all)
	seen := make(map[string]string)
	for i := range out {
		p := &out[i]
		key, err := ReadKeyFile(join(p.Dir, secretFile))
		if err != nil {
			return nil, err
		}
		if key.Address() != p.Address {
			return nil, fmt.Errorf("the folder of the onion service %q has the key of another address now: read it again", p.Name)
		}
		if other, ok := seen[p.Address]; ok {
			return nil, fmt.Errorf("the onion services %q and %q have the same key", other, p.Name)
		}
		seen[p.Address] = p.Name
		if len(p.Targets) == 0 {
			return nil, fmt.Errorf("the onion service %q has no port", p.Name)
		}
		for _, port := range p.Targets {
			err := port.check()
			if err == nil && (port.Target == TargetNode || port.Target == TargetNodeTLS) {
				err = errors.New("the server in this process has no address that Tor could connect to")
			}
			if err != nil {
				return nil, fmt.Errorf("the onion service %q: %w", p.Name, err)
			}
		}
		if p.clients, err = clientKeys(p.Dir); err != nil {
			return nil, err
		}
		slices.Sort(p.clients)
	}
	return out, nil
}

// publisher is how a kind of Tor is told what to publish.
type publisher interface {
	// set makes exactly next published. close names the addresses whose
	// introduction points must not be used any more.
	set(ctx context.Context, next []Publication, close map[string]bool) error
	// end gives up what belongs to the publisher.
	end()
}

// publish is Publish for the services of this very Tor.
func (t *Tor) publish(ctx context.Context, next []Publication) error {
	if len(next) == 0 && len(t.published) == 0 && !t.unsure {
		return nil
	}
	if t.control == nil {
		return fmt.Errorf("onion services cannot be published: %w", t.noControl())
	}
	plan := compare(t.published, next)
	for _, p := range next {
		if t.closing[p.Address] {
			plan.close[p.Address] = true
		}
	}
	if !plan.any && !t.unsure && t.uploads.watching() {
		return nil
	}
	// Before Tor is told: no upload must happen unseen.
	if err := t.watchUploads(ctx); err != nil {
		return err
	}
	undo := t.uploads.expect(next, plan.upload)
	// From here on the answer is waited for: half a change helps nobody.
	if err := t.publisher.set(context.WithoutCancel(ctx), next, plan.close); err != nil {
		undo(err)
		// The next call says all again, and closes what this one should have.
		t.published, t.unsure, t.closing = nil, true, plan.close
		return err
	}
	t.published, t.unsure, t.closing = next, false, nil
	return nil
}

// watchUploads subscribes to what becomes of descriptors, once.
func (t *Tor) watchUploads(ctx context.Context) error {
	if t.uploads.watching() {
		return nil
	}
	events, err := t.control.Events(ctx, "HS_DESC")
	if err != nil {
		return err
	}
	t.uploads.follow(t.life, events, func(err error) {
		if t.child == nil && t.life.Err() == nil {
			t.lose(err)
		}
	})
	return nil
}

// plan is what a change means for the descriptors.
type plan struct {
	any    bool            // there is a change at all
	upload map[string]bool // addresses whose descriptor will be uploaded
	close  map[string]bool // addresses that fewer may enter than before
}

func compare(old, next []Publication) plan {
	p := plan{any: len(old) != len(next), upload: make(map[string]bool), close: make(map[string]bool)}
	for _, n := range next {
		i := slices.IndexFunc(old, func(o Publication) bool { return o.Address == n.Address })
		if i < 0 {
			p.any, p.upload[n.Address] = true, true
			continue
		}
		o := old[i]
		if o.settings() != n.settings() {
			p.any = true
		}
		if slices.Equal(o.clients, n.clients) {
			continue
		}
		p.any, p.upload[n.Address] = true, true
		fewer := len(o.clients) == 0 || slices.ContainsFunc(o.clients, func(c string) bool { return !slices.Contains(n.clients, c) })
		if fewer && len(n.clients) > 0 {
			p.close[n.Address] = true
		}
	}
	return p
}

// settings is all that Tor is told of p but the clients, to be compared.
func (p Publication) settings() string {
	return fmt.Sprint(p.Dir, p.Targets, p.CircuitID, p.PoW, p.IntroPoints, p.MaxStreams, p.Backend)
}

// Services tells how far each published address is, by name and address.
func (t *Tor) Services() []ServiceState {
	t.mu.Lock()
	second, waiting := t.second, t.waiting
	t.mu.Unlock()
	all := t.uploads.states()
	if second != nil {
		all = append(all, second.Services()...)
	}
	for _, w := range waiting {
		if !slices.ContainsFunc(all, func(s ServiceState) bool { return s.Address == w.Address }) {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b ServiceState) int {
		return strings.Compare(a.Name+"\x00"+a.Address, b.Name+"\x00"+b.Address)
	})
	return all
}

// WaitPublished waits until an address is published. It ends with an error when
// ctx is over, when Tor ended, or when the address is no longer wanted.
func (t *Tor) WaitPublished(ctx context.Context, address string) error {
	for {
		changed := t.changes.next()
		all := t.Services()
		i := slices.IndexFunc(all, func(s ServiceState) bool { return s.Address == address })
		if i < 0 {
			return fmt.Errorf("%s is not among the onion services that this tor publishes", address)
		}
		if all[i].State == StatePublished {
			return nil
		}
		select {
		case <-changed:
		case <-t.life.Done():
			return ErrControlClosed
		case <-t.Done():
			return errors.New("tor ended before the onion service was published; it is published again when tor is back")
		case <-ctx.Done():
			return fmt.Errorf("the onion service is not published yet: %s: %w", all[i].progress(), ctx.Err())
		}
	}
}

// signal wakes all who wait for a change, and tells one callback of it.
type signal struct {
	mu      sync.Mutex
	changed chan struct{}
}

// next is closed at the next change.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

// tell calls fn after next is closed and after later changes, until ctx is over.
// Changes that come while it runs are one more call.
func (s *signal) tell(ctx context.Context, next <-chan struct{}, fn func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
		next = s.next()
		fn()
	}
}
