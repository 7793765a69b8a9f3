package audit

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Output writes reports. Its zero value writes without colour, and what passed or was
// skipped by its ids alone.
type Output struct {
	Version string // of this program
	Colour  bool   // text only
	Width   int    // of the terminal, in characters; 0 is 100
	All     bool   // text and Markdown: each pass and each skip on its own line; text: all of what to do
	NoFix   bool   // text and Markdown: without what to do
	More    string // text: how to see what to do for the warnings where it is left out
	Level   Severity
}

// titles are the groups' names for people.
func title(group string) string {
	names := map[string]string{"dns": "DNS", "dane": "DANE", "caa": "CAA", "tls": "TLS", "cert": "Certificate", "sasl": "Login", "cb": "Channel binding",
		"reg": "Registration", "s2s": "Servers", "stream": "Streams", "limit": "Limits", "info": "Disclosure", "onion": "Onion service", "witness": "Witness",
		"suite": "Compliance", "self": "This machine", "egress": "Ways out"}
	if n, ok := names[group]; ok {
		return n
	}
	return Clean(group)
}

// merged is a finding that holds for several targets.
type merged struct {
	Finding
	targets []string
}

// groups are the findings by group, the group with the worst one first; those that
// say the same of several targets are one.
func (r *Report) groups() (names []string, by map[string][]*merged) {
	by = map[string][]*merged{}
	for _, f := range r.Findings {
		g := Group(f.ID)
		if !slices.Contains(names, g) {
			names = append(names, g)
		}
		i := slices.IndexFunc(by[g], func(m *merged) bool {
			return m.ID == f.ID && m.Verdict == f.Verdict && m.Severity == f.Severity && m.Evidence == f.Evidence
		})
		if i >= 0 {
			by[g][i].targets = append(by[g][i].targets, f.Target)
		} else {
			by[g] = append(by[g], &merged{f, []string{f.Target}})
		}
	}
	return names, by
}

// where is where a finding holds, unless that is the target of the report, or every
// place that was looked at.
func (m *merged) where(r *Report) string {
	if len(m.targets) == 1 && m.targets[0] == r.Target || len(m.targets) > 1 && len(m.targets) == len(r.places()) {
		return ""
	}
	if len(m.targets) > 3 {
		return fmt.Sprintf("%s and %d more", m.targets[0], len(m.targets)-1)
	}
	return list(m.targets, "")
}

// places are the endpoints that were looked at.
func (r *Report) places() (all []string) {
	for _, f := range r.Findings {
		if strings.Contains(f.Target, "://") && !strings.HasPrefix(f.Evidence, leftOut) && !slices.Contains(all, f.Target) {
			all = append(all, f.Target)
		}
	}
	slices.Sort(all)
	return all
}

func paint(on bool, colour, s string) string {
	if !on || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

func (v Verdict) colour() string {
	return map[Verdict]string{Fail: "31", Warn: "33", Unknown: "36", Pass: "32", Skip: "2"}[v]
}

// summary is the counts in words.
func (r *Report) summary() string {
	var parts []string
	for _, c := range []struct {
		v    Verdict
		word string
	}{{Fail, "failed"}, {Warn, "warnings"}, {Unknown, "unknown"}, {Pass, "passed"}, {Skip, "skipped"}} {
		switch n := r.Count(c.v); {
		case n == 1:
			parts = append(parts, "1 "+strings.TrimSuffix(c.word, "s"))
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, c.word))
		}
	}
	return list(parts, "nothing was looked at")
}

func gradeOf(r *Report) string {
	if r.Grade == "" {
		return "–"
	}
	return r.Grade
}

