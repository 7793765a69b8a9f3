// Package conformance holds the tables of RFC 6121 as tests: what the server does
// with every subscription stanza in every state (appendix A), with every message,
// presence and IQ to every kind of address (§8), and what it tells whom about
// rosters and presence (§2 to §4). Each row names its section.
//
// The tests speak to the whole server as clients do.
package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/standard"
	"xmpp-gw/server/store"
)

const domain = "example.org"

func bare(local string) string { return local + "@" + domain }

func addr(local string) address.Address { return address.Address{Local: local, Domain: domain} }

// world is a server and who is there.
type world struct {
	t      testing.TB
	srv    *servertest.Server
	roster *roster.Module
	routed *tap
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, routed: &tap{}}
	modules := standard.Modules(db, standard.Options{})
	for _, m := range modules {
		if r, ok := m.(*roster.Module); ok {
			w.roster = r
		}
	}
	w.srv = servertest.NewWith(t, func(c *server.Config) { c.Store = db }, append([]server.Module{w.routed}, modules...)...)
	return w
}

// tap sees the subscription stanzas that are routed to accounts.
type tap struct {
	mu   sync.Mutex
	seen []string
}

func (*tap) Name() string { return "tap" }

func (p *tap) Setup(r *server.Registry) error {
	r.Inbound(func(_ context.Context, owner address.Address, st *server.Stanza) (*server.Stanza, error) {
		if st.Kind == server.Presence && strings.Contains(st.Type, "subscribe") {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.seen = append(p.seen, fmt.Sprintf("%s from %s to %s", st.Type, st.From, st.To))
		}
		return st, nil
	})
	return nil
}

// take gives what was seen since the last call.
func (p *tap) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

func (w *world) account(t testing.TB, local string) { w.srv.Account(t, bare(local)) }

// login is a session without presence.
func (w *world) login(local, resource string) *client {
	return &client{Client: servertest.Dial(w.t, w.srv, bare(local)+"/"+resource), jid: bare(local) + "/" + resource}
}

// online is a session that has asked for the roster and sent presence.
func (w *world) online(t testing.TB, local, resource string) *client {
	t.Helper()
	c := w.login(local, resource)
	c.send(t, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>")
	c.sync(t)
	return c
}

// arrive is the sessions of this kind (see sessions), by their names.
func (w *world) arrive(t testing.TB, local, kinds string) map[string]*client {
	t.Helper()
	there := map[string]*client{}
	for _, kind := range strings.Fields(kinds) {
		c := w.login(local, kind)
		c.send(t, "%s", sessions[kind])
		c.sync(t)
		there[kind] = c
	}
	for _, c := range there {
		c.sync(t)
	}
	return there
}

// befriend writes a subscription into both rosters; sub is as the first has it.
func (w *world) befriend(t testing.TB, a, b string, sub store.Subscription) {
	t.Helper()
	mirrored := sub&store.SubTo<<1 | sub&store.SubFrom>>1
	w.account(t, a)
	w.account(t, b)
	w.put(t, a, store.RosterItem{Contact: addr(b), Sub: sub, InRoster: true})
	w.put(t, b, store.RosterItem{Contact: addr(a), Sub: mirrored, InRoster: true})
}

func (w *world) put(t testing.TB, owner string, it store.RosterItem) {
	t.Helper()
	if _, err := w.srv.Store().PutRosterItem(t.Context(), addr(owner), it, 1000); err != nil {
		t.Fatal(err)
	}
	if err := w.roster.Reload(t.Context(), addr(owner)); err != nil {
		t.Fatal(err)
	}
}

// item is what the storage has of a contact, a zero item for nothing.
func (w *world) item(t testing.TB, owner, contact string) store.RosterItem {
	t.Helper()
	r, err := w.srv.Store().Roster(t.Context(), addr(owner))
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range r.Items {
		if it.Contact == addr(contact) {
			return it
		}
	}
	return store.RosterItem{}
}

// waiting is how many messages wait for an account.
func (w *world) waiting(t testing.TB, local string) int {
	t.Helper()
	n, err := w.srv.Store().CountOffline(t.Context(), addr(local))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// client is a session, and what it was sent.
type client struct {
	*servertest.Client
	jid  string
	n    int
	last []*xmppstream.Node
}

func (c *client) send(t testing.TB, format string, args ...any) {
	t.Helper()
	c.T = t
	c.Sendf(format, args...)
}

// sync gives what came since the last call, when the server has dealt with all that
// this client has sent.
func (c *client) sync(t testing.TB) []*xmppstream.Node {
	t.Helper()
	c.n++
	id := fmt.Sprint("sync-", c.n)
	c.send(t, "<iq type='get' id='%s' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>", id, domain)
	c.last = nil
	for {
		n := c.Read()
		if n.Name == "iq" && n.Attr("id") == id {
			return c.last
		}
		c.last = append(c.last, n)
	}
}

func syncAll(t testing.TB, all ...*client) {
	t.Helper()
	for _, c := range all {
		c.sync(t)
	}
}

// wants looks for a stanza (see [servertest.Matches]) among those that came since
// the last sync.
func (c *client) wants(t testing.TB, pattern string, args ...any) {
	t.Helper()
	c.sync(t)
	c.has(t, pattern, args...)
}

// has looks among those of the last sync.
func (c *client) has(t testing.TB, pattern string, args ...any) {
	t.Helper()
	if p := fmt.Sprintf(pattern, args...); !c.find(t, p) {
		t.Errorf("%s got no %s, but\n%s", c.jid, p, c.said())
	}
}

// lacks is the opposite of has.
func (c *client) lacks(t testing.TB, pattern string, args ...any) {
	t.Helper()
	if p := fmt.Sprintf(pattern, args...); c.find(t, p) {
		t.Errorf("%s got %s", c.jid, p)
	}
}

// eventually waits for what another goroutine of the server does.
func (c *client) eventually(t testing.TB, pattern string, args ...any) {
	t.Helper()
	p := fmt.Sprintf(pattern, args...)
	var all []*xmppstream.Node
	for range 500 {
		c.sync(t)
		if c.find(t, p) {
			return
		}
		all = append(all, c.last...)
		time.Sleep(10 * time.Millisecond)
	}
	c.last = all
	t.Errorf("%s got no %s, but\n%s", c.jid, p, c.said())
}

// quiet makes sure that nothing came since the last sync.
func (c *client) quiet(t testing.TB) {
	t.Helper()
	if c.sync(t); len(c.last) > 0 {
		t.Errorf("%s got\n%s", c.jid, c.said())
	}
}

func (c *client) find(t testing.TB, pattern string) bool {
	t.Helper()
	e, err := xmppstream.ParseElement([]byte(pattern), xmppstream.SessionLimits())
	if err != nil {
		t.Fatalf("the pattern %s: %v", pattern, err)
	}
	p, err := e.Node()
	if err != nil {
		t.Fatalf("the pattern %s: %v", pattern, err)
	}
	return slices.ContainsFunc(c.last, func(n *xmppstream.Node) bool { return servertest.Matches(n, p) })
}

func (c *client) said() string {
	var b []byte
	for _, n := range c.last {
		b = append(n.Append(append(b, "  "...)), '\n')
	}
	return string(b)
}

func condition(n *xmppstream.Node) string { return servertest.Condition(n) }
