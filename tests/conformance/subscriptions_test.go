package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"xmpp-gw/server"
	"xmpp-gw/server/store"
)

// The nine states of RFC 6121 §A.1 as the storage and a client know them.
type state struct {
	name    string
	sub     store.Subscription
	ask     bool
	request bool // waits for the owner
}

var (
	none             = state{"None", store.SubNone, false, false}
	nonePendingOut   = state{"None + Pending Out", store.SubNone, true, false}
	nonePendingIn    = state{"None + Pending In", store.SubNone, false, true}
	nonePendingOutIn = state{"None + Pending Out+In", store.SubNone, true, true}
	to               = state{"To", store.SubTo, false, false}
	toPendingIn      = state{"To + Pending In", store.SubTo, false, true}
	from             = state{"From", store.SubFrom, false, false}
	fromPendingOut   = state{"From + Pending Out", store.SubFrom, true, false}
	both             = state{"Both", store.SubBoth, false, false}
)

// What a row wants of the stanza: MUST and MUST NOT in the RFC's tables.
const (
	must    = true
	mustNot = false
)

type transition struct {
	section string
	typ     string
	before  state
	pass    bool // outbound: routed; inbound: delivered
	after   state
}

// RFC 6121 §A.2: stanzas that the owner's client sends.
var outboundTable = []transition{
	{"A.2.1", "subscribe", none, must, nonePendingOut},
	{"A.2.1", "subscribe", nonePendingOut, must, nonePendingOut},
	{"A.2.1", "subscribe", nonePendingIn, must, nonePendingOutIn},
	{"A.2.1", "subscribe", nonePendingOutIn, must, nonePendingOutIn},
	{"A.2.1", "subscribe", to, must, to},
	{"A.2.1", "subscribe", toPendingIn, must, toPendingIn},
	{"A.2.1", "subscribe", from, must, fromPendingOut},
	{"A.2.1", "subscribe", fromPendingOut, must, fromPendingOut},
	{"A.2.1", "subscribe", both, must, both},

	{"A.2.2", "unsubscribe", none, must, none},
	{"A.2.2", "unsubscribe", nonePendingOut, must, none},
	{"A.2.2", "unsubscribe", nonePendingIn, must, nonePendingIn},
	{"A.2.2", "unsubscribe", nonePendingOutIn, must, nonePendingIn},
	{"A.2.2", "unsubscribe", to, must, none},
	{"A.2.2", "unsubscribe", toPendingIn, must, nonePendingIn},
	{"A.2.2", "unsubscribe", from, must, from},
	{"A.2.2", "unsubscribe", fromPendingOut, must, from},
	{"A.2.2", "unsubscribe", both, must, from},

	{"A.2.3", "subscribed", none, mustNot, none}, // and a pre-approval, §3.4
	{"A.2.3", "subscribed", nonePendingOut, mustNot, nonePendingOut},
	{"A.2.3", "subscribed", nonePendingIn, must, from},
	{"A.2.3", "subscribed", nonePendingOutIn, must, fromPendingOut},
	{"A.2.3", "subscribed", to, mustNot, to},
	{"A.2.3", "subscribed", toPendingIn, must, both},
	{"A.2.3", "subscribed", from, mustNot, from},
	{"A.2.3", "subscribed", fromPendingOut, mustNot, fromPendingOut},
	{"A.2.3", "subscribed", both, mustNot, both},

	{"A.2.4", "unsubscribed", none, mustNot, none},
	{"A.2.4", "unsubscribed", nonePendingOut, mustNot, nonePendingOut},
	{"A.2.4", "unsubscribed", nonePendingIn, must, none},
	{"A.2.4", "unsubscribed", nonePendingOutIn, must, nonePendingOut},
	{"A.2.4", "unsubscribed", to, mustNot, to},
	{"A.2.4", "unsubscribed", toPendingIn, must, to},
	{"A.2.4", "unsubscribed", from, must, none},
	{"A.2.4", "unsubscribed", fromPendingOut, must, nonePendingOut},
	{"A.2.4", "unsubscribed", both, must, to},
}

// RFC 6121 §A.3: stanzas that come from the contact.
var inboundTable = []transition{
	{"A.3.1", "subscribe", none, must, nonePendingIn},
	{"A.3.1", "subscribe", nonePendingOut, must, nonePendingOutIn},
	{"A.3.1", "subscribe", nonePendingIn, mustNot, nonePendingIn},
	{"A.3.1", "subscribe", nonePendingOutIn, mustNot, nonePendingOutIn},
	{"A.3.1", "subscribe", to, must, toPendingIn},
	{"A.3.1", "subscribe", toPendingIn, mustNot, toPendingIn},
	{"A.3.1", "subscribe", from, mustNot, from}, // and answered "subscribed"
	{"A.3.1", "subscribe", fromPendingOut, mustNot, fromPendingOut},
	{"A.3.1", "subscribe", both, mustNot, both},

	{"A.3.2", "unsubscribe", none, mustNot, none},
	{"A.3.2", "unsubscribe", nonePendingOut, mustNot, nonePendingOut},
	{"A.3.2", "unsubscribe", nonePendingIn, must, none},
	{"A.3.2", "unsubscribe", nonePendingOutIn, must, nonePendingOut},
	{"A.3.2", "unsubscribe", to, mustNot, to},
	{"A.3.2", "unsubscribe", toPendingIn, must, to},
	{"A.3.2", "unsubscribe", from, must, none},
	{"A.3.2", "unsubscribe", fromPendingOut, must, nonePendingOut},
	{"A.3.2", "unsubscribe", both, must, to},

	{"A.3.3", "subscribed", none, mustNot, none},
	{"A.3.3", "subscribed", nonePendingOut, must, to},
	{"A.3.3", "subscribed", nonePendingIn, mustNot, nonePendingIn},
	{"A.3.3", "subscribed", nonePendingOutIn, must, toPendingIn},
	{"A.3.3", "subscribed", to, mustNot, to},
	{"A.3.3", "subscribed", toPendingIn, mustNot, toPendingIn},
	{"A.3.3", "subscribed", from, mustNot, from},
	{"A.3.3", "subscribed", fromPendingOut, must, both},
	{"A.3.3", "subscribed", both, mustNot, both},

	{"A.3.4", "unsubscribed", none, mustNot, none},
	{"A.3.4", "unsubscribed", nonePendingOut, must, none},
	{"A.3.4", "unsubscribed", nonePendingIn, mustNot, nonePendingIn},
	{"A.3.4", "unsubscribed", nonePendingOutIn, must, nonePendingIn},
	{"A.3.4", "unsubscribed", to, must, none},
	{"A.3.4", "unsubscribed", toPendingIn, must, nonePendingIn},
	{"A.3.4", "unsubscribed", from, mustNot, from},
	{"A.3.4", "unsubscribed", fromPendingOut, must, from},
	{"A.3.4", "unsubscribed", both, must, from},
}

