package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
)

// How long the keeper waits before it starts Tor again: twice as long after each
// failure in a row.
const (
	torPauseMin = time.Second
	torPauseMax = time.Minute
)

// circuitsAge is how old a list of circuits may be: one that is asked for every
// session is asked of Tor once.
const circuitsAge = time.Second

// torDaemon is a Tor that is ready, as onion.Start gives one.
type torDaemon interface {
	SOCKS() string
	Version() string
	Managed() bool
	Circuits(ctx context.Context) (map[string]onion.Circuit, error)
	Health(ctx context.Context) (onion.Health, error)
	Publish(ctx context.Context, all []onion.Publication) error
	Services() []onion.ServiceState
	Authorize(ctx context.Context, keys []onion.ClientKey) error
	Done() <-chan struct{}
	Err() error
	Close() error
}

// torKeeper starts Tor, and starts it again when it ended or could not be
// started. Sessions that ask for Tor meanwhile wait while there is hope, and are
// told the reason while there is none.
type torKeeper struct {
	start  func(context.Context, func(onion.Progress)) (torDaemon, error)
	report func(control.Tor) // each change, one at a time
	pause  time.Duration     // between the first failure and the next try
	wanted chan struct{}     // closed once a rule goes through Tor
	redo   chan torDaemon    // this one is to be given up for another

	mu      sync.Mutex
	now     control.Tor
	daemon  torDaemon     // nil unless ready
	err     error         // why there is none, while the state is "failed" or "off"
	changed chan struct{} // closed at the next change

	circuitsMu sync.Mutex // held while Tor is asked, so that it is asked once
	circuits   map[string]onion.Circuit
	circuitsAt time.Time
}

// newTorKeeper makes a keeper; nothing happens until run and want.
func newTorKeeper(start func(context.Context, func(onion.Progress)) (torDaemon, error), report func(control.Tor)) *torKeeper {
	return &torKeeper{
		start: start, report: report, pause: torPauseMin,
		wanted:  make(chan struct{}),
		redo:    make(chan torDaemon, 1),
		now:     control.Tor{State: control.StateOff},
		changed: make(chan struct{}),
	}
}

// want says that Tor is needed, from now on.
func (k *torKeeper) want() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.wanted:
	default:
		k.now = control.Tor{State: control.StateStarting}
		close(k.wanted)
	}
}

// run waits until Tor is wanted, keeps it up until ctx ends, and then stops it.
func (k *torKeeper) run(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-k.wanted:
	}
	pause := k.pause
	for ctx.Err() == nil {
		daemon, err := k.start(ctx, k.progress)
		if ctx.Err() != nil {
			if err == nil {
				daemon.Close()
			}
			return
		}
		switch {
		case errors.Is(err, onion.ErrOff):
			k.set(nil, err, control.Tor{State: control.StateOff})
			return
		case err == nil:
			pause = k.pause
			k.set(daemon, nil, control.Tor{
				State: control.StateReady, Managed: daemon.Managed(), Version: daemon.Version(), Bootstrap: 100, SOCKS: daemon.SOCKS(),
			})
			if k.watch(ctx, daemon) {
				daemon.Close()
				k.set(nil, nil, control.Tor{State: control.StateStarting})
				continue
			}
			if ctx.Err() != nil {
				daemon.Close()
				return
			}
			if err = daemon.Err(); err == nil {
				err = errors.New("tor ended")
			}
			daemon.Close()
		}
		k.set(nil, err, failedTor(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, torPauseMax)
	}
}

// watch waits for the end of a tor, or of ctx; again reports that it is to be
// given up for another.
func (k *torKeeper) watch(ctx context.Context, daemon torDaemon) (again bool) {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-daemon.Done():
			return false
		case old := <-k.redo:
			if old == daemon { // not one before it
				return true
			}
		}
	}
}

// again gives up a tor that is up, and starts one anew.
func (k *torKeeper) again(daemon torDaemon) {
	select {
	case k.redo <- daemon:
	default: // that was asked already
	}
}

// failedTor is the state of a Tor that ended with err.
func failedTor(err error) control.Tor {
	t := control.Tor{State: control.StateFailed, Error: err.Error()}
	if e, ok := errors.AsType[*onion.BootstrapError](err); ok {
		t.Bootstrap, t.Doing, t.Hint = e.Last.Percent, e.Last.Summary, e.Hint()
	}
	return t
}

func (k *torKeeper) progress(p onion.Progress) {
	k.set(nil, nil, control.Tor{State: control.StateStarting, Bootstrap: p.Percent, Doing: p.Summary, Error: p.Warning})
}

// set changes the state and wakes whoever waits for one.
func (k *torKeeper) set(daemon torDaemon, err error, now control.Tor) {
	k.mu.Lock()
	k.daemon, k.err, k.now = daemon, err, now
	close(k.changed)
	k.changed = make(chan struct{})
	k.mu.Unlock()
	k.report(now)
}

// get is the present state, and what will be closed when it changes.
func (k *torKeeper) get() (torDaemon, <-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.daemon, k.changed, k.err
}

// SOCKS is the address of Tor's SOCKS port. It waits for a Tor that is starting,
// as long as ctx lets it; a Tor that failed is an error at once.
func (k *torKeeper) SOCKS(ctx context.Context) (string, error) {
	for {
		daemon, changed, err := k.get()
		switch {
		case daemon != nil:
			return daemon.SOCKS(), nil
		case err != nil:
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-changed:
		}
	}
}

// Circuit describes the circuit that carries the streams of a SOCKS user.
func (k *torKeeper) Circuit(ctx context.Context, user string) (string, error) {
	k.circuitsMu.Lock()
	defer k.circuitsMu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if time.Since(k.circuitsAt) > circuitsAge {
		daemon, _, err := k.get()
		if daemon == nil {
			return "", errors.Join(onion.ErrNoCircuit, err)
		}
		if k.circuits, err = daemon.Circuits(ctx); err != nil {
			return "", err
		}
		k.circuitsAt = time.Now()
	}
	circuit, ok := k.circuits[user]
	if !ok {
		return "", onion.ErrNoCircuit
	}
	return circuit.String(), nil
}

// relays are the relays of the circuit that Circuit described so, nearest first.
func (k *torKeeper) relays(description string) []string {
	k.circuitsMu.Lock()
	defer k.circuitsMu.Unlock()
	for _, c := range k.circuits {
		if c.String() == description {
			return c.Relays()
		}
	}
	return nil
}

// Status is the present state.
func (k *torKeeper) Status() control.Tor {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}
