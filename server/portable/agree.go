package portable

import (
	"context"
	"errors"
	"slices"

	"xmpp-gw/internal/address"
	"xmpp-gw/server/store"
)

// agree takes back what imported contact lists claim of accounts here that did not
// grant it. Who sees an account's presence, and what it publishes for its contacts, is
// for its own list to say (RFC 6121 §3.1); a file can say anything. Accounts that are
// not here are left: they may be imported next.
func (i *importer) agree(ctx context.Context) error {
	denied := map[address.Address][]address.Address{} // contacts by owner
	for contact, owners := range i.claims {
		if _, err := i.st.Account(ctx, contact); errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		r, err := i.st.Roster(ctx, contact)
		if err != nil {
			return err
		}
		for _, owner := range owners {
			if !slices.ContainsFunc(r.Items, func(it store.RosterItem) bool { return it.Contact == owner && it.Sub&store.SubFrom != 0 }) {
				denied[owner] = append(denied[owner], contact)
			}
		}
	}
	for owner, contacts := range denied {
		r, err := i.st.Roster(ctx, owner)
		if err != nil {
			return err
		}
		for _, it := range r.Items {
			if !slices.Contains(contacts, it.Contact) {
				continue
			}
			it.Sub &^= store.SubTo
			if _, err := i.st.PutRosterItem(ctx, owner, it, maxContacts); err != nil {
				return err
			}
		}
		i.note("contacts of %s whose own lists do not say that they are seen have to be asked again", owner)
		if i.Done != nil {
			i.Done(owner)
		}
	}
	return nil
}
