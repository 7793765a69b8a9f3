package roster

import (
	"testing"

	"xmpp-gw/server/store"
)

const (
	nonePendingOut   = None | PendingOut
	nonePendingIn    = None | PendingIn
	nonePendingOutIn = None | PendingOut | PendingIn
	toPendingIn      = To | PendingIn
	fromPendingOut   = From | PendingOut
)

// The tables of RFC 6121 §A.2 and §A.3, row by row, written down from the text and not
// from the code. A row is: the state before, what is done, the state after.
var (
	pass  = Step{Pass: true}
	stop  = Step{}
	early = Step{Approve: true}            // §A.2.3 note 1: noted, not routed
	deny  = Step{Pass: true, Revoke: true} // §A.2.4
	quiet = Step{Revoke: true}             // §A.2.4 note 1: can cancel a pre-approval
	reply = Step{Reply: true}              // §A.3.1 note 2: answered by the server
)

type row struct {
	before State
	do     Step
	after  State
}

var outbound = map[string][]row{
	"subscribe": { // §A.2.1
		{None, pass, nonePendingOut},
		{nonePendingOut, pass, nonePendingOut},
		{nonePendingIn, pass, nonePendingOutIn},
		{nonePendingOutIn, pass, nonePendingOutIn},
		{To, pass, To},
		{toPendingIn, pass, toPendingIn},
		{From, pass, fromPendingOut},
		{fromPendingOut, pass, fromPendingOut},
		{Both, pass, Both},
	},
	"unsubscribe": { // §A.2.2
		{None, pass, None},
		{nonePendingOut, pass, None},
		{nonePendingIn, pass, nonePendingIn},
		{nonePendingOutIn, pass, nonePendingIn},
		{To, pass, None},
		{toPendingIn, pass, nonePendingIn},
		{From, pass, From},
		{fromPendingOut, pass, From},
		{Both, pass, From},
	},
	"subscribed": { // §A.2.3
		{None, early, None},
		{nonePendingOut, early, nonePendingOut},
		{nonePendingIn, pass, From},
		{nonePendingOutIn, pass, fromPendingOut},
		{To, early, To},
		{toPendingIn, pass, Both},
		{From, stop, From},
		{fromPendingOut, stop, fromPendingOut},
		{Both, stop, Both},
	},
	"unsubscribed": { // §A.2.4
		{None, quiet, None},
		{nonePendingOut, quiet, nonePendingOut},
		{nonePendingIn, deny, None},
		{nonePendingOutIn, deny, nonePendingOut},
		{To, quiet, To},
		{toPendingIn, deny, To},
		{From, deny, None},
		{fromPendingOut, deny, nonePendingOut},
		{Both, deny, To},
	},
}

var inbound = map[string][]row{
	"subscribe": { // §A.3.1
		{None, pass, nonePendingIn},
		{nonePendingOut, pass, nonePendingOutIn},
		{nonePendingIn, stop, nonePendingIn},
		{nonePendingOutIn, stop, nonePendingOutIn},
		{To, pass, toPendingIn},
		{toPendingIn, stop, toPendingIn},
		{From, reply, From},
		{fromPendingOut, reply, fromPendingOut},
		{Both, reply, Both},
	},
	"unsubscribe": { // §A.3.2
		{None, stop, None},
		{nonePendingOut, stop, nonePendingOut},
		{nonePendingIn, pass, None},
		{nonePendingOutIn, pass, nonePendingOut},
		{To, stop, To},
		{toPendingIn, pass, To},
		{From, pass, None},
		{fromPendingOut, pass, nonePendingOut},
		{Both, pass, To},
	},
	"subscribed": { // §A.3.3
		{None, stop, None},
		{nonePendingOut, pass, To},
		{nonePendingIn, stop, nonePendingIn},
		{nonePendingOutIn, pass, toPendingIn},
		{To, stop, To},
		{toPendingIn, stop, toPendingIn},
		{From, stop, From},
		{fromPendingOut, pass, Both},
		{Both, stop, Both},
	},
	"unsubscribed": { // §A.3.4
		{None, stop, None},
		{nonePendingOut, pass, None},
		{nonePendingIn, stop, nonePendingIn},
		{nonePendingOutIn, pass, nonePendingIn},
		{To, pass, None},
		{toPendingIn, pass, nonePendingIn},
		{From, stop, From},
		{fromPendingOut, pass, From},
		{Both, pass, From},
	},
}

// With a pre-approval the server answers in the owner's place (§3.4.2).
var approved = []row{
	{None, reply, From},
	{nonePendingOut, reply, fromPendingOut},
	{To, reply, Both},
	{From, reply, From},
	{fromPendingOut, reply, fromPendingOut},
	{Both, reply, Both},
}

func TestSubscriptionTables(t *testing.T) {
	check := func(table, typ string, rows []row, step func(State) Step, want int) {
		t.Helper()
		seen := map[State]bool{}
		for _, r := range rows {
			seen[r.before] = true
			want := r.do
			want.State = r.after
			if got := step(r.before); got != want {
				t.Errorf("%s %s in %s: %+v, want %+v", table, typ, r.before, got, want)
			}
		}
		if len(seen) != want {
			t.Errorf("%s %s: %d states are in the table, want %d", table, typ, len(seen), want)
		}
	}
	for _, typ := range []string{"subscribe", "unsubscribe", "subscribed", "unsubscribed"} {
		check("outbound", typ, outbound[typ], func(s State) Step { return Outbound(s, typ) }, 9)
		check("inbound", typ, inbound[typ], func(s State) Step { return Inbound(s, typ, false) }, 9)
	}
	check("inbound, approved,", "subscribe", approved, func(s State) Step { return Inbound(s, "subscribe", true) }, 6)
	for _, typ := range []string{"", "unavailable", "probe", "error"} {
		check("outbound", typ, []row{{Both, stop, Both}}, func(s State) Step { return Outbound(s, typ) }, 1)
		check("inbound", typ, []row{{Both, stop, Both}}, func(s State) Step { return Inbound(s, typ, true) }, 1)
	}
}

// What is written into an item is read out of it again, and only the nine states occur.
func TestStateRoundTrip(t *testing.T) {
	names := map[State]string{
		None: "None", nonePendingOut: "None + Pending Out", nonePendingIn: "None + Pending In",
		nonePendingOutIn: "None + Pending Out+In", To: "To", toPendingIn: "To + Pending In",
		From: "From", fromPendingOut: "From + Pending Out", Both: "Both",
	}
	for before, name := range names {
		if before.String() != name {
			t.Errorf("%d is called %s, want %s", before, before, name)
		}
		it := itemIn(before)
		if got := stateOf(&it); got != before {
			t.Errorf("%s became %s", before, got)
		}
		for _, typ := range []string{"subscribe", "unsubscribe", "subscribed", "unsubscribed"} {
			for _, after := range []State{Outbound(before, typ).State, Inbound(before, typ, false).State, Inbound(before, typ, true).State} {
				if names[after] == "" {
					t.Errorf("%s and %s lead to %s, which is none of the nine states", before, typ, after)
				}
			}
		}
	}
}

func itemIn(s State) (it store.RosterItem) {
	setState(&it, s, []byte("<presence/>"))
	return it
}
