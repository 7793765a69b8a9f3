package addressbook

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aead.dev/minisign"

	"xmpp-gw/internal/ownfile"
)

// maxSkew is how far a curator's clock may be ahead.
const maxSkew = 24 * time.Hour

// Import keeps a list that key signed, in place of an earlier one by the same key.
// A nil key means one of those whose lists are here already. Refused are a wrong
// signature, a list with mistakes, one that has expired, and one that is older than
// that which is here: somebody may be handing out yesterday's.
func (s *Store) Import(text, signature []byte, key *minisign.PublicKey) (Imported, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	no := func(why, hint string) (Imported, error) {
		return Imported{}, &Error{What: "the list was not imported", Why: why, Hint: hint}
	}
	unlock, err := s.lock()
	if err != nil {
		return no(err.Error(), "")
	}
	defer unlock()
	if err := s.refresh(); err != nil {
		return no(err.Error(), "")
	}
	var sig minisign.Signature
	if err := sig.UnmarshalText(signature); err != nil {
		return no("its signature cannot be read: "+strings.TrimPrefix(err.Error(), "minisign: "), "the signature is the file that ends in .minisig")
	}
	name := fmt.Sprintf("%016X", sig.KeyID) + suffix
	before := s.lists[name]
	switch {
	case key == nil && before == nil:
		return no(fmt.Sprintf("no list by key %016X is here yet", sig.KeyID), "name the key that the curator gave you: --key RW…")
	case key == nil && before.err != nil:
		return no("the list that it would replace cannot be read", "name the key that the curator gave you: --key RW…")
	case key == nil:
		key = &before.list.Key
	}
	clean, err := sig.MarshalText()
	if err != nil {
		return no(err.Error(), "")
	}
	sealed := seal(*key, clean, text)
	next, err := open(sealed)
	now := s.now()
	switch {
	case err != nil:
		return no(err.Error(), "get the list and its signature again, from the curator")
	case next.Expired(now):
		return no("it expired on "+next.Expires.Format(time.DateOnly), "get the current one from the curator")
	case next.Issued.After(now.Add(maxSkew)):
		return no("it was issued on "+next.Issued.Format(time.DateOnly)+", which is in the future", "check the clock of this machine")
	case before != nil && before.err == nil && !before.list.Key.Equal(*key):
		return no("another key with the same number has a list here", "remove that one first, if you trust the new key: xmpp-gw onion map remove "+next.ID)
	case before != nil && before.err == nil && next.older(before.list):
		return no("it is older than the one that is here, of "+before.list.Issued.Format(time.DateOnly), "get the current one from the curator")
	}
	next.File = filepath.Join(s.dir, name)
	if err := ownfile.Replace(next.File, sealed); err != nil {
		return no(err.Error(), "")
	}
	return next, nil
}

// older reports whether i was issued before the other list, or at the same time
// (which may be a day) and signed before it.
func (i Imported) older(other Imported) bool {
	if !i.Issued.Equal(other.Issued) {
		return i.Issued.Before(other.Issued)
	}
	return i.signed < other.signed
}

// Remove deletes the list of the key with this number. What was remembered of
// logins stays.
func (s *Store) Remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id = strings.ToUpper(id)
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	err = fs.ErrNotExist
	if len(id) == 16 && strings.Trim(id, "0123456789ABCDEF") == "" { // never a path
		err = os.Remove(filepath.Join(s.dir, id+suffix))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{What: "there is no list by key " + printable(id), Hint: "`xmpp-gw onion map list` shows the keys", Err: err}
	}
	return err
}
