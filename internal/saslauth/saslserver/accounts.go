package saslserver

import (
	"context"
	"errors"
	"time"

	"xmpp-gw/internal/address"
)

// ErrNoAccount is the answer of [Accounts] for an address without an account.
// Any other error is the storage's and becomes temporary-auth-failure.
var ErrNoAccount = errors.New("saslserver: no such account")

// Credentials are what one account logs in with.
type Credentials struct {
	// Keys are those of the hash that was asked for. The zero Keys, as for an
	// account without a password or without keys for that hash, fit no password.
	Keys     Keys
	Disabled bool // refused with account-disabled, once the owner has proven to be it
}

// Accounts looks accounts up. owner is a bare address of the server's domain,
// normalised. It is called once a login; with h zero only the account's state is
// asked for.
type Accounts interface {
	Credentials(ctx context.Context, owner address.Address, h Hash) (Credentials, error)
}

// Certificates looks up who accepts a client certificate (XEP-0257).
type Certificates interface {
	// CertificateOwners gives the bare addresses of the accounts that accept the
	// certificate with this SHA-256 of its DER bytes; none is no error. Whether
	// the certificate has expired is not its business.
	CertificateOwners(ctx context.Context, fingerprint [32]byte) ([]address.Address, error)
}

// Token is a FAST token (XEP-0484).
type Token struct {
	Mechanism string // the one mechanism it is good for, such as "HT-SHA-256-EXPR"
	Secret    []byte // the token as the client has it: the key of the HMAC
	Issued    time.Time
	Expires   time.Time
	Count     uint64 // the highest replay counter that was used with it
}

// Tokens keeps FAST tokens by account and client, client being the id of its
// user agent (XEP-0388 §2.3). There are at most two of each: the one in use, and
// the next that the client may not have received.
//
// The server reads and replaces under a lock of its own. Several servers over
// one database do not share that lock: there, of two logins with the same replay
// counter in the same moment both may pass, which matters to TLS early data only.
type Tokens interface {
	Tokens(ctx context.Context, owner address.Address, client string) ([]Token, error)
	// PutTokens replaces all tokens of that client; an empty list removes them.
	PutTokens(ctx context.Context, owner address.Address, client string, tokens []Token) error
}
