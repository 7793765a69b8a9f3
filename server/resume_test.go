package server_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
)

const smNS = "xmlns='urn:xmpp:sm:3'"

// managed logs in and enables stream management with resumption.
func managed(t *testing.T, s *servertest.Server, jid string) (c *servertest.Client, id string) {
	t.Helper()
	c = servertest.Dial(t, s, jid)
	c.Send("<enable " + smNS + " resume='true'/>")
	n := c.Expect("<enabled " + smNS + " resume='true' id='*' max='*'/>")
	return c, n.Attr("id")
}

// resuming logs in on a new connection and asks for the session.
func resuming(t *testing.T, s *servertest.Server, local, id string, h int) *servertest.Client {
	t.Helper()
	c := servertest.Connect(t, s, "example.org")
	c.Login(local)
	c.Sendf("<resume %s previd='%s' h='%d'/>", smNS, id, h)
	return c
}

// waitFor waits until f holds.
func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func TestStreamManagement(t *testing.T) {
	s := servertest.New(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	romeo.Send("<r " + smNS + "/>") // means nothing before it is enabled
	romeo.ExpectNothing()
	romeo.Send("<enable " + smNS + "/>")
	romeo.Expect("<enabled " + smNS + " id='-' resume='-'/>")
	romeo.Send("<enable " + smNS + "/>")
	romeo.Expect("<failed " + smNS + "><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
	romeo.Send("<r " + smNS + "/>")
	romeo.Expect("<a " + smNS + " h='0'/>")
	romeo.Send("<message to='nobody@example.com' type='error'/><message to='@'/> <presence type='odd'/><iq type='result' id='1' to='example.org'/><r " + smNS + "/>")
	romeo.Expect("<message type='error'/>")
	romeo.Expect("<presence type='error'/>")
	romeo.ExpectAll("<a "+smNS+" h='4'/>", "<r "+smNS+"/>")
	romeo.Send("<a " + smNS + " h='1'/>")
	romeo.Expect("<r " + smNS + "/>") // one more is not acknowledged
	romeo.Send("<a " + smNS + " h='2'/><r " + smNS + "/>")
	romeo.Expect("<a " + smNS + " h='4'/>")
	romeo.Send("<a " + smNS + " h='5'/>")
	n := romeo.ExpectStreamError("undefined-condition")
	if c := n.Child(xmppstream.NSSM, "handled-count-too-high"); c == nil || c.Attr("h") != "5" || c.Attr("send-count") != "2" {
		t.Errorf("the stream error is %s", n.Append(nil))
	}
}

func TestEnableBeforeBinding(t *testing.T) {
	s := servertest.New(t)
	c := loggedIn(t, s)
	c.Send("<enable " + smNS + "/>")
	c.Expect("<failed " + smNS + "><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
	c.Send("<resume " + smNS + " previd='x' h='0'/>")
	c.Expect("<failed " + smNS + "><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
	c.Bind("x")
}

func TestResume(t *testing.T) {
	s := servertest.New(t)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	juliet, id := managed(t, s, "juliet@example.org/balcony")
	send := func(n int) {
		romeo.Sendf("<message to='juliet@example.org/balcony' id='%d'><body>x</body></message>", n)
	}
	send(1)
	juliet.Expect("<message id='1'/>")
	juliet.Expect("<r " + smNS + "/>")
	juliet.Send("<a " + smNS + " h='1'/>")
	juliet.Send("<message to='romeo@example.org/orchard' id='a'/>")
	romeo.Expect("<message id='a'/>")
	send(2)
	juliet.Expect("<message id='2'/>") // and its acknowledgement is lost
	juliet.Expect("<r " + smNS + "/>")
	juliet.Cut()
	one := s.Session(juliet.JID)
	waitFor(t, "the session waits", one.Waiting)
	send(3)
	romeo.ExpectNothing()

	stranger := resuming(t, s, "romeo", id, 2) // another account's
	stranger.Expect("<failed " + smNS + "><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")

	juliet = resuming(t, s, "juliet", id, 2)
	juliet.Expect("<resumed " + smNS + " previd='" + id + "' h='1'/>")
	juliet.Expect("<message id='3'/>")
	juliet.Expect("<r " + smNS + "/>")
	if s.Session(one.JID()) != one || one.Waiting() {
		t.Error("the session is another one")
	}
	// A second connection takes it over while the first seems alive.
	second := resuming(t, s, "juliet", id, 2)
	second.Expect("<resumed " + smNS + " h='1'/>")
	second.Expect("<message id='3'/>")
	second.Expect("<r " + smNS + "/>")
	if _, err := juliet.Next(); err == nil {
		t.Error("the old connection goes on")
	}
	second.Send("<message to='romeo@example.org/orchard' id='b'/><a " + smNS + " h='3'/><r " + smNS + "/>")
	second.Expect("<a " + smNS + " h='2'/>")
	romeo.Expect("<message id='b'/>")
	// After a close in good order nothing is left to resume.
	second.Close()
	third := resuming(t, s, "juliet", id, 3)
	third.Expect("<failed " + smNS + "><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
}

// What a session did not acknowledge goes elsewhere when nobody resumes it.
func TestUnackedGoesOn(t *testing.T) {
	for _, c := range []struct {
		name        string
		other, kept bool
	}{
		{"to another session", true, false}, {"offline", false, true}, {"back", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept := newShelf()
			var modules []server.Module
			if c.kept {
				modules = append(modules, kept)
			}
			s := servertest.NewWith(t, func(c *server.Config) { c.Limits.Resume = 50 * time.Millisecond }, modules...)
			romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
			juliet, _ := managed(t, s, "juliet@example.org/balcony")
			romeo.Send("<message to='juliet@example.org/balcony' id='1' type='chat'><body>x</body></message>" +
				"<message to='juliet@example.org/balcony' id='2' type='headline'><body>x</body></message>" +
				"<iq to='juliet@example.org/balcony' id='3' type='get'><x xmlns='urn:x'/></iq>")
			romeo.ExpectNothing()
			var other *servertest.Client
			if c.other {
				other = servertest.Online(t, s, "juliet@example.org/garden")
			}
			juliet.Cut()
			var want []string
			if !c.other && !c.kept {
				want = append(want, "<message type='error' id='1' from='juliet@example.org/balcony'/>")
			}
			romeo.ExpectAll(append(want, "<iq type='error' id='3'/>")...)
			if c.other {
				other.Expect("<message id='1' from='romeo@example.org/orchard'/>")
				other.ExpectNothing()
			}
			if c.kept {
				if id := <-kept.kept; id != "1" {
					t.Errorf("%s was kept", id)
				}
			}
			romeo.ExpectNothing()
		})
	}
}

// disk is a write that a test ends.
type disk struct {
	done chan struct{}
	err  error
}

func (d *disk) Done() <-chan struct{} { return d.done }
func (d *disk) Err() error            { <-d.done; return d.err }

// A stanza is acknowledged when what it caused is on disk, and never when that failed.
func TestAcknowledgementsWait(t *testing.T) {
	writes := make(chan *disk, 10)
	s := servertest.New(t, module(func(r *server.Registry) {
		r.Inbound(func(_ context.Context, _ address.Address, st *server.Stanza) (*server.Stanza, error) {
			if st.Kind == server.Message {
				d := &disk{done: make(chan struct{})}
				st.With([]byte("<x xmlns='urn:x'/>")).Await(d) // a copy is as good
				writes <- d
			}
			return st, nil
		})
	}))
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
	romeo, _ := managed(t, s, "romeo@example.org/orchard")
	say := "<message to='juliet@example.org/balcony' type='chat'><body>x</body></message>"
	romeo.Send("<iq type='result' id='1' to='example.org'/>" + say + say + "<r " + smNS + "/>")
	juliet.Expect("<message/>")
	juliet.Expect("<message/>")
	first, second := <-writes, <-writes
	romeo.Send("<iq id='still here' type='get'><x xmlns='urn:x'/></iq>")
	romeo.Expect("<iq id='still here' type='error'/>") // and no acknowledgement before it
	romeo.Expect("<r " + smNS + "/>")
	close(first.done)
	time.Sleep(20 * time.Millisecond)
	close(second.done)
	romeo.Expect("<a " + smNS + " h='4'/>")
	romeo.Send("<a " + smNS + " h='1'/>" + say + "<r " + smNS + "/>")
	bad := <-writes
	bad.err = errors.New("the disk is full")
	close(bad.done)
	romeo.ExpectStreamError(xmppstream.InternalServerError)
}

// A message that was received need not be kept by anybody else.
func TestWhenReceived(t *testing.T) {
	received := make(chan string, 10)
	s := servertest.New(t, module(func(r *server.Registry) {
		r.Delivered(func(_ context.Context, _ address.Address, st *server.Stanza, _ []*server.Session) {
			st.WhenReceived(func() { received <- st.ID })
		})
	}))
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
	romeo.Send("<message to='juliet@example.org/balcony' id='1'><body>x</body></message>")
	if id := <-received; id != "1" {
		t.Errorf("%s was received", id)
	}
	juliet.Expect("<message id='1'/>")
	juliet.Send("<enable " + smNS + "/>")
	juliet.Expect("<enabled " + smNS + "/>")
	romeo.Send("<message to='juliet@example.org/balcony' id='2'><body>x</body></message>")
	juliet.Expect("<message id='2'/>")
	select {
	case id := <-received:
		t.Errorf("%s counts as received without an acknowledgement", id)
	case <-time.After(50 * time.Millisecond):
	}
	juliet.Expect("<r " + smNS + "/>")
	juliet.Send("<a " + smNS + " h='1'/>")
	if id := <-received; id != "2" {
		t.Errorf("%s was received", id)
	}
}

// authenticate is a login by SASL2 with PLAIN.
func authenticate(inside string) string {
	plain := base64.StdEncoding.EncodeToString([]byte("\x00romeo\x00" + servertest.Password))
	return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + plain + "</initial-response>" +
		"<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>test</software></user-agent>" + inside + "</authenticate>"
}

func TestSASL2AndBind2(t *testing.T) {
	asked := make(chan string, 10)
	s := servertest.NewWith(t, func(c *server.Config) { c.AllowPlain = true }, module(func(r *server.Registry) {
		r.BindInline("urn:xmpp:carbons:2", func(_ context.Context, s *server.Session, n *xmppstream.Node) ([]byte, error) {
			asked <- n.Name + " " + s.JID().Bare().String()
			return []byte("<done xmlns='urn:t'/>"), nil
		})
	}))
	s.Account(t, "romeo@example.org")
	c := servertest.Connect(t, s, "example.org")
	offer := string(c.Features.Append(nil))
	for _, want := range []string{"<bind xmlns='urn:xmpp:bind:0'>", "<feature var='urn:xmpp:sm:3'/>", "<feature var='urn:xmpp:carbons:2'/>", "<sm xmlns='urn:xmpp:sm:3'/>", "<fast xmlns='urn:xmpp:fast:0'>"} {
		if !strings.Contains(offer, want) {
			t.Errorf("%s is not offered in %s", want, offer)
		}
	}
	bind := "<bind xmlns='urn:xmpp:bind:0'><tag>Test</tag><enable xmlns='urn:xmpp:sm:3' resume='true'/><enable xmlns='urn:xmpp:carbons:2'/></bind>"
	c.Send(authenticate(bind + "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"))
	success := c.Expect("<success xmlns='urn:xmpp:sasl:2'><authorization-identifier/><bound xmlns='urn:xmpp:bind:0'><enabled xmlns='urn:xmpp:sm:3' id='*'/><done xmlns='urn:t'/></bound><token xmlns='urn:xmpp:fast:0' token='*'/></success>")
	c.Expect("<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>")
	c.JID = servertest.Address(t, success.ChildText("urn:xmpp:sasl:2", "authorization-identifier"))
	if !strings.HasPrefix(c.JID.Resource, "Test.") || s.Session(c.JID) == nil || <-asked != "enable romeo@example.org" {
		t.Errorf("bound to %s", c.JID)
	}
	c.Sendf("<message to='%s' id='1'><body>x</body></message>", c.JID)
	c.Expect("<message id='1'/>")
	c.Expect("<r " + smNS + "/>")
	id := success.Child("urn:xmpp:bind:0", "bound").Child(xmppstream.NSSM, "enabled").Attr("id")
	c.Cut()
	waitFor(t, "the session waits", s.Session(c.JID).Waiting)

	// One round trip to the old session.
	c2 := servertest.Connect(t, s, "example.org")
	c2.Send(authenticate("<resume xmlns='urn:xmpp:sm:3' previd='" + id + "' h='0'/>"))
	c2.Expect("<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>" + c.JID.String() + "</authorization-identifier><resumed xmlns='urn:xmpp:sm:3' h='1'/></success>")
	c2.Expect("<stream:features/>")
	c2.Expect("<message id='1'/>")

	// A resumption that fails, and a new session instead, which takes the place of the
	// same client's old one.
	c3 := servertest.Connect(t, s, "example.org")
	c3.Send(authenticate("<resume xmlns='urn:xmpp:sm:3' previd='nothing' h='0'/>" + bind))
	c3.Expect("<success xmlns='urn:xmpp:sasl:2'><failed xmlns='urn:xmpp:sm:3'/><bound xmlns='urn:xmpp:bind:0'/></success>")
	c3.Expect("<stream:features/>")
	c2.Expect("<r " + smNS + "/>")
	c2.ExpectStreamError("conflict")

	// Without anything inline a resource is bound as ever, without a new stream.
	c4 := servertest.Connect(t, s, "example.org")
	c4.Send(authenticate(""))
	c4.Expect("<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>romeo@example.org</authorization-identifier></success>")
	c4.Expect("<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>")
	c4.Bind("plain")
	c4.ExpectNothing()
}

// Too much that is not acknowledged ends the session; what it did not get goes on.
func TestUnackedLimit(t *testing.T) {
	kept := newShelf()
	s := servertest.NewWith(t, func(c *server.Config) { c.Limits.Unacked = 10 }, kept)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	juliet, _ := managed(t, s, "juliet@example.org/balcony")
	for i := range 12 {
		romeo.Sendf("<message to='juliet@example.org/balcony' id='%d' type='chat'><body>x</body></message>", i)
	}
	seen := map[string]bool{}
	for range 12 {
		seen[<-kept.kept] = true
	}
	for i := range 12 {
		if !seen[fmt.Sprint(i)] {
			t.Errorf("message %d is lost", i)
		}
	}
	for {
		n := juliet.Read()
		if n.Name == "error" {
			break
		}
	}
}
