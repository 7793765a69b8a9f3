package proxy

import (
	"crypto/tls"
	"slices"
	"time"

	"xmpp-gw/internal/ct"
	"xmpp-gw/internal/saslauth"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
)

// Sight is what one login showed of its server, for [Config.Saw] to judge. It names
// the domain and never the account.
type Sight struct {
	Domain   string // A-labels
	At       time.Time
	Decision policy.Decision
	Endpoint policy.Endpoint
	Identity string               // what proved the server, as in SessionInfo
	TLS      *tls.ConnectionState // nil without
	Logs     *ct.List             // the logs that count; nil: those that are built in
	Openings []Opening            // before TLS, where there was such, and inside

	// LoggedIn are the features of the stream after the login.
	LoggedIn  *xmppstream.Node
	Mechanism string
	Binding   string // channel binding type; empty: not bound
	// Hashed: the server proved its list of mechanisms (XEP-0474). In relay mode
	// nobody but the client knows.
	Hashed bool
	// Objections are what mode = "report" let through.
	Objections []string
}

// Opening is one stream that the server opened, up to its features.
type Opening struct {
	Secure   bool // inside TLS
	From, ID string
	Version  string
	Features *xmppstream.Node
}

// saw hands out what the login over up showed, once, and lets go of it.
func (s *session) saw(up *upstream, out saslauth.Outcome) {
	// The stream after the login begins like the others, and has no offer.
	openings := slices.DeleteFunc(up.openings, func(o Opening) bool { return o.Features == nil })
	up.openings = nil // an idle session shall not keep them
	if s.gw.cfg.Saw == nil {
		return
	}
	v := Sight{
		Domain: s.domain, At: time.Now(), Decision: s.decision, Endpoint: up.endpoint, Identity: "onion",
		TLS: up.tlsState(), Logs: s.live.Logs, Openings: openings, LoggedIn: up.features,
		Mechanism: out.Mechanism, Binding: out.Binding, Hashed: out.Hashed, Objections: slices.Clone(s.objections),
	}
	if up.tls != nil {
		v.Identity = up.tls.Identity
	}
	s.gw.cfg.Saw(v)
}
