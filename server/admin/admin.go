// Package admin lets administrators manage the accounts of their domain from their
// client (XEP-0133), by commands and forms (server/adhoc). An administrator is an
// account with [store.Account.Admin]; everybody else neither sees the commands nor
// may run them.
//
// There is no command that reads what is a user's own: contacts, messages, addresses
// of the network.
package admin

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/server"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/dataform"
	"xmpp-gw/server/store"
)

// NS is the FORM_TYPE of the forms; the commands' nodes begin with it and "#".
const NS = "http://jabber.org/protocol/admin"

// Options say what administrators can do.
type Options struct {
	// Shutdown ends the server, all domains of it; it is called once, on a goroutine
	// of its own. Nil: there is no such command.
	Shutdown func()
}

// New makes the module, and adds its commands.
func New(commands *adhoc.Commands, o Options) server.Module {
	m := &module{Options: o}
	commands.Add(m.commands()...)
	return m
}

type module struct {
	Options
	server *server.Server
	store  store.Store

	mu       sync.Mutex
	stopping *time.Timer // nil: no end is planned
}

func (*module) Name() string { return "administration" }

func (m *module) Setup(r *server.Registry) error {
	m.server = r.Server()
	m.store = m.server.Store()
	r.Lifecycle(nil, m.stop)
	return nil
}

// commands are those of XEP-0133 §4, in its order.
func (m *module) commands() []adhoc.Command {
	list := []adhoc.Command{
		m.form("add-user", "Add a user", m.addUser,
			accountJID("Address of the account"), password, dataform.Field{
				Var: "password-verify", Type: dataform.TextPrivate, Label: "The password again", Required: true,
			}),
		m.each("delete-user", "Delete users", "Addresses of the accounts to delete, with all that they have", m.delete),
		m.each("disable-user", "Disable users", "Addresses of the accounts to disable", m.disable),
		m.each("reenable-user", "Re-enable users", "Addresses of the accounts to enable again", m.enable),
		m.form("end-user-session", "End user sessions", m.endSession, accountJIDs("Addresses whose sessions end; with a resource, only that one")),
		m.form("change-user-password", "Change a user's password", m.changePassword, accountJID("Address of the account"), password),
		m.form("get-user-lastlogin", "When users were last here", m.lastLogin, accountJIDs("Addresses of the accounts")),
		m.form("user-stats", "Statistics of a user", m.userStats, accountJID("Address of the account")),
	}
	for _, g := range m.groups() {
		list = append(list,
			m.command("get-"+g.name+"-users-num", "How many users are "+g.name, m.number(g)),
			m.command(g.listNode, "Who is "+g.name, adhoc.Ask(m.listForm(g), m.list(g))),
		)
	}
	list = append(list, m.form("announce", "Send an announcement to those who are online", m.announce, dataform.Field{
		Var: "announcement", Type: dataform.TextMulti, Label: "Announcement", Required: true,
	}))
	if m.Shutdown != nil {
		list = append(list, m.form("shutdown", "Shut the server down", m.shutdown,
			dataform.Field{Var: "delay", Type: dataform.ListSingle, Label: "Seconds until then", Values: []string{"60"}, Options: []string{"30", "60", "120", "300", "600"}},
			dataform.Field{Var: "announcement", Type: dataform.TextMulti, Label: "Announcement"}))
	}
	return list
}

var password = dataform.Field{Var: "password", Type: dataform.TextPrivate, Label: "Password", Required: true}

func accountJID(label string) dataform.Field {
	return dataform.Field{Var: "accountjid", Type: dataform.JIDSingle, Label: label, Required: true}
}

func accountJIDs(label string) dataform.Field {
	return dataform.Field{Var: "accountjids", Type: dataform.JIDMulti, Label: label, Required: true}
}

func (m *module) command(node, name string, start adhoc.Step) adhoc.Command {
	return adhoc.Command{Node: NS + "#" + node, Name: name, Allowed: m.isAdmin, Start: start}
}

// form is a command of one form.
func (m *module) form(node, name string, run adhoc.Step, fields ...dataform.Field) adhoc.Command {
	return m.command(node, name, adhoc.Ask(dataform.Form{Title: name, FormType: NS, Fields: fields}, run))
}

// errOwn keeps administrators from locking themselves out.
var errOwn = server.ErrNotAllowed.Because("This is your own account.")

// each is a command that does something to some accounts of others.
func (m *module) each(node, name, label string, do func(ctx context.Context, owner address.Address) error) adhoc.Command {
	return m.form(node, name, func(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
		list, err := accounts(c)
		if err != nil {
			return nil, err
		}
		for _, owner := range list { // all of them, or none
			if owner == c.Caller {
				return nil, errOwn
			}
			if err := m.exists(ctx, owner); err != nil {
				return nil, err
			}
		}
		for _, owner := range list {
			if err := do(context.WithoutCancel(ctx), owner); err != nil {
				return nil, refusal(err)
			}
		}
		return adhoc.Done("Done."), nil
	}, accountJIDs(label))
}

func (m *module) isAdmin(ctx context.Context, account address.Address) (bool, error) {
	a, err := m.store.Account(ctx, account)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return a.Admin && !a.Disabled, err
}

func (m *module) exists(ctx context.Context, owner address.Address) error {
	_, err := m.store.Account(ctx, owner.Bare())
	return refusal(err)
}

// refusal is what an administrator is told of an error.
func refusal(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return server.ErrItemNotFound.Because("There is no such account.")
	case errors.Is(err, store.ErrExists):
		return server.ErrConflict.Because("There is an account with this address.")
	case errors.Is(err, saslserver.ErrPassword):
		return server.ErrNotAcceptable.Because("The password is empty, longer than 1024 bytes, or has characters that no password may have.")
	}
	return err
}

// account reads one address, of the administrator's domain.
func account(c *adhoc.Call, text string) (address.Address, error) {
	a, err := address.Parse(text)
	switch {
	case text == "":
		return a, adhoc.BadPayload("An address is missing.")
	case err != nil || a.Local == "":
		return a, server.ErrJIDMalformed.Because("This is no address of an account: it must be name@" + c.Domain + ".")
	case a.Domain != c.Domain:
		return a, server.ErrNotAllowed.Because("Only accounts of " + c.Domain + " are managed here.")
	}
	return a, nil
}

// single reads the one bare address of a form.
func single(c *adhoc.Call) (address.Address, error) {
	a, err := account(c, c.Form.Value("accountjid"))
	if err == nil && a.IsFull() {
		err = server.ErrJIDMalformed.Because("The address of an account has no resource.")
	}
	return a, err
}

// maxAccounts is how many accounts one command changes.
const maxAccounts = 100

// addresses reads the addresses of a form, each once.
func addresses(c *adhoc.Call) ([]address.Address, error) {
	values := c.Form.Values("accountjids")
	if len(values) > maxAccounts {
		return nil, server.ErrPolicyViolation.Because("There are too many addresses; do it in parts.")
	}
	var list []address.Address
	for _, v := range values {
		if v == "" {
			continue // an empty line of a text box
		}
		a, err := account(c, v)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil, adhoc.BadPayload("An address is missing.")
	}
	return list, nil
}

// accounts are addresses without resources.
func accounts(c *adhoc.Call) ([]address.Address, error) {
	list, err := addresses(c)
	if err == nil && slices.ContainsFunc(list, address.Address.IsFull) {
		err = server.ErrJIDMalformed.Because("The address of an account has no resource.")
	}
	return list, err
}
