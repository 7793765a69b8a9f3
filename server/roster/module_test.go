package roster_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

const get = "<query xmlns='jabber:iq:roster'/>"

func item(inner string) string {
	return "<query xmlns='jabber:iq:roster'>" + inner + "</query>"
}

// fill gives an account a roster of n contacts, who all see it and are seen.
func fill(t testing.TB, db store.Store, owner address.Address, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for part := range 50 { // at the same time, so that they share transactions
		wg.Go(func() {
			for i := part; i < n; i += 50 {
				it := store.RosterItem{
					Contact: address.Address{Local: fmt.Sprint("contact", i), Domain: "example.org"},
					Name:    fmt.Sprint("Contact number ", i), Groups: []string{"Friends"}, Sub: store.SubBoth, InRoster: true,
				}
				if _, err := db.PutRosterItem(context.Background(), owner, it, n); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A roster of 10,000 is had whole, and takes no more.
func TestLargeRoster(t *testing.T) {
	s := servertest.New(t, roster.New(roster.Limits{}))
	owner := s.Account(t, "juliet@example.org")
	fill(t, s.Store(), owner, 10000)
	begin := time.Now()
	c := servertest.Dial(t, s, "juliet@example.org/balcony")
	q := c.Request("get", "", get)
	c.Send("<presence/>")
	c.Expect("<presence from='juliet@example.org/balcony'/>")
	c.ExpectNothing()
	took := time.Since(begin)
	t.Logf("a login with a roster of 10,000 took %v", took)
	if len(q.Children) != 10000 {
		t.Fatalf("%d items", len(q.Children))
	}
	if took > 5*time.Second {
		t.Errorf("a login with a roster of 10,000 took %v", took)
	}
	if got := c.RequestError("set", "", item("<item jid='one.more@example.org'/>")); got != "resource-constraint" {
		t.Errorf("one more gets %s", got)
	}
	c.Send("<presence to='one.more@example.org' type='subscribe'/>")
	if n := c.Expect("<presence type='error'/>"); servertest.Condition(n) != "resource-constraint" {
		t.Errorf("one more gets %s", n.Append(nil))
	}
	c.ExpectNothing()
	if n := c.Request("get", "", "<query xmlns='jabber:iq:roster' ver='"+q.Attr("ver")+"'/>"); n != nil {
		t.Errorf("with the version: %d items", len(n.Children))
	}
}

// Requests are bounded in their rate, in their number, and in what they leave with
// somebody who never answers.
func TestRequestLimits(t *testing.T) {
	s := servertest.New(t, roster.New(roster.Limits{Burst: 5, Interval: time.Hour, Asking: 3, Waiting: 2}))
	juliet := s.Account(t, "juliet@example.org")
	for i := range 4 {
		c := servertest.Dial(t, s, fmt.Sprintf("stranger%d@example.net/x", i))
		c.Send("<presence to='juliet@example.org' type='subscribe'/>")
		c.ExpectNothing() // those beyond the limit learn nothing
	}
	r, err := s.Store().Roster(t.Context(), juliet)
	if err != nil || len(r.Items) != 2 {
		t.Errorf("%d requests wait for an account (%v)", len(r.Items), err)
	}

	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	conditions := func(send string, want ...string) {
		t.Helper()
		c.Send(send)
		for _, w := range want {
			n := c.Expect("<presence type='error'><error type='wait'/></presence>")
			if got := servertest.Condition(n); got != w {
				t.Errorf("%s gets %s, want %s", send, got, w)
			}
		}
		c.ExpectNothing()
	}
	for i := range 3 {
		conditions(fmt.Sprintf("<presence to='c%d@example.org' type='subscribe'/>", i))
	}
	conditions("<presence to='c3@example.org' type='subscribe'/>", "resource-constraint") // unanswered
	conditions("<presence to='c0@example.org' type='unsubscribe'/>")
	conditions("<presence to='c3@example.org' type='subscribe'/>")
	conditions("<presence to='c3@example.org' type='subscribe'/>", "resource-constraint") // too fast
}

// What is kept of a request that waits is bounded.
func TestLargeRequest(t *testing.T) {
	s := servertest.New(t, roster.New(roster.Limits{}))
	owner := s.Account(t, "juliet@example.org")
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	c.Send("<presence to='juliet@example.org' type='subscribe'><status>" + strings.Repeat("x", 10000) + "</status></presence>")
	c.ExpectNothing()
	r, err := s.Store().Roster(t.Context(), owner)
	if err != nil || len(r.Items) != 1 || len(r.Items[0].Request) > 1000 {
		t.Fatalf("kept: %.200v (%v)", r.Items, err)
	}
	j := servertest.Dial(t, s, "juliet@example.org/balcony")
	j.Send("<presence/>")
	j.ExpectAll("<presence/>", "<presence type='subscribe' from='romeo@example.org'/>")
}

func TestDirectedLimit(t *testing.T) {
	s := servertest.New(t, roster.New(roster.Limits{Directed: 2}))
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	for i := range 2 {
		c.Sendf("<presence to='room%d@example.org'/>", i)
		c.Sendf("<presence to='room%d@example.org'/>", i)
	}
	c.ExpectNothing()
	c.Send("<presence to='room2@example.org' id='p'/>")
	n := c.Expect("<presence type='error' id='p'/>")
	if servertest.Condition(n) != "resource-constraint" {
		t.Errorf("got %s", n.Append(nil))
	}
	c.Send("<presence to='room0@example.org' type='unavailable'/><presence to='room2@example.org'/>")
	c.ExpectNothing()
}

// Stanzas that make no sense get an error or nothing, and change nothing.
func TestBadPresence(t *testing.T) {
	s := servertest.New(t, roster.New(roster.Limits{}))
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	for _, r := range []struct{ stanza, want string }{
		{"<presence type='subscribe'/>", "bad-request"},
		{"<presence type='probe'/>", "bad-request"},
		{"<presence type='error'/>", ""},
		{"<presence type='nonsense' to='a@example.org'/>", "bad-request"},
		{"<presence type='subscribe' to='@'/>", "jid-malformed"},
		{"<presence type='subscribe' to='a@b@c'/>", "jid-malformed"},
		{"<presence type='subscribe' to='romeo@example.org'/>", ""}, // oneself
		{"<presence type='subscribed' to='romeo@example.org'/>", ""},
		{"<presence type='unsubscribe' to='never@example.org'/>", ""},
		{"<presence type='unsubscribed' to='never@example.org'/>", ""},
	} {
		c.Send(r.stanza)
		if r.want != "" {
			if n := c.Expect("<presence type='error'/>"); servertest.Condition(n) != r.want {
				t.Errorf("%s gets %s, want %s", r.stanza, n.Append(nil), r.want)
			}
		}
		c.ExpectNothing()
	}
	if q := c.Request("get", "", get); len(q.Children) != 0 {
		t.Errorf("the roster has %s", q.Append(nil))
	}
}

// Nobody's answer is an error although nobody is asked for it: that of an account
// that was never there leaves no trace.
func TestNobody(t *testing.T) {
	s := servertest.New(t, roster.New(roster.Limits{}))
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	c.Send("<presence to='nobody@example.org' type='subscribe'/>")
	c.ExpectNothing()
	r, err := s.Store().Roster(t.Context(), servertest.Address(t, "nobody@example.org"))
	if err != nil || len(r.Items) != 0 {
		t.Errorf("the roster of nobody: %v %v", r, err)
	}
}

// Many accounts do everything at once; in the end both sides of each pair agree.
func TestConcurrent(t *testing.T) {
	m := roster.New(roster.Limits{Burst: 100000, Idle: 20})
	s := servertest.New(t, m)
	const n = 4
	var clients [n][2]*servertest.Client
	for i := range n {
		for k := range 2 {
			clients[i][k] = servertest.Dial(t, s, fmt.Sprintf("a%d@example.org/r%d", i, k))
			clients[i][k].Send("<iq type='get' id='r'>" + get + "</iq>")
		}
	}
	types := []string{"subscribe", "subscribed", "unsubscribe", "unsubscribed", "subscribe", "subscribed"}
	var wg sync.WaitGroup
	for i := range n {
		for k := range 2 {
			c := clients[i][k]
			wg.Go(func() {
				var b strings.Builder
				for step := range 60 {
					to := (i + 1 + step%(n-1)) % n
					switch step % 5 {
					case 0:
						b.WriteString("<presence/>")
					case 1:
						fmt.Fprintf(&b, "<presence to='a%d@example.org/r%d'/>", to, k)
					case 2:
						fmt.Fprintf(&b, "<iq type='set' id='s'>%s</iq>", item(fmt.Sprintf("<item jid='a%d@example.org' name='%d'/>", to, step)))
					default:
						fmt.Fprintf(&b, "<presence type='%s' to='a%d@example.org'/>", types[(step+k)%len(types)], to)
					}
				}
				c.Send(b.String())
			})
			wg.Go(func() { // read, until the answer to what is asked below
				for {
					if q := c.Read(); q.Attr("id") == "end" {
						return
					}
				}
			})
		}
	}
	time.Sleep(200 * time.Millisecond)
	for i := range n {
		for k := range 2 {
			clients[i][k].Send("<iq type='get' id='end' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
		}
	}
	wg.Wait()
	for i := range n {
		owner := servertest.Address(t, fmt.Sprintf("a%d@example.org", i))
		r, err := s.Store().Roster(t.Context(), owner)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range r.Items {
			mine, err := m.State(t.Context(), owner, it.Contact)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := m.State(t.Context(), it.Contact, owner)
			if err != nil {
				t.Fatal(err)
			}
			if (mine&roster.To != 0) != (theirs&roster.From != 0) || (mine&roster.From != 0) != (theirs&roster.To != 0) {
				t.Errorf("%s stands at %s with %s, who stands at %s", owner, mine, it.Contact, theirs)
			}
			if store.Subscription(mine)&store.SubBoth != it.Sub || (mine&roster.PendingOut != 0) != it.Ask {
				t.Errorf("%s: %s in memory, %+v in the storage", owner, mine, it)
			}
		}
	}
}

// A login with a roster of 10,000 that is in memory, of whom nobody is there.
func BenchmarkLargeRoster(b *testing.B) {
	s := servertest.New(b, roster.New(roster.Limits{}))
	owner := s.Account(b, "juliet@example.org")
	fill(b, s.Store(), owner, 10000)
	login := func(b *testing.B, have string) {
		c := servertest.Dial(b, s, "juliet@example.org/r")
		c.Send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'" + have + "/></iq><presence/>")
		for {
			e, err := c.Next()
			if err != nil {
				b.Fatal(err)
			}
			if e.Kind == xmppstream.Stanza && e.Is(xmppstream.NSClient, "presence") {
				break
			}
		}
		c.Close()
		for len(s.Sessions(owner)) > 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			login(b, "")
		}
	})
	r, err := s.Store().Roster(b.Context(), owner)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("with its version", func(b *testing.B) {
		for b.Loop() {
			login(b, fmt.Sprintf(" ver='%d'", r.Version))
		}
	})
}

// A presence to 10,000 watchers, of whom ten are there.
func BenchmarkBroadcast(b *testing.B) {
	s := servertest.New(b, roster.New(roster.Limits{}))
	owner := s.Account(b, "juliet@example.org")
	fill(b, s.Store(), owner, 10000)
	for i := range 10 {
		c := servertest.Online(b, s, fmt.Sprintf("contact%d@example.org/r", i))
		go func() {
			for {
				if _, err := c.Next(); err != nil {
					return
				}
			}
		}()
	}
	c := servertest.Online(b, s, "juliet@example.org/r")
	for b.Loop() {
		c.Send("<presence/>")
		for {
			e, err := c.Next()
			if err != nil {
				b.Fatal(err)
			}
			if e.Is(xmppstream.NSClient, "presence") {
				break
			}
		}
	}
}

// Presence does not go to domains that nobody here can reach, and comes back from
// none of them; a request does, so that its sender knows.
func TestUnreachableDomains(t *testing.T) {
	m := roster.New(roster.Limits{})
	s := servertest.New(t, m)
	juliet := s.Account(t, "juliet@example.org")
	for _, contact := range []string{"romeo@example.com", "example.com"} {
		it := store.RosterItem{Contact: servertest.Address(t, contact), Sub: store.SubBoth, InRoster: true}
		if _, err := s.Store().PutRosterItem(t.Context(), juliet, it, 10); err != nil {
			t.Fatal(err)
		}
	}
	c := servertest.Dial(t, s, "juliet@example.org/balcony")
	c.Send("<presence/>")
	c.Expect("<presence from='juliet@example.org/balcony'/>")
	c.ExpectNothing()
	c.Send("<presence to='romeo@example.com' type='unsubscribed'/>")
	c.Expect("<presence type='error' from='romeo@example.com'/>")
	c.ExpectNothing()
	c.Send("<presence to='nurse@example.com' type='subscribe'/>")
	c.Expect("<presence type='error' from='nurse@example.com'><error><remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>")
	c.Send("<presence type='unavailable'/>")
	c.Expect("<presence from='juliet@example.org/balcony' type='unavailable'/>")
	c.ExpectNothing()
}

// ending ends a session while its presence is on its way.
type ending struct{}

func (ending) Name() string { return "ending" }

func (ending) Setup(r *server.Registry) error {
	r.Outbound(func(_ context.Context, s *server.Session, st *server.Stanza) (*server.Stanza, error) {
		if st.Kind == server.Presence && st.Has("urn:x", "x") {
			s.Close(nil)
		}
		return st, nil
	})
	return nil
}

// A session that has ended does not become available any more, for nobody would say
// that it is not.
func TestNoPresenceAfterTheEnd(t *testing.T) {
	m := roster.New(roster.Limits{})
	s := servertest.New(t, ending{}, m)
	for _, p := range [][2]string{{"juliet@example.org", "romeo@example.org"}, {"romeo@example.org", "juliet@example.org"}} {
		it := store.RosterItem{Contact: servertest.Address(t, p[1]), Sub: store.SubBoth, InRoster: true}
		if _, err := s.Store().PutRosterItem(t.Context(), s.Account(t, p[0]), it, 10); err != nil {
			t.Fatal(err)
		}
	}
	romeo := servertest.Online(t, s, "romeo@example.org/orchard")
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony")
	juliet.Send("<presence/>")
	romeo.Expect("<presence from='juliet@example.org/balcony'/>")
	juliet.Drain()
	juliet.Send("<presence><x xmlns='urn:x'/></presence>")
	juliet.ExpectEnd()
	romeo.Expect("<presence from='juliet@example.org/balcony' type='unavailable'/>")
	romeo.ExpectNothing()
}
