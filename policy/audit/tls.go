package audit

import (
	"fmt"
	"slices"
	"strings"

	"xmpp-gw/internal/tlsauth"
)

func tlsChecks() []question {
	return []question{
		{"tls.starttls.offered", "STARTTLS is offered", Critical, "RFC 7590 §3.1",
			fix(prosodySTARTTLS, ejabberdSTARTTLS, ""), askStartTLSOffered},
		{"tls.starttls.required", "nothing goes on without TLS", Critical, "RFC 6120 §5.3.1",
			fix(prosodyEncrypt, ejabberdEncrypt, ""), askStartTLSRequired},
		{"tls.version", "TLS 1.3 is there, and 1.0 and 1.1 are not", High, "RFC 9325 §3.1.1",
			fix(prosodyVersions, ejabberdVersions, ""), askVersions},
		{"tls.cipher", "no weak cipher suite is taken", High, "RFC 9325 §4.1",
			fix(prosodyVersions, ejabberdCiphers, ""), askCiphers},
		{"tls.group.pq", "the key exchange resists a quantum computer (X25519MLKEM768)", Low, "draft-ietf-tls-ecdhe-mlkem §4",
			fix("", "", "run the server with OpenSSL 3.5 or newer, which takes X25519MLKEM768 by itself; leave lists of groups or curves out of its configuration"), askGroup},
		{"tls.alpn.direct", "direct TLS selects the protocol by ALPN", Low, "XEP-0368 §3",
			fix("", "", "where the port is also that of a web server: let what ends TLS there select xmpp-client and xmpp-server; ejabberd, and Prosody without net_multiplex, select nothing, which does no harm on a port of their own"), askALPN},
		{"tls.injection", "XML in the clear does not get into TLS", Critical, "RFC 6120 §5.4.3.3",
			fix("", "", "update the server: what stood behind <starttls/> or <proceed/> in the clear must be thrown away (CVE-2011-0411 and its kin)"), askInjection},
		{"tls.samekey", "every endpoint of the domain shows the same key", High, "RFC 6120 §13.7.2",
			fix("", "", "give all ports of the server the same certificate. If you did: compare the key with that on the server itself, for somebody may stand in between"), askSameKey},
	}
}

// plain is the stream before TLS of each STARTTLS endpoint.
func (j *judge) eachPlain(what string, f func(e *Endpoint, s *Stream, target string), filters ...filter) {
	j.each(what, func(e *Endpoint, target string) {
		switch {
		case e.Plain == nil:
			j.unknown(target, "no stream before TLS was seen")
		case e.Plain.Err != "":
			j.unknown(target, "no stream: %s", e.Plain.Err)
		case e.Plain.Error != "" && len(e.Plain.Features) == 0:
			j.unknown(target, "the server ended the stream: %s", e.Plain.Error)
		default:
			f(e, e.Plain, target)
		}
	}, append(filters, startTLS)...)
}

// onionNeedsNone lowers what is no danger at an onion address, whose circuit is
// encrypted up to the holder of the address's key.
func onionNeedsNone(e *Endpoint, f *Finding) {
	if e.At.Onion() {
		f.Severity, f.Verdict = Low, Warn
		f.Evidence = Clean(f.Evidence + " (the circuit to an onion address is encrypted without it)")
	}
}

func askStartTLSOffered(j *judge) {
	j.eachPlain("endpoint with STARTTLS", func(e *Endpoint, s *Stream, target string) {
		if s.StartTLS == "" {
			onionNeedsNone(e, j.fail(target, "STARTTLS is not offered, so that all is read on the way; offered is: %s", list(sorted(s.Features), "nothing")))
			return
		}
		j.pass(target, "%s", s.StartTLS)
	})
}

