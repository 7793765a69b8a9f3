package audit

import (
	"regexp"
	"slices"
	"strings"
)

func saslChecks() []question {
	scram := fix(prosodySCRAM, ejabberdSCRAM, "")
	plus := fix(prosodyPlus, ejabberdPlus, "")
	return []question{
		{"sasl.pretls", "no login is offered before TLS", Critical, "RFC 6120 §13.8",
			fix(prosodyPreTLS, ejabberdPreTLS, ""), askPreTLS},
		{"sasl.posttls", "inside TLS no outdated login is offered", High, "RFC 6120 §13.8",
			fix(prosodyOutdated, ejabberdOutdated, ""), askPostTLS},
		{"sasl.scram", "SCRAM with SHA-256 or better", Medium, "RFC 7677 §3", scram, askSCRAM},
		{"sasl.plus", "SCRAM is bound to TLS (-PLUS)", Medium, "RFC 5802 §6", plus, askPlus},
		{"cb.types", "the server says which channel bindings it can", Medium, "XEP-0440 §2", plus, askBindings},
		{"cb.endpoint", "tls-server-end-point is among them", Medium, "XEP-0440 §3", plus, askBinding("tls-server-end-point")},
		{"cb.exporter", "tls-exporter is among them", Medium, "RFC 9266 §2", plus, askBinding("tls-exporter")},
		{"sasl.downgrade", "who takes mechanisms out of the list is noticed", Medium, "XEP-0474 §6",
			fix(prosodyDowngrade, ejabberdDowngrade, ""), askDowngrade},
		{"sasl.sasl2", "SASL2", Low, "XEP-0388 §2",
			fix(prosodySASL2, ejabberdSASL2, ""), askSASL2},
		{"sasl.fast", "tokens instead of the password for coming back", Low, "XEP-0484 §3",
			fix(prosodyFAST, ejabberdFAST, ""), askFAST},
	}
}

// readable are the mechanisms that show the password, or what stands for it, to
// whoever reads along.
func readable(m string) bool {
	return slices.Contains([]string{beforeSASL, "PLAIN", "LOGIN", "X-OAUTH2", "OAUTHBEARER", "X-TOKEN", "X-FACEBOOK-PLATFORM"}, m)
}

// outdated are the mechanisms that were taken back (RFC 6331, XEP-0078, and CRAM-MD5,
// LOGIN and NTLM, which never were for XMPP).
func outdated(m string) bool {
	return slices.Contains([]string{beforeSASL, "DIGEST-MD5", "CRAM-MD5", "LOGIN", "NTLM", "X-OAUTH2"}, m)
}

// beforeSASL is the login of XEP-0078, which is none of SASL's mechanisms: by password, in
// the clear or nearly so.
const beforeSASL = "jabber:iq:auth"

