package server_test

import (
	"context"
	"errors"
	"testing"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
)

const bindRomeo = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>orchard</resource></bind></iq>"

func loggedIn(t *testing.T, s *servertest.Server) *servertest.Client {
	t.Helper()
	s.Account(t, "romeo@example.org")
	c := servertest.Connect(t, s, "example.org")
	c.Login("romeo")
	return c
}

func TestBind(t *testing.T) {
	s := servertest.New(t)
	c := loggedIn(t, s)
	if f := c.Features; f.Child(xmppstream.NSBind, "bind") == nil || f.Child(xmppstream.NSSM, "sm") == nil ||
		f.Child(xmppstream.NSSASL, "mechanisms") != nil || f.Child("urn:xmpp:stream-limits:0", "limits") == nil {
		t.Errorf("features after the login: %s", f.Append(nil))
	}
	c.Send("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>\u00a0\u202e</resource></bind></iq>")
	c.Expect("<iq type='error' id='1'><error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	c.Bind("")
	if c.JID.Resource == "" || c.JID.Local != "romeo" {
		t.Errorf("bound to %s", c.JID)
	}
	// A second resource on the same stream is not allowed (RFC 6120 §7.1).
	c.Send(bindRomeo)
	c.Expect("<iq type='error' id='b'><error><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	c.Send("<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>")
	c.Expect("<iq type='result' id='s'/>")
}

func TestBindConflict(t *testing.T) {
	t.Run("the older ends", func(t *testing.T) {
		s := servertest.New(t)
		old := servertest.Dial(t, s, "romeo@example.org/orchard")
		young := servertest.Dial(t, s, "romeo@example.org/orchard")
		old.ExpectStreamError("conflict")
		young.Send("<message to='romeo@example.org/orchard'><body>me</body></message>")
		young.Expect("<message><body>me</body></message>")
	})
	t.Run("the newer is refused", func(t *testing.T) {
		s := servertest.NewWith(t, func(c *server.Config) { c.OnConflict = server.RefuseNewer })
		old := servertest.Dial(t, s, "romeo@example.org/orchard")
		c := loggedIn(t, s)
		c.Send(bindRomeo)
		c.Expect("<iq type='error' id='b'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
		c.Bind("garden") // it may try again (RFC 6120 §7.7.2.2)
		old.ExpectNothing()
		c.ExpectNothing()
	})
	t.Run("the newer is renamed", func(t *testing.T) {
		s := servertest.NewWith(t, func(c *server.Config) { c.OnConflict = server.Rename })
		old := servertest.Dial(t, s, "romeo@example.org/orchard")
		c := loggedIn(t, s)
		c.Bind("orchard")
		if c.JID == old.JID || c.JID.Bare() != old.JID.Bare() {
			t.Errorf("both are %s", c.JID)
		}
		old.ExpectNothing()
		c.Sendf("<message to='%s'><body>me</body></message>", c.JID)
		c.Expect("<message><body>me</body></message>")
	})
}

func TestSessionsPerAccount(t *testing.T) {
	s := servertest.NewWith(t, func(c *server.Config) { c.Limits.Sessions = 2 })
	servertest.Dial(t, s, "romeo@example.org/1")
	second := servertest.Dial(t, s, "romeo@example.org/2")
	c := loggedIn(t, s)
	c.Send(bindRomeo)
	c.Expect("<iq type='error' id='b'><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	second.Close()
	c.Bind("3")
	c.ExpectNothing()
	servertest.Dial(t, s, "juliet@example.org/1")
}

func TestAccounts(t *testing.T) {
	s := servertest.New(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	if err := s.Disable(t.Context(), romeo.JID, true); err != nil {
		t.Fatal(err)
	}
	romeo.ExpectStreamError(xmppstream.NotAuthorized)
	c := servertest.Connect(t, s, "example.org")
	c.Send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHg=</auth>")
	c.Expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-mechanism/></failure>")
	if err := s.Disable(t.Context(), romeo.JID, false); err != nil {
		t.Fatal(err)
	}
	if err := s.SetPassword(t.Context(), romeo.JID, servertest.Password); err != nil {
		t.Fatal(err)
	}
	romeo = servertest.Dial(t, s, "romeo@example.org/orchard")
	if err := s.DeleteAccount(t.Context(), romeo.JID); err != nil {
		t.Fatal(err)
	}
	romeo.ExpectStreamError(xmppstream.NotAuthorized)
	if ok, err := s.Exists(t.Context(), romeo.JID); ok || err != nil {
		t.Errorf("a deleted account exists: %v, %v", ok, err)
	}
	if err := s.DeleteAccount(t.Context(), romeo.JID); err == nil {
		t.Error("an account was deleted twice")
	}
	if err := s.CreateAccount(t.Context(), servertest.Address(t, "romeo@example.com"), "x", false); err == nil {
		t.Error("an account was made at a domain that is not served")
	}
}

// What modules send to a session that has just been bound comes after the client
// has been told of it.
func TestStanzasWaitForTheirSession(t *testing.T) {
	s := servertest.New(t, module(func(r *server.Registry) {
		r.Bound(func(_ context.Context, s *server.Session) error {
			return s.Send(server.NewMessage(s.Owner().Server(), s.JID(), "", "early", []byte("<body>Hi</body>")))
		})
	}))
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard") // which reads the result first
	romeo.Expect("<message id='early' from='example.org'><body>Hi</body></message>")
	romeo.ExpectNothing()
}

// A session that a module does not let begin is none.
func TestBoundFails(t *testing.T) {
	s := servertest.New(t, module(func(r *server.Registry) {
		r.Bound(func(context.Context, *server.Session) error { return errors.New("the disk is full") })
	}))
	c := loggedIn(t, s)
	c.Send(bindRomeo)
	for {
		if _, err := c.Next(); err != nil {
			break
		}
	}
	if n := len(s.Sessions(servertest.Address(t, "romeo@example.org"))); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// A stanza without a language has that of its sender's stream (RFC 6120 §8.1.5).
func TestLanguage(t *testing.T) {
	s := servertest.New(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard") // whose stream is English
	romeo.Send("<message to='romeo@example.org/orchard' id='1'><body>x</body></message><message to='romeo@example.org/orchard' id='2' xml:lang='it'/>")
	romeo.Expect("<message id='1' xml:lang='en'><body>x</body></message>")
	romeo.Expect("<message id='2' xml:lang='it'/>")
}
