package audit

import (
	"encoding/json"
	"io"
	"time"
)

// Schema names the JSON document's form. It gets another number when a field is
// renamed or means something else; new fields do not change it.
const Schema = "xmpp-gw-check-1"

type jsonDocument struct {
	Schema  string       `json:"schema"`
	Version string       `json:"version"`
	Exit    int          `json:"exit"`
	Reports []jsonReport `json:"reports"`
}

type jsonReport struct {
	Target    string         `json:"target"`
	Via       string         `json:"via"`
	At        string         `json:"at"`
	Connected bool           `json:"connected"`
	Grade     string         `json:"grade"`
	Rule      string         `json:"rule"`
	Notes     []string       `json:"notes,omitempty"`
	Exit      int            `json:"exit"`
	Counts    map[string]int `json:"counts"`
	Findings  []jsonFinding  `json:"findings"`
	Policy    *jsonPolicy    `json:"policy,omitempty"`
}

type jsonFinding struct {
	ID        string            `json:"id"`
	Target    string            `json:"target"`
	Severity  string            `json:"severity"`
	Verdict   string            `json:"verdict"`
	Evidence  string            `json:"evidence"`
	Reference string            `json:"reference"`
	Fix       map[string]string `json:"fix,omitempty"`
}

type jsonPolicy struct {
	Name  string      `json:"name"`
	Met   bool        `json:"met"`
	Unmet []jsonUnmet `json:"unmet"`
}

type jsonUnmet struct {
	ID      string `json:"id"`
	Target  string `json:"target"`
	Verdict string `json:"verdict"`
	Why     string `json:"why"`
}

// JSON writes one document: docs/check.md describes it.
func (o Output) JSON(w io.Writer, reports []*Report) error {
	doc := jsonDocument{Schema: Schema, Version: o.Version, Exit: Exit(reports, o.Level), Reports: []jsonReport{}}
	for _, r := range reports {
		j := jsonReport{Target: Clean(r.Target), Via: Clean(r.Via), At: r.At.UTC().Format(time.RFC3339), Connected: r.Connected,
			Grade: r.Grade, Rule: r.Rule, Notes: r.Notes, Exit: r.Exit(o.Level), Counts: map[string]int{}, Findings: []jsonFinding{}}
		for _, v := range []Verdict{Pass, Warn, Fail, Unknown, Skip} {
			j.Counts[v.String()] = r.Count(v)
		}
		for _, f := range r.Findings {
			j.Findings = append(j.Findings, jsonFinding{f.ID, Clean(f.Target), f.Severity.String(), f.Verdict.String(), Clean(f.Evidence), Clean(f.Reference), f.cleanFix()})
		}
		if m := r.Met; m != nil {
			j.Policy = &jsonPolicy{Name: Clean(m.Policy), Met: len(m.Unmet) == 0, Unmet: []jsonUnmet{}}
			for _, u := range m.Unmet {
				j.Policy.Unmet = append(j.Policy.Unmet, jsonUnmet{u.ID, Clean(u.Target), u.Verdict.String(), Clean(u.Why)})
			}
		}
		doc.Reports = append(doc.Reports, j)
	}
	return writeJSON(w, doc)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
