// Package audit judges what was seen of a server, of an onion address or of this
// machine: `xmpp-gw check`.
//
// It has three parts, each of which can be read and tested alone:
//
//   - an [Observation] is what was seen: plain data, without a judgement. Package
//     xmpp-gw/policy/audit/probe makes them over the network, by the decided route.
//   - a [Check] is a pure function from an observation to findings.
//   - a [Report] is findings put in order, with a grade, for people and programs.
//
// Unknown is never a pass: what could not be seen is a finding of its own, and the
// zero [Verdict] is [Unknown].
package audit

// Verdict is what a check says.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota // it could not be seen
	Pass
	Warn
	Fail
	Skip // it does not apply here
)

// Severity is how much a finding matters if it is not a pass.
type Severity uint8

// The severities.
const (
	Info Severity = iota
	Low
	Medium
	High
	Critical
)

// Finding is one judgement.
type Finding struct {
	// ID is stable: [Checks] lists them all.
	ID string
	// Target is what was looked at: a domain, or ENDPOINT as policy.Endpoint writes it.
	Target   string
	Severity Severity
	Verdict  Verdict
	// Evidence is what was seen, short and as it was, made safe for a terminal.
	Evidence string
	// Reference is where it is written: "RFC 6120 §13.8".
	Reference string
	// Fix says what to change: under "prosody" and "ejabberd" lines of their
	// configuration, under "" a sentence that fits all. Empty for a pass.
	Fix map[string]string
}

// Check is one question.
type Check struct {
	ID        string // "tls.version"
	Asks      string // in a few words, for --list
	Severity  Severity
	Reference string
	// Fix is what to change, as in a finding, unless that says better.
	Fix map[string]string
	// Run answers it for everything in the observation that it applies to. It may
	// raise or lower the severity of a finding.
	Run func(*Observation) []Finding
}
