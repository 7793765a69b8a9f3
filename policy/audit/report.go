package audit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// String is the verdict as every format writes it.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Warn:
		return "warn"
	case Fail:
		return "fail"
	case Skip:
		return "skip"
	}
	return "unknown"
}

// String is the severity as every format writes it.
func (s Severity) String() string {
	switch s {
	case Low:
		return "low"
	case Medium:
		return "medium"
	case High:
		return "high"
	case Critical:
		return "critical"
	}
	return "info"
}

// ParseSeverity reads what String writes.
func ParseSeverity(s string) (Severity, error) {
	for _, v := range []Severity{Info, Low, Medium, High, Critical} {
		if v.String() == s {
			return v, nil
		}
	}
	return Info, errors.New(`it must be "info", "low", "medium", "high" or "critical"`)
}

// badness orders verdicts, the worst first.
func (v Verdict) badness() int {
	return slices.Index([]Verdict{Fail, Warn, Unknown, Pass, Skip}, v)
}

// Report is what was found of one target.
type Report struct {
	Target    string
	Via       string
	At        time.Time
	Connected bool      // the server answered in at least one place; true for this machine
	Findings  []Finding // the worst first
	Grade     string    // "A+" to "F"; "" without a connection
	Rule      string    // what set the grade
	Notes     []string  // what must be said in any case, and is no judgement
	Met       *Comparison
}

// NewReport puts what the checks found in order and grades it. It makes findings
// safe to print.
func NewReport(o *Observation, findings []Finding) *Report {
	r := &Report{Target: Clean(o.Domain), Via: Clean(o.Via), At: o.At, Connected: connected(o), Findings: slices.Clone(findings)}
	if r.Target == "" {
		r.Target = thisMachine
	}
	if o.Self != nil {
		r.Notes = o.Self.notes()
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		f.Target, f.Evidence = Clean(f.Target), Clean(f.Evidence)
	}
	slices.SortStableFunc(r.Findings, worstFirst)
	r.Grade, r.Rule = grade(r)
	return r
}

func worstFirst(a, b Finding) int {
	counts := func(f Finding) int { // info never outranks what counts
		if f.Severity == Info {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.Verdict.badness()/3, b.Verdict.badness()/3), cmp.Compare(counts(a), counts(b)),
		cmp.Compare(a.Verdict.badness(), b.Verdict.badness()), cmp.Compare(b.Severity, a.Severity))
}

func connected(o *Observation) bool {
	if o.Self != nil || o.Egress != nil {
		return true
	}
	return slices.ContainsFunc(o.Endpoints, func(e Endpoint) bool { return e.Err == "" })
}

// Count is how many findings have that verdict.
func (r *Report) Count(v Verdict) (n int) {
	for _, f := range r.Findings {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// The exit codes of `check`.
const (
	ExitGood     = 0
	ExitNotThere = 1 // could not connect
	ExitWarnings = 2
	ExitFailures = 3
)

// Exit is the exit code for a report: findings below the level do not count, nor do
// those that are for information. What is unknown counts as a warning, as does that all
// was skipped. With a policy, what it is not met by counts, and nothing else.
func (r *Report) Exit(level Severity) int {
	if !r.Connected {
		return ExitNotThere
	}
	if r.Met != nil {
		return r.Met.exit()
	}
	code := ExitGood
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Verdict != Skip }) {
		code = ExitWarnings // none of it was looked at, or applies
	}
	for _, f := range r.Findings {
		if f.Severity >= max(level, Low) {
			code = max(code, exitOf(f.Verdict))
		}
	}
	return code
}

func exitOf(v Verdict) int {
	switch v {
	case Fail:
		return ExitFailures
	case Warn, Unknown:
		return ExitWarnings
	}
	return ExitGood
}

// Exit is the exit code for several reports: failures before warnings, and those
// before a target that could not be reached.
func Exit(reports []*Report, level Severity) int {
	code := ExitGood
	for _, r := range reports {
		code = max(code, r.Exit(level))
	}
	return code
}

// The grades, from the best to the worst.
var grades = []string{"A+", "A", "B", "C", "D", "F"}

// ceiling is the best grade that a finding leaves: an index of grades.
func (f Finding) ceiling() int {
	table := map[Verdict][5]int{ // by severity: info, low, medium, high, critical
		Fail:    {0, 2, 3, 4, 5},
		Warn:    {0, 1, 2, 3, 4},
		Unknown: {0, 1, 1, 2, 3},
	}
	if row, ok := table[f.Verdict]; ok && int(f.Severity) < len(row) {
		return row[f.Severity]
	}
	return 0
}

// excellent are the checks that A+ asks to have passed, of a server's. Those of an
// onion address are fewer: it needs no DNS and proves itself.
func excellent(onion bool) []string {
	if onion {
		return []string{"onion.reach", "onion.deanon", "sasl.scram"}
	}
	return []string{"dns.dnssec", "dane.tlsa", "sasl.plus", "cb.exporter", "tls.group.pq"}
}

// grade is the worst ceiling of all findings, and the finding that set it.
func grade(r *Report) (grade, rule string) {
	if !r.Connected || len(r.Findings) == 0 {
		return "", "no grade: the server was not reached"
	}
	worst, at := 0, -1
	for i, f := range r.Findings {
		if c := f.ceiling(); c > worst {
			worst, at = c, i
		}
	}
	if at >= 0 {
		f := r.Findings[at]
		what := map[Verdict]string{Fail: "a failure", Warn: "a warning", Unknown: "what is not known"}[f.Verdict]
		return grades[worst], fmt.Sprintf("%s of severity %s allows %s at best: %s", what, f.Severity, grades[worst], f.ID)
	}
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Verdict == Pass }) {
		return "", "no grade: all that was asked was skipped, since it does not apply or takes another flag (--s2s, --login)"
	}
	if r.Target == thisMachine {
		return grades[0], "nothing counts against it"
	}
	passed := func(id string) bool {
		return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.ID == id && f.Verdict == Pass })
	}
	if missing := keep(excellent(strings.HasSuffix(r.Target, ".onion")), func(id string) bool { return !passed(id) }); len(missing) > 0 {
		return grades[1], "A+ asks for these to pass: " + list(missing, "")
	}
	return grades[0], "nothing counts against it, and what A+ asks for passed"
}
