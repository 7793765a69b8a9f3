//go:build e2e

package check

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"xmpp-gw/policy/audit"
)

// What is another each time.
var differs = []struct {
	what *regexp.Regexp
	as   string
}{
	{hash, "HASH"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?( UTC|Z))?`), "DATE"},
	{regexp.MustCompile(`(Prosody|ejabberd) \d[^ ]* \([^)]*\)`), "$1 VERSION (OS)"},
	{regexp.MustCompile(`Test authority \w+`), "Test authority"},
	{regexp.MustCompile(`ended (after \d+ bytes in one element|at once).*`), "ended"},
	{regexp.MustCompile(`(still open after \d+ bytes in one element).*`), "$1"},
}

var hash = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

var keys = regexp.MustCompile(`sha256/[A-Za-z0-9+/]{43}=`)

// short are the places of a good server, as golden files call them.
var short = map[string]string{
	"starttls://" + host + ":5222": "c2s", "tls://" + host + ":5223": "c2s-tls",
	"starttls://" + host + ":5269": "s2s", "tls://" + host + ":5270": "s2s-tls",
	"wss://" + domain + ":443/ws": "web", "wss://" + domain + ":443/xmpp-websocket": "web",
}

// evidence is what was seen, without what is another each time.
func evidence(f audit.Finding, seen map[string]string) string {
	e := keys.ReplaceAllStringFunc(f.Evidence, func(k string) string {
		if seen[k] == "" {
			seen[k] = fmt.Sprintf("KEY%d", len(seen)+1)
		}
		return seen[k]
	})
	for _, d := range differs {
		e = d.what.ReplaceAllString(e, d.as)
	}
	return e
}

// golden is all findings as text: a line for those that differ only in their targets.
func golden(findings []audit.Finding) string {
	type line struct{ verdict, what, evidence string }
	var order []line
	targets := map[line][]string{}
	seen := map[string]string{}
	for _, f := range findings {
		l := line{fmt.Sprintf("%-7s %-8s", f.Verdict, f.Severity), f.ID, evidence(f, seen)}
		if targets[l] == nil {
			order = append(order, l)
		}
		at := f.Target
		if name, ok := short[at]; ok {
			at = name
		}
		targets[l] = append(targets[l], at)
	}
	var b strings.Builder
	for _, l := range order {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%s  %-21s  %s:  %s", l.verdict, l.what, strings.Join(targets[l], " "), l.evidence), " ") + "\n")
	}
	return b.String()
}

// changed is what of the second findings is not among the first.
func changed(first, then []audit.Finding) string {
	had := strings.Split(golden(first), "\n")
	var b strings.Builder
	for l := range strings.Lines(golden(then)) {
		if !slices.Contains(had, strings.TrimSpace(l)) {
			b.WriteString(l)
		}
	}
	return b.String()
}

// printed are the fixes that a report prints for a kind of server, each once.
func printed(findings []audit.Finding, kind string) (fixes []string) {
	for _, f := range findings {
		if text := f.Fix[kind]; text != "" && !slices.Contains(fixes, text) {
			fixes = append(fixes, text)
		}
	}
	slices.Sort(fixes)
	return fixes
}

// records are the lines for the zone that a report prints.
func records(findings []audit.Finding) (lines []string) {
	for _, f := range findings {
		if line, ok := strings.CutPrefix(f.Fix[""], "zone: "); ok && settings("", f.Fix[""]) {
			line, _, _ = strings.Cut(line, "  ;")
			if line = strings.ReplaceAll(line, "HOST", host); !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// mended reports whether f is not found any more: it passes, or there is no such
// place now.
func mended(findings []audit.Finding, f audit.Finding) bool {
	return !slices.ContainsFunc(findings, func(g audit.Finding) bool {
		return g.ID == f.ID && g.Target == f.Target && g.Verdict != audit.Pass
	})
}

// failed reports whether f was a failure there before.
func failed(findings []audit.Finding, f audit.Finding) bool {
	return slices.ContainsFunc(findings, func(g audit.Finding) bool {
		return g.ID == f.ID && g.Target == f.Target && g.Verdict == audit.Fail
	})
}

// settings reports whether a fix for a server, or for the zone, sets anything: some
// say only what to update.
func settings(server, fix string) bool {
	if server == "" {
		return strings.HasPrefix(fix, "zone: ") && !strings.Contains(fix, "SHA256-OF-THE-KEY") // of a key that was not proven
	}
	for l := range strings.Lines(fix) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") && (!strings.HasPrefix(l, "--") || command.MatchString(l)) {
			return true
		}
	}
	return false
}

func comment(fixes []string) string {
	var b strings.Builder
	for _, f := range fixes {
		for l := range strings.Lines(f) {
			b.WriteString("#     " + hash.ReplaceAllString(strings.TrimRight(l, "\n"), "HASH") + "\n")
		}
	}
	return b.String()
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := write(file, got); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	have, should := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	var b strings.Builder
	for _, l := range should {
		if !slices.Contains(have, l) {
			b.WriteString("\n- " + l)
		}
	}
	for _, l := range have {
		if !slices.Contains(should, l) {
			b.WriteString("\n+ " + l)
		}
	}
	t.Errorf("%s says something else (- expected, + found); -update writes it anew:%s", file, b.String())
}
