package roster

import "xmpp-gw/server/store"

// State is where an account stands with a contact (RFC 6121 §A.1), as bits. Of the
// sixteen combinations nine occur: who is subscribed to does not wait any more.
type State uint8

// The bits of a state. None of them is "None".
const (
	None       State = 0
	To         State = State(store.SubTo)   // the owner sees the contact's presence
	From       State = State(store.SubFrom) // the contact sees the owner's presence
	Both       State = To | From
	PendingOut State = 4 // the owner has asked the contact
	PendingIn  State = 8 // the contact has asked the owner
)

// String is the state's name in RFC 6121.
func (s State) String() string {
	name := [...]string{"None", "To", "From", "Both"}[s&Both]
	switch s &^ Both {
	case PendingOut:
		name += " + Pending Out"
	case PendingIn:
		name += " + Pending In"
	case PendingOut | PendingIn:
		name += " + Pending Out+In"
	}
	return name
}

// Step is what a subscription stanza does on one side: to the state that the account
// keeps, and to the stanza itself.
type Step struct {
	State State
	// Pass is whether the stanza goes on: outbound to the contact's server, inbound
	// to the owner's resources.
	Pass bool
	// Approve and Revoke note and cancel a pre-approval (RFC 6121 §3.4).
	Approve, Revoke bool
	// Reply is whether the server answers "subscribed" on the owner's behalf.
	Reply bool
}

// Outbound is what the owner's own stanza of this type does (RFC 6121 §A.2): subscribe,
// unsubscribe, subscribed or unsubscribed.
func Outbound(s State, typ string) Step {
	switch typ {
	case "subscribe": // §A.2.1: always routed, so that a lost state can be found again
		if s&To == 0 {
			s |= PendingOut
		}
		return Step{State: s, Pass: true}
	case "unsubscribe": // §A.2.2
		return Step{State: s &^ (To | PendingOut), Pass: true}
	case "subscribed": // §A.2.3
		switch {
		case s&PendingIn != 0:
			return Step{State: s&^PendingIn | From, Pass: true}
		case s&From == 0:
			return Step{State: s, Approve: true}
		}
	case "unsubscribed": // §A.2.4
		return Step{State: s &^ (From | PendingIn), Pass: s&(From|PendingIn) != 0, Revoke: true}
	}
	return Step{State: s}
}

// Inbound is what a contact's stanza of this type does (RFC 6121 §A.3); approved says
// whether the owner has approved the contact before it asked.
func Inbound(s State, typ string, approved bool) Step {
	switch typ {
	case "subscribe": // §A.3.1
		switch {
		case s&From != 0:
			return Step{State: s, Reply: true}
		case approved: // §3.4.2
			return Step{State: s&^PendingIn | From, Reply: true}
		}
		return Step{State: s | PendingIn, Pass: s&PendingIn == 0}
	case "unsubscribe": // §A.3.2
		return Step{State: s &^ (From | PendingIn), Pass: s&(From|PendingIn) != 0}
	case "subscribed": // §A.3.3
		if s&PendingOut != 0 {
			return Step{State: s&^PendingOut | To, Pass: true}
		}
	case "unsubscribed": // §A.3.4
		return Step{State: s &^ (To | PendingOut), Pass: s&(To|PendingOut) != 0}
	}
	return Step{State: s}
}

// isSubscription reports whether a presence of this type manages subscriptions.
func isSubscription(typ string) bool {
	switch typ {
	case "subscribe", "unsubscribe", "subscribed", "unsubscribed":
		return true
	}
	return false
}

// stateOf is the state that a stored item stands for.
func stateOf(it *store.RosterItem) State {
	s := State(it.Sub)
	if it.Ask {
		s |= PendingOut
	}
	if it.Request != nil {
		s |= PendingIn
	}
	return s
}

// setState writes a state into an item. request is kept while the contact waits.
func setState(it *store.RosterItem, s State, request []byte) {
	it.Sub = store.Subscription(s & Both)
	it.Ask = s&PendingOut != 0
	switch {
	case s&PendingIn == 0:
		it.Request = nil
	case it.Request == nil:
		it.Request = request
	}
}