func askStartTLSRequired(j *judge) {
	j.eachPlain("endpoint with STARTTLS", func(e *Endpoint, s *Stream, target string) {
		open := s.offers()
		if s.Dialback {
			open = append(open, "dialback")
		}
		switch {
		case s.StartTLS == "required":
			j.pass(target, "required")
		case len(open) > 0:
			onionNeedsNone(e, j.fail(target, "not required, so that whoever is on the way can keep TLS off; without it the server offers %s", list(open, "")))
		case s.StartTLS == "":
			onionNeedsNone(e, j.fail(target, "STARTTLS is not even offered"))
		default:
			j.warn(target, "not marked <required/>, though nothing else is offered before TLS").at(Low)
		}
	})
}

// versions are the TLS versions that accepted names, in order.
func (t *TLS) versions() (accepted []string) {
	for _, v := range []string{"1.0", "1.1", "1.2", "1.3"} {
		if how, tried := t.Versions[v]; tried && how == "" {
			accepted = append(accepted, v)
		}
	}
	return accepted
}

// unasked are the versions of which no answer came.
func (t *TLS) unasked() (names []string) {
	for _, v := range []string{"1.0", "1.1", "1.2", "1.3"} {
		if _, tried := t.Versions[v]; !tried {
			names = append(names, "TLS "+v)
		}
	}
	return names
}

// atWeb says what to change for a WebSocket, whose TLS ejabberd sets up apart.
func atWeb(e *Endpoint, f *Finding) {
	if e.At.Transport.OverWebSocket() {
		f.Fix = fix(f.Fix["prosody"], fmt.Sprintf(ejabberdWeb, e.At.Port), f.Fix[""])
	}
}

func askVersions(j *judge) {
	j.eachTLS("endpoint with TLS", func(e *Endpoint, target string) {
		accepted := e.TLS.versions()
		untried := e.TLS.unasked()
		has := func(v string) bool { return slices.Contains(accepted, v) }
		switch {
		case has("1.0") || has("1.1"):
			atWeb(e, j.fail(target, "accepts TLS %s; 1.0 and 1.1 are broken (RFC 8996)", list(accepted, "")))
		case len(untried) > 0:
			j.unknown(target, "not answered: %s; accepts %s", list(untried, ""), list(accepted, "none of the others"))
		case len(accepted) == 0:
			j.fail(target, "accepts none of TLS 1.0 to 1.3")
		case !has("1.3"):
			j.warn(target, "accepts TLS %s only", list(accepted, "")).at(Medium)
		default:
			j.pass(target, "TLS %s", list(accepted, ""))
		}
	})
}

// broken and old are parts of IANA's names of cipher suites: those that must not be
// used (RFC 9325 §4.1; RFC 7465 for RC4; Sweet32 for 64-bit blocks), and those that
// should not (no forward secrecy; CBC; authentication of 64 bits).
var (
	broken = []string{"NULL", "EXPORT", "_anon_", "RC4", "RC2", "_DES_", "_DES40_", "3DES", "IDEA", "_MD5"}
	old    = []string{"TLS_RSA_", "TLS_DH_", "TLS_ECDH_", "TLS_PSK_", "_CBC_", "_CCM_8"}
)

func oneOf(parts []string) func(string) bool {
	return func(suite string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(suite, p) })
	}
}

func askCiphers(j *judge) {
	j.eachTLS("endpoint with TLS", func(e *Endpoint, target string) {
		var all []string
		for _, version := range sortedKeys(e.TLS.Accepted) {
			for _, suite := range e.TLS.Accepted[version] {
				if !slices.Contains(all, suite) {
					all = append(all, suite)
				}
			}
		}
		slices.Sort(all)
		bad, dated := keep(all, oneOf(broken)), keep(all, oneOf(old))
		switch {
		case len(bad) > 0:
			atWeb(e, j.fail(target, "takes suites that are broken: %s", list(bad, "")))
		case e.TLS.Accepted == nil:
			j.unknown(target, "no cipher suite was tried")
		case len(e.TLS.Untried)+len(e.TLS.unasked()) > 0:
			j.unknown(target, "not answered: %s", list(slices.Concat(e.TLS.unasked(), e.TLS.Untried), ""))
		case len(dated) > 0:
			atWeb(e, j.warn(target, "takes suites without forward secrecy, with CBC or with short tags: %s", list(dated, "")).at(Low))
		default:
			j.pass(target, "%s", list(all, "none of the weak ones"))
		}
	})
}

