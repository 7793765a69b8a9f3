package audit

import (
	"encoding/xml"
	"io"
	"strings"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Errors    int         `xml:"errors,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string     `xml:"classname,attr"`
	Name    string     `xml:"name,attr"`
	Failure *junitSaid `xml:"failure"`
	Error   *junitSaid `xml:"error"`
	Skipped *junitSaid `xml:"skipped"`
	Out     string     `xml:"system-out,omitempty"`
}

type junitSaid struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes a test suite a target. Fail and warn are failures, whose type says
// which; what is unknown is an error; what is for information, or below the level,
// passes and says so. With a policy all of them pass, and what of it is not met is a
// failure of its own, as in [Report.Exit]. So is a target that was not reached.
func (o Output) JUnit(w io.Writer, reports []*Report) error {
	all := junitSuites{Name: "xmpp-gw check"}
	for _, r := range reports {
		s := junitSuite{Name: Clean(r.Target), Timestamp: r.At.UTC().Format("2006-01-02T15:04:05")}
		if !r.Connected {
			s.Errors++
			s.Cases = append(s.Cases, junitCase{Class: "check", Name: "connect", Error: &junitSaid{Message: "the server was not reached", Type: "unknown"}})
		}
		for _, f := range r.Findings {
			c := junitCase{Class: Group(f.ID), Name: f.ID + " " + Clean(f.Target)}
			said := &junitSaid{Message: Clean(f.Evidence), Type: f.Verdict.String(), Text: strings.Join(append([]string{f.Severity.String() + ", " + f.Reference}, f.fixes()...), "\n")}
			switch counts := f.Severity >= max(o.Level, Low) && r.Met == nil; {
			case f.Verdict == Skip:
				s.Skipped++
				c.Skipped = &junitSaid{Message: said.Message}
			case f.Verdict == Pass || !counts:
				c.Out = f.Verdict.String() + ": " + said.Message
			case f.Verdict == Unknown:
				s.Errors++
				c.Error = said
			default:
				s.Failures++
				c.Failure = said
			}
			s.Cases = append(s.Cases, c)
		}
		if r.Met != nil {
			for _, u := range r.Met.Unmet {
				s.Failures++
				s.Cases = append(s.Cases, junitCase{Class: "policy", Name: u.ID + " " + Clean(u.Target), Failure: &junitSaid{Message: Clean(u.Why), Type: "policy"}})
			}
		}
		s.Tests = len(s.Cases)
		all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
		all.Suites = append(all.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
