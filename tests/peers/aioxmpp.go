package peers

import (
	"context"
	_ "embed"
)

//go:embed aioxmpp_client.py
var aioxmppScript []byte

// Aioxmpp logs a client in that is made with the Python library aioxmpp (Debian
// package python3-aioxmpp). It takes fewer commands than slixmpp's, does not tell its
// SASL mechanism, and resumes a lost session whatever the credentials say of that.
func Aioxmpp(ctx context.Context, cred Credentials) (*SlixmppClient, error) {
	return scripted(ctx, "aioxmpp", aioxmppScript, cred)
}
