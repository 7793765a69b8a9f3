package audit

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"xmpp-gw/policy"
)

// What a stranger should not be able to make a server hold.
const (
	maxStrangerBytes = 1 << 20
	maxStrangerTime  = 5 * time.Minute
)

func streamChecks() []question {
	update := fix("", "", "update the server, or see which program in front of it answers")
	return []question{
		{"stream.from", "the stream's answer comes from the domain that was asked, with an id of its own", Medium, "RFC 6120 §4.7.1", update, askFrom},
		{"stream.unknown-host", "a domain that the server does not host is refused", Medium, "RFC 6120 §4.9.3.6", update, askUnknownHost},
		{"stream.redirect", "nobody is sent to another domain's host", Medium, "RFC 6120 §4.9.3.19",
			fix("", "", "let see-other-host and the location of stream management name hosts of the domain, or none"), askRedirect},
		{"stream.http", "an HTTP request is refused", Low, "RFC 6120 §4.9.3.13",
			fix(prosodyHTTP, ejabberdHTTP, ""), askHTTP},
		{"limit.pretls", "what a stranger can send before a login is limited", Medium, "RFC 6120 §13.12",
			fix(prosodyPreauth, ejabberdPreauth, ""), askPreauth},
		{"limit.advertised", "limits are told", Info, "XEP-0478 §3",
			fix(prosodyLimits, ejabberdLimits, ""), askLimits},
	}
}

// streams are the streams of an endpoint that began.
func (e *Endpoint) streams() (began []*Stream) {
	for _, s := range []*Stream{e.Plain, e.Secure} {
		if s != nil && s.Err == "" {
			began = append(began, s)
		}
	}
	return began
}

// unseen is why the stream inside TLS, with which clients and servers go on, was not
// seen; empty if it was, or if there is none.
func (e *Endpoint) unseen() string {
	switch {
	case len(e.streams()) == 0:
		return "no stream was seen"
	case e.Secure != nil && e.Secure.Err != "":
		return "no stream inside TLS: " + e.Secure.Err
	case e.Secure == nil && e.TLS != nil && e.TLS.Err != "" && e.Plain != nil && e.Plain.StartTLS != "":
		return "no stream inside TLS: " + e.TLS.Err
	}
	return ""
}

// passing are errors of a server that would, but cannot now: they say nothing of what
// it was asked (RFC 6120 §4.9.3).
func passing(condition string) bool {
	return slices.Contains([]string{"connection-timeout", "internal-server-error", "reset", "resource-constraint", "system-shutdown"}, condition)
}

func askFrom(j *judge) {
	j.each("endpoint", func(e *Endpoint, target string) {
		began := e.streams()
		var ids []string
		if e.UnknownHost != nil && e.UnknownHost.ID != "" { // that of another connection
			ids = append(ids, e.UnknownHost.ID)
		}
		for _, s := range began {
			switch {
			case s.From == "":
				j.fail(target, "the stream has no from")
				return
			case normal(s.From) != j.Domain:
				j.fail(target, "from is %q, and %q was asked", s.From, j.Domain)
				return
			case s.ID == "" || slices.Contains(ids, s.ID):
				j.warn(target, "the stream's id is missing or used twice: %q", s.ID).Reference = "RFC 6120 §4.7.3"
				return
			}
			ids = append(ids, s.ID)
		}
		if why := e.unseen(); why != "" {
			j.unknown(target, "%s", why)
			return
		}
		j.pass(target, "%s", began[0].From)
	})
}

// normal is a domain as [Observation] has it, in lower case and in A-labels; what is none
// stays as it is.
func normal(domain string) string {
	if n, err := policy.NormalizeDomain(domain); err == nil {
		return n
	}
	return domain
}

func askUnknownHost(j *judge) {
	j.each("endpoint", func(e *Endpoint, target string) {
		switch s := e.UnknownHost; {
		case s == nil:
			j.unknown(target, "it was not tried")
		case s.Error == "host-unknown" || s.Error == "host-gone":
			j.pass(target, "%s", s.Error)
		case passing(s.Error):
			j.unknown(target, "the server ended the stream for another reason: %s", s.Error)
		case s.Error != "":
			j.pass(target, "refused, though with %s", s.Error)
		case s.Err != "":
			j.unknown(target, "%s", s.Err)
		default:
			j.fail(target, "it goes on with a domain that does not exist: %s", list(sorted(s.Features), "no features"))
		}
	})
}

// hostOf is the host of HOST, HOST:PORT or a URL.
func hostOf(where string) string {
	if _, rest, ok := strings.Cut(where, "://"); ok {
		where = rest
	}
	where, _, _ = strings.Cut(where, "/")
	if host, _, err := net.SplitHostPort(where); err == nil {
		where = host
	}
	return normal(strings.ToLower(strings.Trim(strings.TrimSuffix(where, "."), "[]")))
}

