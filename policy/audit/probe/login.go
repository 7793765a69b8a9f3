package probe

import (
	"errors"
	"fmt"

	"mellium.im/xmpp/jid"

	"xmpp-gw/policy"
)

// Login is an account through whose eyes to look as well.
type Login struct {
	// JID is the account. Its domain must be the target's; a resource is ignored.
	JID string
	// Password is what it logs in with. It is read while Probe runs and not kept:
	// whoever hands it in wipes it afterwards. It goes to the target's own endpoint
	// alone, inside verified TLS, and by PLAIN only where there is no SCRAM.
	Password []byte
}

// account is the JID of a login, once it is known to be one of the domain's.
func (l *Login) account(domain string) (jid.JID, error) {
	account, err := jid.Parse(l.JID)
	if err != nil || account.Localpart() == "" {
		return jid.JID{}, errors.New("nothing was looked at: the account for the login is no address like user@example.org")
	}
	if of, err := policy.NormalizeDomain(account.Domainpart()); err != nil || of != domain {
		return jid.JID{}, fmt.Errorf("nothing was looked at: the account for the login is not one of %s, and no other server gets its password", domain)
	}
	if len(l.Password) == 0 {
		return jid.JID{}, errors.New("nothing was looked at: the password for the login is empty")
	}
	return account.Bare(), nil
}
