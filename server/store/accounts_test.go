package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"xmpp-gw/internal/address"
)

func TestAccounts(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		keys := []Keys{
			{"SHA-1", []byte{1, 2}, 4096, []byte{3}, []byte{4}},
			{"SHA-512", []byte{0}, 10000, []byte{255}, []byte{0, 0}},
		}
		a := Account{Address: juliet, Admin: true, Created: date(0), LastSeen: date(1)}
		must(t, d.CreateAccount(ctx, a, keys))
		want(t, d.CreateAccount(ctx, Account{Address: juliet}, nil), ErrExists)
		got, err := d.Account(ctx, juliet)
		must(t, err)
		if got != a {
			t.Errorf("account %+v, want %+v", got, a)
		}
		k, err := d.AccountKeys(ctx, juliet)
		must(t, err)
		if !reflect.DeepEqual(k, keys) {
			t.Errorf("keys %v, want %v", k, keys)
		}
		must(t, d.SetAccountKeys(ctx, juliet, keys[1:]))
		k, err = d.AccountKeys(ctx, juliet)
		must(t, err)
		if !reflect.DeepEqual(k, keys[1:]) {
			t.Errorf("keys %v, want %v", k, keys[1:])
		}
		must(t, d.SetAdmin(ctx, juliet, false))
		must(t, d.SetDisabled(ctx, juliet, true))
		must(t, d.SetLastSeen(ctx, map[address.Address]time.Time{juliet: date(2), romeo: date(3)}))
		got, err = d.Account(ctx, juliet)
		must(t, err)
		if w := (Account{Address: juliet, Disabled: true, Created: date(0), LastSeen: date(2)}); got != w {
			t.Errorf("account %+v, want %+v", got, w)
		}

		must(t, d.CreateAccount(ctx, Account{Address: nurse}, nil))
		got, err = d.Account(ctx, nurse)
		must(t, err)
		if got != (Account{Address: nurse}) {
			t.Errorf("account %+v, want one without times", got)
		}
		if k, err := d.AccountKeys(ctx, nurse); err != nil || len(k) != 0 {
			t.Errorf("keys of an account without a password: %v, %v", k, err)
		}
	})
}

func TestMissingAccount(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		// One that owns something without an account is no account.
		must(t, d.PutDocument(ctx, romeo, "private", "x", []byte("<x/>"), 1))
		for _, a := range []struct {
			name string
			err  error
		}{
			{"SetAdmin", d.SetAdmin(ctx, romeo, true)},
			{"SetDisabled", d.SetDisabled(ctx, juliet, true)},
			{"SetAccountKeys", d.SetAccountKeys(ctx, romeo, nil)},
			{"DeleteAccount", d.DeleteAccount(ctx, romeo)},
			{"DeleteAccount", d.DeleteAccount(ctx, juliet)},
			{"Account", second(d.Account(ctx, romeo))},
			{"AccountKeys", second(d.AccountKeys(ctx, romeo))},
		} {
			if a.err != ErrNotFound {
				t.Errorf("%s: %v, want ErrNotFound", a.name, a.err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestListAccounts(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		// In the order of bytes, which is not that of most languages.
		names := []string{"a", "b-c", "ba", "bb", "z", "ä"}
		for i := range names {
			must(t, d.CreateAccount(ctx, Account{Address: addr(names[len(names)-1-i] + "@capulet.example")}, nil))
		}
		must(t, d.CreateAccount(ctx, Account{Address: romeo}, nil))
		var got []string
		for after := ""; ; after = got[len(got)-1] {
			page, err := d.ListAccounts(ctx, "capulet.example", after, 4)
			must(t, err)
			for _, a := range page {
				got = append(got, a.Address.Local)
			}
			if len(page) < 4 {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(names) {
			t.Errorf("accounts %q, want %q", got, names)
		}
		domains, err := d.AccountDomains(ctx)
		must(t, err)
		if want := []string{"capulet.example", romeo.Domain}; !slices.Equal(domains, want) {
			t.Errorf("domains %q, want %q", domains, want)
		}
	})
}

// A new account has nothing of an older one of that name, nor of what came in for it
// after it was removed.
func TestAccountsBeginEmpty(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		for range 2 {
			must(t, d.CreateAccount(ctx, Account{Address: romeo}, nil))
			want(t, d.CreateAccount(ctx, Account{Address: romeo}, nil), ErrExists)
			roster, err := d.Roster(ctx, romeo)
			must(t, err)
			blocks, err := d.Blocks(ctx, romeo)
			must(t, err)
			waiting, err := d.OfflineMessages(ctx, romeo, 0, 10)
			must(t, err)
			count, err := d.CountOffline(ctx, romeo)
			must(t, err)
			docs, err := d.ListDocuments(ctx, romeo, "private")
			must(t, err)
			nodes, err := d.Nodes(ctx, romeo)
			must(t, err)
			page, err := d.QueryArchive(ctx, romeo, ArchiveQuery{})
			must(t, err)
			if n := len(roster.Items) + len(blocks) + len(waiting) + count + len(docs) + len(nodes) + len(page.Entries); n != 0 {
				t.Errorf("a new account has %d things", n)
			}
			must(t, d.DeleteAccount(ctx, romeo))
			// What was on its way.
			must(t, second(d.PutRosterItem(ctx, romeo, RosterItem{Contact: juliet, InRoster: true}, 10)))
			must(t, d.AddBlocks(ctx, romeo, []address.Address{nurse}, 10))
			must(t, second(d.PushOffline(ctx, romeo, date(0), []byte("<message/>"), 10, 1000)))
			must(t, d.PutDocument(ctx, romeo, "private", "x", []byte("<x/>"), 1))
			must(t, d.PutNode(ctx, romeo, Node{Name: "n"}, 10))
			_, done := d.Archive(ctx, []ArchiveAppend{{Owner: romeo, At: date(0), With: juliet, Raw: []byte("<message/>")}, {Owner: juliet, At: date(0), With: romeo, Raw: []byte("<message/>")}})
			must(t, done.Err())
		}
		page, err := d.QueryArchive(ctx, juliet, ArchiveQuery{})
		must(t, err)
		if len(page.Entries) != 2 {
			t.Errorf("the other side has %d messages, want 2", len(page.Entries))
		}
	})
}

// Tokens do not outlive the password that they stood for, and there are not more than
// so many clients.
func TestTokensAreBounded(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		must(t, d.CreateAccount(ctx, Account{Address: romeo}, nil))
		for i := range maxTokenClients + 5 {
			must(t, d.PutTokens(ctx, romeo, fmt.Sprint(i), []Token{{Mechanism: "m", Secret: []byte{1}, Issued: date(int64(i))}}))
		}
		for i, n := range map[int]int{0: 0, 4: 0, 5: 1, maxTokenClients + 4: 1} {
			if list, err := d.Tokens(ctx, romeo, fmt.Sprint(i)); err != nil || len(list) != n {
				t.Errorf("client %d has %d tokens, %v; want %d", i, len(list), err, n)
			}
		}
		must(t, d.SetAccountKeys(ctx, romeo, nil))
		if list, err := d.Tokens(ctx, romeo, "20"); err != nil || len(list) != 0 {
			t.Errorf("with a new password there are %d old tokens, %v", len(list), err)
		}
	})
}
