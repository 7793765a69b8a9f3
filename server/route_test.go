package server_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/servertest"
)

// module is one that a test makes of a function.
type module func(r *server.Registry)

func (module) Name() string                     { return "test" }
func (m module) Setup(r *server.Registry) error { m(r); return nil }

// shelf takes what no session takes, and remembers it.
type shelf struct{ kept chan string }

func newShelf() *shelf { return &shelf{make(chan string, 10000)} }

func (*shelf) Name() string { return "shelf" }
func (s *shelf) Setup(r *server.Registry) error {
	r.Undelivered(func(_ context.Context, owner address.Address, st *server.Stanza) (bool, error) {
		s.kept <- st.ID
		return true, nil
	})
	return nil
}

// The tables of RFC 6121 §8.5: what becomes of a message, by where it goes, by its
// type, and by the sessions that its addressee has. D: delivered to that session,
// O: kept offline, E: an error, S: silence. Digits name the sessions that get it.
func TestMessageTables(t *testing.T) {
	types := []string{"normal", "chat", "groupchat", "headline", "error"}
	for _, row := range []struct {
		name       string
		priorities []int // of the sessions 1, 2 …; 1000: no presence
		to         string
		want       [5]string // by type
	}{
		{"no account, bare", nil, "nobody@example.org", [5]string{"E", "E", "E", "S", "S"}},
		{"no account, full", nil, "nobody@example.org/x", [5]string{"E", "E", "E", "S", "S"}},
		{"no session, bare", nil, "juliet@example.org", [5]string{"O", "O", "E", "S", "S"}},
		{"no session, full", nil, "juliet@example.org/1", [5]string{"E", "O", "E", "S", "S"}},
		{"not available, bare", []int{1000}, "juliet@example.org", [5]string{"O", "O", "E", "S", "S"}},
		{"not available, full", []int{1000}, "juliet@example.org/1", [5]string{"1", "1", "1", "1", "1"}},
		{"negative, bare", []int{-1}, "juliet@example.org", [5]string{"O", "O", "E", "S", "S"}},
		{"negative, full match", []int{-1}, "juliet@example.org/1", [5]string{"1", "1", "1", "1", "1"}},
		{"negative, full no match", []int{-1}, "juliet@example.org/x", [5]string{"E", "O", "E", "S", "S"}},
		{"one, bare", []int{0}, "juliet@example.org", [5]string{"1", "1", "E", "1", "S"}},
		{"one, full match", []int{0}, "juliet@example.org/1", [5]string{"1", "1", "1", "1", "1"}},
		{"one, full no match", []int{0}, "juliet@example.org/x", [5]string{"E", "1", "E", "S", "S"}},
		{"more, bare", []int{5, -1, 0, 5}, "juliet@example.org", [5]string{"14", "14", "E", "134", "S"}},
		{"more, full match", []int{5, -1, 0}, "juliet@example.org/3", [5]string{"3", "3", "3", "3", "3"}},
		{"more, full no match", []int{5, -1, 0}, "juliet@example.org/x", [5]string{"E", "1", "E", "S", "S"}},
		{"the domain", nil, "example.org", [5]string{"E", "E", "E", "E", "S"}},
		{"a resource of the domain", nil, "example.org/x", [5]string{"E", "E", "E", "E", "S"}},
		{"another server", nil, "juliet@example.com", [5]string{"E", "E", "E", "E", "S"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			kept := newShelf()
			s := servertest.New(t, kept)
			romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
			s.Account(t, "juliet@example.org")
			var sessions []*servertest.Client
			for i, p := range row.priorities {
				c := servertest.Dial(t, s, fmt.Sprintf("juliet@example.org/%d", i+1))
				if p != 1000 {
					c.Sendf("<presence><priority>%d</priority></presence>", p)
					c.Drain()
				}
				sessions = append(sessions, c)
			}
			for i, typ := range types {
				romeo.Sendf("<message to='%s' type='%s' id='m%d'><body>x</body></message>", row.to, typ, i)
				got := ""
				romeo.Send("<iq type='get' id='end' to='example.org'><x xmlns='urn:x'/></iq>")
				for {
					n := romeo.Read()
					if n.Name == "iq" {
						break
					}
					if n.Attr("type") != "error" || n.Attr("id") != fmt.Sprintf("m%d", i) || n.Attr("from") != row.to {
						t.Fatalf("%s: the sender got %s", typ, n.Append(nil))
					}
					got += "E"
				}
				for k, c := range sessions {
					c.Send("<iq type='get' id='end' to='example.org'><x xmlns='urn:x'/></iq>")
					for {
						n := c.Read()
						if n.Name == "iq" {
							break
						}
						if n.Attr("id") != fmt.Sprintf("m%d", i) || n.Attr("from") != "romeo@example.org/orchard" {
							t.Fatalf("%s: session %d got %s", typ, k+1, n.Append(nil))
						}
						got += fmt.Sprint(k + 1)
					}
				}
				select {
				case <-kept.kept:
					got += "O"
				default:
				}
				if got == "" {
					got = "S"
				}
				if got != row.want[i] {
					t.Errorf("%s: %s, want %s", typ, got, row.want[i])
				}
			}
		})
	}
}

