package adhoc_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/adhoc"
	"xmpp-gw/server/dataform"
	"xmpp-gw/server/disco"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
)

// clock can be put forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

func newServer(t *testing.T, clock *clock, commands ...adhoc.Command) *servertest.Server {
	t.Helper()
	m := adhoc.New()
	m.Add(commands...)
	contacts := roster.New(roster.Limits{})
	return servertest.NewWith(t, func(c *server.Config) { c.Now = clock.now },
		contacts, disco.New(disco.Options{Software: "x", Subscriptions: contacts}), m, ping.New())
}

// greeting asks for two things in two stages.
func greeting() adhoc.Command {
	form := func(name string) *dataform.Form {
		return &dataform.Form{FormType: "urn:greet", Fields: []dataform.Field{{Var: name, Type: dataform.TextSingle}}}
	}
	return adhoc.Command{Node: "greet", Name: "Greet <somebody>", Start: func(context.Context, *adhoc.Call) (*adhoc.Reply, error) {
		return &adhoc.Reply{Form: form("whom"), More: true, Next: func(_ context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
			whom := c.Form.Value("whom")
			if whom == "" {
				return nil, adhoc.BadPayload("Whom?")
			}
			return &adhoc.Reply{Form: form("how"), Next: func(_ context.Context, c *adhoc.Call) (*adhoc.Reply, error) {
				return adhoc.Done(c.Form.Value("how") + ", " + whom), nil
			}}, nil
		}}, nil
	}}
}

func command(node, id, action, children string) string {
	if id != "" {
		id = " sessionid='" + id + "'"
	}
	if action != "" {
		action = " action='" + action + "'"
	}
	return fmt.Sprintf("<command xmlns='%s' node='%s'%s%s>%s</command>", adhoc.NS, node, id, action, children)
}

func submit(field, value string) string {
	return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:greet</value></field><field var='" + field + "'><value>" + value + "</value></field></x>"
}

// run asks and expects a result that looks like want; it gives the session's id.
func run(t *testing.T, c *servertest.Client, request, want string) string {
	t.Helper()
	c.Send("<iq type='set' id='r' to='example.org'>" + request + "</iq>")
	n := c.Expect("<iq type='result' id='r' from='example.org'>" + want + "</iq>")
	return n.Children[0].Attr("sessionid")
}

// fails asks and expects this error.
func fails(t *testing.T, c *servertest.Client, request, condition, specific string) {
	t.Helper()
	c.Send("<iq type='set' id='f' to='example.org'>" + request + "</iq>")
	if specific != "" {
		specific = "<" + specific + " xmlns='" + adhoc.NS + "'/>"
	}
	c.Expect("<iq type='error' id='f'><error><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" + specific + "</error></iq>")
}

const ns = "xmlns='" + adhoc.NS + "'"

func TestStages(t *testing.T) {
	s := newServer(t, &clock{}, greeting())
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	const first = "<command " + ns + " status='executing' node='greet' sessionid='*'><actions execute='next'><next/></actions><x xmlns='jabber:x:data' type='form'><field var='whom'/></x></command>"
	const second = "<command " + ns + " status='executing'><actions execute='complete'><prev/><complete/></actions><x xmlns='jabber:x:data' type='form'><field var='how'/></x></command>"
	id := run(t, c, command("greet", "", "execute", ""), first)
	fails(t, c, command("greet", id, "prev", ""), "bad-request", "bad-action")
	fails(t, c, command("greet", id, "complete", submit("whom", "x")), "bad-request", "bad-action")
	fails(t, c, command("greet", id, "dance", ""), "bad-request", "malformed-action")
	fails(t, c, command("greet", id, "next", submit("whom", "")), "bad-request", "bad-payload")
	fails(t, c, command("greet", id, "next", "<x xmlns='jabber:x:data' type='form'/>"), "bad-request", "bad-payload")
	run(t, c, command("greet", id, "next", submit("whom", "nurse")), second)
	run(t, c, command("greet", id, "prev", ""), first)
	run(t, c, command("greet", id, "", submit("whom", "Juliet")), second)
	fails(t, c, command("greet", id, "next", submit("how", "Hello")), "bad-request", "bad-action")
	run(t, c, command("greet", id, "complete", submit("how", "Hello")), "<command "+ns+" status='completed' sessionid='"+id+"'><note type='info'>Hello, Juliet</note></command>")
	fails(t, c, command("greet", id, "complete", submit("how", "Hello")), "bad-request", "bad-sessionid")
}

