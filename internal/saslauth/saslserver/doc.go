// Package saslserver is the SASL side of the bundled XMPP server: it decides who
// somebody is, by SASL alone.
//
// It stands beside saslauth, the gateway's own SASL, and shares its elements,
// channel bindings and downgrade hash; it has a package of its own because the
// two have different secrets, errors and readers.
//
// A [Server] belongs to one domain and holds what all connections share; a [Conn]
// belongs to one connection:
//
//	srv, err := saslserver.New(saslserver.Config{
//		Domain: "example.org", Accounts: accounts, Secret: secret,
//	})
//	…
//	conn := srv.Conn(saslserver.Link{TLS: &state, Certificate: leaf, Peer: circuit})
//	features = conn.AppendFeatures(ctx, features) // inside <stream:features>
//	…
//	login, err := conn.Authenticate(ctx, stream, first)
//	// login.Account is proven; nothing was told to the client yet. Do what
//	// login.Request asks for inline (Bind 2, resumption), then answer at once:
//	stream.Send(login.Success(boundJID, inlineResults))
//
// Who reads elements in another way calls [Conn.Handle] with each of them.
//
// # Mechanisms
//
//   - SCRAM-SHA-512, -256 and -1, each with and without -PLUS (RFC 5802, RFC 7677),
//     from stored keys; the server never learns the password and does no PBKDF2.
//     Its first message carries the hash of what was offered (XEP-0474).
//   - EXTERNAL by client certificate (XEP-0178, XEP-0257), offered to a client
//     whose certificate names an account.
//   - PLAIN where the operator asked for it, inside TLS only.
//   - HT-SHA-256-EXPR, -UNIQ, -ENDP and -NONE with FAST tokens (XEP-0484), in SASL2.
//
// SCRAM is written from the RFC here. The library that the client side uses has
// a server part too, but that one cannot put an attribute into its first message,
// knows one binding type a conversation, says who has no account, and never looks
// at what is too long.
//
// # What a stranger can learn
//
// Not who has an account: a name without one gets a salt that is stable (an HMAC
// of the name by the server's secret), the usual iteration count, and the same
// refusal at the same step after the same work. An account whose keys were made
// elsewhere, with another count or another length of salt, can be told from that.
// That an account is disabled learns only who proved to own it.
//
// What a thief of the database gets: SCRAM's keys alone do not log in anywhere (but can
// be used to guess passwords, and to play this server towards their owner); FAST
// tokens do, until they expire, because HT needs the token itself. Deleting the
// tokens logs nobody out of more than a shortcut.
package saslserver
