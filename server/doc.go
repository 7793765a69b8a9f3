// Package server is an XMPP server that can be put into another program.
//
//	s, err := server.New(ctx, server.Config{
//		Domains: []string{"example.org"},
//		TLS:     func(string) (*tls.Config, error) { return conf, nil },
//		Store:   db, // see server/store
//		Modules: standard.Modules(standard.Options{}),
//	})
//	…
//	err = s.Serve(listener, server.STARTTLS)
//
// The package is the core: streams (RFC 6120), logins, resource binding, routing
// (RFC 6121 §8), stream management (XEP-0198), and the limits on all of them. What
// people think of as features are [Module]s, one a package below this one; package
// standard wires them all. A connection passes through these files:
//
//	server.go            the server: its configuration, listening, shutting down
//	link.go              one connection: counted, ended with the right last words
//	negotiation.go       its first bytes, stream headers, TLS, login
//	features.go          what a stream can negotiate: values with preconditions
//	bind.go              resources, Bind 2, what SASL2 does inline
//	session.go           what is bound; the loop that reads from it
//	read.go              an element becomes a stanza; what a sender may not say
//	route.go, iq.go      where a stanza goes
//	table.go             who is here
//	outbox.go, batch.go  how it is written, without ever waiting
//	resume.go, streammanagement.go  XEP-0198
//	sweep.go             silent clients, stuck ones
//	limits.go            how much is too much
//
// [Stanza] is what passes between all of them: the bytes as they came, with the
// head of the element and the places of its children.
package server
