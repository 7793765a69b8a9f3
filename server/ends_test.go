package server_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// A session whose connection ends at the moment of binding leaves nothing behind.
func TestConnectionEndsWhileBinding(t *testing.T) {
	ctx, cut := context.WithCancel(t.Context())
	ended := make(chan struct{})
	s := servertest.New(t, module(func(r *server.Registry) {
		r.Bound(func(context.Context, *server.Session) error {
			cut()
			time.Sleep(50 * time.Millisecond) // the end is another goroutine's
			return nil
		})
		r.Unbound(func(context.Context, *server.Session) { close(ended) })
	}))
	owner := s.Account(t, "romeo@example.org")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = s.ServeConn(ctx, conn, server.ConnOptions{Kind: server.STARTTLS, Private: true})
		}
		served <- err
	}()
	c := servertest.Raw(t, l.Addr().String())
	c.Domain = "example.org"
	c.Open()
	c.Login("romeo")
	c.Send(bindRomeo)
	c.ExpectStreamError("system-shutdown")
	c.Cut()
	select {
	case <-served:
	case <-time.After(15 * time.Second):
		t.Fatal("the connection does not end")
	}
	if left := s.Sessions(owner); len(left) != 0 {
		t.Errorf("%d sessions are left of a connection that has ended", len(left))
	}
	select {
	case <-ended:
	default:
		t.Error("the modules were not told that the session ended")
	}
}

// Who is logged in and not bound yet is as good as gone when the account is.
func TestAccountGoesBetweenLoginAndBinding(t *testing.T) {
	for name, remove := range map[string]func(s *servertest.Server, a address.Address) error{
		"disabled": func(s *servertest.Server, a address.Address) error { return s.Disable(t.Context(), a, true) },
		"deleted":  func(s *servertest.Server, a address.Address) error { return s.DeleteAccount(t.Context(), a) },
		"somebody else's": func(s *servertest.Server, a address.Address) error {
			if err := s.DeleteAccount(t.Context(), a); err != nil {
				return err
			}
			return s.CreateAccount(t.Context(), a, "another", false)
		},
		"disabled in the storage": func(s *servertest.Server, a address.Address) error {
			return s.Store().SetDisabled(t.Context(), a, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := servertest.New(t)
			c := loggedIn(t, s)
			owner := servertest.Address(t, "romeo@example.org")
			if err := remove(s, owner); err != nil {
				t.Fatal(err)
			}
			c.Send(bindRomeo)
			c.ExpectStreamError(xmppstream.NotAuthorized)
			waitFor(t, "no session is left", func() bool { return len(s.Sessions(owner)) == 0 })
		})
	}
}

// Sessions that wait for somebody to resume them do not keep their owner out.
func TestWaitingSessionsMakeRoom(t *testing.T) {
	s := servertest.NewWith(t, func(c *server.Config) { c.Limits.Sessions = 2 })
	servertest.Dial(t, s, "romeo@example.org/1")
	lost, _ := managed(t, s, "romeo@example.org/2")
	session := s.Session(lost.JID)
	lost.Cut()
	waitFor(t, "the session waits", session.Waiting)
	servertest.Dial(t, s, "romeo@example.org/3").ExpectNothing()
	if s.Session(lost.JID) != nil {
		t.Error("three sessions where two are allowed")
	}
	c := loggedIn(t, s)
	c.Send(bindRomeo)
	c.Expect("<iq type='error' id='b'><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
}

// What somebody wrote to another client of their own is not lost with that client's
// connection, and what one of several recipients has is not sent to them again.
func TestOwnMessagesGoOn(t *testing.T) {
	s := servertest.NewWith(t, func(c *server.Config) { c.Limits.Resume = 50 * time.Millisecond })
	desk := servertest.Online(t, s, "romeo@example.org/desk")
	phone, _ := managed(t, s, "romeo@example.org/phone")
	desk.Send("<message to='romeo@example.org/phone' id='1' type='chat'><body>note</body></message>")
	phone.Expect("<message id='1'/>")
	phone.Cut()
	desk.Expect("<message id='1' from='romeo@example.org/desk'/>")

	phone, _ = managed(t, s, "romeo@example.org/phone")
	phone.Send("<presence/>")
	phone.Drain()
	desk.Drain()
	desk.Send("<enable " + smNS + "/>")
	desk.Expect("<enabled " + smNS + "/>")
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
	juliet.Send("<message to='romeo@example.org' id='2' type='chat'><body>x</body></message>")
	desk.Expect("<message id='2'/>")
	desk.Expect("<r " + smNS + "/>")
	desk.Send("<a " + smNS + " h='1'/>")
	juliet.ExpectNothing()
	phone.Cut()
	waitFor(t, "the session has ended", func() bool { return s.Session(phone.JID) == nil })
	desk.Send("<r " + smNS + "/>")
	desk.Expect("<a " + smNS + " h='*'/>")
}

// Nothing reaches a client before it is told of its session, whatever modules do
// while it binds.
func TestNothingBeforeSuccess(t *testing.T) {
	s := servertest.NewWith(t, func(c *server.Config) { c.AllowPlain = true }, module(func(r *server.Registry) {
		r.BindInline("urn:xmpp:csi:0", func(ctx context.Context, s *server.Session, _ *xmppstream.Node) ([]byte, error) {
			_ = s.Send(server.NewMessage(s.Owner(), s.JID(), "", "early"))
			s.ReleaseHeld()
			time.Sleep(20 * time.Millisecond)
			return nil, nil
		})
	}))
	s.Account(t, "romeo@example.org")
	c := servertest.Connect(t, s, "example.org")
	c.Send(authenticate("<bind xmlns='urn:xmpp:bind:0'><active xmlns='urn:xmpp:csi:0'/></bind>"))
	c.Expect("<success xmlns='urn:xmpp:sasl:2'><bound xmlns='urn:xmpp:bind:0'/></success>")
	c.Expect("<features xmlns='http://etherx.jabber.org/streams'/>")
	c.Expect("<message id='early'/>")
}

// reads counts how often the storage is asked for accounts.
type reads struct {
	store.Store
	n atomic.Int64
}

func (r *reads) Account(ctx context.Context, a address.Address) (store.Account, error) {
	r.n.Add(1)
	return r.Store.Account(ctx, a)
}

func TestWhoIsThereIsRemembered(t *testing.T) {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	counted := &reads{Store: db}
	s := servertest.NewWith(t, func(c *server.Config) { c.Store = counted })
	exists := func(want bool) {
		t.Helper()
		if ok, err := s.Exists(t.Context(), servertest.Address(t, "juliet@example.org/x")); ok != want || err != nil {
			t.Errorf("exists: %v, %v; want %v", ok, err, want)
		}
	}
	exists(false)
	juliet := s.Account(t, "juliet@example.org")
	exists(true)
	before := counted.n.Load()
	exists(true)
	if n := counted.n.Load() - before; n != 0 {
		t.Errorf("the storage was asked %d times", n)
	}
	if err := s.DeleteAccount(t.Context(), juliet); err != nil {
		t.Fatal(err)
	}
	exists(false)
}
