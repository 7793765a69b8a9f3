package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"time"
)

// The parts of SARIF 2.1.0 in use, as its specification names them.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		AutomationDetails struct {
			ID string `json:"id"`
		} `json:"automationDetails"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		ColumnKind  string            `json:"columnKind"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string       `json:"id"`
		ShortDescription sarifMessage `json:"shortDescription"`
		Help             sarifMessage `json:"help"`
		Default          struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
		Properties map[string]any `json:"properties"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful bool   `json:"executionSuccessful"`
		ExitCode   int    `json:"exitCode"`
		Start      string `json:"startTimeUtc,omitempty"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Kind         string            `json:"kind"`
		Level        string            `json:"level"`
		Message      sarifMessage      `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Properties   map[string]any    `json:"properties"`
	}
	sarifLocation struct {
		Logical []sarifLogical `json:"logicalLocations"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
)

// SARIF writes a SARIF 2.1.0 log with a run a target. What the server passed, and
// what is open, is in it too (result.kind, §3.27.9).
func (o Output) SARIF(w io.Writer, reports []*Report) error {
	log := sarifLog{Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{}}
	for _, r := range reports {
		run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
		run.AutomationDetails.ID = "xmpp-gw check/" + Clean(r.Target)
		run.Tool.Driver = sarifDriver{Name: "xmpp-gw", Version: o.Version, Rules: sarifRules()}
		call := sarifInvocation{Successful: r.Connected, ExitCode: r.Exit(o.Level)}
		if !r.At.IsZero() {
			call.Start = r.At.UTC().Format(time.RFC3339)
		}
		run.Invocations = []sarifInvocation{call}
		for _, f := range r.Findings {
			run.Results = append(run.Results, f.sarif(run.Tool.Driver.Rules))
		}
		log.Runs = append(log.Runs, run)
	}
	return writeJSON(w, log)
}

func sarifRules() (rules []sarifRule) {
	for _, q := range questions() {
		rule := sarifRule{ID: q.id, ShortDescription: sarifMessage{q.asks}, Properties: map[string]any{"tags": []string{"xmpp", Group(q.id)}}}
		rule.Help.Text = strings.Join(append([]string{q.reference}, Finding{Fix: q.fix}.fixes()...), "\n")
		rule.Default.Level = sarifLevel(Fail, q.severity)
		rule.Properties["security-severity"] = securitySeverity(q.severity)
		rules = append(rules, rule)
	}
	return rules
}

// securitySeverity is the number by which code scanners sort.
func securitySeverity(s Severity) string {
	return map[Severity]string{Info: "0.0", Low: "3.0", Medium: "5.5", High: "8.0", Critical: "9.5"}[s]
}

// sarifLevel is result.level: "none" for all that is no failure (§3.27.10).
func sarifLevel(v Verdict, s Severity) string {
	switch {
	case v != Fail && v != Warn:
		return "none"
	case s == Info:
		return "note"
	case v == Fail && s >= Medium:
		return "error"
	}
	return "warning"
}

func (f Finding) sarif(rules []sarifRule) sarifResult {
	kind := map[Verdict]string{Pass: "pass", Skip: "notApplicable", Unknown: "open", Warn: "fail", Fail: "fail"}[f.Verdict]
	sum := sha256.Sum256([]byte(f.ID + "\x00" + f.Target))
	text := Clean(f.Evidence)
	if text == "" {
		text = f.Verdict.String()
	}
	return sarifResult{
		RuleID: f.ID, RuleIndex: slices.IndexFunc(rules, func(r sarifRule) bool { return r.ID == f.ID }),
		Kind: kind, Level: sarifLevel(f.Verdict, f.Severity), Message: sarifMessage{text},
		Locations:    []sarifLocation{{[]sarifLogical{{Clean(f.Target), "resource"}}}},
		Fingerprints: map[string]string{"finding/v1": hex.EncodeToString(sum[:])},
		Properties:   map[string]any{"verdict": f.Verdict.String(), "severity": f.Severity.String(), "reference": f.Reference},
	}
}
