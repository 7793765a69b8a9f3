package main

import (
	"context"
	"time"

	"xmpp-gw/policy/audit"
)

// machine is what `check --self` and `check --egress` look at this machine with.
type machine struct {
	settings *settings // the configuration in question
	paths    paths
	progress func(line string)
	usual    bool // the places are the usual ones, not those of --state-dir
}

// observer looks at one side of this machine. What could not be seen is in the
// observation; an error means that nothing was looked at.
type observer func(context.Context, *machine) (*audit.Observation, error)

// observers are those that the flags ask for.
func (j *checkJob) observers() (all []observer) {
	if j.Bool("self") {
		all = append(all, observeSelf)
	}
	if j.Bool("egress") {
		all = append(all, observeEgress)
	}
	return all
}

// lookHere looks at this machine, and makes one report of all sides.
func (j *checkJob) lookHere(ctx context.Context) (*audit.Report, error) {
	p, err := j.paths()
	if err != nil {
		return nil, err
	}
	m := &machine{settings: j.settings, paths: p,
		progress: func(line string) { j.progress.line("", line) },
		usual:    j.String("state-dir") == "",
	}
	ctx, cancel := context.WithTimeout(ctx, j.Duration("timeout"))
	defer cancel()
	seen := &audit.Observation{At: time.Now()}
	for _, observe := range j.observers() {
		one, err := observe(ctx, m)
		if err != nil {
			return nil, err
		}
		if one.Self != nil {
			seen.Self = one.Self
		}
		if one.Egress != nil {
			seen.Egress = one.Egress
		}
	}
	return j.report(seen, j.checks), nil
}