// Text writes reports for a person: the worst first, in groups; a table at the end
// where there are several.
func (o Output) Text(w io.Writer, reports []*Report) error {
	var b bytes.Buffer
	for i, r := range reports {
		if i > 0 {
			b.WriteByte('\n')
		}
		o.text(&b, r)
	}
	if len(reports) > 1 {
		b.WriteByte('\n')
		table(&b, reports)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (o Output) text(b *bytes.Buffer, r *Report) {
	colour := map[bool]string{true: "1;32", false: "1;33"}[strings.HasPrefix(r.Grade, "A")]
	if r.Grade == "D" || r.Grade == "F" || r.Grade == "" {
		colour = "1;31"
	}
	fmt.Fprintf(b, "%s  %s", paint(o.Colour, "1", Clean(r.Target)), paint(o.Colour, colour, "grade "+gradeOf(r)))
	if r.Via != "" {
		fmt.Fprintf(b, "  (via %s)", Clean(r.Via))
	}
	b.WriteByte('\n')
	o.wrap(b, "  ", "  ", Clean(r.Rule))
	if len(r.Findings) == 0 {
		return
	}
	o.wrap(b, "  ", "  ", r.summary())
	for _, note := range r.Notes {
		o.wrap(b, "  ", "    ", lines(note))
	}
	if places := r.places(); len(places) > 1 {
		o.wrap(b, "  ", "  ", "looked at "+list(places, ""))
	}
	names, by := r.groups()
	var unseen, rest []*merged // what has the same reason for all of it; what needs no line of its own
	for _, g := range names {
		var said []*merged
		for _, m := range by[g] {
			switch {
			case !o.loud(m):
				rest = append(rest, m)
			case m.Verdict == Unknown && !o.All && r.shared(m) > 2:
				unseen = append(unseen, m)
			default:
				said = append(said, m)
			}
		}
		if len(said) > 0 {
			fmt.Fprintf(b, "\n%s\n", paint(o.Colour, "1", title(g)))
			o.group(b, r, said)
		}
	}
	if len(unseen) > 0 {
		fmt.Fprintf(b, "\n%s\n", paint(o.Colour, "1", "Not seen"))
		o.unseen(b, r, unseen)
	}
	if len(rest) > 0 {
		fmt.Fprintf(b, "\n%s\n", paint(o.Colour, "1", "All else"))
		o.group(b, r, rest)
	}
	left := func(m *merged) bool {
		all := m.remedies()
		return o.loud(m) && len(all) > 0 && !o.NoFix && !o.shows(m, all)
	}
	if o.More != "" && slices.ContainsFunc(names, func(g string) bool { return slices.ContainsFunc(by[g], left) }) {
		o.wrap(b, "\n  ", "  ", o.More)
	}
	if r.Met != nil {
		fmt.Fprintf(b, "\n%s %s\n", paint(o.Colour, "1", "Policy"), r.Met.String())
		for _, u := range r.Met.Unmet {
			o.wrap(b, "  ", "    ", Clean(u.String()))
		}
	}
}

// shared is how many checks could not be answered for the same reason.
func (r *Report) shared(m *merged) int {
	ids := map[string]bool{}
	for _, f := range r.Findings {
		if f.Verdict == Unknown && f.Evidence == m.Evidence {
			ids[f.ID] = true
		}
	}
	return len(ids)
}

// unseen writes each reason once, with all that could not be answered for it.
func (o Output) unseen(b *bytes.Buffer, r *Report, found []*merged) {
	for len(found) > 0 {
		first := found[0]
		var ids, rest = []string{}, []*merged{}
		for _, m := range found {
			if m.Evidence != first.Evidence {
				rest = append(rest, m)
			} else if !slices.Contains(ids, m.ID) {
				ids = append(ids, m.ID)
			}
		}
		text := list(ids, "")
		if at := first.where(r); at != "" {
			text += " at " + at
		}
		o.line(b, Unknown, Unknown.String(), text+": "+first.Evidence)
		found = rest
	}
}

// loud reports whether a finding has a line of its own.
func (o Output) loud(m *merged) bool {
	return o.All || m.Verdict != Pass && m.Verdict != Skip && m.Severity >= o.Level
}

func (o Output) group(b *bytes.Buffer, r *Report, found []*merged) {
	quiet := map[Verdict][]string{}
	for _, m := range found {
		if !o.loud(m) {
			if !slices.Contains(quiet[m.Verdict], m.ID) {
				quiet[m.Verdict] = append(quiet[m.Verdict], m.ID)
			}
			continue
		}
		word := m.Verdict.String()
		if m.Verdict == Fail || m.Verdict == Warn {
			word += " " + m.Severity.String()
		}
		text := m.ID
		if at := m.where(r); at != "" {
			text += " at " + at
		}
		if m.Evidence != "" {
			text += ": " + m.Evidence
		}
		if m.Verdict == Fail || m.Verdict == Warn {
			text += " [" + m.Reference + "]"
		}
		o.line(b, m.Verdict, word, text)
		if all := m.remedies(); o.shows(m, all) {
			for _, r := range all {
				o.remedy(b, r)
			}
		}
	}
	for _, v := range []Verdict{Fail, Warn, Unknown, Pass, Skip} {
		if ids := quiet[v]; len(ids) > 0 {
			o.line(b, v, v.String(), list(r.short(ids), ""))
		}
	}
}

// shows reports whether what to do stands in the text: always for failures, and for
// warnings that matter where it is short, so that a report fits a screen.
func (o Output) shows(m *merged, all []remedy) bool {
	long := func(r remedy) bool { return len(r.lines) > 1 }
	return !o.NoFix && (o.All || m.Verdict == Fail || m.Severity >= Medium && !slices.ContainsFunc(all, long))
}

// short is ids with one word for a group of which all stand there.
func (r *Report) short(ids []string) (words []string) {
	for _, id := range ids {
		g := Group(id)
		in := func(other string) bool { return Group(other) == g }
		whole := !slices.ContainsFunc(r.Findings, func(f Finding) bool { return in(f.ID) && !slices.Contains(ids, f.ID) })
		alone := !slices.ContainsFunc(r.Findings, func(f Finding) bool { return !in(f.ID) })
		if whole && !alone && len(keep(ids, in)) > 2 {
			id = g + ".*"
		}
		if !slices.Contains(words, id) {
			words = append(words, id)
		}
	}
	return words
}

// column is where text begins, behind the verdict.
const column = 17

// line is a verdict and text beside it.
func (o Output) line(b *bytes.Buffer, v Verdict, word, text string) {
	pad := strings.Repeat(" ", max(1, column-2-utf8.RuneCountInString(word)))
	o.wrap(b, "  "+paint(o.Colour, v.colour(), word)+pad, strings.Repeat(" ", column), lines(text))
}

// remedy is what to do: lines for the configuration of a server, or a sentence for
// all of them.
type remedy struct {
	server string // "" for all
	lines  []string
}

// remedies are what to do, for all servers first, safe to print.
func (f Finding) remedies() (all []remedy) {
	for _, name := range sortedKeys(f.Fix) {
		r := remedy{server: name}
		for line := range strings.SplitSeq(f.Fix[name], "\n") {
			r.lines = append(r.lines, lines(line))
		}
		all = append(all, r)
	}
	return all
}

// cleanFix is Fix, safe to print.
func (f Finding) cleanFix() map[string]string {
	clean := map[string]string{}
	for _, r := range f.remedies() {
		clean[r.server] = strings.Join(r.lines, "\n")
	}
	return clean
}

// fixes are the lines of what to do.
func (f Finding) fixes() (said []string) {
	for _, r := range f.remedies() {
		switch {
		case r.server == "":
			said = append(said, r.lines...)
		case len(r.lines) == 1:
			said = append(said, r.server+": "+r.lines[0])
		default:
			said = append(said, r.server+":")
			for _, line := range r.lines {
				said = append(said, "  "+line)
			}
		}
	}
	return said
}

// remedy writes what to do. Lines for a configuration stand as they are, to be
// pasted.
func (o Output) remedy(b *bytes.Buffer, r remedy) {
	first, next := strings.Repeat(" ", column)+"→ ", strings.Repeat(" ", column+2)
	switch {
	case r.server == "":
		o.wrap(b, first, next, strings.Join(r.lines, " "))
	case len(r.lines) == 1:
		o.wrap(b, first, next, r.server+": "+r.lines[0])
	default:
		fmt.Fprintf(b, "%s%s:\n", first, r.server)
		for _, line := range r.lines {
			fmt.Fprintf(b, "%s  %s\n", next, line)
		}
	}
}

// lines is [Clean] for text of ours that has clean text within and may be longer.
func lines(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := min(len(s), 200)
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n++
		}
		b.WriteString(Clean(s[:n]))
		s = s[n:]
	}
	return b.String()
}

