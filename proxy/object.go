package proxy

import (
	"errors"
	"slices"

	"xmpp-gw/internal/resolve"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
)

// object is for a server that falls short of one of the stricter demands: one whose
// lack is no proof that somebody is in the middle, such as binding = "require" or
// dns = "dnssec-require". With mode = "enforce", and where no mode is set, it is
// reason, which ends the attempt. With mode = "report" it is nil: the owner is told,
// in the log and in status, and the attempt goes on.
//
// What must never be does not come through here: it is refused in both modes.
func (s *session) object(reason error) error {
	if reason == nil || s.decision.Mode != policy.Report {
		return reason
	}
	text := reason.Error()
	if _, ok := errors.AsType[*tlsauth.Error](reason); ok {
		text = tlsauth.Reason(reason)
	}
	if dns, ok := errors.AsType[*resolve.Error](reason); ok {
		text = dns.Reason()
	}
	s.tolerate(text)
	return nil
}

// tolerate notes what was let through. It is for the goroutine that negotiates.
func (s *session) tolerate(texts ...string) {
	for _, text := range texts {
		if slices.Contains(s.objections, text) {
			continue // a client that tries again
		}
		s.objections = append(s.objections, text)
		s.log().Warn("let through, as mode = \"report\" says", "why", text)
	}
}

// warnings are what status shows of the leg to the server: what it may be told of
// anyhow, and what was let through.
func (s *session) warnings(up *upstream) (list []string) {
	if up.tls != nil {
		list = slices.Clone(up.tls.Warnings)
	}
	for _, text := range s.objections {
		list = append(list, "let through, as mode = \"report\" says: "+text)
	}
	return list
}

// lenient are the rules for a login of which only the owner is told that it is not
// bound to TLS. The password itself is no more sent than by the rules as they are.
func lenient(r saslauth.Rules) saslauth.Rules {
	switch {
	case r.Min == policy.AuthSCRAMPlus, r.Min == policy.AuthPlain && r.Binding == policy.BindingRequire:
		r.Min = policy.AuthSCRAM
	}
	if r.Binding == policy.BindingRequire {
		r.Binding = policy.BindingPrefer
	}
	return r
}

// errUnbound is a login without channel binding where the rules demand it.
var errUnbound error = &saslauth.Error{Kind: saslauth.ErrBinding, Text: "The login is not bound to the TLS connection, as the rules for this domain demand " +
	"(binding = \"require\" or auth_min = \"scram-plus\")."}

// judgeBinding objects to a login that is not bound where r wants it bound.
func (s *session) judgeBinding(r saslauth.Rules, out saslauth.Outcome) error {
	wants := r.Binding == policy.BindingRequire || r.Min == policy.AuthSCRAMPlus
	if !wants || out.Plus || out.Mechanism == "EXTERNAL" { // a certificate is bound by itself
		return nil
	}
	return s.object(errUnbound)
}
