package main

import (
	"context"

	"xmpp-gw/internal/control"
	"xmpp-gw/onion"
	"xmpp-gw/policy/audit"
	"xmpp-gw/policy/audit/inspect"
)

// What a check of this machine asks a running daemon, which has the Tor and runs in
// the sandbox in question.

// TorHealth is part of [control.Daemon].
func (d *daemon) TorHealth(ctx context.Context) (control.TorHealth, error) {
	tor, _, err := d.tor.get()
	if err != nil {
		return control.TorHealth{}, err
	}
	if tor == nil {
		return control.TorHealth{}, &control.Error{What: "tor is not ready", Hint: "`xmpp-gw status` tells how far it is"}
	}
	h, err := tor.Health(ctx)
	return healthOf(h), err
}

func healthOf(h onion.Health) control.TorHealth {
	return control.TorHealth{
		SOCKS: h.SOCKS, Version: h.Version, Status: h.Status, Bootstrap: h.Bootstrapped,
		Isolated: h.Isolated, Open: h.Open, ValidAfter: h.ValidAfter, ValidUntil: h.ValidUntil,
	}
}

// Egress is part of [control.Daemon].
func (d *daemon) Egress(ctx context.Context) ([]control.Attempt, error) {
	s := d.current()
	set, _, err := waysOut(s, d.tor.SOCKS)
	if err != nil {
		return nil, err
	}
	seen := inspect.Egress(ctx, inspect.Ways{Set: set, Rules: s.Rules})
	list := make([]control.Attempt, len(seen.Attempts))
	for i, a := range seen.Attempts {
		list[i] = control.Attempt{Way: a.Way, To: a.To, Outcome: outcomes()[a.Outcome], How: a.How}
	}
	return list, nil
}

// outcomes are the words for what came of a try, by [audit.Outcome].
func outcomes() []string {
	return []string{audit.NotTried: "not-tried", audit.Stopped: "stopped", audit.GotOut: "got-out", audit.NoSuchWay: "no-such-way"}
}