// IQs (RFC 6120 §8.2.3, RFC 6121 §8.5).
func TestIQs(t *testing.T) {
	s := servertest.New(t, module(func(r *server.Registry) {
		r.IQ(server.AtServer|server.AtAccount, "urn:echo", "echo", func(_ context.Context, q *server.IQ) ([]byte, error) {
			switch {
			case q.Payload.Attr("fail") == "stanza":
				return nil, server.ErrForbidden.Because("no")
			case q.Payload.Attr("fail") != "":
				return nil, errors.New("a disk is full")
			}
			return []byte(fmt.Sprintf("<echo xmlns='urn:echo' own='%v' owner='%s'/>", q.Own(), q.Owner)), nil
		})
	}))
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
	fault := func(typ, condition string) string {
		return "<iq type='error' id='*'><error type='" + typ + "'><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
	}
	for _, c := range []struct{ name, sent, want string }{
		{"own account", "<iq type='get' id='1'><echo xmlns='urn:echo'/></iq>",
			"<iq type='result' id='1' to='romeo@example.org/orchard' from='-'><echo xmlns='urn:echo' own='true' owner='romeo@example.org'/></iq>"},
		{"own account by name", "<iq type='get' id='1' to='romeo@example.org'><echo xmlns='urn:echo'/></iq>",
			"<iq type='result' id='1' from='romeo@example.org'><echo xmlns='urn:echo' own='true'/></iq>"},
		{"another's account", "<iq type='get' id='1' to='juliet@example.org'><echo xmlns='urn:echo'/></iq>",
			"<iq type='result' id='1' from='juliet@example.org'><echo xmlns='urn:echo' own='false' owner='juliet@example.org'/></iq>"},
		{"the server", "<iq type='set' id='1' to='example.org'><echo xmlns='urn:echo'/></iq>",
			"<iq type='result' id='1' from='example.org'><echo xmlns='urn:echo' own='false'/></iq>"},
		{"a handler's refusal", "<iq type='get' id='1'><echo xmlns='urn:echo' fail='stanza'/></iq>", fault("auth", "forbidden")},
		{"a handler's failure", "<iq type='get' id='1'><echo xmlns='urn:echo' fail='x'/></iq>", fault("cancel", "internal-server-error")},
		{"nobody's account", "<iq type='get' id='1' to='nobody@example.org'><echo xmlns='urn:echo'/></iq>", fault("cancel", "service-unavailable")},
		{"unknown to the account", "<iq type='get' id='1'><x xmlns='urn:x'/></iq>", fault("cancel", "service-unavailable")},
		{"unknown to the server", "<iq type='get' id='1' to='example.org'><x xmlns='urn:x'/></iq>", fault("cancel", "service-unavailable")},
		{"no such session", "<iq type='get' id='1' to='juliet@example.org/tomb'><x xmlns='urn:x'/></iq>", fault("cancel", "service-unavailable")},
		{"another server", "<iq type='get' id='1' to='example.com'><x xmlns='urn:x'/></iq>", fault("cancel", "remote-server-not-found")},
		{"no id", "<iq type='get'><x xmlns='urn:x'/></iq>",
			"<iq type='error'><error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"},
		{"no type", "<iq id='1'><x xmlns='urn:x'/></iq>", fault("modify", "bad-request")},
		{"unknown type", "<iq type='give' id='1'><x xmlns='urn:x'/></iq>", fault("modify", "bad-request")},
		{"no child", "<iq type='get' id='1'/>", fault("modify", "bad-request")},
		{"two children", "<iq type='set' id='1'><x xmlns='urn:x'/><y xmlns='urn:x'/></iq>", fault("modify", "bad-request")},
		{"a bad address", "<iq type='get' id='1' to='@'><x xmlns='urn:x'/></iq>", fault("modify", "jid-malformed")},
		{"a bad address, too long", "<iq type='get' id='1' to='" + longAddress + "'><x xmlns='urn:x'/></iq>", fault("modify", "jid-malformed")},
		{"a message to a bad address", "<message id='1' to='a@@b'><body/></message>",
			"<message type='error' id='1'><error type='modify'><jid-malformed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"},
		{"an unknown presence", "<presence id='1' type='here'/>",
			"<presence type='error' id='1'><error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			romeo.T = t
			romeo.Send(c.sent)
			romeo.Expect(c.want)
		})
	}
	romeo.T = t
	// Nothing is answered twice, and no answer is answered.
	romeo.Send("<iq type='result' id='1' to='example.org'/><iq type='error' id='2' to='juliet@example.org'/>" +
		"<iq type='result' id='3' to='juliet@example.org/tomb'/><iq type='result' id='4' to='example.com'/><iq type='result' id='4' to='@'/>" +
		"<iq type='result' id='5'><a xmlns='urn:a'/><b xmlns='urn:a'/></iq><message type='error' to='nobody@example.org'/><message type='error' to='@'/>")
	romeo.ExpectNothing()
	romeo.Send("<iq type='get' id='q' to='juliet@example.org/balcony'><x xmlns='urn:x'/></iq>")
	juliet.Expect("<iq type='get' id='q' from='romeo@example.org/orchard'><x xmlns='urn:x'/></iq>")
	juliet.Send("<iq type='result' id='q' to='romeo@example.org/orchard'/>")
	romeo.Expect("<iq type='result' id='q' from='juliet@example.org/balcony'/>")
}

