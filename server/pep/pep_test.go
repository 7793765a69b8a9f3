package pep_test

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"sort"
	"strings"
	"sync/atomic"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/blocking"
	"xmpp-gw/server/caps"
	"xmpp-gw/server/disco"
	"xmpp-gw/server/pep"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/roster"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// world is a server with juliet, who publishes, her phone, her contact romeo, and
// tybalt, whom she does not know.
type world struct {
	*servertest.Server
	db                           store.Store
	queries                      *atomic.Int64 // about items
	juliet, phone, romeo, tybalt *servertest.Client
}

const (
	mood = "http://jabber.org/protocol/mood"
	tune = "http://jabber.org/protocol/tune"
)

func start(t *testing.T) *world {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	contacts := roster.New(roster.Limits{})
	w := &world{db: db, queries: new(atomic.Int64)}
	var events *pep.PEP
	clients := caps.New(func(ctx context.Context, s *server.Session) { events.Known(ctx, s) })
	events = pep.New(counted{db, w.queries}, contacts, clients)
	blocks := blocking.New(blocking.Limits{}, contacts)
	events.HideFrom(blocks.Blocked)
	contacts.Approved(events.Approved)
	w.Server = servertest.NewWith(t, func(c *server.Config) { c.Store = db },
		blocks, contacts, clients, events, disco.New(disco.Options{Subscriptions: contacts}), ping.New())
	w.juliet = servertest.Online(t, w.Server, "juliet@example.org/balcony")
	w.phone = servertest.Online(t, w.Server, "juliet@example.org/phone")
	w.romeo = servertest.Online(t, w.Server, "romeo@example.org/orchard")
	w.tybalt = servertest.Online(t, w.Server, "tybalt@example.org/square")
	befriend(w.romeo, w.juliet)
	for _, c := range []*servertest.Client{w.juliet, w.phone, w.romeo, w.tybalt} {
		announce(c, mood+"+notify")
	}
	w.drain()
	return w
}

func (w *world) drain() {
	for _, c := range []*servertest.Client{w.juliet, w.phone, w.romeo, w.tybalt} {
		c.Drain()
	}
}

// counted counts the questions about last items.
type counted struct {
	store.Store
	n *atomic.Int64
}

func (c counted) LastItems(ctx context.Context, owners []address.Address, nodes []string) ([]store.LastItem, error) {
	c.n.Add(1)
	return c.Store.LastItems(ctx, owners, nodes)
}

// befriend lets a see b's presence.
func befriend(a, b *servertest.Client) {
	a.Send("<presence type='subscribe' to='" + b.JID.Bare().String() + "'/>")
	a.Drain()
	b.Send("<presence type='subscribed' to='" + a.JID.Bare().String() + "'/>")
	b.Drain()
	a.Drain()
}

