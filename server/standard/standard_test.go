package standard_test

import (
	"testing"

	"xmpp-gw/server"
	"xmpp-gw/server/invite"
	"xmpp-gw/server/registration"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/standard"
	"xmpp-gw/server/store"
)

// start starts a server with everything.
func start(t *testing.T, o standard.Options) *servertest.Server {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return servertest.NewWith(t, func(c *server.Config) {
		c.Store = db
		c.Modules = standard.Modules(db, o)
	})
}

// The modules go together: each is set up, none takes another's place, and what
// the server says of itself has no feature twice.
func TestTogether(t *testing.T) {
	s := start(t, standard.Options{LastActivity: true})
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	for _, to := range []string{"example.org", "romeo@example.org"} {
		c.Send("<iq type='get' id='1' to='" + to + "'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
		n := c.Expect("<iq type='result' id='1'/>")
		seen := map[string]bool{}
		for _, f := range n.Children[0].Children {
			if v := f.Attr("var"); f.Name == "feature" {
				if seen[v] {
					t.Errorf("%s: the feature %s is there twice", to, v)
				}
				seen[v] = true
			}
		}
		if len(seen) < 5 {
			t.Errorf("%s has only the features %v", to, seen)
		}
	}
}

// A blocked sender's message is not archived: the archive stands behind.
func TestBlockedIsNotArchived(t *testing.T) {
	s := start(t, standard.Options{})
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	tybalt := servertest.Dial(t, s, "tybalt@example.org/square")
	romeo.Send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='tybalt@example.org'/></block></iq>")
	romeo.Expect("<iq type='result' id='b'/>")
	tybalt.Send("<message to='romeo@example.org' type='chat' id='m'><body>Turn and draw</body></message>")
	tybalt.Expect("<message type='error' id='m'/>")
	romeo.Send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
	romeo.Expect("<iq type='result' id='q'><fin xmlns='urn:xmpp:mam:2'/></iq>")
}

// A stranger who is blocked does not use up an invitation, and an administrator has
// the commands of all modules.
func TestInvitations(t *testing.T) {
	s := start(t, standard.Options{Registration: registration.Options{Mode: registration.ByInvite}})
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	tybalt := servertest.Dial(t, s, "tybalt@example.org/square")
	if err := s.Store().SetAdmin(t.Context(), romeo.JID.Bare(), true); err != nil {
		t.Fatal(err)
	}
	romeo.Request("set", "", "<block xmlns='urn:xmpp:blocking'><item jid='tybalt@example.org'/></block>")
	i, uri, err := invite.New(s.Store(), invite.Options{}).Create(t.Context(), invite.Request{Domain: "example.org", Inviter: romeo.JID, Contact: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := "xmpp:romeo@example.org?roster;preauth=" + i.Token; uri != want {
		t.Errorf("got %s, want %s", uri, want)
	}
	tybalt.Send("<presence type='subscribe' to='romeo@example.org'><preauth xmlns='urn:xmpp:pars:0' token='" + i.Token + "'/></presence>")
	tybalt.Drain()
	if left, err := s.Store().Invite(t.Context(), i.Token); err != nil || left.Uses != 1 {
		t.Errorf("the invitation: %+v, %v", left, err)
	}
	n := romeo.Request("get", "example.org", "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>")
	if len(n.Children) != 21 {
		t.Errorf("%d commands: %s", len(n.Children), n.Append(nil))
	}
}