func askGroup(j *judge) {
	j.eachTLS("endpoint with TLS", func(e *Endpoint, target string) {
		switch {
		case e.TLS.PQ:
			j.pass(target, "X25519MLKEM768")
		case e.TLS.Group == "":
			j.unknown(target, "the group of the key exchange was not seen")
		default:
			j.warn(target, "%s: recorded today, it can be read once there is a quantum computer", e.TLS.Group)
		}
	})
}

func askALPN(j *judge) {
	j.eachTLS("endpoint with direct TLS", func(e *Endpoint, target string) {
		want := "xmpp-client"
		if e.Service == S2S {
			want = "xmpp-server"
		}
		switch e.TLS.ALPN {
		case want:
			j.pass(target, "%s", want)
		case "":
			j.warn(target, "offered %s, and nothing was selected", want)
		default:
			j.fail(target, "offered %s, and %s was selected", want, e.TLS.ALPN)
		}
	}, directTLS)
}

func askInjection(j *judge) {
	j.eachPlain("endpoint with STARTTLS", func(e *Endpoint, s *Stream, target string) {
		switch i := e.Injection; {
		case s.StartTLS == "":
			j.unknown(target, "STARTTLS is not offered")
		case i == nil:
			j.unknown(target, "it was not tried")
		case i.Accepted:
			j.fail(target, "what was sent in the clear behind <starttls/> was answered inside TLS")
		case i.AfterClear != "":
			j.fail(target, "behind <proceed/>, in the clear: %s", i.AfterClear)
		case i.Err != "":
			j.unknown(target, "%s", i.Err)
		case e.TLS == nil || e.TLS.Err != "":
			j.unknown(target, "TLS does not come about without it either") // so that its end says nothing
		default:
			j.pass(target, "what was sent in the clear is gone")
		}
	})
}

// askSameKey compares what the endpoints show, each with the first of its kind. One host
// has one key for each algorithm; several hosts may have a key each.
func askSameKey(j *judge) {
	type seen struct {
		e   *Endpoint
		key string
	}
	var all []seen
	j.eachTLS("endpoint with TLS", func(e *Endpoint, target string) {
		if len(e.TLS.Chain) == 0 {
			j.unknown(target, "no certificate was seen")
			return
		}
		all = append(all, seen{e, tlsauth.SPKI(e.TLS.Chain[0])})
	})
	if len(all) == 0 {
		return
	}
	kind := func(s seen) [3]any {
		return [3]any{s.e.At.Host, s.e.TLS.Chain[0].PublicKeyAlgorithm, s.e.At.Transport.OverWebSocket()}
	}
	what := func(s seen) string { return s.e.At.String() + " " + s.key }
	first := all[0]
	var same, differ, elsewhere []string
	alike := first // the one from which those differ
	for i, s := range all {
		k := slices.IndexFunc(all[:i], func(before seen) bool { return kind(before) == kind(s) })
		switch {
		case k >= 0 && overTCP(s.e) && all[k].key != s.key:
			if len(differ) == 0 {
				alike = all[k]
			}
			differ = append(differ, what(s))
		case s.key == first.key:
			same = append(same, what(s))
		default:
			elsewhere = append(elsewhere, what(s))
		}
	}
	switch {
	case len(all) == 1:
		j.skip(j.Domain, "only one endpoint showed a key: %s", same[0])
	case len(differ) > 0:
		j.fail(j.Domain, "somebody may stand in between: %s, but %s", what(alike), list(differ, ""))
	case len(elsewhere) > 0:
		j.warn(j.Domain, "%s, but (another host, algorithm or transport) %s", same[0], list(elsewhere, "")).at(Medium)
	default:
		j.pass(j.Domain, "%d endpoints, one key: %s", len(same), first.key)
	}
}
