package store

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"testing"

	"xmpp-gw/internal/address"
)

func TestDocuments(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		want(t, second(d.Document(ctx, juliet, "private", "a")), ErrNotFound)
		must(t, d.PutDocument(ctx, juliet, "private", "b", []byte("<b/>"), 2))
		must(t, d.PutDocument(ctx, juliet, "private", "a", nil, 2))
		must(t, d.PutDocument(ctx, juliet, "vcard", "", []byte{0, 255}, 1))
		want(t, d.PutDocument(ctx, juliet, "private", "c", []byte("<c/>"), 2), ErrFull)
		must(t, d.PutDocument(ctx, juliet, "private", "b", []byte("<b2/>"), 2))
		for _, w := range []struct {
			kind, key string
			raw       []byte
		}{{"private", "a", []byte{}}, {"private", "b", []byte("<b2/>")}, {"vcard", "", []byte{0, 255}}} {
			if raw, err := d.Document(ctx, juliet, w.kind, w.key); err != nil || !bytes.Equal(raw, w.raw) {
				t.Errorf("%s %q: %q, %v", w.kind, w.key, raw, err)
			}
		}
		keys, err := d.ListDocuments(ctx, juliet, "private")
		if err != nil || fmt.Sprint(keys) != "[a b]" {
			t.Errorf("keys %v, %v", keys, err)
		}
		must(t, d.DeleteDocument(ctx, juliet, "private", "a"))
		want(t, d.DeleteDocument(ctx, juliet, "private", "a"), ErrNotFound)
		want(t, d.DeleteDocument(ctx, romeo, "private", "a"), ErrNotFound)
		want(t, second(d.Document(ctx, romeo, "private", "b")), ErrNotFound)
	})
}

func TestItems(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		want(t, d.PutItem(ctx, juliet, "n", Item{ID: "1"}, 1), ErrNotFound)
		must(t, d.PutNode(ctx, juliet, Node{Name: "n", Config: []byte("<x/>")}, 2))
		must(t, d.PutNode(ctx, juliet, Node{Name: "m"}, 2))
		want(t, d.PutNode(ctx, juliet, Node{Name: "o"}, 2), ErrFull)
		must(t, d.PutNode(ctx, juliet, Node{Name: "n", Config: []byte("<y/>")}, 2))
		nodes, err := d.Nodes(ctx, juliet)
		must(t, err)
		if w := []Node{{Name: "m"}, {Name: "n", Config: []byte("<y/>")}}; !reflect.DeepEqual(nodes, w) {
			t.Errorf("nodes %v, want %v", nodes, w)
		}
		want(t, second(d.Node(ctx, juliet, "o")), ErrNotFound)

		item := func(i int) Item {
			return Item{ID: fmt.Sprint(i), Publisher: addr("juliet@capulet.example/chamber"), At: date(int64(i)), Raw: []byte("<i/>")}
		}
		for i := range 5 {
			must(t, d.PutItem(ctx, juliet, "n", item(i), 3))
		}
		must(t, d.PutItem(ctx, juliet, "n", item(2), 3)) // newest again
		all := func() string {
			t.Helper()
			list, err := d.Items(ctx, juliet, "n", nil, 10)
			must(t, err)
			s := ""
			for _, it := range list {
				s += it.ID
			}
			return s
		}
		if s := all(); s != "243" {
			t.Errorf("items %s, want 243", s)
		}
		list, err := d.Items(ctx, juliet, "n", []string{"3", "none", "2"}, 0)
		must(t, err)
		if w := []Item{item(3), item(2)}; !reflect.DeepEqual(list, w) {
			t.Errorf("items %v, want %v", list, w)
		}
		if list, err = d.Items(ctx, juliet, "n", nil, 1); err != nil || len(list) != 1 || list[0].ID != "2" {
			t.Errorf("the newest item: %v, %v", list, err)
		}
		must(t, d.PutItem(ctx, juliet, "n", Item{ID: "bare"}, 0))
		if list, err = d.Items(ctx, juliet, "n", []string{"bare"}, 1); err != nil || !reflect.DeepEqual(list, []Item{{ID: "bare"}}) {
			t.Errorf("an item of nothing: %v, %v", list, err)
		}
		must(t, d.DeleteItem(ctx, juliet, "n", "4"))
		want(t, d.DeleteItem(ctx, juliet, "n", "4"), ErrNotFound)
		must(t, d.PurgeItems(ctx, juliet, "n"))
		if s := all(); s != "" {
			t.Errorf("items %s after a purge", s)
		}
		must(t, d.PutItem(ctx, juliet, "n", item(1), 3))
		must(t, d.DeleteNode(ctx, juliet, "n"))
		for name, err := range map[string]error{
			"DeleteNode": d.DeleteNode(ctx, juliet, "n"), "PurgeItems": d.PurgeItems(ctx, juliet, "n"),
			"Items": second(d.Items(ctx, juliet, "n", nil, 1)), "Items of nobody": second(d.Items(ctx, romeo, "n", nil, 1)),
		} {
			if err != ErrNotFound {
				t.Errorf("%s without the node: %v", name, err)
			}
		}
		must(t, d.PutNode(ctx, juliet, Node{Name: "n"}, 2))
		if s := all(); s != "" {
			t.Errorf("items %s survived their node", s)
		}
	})
}