// wrap writes text in lines of at most Width characters where it has blanks. first
// begins the first line, and may have colour; next the others, and says how wide
// both are.
func (o Output) wrap(b *bytes.Buffer, first, next, text string) {
	width := o.Width
	if width <= 0 {
		width = 100
	}
	width = max(width-utf8.RuneCountInString(next), 20)
	b.WriteString(first)
	at := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteString("\n" + next)
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		if n > 2*width { // nobody copies that, as they may the digest of a key
			word = pieces(word, width, "\n"+next)
			n %= width
		}
		b.WriteString(word)
		at += n
	}
	b.WriteByte('\n')
}

// pieces is a word with a break behind each width characters.
func pieces(word string, width int, by string) string {
	runes := []rune(word)
	var b strings.Builder
	for len(runes) > width {
		b.WriteString(string(runes[:width]) + by)
		runes = runes[width:]
	}
	return b.String() + string(runes)
}

// table is one line a target.
func table(b *bytes.Buffer, reports []*Report) {
	wide := len("target")
	for _, r := range reports {
		wide = max(wide, utf8.RuneCountInString(r.Target))
	}
	line := func(target, grade string, cells ...any) {
		fmt.Fprintf(b, "%s%s  %-5s", target, strings.Repeat(" ", wide-utf8.RuneCountInString(target)), grade)
		for _, c := range cells {
			fmt.Fprintf(b, " %7v", c)
		}
		b.WriteByte('\n')
	}
	head := []any{"fail", "warn", "unknown", "pass", "skip"}
	compared := slices.ContainsFunc(reports, func(r *Report) bool { return r.Met != nil })
	if compared {
		head = append(head, "unmet")
	}
	line("target", "grade", head...)
	for _, r := range reports {
		cells := []any{r.Count(Fail), r.Count(Warn), r.Count(Unknown), r.Count(Pass), r.Count(Skip)}
		if compared && r.Met != nil {
			cells = append(cells, len(r.Met.Unmet))
		}
		line(r.Target, gradeOf(r), cells...)
	}
}
