package admin

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/dataform"
	"xmpp-gw/server/store"
)

// ended is what clients are told whose session an administrator ends.
var ended = &xmppstream.Error{Condition: xmppstream.PolicyViolation, Text: "An administrator ended the session."}

// group is the users of a kind: they can be counted and listed.
type group struct {
	name, listNode string
	count, jids    string // names of fields
	// each calls f with the users of a domain until it says no.
	each func(ctx context.Context, domain string, f func(address.Address) bool) error
}

// groups are those of XEP-0133 §4.13-§4.22.
func (m *module) groups() []group {
	online := func(want func(*server.Session) bool) func(context.Context, string, func(address.Address) bool) error {
		return func(_ context.Context, domain string, f func(address.Address) bool) error {
			m.online(domain, want, f)
			return nil
		}
	}
	return []group{
		{"registered", "get-registered-users-list", "registeredusersnum", "registereduserjids", m.accounts(func(store.Account) bool { return true })},
		{"disabled", "get-disabled-users-list", "disabledusersnum", "disableduserjids", m.accounts(func(a store.Account) bool { return a.Disabled })},
		{"online", "get-online-users-list", "onlineusersnum", "onlineuserjids", online(nil)},
		{"active", "get-active-users", "activeusersnum", "activeuserjids", online(active)},
		{"idle", "get-idle-users", "idleusersnum", "idleuserjids", online(func(s *server.Session) bool { return !active(s) })},
	}
}

// accounts goes through accounts in order.
func (m *module) accounts(want func(store.Account) bool) func(context.Context, string, func(address.Address) bool) error {
	return func(ctx context.Context, domain string, f func(address.Address) bool) error {
		const page = 500
		for after := ""; ; {
			list, err := m.store.ListAccounts(ctx, domain, after, page)
			if err != nil {
				return err
			}
			for _, a := range list {
				if want(a) && !f(a.Address) {
					return nil
				}
			}
			if len(list) < page {
				return nil
			}
			after = list[page-1].Address.Local
		}
	}
}

// active reports whether somebody is at the client: available, and not away (RFC 6121
// §4.7.2.1).
func active(s *server.Session) bool {
	p := s.Presence()
	if p == nil {
		return false
	}
	show := p.Node().ChildText(xmppstream.NSClient, "show")
	return show != "away" && show != "xa"
}

// online goes through the accounts that have sessions, in order. An account is idle
// when none of its sessions is active: want is asked of its most active one.
func (m *module) online(domain string, want func(*server.Session) bool, f func(address.Address) bool) {
	best := map[address.Address]*server.Session{}
	m.server.EachSession(func(s *server.Session) bool {
		if s.Owner().Domain == domain {
			if b := best[s.Owner()]; b == nil || active(s) && !active(b) {
				best[s.Owner()] = s
			}
		}
		return true
	})
	list := make([]address.Address, 0, len(best))
	for owner, s := range best {
		if want == nil || want(s) {
			list = append(list, owner)
		}
	}
	slices.SortFunc(list, func(a, b address.Address) int { return strings.Compare(a.Local, b.Local) })
	for _, owner := range list {
		if !f(owner) {
			return
		}
	}
}

// number is the command that counts.
func (m *module) number(g group) adhoc.Step {
	return func(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
		n := 0
		if err := g.each(ctx, c.Domain, func(address.Address) bool { n++; return true }); err != nil {
			return nil, err
		}
		return result(dataform.Field{Var: g.count, Type: dataform.TextSingle, Label: "Users who are " + g.name, Values: []string{strconv.Itoa(n)}}), nil
	}
}

// maxItems is how many users are listed at most.
const maxItems = 2000

func (m *module) listForm(g group) dataform.Form {
	return dataform.Form{Title: "Who is " + g.name, FormType: NS, Fields: []dataform.Field{{
		Var: "max_items", Type: dataform.ListSingle, Label: "Show at most", Values: []string{"200"},
		Options: []string{"25", "50", "75", "100", "150", "200", "none"},
	}}}
}

// list is the command's second stage.
func (m *module) list(g group) adhoc.Step {
	return func(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
		most := maxItems
		if text := c.Form.Value("max_items"); text != "" && text != "none" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return nil, adhoc.BadPayload("The number of users to show is a number, or none for all.")
			}
			most = min(n, maxItems)
		}
		users := dataform.Field{Var: g.jids, Type: dataform.JIDMulti, Label: "Users who are " + g.name}
		more := false
		err := g.each(ctx, c.Domain, func(a address.Address) bool {
			if len(users.Values) == most {
				more = true
				return false
			}
			users.Values = append(users.Values, a.String())
			return true
		})
		if err != nil {
			return nil, err
		}
		reply := result(users)
		if more {
			reply.Note, reply.Kind = "There are more than are shown.", "warn"
		}
		return reply, nil
	}
}

// announce tells something to everybody who is online (§4.23).
func (m *module) announce(_ context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
	text := c.Form.Text("announcement")
	if text == "" {
		return nil, adhoc.BadPayload("The announcement is missing.")
	}
	return adhoc.Done("Sessions that were told: " + strconv.Itoa(m.tell(c.Domain, text)) + "."), nil
}

// tell sends a message of the server's own to the available sessions of a domain.
func (m *module) tell(domain, text string) (n int) {
	from := address.Address{Domain: domain}
	body := append(xmppstream.Escape([]byte("<subject>Announcement</subject><body>"), text), "</body>"...)
	m.server.EachSession(func(s *server.Session) bool {
		if s.Owner().Domain == domain && s.Available() &&
			s.Send(server.NewMessage(from, s.JID(), "headline", rand.Text(), body)) == nil {
			n++
		}
		return true
	})
	return n
}