// within reports whether host is the domain or below it.
func within(host, domain string) bool {
	host, domain = strings.ToLower(host), strings.ToLower(strings.TrimSuffix(domain, "."))
	return domain != "" && (host == domain || strings.HasSuffix(host, "."+domain))
}

// ours reports whether a host that others are sent to belongs to the target: below
// its domain, or an endpoint of it.
func (j *judge) ours(host string) bool {
	return within(host, j.Domain) || slices.ContainsFunc(j.Endpoints, func(e Endpoint) bool { return e.At.Host == host })
}

func askRedirect(j *judge) {
	seen := func(target, where string, severity Severity) {
		if j.ours(hostOf(where)) {
			j.warn(target, "people are sent to %s, of the same domain", where).at(Low)
		} else {
			j.fail(target, "people are sent to %s, of another domain", where).at(severity)
		}
	}
	j.each("endpoint", func(e *Endpoint, target string) {
		for i, s := range []*Stream{e.Plain, e.Secure} {
			if s != nil && s.Elsewhere != "" {
				seen(target, s.Elsewhere, []Severity{High, Medium}[i]) // before TLS anybody can say so
				return
			}
		}
		if why := e.unseen(); why != "" {
			j.unknown(target, "%s", why)
			return
		}
		j.pass(target, "nobody is sent elsewhere")
	})
	if j.Login != nil && j.Login.Location != "" {
		seen(j.Domain, j.Login.Location, Medium)
		j.findings[len(j.findings)-1].Reference = "XEP-0198 §3"
	}
}

// refusedHTTP is how a server says that it takes no HTTP (RFC 9110 §15.5.1), where it
// says so in HTTP.
var refusedHTTP = regexp.MustCompile(`^HTTP/1\.[01] 400( |$)`)

func askHTTP(j *judge) {
	j.each("endpoint other than a WebSocket", func(e *Endpoint, target string) {
		switch {
		case !e.HTTPTried:
			j.unknown(target, "it was not tried")
		case e.HTTP == "":
			j.pass(target, "no answer")
		case strings.Contains(e.HTTP, "<stream:"), strings.HasPrefix(e.HTTP, "<?xml"): // with an id, another each time
			j.pass(target, "it answers with an XMPP stream")
		case refusedHTTP.MatchString(e.HTTP) && e.HTTPClosed:
			j.pass(target, "refused with %s", e.HTTP)
		case refusedHTTP.MatchString(e.HTTP):
			j.warn(target, "it refuses a web browser, and goes on to listen: %s", e.HTTP)
		default:
			j.warn(target, "it answers a web browser, which pages elsewhere can use: %s", e.HTTP)
		}
	}, overTCP)
}

// limit says what to change where a stranger met no limit.
func (f *Finding) limit(e *Endpoint) {
	module, size := "ejabberd_c2s", 256<<10
	if e.Service == S2S {
		module, size = "ejabberd_s2s_in", 512<<10
	}
	f.Fix = fix(f.Fix["prosody"], fmt.Sprintf(ejabberdPreauthAt, e.At.Port, module, size), f.Fix[""])
}

// silence says when a connection without a login was ended; nothing where it was not, for
// as long as it was looked at.
func (p *Preauth) silence() string {
	if p.Time == 0 {
		return ""
	}
	return fmt.Sprintf("; a silent connection is ended after %s", p.Time.Round(100*time.Millisecond))
}

func askPreauth(j *judge) {
	j.each("endpoint other than a WebSocket", func(e *Endpoint, target string) {
		switch p := e.Preauth; {
		case p == nil:
			j.unknown(target, "it was not tried")
		case p.Limited && p.Bytes > maxStrangerBytes:
			j.warn(target, "ended after %d bytes in one element", p.Bytes).limit(e)
		case p.Limited && p.Time > maxStrangerTime:
			j.warn(target, "ended after %s without a login", p.Time.Round(time.Second)).limit(e)
		case p.Limited && p.Bytes == 0:
			j.pass(target, "ended at once")
		case p.Limited:
			j.pass(target, "ended after %d bytes in one element%s", p.Bytes, p.silence())
		case p.Err != "":
			j.unknown(target, "%s", p.Err)
		default:
			j.fail(target, "strangers can fill its memory: still open after %d bytes in one element%s", p.Bytes, p.silence()).limit(e)
		}
	}, overTCP) // a frame of a WebSocket is a whole element
}

func askLimits(j *judge) {
	j.eachSecure("endpoint", func(e *Endpoint, s *Stream, target string) {
		if s.Limits == nil {
			j.warn(target, "the server does not tell its limits")
			return
		}
		j.pass(target, "%d bytes in a stanza, %d s idle", s.Limits.MaxBytes, s.Limits.IdleSeconds)
	})
}