// ver is the hash for features (XEP-0115 §5.1).
func ver(features ...string) string {
	sort.Strings(features)
	sum := sha1.Sum([]byte("client/pc//<" + strings.Join(features, "<") + "<"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func capsOf(features ...string) string {
	return "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:test' ver='" + ver(features...) + "'/>"
}

// announce makes a client's features known, answering the server if it asks. What
// comes of that is left to be read.
func announce(c *servertest.Client, features ...string) {
	c.T.Helper()
	c.Drain()
	c.Send("<presence>" + capsOf(features...) + "</presence><iq type='get' id='known' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
	for {
		switch n := c.Read(); {
		case n.Attr("id") == "known":
			return
		case n.Name == "iq":
			q := n.Child(disco.NSInfo, "query")
			if q == nil || q.Attr("node") != "urn:test#"+ver(features...) {
				c.T.Fatalf("%s got %s", c.JID, n.Append(nil))
			}
			b := "<iq type='result' to='example.org' id='" + n.Attr("id") + "'><query xmlns='" + disco.NSInfo + "' node='" + q.Attr("node") + "'><identity category='client' type='pc'/>"
			for _, f := range features {
				b += "<feature var='" + f + "'/>"
			}
			c.Send(b + "</query></iq>")
		}
	}
}

func pubsub(inner string) string { return "<pubsub xmlns='" + pep.NS + "'>" + inner + "</pubsub>" }
func owner(inner string) string  { return "<pubsub xmlns='" + pep.NSOwner + "'>" + inner + "</pubsub>" }

func item(id, text string) string {
	return "<item id='" + id + "'><mood xmlns='" + mood + "'>" + text + "</mood></item>"
}

// form is a data form of pairs of names and values.
func form(kind string, pairs ...string) string {
	b := "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>" + pep.NS + "#" + kind + "</value></field>"
	for i := 0; i < len(pairs); i += 2 {
		b += "<field var='pubsub#" + pairs[i] + "'><value>" + pairs[i+1] + "</value></field>"
	}
	return b + "</x>"
}

func options(pairs ...string) string {
	return "<publish-options>" + form("publish-options", pairs...) + "</publish-options>"
}

// publish publishes and reads the answer; what else comes is read and dropped.
func (w *world) publish(node, item string, opts ...string) {
	w.juliet.T.Helper()
	x := ""
	if len(opts) > 0 {
		x = options(opts...)
	}
	if got := w.request(w.juliet, "set", "", pubsub("<publish node='"+node+"'>"+item+"</publish>"+x)); got != "" {
		w.juliet.T.Fatalf("publish: %s", got)
	}
}

// request gives an answer's conditions, "" for a result.
func (w *world) request(c *servertest.Client, typ, to, payload string) string {
	c.T.Helper()
	n := w.answer(c, typ, to, payload)
	if n.Attr("type") == "result" {
		return ""
	}
	var conditions []string
	for _, e := range n.Child(xmppstream.NSClient, "error").Children {
		if e.Name != "text" {
			conditions = append(conditions, e.Name)
		}
	}
	return strings.Join(conditions, " ")
}

func (w *world) answer(c *servertest.Client, typ, to, payload string) *xmppstream.Node {
	c.T.Helper()
	if to != "" {
		to = " to='" + to + "'"
	}
	c.Send("<iq type='" + typ + "' id='r'" + to + ">" + payload + "</iq>")
	for {
		if n := c.Read(); n.Name == "iq" && n.Attr("id") == "r" {
			return n
		}
	}
}

// ids are those of the items that somebody gets of juliet's node.
func (w *world) ids(c *servertest.Client, node, inner, attrs string) string {
	c.T.Helper()
	n := w.answer(c, "get", "juliet@example.org", pubsub("<items node='"+node+"'"+attrs+">"+inner+"</items>"))
	items := n.Child(pep.NS, "pubsub").Child(pep.NS, "items")
	if items == nil {
		c.T.Errorf("items: %s", n.Append(nil))
		return ""
	}
	var ids []string
	for _, it := range items.Children {
		ids = append(ids, it.Attr("id"))
	}
	return strings.Join(ids, " ")
}

func event(inner string) string {
	return "<message from='juliet@example.org' type='headline'><event xmlns='" + pep.NSEvent + "'>" + inner + "</event></message>"
}

// Those are told who are interested and may know.
func TestNotify(t *testing.T) {
	for access, heard := range map[string]bool{pep.Open: true, pep.Presence: true, pep.Whitelist: false, pep.Roster: false} {
		w := start(t)
		w.juliet.Send("<iq type='set' id='p'>" + pubsub("<publish node='"+mood+"'>"+item("1", "happy")+"</publish>"+options("access_model", access)) + "</iq>")
		w.juliet.ExpectAll("<iq type='result' id='p'><pubsub xmlns='"+pep.NS+"'><publish node='"+mood+"'><item id='1'/></publish></pubsub></iq>",
			event("<items node='"+mood+"'>"+item("1", "happy")+"</items>"))
		w.phone.Expect(event("<items node='" + mood + "'>" + item("1", "happy") + "</items>"))
		if heard {
			w.romeo.Expect(event("<items node='" + mood + "'>" + item("1", "happy") + "</items>"))
		}
		w.publish(tune, "<item id='1'/>", "access_model", access) // nobody asked for that
		for _, c := range []*servertest.Client{w.phone, w.romeo, w.tybalt} {
			c.ExpectNothing()
		}
		// Neither are those who have gone, nor whom she has blocked.
		w.phone.Send("<presence type='unavailable'/>")
		w.drain()
		if got := w.request(w.juliet, "set", "", "<block xmlns='urn:xmpp:blocking'><item jid='romeo@example.org'/></block>"); got != "" {
			t.Fatal(got)
		}
		w.drain()
		w.publish(mood, item("2", "sad"))
		for _, c := range []*servertest.Client{w.phone, w.romeo, w.tybalt} {
			c.ExpectNothing()
		}
	}
}

// Events other than that of an item, and when there are none.
func TestEvents(t *testing.T) {
	w := start(t)
	w.publish(mood, item("1", "happy"), "max_items", "10")
	w.publish(mood, item("2", "sad"))
	w.drain()
	for _, tt := range []struct{ request, event string }{
		{pubsub("<retract node='" + mood + "'><item id='1'/></retract>"), "<items node='" + mood + "'><retract id='1'/></items>"},
		{owner("<configure node='" + mood + "'>" + form("node_config", "notify_retract", "0") + "</configure>"), ""},
		{pubsub("<retract node='" + mood + "'><item id='2'/></retract>"), ""},
		{pubsub("<publish node='" + mood + "'>" + item("3", "x") + "</publish>"), "<items node='" + mood + "'>" + item("3", "x") + "</items>"},
		{pubsub("<retract node='" + mood + "' notify='true'><item id='3'/></retract>"), "<items node='" + mood + "'><retract id='3'/></items>"},
		{owner("<configure node='" + mood + "'>" + form("node_config", "deliver_payloads", "false") + "</configure>"), ""},
		{pubsub("<publish node='" + mood + "'>" + item("4", "x") + "</publish>"), "<items node='" + mood + "'><item id='4'/></items>"},
		{owner("<purge node='" + mood + "'/>"), "<purge node='" + mood + "'/>"},
		{owner("<delete node='" + mood + "'/>"), "<delete node='" + mood + "'/>"},
		{pubsub("<create node='" + mood + "'/><configure>" + form("node_config", "notify_delete", "0") + "</configure>"), ""},
		{owner("<delete node='" + mood + "'/>"), ""},
	} {
		if got := w.request(w.juliet, "set", "", tt.request); got != "" {
			t.Fatalf("%s: %s", tt.request, got)
		}
		if tt.event != "" {
			n := w.romeo.Expect(event(tt.event))
			if strings.Contains(tt.event, "id='4'") && strings.Contains(string(n.Append(nil)), "<mood") {
				t.Errorf("with its payload: %s", n.Append(nil))
			}
		}
		w.romeo.ExpectNothing()
	}
}

// Who may read, by access model. Groups are of the owner's roster.
func TestAccess(t *testing.T) {
	w := start(t)
	for _, tt := range []struct{ options, romeo, tybalt string }{
		{"", "", "not-authorized presence-subscription-required"},
		{form("node_config", "access_model", "open"), "", ""},
		{form("node_config", "access_model", "presence"), "", "not-authorized presence-subscription-required"},
		{form("node_config", "access_model", "whitelist"), "not-allowed closed-node", "not-allowed closed-node"},
		{form("node_config", "access_model", "roster"), "not-authorized not-in-roster-group", "not-authorized not-in-roster-group"},
		{form("node_config", "access_model", "roster", "roster_groups_allowed", "Montagues"), "", "not-authorized not-in-roster-group"},
		{form("node_config", "access_model", "roster", "roster_groups_allowed", "Montague"), "not-authorized not-in-roster-group", "not-authorized not-in-roster-group"},
	} {
		w.juliet.Send("<iq type='set' id='g'><query xmlns='jabber:iq:roster'><item jid='romeo@example.org'><group>Montagues</group></item></query></iq>")
		w.drain()
		if got := w.request(w.juliet, "set", "", pubsub("<create node='"+mood+"'/><configure>"+tt.options+"</configure>")); got != "" {
			t.Fatal(got)
		}
		w.publish(mood, item("1", "happy"))
		items := pubsub("<items node='" + mood + "'/>")
		for who, want := range map[*servertest.Client]string{w.juliet: "", w.phone: "", w.romeo: tt.romeo, w.tybalt: tt.tybalt} {
			if got := w.request(who, "get", "juliet@example.org", items); got != want {
				t.Errorf("%s: %s gets %q, want %q", tt.options, who.JID, got, want)
			}
			// What cannot be read cannot be found.
			if who == w.tybalt {
				continue // cannot ask about her at all
			}
			n := w.answer(who, "get", "juliet@example.org", "<query xmlns='"+disco.NSItems+"'/>")
			if found := strings.Contains(string(n.Append(nil)), mood); found != (want == "") {
				t.Errorf("%s: %s finds %s", tt.options, who.JID, n.Append(nil))
			}
			n = w.answer(who, "get", "juliet@example.org", "<query xmlns='"+disco.NSInfo+"' node='"+mood+"'/>")
			if found := n.Attr("type") == "result"; found != (want == "") {
				t.Errorf("%s: %s is told %s", tt.options, who.JID, n.Append(nil))
			}
		}
		if n := w.answer(w.juliet, "get", "", "<query xmlns='"+disco.NSItems+"'/>"); !strings.Contains(string(n.Append(nil)), mood) {
			t.Errorf("asked without an address: %s", n.Append(nil))
		}
		if got := w.request(w.juliet, "set", "", owner("<delete node='"+mood+"'/>")); got != "" {
			t.Fatal(got)
		}
		w.drain()
	}
}

// Publish options are preconditions, and make the node as it is wanted
// (XEP-0060 §7.1.5); those that bookmarks, OMEMO and avatars want are met.
func TestPublishOptions(t *testing.T) {
	bookmarks := []string{"persist_items", "true", "max_items", "max", "send_last_published_item", "never", "access_model", "whitelist"}
	for name, tt := range map[string]struct {
		before, options []string
		want            string
	}{
		"made":               {nil, bookmarks, ""},
		"met":                {bookmarks, bookmarks, ""},
		"some are met":       {bookmarks, []string{"access_model", "whitelist"}, ""},
		"none":               {bookmarks, []string{}, ""},
		"with what is fixed": {bookmarks, append(bookmarks, "notify_delete", "true", "notify_retract", "1", "publish_model", "publishers"), ""},
		"access":             {[]string{"access_model", "presence"}, []string{"access_model", "open"}, "conflict precondition-not-met"},
		"max":                {nil, []string{"max_items", "5"}, ""},
		"max differs":        {[]string{"max_items", "4"}, []string{"max_items", "5"}, "conflict precondition-not-met"},
		"more than we keep":  {bookmarks, []string{"max_items", "99999999999999999999"}, ""},
		"persist":            {bookmarks, []string{"persist_items", "0"}, "conflict precondition-not-met"},
		"unknown":            {bookmarks, []string{"love", "true"}, "conflict precondition-not-met"},
		"unknown, made":      {nil, []string{"love", "true"}, "conflict precondition-not-met"},
		"impossible":         {nil, []string{"access_model", "authorize"}, "conflict precondition-not-met"},
		"groups":             {[]string{"access_model", "roster", "roster_groups_allowed", "a"}, []string{"roster_groups_allowed", "b"}, "conflict precondition-not-met"},
		"no number":          {nil, []string{"max_items", "-1"}, "conflict precondition-not-met"},
		"no truth":           {nil, []string{"persist_items", "perhaps"}, "conflict precondition-not-met"},
	} {
		w := start(t)
		if tt.before != nil {
			if got := w.request(w.juliet, "set", "", pubsub("<create node='n'/><configure>"+form("node_config", tt.before...)+"</configure>")); got != "" {
				t.Fatalf("%s: %s", name, got)
			}
		}
		if got := w.request(w.juliet, "set", "", pubsub("<publish node='n'>"+item("1", "x")+"</publish>"+options(tt.options...))); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		// What was refused has neither made a node nor an item.
		list, err := w.db.Items(t.Context(), w.juliet.JID.Bare(), "n", nil, 0)
		if tt.want == "" && len(list) != 1 || tt.want != "" && (len(list) != 0 || tt.before == nil && err == nil) {
			t.Errorf("%s: then there are %d items, %v", name, len(list), err)
		}
	}
}

// What a node keeps, and what is read of it.
func TestItems(t *testing.T) {
	w := start(t)
	for i := range 6 {
		w.publish("n", item(fmt.Sprint(i), "x"), "max_items", "4")
	}
	w.publish("n", item("3", "again"))
	for _, tt := range []struct{ inner, attrs, want string }{
		{"", "", "3 5 4 2"},
		{"", " max_items='2'", "3 5"},
		{"", " max_items='99'", "3 5 4 2"},
		{"<item id='4'/><item id='0'/>", "", "4"},
	} {
		if got := w.ids(w.romeo, "n", tt.inner, tt.attrs); got != tt.want {
			t.Errorf("%v: %s", tt, got)
		}
	}
	// Without an id it gets one.
	w.publish("m", "<item><x xmlns='u'/></item>")
	if got := w.ids(w.romeo, "m", "", ""); len(got) < 16 {
		t.Errorf("id %q", got)
	}
	w.publish("m", item("2", "x")) // of one only the last stays
	if got := w.ids(w.romeo, "m", "", ""); got != "2" {
		t.Errorf("items %s", got)
	}
	// A node that keeps nothing still tells.
	w.publish(mood, item("1", "x"), "persist_items", "false")
	w.romeo.Expect(event("<items node='" + mood + "'>" + item("1", "x") + "</items>"))
	if got := w.ids(w.romeo, mood, "", ""); got != "" {
		t.Errorf("kept %s", got)
	}
	if got := w.request(w.juliet, "set", "", owner("<configure node='n'>"+form("node_config", "persist_items", "0")+"</configure>")); got != "" || w.ids(w.romeo, "n", "", "") != "" {
		t.Errorf("after the change there is %s, %s", w.ids(w.romeo, "n", "", ""), got)
	}
}

// Requests that are refused.
func TestRefused(t *testing.T) {
	w := start(t)
	w.publish("n", item("1", "x"))
	long := strings.Repeat("x", 1024)
	for name, tt := range map[string]struct {
		from             *servertest.Client
		typ, to, request string
		want             string
	}{
		"publish for another":   {w.romeo, "set", "juliet@example.org", pubsub("<publish node='n'>" + item("2", "x") + "</publish>"), "forbidden"},
		"retract for another":   {w.romeo, "set", "juliet@example.org", pubsub("<retract node='n'><item id='1'/></retract>"), "forbidden"},
		"create for another":    {w.romeo, "set", "juliet@example.org", pubsub("<create node='x'/>"), "forbidden"},
		"delete for another":    {w.romeo, "set", "juliet@example.org", owner("<delete node='n'/>"), "forbidden"},
		"configure for another": {w.romeo, "get", "juliet@example.org", owner("<configure node='n'/>"), "forbidden"},
		"subscribe":             {w.romeo, "set", "juliet@example.org", pubsub("<subscribe node='n' jid='romeo@example.org'/>"), "feature-not-implemented unsupported"},
		"nobody's":              {w.romeo, "get", "nurse@example.org", pubsub("<items node='n'/>"), "service-unavailable"},
		"nothing":               {w.juliet, "set", "", pubsub(""), "bad-request"},
		"nothing, owner":        {w.juliet, "set", "", owner(""), "bad-request"},
		"something else":        {w.juliet, "set", "", pubsub("<love/>"), "feature-not-implemented"},
		"something else, owner": {w.juliet, "set", "", owner("<love node='n'/>"), "feature-not-implemented"},
		"subscriptions":         {w.juliet, "get", "", pubsub("<subscriptions/>"), "feature-not-implemented unsupported"},
		"publish to no node":    {w.juliet, "set", "", pubsub("<publish>" + item("1", "x") + "</publish>"), "bad-request nodeid-required"},
		"publish nothing":       {w.juliet, "set", "", pubsub("<publish node='n'/>"), "bad-request item-required"},
		"publish two":           {w.juliet, "set", "", pubsub("<publish node='n'>" + item("1", "x") + item("2", "x") + "</publish>"), "bad-request item-required"},
		"two payloads":          {w.juliet, "set", "", pubsub("<publish node='n'><item><a/><b/></item></publish>"), "bad-request invalid-payload"},
		"large payload":         {w.juliet, "set", "", pubsub("<publish node='n'>" + item("1", strings.Repeat("x", 256<<10)) + "</publish>"), "not-acceptable payload-too-big"},
		"long name":             {w.juliet, "set", "", pubsub("<publish node='" + long + "'>" + item("1", "x") + "</publish>"), "not-acceptable"},
		"long id":               {w.juliet, "set", "", pubsub("<publish node='n'>" + item(long, "x") + "</publish>"), "not-acceptable"},
		"create without name":   {w.juliet, "set", "", pubsub("<create/>"), "not-acceptable nodeid-required"},
		"create with long name": {w.juliet, "set", "", pubsub("<create node='" + long + "'/>"), "not-acceptable"},
		"create what is there":  {w.juliet, "set", "", pubsub("<create node='n'/>"), "conflict"},
		"create wrongly":        {w.juliet, "set", "", pubsub("<create node='x'/><configure>" + form("node_config", "access_model", "none") + "</configure>"), "not-acceptable"},
		"create, other form":    {w.juliet, "set", "", pubsub("<create node='x'/><configure>" + form("publish-options") + "</configure>"), "bad-request"},
		"options, other form":   {w.juliet, "set", "", pubsub("<publish node='n'>" + item("1", "x") + "</publish><publish-options>" + form("node_config") + "</publish-options>"), "bad-request"},
		"retract from nowhere":  {w.juliet, "set", "", pubsub("<retract><item id='1'/></retract>"), "bad-request nodeid-required"},
		"retract nothing":       {w.juliet, "set", "", pubsub("<retract node='n'/>"), "bad-request item-required"},
		"retract no id":         {w.juliet, "set", "", pubsub("<retract node='n'><item/></retract>"), "bad-request item-required"},
		"retract what is not":   {w.juliet, "set", "", pubsub("<retract node='n'><item id='9'/></retract>"), "item-not-found"},
		"retract, no node":      {w.juliet, "set", "", pubsub("<retract node='x'><item id='1'/></retract>"), "item-not-found"},
		"items of no node":      {w.juliet, "get", "", pubsub("<items/>"), "bad-request nodeid-required"},
		"items of none":         {w.juliet, "get", "", pubsub("<items node='x'/>"), "item-not-found"},
		"no items":              {w.juliet, "get", "", pubsub("<items node='n' max_items='0'/>"), "bad-request"},
		"many items":            {w.juliet, "get", "", pubsub("<items node='n' max_items='many'/>"), "bad-request"},
		"delete no node":        {w.juliet, "set", "", owner("<delete/>"), "bad-request nodeid-required"},
		"delete what is not":    {w.juliet, "set", "", owner("<delete node='x'/>"), "item-not-found"},
		"purge what is not":     {w.juliet, "set", "", owner("<purge node='x'/>"), "item-not-found"},
		"configure what is not": {w.juliet, "get", "", owner("<configure node='x'/>"), "item-not-found"},
		"configure nothing":     {w.juliet, "set", "", owner("<configure node='n'/>"), "bad-request"},
		"configure wrongly":     {w.juliet, "set", "", owner("<configure node='n'>" + form("node_config", "max_items", "0") + "</configure>"), "not-acceptable"},
	} {
		if got := w.request(tt.from, tt.typ, tt.to, tt.request); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := w.ids(w.juliet, "n", "", ""); got != "1" {
		t.Errorf("afterwards there is %s", got)
	}
}

// A node's configuration is read, changed and left alone.
func TestConfigure(t *testing.T) {
	w := start(t)
	w.publish("n", item("1", "x"))
	show := func() map[string]string {
		n := w.answer(w.juliet, "get", "", owner("<configure node='n'/>"))
		x := n.Child(pep.NSOwner, "pubsub").Child(pep.NSOwner, "configure").Child("jabber:x:data", "x")
		values := map[string]string{"form": x.Attr("type")}
		for _, f := range x.Children {
			values[strings.TrimPrefix(f.Attr("var"), "pubsub#")] = f.ChildText("jabber:x:data", "value")
		}
		return values
	}
	check := func(want string) {
		t.Helper()
		got := show()
		for _, pair := range strings.Fields(want) {
			name, value, _ := strings.Cut(pair, "=")
			if got[name] != value {
				t.Errorf("%s is %q, want %q", name, got[name], value)
			}
		}
	}
	check("form=form access_model=presence persist_items=1 max_items=1 send_last_published_item=on_sub_and_presence notify_retract=1 notify_delete=1 deliver_payloads=1")
	for _, tt := range []struct{ form, want string }{
		{form("node_config", "access_model", "open", "max_items", "max", "title", "Moods", "love", "true"), "access_model=open max_items=1000 title=Moods"},
		{form("node_config", "send_last_published_item", "never", "roster_groups_allowed", "A"), "access_model=open send_last_published_item=never roster_groups_allowed=A"},
		{"<x xmlns='jabber:x:data' type='cancel'/>", "access_model=open send_last_published_item=never"},
	} {
		if got := w.request(w.juliet, "set", "", owner("<configure node='n'>"+tt.form+"</configure>")); got != "" {
			t.Fatalf("%s: %s", tt.form, got)
		}
		check(tt.want)
	}
	n := w.answer(w.juliet, "get", "", owner("<default/>"))
	if d := n.Child(pep.NSOwner, "pubsub").Child(pep.NSOwner, "default"); d == nil || d.Child("jabber:x:data", "x") == nil {
		t.Errorf("default: %s", n.Append(nil))
	}
}

// The limits of an account.
func TestLimits(t *testing.T) {
	w := start(t)
	for i := range 256 {
		if err := w.db.PutNode(t.Context(), w.juliet.JID.Bare(), store.Node{Name: fmt.Sprint(i)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, request := range []string{"<publish node='x'>" + item("1", "x") + "</publish>", "<create node='x'/>"} {
		if got := w.request(w.juliet, "set", "", pubsub(request)); got != "conflict max-nodes-exceeded" {
			t.Errorf("%s: %q", request, got)
		}
	}
	large := store.Item{Publisher: w.juliet.JID, Raw: []byte("<x xmlns='u'>" + strings.Repeat("x", 3<<20) + "</x>")}
	for i := range 5 {
		large.ID = fmt.Sprint(i)
		if err := w.db.PutItem(t.Context(), w.juliet.JID.Bare(), "0", large, 0); err != nil {
			t.Fatal(err)
		}
	}
	w.publish("1", item("1", "x"))
	// An answer is small enough to be sent, and says how much there is.
	n := w.answer(w.juliet, "get", "", pubsub("<items node='0'/>"))
	p := n.Child(pep.NS, "pubsub")
	if set := p.Child("http://jabber.org/protocol/rsm", "set"); len(p.Child(pep.NS, "items").Children) != 1 || set == nil || set.ChildText("http://jabber.org/protocol/rsm", "count") != "5" {
		t.Errorf("%d items, %v", len(p.Child(pep.NS, "items").Children), set)
	}
	large.ID = "more"
	if err := w.db.PutItem(t.Context(), w.juliet.JID.Bare(), "0", large, 0); err != nil {
		t.Fatal(err)
	}
	if got := w.request(w.juliet, "set", "", pubsub("<publish node='1'>"+item("2", "x")+"</publish>")); got != "resource-constraint" {
		t.Errorf("beyond the bytes: %q", got)
	}
}

// Who comes is told the last items, once (XEP-0163 §4.3.4).
func TestLastItems(t *testing.T) {
	w := start(t)
	w.publish(mood, item("1", "old"))
	w.publish(mood, item("2", "happy"))
	w.publish(tune, "<item id='3'><tune xmlns='"+tune+"'/></item>", "send_last_published_item", "never")
	w.publish("secret", item("4", "x"), "access_model", "whitelist")
	w.drain()
	last := strings.Replace(event("<items node='"+mood+"'>"+item("2", "happy")+"</items>"), "</message>", "<delay xmlns='urn:xmpp:delay' stamp='*'/></message>", 1)
	wants := []string{mood + "+notify", tune + "+notify", "secret+notify"}

	romeo := servertest.Dial(t, w.Server, "romeo@example.org/tomb")
	announceKeep(romeo, wants...)
	romeo.Expect(last)
	romeo.ExpectNothing()
	// Not again with the next presence, but with the first after it was gone.
	romeo.Send("<presence><show>away</show>" + capsOf(wants...) + "</presence>")
	romeo.Expect("<presence from='romeo@example.org/tomb'/>")
	romeo.ExpectNothing()
	romeo.Send("<presence type='unavailable'/>")
	romeo.Drain()
	romeo.Send("<presence>" + capsOf(wants...) + "</presence>")
	expectAmong(romeo, last)
	// What it becomes interested in later, once.
	w.publish("later", item("5", "x"))
	announceKeep(romeo, append(wants, "later+notify")...)
	expectAmong(romeo, event("<items node='later'/>"))
	romeo.ExpectNothing()

	// Her own client has what is for her alone.
	tablet := servertest.Dial(t, w.Server, "juliet@example.org/tablet")
	announceKeep(tablet, "secret+notify")
	expectAmong(tablet, event("<items node='secret'>"+item("4", "x")+"</items>"))
	// A stranger has nothing, until she approves of him.
	w.tybalt.Send("<presence>" + capsOf(mood+"+notify") + "</presence>")
	w.tybalt.Drain()
	w.tybalt.Send("<presence type='subscribe' to='juliet@example.org'/>")
	w.tybalt.ExpectNothing()
	w.drain()
	w.juliet.Send("<presence type='subscribed' to='tybalt@example.org'/>")
	w.juliet.Drain()
	expectAmong(w.tybalt, last)
}

// announceKeep is announce for a client that is not yet there: what comes is kept
// for the test, but for presence.
func announceKeep(c *servertest.Client, features ...string) {
	c.T.Helper()
	c.Send("<presence>" + capsOf(features...) + "</presence>")
	for {
		n := c.Read()
		if n.Name != "iq" {
			continue
		}
		b := "<iq type='result' to='example.org' id='" + n.Attr("id") + "'><query xmlns='" + disco.NSInfo + "' node='" + n.Child(disco.NSInfo, "query").Attr("node") + "'><identity category='client' type='pc'/>"
		for _, f := range features {
			b += "<feature var='" + f + "'/>"
		}
		c.Send(b + "</query></iq>")
		return
	}
}

// expectAmong reads past presence up to what looks like pattern.
func expectAmong(c *servertest.Client, pattern string) {
	c.T.Helper()
	want, err := xmppstream.ParseElement([]byte(pattern), xmppstream.SessionLimits())
	if err != nil {
		c.T.Fatal(err)
	}
	tree, err := want.Node()
	if err != nil {
		c.T.Fatal(err)
	}
	for {
		n := c.Read()
		if servertest.Matches(n, tree) {
			return
		}
		if n.Name != "presence" {
			c.T.Fatalf("%s got %s\nwant %s", c.JID, n.Append(nil), pattern)
		}
	}
}

// A login asks the storage a bounded number of times, however many contacts there are.
func TestManyContacts(t *testing.T) {
	w := start(t)
	nurse := w.Account(t, "nurse@example.org")
	for i := range 1000 {
		c := servertest.Address(t, fmt.Sprintf("c%d@example.org", i))
		if _, err := w.db.PutRosterItem(t.Context(), nurse, store.RosterItem{Contact: c, Sub: store.SubTo, InRoster: true}, 0); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := w.db.PutNode(t.Context(), c, store.Node{Name: mood}, 0); err != nil {
				t.Fatal(err)
			}
			if err := w.db.PutItem(t.Context(), c, mood, store.Item{ID: "1", Publisher: c, At: w.Now(), Raw: []byte("<x/>")}, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := w.queries.Load()
	c := servertest.Dial(t, w.Server, "nurse@example.org/house")
	announceKeep(c, mood+"+notify", "other+notify")
	for range 100 {
		expectAmong(c, "<message type='headline'><event xmlns='"+pep.NSEvent+"'><items node='"+mood+"'><item id='1'/></items></event></message>")
	}
	c.ExpectNothing()
	if n := w.queries.Load() - before; n > 16 {
		t.Errorf("%d questions", n)
	}
}
