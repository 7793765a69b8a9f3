package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"text/tabwriter"
	"unicode/utf8"

	"golang.org/x/term"

	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// print prints the reports as the flags want them, and gives the exit code.
func (j *checkJob) print(reports []*audit.Report) error {
	if j.Bool("make-policy") {
		return j.makePolicy(reports)
	}
	o := audit.Output{
		Version: version, Colour: j.ui.outColour, Width: width(j.ui.out), Level: j.level,
		All: j.Bool("all"), NoFix: j.Bool("no-fix"), More: "--all says what to change for all of the warnings",
	}
	write := map[string]func(io.Writer, []*audit.Report) error{
		"text": o.Text, "json": o.JSON, "junit": o.JUnit, "sarif": o.SARIF, "markdown": o.Markdown,
	}[j.format]
	// The error of a single target that was not looked at has said it all.
	if j.format != "text" || len(reports) != 1 || len(reports[0].Findings) > 0 {
		if err := write(j.ui.out, reports); err != nil {
			return &problem{what: "the report cannot be written", why: err.Error(), err: err}
		}
	}
	if code := audit.Exit(reports, j.level); code != audit.ExitGood {
		return &problem{code: code} // all is said
	}
	return nil
}

// makePolicy prints the policy that a target meets as it is.
func (j *checkJob) makePolicy(reports []*audit.Report) error {
	r := reports[0]
	if len(r.Findings) == 0 {
		return &problem{code: exitFailed} // all is said
	}
	if !r.Connected {
		return &problem{what: "no policy was made of " + r.Target, why: "the server was not reached, and what is not seen cannot be asked for",
			hint: "`xmpp-gw check " + r.Target + "` shows where it was looked for"}
	}
	j.ui.printf("# Made by `xmpp-gw check --make-policy %s` on %s.\n# Whoever meets it is no worse than that server was then. Look at every exception.\n%s",
		r.Target, r.At.UTC().Format("2006-01-02"), audit.Make(r.Target, r.Findings).TOML())
	return nil
}

// listedCheck is one check in the document of --list --json.
type listedCheck struct {
	ID        string `json:"id"`
	Asks      string `json:"asks"`
	Severity  string `json:"severity"`
	Reference string `json:"reference"`
}

// list prints the checks.
func (j *checkJob) list() error {
	if j.format == "json" {
		doc := make([]listedCheck, len(j.checks))
		for i, c := range j.checks {
			doc[i] = listedCheck{c.ID, c.Asks, c.Severity.String(), c.Reference}
		}
		return j.ui.json(doc)
	}
	t := tabwriter.NewWriter(j.ui.out, 0, 0, 2, ' ', 0)
	for _, c := range j.checks {
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.ID, c.Severity, c.Asks)
	}
	return t.Flush()
}

// width is how many characters fit a line of the terminal behind w, 0 where there is
// none.
func width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}

// progress says what is being done: a line for each probe that ended, and one that
// is written over for Tor. It goes to standard error, and only to a terminal. It is
// safe for concurrent use.
type progress struct {
	mu    sync.Mutex
	ui    *ui
	on    bool
	width int
	many  bool // lines name their target
	half  bool // the line under the cursor is one to be written over
	lines bool // there were some
}

func newProgress(u *ui) *progress {
	return &progress{ui: u, on: isTerminal(u.err), width: width(u.err)}
}

// line tells of a probe that ended.
func (p *progress) line(domain, text string) {
	if !p.on {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.many {
		text = policy.DisplayDomain(domain) + "  " + text
	}
	p.erase()
	p.lines = true
	fmt.Fprintln(p.ui.err, paint(p.ui.errColour, faint, p.fit(text)))
}

// step shows how far something is, over the step before it.
func (p *progress) step(name, text string) {
	if !p.on {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.half = true
	fmt.Fprint(p.ui.err, paint(p.ui.errColour, faint, p.fit(name+": "+text)))
}

// done ends the steps.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

// end ends all of it: what follows begins below an empty line.
func (p *progress) end() {
	p.done()
	if p.lines {
		fmt.Fprintln(p.ui.err)
	}
}

func (p *progress) erase() {
	if p.half {
		fmt.Fprint(p.ui.err, "\r\x1b[K")
		p.half = false
	}
}

// fit is text as it fits one line.
func (p *progress) fit(text string) string {
	text = audit.Clean(text) // of a server: it neither steers the terminal nor turns the line round
	if p.width <= 1 || utf8.RuneCountInString(text) < p.width {
		return text
	}
	return string([]rune(text)[:p.width-2]) + "…"
}
