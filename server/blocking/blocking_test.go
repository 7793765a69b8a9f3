package blocking_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/blocking"
	"xmpp-gw/server/offline"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

func start(t *testing.T, l blocking.Limits) (*servertest.Server, *roster.Module) {
	r := roster.New(roster.Limits{})
	return servertest.New(t, blocking.New(l, r), r, offline.New(offline.Limits{})), r
}

func request(name string, jids ...string) string {
	var b strings.Builder
	for _, j := range jids {
		fmt.Fprintf(&b, "<item jid='%s'/>", j)
	}
	return fmt.Sprintf("<%s xmlns='urn:xmpp:blocking'>%s</%s>", name, b.String(), name)
}

func befriend(t *testing.T, s *servertest.Server, r *roster.Module, a, b string) {
	t.Helper()
	for _, p := range [][2]string{{a, b}, {b, a}} {
		owner := s.Account(t, p[0])
		it := store.RosterItem{Contact: servertest.Address(t, p[1]), Sub: store.SubBoth, InRoster: true}
		if _, err := s.Store().PutRosterItem(t.Context(), owner, it, 100); err != nil {
			t.Fatal(err)
		}
		if err := r.Reload(t.Context(), owner); err != nil {
			t.Fatal(err)
		}
	}
}

// The list: XEP-0191 §3.2 to §3.5, and the pushes to those that have asked for it.
func TestList(t *testing.T) {
	s, _ := start(t, blocking.Limits{Items: 3})
	balcony, phone := servertest.Dial(t, s, "juliet@example.org/balcony"), servertest.Dial(t, s, "juliet@example.org/phone")
	list := func(c *servertest.Client, want ...string) {
		t.Helper()
		n := c.Request("get", "", request("blocklist"))
		if !n.Is(blocking.NS, "blocklist") || len(n.Children) != len(want) {
			t.Errorf("the list is %s, want %v", n.Append(nil), want)
		}
		for _, jid := range want {
			if !strings.Contains(string(n.Append(nil)), "'"+jid+"'") {
				t.Errorf("%s is not in the list %s", jid, n.Append(nil))
			}
		}
	}
	push := func(c *servertest.Client, element string) {
		t.Helper()
		c.Expect("<iq type='set' id='*' to='" + c.JID.String() + "'>" + element + "</iq>")
	}
	list(balcony)
	phone.Request("set", "", request("block", "Romeo@example.org", "tybalt@example.net"))
	push(balcony, request("block", "romeo@example.org", "tybalt@example.net"))
	phone.ExpectNothing() // it has not asked for the list
	list(phone, "romeo@example.org", "tybalt@example.net")

	for _, r := range []struct{ what, want string }{
		{request("block"), "bad-request"}, // XEP-0191 §3.3
		{"<block xmlns='urn:xmpp:blocking'><other jid='a@example.org'/></block>", "bad-request"},
		{"<block xmlns='urn:xmpp:blocking'><item/></block>", "jid-malformed"},
		{request("block", "a@b@c"), "jid-malformed"},
		{request("unblock", "a@b@c"), "jid-malformed"},
		{request("block", "juliet@example.org/phone"), "not-allowed"},
		{request("block", "a@example.org", "b@example.org"), "resource-constraint"},
	} {
		if got := phone.RequestError("set", "", r.what); got != r.want {
			t.Errorf("%s: %s, want %s", r.what, got, r.want)
		}
	}
	if got := phone.RequestError("get", "", request("block", "a@example.org")); got != "bad-request" {
		t.Errorf("a get: %s", got)
	}
	if got := phone.RequestError("set", "", request("blocklist")); got != "bad-request" {
		t.Errorf("a set: %s", got)
	}
	s.Account(t, "nurse@example.org")
	if got := phone.RequestError("get", "nurse@example.org", request("blocklist")); got != "forbidden" {
		t.Errorf("the list of others: %s", got)
	}
	list(phone, "romeo@example.org", "tybalt@example.net") // none of these did anything
	balcony.ExpectNothing()

	balcony.Send("<iq type='set' id='u'>" + request("unblock", "tybalt@example.net", "never@example.net") + "</iq>")
	push(balcony, request("unblock", "tybalt@example.net"))
	balcony.Expect("<iq type='result' id='u'/>")
	push(phone, request("unblock", "tybalt@example.net"))
	list(phone, "romeo@example.org")
	balcony.Send("<iq type='set' id='u'>" + request("unblock") + "</iq>") // §3.5: all
	push(balcony, request("unblock"))
	balcony.Expect("<iq type='result' id='u'/>")
	push(phone, request("unblock"))
	list(phone)
}

