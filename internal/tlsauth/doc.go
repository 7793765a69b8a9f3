// Package tlsauth opens TLS to an XMPP server and finds out whether it is the
// one that the account's domain names.
//
// [Client] is all a caller needs: it shakes hands over a connection that
// somebody else dialled and returns the encrypted connection only when the far
// end has proved itself in the way that the policy's decision demands:
//
//   - "verify": a certificate from a known authority, for the account's domain
//     (never for the host that DNS named), by a DNS-ID, an SRV-ID or an
//     XmppAddr. The common name is not looked at.
//   - "dane": what the TLSA records of the host say, where there are usable ones that
//     DNSSEC proves (RFC 7673); else as "verify". "dane-only": nothing else.
//   - "pin": one of the keys that the owner listed, whoever signed it.
//   - "onion": the onion address that the owner bound to the domain.
//
// An account whose domain is itself the onion address that was dialled is
// proved by that address: it is the key, and Tor has checked it.
//
// On top of "verify" the keys of servers are remembered in a [PinStore], and a
// new key for a known domain is told or refused. The same file remembers which
// domains were once logged in to with channel binding, so that its absence is
// noticed.
//
// Where nothing but public authorities proves a server, public logs must have seen
// its certificate (package ct), its authority must not have taken it back, and a
// key that was not seen before is looked at over another circuit ([Look]).
//
// Every failure is an [*Error]: a sentence with what happened, why, and what
// to do. Domain names may stand in it, user names and addresses never do.
package tlsauth