// Each row is played by an account of its own.
func TestOutbound(t *testing.T) {
	w := newWorld(t)
	for i, r := range outboundTable {
		t.Run(fmt.Sprintf("%s %s in %s", r.section, r.typ, r.before.name), func(t *testing.T) {
			owner, contact := fmt.Sprint("owner", i), fmt.Sprint("contact", i)
			w.begin(t, owner, contact, r.before)
			c := w.online(t, owner, "r")
			w.routed.take()
			c.send(t, "<presence type='%s' to='%s/ignored'/>", r.typ, bare(contact))
			c.sync(t)
			var want []string
			if r.pass { // §3.1.2: between bare addresses
				want = []string{r.typ + " from " + bare(owner) + " to " + bare(contact)}
			}
			// What the contact's side answers by itself is not this table's.
			got := slices.DeleteFunc(w.routed.take(), func(s string) bool { return !strings.Contains(s, "from "+bare(owner)) })
			if !slices.Equal(got, want) {
				t.Errorf("routed: %q, want %q", got, want)
			}
			w.check(t, c, owner, contact, r)
			approved := w.item(t, owner, contact).Approved
			if want := r.typ == "subscribed" && !r.pass && r.after.sub&store.SubFrom == 0; approved != want { // §3.4.2
				t.Errorf("approved: %v, want %v", approved, want)
			}
		})
	}
}

func TestInbound(t *testing.T) {
	w := newWorld(t)
	for i, r := range inboundTable {
		t.Run(fmt.Sprintf("%s %s in %s", r.section, r.typ, r.before.name), func(t *testing.T) {
			owner, contact := fmt.Sprint("owner", i), fmt.Sprint("contact", i)
			w.begin(t, owner, contact, r.before)
			c := w.online(t, owner, "r")
			w.routed.take()
			err := w.srv.Route(t.Context(), server.NewPresence(addr(contact), addr(owner), r.typ, "", []byte("<status>row</status>")))
			if err != nil {
				t.Fatal(err)
			}
			c.sync(t)
			pattern := fmt.Sprintf("<presence from='%s' to='%s' type='%s'><status>row</status></presence>", bare(contact), bare(owner), r.typ)
			if got := c.find(t, pattern); got != r.pass {
				t.Errorf("delivered: %v, want %v", got, r.pass)
			}
			w.check(t, c, owner, contact, r)
			var want []string
			if r.typ == "subscribe" && r.before.sub&store.SubFrom != 0 { // §3.1.3
				want = []string{"subscribed from " + bare(owner) + " to " + bare(contact)}
			}
			got := slices.DeleteFunc(w.routed.take(), func(s string) bool { return !strings.Contains(s, "from "+bare(owner)) })
			if !slices.Equal(got, want) {
				t.Errorf("answered: %q, want %q", got, want)
			}
		})
	}
}

// begin makes two accounts, of which the owner stands so with the contact.
func (w *world) begin(t *testing.T, owner, contact string, s state) {
	t.Helper()
	w.account(t, owner)
	w.account(t, contact)
	it := store.RosterItem{Contact: addr(contact), Sub: s.sub, Ask: s.ask, InRoster: true}
	if s.request {
		it.Request = server.NewPresence(addr(contact), addr(owner), "subscribe", "").Standalone()
	}
	w.put(t, owner, it)
}

// check compares the state that was left in the storage, and what the client was
// pushed, with the row's.
func (w *world) check(t *testing.T, c *client, owner, contact string, r transition) {
	t.Helper()
	it := w.item(t, owner, contact)
	got := state{r.after.name, it.Sub, it.Ask, it.Request != nil}
	if got != r.after {
		t.Errorf("the state after it: %+v, want %+v", got, r.after)
	}
	name := [...]string{"none", "to", "from", "both"}[r.after.sub]
	ask := "-"
	if r.after.ask {
		ask = "subscribe"
	}
	push := fmt.Sprintf("<iq type='set'><query xmlns='jabber:iq:roster'><item jid='%s' subscription='%s' ask='%s'/></query></iq>", bare(contact), name, ask)
	changed := r.before.sub != r.after.sub || r.before.ask != r.after.ask || it.Approved
	if got := c.find(t, push); got != changed {
		t.Errorf("pushed: %v, want %v\n%s", got, changed, c.said())
	}
}
