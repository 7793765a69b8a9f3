package onion

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// singleHopDir is the data directory of the second Tor, beside the first's.
const singleHopDir = "-single-hop"

// How long the second Tor's restart waits: twice as long after each failure.
const (
	secondPauseMin = time.Second
	secondPauseMax = time.Minute
)

// publishDirect publishes services that are not anonymous, by a second Tor: one
// process is either anonymous or not, and one that is not must not carry
// anybody's connections. It is called with the slot taken.
func (t *Tor) publishDirect(ctx context.Context, all []Publication) error {
	t.mu.Lock()
	second := t.second
	t.mu.Unlock()
	if len(all) == 0 {
		t.setSecond(nil, nil, nil)
		if second != nil {
			return second.Close()
		}
		return nil
	}
	if second != nil {
		t.setSecond(second, all, nil)
		return second.Publish(ctx, all)
	}
	second, err := t.startSecond(ctx)
	t.setSecond(second, all, err)
	if err != nil {
		go t.retrySecond()
		return fmt.Errorf("the tor for single-hop services: %w", err)
	}
	go t.guardSecond(second)
	return second.Publish(ctx, all)
}

func (t *Tor) startSecond(ctx context.Context) (*Tor, error) {
	o := t.options
	switch {
	case o.DataDir == "":
		return nil, errors.New("it needs a data directory")
	case len(o.Bridges) > 0:
		return nil, errors.New("it connects to relays directly and shows this machine's address to them, while the configuration has bridges to hide that it uses Tor: give up one of the two")
	}
	o.Mode, o.DataDir, o.singleHop = ModeManaged, o.DataDir+singleHopDir, true
	o.Progress = func(Progress) {}
	o.ServicesChanged = t.changes.fire
	return Start(ctx, o)
}

// setSecond notes the second Tor and what it shall publish, which counts for
// what it does not know of yet; while there is none, err says why.
func (t *Tor) setSecond(second *Tor, all []Publication, err error) {
	t.mu.Lock()
	t.second, t.direct, t.waiting = second, all, nil
	for _, p := range all {
		s := ServiceState{Name: p.Name, Address: p.Address, State: StatePublishing}
		if err != nil {
			s.State, s.Error = StateFailed, err.Error()
		}
		t.waiting = append(t.waiting, s)
	}
	t.mu.Unlock()
	t.changes.fire()
}

// guardSecond starts the second Tor anew when it died.
func (t *Tor) guardSecond(second *Tor) {
	select {
	case <-second.Done():
	case <-t.life.Done():
		return
	}
	err := second.Err()
	second.Close()
	t.mu.Lock()
	current, all := t.second == second, t.direct
	t.mu.Unlock()
	if current && err != nil {
		t.setSecond(nil, all, err)
		t.retrySecond()
	}
}

// retrySecond tries until the second Tor runs, nobody wants it, or somebody else
// has started it.
func (t *Tor) retrySecond() {
	t.mu.Lock()
	busy := t.retrying
	t.retrying = true
	t.mu.Unlock()
	if busy {
		return
	}
	defer func() {
		t.mu.Lock()
		t.retrying = false
		t.mu.Unlock()
	}()
	for pause := secondPauseMin; ; pause = min(2*pause, secondPauseMax) {
		select {
		case <-time.After(pause):
		case <-t.life.Done():
			return
		}
		if t.trySecond() {
			return
		}
	}
}

func (t *Tor) trySecond() (done bool) {
	select {
	case t.slot <- struct{}{}:
		defer func() { <-t.slot }()
	case <-t.life.Done():
		return true
	}
	t.mu.Lock()
	second, all := t.second, t.direct
	t.mu.Unlock()
	if second != nil || len(all) == 0 {
		return true
	}
	second, err := t.startSecond(t.life)
	if err != nil {
		t.setSecond(nil, all, err)
		return false
	}
	t.setSecond(second, all, nil)
	go t.guardSecond(second)
	if err := second.Publish(t.life, all); err != nil {
		t.options.Log.Warn("a single-hop onion service is not published", "why", err)
	}
	return true
}
