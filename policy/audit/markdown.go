package audit

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Markdown writes reports for pasting (GitHub Flavored Markdown). What a server
// sent stands in code spans, where it is neither a link nor a mention.
func (o Output) Markdown(w io.Writer, reports []*Report) error {
	var b bytes.Buffer
	if len(reports) > 1 {
		b.WriteString("| target | grade | fail | warn | unknown | pass | skip |\n|---|---|---|---|---|---|---|\n")
		for _, r := range reports {
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d |\n", cell(r.Target), gradeOf(r), r.Count(Fail), r.Count(Warn), r.Count(Unknown), r.Count(Pass), r.Count(Skip))
		}
		b.WriteByte('\n')
	}
	for i, r := range reports {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "## %s: grade %s\n\n%s. %s.\n", code(r.Target), gradeOf(r), r.Rule, r.summary())
		for i, note := range r.Notes {
			if i == 0 {
				b.WriteByte('\n')
			}
			fmt.Fprintf(&b, "- %s\n", code(note))
		}
		names, by := r.groups()
		for _, g := range names {
			fmt.Fprintf(&b, "\n### %s\n\n", title(g))
			o.markdown(&b, r, by[g])
		}
		if r.Met != nil {
			fmt.Fprintf(&b, "\n### Policy\n\n%s\n\n", code(r.Met.String()))
			for _, u := range r.Met.Unmet {
				fmt.Fprintf(&b, "- %s\n", code(u.String()))
			}
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (o Output) markdown(b *bytes.Buffer, r *Report, found []*merged) {
	quiet := map[Verdict][]string{}
	for _, m := range found {
		if !o.loud(m) {
			if id := code(m.ID); !slices.Contains(quiet[m.Verdict], id) {
				quiet[m.Verdict] = append(quiet[m.Verdict], id)
			}
			continue
		}
		fmt.Fprintf(b, "- **%s** (%s) %s", m.Verdict, m.Severity, code(m.ID))
		if at := m.where(r); at != "" {
			fmt.Fprintf(b, " at %s", code(at))
		}
		if m.Evidence != "" {
			fmt.Fprintf(b, ": %s", code(m.Evidence))
		}
		fmt.Fprintf(b, " (%s)\n", m.Reference)
		if !o.NoFix {
			for _, r := range m.remedies() {
				if len(r.lines) == 1 {
					fmt.Fprintf(b, "  - %s\n", code(strings.TrimPrefix(r.server+": "+r.lines[0], ": ")))
					continue
				}
				fmt.Fprintf(b, "  - %s:\n\n    %s\n", r.server, fence)
				for _, line := range r.lines {
					fmt.Fprintf(b, "    %s\n", line)
				}
				fmt.Fprintf(b, "    %s\n", fence)
			}
		}
	}
	for _, v := range []Verdict{Fail, Warn, Unknown, Pass, Skip} {
		if ids := quiet[v]; len(ids) > 0 {
			fmt.Fprintf(b, "- **%s** %s\n", v, list(ids, ""))
		}
	}
}

// fence holds lines of a configuration, in which none is as long (CommonMark 4.5).
const fence = "``````"

// code is s as a code span: fenced by more backticks than it has in a row
// (CommonMark 6.1).
func code(s string) string {
	s = lines(s)
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if len(fence) > 1 || strings.HasPrefix(s, "`") || s == "" || strings.Trim(s, " ") == "" {
		return fence + " " + s + " " + fence
	}
	return fence + s + fence
}

// cell is s in a table, where a bar ends a cell even inside code.
func cell(s string) string { return code(strings.NewReplacer("|", "¦", `\`, "/").Replace(s)) }
