package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
)

// checkTime is how long a target may take to answer somebody who asks for the
// state of its service.
const checkTime = 2 * time.Second

// live completes what the shelf says of a service with what is in the network.
func (p *publisher) live(ctx context.Context, o control.Onion, states map[string]onion.ServiceState) control.Onion {
	if o.State != control.OnionWaiting {
		return o
	}
	o.Hint = ""
	p.mu.Lock()
	err := errors.Join(p.failures[o.Name], p.failures[allServices])
	p.mu.Unlock()
	state, known := states[o.Address]
	tor := p.tor.Status()
	switch {
	case known:
		o.State, o.Uploaded, o.Uploads, o.Error = string(state.State), state.Uploaded, state.Uploads, state.Error
		if err != nil && o.Error == "" {
			o.Error = err.Error() // it is published as it was before the last change
		}
	case err != nil:
		o.State, o.Error = control.OnionFailed, err.Error()
	case tor.State == control.StateReady:
		o.State = control.OnionPublishing
	case tor.State == control.StateFailed:
		o.State, o.Error, o.Hint = control.OnionFailed, "tor cannot be used: "+tor.Error, tor.Hint
	default:
		o.Error = "tor is " + torText(tor)
	}
	var wg sync.WaitGroup
	for i := range o.Ports {
		port := &o.Ports[i]
		wg.Go(func() {
			refused, err := p.gates.check(ctx, o.Name, port.Port)
			port.Refused = refused
			if err != nil {
				port.Error = err.Error()
			}
		})
	}
	wg.Wait()
	return o
}

// Onions is part of [control.Onions].
func (p *publisher) Onions(ctx context.Context) ([]control.Onion, error) {
	list, err := p.onionShelf.Onions(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	states := p.states()
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() { list[i] = p.live(ctx, list[i], states) })
	}
	wg.Wait()
	return list, nil
}

// Onion is part of [control.Onions].
func (p *publisher) Onion(ctx context.Context, name string) (control.Onion, error) {
	o, err := p.onionShelf.Onion(ctx, name)
	if err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return p.live(ctx, o, p.states()), nil
}

// applyTime is how long an answer may wait for tor, well below what the control
// socket allows: a tor that is slow to start must not cost anybody the answer.
const applyTime = 15 * time.Second

// now waits until run has told tor of a change of the shelf. The change stands
// whatever tor says of it, which is then tried again. An error says that tor was
// not told in time.
func (p *publisher) now(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, applyTime)
	defer cancel()
	p.mu.Lock()
	p.asked++
	mine := p.asked
	p.mu.Unlock()
	p.changed()
	for {
		p.mu.Lock()
		over, ended := p.done >= mine, p.ended
		p.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return errors.New("it is still busy with something else, such as its start")
		}
	}
}

// Publish is part of [control.Onions].
func (p *publisher) Publish(ctx context.Context, q control.Publication) (control.Onion, error) {
	o, err := p.onionShelf.Publish(ctx, q)
	if err != nil || q.KeyOnly {
		return o, err
	}
	_ = p.now(ctx) // its error is the state's
	return p.Onion(ctx, o.Name)
}

// Unpublish is part of [control.Onions]. A key is forgotten only once tor has given
// the service up: else the address would live on without anybody able to end it,
// and a tor that reads its settings in between would make the folder anew.
func (p *publisher) Unpublish(ctx context.Context, name string, forgetKey bool) error {
	err := p.nodeStays(name, forgetKey) // before anything is done
	if err == nil {
		err = p.onionShelf.Unpublish(ctx, name, false)
	}
	if err == nil {
		err = p.late(ctx, allServices)
	} else if _, broken := p.services.Get(name); forgetKey && broken != nil && !errors.Is(broken, onion.ErrNoService) {
		err = p.late(ctx, allServices) // it cannot be used, so it is not published
	}
	if err != nil || !forgetKey {
		return err
	}
	return p.onionShelf.Unpublish(ctx, name, true)
}

// Rotate is part of [control.Onions].
func (p *publisher) Rotate(ctx context.Context, name string, overlap time.Duration) (control.Onion, error) {
	if _, err := p.onionShelf.Rotate(ctx, name, overlap); err != nil {
		return control.Onion{}, err
	}
	_ = p.now(ctx)
	return p.Onion(ctx, name)
}

// AddClient is part of [control.Onions].
func (p *publisher) AddClient(ctx context.Context, name, client string) (control.OnionClient, error) {
	c, err := p.onionShelf.AddClient(ctx, name, client)
	if err == nil {
		_ = p.now(ctx) // the string is given once, and must not be lost
	}
	return c, err
}

// RemoveClient is part of [control.Onions].
func (p *publisher) RemoveClient(ctx context.Context, name, client string) error {
	if err := p.onionShelf.RemoveClient(ctx, name, client); err != nil {
		return err
	}
	return p.late(ctx, allServices)
}

// Open is part of [control.Onions].
func (p *publisher) Open(ctx context.Context, name string) error {
	if err := p.onionShelf.Open(ctx, name); err != nil {
		return err
	}
	return p.late(ctx, allServices)
}

// AddAuth is part of [control.Onions].
func (p *publisher) AddAuth(ctx context.Context, line string) (string, error) {
	address, err := p.onionShelf.AddAuth(ctx, line)
	if err != nil {
		return "", err
	}
	return address, p.late(ctx, authKeys)
}

// RemoveAuth is part of [control.Onions].
func (p *publisher) RemoveAuth(ctx context.Context, address string) error {
	if err := p.onionShelf.RemoveAuth(ctx, address); err != nil {
		return err
	}
	return p.late(ctx, authKeys)
}

// late is now, for a change that must not be believed in before tor has it: about
// whom it is, is one of the names of failures.
func (p *publisher) late(ctx context.Context, whom string) error {
	err := p.now(ctx)
	if err == nil {
		p.mu.Lock()
		err = p.failures[whom]
		p.mu.Unlock()
	}
	if err != nil {
		return &control.Error{
			What: "it is noted, but tor does not do it yet", Why: err.Error(),
			Hint: "it is tried again from time to time; to be sure at once, stop `xmpp-gw run` and start it again",
		}
	}
	return nil
}
