package audit

import (
	"regexp"
	"slices"
	"strings"
)

func registerChecks() []question {
	return []question{{"reg.open", "nobody makes accounts without an invitation or a captcha", Medium, "XEP-0077 §3.1",
		fix(prosodyRegister, ejabberdRegister, ""), askRegistration}}
}

func infoChecks() []question {
	return []question{
		{"info.version", "strangers do not learn the server's version", Low, "XEP-0092 §5",
			fix(prosodyVersion, ejabberdVersion, ""), askVersion},
		{"info.contact", "there is somebody to write to about abuse", Info, "XEP-0157 §3",
			fix(prosodyContact, ejabberdContact, ""), askContact},
	}
}

func askRegistration(j *judge) {
	j.each("endpoint for clients", func(e *Endpoint, target string) {
		switch r := e.Registration; {
		case r == nil:
			j.unknown(target, "it was not tried: no stream inside TLS came to its features")
		case r.Err != "":
			j.unknown(target, "%s", r.Err)
		case !r.Offered:
			j.pass(target, "not offered")
		case r.Invite:
			j.pass(target, "by invitation")
		case r.Captcha:
			j.pass(target, "with a captcha")
		case e.Secure != nil && slices.ContainsFunc(e.Secure.Features, takesInvitation):
			j.unknown(target, "it takes invitations; whether it insists on one shows only when an account is made").at(Low)
		case e.Secure != nil && !e.Secure.Register:
			// ejabberd shows its form to everybody, and the feature where the form is good for something.
			j.warn(target, "it shows a form without offering to register; whether that makes an account was not tried").at(Low)
		default:
			j.fail(target, "open to everybody, spammers too; it asks for %s", list(r.Fields, "nothing"))
		}
	}, c2s)
}

// takesInvitation reports whether a stream feature says that invitations are taken
// (XEP-0445 §4). Servers that demand one show the same form as those that do not.
func takesInvitation(feature string) bool {
	ns, _, _ := strings.Cut(feature, " ")
	return ns == "urn:xmpp:ibr-token:0" || ns == "urn:xmpp:invite"
}

// numbered finds a version in the address of a software.
var numbered = regexp.MustCompile(`[0-9]+\.[0-9]+`)

func askVersion(j *judge) {
	if l := j.Login; l != nil && l.Err == "" {
		switch {
		case strings.ContainsAny(l.Software, "0123456789"):
			j.warn(j.Domain, "it tells its version, and so which holes it has: %s", l.Software)
			return
		case l.SoftwareErr != "":
			j.unknown(j.Domain, "what an account is told was not seen: %s", l.SoftwareErr)
		default:
			j.pass(j.Domain, "an account is told %s", list(keep([]string{l.Software}, notEmpty), "nothing"))
		}
	}
	j.eachSecure("endpoint", func(e *Endpoint, s *Stream, target string) {
		switch {
		case numbered.MatchString(s.CapsNode):
			j.warn(target, "it tells its version, and so which holes it has: %s", s.CapsNode).Reference = "XEP-0115 §9.4"
		case s.CapsNode != "":
			j.pass(target, "no version; the software is %s", s.CapsNode)
		default:
			j.pass(target, "no version is shown")
		}
	})
}

func askContact(j *judge) {
	switch l := j.login(); {
	case l == nil:
	case l.Server.Err != "":
		j.unknown(j.Domain, "the server did not answer: %s", l.Server.Err)
	case len(l.Contacts) == 0:
		j.warn(j.Domain, "no contact addresses: who is abused has nobody to write to")
	default:
		j.pass(j.Domain, "%s", list(l.Contacts, ""))
	}
}