var longAddress = func() string {
	b := make([]byte, 2000)
	for i := range b {
		b[i] = 'a'
	}
	return string(b) + "@example.org"
}()

// Hooks are called in their order and can change, end and refuse a stanza.
func TestHooks(t *testing.T) {
	log := make(chan string, 100)
	var slot server.SessionSlot[string]
	s := servertest.New(t, module(func(r *server.Registry) {
		slot = server.NewSessionSlot[string](r)
		r.Bound(func(_ context.Context, s *server.Session) error {
			name := s.JID().Resource
			slot.Set(s, &name)
			log <- "bound " + name
			return nil
		})
		r.Unbound(func(_ context.Context, s *server.Session) { log <- "unbound " + *slot.Get(s) })
		r.Outbound(func(_ context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
			switch {
			case st.Has("urn:t", "drop"):
				return nil, nil
			case st.Has("urn:t", "refuse"):
				return nil, server.ErrPolicyViolation
			}
			return st.Without(func(space, name string, _ []byte) bool { return space == "urn:t" && name == "secret" }), nil
		})
		r.Inbound(func(_ context.Context, owner address.Address, st *server.Stanza) (*server.Stanza, error) {
			return st.With([]byte("<seen xmlns='urn:t' by='" + owner.String() + "'/>")), nil
		})
		r.Delivered(func(_ context.Context, owner address.Address, st *server.Stanza, to []*server.Session) {
			log <- fmt.Sprintf("delivered %s to %d", st.ID, len(to))
		})
		r.Queue(func(s *server.Session, st *server.Stanza) server.Disposition {
			switch {
			case st.Has("urn:t", "later"):
				return server.QueueHeld
			case st.Has("urn:t", "never"):
				return server.QueueDrop
			}
			return server.QueueNow
		})
	}))
	expect := func(want string) {
		t.Helper()
		if got := <-log; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	expect("bound orchard")
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
	expect("bound balcony")
	send := func(id, child string) {
		romeo.Sendf("<message to='juliet@example.org/balcony' id='%s'><body>x</body>%s</message>", id, child)
	}
	send("1", "<secret xmlns='urn:t'/>")
	n := juliet.Expect("<message id='1'><body>x</body><seen xmlns='urn:t' by='juliet@example.org'/></message>")
	if n.Child("urn:t", "secret") != nil {
		t.Error("a child that was cut out arrived")
	}
	expect("delivered 1 to 1")
	send("2", "<drop xmlns='urn:t'/>")
	romeo.ExpectNothing()
	send("3", "<refuse xmlns='urn:t'/>")
	romeo.Expect("<message type='error' id='3'><error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
	send("4", "<never xmlns='urn:t'/>")
	expect("delivered 4 to 1")
	send("5", "<later xmlns='urn:t'/>")
	expect("delivered 5 to 1")
	send("6", "")
	juliet.Expect("<message id='5'/>")
	juliet.Expect("<message id='6'/>")
	expect("delivered 6 to 1")
	send("7", "<later xmlns='urn:t'/>")
	expect("delivered 7 to 1")
	s.Session(juliet.JID).ReleaseHeld()
	juliet.Expect("<message id='7'/>")
	romeo.Close()
	expect("unbound orchard")
}

func TestAsk(t *testing.T) {
	s := servertest.New(t)
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
	answers := make(chan *server.Stanza, 3)
	ask := func(id, to string) {
		s.Ask(t.Context(), server.NewIQ(servertest.Address(t, "example.org"), servertest.Address(t, to), "get", id, []byte("<x xmlns='urn:x'/>")),
			300e6, func(st *server.Stanza) { answers <- st })
	}
	ask("1", "juliet@example.org/balcony")
	juliet.Expect("<iq type='get' id='1' from='example.org'><x xmlns='urn:x'/></iq>")
	juliet.Send("<iq type='result' id='other' to='example.org'/><iq type='result' id='1' to='example.org'><y xmlns='urn:x'/></iq>")
	if st := <-answers; st == nil || !st.Has("urn:x", "y") {
		t.Errorf("the answer is %v", st)
	}
	ask("2", "juliet@example.org/tomb")
	if st := <-answers; st == nil || st.Type != "error" {
		t.Errorf("the answer of nobody is %v", st)
	}
	ask("3", "juliet@example.org/balcony")
	if st := <-answers; st != nil {
		t.Errorf("silence is %v", st)
	}
}
