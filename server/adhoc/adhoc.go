// Package adhoc lets people run commands on the server through forms (XEP-0050). It
// is the frame; modules bring the commands:
//
//	commands := adhoc.New()
//	commands.Add(adhoc.Command{
//		Node: "urn:example:greet", Name: "Greet somebody",
//		Start: adhoc.Ask(form, func(ctx context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
//			return adhoc.Done("Greeted " + c.Form.Value("whom") + "."), nil
//		}),
//	})
//
// A command goes from stage to stage: each gives what its client is shown and the
// step that takes the answer. The frame keeps the stages, lets clients go back,
// forgets what nobody goes on with, and asks at every stage whether the client may.
package adhoc

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/dataform"
)

// NS is the namespace of commands, and the node under which they are listed.
const NS = "http://jabber.org/protocol/commands"

// Call is a client's request at one stage.
type Call struct {
	Session *server.Session
	Caller  address.Address // the account
	Domain  string          // that was asked
	// Form is what was filled in; nil at the first stage, and of a client that sent
	// none.
	Form *dataform.Submission
}

// Step takes what the client sent at one stage and says what comes next. A
// [*server.StanzaError] is told to the client, which may try the stage again; see
// [BadPayload].
type Step func(ctx context.Context, c *Call) (*Reply, error)

// Reply is what a client is shown at one stage.
type Reply struct {
	Form *dataform.Form
	XML  []byte // shown behind the form, or instead of it
	Note string // a sentence
	Kind string // of the note: "info" if empty, "warn" or "error"
	// Next takes the client's answer; nil ends the command.
	Next Step
	// More says that Next is not the last step: clients show "next", not "finish".
	More bool
	// FormType of the answer; empty for that of Form.
	FormType string
}

// Done is the end of a command, with a sentence.
func Done(note string) *Reply { return &Reply{Note: note} }

// Failed is the end of a command that came to nothing (XEP-0050 §3.6).
func Failed(note string) *Reply { return &Reply{Note: note, Kind: "error"} }

// Ask is a first step that shows a form, which next takes.
func Ask(form dataform.Form, next Step) Step {
	return func(context.Context, *Call) (*Reply, error) { return &Reply{Form: &form, Next: next}, nil }
}

// Command is one command. Start is its first step, to which no form has been sent.
type Command struct {
	Node, Name string
	// Allowed says who may see and run it; nil: everybody with an account of the
	// domain.
	Allowed func(ctx context.Context, account address.Address) (bool, error)
	Start   Step
}

// Bounds of what is kept of commands that are not finished.
const (
	lifetime   = 10 * time.Minute // from one stage to the next
	perAccount = 10               // the oldest goes first
	total      = 2000
	maxStages  = 16
)

// Commands is the module. Commands are added before the server runs.
type Commands struct {
	server   *server.Server
	commands []*Command

	mu   sync.Mutex
	runs map[string]*run // by session id
}

// New makes the module, without commands.
func New() *Commands { return &Commands{runs: map[string]*run{}} }

// Add adds commands. It panics when a node is there already.
func (m *Commands) Add(list ...Command) {
	for _, c := range list {
		if m.find(c.Node) != nil {
			panic(fmt.Sprintf("adhoc: the command %s is there twice", c.Node))
		}
		m.commands = append(m.commands, &c)
	}
}

func (m *Commands) find(node string) *Command {
	i := slices.IndexFunc(m.commands, func(c *Command) bool { return c.Node == node })
	if i < 0 {
		return nil
	}
	return m.commands[i]
}

// Name implements [server.Module].
func (m *Commands) Name() string { return "commands" }

// Setup implements [server.Module].
func (m *Commands) Setup(r *server.Registry) error {
	m.server = r.Server()
	r.Feature(server.AtServer, NS)
	r.Items(server.AtServer, m.items)
	r.Node(server.AtServer, m.info)
	r.IQ(server.AtServer, NS, "command", m.command)
	r.Unbound(func(_ context.Context, s *server.Session) { m.forget(s) })
	return nil
}

// may reports whether an address may run a command of a domain.
func (m *Commands) may(ctx context.Context, c *Command, who, domain address.Address) (bool, error) {
	if who.Domain != domain.Domain || who.Local == "" {
		return false, nil
	}
	if c.Allowed == nil {
		return true, nil
	}
	return c.Allowed(ctx, who.Bare())
}

// items lists the commands that the asker may run (XEP-0050 §2.2).
func (m *Commands) items(ctx context.Context, asker, entity address.Address, node string) (list []server.Item) {
	if node != NS {
		return nil
	}
	for _, c := range m.commands {
		if ok, err := m.may(ctx, c, asker, entity); err == nil && ok {
			list = append(list, server.Item{JID: entity, Node: c.Node, Name: c.Name})
		}
	}
	return list
}

func (m *Commands) info(ctx context.Context, asker, entity address.Address, node string) ([]byte, bool) {
	if node == NS {
		return []byte("<identity category='automation' type='command-list'/>"), true
	}
	c := m.find(node)
	if c == nil {
		return nil, false
	}
	if ok, err := m.may(ctx, c, asker, entity); err != nil || !ok {
		return nil, false
	}
	b := append([]byte("<identity category='automation' type='command-node'"), attr("name", c.Name)...)
	return append(b, "/><feature var='"+NS+"'/><feature var='"+dataform.NS+"'/>"...), true
}
