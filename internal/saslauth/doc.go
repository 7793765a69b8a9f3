// Package saslauth is SASL on both sides of the gateway.
//
// Towards the server (the upstream leg), [ParseOffer] reads what the server's
// stream features offer, and [Authenticate] logs in with the strongest
// mechanism that both sides and the owner's [Rules] allow: EXTERNAL, SCRAM with
// channel binding, SCRAM, and PLAIN only where the owner allowed it for that
// domain by name and the server leaves nothing else. It speaks the SASL profile
// of RFC 6120 §6 and that of XEP-0388 (SASL2).
//
// Towards the client, [ClientFeatures] offers PLAIN, [Receive] reads the login,
// and [Protocol.Success] and [Protocol.Failure] answer it; [ClientFailure] says
// what an upstream error means there. In relay mode, where the client's own
// SASL passes through, [AllowedInRelay] refuses what the rules forbid.
//
// # What a man in the middle with a valid certificate cannot do
//
// TLS proves the server as far as certificate authorities can. SCRAM proves it
// once more, by the password that both sides share:
//
//   - The server signature is demanded always (RFC 5802 §3): a server that does
//     not know the password is cut off ([ErrServerSignature]).
//   - Channel binding (-PLUS) makes the proof valid for this TLS connection
//     only. The GS2 flag says the truth in each case (RFC 5802 §6): "p" when
//     bound, "y" when we could bind and the server offers nothing to bind with
//     (a server that did offer it then knows that somebody took it away), "n"
//     when we cannot bind: no TLS, or only binding types that this TLS version
//     cannot give.
//   - The contradictions that XEP-0440 names end the login ([ErrDowngrade]), and
//     so does a downgrade hash (XEP-0474) that does not fit what was offered.
//   - A domain that once was bound stays bound: see [Rules].RatchetPlus.
//
// # Which type of channel binding
//
// By the server's list (XEP-0440): tls-exporter (RFC 9266), else tls-unique,
// else tls-server-end-point (RFC 5929). tls-unique is used under TLS 1.2 with
// the extended master secret alone, where it is sound (RFC 7627); TLS 1.3 does
// not define it (RFC 8446 appendix C.5).
//
// Older servers offer -PLUS and send no list. Then the type is the default of
// the standards: tls-exporter under TLS 1.3 (RFC 9266 §3), tls-unique under
// TLS 1.2 (RFC 5802 §6.1). A server that refuses that type in its very first
// answer, before any challenge, is asked once more without binding and with the
// flag "n" — never where binding is required or the domain was bound before.
// ejabberd 23.01 needs this: it knows only tls-unique and offers -PLUS under
// TLS 1.3 all the same. A refusal after the challenge is never retried: by then
// the server compared the binding's data.
package saslauth
