package tlsauth

import (
	"crypto/tls"
	"strings"

	"xmpp-gw/internal/ct"
	"xmpp-gw/policy"
)

// logged asks whether public logs saw the certificate (RFC 6962), and whether its
// authority took it back, where nothing but authorities proves the server: any public
// one, made to, could certify somebody else. It is called once that proof stands.
func (v *verifier) logged(state tls.ConnectionState) error {
	if Staple(state.OCSPResponse, v.way, v.now) == StapleRevoked {
		return &Error{Kind: ErrRevoked, What: "the certificate of the server of " + v.domain + " was revoked",
			Why:  "its authority says so in the answer that the server itself shows (OCSP)",
			Hint: "tell its operator over another way than this one: the key may be in other hands"}
	}
	switch {
	case v.noLogs != "":
		v.logs.Text = v.noLogs
		return nil
	case v.decision.SCT == policy.SCTOff:
		v.logs.Text = `not asked: sct = "off"`
		return nil
	case len(v.decision.Pins) > 0:
		v.logs.Text = "not asked: the key is one of pins"
		return nil
	case v.own:
		v.logs.Text = "not asked: the authority is the domain's own (ca)"
		return nil
	}
	verdict := ct.Judge(v.way[0], v.list.Check(ct.Shown{Chain: v.way, TLS: state.SignedCertificateTimestamps, OCSP: state.OCSPResponse}, v.now))
	if verdict.Missing == "" {
		v.logs.Text = "vouched for by " + printable(strings.Join(verdict.Logs, ", "), 200)
		return nil
	}
	v.logs.Text = "not vouched for: " + printable(verdict.Why(), 400)
	e := &Error{Kind: ErrUnlogged, What: "public logs do not vouch for the certificate of the server of " + v.domain, Why: verdict.Why(),
		Hint: "tell its operator: authorities that log what they issue put the proof into the certificate; to log in all the same, set sct = \"warn\" in " + v.section()}
	if len(verdict.Unclear) > 0 {
		e.Hint = "it may be that the list of logs is too old: name a newer one (log_list.json, version 3) in [ct] logs; to log in all the same, set sct = \"warn\" in " + v.section()
	}
	if v.decision.SCT == policy.SCTRequire {
		return v.object(e)
	}
	v.logs.Warns = true
	v.warnings = append(v.warnings, Reason(e))
	return nil
}
