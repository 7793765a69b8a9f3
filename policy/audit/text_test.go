package audit

import (
	"bytes"
	"strings"
	"testing"
)

// TestText: what a person reads says each thing once.
func TestText(t *testing.T) {
	const a, b = "starttls://x.test:5222", "tls://x.test:5223"
	fix := map[string]string{"": "do it", "ejabberd": "listen:\n  - port: 5222", "prosody": "a = 1"}
	r := NewReport(&Observation{Domain: "x.test", Endpoints: []Endpoint{{}}}, []Finding{
		{ID: "tls.version", Target: a, Severity: High, Verdict: Fail, Evidence: "1.0", Reference: "RFC 9325", Fix: fix},
		{ID: "tls.version", Target: b, Severity: High, Verdict: Fail, Evidence: "1.0", Reference: "RFC 9325", Fix: fix},
		{ID: "tls.cipher", Target: a, Severity: Low, Verdict: Warn, Evidence: "weak", Reference: "RFC 9325", Fix: map[string]string{"": "another"}},
		{ID: "sasl.scram", Target: b, Verdict: Unknown, Severity: Medium, Evidence: "no connection"},
		{ID: "sasl.plus", Target: b, Verdict: Unknown, Severity: Medium, Evidence: "no connection"},
		{ID: "cb.types", Target: b, Verdict: Unknown, Severity: Medium, Evidence: "no connection"},
		{ID: "reg.open", Target: b, Verdict: Unknown, Severity: Medium, Evidence: "closed"},
		{ID: "s2s.required", Target: "x.test", Verdict: Skip}, {ID: "s2s.external", Target: "x.test", Verdict: Skip},
		{ID: "s2s.dialback-only", Target: "x.test", Verdict: Skip},
		{ID: "dns.dnssec", Target: "x.test", Verdict: Pass},
	})
	text := func(o Output) string {
		var w bytes.Buffer
		if err := o.Text(&w, []*Report{r}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(w.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 100 {
				t.Errorf("%d characters: %s", n, line)
			}
		}
		return w.String()
	}
	short := text(Output{More: "more"})
	for _, want := range []string{
		"looked at " + a + ", " + b + "\n",
		"fail high      tls.version: 1.0 [RFC 9325]\n                 → do it\n" + // everywhere: once, without where
			"                 → ejabberd:\n                     listen:\n                       - port: 5222\n                 → prosody: a = 1\n", // to be pasted
		"warn low       tls.cipher at " + a + ": weak [RFC 9325]\n\n",    // what to do for it is for --all
		"Registration\n  unknown        reg.open at " + b + ": closed\n", // a reason of its own
		"Not seen\n  unknown        sasl.scram, sasl.plus, cb.types at " + b + ": no connection\n",
		"All else\n  pass           dns.dnssec\n  skip           s2s.*\n\n  more\n",
	} {
		if !strings.Contains(short, want) {
			t.Errorf("no %q in\n%s", want, short)
		}
	}
	if strings.Index(short, "tls.version") > strings.Index(short, "reg.open") {
		t.Errorf("the worst is not first:\n%s", short)
	}
	long := text(Output{All: true, More: "more"})
	if strings.Contains(long, "more\n") {
		t.Errorf("there is no more to be said than\n%s", long)
	}
	for _, want := range []string{"→ another\n", "skip           s2s.external", "unknown        sasl.plus at " + b + ": no connection\n"} {
		if !strings.Contains(long, want) {
			t.Errorf("no %q in\n%s", want, long)
		}
	}
}

// TestTable: several targets have a line each at the end, with what of a policy is
// not met where there is one.
func TestTable(t *testing.T) {
	seen := &Observation{Domain: "x.test", Endpoints: []Endpoint{{}}}
	a := NewReport(seen, []Finding{{ID: "tls.version", Target: "x.test", Severity: High, Verdict: Fail}})
	b := NewReport(seen, []Finding{{ID: "tls.version", Target: "x.test", Severity: High, Verdict: Pass}})
	tail := func() string {
		var w bytes.Buffer
		if err := (Output{}).Text(&w, []*Report{a, b}); err != nil {
			t.Fatal(err)
		}
		_, table, _ := strings.Cut(w.String(), "\ntarget")
		return table
	}
	if got, want := tail(), "  grade    fail    warn unknown    pass    skip\nx.test  D           1       0       0       0       0\n"; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	p := &Policy{Name: "p", Level: Medium, Require: []string{"tls.version"}}
	a.Met, b.Met = p.Compare(a.Findings, seen.At), p.Compare(b.Findings, seen.At)
	if got := tail(); !strings.Contains(got, "skip   unmet\n") || !strings.HasSuffix(got, "       0       0\n") {
		t.Errorf("%q", got)
	}
}
