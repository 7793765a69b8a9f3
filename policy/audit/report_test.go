package audit

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func judged(o *Observation) *Report { return NewReport(o, Judge(o, Checks())) }

func TestGrades(t *testing.T) {
	o := good(t)
	if r := judged(o); r.Grade != "A+" || r.Exit(Info) != ExitGood {
		t.Errorf("the good server: %s (%s), exit %d", r.Grade, r.Rule, r.Exit(Info))
	}
	for _, kind := range []func(testing.TB) *Observation{goodOnion, goodSelf, goodEgress} {
		if r := judged(kind(t)); r.Grade != "A+" || r.Exit(Info) != ExitGood {
			t.Errorf("%s: %s (%s), exit %d", r.Target, r.Grade, r.Rule, r.Exit(Info))
		}
	}
	find := func(v Verdict, s Severity) []Finding {
		return []Finding{{ID: "tls.version", Verdict: v, Severity: s}, {ID: "tls.cipher", Verdict: Pass, Severity: High}}
	}
	for _, c := range []struct {
		v     Verdict
		s     Severity
		grade string
		exit  int
	}{
		{Fail, Critical, "F", 3}, {Fail, High, "D", 3}, {Fail, Medium, "C", 3}, {Fail, Low, "B", 3}, {Fail, Info, "A", 0},
		{Warn, Critical, "D", 2}, {Warn, High, "C", 2}, {Warn, Medium, "B", 2}, {Warn, Low, "A", 2}, {Warn, Info, "A", 0},
		{Unknown, Critical, "C", 2}, {Unknown, High, "B", 2}, {Unknown, Medium, "A", 2}, {Unknown, Low, "A", 2}, {Unknown, Info, "A", 0},
		{Skip, Critical, "A", 0}, {Pass, Critical, "A", 0},
	} {
		r := NewReport(o, find(c.v, c.s))
		if r.Grade != c.grade || r.Exit(Info) != c.exit || r.Rule == "" {
			t.Errorf("%s %s: %s, exit %d; want %s, %d (%s)", c.v, c.s, r.Grade, r.Exit(Info), c.grade, c.exit, r.Rule)
		}
	}
	if r := NewReport(o, find(Fail, Medium)); r.Exit(High) != ExitGood {
		t.Error("the level does not count")
	}
	if r := judged(&Observation{Domain: "example.org", At: now, Endpoints: []Endpoint{{Err: "refused"}}}); r.Exit(Info) != ExitNotThere || r.Grade != "" {
		t.Errorf("not reached: %q, %d", r.Grade, r.Exit(Info))
	}
}

