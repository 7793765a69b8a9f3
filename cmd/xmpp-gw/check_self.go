package main

import (
	"context"
	"errors"
	"os"
	"time"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/inspect"
)

// observeSelf looks at this machine's set-up: files and settings as they are, and
// what a running daemon with the same configuration, or the system's Tor, says.
func observeSelf(ctx context.Context, m *machine) (*audit.Observation, error) {
	at := time.Now()
	var running *control.Status
	client := m.daemon(ctx, &running)
	if client != nil {
		defer client.Close()
	}
	var listeners []control.Listener
	if running != nil {
		listeners = running.Listeners
	}
	m.progress("files and settings")
	seen := observeSetup(m.settings, m.paths, listeners)
	m.progress("tor")
	seen.Tor, seen.Clock = m.torState(ctx, client, running)
	return &audit.Observation{At: at, Self: seen}, nil
}

// observeEgress tries the ways out that should be closed: from within the daemon
// where one runs with the same configuration, since that one's sandbox counts, else
// from here.
func observeEgress(ctx context.Context, m *machine) (*audit.Observation, error) {
	at := time.Now()
	var running *control.Status
	if client := m.daemon(ctx, &running); client != nil {
		defer client.Close()
		m.progress("the daemon tries the ways out")
		list, err := client.Egress(ctx)
		if err != nil {
			return nil, err
		}
		return &audit.Observation{At: at, Egress: attemptsOf(list)}, nil
	}
	m.progress("trying the ways out from here")
	set, _, err := waysOut(m.settings, func(ctx context.Context) (string, error) {
		h, err := m.systemTor(ctx) // none is started for that
		if h.SOCKS != "" {
			return h.SOCKS, nil
		}
		return "", err
	})
	if err != nil {
		return nil, err
	}
	return &audit.Observation{At: at, Egress: inspect.Egress(ctx, inspect.Ways{Set: set, Routes: m.settings.routes()})}, nil
}

// attemptsOf reads what a daemon tried.
func attemptsOf(list []control.Attempt) *audit.EgressObservation {
	seen := &audit.EgressObservation{}
	for _, a := range list {
		one := audit.Attempt{Way: a.Way, To: a.To, How: a.How + " (from within the daemon)"}
		for outcome, word := range outcomes() {
			if word == a.Outcome {
				one.Outcome = audit.Outcome(outcome)
			}
		}
		seen.Attempts = append(seen.Attempts, one)
	}
	return seen
}

// daemon is a client of the daemon that runs with the same configuration, and its
// status; nil where there is none.
func (m *machine) daemon(ctx context.Context, status **control.Status) *control.Client {
	path := m.paths.control()
	if m.usual { // the system's service is this machine's too
		if found, err := findControl("", os.Getenv); err == nil {
			path = found
		}
	}
	client := control.NewClient(path)
	s, err := client.Status(ctx)
	if err != nil || !sameFile(s.Config, m.settings.File) {
		client.Close()
		return nil
	}
	*status = &s
	return client
}

// torState is what is known of the Tor in use, and of the clock by its consensus.
func (m *machine) torState(ctx context.Context, client *control.Client, running *control.Status) (*audit.TorState, *audit.Clock) {
	s := m.settings
	clock := func(h control.TorHealth, none string) *audit.Clock {
		return inspect.Clock(time.Now(), h.ValidAfter, h.ValidUntil, none, inspect.ClockKept())
	}
	if !s.needsTor() && !s.Node.Publish {
		return &audit.TorState{}, clock(control.TorHealth{}, "no route goes through Tor")
	}
	state := &audit.TorState{Used: true}
	var h control.TorHealth
	var err error
	switch {
	case running != nil && running.Tor.State != control.StateReady:
		t := running.Tor
		state.Running, state.Version, state.Bootstrapped, state.Isolated = t.State == control.StateStarting, t.Version, t.Bootstrap, true
		return state, clock(h, "tor is not ready")
	case running != nil:
		h, err = client.TorHealth(ctx)
	default:
		h, err = m.systemTor(ctx)
	}
	switch {
	case errors.Is(err, onion.ErrOff), errors.Is(err, onion.ErrNoSystemTor):
		return state, clock(h, "no tor runs") // it does not run
	case err != nil:
		state.Err = err.Error()
		return state, clock(h, "tor does not say what it knows")
	}
	state.Running, state.Version, state.Bootstrapped, state.Isolated, state.Open = true, h.Version, h.Bootstrap, h.Isolated, h.Open
	if h.Status != "unknown" && h.Status != "none recommended" {
		state.Status = h.Status
	}
	return state, clock(h, "tor has no consensus yet")
}

// errNoDaemon: tor is started with the daemon.
var errNoDaemon = errors.New("no daemon runs with this configuration, and it would start tor: `xmpp-gw run` does")

// systemTor asks the system's Tor, which is the only one where no daemon runs.
func (m *machine) systemTor(ctx context.Context) (control.TorHealth, error) {
	o, err := m.settings.torOptions(m.paths)
	if err != nil {
		return control.TorHealth{}, err
	}
	switch o.Mode {
	case onion.ModeOff:
		return control.TorHealth{}, onion.ErrOff
	case onion.ModeManaged:
		return control.TorHealth{}, errNoDaemon
	}
	h, err := onion.SystemHealth(ctx, o)
	if o.Mode == onion.ModeAuto && errors.Is(err, onion.ErrNoSystemTor) {
		err = errNoDaemon
	}
	return healthOf(h), err
}
