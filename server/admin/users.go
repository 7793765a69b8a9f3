package admin

import (
	"context"
	"strconv"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/dataform"
)

// addUser makes an account (XEP-0133 §4.1).
func (m *module) addUser(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
	owner, err := single(c)
	if err != nil {
		return nil, err
	}
	secret := c.Form.Value("password")
	switch {
	case secret == "":
		return nil, adhoc.BadPayload("The password is missing.")
	case secret != c.Form.Value("password-verify"):
		return nil, server.ErrNotAcceptable.Because("The two passwords are not the same.")
	}
	if err := m.server.CreateAccount(context.WithoutCancel(ctx), owner, secret, false); err != nil {
		return nil, refusal(err)
	}
	return adhoc.Done("The account was made."), nil
}

func (m *module) delete(ctx context.Context, owner address.Address) error {
	return m.server.DeleteAccount(ctx, owner)
}

func (m *module) disable(ctx context.Context, owner address.Address) error {
	return m.server.Disable(ctx, owner, true)
}

func (m *module) enable(ctx context.Context, owner address.Address) error {
	return m.server.Disable(ctx, owner, false)
}

// endSession ends sessions (§4.5); not the one that asks.
func (m *module) endSession(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
	list, err := addresses(c)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		if err := m.exists(ctx, a); err != nil {
			return nil, err
		}
	}
	n := 0
	for _, a := range list {
		for _, s := range m.server.Sessions(a) {
			if s != c.Session && (a.Resource == "" || a == s.JID()) {
				s.Close(ended)
				n++
			}
		}
	}
	return adhoc.Done("Sessions that ended: " + strconv.Itoa(n) + "."), nil
}

// changePassword sets a password (§4.7).
func (m *module) changePassword(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
	owner, err := single(c)
	if err != nil {
		return nil, err
	}
	secret := c.Form.Value("password")
	if secret == "" {
		return nil, adhoc.BadPayload("The password is missing.")
	}
	if err := m.server.SetPassword(context.WithoutCancel(ctx), owner, secret); err != nil {
		return nil, refusal(err)
	}
	return adhoc.Done("The password was changed. Sessions that there are go on."), nil
}

// lastLogin tells when accounts were last here (§4.9): for each account one value,
// empty for one that never was.
func (m *module) lastLogin(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
	list, err := accounts(c)
	if err != nil {
		return nil, err
	}
	who := dataform.Field{Var: "accountjids", Type: dataform.JIDMulti, Label: "Account"}
	when := dataform.Field{Var: "lastlogin", Type: dataform.TextMulti, Label: "Last here"}
	for _, owner := range list {
		a, err := m.store.Account(ctx, owner)
		if err != nil {
			return nil, refusal(err)
		}
		at := a.LastSeen
		for _, s := range m.server.Sessions(owner) {
			if s.Since().After(at) {
				at = s.Since()
			}
		}
		text := ""
		if !at.IsZero() {
			text = at.UTC().Format(time.RFC3339)
		}
		who.Values, when.Values = append(who.Values, owner.String()), append(when.Values, text)
	}
	return result(who, when), nil
}

// userStats tells how many contacts an account has, and what is online of it
// (§4.10). Addresses of the network are nobody's business.
func (m *module) userStats(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
	owner, err := single(c)
	if err != nil {
		return nil, err
	}
	if err := m.exists(ctx, owner); err != nil {
		return nil, err
	}
	roster, err := m.store.Roster(ctx, owner)
	if err != nil {
		return nil, err
	}
	contacts := 0
	for i := range roster.Items {
		if roster.Items[i].InRoster {
			contacts++
		}
	}
	online := dataform.Field{Var: "onlineresources", Type: dataform.TextMulti, Label: "Online"}
	for _, s := range m.server.Sessions(owner) {
		online.Values = append(online.Values, s.JID().Resource)
	}
	return result(dataform.Field{
		Var: "rostersize", Type: dataform.TextSingle, Label: "Contacts", Values: []string{strconv.Itoa(contacts)},
	}, online), nil
}

// result ends a command with a form.
func result(fields ...dataform.Field) *adhoc.Reply {
	return &adhoc.Reply{Form: &dataform.Form{Type: dataform.TypeResult, FormType: NS, Fields: fields}}
}

// errPlanned is for a second shutdown.
var errPlanned = server.ErrConflict.Because("The server is going to shut down already.")

// shutdown plans the end of the server (§4.31).
func (m *module) shutdown(_ context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
	seconds := 0
	if text := c.Form.Value("delay"); text != "" {
		var err error
		if seconds, err = strconv.Atoi(text); err != nil || seconds < 0 || seconds > maxDelay {
			return nil, adhoc.BadPayload("The delay is a number of seconds, at most a day.")
		}
	}
	if err := m.plan(time.Duration(seconds) * time.Second); err != nil {
		return nil, err
	}
	// All domains of the server end with it.
	if text := c.Form.Text("announcement"); text != "" {
		for _, domain := range m.server.Domains() {
			m.tell(domain, text)
		}
	}
	return adhoc.Done("The server shuts down."), nil
}

const maxDelay = 24 * 60 * 60

// least is the shortest delay: what was said still reaches its clients.
const least = time.Second

func (m *module) plan(delay time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping != nil {
		return errPlanned
	}
	m.stopping = time.AfterFunc(max(delay, least), m.Shutdown)
	return nil
}

// stop gives up a planned end: it has come otherwise.
func (m *module) stop(context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping != nil {
		m.stopping.Stop()
	}
}