// offers are the mechanisms of a stream, of both kinds of SASL, each once, and the login
// that was before it.
func (s *Stream) offers() []string {
	all := slices.Concat(s.Mechanisms, s.SASL2)
	for i := range all {
		all[i] = strings.ToUpper(all[i])
		if name := []rune(all[i]); len(name) > maxName {
			all[i] = string(name[:maxName]) + "…" // or one of them hides the others
		}
	}
	if slices.Contains(s.Features, "http://jabber.org/features/iq-auth auth") {
		all = append(all, beforeSASL)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// scramName is the name of a mechanism of SCRAM (RFC 5802 §4, RFC 7677 §3), with the
// hash, and the end where it is bound to TLS.
var scramName = regexp.MustCompile(`^SCRAM-(SHA-1|SHA-224|SHA-256|SHA-384|SHA-512|SHA3-(?:224|256|384|512))(-PLUS)?$`)

func isSCRAM(m string) bool { return scramName.MatchString(m) }
func isSHA1(m string) bool  { return strings.TrimSuffix(m, "-PLUS") == "SCRAM-SHA-1" }
func isPlus(m string) bool {
	return isSCRAM(m) && strings.HasSuffix(m, "-PLUS") || isName(m) && strings.HasPrefix(m, "GS2-") && strings.HasSuffix(m, "-PLUS")
}

func askPreTLS(j *judge) {
	j.eachPlain("endpoint for clients with STARTTLS", func(e *Endpoint, s *Stream, target string) {
		offers := s.offers()
		switch open := keep(offers, readable); {
		case len(open) > 0:
			onionNeedsNone(e, j.fail(target, "offered before TLS, so that a password can be read on the way: %s", list(offers, "")))
		case len(offers) > 0:
			onionNeedsNone(e, j.fail(target, "offered before TLS, so that the list can be changed and passwords be guessed: %s", list(offers, "")).at(High))
		default:
			j.pass(target, "none before TLS")
		}
	}, c2s)
}

func askPostTLS(j *judge) {
	j.eachSecure("endpoint for clients", func(e *Endpoint, s *Stream, target string) {
		offers := s.offers()
		others := keep(offers, func(m string) bool { return isName(m) && !readable(m) && !outdated(m) && m != "ANONYMOUS" })
		garbage := keep(offers, func(m string) bool { return !isName(m) && m != beforeSASL })
		switch bad := keep(offers, outdated); {
		case len(offers) == 0:
			j.fail(target, "no mechanism is offered, so nobody can log in")
		case len(garbage) > 0:
			j.fail(target, "no names of mechanisms: %s", list(garbage, "")).at(Medium).Reference = "RFC 4422 §3.1"
		case len(bad) > 0:
			j.fail(target, "outdated mechanisms: %s", list(bad, "")).at(Medium).Reference = "RFC 6331"
		case slices.Contains(offers, "PLAIN") && len(others) == 0:
			j.warn(target, "only PLAIN: the server reads every password").at(Medium).Fix = fix(prosodySCRAM, ejabberdSCRAM, "")
		default:
			j.pass(target, "%s", list(offers, ""))
		}
	}, c2s)
}

// maxName is how long the name of a mechanism may be (RFC 4422 §3.1).
const maxName = 20

// isName reports whether a mechanism may be called that (RFC 4422 §3.1).
func isName(m string) bool {
	return m != "" && len(m) <= maxName && strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

func askSCRAM(j *judge) {
	j.eachSecure("endpoint for clients", func(e *Endpoint, s *Stream, target string) {
		offers := s.offers()
		switch scram := keep(offers, isSCRAM); {
		case len(scram) == 0 && len(offers) > 0 && len(keep(offers, func(m string) bool { return m != "EXTERNAL" && m != "ANONYMOUS" })) == 0:
			j.skip(target, "no passwords: %s", list(offers, ""))
		case len(scram) == 0:
			j.fail(target, "no SCRAM, so that the server sees every password: %s", list(offers, "nothing"))
		case len(keep(scram, isSHA1)) == len(scram):
			j.warn(target, "SCRAM only with SHA-1: %s", list(scram, ""))
		default:
			j.pass(target, "%s", list(scram, ""))
		}
	}, c2s)
}

func askPlus(j *judge) {
	j.eachSecure("endpoint for clients", func(e *Endpoint, s *Stream, target string) {
		offers := s.offers()
		switch plus := keep(offers, isPlus); {
		case len(plus) > 0:
			j.pass(target, "%s", list(plus, ""))
		case e.At.Transport.OverWebSocket():
			// Browsers cannot bind, and TLS often ends in another program.
			j.warn(target, "no -PLUS, which browsers cannot use: %s", list(offers, "nothing")).at(Info)
		default:
			j.warn(target, "no -PLUS, so that nobody notices who sits in the middle: %s", list(offers, "nothing"))
		}
	}, c2s)
}

// askBindings judges XEP-0440: bindings without -PLUS make clients abort (§3).
func askBindings(j *judge) {
	j.eachSecure("endpoint for clients", func(e *Endpoint, s *Stream, target string) {
		plus := keep(s.offers(), isPlus)
		v13 := e.TLS != nil && slices.Contains(e.TLS.versions(), "1.3") && !slices.Contains(e.TLS.versions(), "1.2")
		switch {
		case len(s.Bindings) > 0 && len(plus) == 0:
			j.fail(target, "%s, but no -PLUS mechanism: clients must take that for an attack", list(s.Bindings, "")).Reference = "XEP-0440 §3"
		case len(plus) == 0:
			j.skip(target, "no -PLUS mechanism is offered")
		case len(s.Bindings) == 0:
			j.warn(target, "%s, without a list: clients have to guess", list(plus, ""))
		case v13 && slices.Contains(s.Bindings, "tls-unique"):
			j.warn(target, "tls-unique is offered, which TLS 1.3 does not have: %s", list(s.Bindings, "")).Reference = "RFC 9266 §3"
		default:
			j.pass(target, "%s", list(s.Bindings, ""))
		}
	}, c2s)
}

func askBinding(kind string) func(*judge) {
	return func(j *judge) {
		j.eachSecure("endpoint for clients", func(e *Endpoint, s *Stream, target string) {
			switch {
			case len(keep(s.offers(), isPlus)) == 0:
				j.skip(target, "no -PLUS mechanism is offered")
			case len(s.Bindings) == 0:
				j.unknown(target, "the server does not say which bindings it can")
			case !slices.Contains(s.Bindings, kind):
				j.warn(target, "only %s", list(s.Bindings, ""))
			case kind == "tls-exporter" && e.TLS != nil && !e.TLS.Exporter:
				j.warn(target, "it is offered, but this TLS session could not give one").Reference = "RFC 9266 §4"
			default:
				j.pass(target, "%s", kind)
			}
		}, c2s)
	}
}

// login gives what an account saw; nil when that was said to be unknown or not asked
// for.
func (j *judge) login() *Login {
	switch {
	case j.Login == nil:
		j.skip(j.Domain, "seen with --login only")
	case j.Login.Err != "":
		j.unknown(j.Domain, "no login: %s", j.Login.Err)
	default:
		return j.Login
	}
	return nil
}

func askDowngrade(j *judge) {
	if j.Login != nil && j.Login.Protection == "wrong" { // which ends the login
		j.fail(j.Domain, "the hash of the mechanism list is wrong: somebody changed the list on its way").at(Critical)
		return
	}
	l := j.login()
	switch {
	case l == nil:
	case l.Downgrade != "" && l.Downgrade != "refused":
		j.fail(j.Domain, "a login with a wrong channel binding was %s", l.Downgrade).at(High).Reference = "RFC 5802 §6"
	case l.Hidden != "" && l.Hidden != "refused" && l.Hidden != "noticed":
		j.fail(j.Domain, "a login that was not shown -PLUS was %s, though it is offered", l.Hidden).Reference = "RFC 5802 §6"
	case l.Protection == "absent":
		j.warn(j.Domain, "wrong bindings are %s; no hash of the mechanism list", list(keep([]string{l.Downgrade}, func(s string) bool { return s != "" }), "not tried"))
	case l.Protection == "" && l.Downgrade == "":
		j.unknown(j.Domain, "it was not tried")
	case l.Protection == "" || l.Downgrade == "":
		j.unknown(j.Domain, "only half was tried: wrong binding %q, hash %q", l.Downgrade, l.Protection)
	default:
		j.pass(j.Domain, "a wrong channel binding is refused, and the mechanism list is %s", l.Protection)
	}
}

func askSASL2(j *judge) {
	j.eachSecure("endpoint for clients", func(e *Endpoint, s *Stream, target string) {
		if len(s.SASL2) == 0 {
			j.warn(target, "SASL2 is not offered")
			return
		}
		j.pass(target, "%s", list(s.SASL2, ""))
	}, c2s)
}

func askFAST(j *judge) {
	j.eachSecure("endpoint for clients", func(e *Endpoint, s *Stream, target string) {
		switch {
		case s.FAST:
			j.pass(target, "offered")
		case len(s.SASL2) == 0:
			j.skip(target, "it needs SASL2, which is not offered")
		default:
			j.warn(target, "tokens are not offered: clients keep the password, or ask for it again")
		}
	}, c2s)
}
