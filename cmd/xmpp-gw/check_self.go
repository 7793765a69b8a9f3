package main

import (
	"context"
	"errors"
	"fmt"
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
	client, running, silent := m.daemon(ctx)
	if client != nil {
		defer client.Close()
	}
	var listeners []control.Listener
	if running != nil {
		listeners = running.Listeners
	}
	m.progress("files and settings")
	seen := observeSetup(m.settings, m.paths, listeners)
	switch {
	case silent != nil:
		seen.ListenersErr = silent.Error()
	case running != nil && m.outdated(running):
		seen.ListenersErr = "the daemon still goes by what the configuration said before it was changed: reload it (SIGHUP)"
	}
	m.progress("tor")
	seen.Tor, seen.Clock = m.torState(ctx, client, running)
	if silent != nil && seen.Tor.Used {
		seen.Tor = &audit.TorState{Used: true, Err: silent.Error()}
	}
	return &audit.Observation{At: at, Self: seen}, nil
}

// observeEgress tries the ways out that should be closed: from within the daemon
// where one runs with the same configuration, since that one's sandbox counts, else
// from here.
func observeEgress(ctx context.Context, m *machine) (*audit.Observation, error) {
	at := time.Now()
	client, _, silent := m.daemon(ctx)
	if silent != nil { // what holds here may not hold there
		return &audit.Observation{At: at, Egress: inspect.NotTried(silent.Error())}, nil
	}
	if client != nil {
		defer client.Close()
		m.progress("the daemon tries the ways out")
		list, err := client.Egress(ctx)
		if err != nil {
			return &audit.Observation{At: at, Egress: inspect.NotTried("the daemon did not say: " + err.Error())}, nil
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
	return &audit.Observation{At: at, Egress: inspect.Egress(ctx, inspect.Ways{Set: set, Rules: m.settings.Rules})}, nil
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
// status; nil where there is none. The error means that one may run, and does not say.
func (m *machine) daemon(ctx context.Context) (*control.Client, *control.Status, error) {
	path := m.paths.control()
	if m.usual { // the system's service is this machine's too
		if found, err := findControl("", os.Getenv); err == nil {
			path = found
		}
	}
	client := control.NewClient(path)
	s, err := client.Status(ctx)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		err = nil
	case err != nil:
		err = fmt.Errorf("a daemon may run with the control socket %s, and does not say: %w", path, err)
	case sameFile(s.Config, m.settings.File):
		return client, &s, nil
	}
	client.Close()
	return nil, nil, err
}

// outdated reports whether a daemon has not taken the configuration's file as it is.
func (m *machine) outdated(s *control.Status) bool {
	if s.ConfigError != "" {
		return true
	}
	info, err := os.Stat(m.settings.File)
	return err == nil && info.ModTime().After(s.ConfigLoaded.Add(time.Second)) // that one is in whole seconds
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