func TestCancel(t *testing.T) {
	s := newServer(t, &clock{}, greeting())
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	fails(t, c, command("greet", "", "cancel", ""), "bad-request", "bad-action")
	fails(t, c, command("greet", "", "dance", ""), "bad-request", "malformed-action")
	id := run(t, c, command("greet", "", "", ""), "<command "+ns+" status='executing'/>")
	run(t, c, command("greet", id, "cancel", ""), "<command "+ns+" status='canceled' sessionid='"+id+"'/>")
	fails(t, c, command("greet", id, "next", submit("whom", "x")), "bad-request", "bad-sessionid")
}

// A session of a command is its client's alone, and for a while.
func TestSessions(t *testing.T) {
	k := &clock{}
	other := greeting()
	other.Node = "other"
	s := newServer(t, k, greeting(), other)
	c := servertest.Dial(t, s, "romeo@example.org/orchard")
	id := run(t, c, command("greet", "", "", ""), "<command "+ns+" status='executing'/>")
	for _, jid := range []string{"juliet@example.org/balcony", "romeo@example.org/street"} {
		fails(t, servertest.Dial(t, s, jid), command("greet", id, "next", submit("whom", "x")), "bad-request", "bad-sessionid")
	}
	fails(t, c, command("other", id, "next", submit("whom", "x")), "bad-request", "bad-sessionid")
	fails(t, c, command("greet", "made-up", "next", ""), "bad-request", "bad-sessionid")
	k.forward(11 * time.Minute)
	fails(t, c, command("greet", id, "next", submit("whom", "x")), "not-allowed", "session-expired")

	// Many are begun and not finished: the oldest goes.
	var ids []string
	for range 11 {
		ids = append(ids, run(t, c, command("greet", "", "", ""), "<command "+ns+" status='executing'/>"))
	}
	fails(t, c, command("greet", ids[0], "next", submit("whom", "x")), "bad-request", "bad-sessionid")
	for _, id := range ids[1:] {
		run(t, c, command("greet", id, "next", submit("whom", "x")), "<command "+ns+" status='executing'/>")
	}
}

// What somebody may not run they neither see, nor begin, nor end.
func TestAllowed(t *testing.T) {
	var closed atomic.Bool
	guarded := greeting()
	guarded.Allowed = func(_ context.Context, who address.Address) (bool, error) {
		return who.Local == "romeo" && !closed.Load(), nil
	}
	s := newServer(t, &clock{}, guarded)
	romeo := servertest.Dial(t, s, "romeo@example.org/orchard")
	const list = "<query xmlns='" + disco.NSItems + "' node='" + adhoc.NS + "'/>"
	const info = "<query xmlns='" + disco.NSInfo + "' node='greet'/>"
	if n := romeo.Request("get", "example.org", list); len(n.Children) != 1 || n.Children[0].Attr("name") != "Greet <somebody>" || n.Children[0].Attr("jid") != "example.org" {
		t.Errorf("got %s", n.Append(nil))
	}
	if n := romeo.Request("get", "example.org", info); len(n.Children) != 3 || n.Children[0].Attr("type") != "command-node" {
		t.Errorf("got %s", n.Append(nil))
	}
	for _, jid := range []string{"juliet@example.org/balcony", "romeo@example.net/x"} {
		c := servertest.Dial(t, s, jid)
		if n := c.Request("get", "example.org", list); len(n.Children) != 0 {
			t.Errorf("%s: got %s", jid, n.Append(nil))
		}
		if e := c.RequestError("get", "example.org", info); e != "item-not-found" {
			t.Errorf("%s: got %s", jid, e)
		}
		fails(t, c, command("greet", "", "", ""), "forbidden", "")
	}
	fails(t, romeo, command("nothing", "", "", ""), "item-not-found", "")
	if e := romeo.RequestError("get", "example.org", command("greet", "", "", "")); e != "bad-request" {
		t.Errorf("a get: %s", e)
	}
	id := run(t, romeo, command("greet", "", "", ""), "<command "+ns+" status='executing'/>")
	closed.Store(true)
	fails(t, romeo, command("greet", id, "next", submit("whom", "x")), "forbidden", "")
	closed.Store(false)
	fails(t, romeo, command("greet", id, "next", submit("whom", "x")), "bad-request", "bad-sessionid")
}
