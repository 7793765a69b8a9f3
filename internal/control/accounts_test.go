package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fakeAccounts echoes what it is asked.
type fakeAccounts struct{}

var account = Account{JID: "juliet@x.example", Admin: true, Created: "2026-01-02T03:04:05Z", Sessions: 2}

func (fakeAccounts) Accounts(context.Context) ([]Account, error) { return []Account{account}, nil }

func (fakeAccounts) AddAccount(_ context.Context, n NewAccount) (Account, error) {
	return Account{JID: n.JID + " " + n.Password, Admin: n.Admin}, nil
}

func (fakeAccounts) SetPassword(_ context.Context, jid, password string) (Account, error) {
	return Account{JID: jid + " " + password}, nil
}

func (fakeAccounts) SetDisabled(_ context.Context, jid string, disabled bool) (Account, error) {
	return Account{JID: jid, Disabled: disabled}, nil
}

func (fakeAccounts) SetAdmin(_ context.Context, jid string, admin bool) (Account, error) {
	return Account{JID: jid, Admin: admin}, nil
}

func (fakeAccounts) RemoveAccount(_ context.Context, jid string) (Account, error) {
	return Account{}, &Error{What: "not " + jid}
}

func (fakeAccounts) Invite(_ context.Context, i Invitation) (Invited, error) {
	return Invited{URI: fmt.Sprint(i), Expires: started}, nil
}

func (fakeAccounts) Export(_ context.Context, jids []string, w io.Writer) error {
	switch {
	case len(jids) == 1:
		return &Error{What: "no such account"}
	case len(jids) == 2:
		_, _ = io.WriteString(w, strings.Repeat("half", 10000))
		return errors.New("the disk is gone")
	}
	_, err := io.WriteString(w, strings.Repeat("<user/>", 1_000_000))
	return err
}

func (fakeAccounts) Import(_ context.Context, r io.Reader) (Imported, error) {
	n, err := io.Copy(io.Discard, r)
	return Imported{Accounts: []ImportedAccount{{JID: "a@b", Archived: int(n)}}}, err
}

func TestAccounts(t *testing.T) {
	c := NewClient(serve(t, fakeDaemon{}, everybody))
	defer c.Close()
	ctx := t.Context()
	if list, err := c.Accounts(ctx); err != nil || !reflect.DeepEqual(list, []Account{account}) {
		t.Errorf("%+v, %v", list, err)
	}
	if a, err := c.AddAccount(ctx, NewAccount{"a@b", "pass/word?", true}); err != nil || a.JID != "a@b pass/word?" || !a.Admin {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := c.SetPassword(ctx, "a/b@c%", "x"); err != nil || a.JID != "a/b@c% x" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, disabled := range []bool{true, false} {
		if a, err := c.SetDisabled(ctx, "a@b", disabled); err != nil || a.JID != "a@b" || a.Disabled != disabled {
			t.Errorf("%+v, %v", a, err)
		}
	}
	for _, admin := range []bool{true, false} {
		if a, err := c.SetAdmin(ctx, "a@b", admin); err != nil || a.JID != "a@b" || a.Admin != admin {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if _, err := c.RemoveAccount(ctx, "a@b"); err == nil || err.Error() != "not a@b" {
		t.Errorf("%v", err)
	}
	if i, err := c.Invite(ctx, Invitation{Name: "n", Contact: "c", Lifetime: 7, Uses: 2}); err != nil || i.URI != "{n c 7 2}" || !i.Expires.Equal(started) {
		t.Errorf("%+v, %v", i, err)
	}
}

// Exports and imports are of any length, and half an export is an error.
func TestTransfer(t *testing.T) {
	c := NewClient(serve(t, fakeDaemon{}, everybody))
	defer c.Close()
	c.http.Timeout = time.Nanosecond // is not for these
	var b bytes.Buffer
	if err := c.Export(t.Context(), nil, &b); err != nil || b.Len() != 7_000_000 {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
	if err := c.Export(t.Context(), []string{"a@b"}, &b); err == nil || err.Error() != "no such account" {
		t.Errorf("%v", err)
	}
	if err := c.Export(t.Context(), []string{"a@b", "c@d"}, &b); err == nil || !strings.Contains(err.Error(), "ended early") {
		t.Errorf("half an export: %v", err)
	}
	i, err := c.Import(t.Context(), io.LimitReader(zeros{}, 20<<20))
	if err != nil || len(i.Accounts) != 1 || i.Accounts[0].Archived != 20<<20 || i.Notes == nil {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := NewClient(t.TempDir()+"/none").Import(t.Context(), zeros{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