// XEP-0191 §5.
func TestMatching(t *testing.T) {
	s, _ := start(t, blocking.Limits{})
	for i, r := range []struct {
		pattern string
		from    string
		blocked bool
	}{
		{"romeo@example.net/phone", "romeo@example.net/phone", true},
		{"romeo@example.net/phone", "romeo@example.net/other", false},
		{"romeo@example.net", "romeo@example.net/phone", true},
		{"romeo@example.net", "tybalt@example.net/phone", false},
		{"example.net/phone", "romeo@example.net/phone", false},
		{"example.net", "romeo@example.net/phone", true},
		{"example.org", "romeo@example.net/phone", false},
	} {
		juliet := servertest.Online(t, s, fmt.Sprintf("juliet%d@example.org/balcony", i))
		other := servertest.Online(t, s, r.from)
		juliet.Request("set", "", request("block", r.pattern))
		other.Sendf("<message to='%s' id='m' type='chat'><body>%d</body></message>", juliet.JID, i)
		if r.blocked {
			other.Expect("<message type='error' id='m'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
			juliet.ExpectNothing()
		} else {
			juliet.Expect(fmt.Sprintf("<message id='m'><body>%d</body></message>", i))
		}
		other.Close()
	}
}

// XEP-0191 §3.3: what becomes of stanzas, both ways.
func TestStanzas(t *testing.T) {
	s, _ := start(t, blocking.Limits{})
	juliet := servertest.Online(t, s, "juliet@example.org/balcony")
	romeo := servertest.Online(t, s, "romeo@example.net/orchard")
	nurse := servertest.Online(t, s, "nurse@example.net/hall")
	juliet.Request("set", "", request("block", "romeo@example.net"))
	for _, r := range []struct {
		stanza string // from romeo
		want   string // the error that he gets
	}{
		{"<message to='%s' id='x' type='chat'><body>hi</body></message>", "service-unavailable"},
		{"<message to='%s' id='x' type='headline'><body>hi</body></message>", "service-unavailable"},
		{"<message to='%s' id='x' type='error'><body>hi</body></message>", ""},
		{"<iq to='%s' id='x' type='get'><query xmlns='jabber:iq:version'/></iq>", "service-unavailable"},
		{"<iq to='%s' id='x' type='set'><query xmlns='jabber:iq:version'/></iq>", "service-unavailable"},
		{"<iq to='%s' id='x' type='result'/>", ""},
		{"<presence to='%s' id='x'/>", ""},
		{"<presence to='%s' id='x' type='probe'/>", ""},
		{"<presence to='%s' id='x' type='unavailable'/>", ""},
	} {
		for _, to := range []string{juliet.JID.String(), juliet.JID.Bare().String()} {
			romeo.Sendf(r.stanza, to)
			if r.want != "" {
				n := romeo.Read()
				if got := servertest.Condition(n); got != r.want || n.Attr("id") != "x" {
					t.Errorf("%s gets %s", r.stanza, n.Append(nil))
				}
			}
			romeo.ExpectNothing()
			juliet.ExpectNothing()
		}
	}
	romeo.Send("<presence to='juliet@example.org' type='subscribe'/>")
	romeo.Drain()
	juliet.ExpectNothing()
	nurse.Send("<message to='juliet@example.org' type='chat'><body>hi</body></message>") // others are not blocked
	juliet.Expect("<message from='nurse@example.net/hall'/>")

	for _, stanza := range []string{
		"<message to='romeo@example.net' id='x' type='chat'><body>hi</body></message>",
		"<iq to='romeo@example.net/orchard' id='x' type='get'><query xmlns='jabber:iq:version'/></iq>",
		"<presence to='romeo@example.net/orchard' id='x'/>",
		"<presence to='romeo@example.net' id='x' type='subscribe'/>",
	} {
		juliet.Send(stanza)
		n := juliet.Read()
		e := n.Child("jabber:client", "error")
		if servertest.Condition(n) != "not-acceptable" || e.Child("urn:xmpp:blocking:errors", "blocked") == nil {
			t.Errorf("%s gets %s", stanza, n.Append(nil))
		}
	}
	juliet.ExpectNothing()
	romeo.ExpectNothing()

	// Offline as well, and after the list was read anew.
	juliet.Close()
	romeo.Send("<message to='juliet@example.org' id='x' type='chat'><body>hi</body></message>")
	romeo.Expect("<message type='error' id='x'/>")
	if n, err := s.Store().CountOffline(t.Context(), address.Address{Local: "juliet", Domain: "example.org"}); n != 0 || err != nil {
		t.Errorf("%d messages of a blocked sender wait (%v)", n, err)
	}
}

// XEP-0191 §3.3, §3.4: who is blocked sees the owner as offline, and again when not.
func TestPresence(t *testing.T) {
	for pattern, also := range map[string]string{"romeo@example.net": "example.net", "example.net": "romeo@example.net"} {
		t.Run(pattern, func(t *testing.T) {
			s, r := start(t, blocking.Limits{})
			befriend(t, s, r, "juliet@example.org", "romeo@example.net")
			befriend(t, s, r, "juliet@example.org", "nurse@example.org")
			romeo, nurse := servertest.Online(t, s, "romeo@example.net/orchard"), servertest.Online(t, s, "nurse@example.org/hall")
			juliet := servertest.Online(t, s, "juliet@example.org/balcony")
			romeo.Drain()
			nurse.Drain()

			juliet.Request("set", "", request("block", pattern))
			romeo.Expect("<presence type='unavailable' from='juliet@example.org/balcony'/>")
			juliet.Send("<presence><show>away</show></presence>")
			juliet.Drain()
			nurse.Expect("<presence from='juliet@example.org/balcony'><show>away</show></presence>")
			romeo.Send("<presence><show>xa</show></presence>") // he is not heard either
			romeo.Expect("<presence from='romeo@example.net/orchard'/>")
			romeo.ExpectNothing()
			juliet.ExpectNothing()

			// A session that comes while he is blocked neither tells him nor asks him.
			phone := servertest.Online(t, s, "juliet@example.org/phone")
			juliet.Drain()
			nurse.Drain()
			romeo.ExpectNothing()

			// What another entry blocks stays blocked.
			phone.Request("set", "", request("block", also))
			phone.Request("set", "", request("unblock", pattern))
			phone.ExpectNothing()
			romeo.ExpectNothing()
			phone.Request("set", "", request("block", pattern))
			phone.Request("set", "", request("unblock", also))
			romeo.ExpectNothing()

			phone.Send("<iq type='set' id='u'>" + request("unblock", pattern) + "</iq>")
			phone.ExpectAll("<iq type='result' id='u'/>", "<presence from='romeo@example.net/orchard'><show>xa</show></presence>")
			juliet.Expect("<presence from='romeo@example.net/orchard'><show>xa</show></presence>")
			romeo.ExpectAll(
				"<presence from='juliet@example.org/balcony'><show>away</show></presence>",
				"<presence from='juliet@example.org/phone'/>",
			)
			nurse.ExpectNothing()
		})
	}
}

// Who was sent directed presence is told as well.
func TestDirectedPresence(t *testing.T) {
	s, _ := start(t, blocking.Limits{})
	juliet, romeo := servertest.Online(t, s, "juliet@example.org/balcony"), servertest.Online(t, s, "romeo@example.net/orchard")
	juliet.Send("<presence to='romeo@example.net/orchard'/>")
	romeo.Expect("<presence from='juliet@example.org/balcony'/>")
	juliet.Request("set", "", request("block", "romeo@example.net"))
	romeo.Expect("<presence type='unavailable' from='juliet@example.org/balcony'/>")
	juliet.Send("<presence type='unavailable'/>")
	juliet.Drain()
	romeo.ExpectNothing()
}

// meddler reads what is known of an account while it is being removed.
type meddler struct {
	read func(ctx context.Context, owner address.Address)
}

func (meddler) Name() string { return "meddler" }

func (m meddler) Setup(r *server.Registry) error {
	r.AccountGone(func(ctx context.Context, owner address.Address) error { m.read(ctx, owner); return nil })
	return nil
}

// Nothing of a removed account is left in memory for the next one of that name.
func TestNextAccountOfThatName(t *testing.T) {
	r := roster.New(roster.Limits{})
	b := blocking.New(blocking.Limits{}, r)
	s := servertest.New(t, b, r, meddler{func(ctx context.Context, owner address.Address) {
		b.Blocked(ctx, owner, owner)
		_, _ = r.Watchers(ctx, owner)
	}})
	juliet, romeo := servertest.Address(t, "juliet@example.org"), servertest.Address(t, "romeo@example.org")
	befriend(t, s, r, "juliet@example.org", "romeo@example.org")
	if err := s.Store().AddBlocks(t.Context(), juliet, []address.Address{romeo}, 10); err != nil {
		t.Fatal(err)
	}
	if !b.Blocked(t.Context(), juliet, romeo) {
		t.Fatal("the block list is not read")
	}
	if err := s.DeleteAccount(t.Context(), juliet); err != nil {
		t.Fatal(err)
	}
	s.Account(t, "juliet@example.org")
	if b.Blocked(t.Context(), juliet, romeo) {
		t.Error("the new account has the block list of the one before")
	}
	if list, err := r.Watchers(t.Context(), juliet); err != nil || len(list) != 0 {
		t.Errorf("the new account is seen by %v, %v", list, err)
	}
}
