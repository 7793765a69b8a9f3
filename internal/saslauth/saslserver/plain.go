package saslserver

import (
	"context"
	"crypto/subtle"

	"xmpp-gw/internal/saslauth"
)

// plainMachine is PLAIN (RFC 4616), held against SCRAM's keys.
type plainMachine struct{ conn *Conn }

func (m *plainMachine) next(ctx context.Context, msg []byte) ([]byte, *proof, error) {
	srv := m.conn.srv
	sent, err := saslauth.ParsePlain(msg, srv.cfg.Domain)
	if err != nil {
		return nil, nil, err
	}
	defer sent.Wipe()
	who := srv.claimOf(sent.Username)
	if err := m.conn.admit(ctx, who, true); err != nil {
		return nil, nil, err
	}
	// One hash for all, whether they have an account or not: the hashes take
	// milliseconds, and not equally many.
	cred, known, err := m.conn.credentials(ctx, who, srv.cfg.Hashes[0])
	if err != nil {
		return nil, nil, err
	}
	select { // PBKDF2 takes milliseconds
	case srv.plain <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	fits := matches(string(sent.Password), &cred.Keys)
	<-srv.plain
	if !fits || !known {
		return nil, nil, m.conn.refuse(who)
	}
	if cred.Disabled {
		return nil, nil, errDisabled
	}
	return nil, &proof{account: who.account, authzid: msg[0] != 0}, nil
}

// matches reports whether a password fits keys.
func matches(password string, keys *Keys) bool {
	prepared, err := prepare(password)
	if err != nil {
		return false // whoever's it is, no such password can be set
	}
	got, err := deriveKeys(prepared, keys.Hash, keys.Salt, keys.Iterations)
	return err == nil && subtle.ConstantTimeCompare(got.StoredKey, keys.StoredKey) == 1
}
