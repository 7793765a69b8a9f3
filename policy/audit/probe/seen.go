package probe

import (
	"crypto/tls"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// What others saw, in the words of an observation: a gateway shakes hands and reads
// features at each login, and need not ask again.

// Handshake writes down what a client's handshake with a server of domain at an
// endpoint showed. Of o, Roots, Logs and Now count.
func Handshake(o Options, domain string, at policy.Endpoint, state *tls.ConnectionState) *audit.TLS {
	o.defaults()
	t := &audit.TLS{}
	(&run{Options: o}).show(t, spot{at: at, service: audit.C2S, domain: domain}, state)
	return t
}

// Features writes down what <stream:features/> says.
func Features(n *xmppstream.Node) *audit.Stream {
	s := &audit.Stream{}
	readFeatures(s, n)
	return s
}
