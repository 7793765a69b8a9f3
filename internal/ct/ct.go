// Package ct finds out whether public logs saw a certificate: Certificate
// Transparency (RFC 6962).
//
// An authority that issues a certificate behind its owner's back is found out
// because the certificate stands in logs that anybody may read. A log proves with
// a signed certificate timestamp (SCT) that it took a certificate in; here those
// proofs are held against the list of logs whose word counts:
//
//	seen := ct.BuiltIn().Check(ct.Shown{Chain: chain, TLS: state.SignedCertificateTimestamps, OCSP: state.OCSPResponse}, now)
//	verdict := ct.Judge(chain[0], seen)
//
// Nothing is fetched, and no log is asked: it would learn who looks at which
// server. A timestamp of a log that the list does not have is neither right nor
// wrong, and counts for nothing.
package ct

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The places where a server may show timestamps (RFC 6962 §3.3).
const (
	InCertificate = "certificate"
	InTLS         = "tls"
	InOCSP        = "ocsp"
)

// SCT is a signed certificate timestamp, and what it is worth.
type SCT struct {
	Log      string // the log's description; "" where nobody can tell what the timestamp is worth
	Operator string // who runs the log
	LogID    string // the log's number, in base64
	Raw      []byte // the whole of it, with the signature (RFC 6962 §3.2)
	From     string // InCertificate, InTLS or InOCSP
	At       time.Time
	Valid    bool   // the log saw the certificate, and its word counts
	Retired  bool   // the log's word counts no more for what it saw later
	Why      string // why it is not Valid
}

// What browsers ask for: a certificate that lives long must be in one more log, for
// any of them may end; and one operator alone could be made to lie.
const (
	shortLife  = 180 * 24 * time.Hour
	logsShort  = 2
	logsLong   = 3
	operators  = 2
	maxSCTs    = 16 // that are looked at
	clockSkew  = 5 * time.Minute
	maxIssuers = 4 // certificates of the issuer's name whose signature is tried
)

// Verdict says whether the logs vouch for a certificate.
type Verdict struct {
	Logs    []string // that do, each once, sorted
	Wrong   []string // "LOG: why" of those whose timestamps do not count
	Unclear []string // why nobody can tell, one for each such timestamp
	Missing string   // what is missing; "" if the logs vouch for it
}

// Judge counts: timestamps of two logs, or three for a certificate that is valid
// for more than 180 days; of two operators; and one of a log that has not been
// retired.
func Judge(leaf *x509.Certificate, scts []SCT) Verdict {
	var v Verdict
	need := logsShort
	if leaf.NotAfter.Sub(leaf.NotBefore) > shortLife {
		need = logsLong
	}
	run, alive := map[string]bool{}, false
	for _, s := range scts {
		switch {
		case s.Log == "":
			v.Unclear = append(v.Unclear, cmp.Or(s.Why, "its log is not known"))
		case !s.Valid:
			v.Wrong = append(v.Wrong, s.Log+": "+cmp.Or(s.Why, "it is wrong"))
		default:
			v.Logs = append(v.Logs, s.Log)
			run[s.Operator] = true
			alive = alive || !s.Retired
		}
	}
	slices.Sort(v.Logs)
	v.Logs = slices.Compact(v.Logs)
	switch n := len(v.Logs); {
	case n == 0:
		v.Missing = "no log vouches for it"
	case n < need:
		v.Missing = fmt.Sprintf("%d of %d logs that are needed: %s", n, need, strings.Join(v.Logs, ", "))
	case len(run) < operators:
		v.Missing = "all logs are of one operator: " + strings.Join(v.Logs, ", ")
	case !alive:
		v.Missing = "all logs have been retired: " + strings.Join(v.Logs, ", ")
	}
	return v
}

// Why is Missing and what there was in its place, in one sentence part.
func (v Verdict) Why() string {
	why := v.Missing
	if why == "" {
		return ""
	}
	add := func(what string, list []string) {
		const most = 3
		slices.Sort(list)
		list = slices.Compact(list)
		if more := len(list) - most; more > 0 {
			list = append(slices.Clone(list[:most]), fmt.Sprintf("%d more", more))
		}
		if len(list) > 0 {
			why += "; " + what + strings.Join(list, "; ")
		}
	}
	if len(v.Logs)+len(v.Wrong)+len(v.Unclear) == 0 {
		return why + ": the server shows no timestamp of any"
	}
	add("not counted: ", slices.Clone(v.Wrong))
	add("cannot be told: ", slices.Clone(v.Unclear))
	return why
}