func TestWorstFirst(t *testing.T) {
	r := NewReport(good(t), []Finding{{ID: "1", Verdict: Pass}, {ID: "2", Verdict: Warn, Severity: Info}, {ID: "3", Verdict: Unknown, Severity: Low}, {ID: "4", Verdict: Fail, Severity: Low}, {ID: "5", Verdict: Fail, Severity: Critical}, {ID: "6", Verdict: Warn, Severity: High}})
	var order string
	for _, f := range r.Findings {
		order += f.ID
	}
	if order != "546321" {
		t.Errorf("order %s", order)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "\x1b[31m": `\x1b[31m`, "a\nb\x00": `a\x0ab\x00`, "\xff": `\xff`, "\u202eabc": `\u{202e}abc`, "ü€": "ü€"} {
		if got := Clean(in); got != want || Clean(got) != got {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := Clean(strings.Repeat("\x00", 10<<20)); utf8.RuneCountInString(got) > maxEvidence || !strings.HasSuffix(got, "…") {
		t.Errorf("%d characters", utf8.RuneCountInString(got))
	}
}

// renderers are all formats.
func renderers(o Output) map[string]func(io.Writer, []*Report) error {
	return map[string]func(io.Writer, []*Report) error{"text": o.Text, "markdown": o.Markdown, "json": o.JSON, "junit": o.JUnit, "sarif": o.SARIF}
}

// checkOutput sees that each format is well-formed and has nothing that steers a
// terminal.
func checkOutput(t *testing.T, reports []*Report) {
	t.Helper()
	for name, render := range renderers(Output{Version: "1", All: true}) {
		var b bytes.Buffer
		if err := render(&b, reports); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		out := b.String()
		if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 || !utf8.ValidString(out) {
			t.Errorf("%s has something unprintable at %d: %q", name, i, out)
		}
		switch name {
		case "json":
			checkJSON(t, b.Bytes())
		case "sarif":
			checkSARIF(t, b.Bytes(), reports)
		case "junit":
			checkJUnit(t, b.Bytes())
		}
	}
}

func TestRenderers(t *testing.T) {
	bad := good(t)
	bad.Endpoints[0].Plain.Mechanisms = []string{"PLAIN", "\x1b]0;evil\a", "</failure><x>", "`|`\n# head\n@somebody"}
	bad.DNS.Address.Err = "\xff\xfe"
	r := judged(bad)
	policy, _ := BuiltIn("modern")
	r.Met = policy.Compare(r.Findings, now)
	checkOutput(t, []*Report{r, judged(goodOnion(t)), judged(&Observation{Domain: "gone.example"})})

	var b bytes.Buffer
	if err := (Output{}).Text(&b, []*Report{r, judged(goodOnion(t))}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"example.org  grade F", "sasl.pretls at starttls://xmpp.example.org:5222", "c2s_require_encryption = true", "unknown", "target "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	for line := range strings.Lines(b.String()) {
		if utf8.RuneCountInString(line) > 160 {
			t.Errorf("a long line: %s", line)
		}
	}
	bad.Endpoints[0].Plain.Mechanisms = []string{strings.Repeat("A", 300), "PLAIN", "B" + strings.Repeat("€", 300)}
	long := judged(bad)
	b.Reset()
	if err := (Output{Width: 80}).Text(&b, []*Report{long}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "PLAIN") {
		t.Errorf("a long name hides PLAIN:\n%s", b.String())
	}
	long.Findings[0].Evidence = strings.Repeat("x", 239)
	b.Reset()
	_ = (Output{Width: 80, NoFix: true}).Text(&b, []*Report{long})
	for line := range strings.Lines(b.String()) {
		if utf8.RuneCountInString(line) > 81 {
			t.Errorf("a long line: %s", line)
		}
	}
	b.Reset()
	if err := (Output{Colour: true}).Text(&b, []*Report{r}); err != nil || !strings.Contains(b.String(), "\x1b[31mfail critical\x1b[0m") {
		t.Errorf("no colour: %v", err)
	}
}

func FuzzRenderers(f *testing.F) {
	f.Add("evidence", "starttls://x", "tls.version", byte(2), byte(4))
	f.Add("]]>\x00\x1b[2J\u202e``|\\", "\xff<&>", "x.y", byte(0), byte(9))
	f.Fuzz(func(t *testing.T, evidence, target, id string, v, s byte) {
		o := &Observation{Domain: target, At: now, Endpoints: []Endpoint{{}}}
		r := NewReport(o, []Finding{{ID: "tls.version", Target: target, Evidence: evidence, Verdict: Verdict(v % 5), Severity: Severity(s % 5), Reference: "x", Fix: fix(evidence, "", "")}})
		r.Met = &Comparison{Policy: evidence, Unmet: []Unmet{{ID: "tls.version", Target: target, Why: evidence}}}
		checkOutput(t, []*Report{r})
	})
}

func TestPolicies(t *testing.T) {
	for _, name := range PolicyNames() {
		p, ok := BuiltIn(name)
		if !ok {
			t.Fatal(name)
		}
		back, err := ParsePolicy(name, []byte(p.TOML()))
		if err != nil || back.TOML() != p.TOML() {
			t.Errorf("%s does not come back: %v", name, err)
		}
		o := good(t)
		if name == "onion" {
			o = goodOnion(t)
		}
		if c := p.Compare(Judge(o, Checks()), now); len(c.Unmet) > 0 {
			t.Errorf("%s is not met by a good one: %v", name, c.Unmet)
		}
		if c := p.Compare(nil, now); len(c.Unmet) == 0 || c.exit() == ExitGood {
			t.Errorf("%s is met by nothing at all", name)
		}
	}
	o := good(t)
	o.Endpoints[0].TLS.Versions["1.0"] = ""
	o.DNS.CAA.Records = nil
	findings := Judge(o, Checks())
	made := Make("ours", findings)
	back, err := ParsePolicy("made", []byte(made.TOML()))
	if err != nil {
		t.Fatal(err)
	}
	if c := back.Compare(findings, now); len(c.Unmet) > 0 || c.Excused == 0 {
		t.Errorf("the server does not meet what was made of it: %v", c)
	}
	o.Endpoints[1].Plain, o.Endpoints[1].TLS = nil, nil
	if c := back.Compare(Judge(o, Checks()), now); len(c.Unmet) == 0 || c.exit() != ExitWarnings {
		t.Errorf("what is unknown now is met: %v", c)
	}
	ended := &Policy{Require: []string{"tls.version"}, Exceptions: []Exception{{ID: "tls.version", Until: now.AddDate(0, 0, -2)}}}
	if c := ended.Compare(findings, now); len(c.Unmet) == 0 || c.exit() != ExitFailures {
		t.Errorf("an exception that ended holds: %v", c)
	}
}

func TestParsePolicy(t *testing.T) {
	good := "version = 1\nname = \"ours\" # us\nlevel = \"high\"\nrequire = [\n  \"tls.version\", # both\n  \"tls.cipher\",\n]\n[[exception]]\nid = \"cert.sct\"\nreason = \"own CA\"\nuntil = 2027-01-31\n"
	p, err := ParsePolicy("p.toml", []byte(good))
	if err != nil || p.Level != High || len(p.Require) != 2 || !p.Exceptions[0].Until.Equal(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)) {
		t.Fatalf("%+v, %v", p, err)
	}
	bad := "version = 2\nname = 1\nlevle = \"x\"\nlevel = \"x\"\nlevel = \"low\"\nrequire = [\n  \"tls.version\",\n  \"tls.versoin\",\n]\n[other]\nx = 1\n[[exception]]\nid = \"no.such\"\nuntil = \"2027\"\n"
	_, err = ParsePolicy("p.toml", []byte(bad))
	for _, want := range []string{"p.toml:1: version", "p.toml:2: name", "p.toml:3: levle: unknown key", "p.toml:4: level", "p.toml:5: level is set twice", `p.toml:8: there is no check "tls.versoin"`, "p.toml:10: unknown section", "p.toml:12: the exception has no reason", "p.toml:13: id", "p.toml:14: until"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	for _, text := range []string{"", "name = \"x\"", "version = 1", "version = 1\nname = \"x\"\nrequire = [", "version = 1\nname = \"x\"\nrequire = [\"tls.version\"]\nrequire_if_applies = [\"tls.version\"]"} {
		if _, err := ParsePolicy("p", []byte(text)); err == nil {
			t.Errorf("taken: %s", text)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	p, _ := BuiltIn("modern")
	f.Add(p.TOML())
	f.Add("[[exception]]\nid = \"cert.sct\"\nreason = '''x'''\nuntil = 2027-01-31\n")
	f.Add("version = 1\nname = {a = 1}\nrequire = [[1], \"x\"]")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePolicy("p", []byte(text))
		if err != nil {
			return
		}
		back, err := ParsePolicy("again", []byte(p.TOML()))
		if err != nil {
			t.Fatalf("%v\n%s", err, p.TOML())
		}
		if back.TOML() != p.TOML() {
			t.Fatalf("%s\n%s", back.TOML(), p.TOML())
		}
	})
}
