package main

import (
	"context"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// The bounds of --timeout.
const (
	auditTime    = time.Minute
	auditTimeMin = time.Second
	auditTimeMax = time.Hour
)

func checkCommand(u *ui) *cli.Command {
	return command(&cli.Command{
		Name:      "check",
		Usage:     "tell how safe a server, an onion address or this machine's set-up is, and why",
		ArgsUsage: "TARGET…",
		Description: `A TARGET is a domain, a JID, an onion address, HOST:PORT or an endpoint (tls://HOST:PORT).
It is looked at by the route that the configuration gives it, and no other; no account is needed.

   xmpp-gw check example.org
   xmpp-gw check --s2s --policy modern example.org example.net
   xmpp-gw check --login juliet@example.org     # asks for the password
   xmpp-gw check --self --egress                # this machine

Exit codes: 0 good, 1 could not connect, 2 warnings or something unknown, 3 failures, 4 the command
line, or a file that it names, is wrong.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "via", Usage: "go out by `ROUTE` (tor, direct, vpn:NAME, socks:NAME), whatever the configuration says; onion addresses always by Tor"},
			&cli.BoolFlag{Name: "s2s", Usage: "look at the places for other servers too"},
			&cli.StringSliceFlag{Name: "at", Usage: "look at `ENDPOINT` (starttls://HOST:PORT, tls://…, wss://…) in place of what DNS names; one target, may be repeated"},
			&cli.BoolFlag{Name: "login", Usage: "log in to the targets that are JIDs; the password is asked for on the terminal"},
			&cli.BoolFlag{Name: "password-stdin", Usage: "with --login: read the passwords from standard input, a line for each JID"},
			&cli.StringFlag{Name: "password-file", Usage: "with --login: read the passwords from `FILE`, a line for each JID", TakesFile: true},
			&cli.BoolFlag{Name: "self", Usage: "look at this machine's set-up: configuration, files, authority, Tor, listeners"},
			&cli.BoolFlag{Name: "egress", Usage: "try to get out beside the route, and tell what was stopped"},
			&cli.StringSliceFlag{Name: "only", Usage: "answer only these checks or groups, `ID,…`"},
			&cli.StringFlag{Name: "level", Value: levelWarn, Usage: "what is below `LEVEL` does not count: warn (whatever counts), low, medium, high or critical"},
			&cli.StringFlag{Name: "policy", Usage: "compare with a policy: a `FILE`, or " + strings.Join(audit.PolicyNames(), ", ")},
			&cli.BoolFlag{Name: "make-policy", Usage: "print the policy that the target meets just so, as TOML"},
			&cli.BoolFlag{Name: "list", Usage: "print the checks, and look at nothing"},
			jsonFlag(),
			&cli.BoolFlag{Name: "junit", Usage: "print JUnit XML"},
			&cli.BoolFlag{Name: "sarif", Usage: "print SARIF 2.1.0"},
			&cli.BoolFlag{Name: "markdown", Usage: "print Markdown, for pasting"},
			&cli.BoolFlag{Name: "all", Usage: "give every pass, and all that was skipped, a line of its own, and say what to change for every warning"},
			&cli.BoolFlag{Name: "no-fix", Usage: "do not say what to change"},
			&cli.StringFlag{Name: "ca", Usage: "trust the authority in `FILE` (PEM) too, in place of the configuration's ca", TakesFile: true},
			&cli.DurationFlag{Name: "timeout", Value: auditTime, Usage: "end with what was seen after `DURATION`, for each target"},
			configFlag(), stateFlag(),
		},
		Action: func(c *cli.Context) error {
			j, err := newCheck(c, u)
			if err == nil {
				if c.Bool("list") {
					return j.list()
				}
				err = j.run(c.Context)
			}
			return ofCheck(err)
		},
	})
}

// ofCheck gives an error the exit code that `check` promises: 3 is for servers.
func ofCheck(err error) error {
	if err == nil {
		return nil
	}
	p := explain(err)
	if p.what != "" && p.code == exitMistake {
		p.code = exitUsage
	}
	return p
}

// checkJob is one `xmpp-gw check`.
type checkJob struct {
	*cli.Context
	ui     *ui
	format string // "text", "json", "junit", "sarif" or "markdown"
	level  audit.Severity
	checks []audit.Check
	policy *audit.Policy // nil: none
	via    policy.Route  // unset: what the configuration says
	ca     string        // PEM file of an authority, "": what the configuration says
	aims   []*aim

	settings *settings
	rules    policy.Rules
	progress *progress
	tor      checkTor
}

// newCheck reads the command line, and every file that it names.
func newCheck(c *cli.Context, u *ui) (*checkJob, error) {
	j := &checkJob{Context: c, ui: u, ca: c.String("ca"), progress: newProgress(u)}
	var err error
	if j.format, err = formatOf(c); err != nil {
		return nil, err
	}
	if j.level, err = levelOf(c.String("level")); err != nil {
		return nil, err
	}
	if j.checks, err = audit.Select(c.StringSlice("only")); err != nil {
		p := usage("--only: %v", err)
		p.hint = "`xmpp-gw check --list` prints all of them"
		return nil, p
	}
	if c.Bool("list") {
		return j, nil
	}
	if d := c.Duration("timeout"); d < auditTimeMin || d > auditTimeMax {
		return nil, usage("--timeout is from %v to %v, not %v", auditTimeMin, auditTimeMax, d)
	}
	if j.aims, err = readAims(c); err != nil {
		return nil, err
	}
	if len(j.aims) == 0 && !j.machine() {
		p := usage("there is nothing to look at")
		p.hint = "name a domain, a JID or an onion address, for example: xmpp-gw check example.org; or this machine: --self, --egress"
		return nil, p
	}
	if reports := len(j.aims) + map[bool]int{true: 1}[j.machine()]; c.Bool("make-policy") && reports > 1 {
		return nil, usage("--make-policy is made of one target, and there are %d", reports)
	}
	if err := j.selected(); err != nil {
		return nil, err
	}
	if j.policy, err = policyOf(c.String("policy")); err != nil {
		return nil, err
	}
	if j.settings, err = loadSettings(c.String("config")); err != nil {
		return nil, err
	}
	if j.via, err = viaOf(c.String("via"), j.settings); err != nil {
		return nil, err
	}
	j.rules = j.settings.Rules
	if places, err := j.paths(); err == nil {
		j.rules.Known = places.book().Known // without a state folder there is nothing to know
	}
	return j, nil
}

// selected sees that --only leaves something to ask of everything that is looked at: an
// empty report would look like a good one.
func (j *checkJob) selected() error {
	var server, self, egress bool
	for _, c := range j.checks {
		switch audit.Group(c.ID) {
		case "self":
			self = true
		case "egress":
			egress = true
		default:
			server = true
		}
	}
	what := ""
	switch {
	case len(j.aims) > 0 && !server:
		what = "a server"
	case j.Bool("self") && !self:
		what = "--self"
	case j.Bool("egress") && !egress:
		what = "--egress"
	default:
		return nil
	}
	p := usage("--only leaves nothing to ask of %s", what)
	p.hint = "the checks of the groups self and egress go with --self and --egress, all others with a target"
	return p
}

// machine reports whether this machine is looked at.
func (j *checkJob) machine() bool { return j.Bool("self") || j.Bool("egress") }

// run looks at everything and prints what was found.
func (j *checkJob) run(parent context.Context) error {
	w, err := j.waysOut()
	if err != nil {
		return err
	}
	looks := j.decideAll()
	j.progress.many = len(looks) > 1
	if err := j.readPasswords(looks); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// The first signal ends the looking, the second one the program.
	context.AfterFunc(ctx, stop)
	reports, failures := j.lookAll(ctx, w, looks)
	interrupted := ctx.Err() != nil
	j.progress.end()
	for _, m := range failures {
		j.ui.fail(m.problem)
	}
	if interrupted && j.Bool("make-policy") {
		return &problem{what: "no policy was made", why: "it was interrupted, and what was not seen cannot be asked for"}
	}
	if interrupted {
		j.ui.warn("interrupted: what was not looked at until then is unknown")
	}
	return j.print(reports)
}

// formats are those of a report but text, which needs no flag.
func formats() []string { return []string{"json", "junit", "sarif", "markdown"} }

// formatOf is the one format that the flags ask for.
func formatOf(c *cli.Context) (string, error) {
	asked := slices.DeleteFunc(append(formats(), "make-policy"), func(name string) bool { return !c.Bool(name) })
	switch {
	case len(asked) > 1:
		return "", usage("--%s cannot be had together", strings.Join(asked, " and --"))
	case len(asked) == 0 || asked[0] == "make-policy":
		return "text", nil
	}
	if c.Bool("list") && asked[0] != "json" {
		return "", usage("--list is printed as text or with --json")
	}
	return asked[0], nil
}

// levelWarn is the default of --level: every warning and every failure counts.
const levelWarn = "warn"

func levelOf(word string) (audit.Severity, error) {
	if word == levelWarn {
		return audit.Info, nil
	}
	level, err := audit.ParseSeverity(word)
	if err != nil || level == audit.Info {
		return audit.Info, usage("--level is warn, low, medium, high or critical, not %q", word)
	}
	return level, nil
}

// policyOf gives a built-in policy, or one from a file.
func policyOf(word string) (*audit.Policy, error) {
	if word == "" {
		return nil, nil
	}
	if p, ok := audit.BuiltIn(word); ok {
		return p, nil
	}
	text, err := read(word)
	if err != nil {
		p := explain(err)
		p.what, p.hint, p.code = "the policy cannot be read", "built in are "+strings.Join(audit.PolicyNames(), ", ")+"; --make-policy prints one to begin with", exitUsage
		return nil, p
	}
	p, err := audit.ParsePolicy(word, text)
	if err != nil {
		return nil, &problem{what: "the policy has mistakes", why: err.Error(), hint: "docs/check.md describes it", code: exitUsage, err: err}
	}
	return p, nil
}

// viaOf is the route of --via, unset without one.
func viaOf(word string, s *settings) (policy.Route, error) {
	const hint = "--via takes tor, onion-only, direct, or a route that the configuration names"
	if word == "" {
		return policy.Route{}, nil
	}
	route, err := policy.ParseRoute(word)
	switch {
	case word == "vpn" || strings.HasPrefix(word, "vpn:"):
		p := usage("--via %s: the configuration names no such VPN", word)
		p.hint = hint
		return policy.Route{}, p
	case err != nil || route.Kind == policy.RouteBlock:
		p := usage("--via: %q is no way out", word)
		p.hint = hint
		return policy.Route{}, p
	case route.Kind == policy.RouteSOCKS && s.SOCKS[route.Name] == nil:
		p := usage("--via %s: the configuration names no such proxy", word)
		p.hint = "name it under [socks." + route.Name + "]"
		return policy.Route{}, p
	}
	return route, nil
}