func TestInvites(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		a := Invite{Token: "a", Domain: "capulet.example", Inviter: juliet, Local: "paris", Account: true, Created: date(0), Expires: date(10), Uses: 2}
		b := Invite{Token: "b", Domain: "capulet.example", Contact: true, Created: date(1), Uses: 1}
		must(t, d.CreateInvite(ctx, a))
		must(t, d.CreateInvite(ctx, b))
		want(t, d.CreateInvite(ctx, a), ErrExists)
		must(t, d.CreateInvite(ctx, Invite{Token: "c", Domain: "other.example", Created: date(2), Uses: 1}))
		if got, err := d.Invite(ctx, "a"); err != nil || got != a {
			t.Errorf("invite %+v, %v; want %+v", got, err, a)
		}
		for inviter, w := range map[address.Address]string{{}: "[a b]", juliet: "[a]", romeo: "[]"} {
			list, err := d.ListInvites(ctx, "capulet.example", inviter)
			must(t, err)
			tokens := []string{}
			for _, i := range list {
				tokens = append(tokens, i.Token)
			}
			if fmt.Sprint(tokens) != w {
				t.Errorf("invites of %v: %v, want %s", inviter, tokens, w)
			}
		}
		// Ten use an invite of two uses at once.
		used := make(chan error)
		for range 10 {
			go func() { used <- second(d.UseInvite(ctx, "a", date(5))) }()
		}
		ok := 0
		for range 10 {
			if err := <-used; err == nil {
				ok++
			} else if err != ErrNotFound {
				t.Error(err)
			}
		}
		if ok != 2 {
			t.Errorf("%d uses, want 2", ok)
		}
		must(t, d.CreateInvite(ctx, Invite{Token: "d", Domain: "capulet.example", Created: date(5), Expires: date(6), Uses: 1}))
		want(t, second(d.UseInvite(ctx, "d", date(6))), ErrNotFound) // expired
		must(t, second(d.UseInvite(ctx, "b", date(1e8))))            // never expires
		must(t, d.ReturnInvite(ctx, "a"))                            // used up above
		must(t, second(d.UseInvite(ctx, "a", date(5))))
		want(t, second(d.UseInvite(ctx, "a", date(5))), ErrNotFound)
		must(t, d.DeleteInvite(ctx, "b"))
		want(t, d.DeleteInvite(ctx, "b"), ErrNotFound)
		want(t, d.ReturnInvite(ctx, "b"), ErrNotFound)
		must(t, d.CreateInvite(ctx, Invite{Token: "e", Domain: "capulet.example", Created: date(20), Uses: 1}))
		want(t, second(d.Invite(ctx, "d")), ErrNotFound) // forgotten
	})
}

func TestTokens(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		list := []Token{
			{ClientID: "c1", Mechanism: "HT-SHA-256-EXPR", Secret: []byte{1, 0, 2}, Issued: date(5), Expires: date(6), Count: 1<<63 + 5},
			{ClientID: "c1", Mechanism: "HT-SHA-256-NONE", Secret: []byte{3}, Issued: date(1)},
		}
		want(t, d.PutTokens(ctx, juliet, "c1", list), ErrNotFound)
		must(t, d.CreateAccount(ctx, Account{Address: juliet}, nil))
		must(t, d.PutTokens(ctx, juliet, "c1", list))
		must(t, d.PutTokens(ctx, juliet, "c2", list[:1]))
		want(t, d.PutTokens(ctx, juliet, "c3", append(list, list...)), ErrFull)
		got, err := d.Tokens(ctx, juliet, "c1")
		must(t, err)
		if !reflect.DeepEqual(got, list) {
			t.Errorf("tokens %v, want %v", got, list)
		}
		must(t, d.PutTokens(ctx, juliet, "c1", nil))
		if got, err := d.Tokens(ctx, juliet, "c1"); err != nil || len(got) != 0 {
			t.Errorf("tokens %v, %v; want none", got, err)
		}
		if got, err := d.Tokens(ctx, juliet, "c2"); err != nil || len(got) != 1 || got[0].ClientID != "c2" {
			t.Errorf("tokens of the other client: %v, %v", got, err)
		}
		must(t, d.DeleteTokens(ctx, juliet))
		must(t, d.DeleteTokens(ctx, romeo))
		if got, err := d.Tokens(ctx, juliet, "c2"); err != nil || len(got) != 0 {
			t.Errorf("tokens %v, %v; want none", got, err)
		}
	})
}

func TestCertificates(t *testing.T) {
	every(t, func(t *testing.T, d *DB) {
		ctx := context.Background()
		c := Certificate{Name: "laptop", Fingerprint: [32]byte{0: 1, 31: 2}, DER: []byte{0, 1}, NoManage: true, Added: date(0)}
		must(t, d.PutCertificate(ctx, juliet, c, 1))
		want(t, d.PutCertificate(ctx, juliet, Certificate{Name: "phone"}, 1), ErrFull)
		c.DER = []byte{5}
		must(t, d.PutCertificate(ctx, juliet, c, 1))
		must(t, d.PutCertificate(ctx, nurse, c, 1))
		list, err := d.Certificates(ctx, juliet)
		if err != nil || !reflect.DeepEqual(list, []Certificate{c}) {
			t.Errorf("certificates %v, %v", list, err)
		}
		owners, err := d.CertificateOwners(ctx, c.Fingerprint)
		if err != nil || !reflect.DeepEqual(owners, []address.Address{juliet, nurse}) {
			t.Errorf("owners %v, %v", owners, err)
		}
		must(t, d.DeleteCertificate(ctx, juliet, "laptop"))
		want(t, d.DeleteCertificate(ctx, juliet, "laptop"), ErrNotFound)
		want(t, d.DeleteCertificate(ctx, romeo, "laptop"), ErrNotFound)
	})
}
