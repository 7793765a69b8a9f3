package audit

import "slices"

func s2sChecks() []question {
	dialback := fix(prosodyDialback, ejabberdDialback, "")
	return []question{
		{"s2s.required", "other servers cannot go on without TLS", High, "RFC 7590 §3.1",
			fix(prosodyEncrypt, `s2s_use_starttls: required`, ""), askS2SRequired},
		{"s2s.dialback-only", "other servers are known by more than DNS", High, "XEP-0220 §3", dialback, askDialback},
		{"s2s.external", "other servers can log in by certificate", High, "XEP-0178 §3", dialback, askExternal},
	}
}

func askS2SRequired(j *judge) {
	j.eachPlain("endpoint for servers with STARTTLS", func(e *Endpoint, s *Stream, target string) {
		switch {
		case s.StartTLS == "required":
			j.pass(target, "required")
		case s.StartTLS == "offered" && !s.Dialback && len(s.offers()) == 0:
			j.warn(target, "offered, and nothing else; but not marked <required/>").at(Low)
		default:
			f := j.fail(target, "STARTTLS is %s; without it the server offers %s", list(keep([]string{s.StartTLS}, notEmpty), "not offered"), list(sorted(s.Features), "nothing"))
			if e.At.Onion() {
				onionNeedsNone(e, f)
			}
		}
	}, s2s)
}

func notEmpty(s string) bool { return s != "" }

// external reports whether a server with a certificate could log in by it. EXTERNAL
// is offered to those alone whose certificate is good, and ours need not be: that
// the server asks for one says enough.
func external(e *Endpoint, s *Stream) bool {
	return slices.Contains(s.offers(), "EXTERNAL") || e.TLS != nil && e.TLS.AsksCert
}

func askDialback(j *judge) {
	j.eachSecure("endpoint for servers", func(e *Endpoint, s *Stream, target string) {
		switch {
		case external(e, s):
			j.pass(target, "it asks for certificates")
		case s.Dialback:
			j.fail(target, "dialback, and no certificate is asked for: whoever forges DNS is believed")
		case e.TLS == nil:
			j.unknown(target, "TLS was not seen")
		default:
			j.unknown(target, "neither dialback nor certificates: %s", list(sorted(s.Features), "no features"))
		}
	}, s2s)
}

func askExternal(j *judge) {
	j.eachSecure("endpoint for servers", func(e *Endpoint, s *Stream, target string) {
		switch {
		case slices.Contains(s.offers(), "EXTERNAL"):
			j.pass(target, "EXTERNAL is offered")
		case external(e, s):
			j.pass(target, "it asks for a certificate in TLS; EXTERNAL comes to those who show a good one")
		case e.TLS == nil:
			j.unknown(target, "TLS was not seen")
		default:
			j.warn(target, "it asks for no certificate, so that none can prove anything; it offers %s", list(sorted(s.Features), "nothing")).at(Medium)
		}
	}, s2s)
}
