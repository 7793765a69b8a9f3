package invite

import (
	"errors"
	"regexp"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server/store"
)

func open(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

var romeo = address.Address{Local: "romeo", Domain: "example.org"}

func TestCreate(t *testing.T) {
	db := open(t)
	now := time.Unix(1e9, 0).UTC()
	v := New(db, Options{Now: func() time.Time { return now }, PerUser: 3, Names: func(local string) string {
		if local == "admin" {
			return "reserved"
		}
		return ""
	}})
	if err := db.CreateAccount(t.Context(), store.Account{Address: romeo}, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		r    Request
		want error // nil: any
		uri  string
	}{
		{"account", Request{Account: true}, nil, `^xmpp:example\.org\?register;preauth=[A-Z2-7]{26}$`},
		{"kept name", Request{Account: true, Local: "Juliet"}, nil, `^xmpp:juliet@example\.org\?register;preauth=[A-Z2-7]{26}$`},
		{"the operator's choice", Request{Account: true, Local: "admin"}, nil, `^xmpp:admin@example\.org\?register;`},
		{"odd name", Request{Account: true, Local: "a?b;#é"}, nil, `^xmpp:a%3Fb%3B%23%C3%A9@example\.org\?register;preauth=[A-Z2-7]{26}$`},
		{"contact", Request{Contact: true, Inviter: romeo}, nil, `^xmpp:romeo@example\.org\?roster;preauth=[A-Z2-7]{26}$`},
		{"both", Request{Contact: true, Account: true, Inviter: romeo}, nil, `^xmpp:romeo@example\.org\?roster;preauth=[A-Z2-7]{26};ibr=y$`},
		{"both for a name", Request{Contact: true, Account: true, Inviter: romeo, Local: "nurse"}, nil, `^xmpp:nurse@example\.org\?register;preauth=[A-Z2-7]{26}$`},
		{"one more", Request{Contact: true, Inviter: romeo}, ErrTooMany, ""},

		{"kept twice", Request{Account: true, Local: "juliet"}, ErrTaken, ""},
		{"an account", Request{Account: true, Local: "romeo"}, ErrTaken, ""},
		{"no name", Request{Account: true, Local: "a b"}, ErrName, ""},
		{"an address", Request{Account: true, Local: "a@example.org"}, ErrName, ""},
		{"a user's choice", Request{Account: true, Inviter: romeo, Local: "admin"}, ErrName, ""},
		{"nothing", Request{}, nil, ""},
		{"nobody's contact", Request{Contact: true}, nil, ""},
		{"a name for a contact", Request{Contact: true, Inviter: romeo, Local: "x"}, nil, ""},
		{"a name for two", Request{Account: true, Local: "x", Uses: 2}, nil, ""},
		{"elsewhere", Request{Contact: true, Inviter: address.Address{Local: "romeo", Domain: "example.net"}}, nil, ""},
		{"the past", Request{Account: true, Lifetime: -1}, nil, ""},
		{"for ever", Request{Account: true, Lifetime: MaxLifetime + 1}, nil, ""},
		{"less than once", Request{Account: true, Uses: -1}, nil, ""},
	} {
		c.r.Domain = "example.org"
		i, uri, err := v.Create(t.Context(), c.r)
		switch {
		case c.uri == "" && (err == nil || c.want != nil && !errors.Is(err, c.want)):
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		case c.uri != "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.uri != "":
			if !regexp.MustCompile(c.uri).MatchString(uri) {
				t.Errorf("%s: got %s, want %s", c.what, uri, c.uri)
			}
			if kept, err := db.Invite(t.Context(), i.Token); err != nil || kept != i || !i.Expires.Equal(now.Add(7*24*time.Hour)) || i.Uses != 1 {
				t.Errorf("%s: kept %+v, %v; want %+v", c.what, kept, err, i)
			}
		}
	}
	// What has expired counts no more, for a user's number and for a name.
	now = now.Add(8 * 24 * time.Hour)
	for _, r := range []Request{{Domain: "example.org", Contact: true, Inviter: romeo}, {Domain: "example.org", Account: true, Local: "juliet"}} {
		if _, _, err := v.Create(t.Context(), r); err != nil {
			t.Errorf("after a while: %v", err)
		}
	}
}

func TestTokensDiffer(t *testing.T) {
	v := New(open(t), Options{})
	seen := map[string]bool{}
	for range 50 {
		i, _, err := v.Create(t.Context(), Request{Domain: "example.org", Account: true})
		if err != nil || seen[i.Token] {
			t.Fatalf("%v, or the same token twice", err)
		}
		seen[i.Token] = true
	}
}

func TestLookAndUse(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	v := New(open(t), Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	i, _, err := v.Create(ctx, Request{Domain: "example.org", Account: true})
	if err != nil {
		t.Fatal(err)
	}
	contact, _, err := v.Create(ctx, Request{Domain: "example.org", Contact: true, Inviter: romeo})
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{"unknown": "x", "empty": "", "a contact's": contact.Token} {
		if _, err := v.Look(ctx, token, "example.org"); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := v.Look(ctx, i.Token, "example.net"); !errors.Is(err, ErrInvalid) {
		t.Errorf("of another domain: %v", err)
	}
	shown, err := v.Look(ctx, i.Token, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	now = i.Expires
	if _, err := v.Look(ctx, i.Token, "example.org"); !errors.Is(err, ErrInvalid) {
		t.Errorf("expired: %v", err)
	}
	if err := v.Use(ctx, shown); err != nil {
		t.Errorf("shown in time: %v", err)
	}
	if err := v.Use(ctx, shown); !errors.Is(err, ErrInvalid) {
		t.Errorf("used up: %v", err)
	}
	if err := v.Return(ctx, shown); err != nil {
		t.Error(err)
	}
	if err := v.Use(ctx, shown); err != nil {
		t.Errorf("given back: %v", err)
	}
}

// Whoever was disabled lets nobody in, and invites as before once enabled again.
func TestDisabledInviter(t *testing.T) {
	db := open(t)
	v := New(db, Options{})
	if err := db.CreateAccount(t.Context(), store.Account{Address: romeo}, nil); err != nil {
		t.Fatal(err)
	}
	i, _, err := v.Create(t.Context(), Request{Domain: "example.org", Inviter: romeo, Account: true, Contact: true})
	if err != nil {
		t.Fatal(err)
	}
	guest := address.Address{Local: "guest", Domain: "example.net"}
	for _, disabled := range []bool{true, false} {
		if err := db.SetDisabled(t.Context(), romeo, disabled); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Look(t.Context(), i.Token, "example.org"); (err == nil) == disabled || disabled && !errors.Is(err, ErrInvalid) {
			t.Errorf("disabled %v: an account: %v", disabled, err)
		}
		if c, err := v.contact(t.Context(), i.Token, romeo, guest); err != nil || (c != nil) == disabled {
			t.Errorf("disabled %v: a contact: %v, %v", disabled, c, err)
		}
	}
}
