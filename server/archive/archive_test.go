package archive_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/archive"
	"xmpp-gw/server/ping"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/store"
)

// contacts is everybody's roster: those of example.net.
type contacts struct{}

func (contacts) InRoster(_ context.Context, _, contact address.Address) (bool, error) {
	return contact.Domain == "example.net", nil
}

// world is a server with an archive, and a clock that the test moves.
type world struct {
	*servertest.Server
	db      store.Store
	now     atomic.Int64 // seconds
	read    atomic.Int64 // documents
	romeo   *servertest.Client
	juliet  *servertest.Client
	paris   *servertest.Client // of example.net
	options archive.Options
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, o archive.Options) *world {
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{db: db, options: o}
	w.options.Contacts = contacts{}
	w.start(t)
	return w
}

func (w *world) start(t *testing.T) {
	w.Server = servertest.NewWith(t, func(c *server.Config) {
		c.Store = w.db
		c.Now = func() time.Time { return epoch.Add(time.Duration(w.now.Load()) * time.Second) }
	}, archive.New(counted{w.db, &w.read}, w.options), ping.New())
	w.romeo = servertest.Online(t, w.Server, "romeo@example.org/orchard")
	w.juliet = servertest.Online(t, w.Server, "juliet@example.org/balcony")
	w.paris = servertest.Online(t, w.Server, "paris@example.net/tomb")
}

// counted counts the documents that are read.
type counted struct {
	archive.Storage
	n *atomic.Int64
}

func (c counted) Document(ctx context.Context, owner address.Address, kind, key string) ([]byte, error) {
	c.n.Add(1)
	return c.Storage.Document(ctx, owner, kind, key)
}

// result is one message of an answer.
type result struct {
	id, body, stamp string
	message         *xmppstream.Node
}

// query sends a query and reads the answer; the condition is that of an error.
func query(c *servertest.Client, to, payload string) (list []result, fin *xmppstream.Node, condition string) {
	c.T.Helper()
	if to != "" {
		to = " to='" + to + "'"
	}
	c.Send("<iq type='set' id='q'" + to + ">" + payload + "</iq>")
	for {
		n := c.Read()
		if n.Name == "iq" {
			if n.Attr("type") == "error" {
				return list, nil, servertest.Condition(n)
			}
			return list, n.Child(archive.NS, "fin"), ""
		}
		r := n.Child(archive.NS, "result")
		if r == nil || n.Attr("from") != c.JID.Bare().String() || r.Attr("queryid") != "x" {
			c.T.Fatalf("%s got %s", c.JID, n.Append(nil))
		}
		f := r.Child("urn:xmpp:forward:0", "forwarded")
		m := f.Child("jabber:client", "message")
		list = append(list, result{r.Attr("id"), m.ChildText("jabber:client", "body"), f.Child("urn:xmpp:delay", "delay").Attr("stamp"), m})
	}
}

func fields(pairs ...string) string {
	b := "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>"
	for i := 0; i < len(pairs); i += 2 {
		b += "<field var='" + pairs[i] + "'><value>" + pairs[i+1] + "</value></field>"
	}
	return b + "</x>"
}

func ask(inner string) string {
	return "<query xmlns='urn:xmpp:mam:2' queryid='x'>" + inner + "</query>"
}

func bodies(list []result) string {
	var b []string
	for _, r := range list {
		b = append(b, r.body)
	}
	return strings.Join(b, " ")
}

const sid = "urn:xmpp:sid:0"

// The id in a delivered message is the one under which its recipient's archive has
// it, and no other's place in that archive is believed.
func TestIDs(t *testing.T) {
	w := newWorld(t, archive.Options{})
	w.romeo.Send(`<message to='juliet@example.org' type='chat' id='m'><body>Hi</body>
		<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.org' id='forged'/>
		<stanza-id xmlns='urn:xmpp:sid:0' by='JULIET@example.org/balcony' id='forged'/>
		<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='forged'/>
		<stanza-id xmlns='urn:xmpp:sid:0' id='forged'/>
		<s:stanza-id xmlns:s='urn:xmpp:sid:0' by='juliet@example.org' id='forged'/>
		<stanza-id xmlns='urn:xmpp:sid:0' by='room@rooms.example' id='genuine'/>
		<origin-id xmlns='urn:xmpp:sid:0' id='o'/></message>`)
	got := w.juliet.Expect("<message><body>Hi</body><origin-id xmlns='urn:xmpp:sid:0' id='o'/></message>")
	ids := map[string]string{}
	for _, c := range got.Children {
		if c.Is(sid, "stanza-id") {
			ids[c.Attr("by")] = c.Attr("id")
		}
	}
	if len(ids) != 2 || ids["room@rooms.example"] != "genuine" || ids["juliet@example.org"] == "" || ids["juliet@example.org"] == "forged" {
		t.Fatalf("delivered with %v", ids)
	}
	for _, c := range []*servertest.Client{w.romeo, w.juliet} {
		list, fin, _ := query(c, "", ask(""))
		if len(list) != 1 || list[0].body != "Hi" || fin.Attr("complete") != "true" {
			t.Fatalf("%s has %v", c.JID, list)
		}
		if c == w.juliet && list[0].id != ids["juliet@example.org"] {
			t.Errorf("delivered as %s, archived as %s", ids["juliet@example.org"], list[0].id)
		}
		if own := "by='" + c.JID.Bare().String() + "'"; strings.Contains(string(list[0].message.Append(nil)), own) {
			t.Errorf("%s's archive has a forged id: %s", c.JID, list[0].message.Append(nil))
		}
		if list[0].stamp != "2026-03-01T12:00:00.000000Z" {
			t.Errorf("stamp %s", list[0].stamp)
		}
	}
}

// What belongs to a conversation, and what its sender wants kept.
func TestWorth(t *testing.T) {
	w := newWorld(t, archive.Options{})
	for name, tt := range map[string]struct {
		message string
		kept    bool
	}{
		"chat":                {"<message type='chat'><body>1</body></message>", true},
		"normal":              {"<message><body>1</body></message>", true},
		"headline":            {"<message type='headline'><body>1</body></message>", false},
		"groupchat":           {"<message type='groupchat'><body>1</body></message>", false},
		"error":               {"<message type='error'><body>1</body></message>", false},
		"no-store":            {"<message type='chat'><body>1</body><no-store xmlns='urn:xmpp:hints'/></message>", false},
		"no-permanent-store":  {"<message type='chat'><body>1</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>", false},
		"both hints":          {"<message type='chat'><store xmlns='urn:xmpp:hints'/><no-store xmlns='urn:xmpp:hints'/></message>", false},
		"store":               {"<message type='chat'><x xmlns='u'/><store xmlns='urn:xmpp:hints'/></message>", true},
		"chat state":          {"<message type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>", false},
		"OMEMO without body":  {"<message type='chat'><encrypted xmlns='eu.siacs.conversations.axolotl'/></message>", true},
		"receipt":             {"<message type='chat'><received xmlns='urn:xmpp:receipts' id='1'/></message>", true},
		"reaction":            {"<message type='chat'><reactions xmlns='urn:xmpp:reactions:0' id='1'/></message>", true},
		"another's no-store":  {"<message type='chat'><body>1</body><no-store xmlns='u'/></message>", true},
		"nested body":         {"<message type='chat'><x xmlns='u'><body xmlns='jabber:client'>1</body></x></message>", false},
		"body of another one": {"<message type='chat'><body xmlns='u'>1</body></message>", false},
	} {
		before := len(every(w.juliet))
		w.romeo.Send(strings.Replace(tt.message, "<message", "<message to='juliet@example.org/balcony'", 1))
		w.romeo.Drain()
		w.juliet.Drain()
		if kept := len(every(w.juliet)) > before; kept != tt.kept {
			t.Errorf("%s: kept %v, want %v", name, kept, tt.kept)
		}
	}
	if a, b := len(every(w.romeo)), len(every(w.juliet)); a != b || a != 7 {
		t.Errorf("%d messages in the sender's archive, %d in the recipient's", a, b)
	}
}

func every(c *servertest.Client) []result {
	list, _, _ := query(c, "", ask(""))
	return list
}

// Whom it does not reach has not got it, and nobody's archive is nobody's.
func TestNotReceived(t *testing.T) {
	w := newWorld(t, archive.Options{})
	for _, to := range []string{"juliet@example.org/gone", "nurse@example.org"} {
		w.romeo.Send("<message to='" + to + "' id='m'><body>" + to + "</body></message>")
		w.romeo.Expect("<message type='error' id='m'><error><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
	}
	// A message of type chat goes on to the account.
	w.romeo.Send("<message to='juliet@example.org/gone' type='chat'><body>chat</body></message>")
	w.juliet.Expect("<message><body>chat</body></message>")
	if got := bodies(every(w.juliet)); got != "chat" {
		t.Errorf("juliet's archive: %s", got)
	}
	nurse := servertest.Online(t, w.Server, "nurse@example.org/house")
	if got := every(nurse); len(got) != 0 {
		t.Errorf("the new account's archive: %s", bodies(got))
	}
	w.romeo.Send("<message to='nurse@example.org' type='chat'><body>now</body></message>")
	nurse.Expect("<message><body>now</body></message>")
	if got := bodies(every(nurse)); got != "now" {
		t.Errorf("the new account's archive: %s", got)
	}
}

// A message to oneself is there once, and found by one's own address alone.
func TestToOneself(t *testing.T) {
	w := newWorld(t, archive.Options{})
	phone := servertest.Online(t, w.Server, "romeo@example.org/phone")
	w.romeo.Send("<message to='romeo@example.org/phone' type='chat'><body>note</body></message>")
	phone.Expect("<message><body>note</body><stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org'/></message>")
	w.romeo.Send("<message type='chat'><body>again</body></message>") // to nobody: to the own account
	phone.Expect("<message><body>again</body></message>")
	w.romeo.Expect("<message><body>again</body></message>")
	w.romeo.Send("<message to='juliet@example.org' type='chat'><body>other</body></message>")
	w.romeo.Drain()
	if got := bodies(every(w.romeo)); got != "note again other" {
		t.Errorf("archive: %s", got)
	}
	list, _, _ := query(w.romeo, "", ask(fields("with", "romeo@example.org")))
	if got := bodies(list); got != "note again" {
		t.Errorf("with oneself: %s", got)
	}
}

// Errors of queries.
func TestRefused(t *testing.T) {
	w := newWorld(t, archive.Options{})
	w.romeo.Send("<message to='juliet@example.org' type='chat'><body>Hi</body></message>")
	w.juliet.Expect("<message/>")
	id := every(w.romeo)[0].id
	rsm := func(inner string) string {
		return ask("<set xmlns='http://jabber.org/protocol/rsm'>" + inner + "</set>")
	}
	many := "<field var='ids'>" + strings.Repeat("<value>1</value>", 251) + "</field>"
	form := func(field string) string { return ask(strings.Replace(fields(), "</x>", field+"</x>", 1)) }
	for name, tt := range map[string]struct{ to, payload, condition string }{
		"another's archive":       {"juliet@example.org", ask(""), "forbidden"},
		"another's, as if own":    {"juliet@example.org", ask(fields("with", "romeo@example.org")), "forbidden"},
		"nobody's archive":        {"nurse@example.org", ask(""), "service-unavailable"},
		"the server's":            {"example.org", ask(""), "service-unavailable"},
		"node":                    {"", "<query xmlns='urn:xmpp:mam:2' node='n'/>", "item-not-found"},
		"no FORM_TYPE":            {"", ask("<x xmlns='jabber:x:data' type='submit'><field var='with'><value>a@b</value></field></x>"), "bad-request"},
		"another FORM_TYPE":       {"", ask("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>u</value></field></x>"), "bad-request"},
		"not submitted":           {"", ask(strings.Replace(fields(), "submit", "form", 1)), "bad-request"},
		"cancelled":               {"", ask(strings.Replace(fields(), "submit", "cancel", 1)), "bad-request"},
		"unknown field":           {"", ask(fields("free-text", "love")), "feature-not-implemented"},
		"field twice":             {"", ask(fields("with", "a@b", "with", "c@d")), "bad-request"},
		"with no address":         {"", ask(fields("with", "@")), "jid-malformed"},
		"start no time":           {"", ask(fields("start", "yesterday")), "bad-request"},
		"end without zone":        {"", ask(fields("end", "2026-03-01T12:00:00")), "bad-request"},
		"after-id unknown":        {"", ask(fields("after-id", "none")), "item-not-found"},
		"after-id empty":          {"", ask(fields("after-id", "")), "item-not-found"},
		"before-id unknown":       {"", ask(fields("before-id", "1")), "item-not-found"},
		"ids one unknown":         {"", form("<field var='ids'><value>" + id + "</value><value>1</value></field>"), "item-not-found"},
		"ids empty":               {"", form("<field var='ids'/>"), "bad-request"},
		"ids too many":            {"", form(many), "policy-violation"},
		"after unknown":           {"", rsm("<after>1</after>"), "item-not-found"},
		"before unknown":          {"", rsm("<before>zz</before>"), "item-not-found"},
		"before and after":        {"", rsm("<before>" + id + "</before><after>" + id + "</after>"), "bad-request"},
		"index":                   {"", rsm("<index>1</index>"), "feature-not-implemented"},
		"max negative":            {"", rsm("<max>-1</max>"), "bad-request"},
		"max no number":           {"", rsm("<max>many</max>"), "bad-request"},
		"another's metadata":      {"juliet@example.org", "<metadata xmlns='urn:xmpp:mam:2'/>", "forbidden"},
		"metadata set":            {"", "<metadata xmlns='urn:xmpp:mam:2'/>", "bad-request"},
		"another's preferences":   {"juliet@example.org", "<prefs xmlns='urn:xmpp:mam:2' default='never'/>", "forbidden"},
		"no default":              {"", "<prefs xmlns='urn:xmpp:mam:2'/>", "bad-request"},
		"wrong default":           {"", "<prefs xmlns='urn:xmpp:mam:2' default='sometimes'/>", "bad-request"},
		"wrong exception":         {"", "<prefs xmlns='urn:xmpp:mam:2' default='never'><always><jid>@</jid></always></prefs>", "jid-malformed"},
		"exception of no kind":    {"", "<prefs xmlns='urn:xmpp:mam:2' default='never'><always><x/></always></prefs>", "bad-request"},
		"exceptions without end":  {"", "<prefs xmlns='urn:xmpp:mam:2' default='never'><never>" + strings.Repeat("<jid>a@b</jid>", 1001) + "</never></prefs>", "policy-violation"},
		"something else of ours":  {"", "<x xmlns='urn:xmpp:mam:2'/>", "service-unavailable"},
		"a page of another's ids": {"", rsm("<after>" + every(w.juliet)[0].id + "x</after>"), "item-not-found"},
	} {
		list, _, condition := query(w.romeo, tt.to, tt.payload)
		if condition != tt.condition || len(list) != 0 {
			t.Errorf("%s: %q and %d messages, want %q", name, condition, len(list), tt.condition)
		}
	}
	if n := w.romeo.Request("get", "", "<query xmlns='urn:xmpp:mam:2'/>"); n.Child("jabber:x:data", "x") == nil {
		t.Error("no form")
	}
}

func TestMetadata(t *testing.T) {
	w := newWorld(t, archive.Options{})
	get := func() *xmppstream.Node { return w.romeo.Request("get", "", "<metadata xmlns='urn:xmpp:mam:2'/>") }
	if n := get(); len(n.Children) != 0 {
		t.Errorf("an empty archive: %s", n.Append(nil))
	}
	for i := range 3 {
		w.now.Store(int64(i))
		w.romeo.Sendf("<message to='juliet@example.org' type='chat'><body>%d</body></message>", i)
		w.romeo.Drain()
	}
	list := every(w.romeo)
	n := get()
	for i, name := range map[int]string{0: "start", 2: "end"} {
		end := n.Child(archive.NS, name)
		if end == nil || end.Attr("id") != list[i].id || end.Attr("timestamp") != list[i].stamp {
			t.Errorf("%s is %s, want %v", name, n.Append(nil), list[i])
		}
	}
}

// Only the number is wanted (XEP-0059 §2.7).
func TestCount(t *testing.T) {
	w := newWorld(t, archive.Options{})
	payload := ask(fields("with", "juliet@example.org") + "<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set>")
	for n := range 3 {
		list, fin, _ := query(w.romeo, "", payload)
		set := fin.Child("http://jabber.org/protocol/rsm", "set")
		if len(list) != 0 || set.ChildText("http://jabber.org/protocol/rsm", "count") != fmt.Sprint(n) || (fin.Attr("complete") == "true") != (n == 0) {
			t.Errorf("of %d messages %d came, and %s", n, len(list), fin.Append(nil))
		}
		w.romeo.Send("<message to='juliet@example.org' type='chat'><body>Hi</body></message><message to='paris@example.net' type='chat'><body>Hi</body></message>")
		w.romeo.Drain()
	}
}

// A page is small enough to be sent.
func TestPageOfLargeMessages(t *testing.T) {
	w := newWorld(t, archive.Options{})
	var entries []store.ArchiveAppend
	for i := range 12 {
		entries = append(entries, store.ArchiveAppend{
			Owner: w.romeo.JID.Bare(), With: w.juliet.JID, At: epoch.Add(time.Duration(i)),
			Raw: []byte("<message xmlns='jabber:client'><body>" + strings.Repeat("x", 400<<10) + "</body></message>"),
		})
	}
	_, p := w.db.Archive(t.Context(), entries)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	list, fin, _ := query(w.romeo, "", ask(""))
	if len(list) != 5 || fin.Attr("complete") == "true" {
		t.Errorf("%d messages, %s", len(list), fin.Append(nil))
	}
}

func TestPreferences(t *testing.T) {
	w := newWorld(t, archive.Options{})
	set := func(prefs string) string {
		return strings.TrimSpace(string(w.romeo.Request("set", "", prefs).Append(nil)))
	}
	for name, tt := range map[string]struct{ prefs, kept string }{
		"always":         {"<prefs xmlns='urn:xmpp:mam:2' default='always'/>", "juliet paris"},
		"never":          {"<prefs xmlns='urn:xmpp:mam:2' default='never'/>", ""},
		"roster":         {"<prefs xmlns='urn:xmpp:mam:2' default='roster'><always/><never/></prefs>", "paris"},
		"never but":      {"<prefs xmlns='urn:xmpp:mam:2' default='never'><always><jid>juliet@example.org</jid></always></prefs>", "juliet"},
		"always but":     {"<prefs xmlns='urn:xmpp:mam:2' default='always'><never><jid>JULIET@example.org</jid></never></prefs>", "paris"},
		"both, once":     {"<prefs xmlns='urn:xmpp:mam:2' default='always'><always><jid>juliet@example.org</jid><jid>juliet@example.org</jid></always><never><jid>juliet@example.org</jid></never></prefs>", "paris"},
		"a resource":     {"<prefs xmlns='urn:xmpp:mam:2' default='never'><always><jid>juliet@example.org/balcony</jid></always></prefs>", "juliet"},
		"other resource": {"<prefs xmlns='urn:xmpp:mam:2' default='never'><always><jid>juliet@example.org/crypt</jid></always></prefs>", ""},
	} {
		answer := set(tt.prefs)
		if got := string(w.romeo.Request("get", "", "<prefs xmlns='urn:xmpp:mam:2'/>").Append(nil)); got != answer {
			t.Errorf("%s: answered with %s, shown as %s", name, answer, got)
		}
		before := len(every(w.romeo))
		for _, c := range []*servertest.Client{w.juliet, w.paris} {
			c.Sendf("<message to='%s' type='chat'><body>%s</body></message>", w.romeo.JID.Bare(), c.JID.Local)
			got := w.romeo.Expect("<message/>")
			if kept := got.Child(sid, "stanza-id") != nil; kept != strings.Contains(tt.kept, c.JID.Local) {
				t.Errorf("%s: the id in %s's message does not fit", name, c.JID.Local)
			}
		}
		if got := bodies(every(w.romeo)[before:]); got != tt.kept {
			t.Errorf("%s: kept %q, want %q", name, got, tt.kept)
		}
	}
	// They stay.
	answer := set("<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>a@b</jid></always><never><jid>c</jid></never></prefs>")
	w.Stop(t)
	w.start(t)
	if got := string(w.romeo.Request("get", "", "<prefs xmlns='urn:xmpp:mam:2'/>").Append(nil)); got != answer {
		t.Errorf("after the restart %s, want %s", got, answer)
	}
}

// The operator's default holds for those who have set nothing.
func TestDefault(t *testing.T) {
	w := newWorld(t, archive.Options{Default: archive.Roster})
	w.juliet.Send("<message to='romeo@example.org' type='chat'><body>juliet</body></message>")
	w.romeo.Expect("<message/>")
	w.paris.Send("<message to='romeo@example.org' type='chat'><body>paris</body></message>")
	w.romeo.Expect("<message/>")
	w.romeo.Send("<message type='chat'><body>self</body></message>")
	w.romeo.Expect("<message/>")
	if got := bodies(every(w.romeo)); got != "paris self" {
		t.Errorf("kept %q", got)
	}
}

// Of accounts that are online nothing is read while they talk.
func TestNothingRead(t *testing.T) {
	w := newWorld(t, archive.Options{})
	before := w.read.Load()
	for range 20 {
		w.romeo.Send("<message to='juliet@example.org' type='chat'><body>Hi</body></message>")
		w.juliet.Expect("<message/>")
	}
	if n := w.read.Load() - before; n != 0 {
		t.Errorf("%d documents were read", n)
	}
}

// What is older than the retention goes when the server starts.
func TestRetention(t *testing.T) {
	w := newWorld(t, archive.Options{Retention: time.Hour})
	for i, at := range []int64{0, 30 * 60, 90 * 60} {
		w.now.Store(at)
		w.romeo.Sendf("<message to='juliet@example.org' type='chat'><body>%d</body></message>", i)
		w.juliet.Expect("<message/>")
	}
	w.Stop(t)
	w.now.Store(91 * 60)
	w.start(t)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := bodies(every(w.romeo))
		if got == "2" && bodies(every(w.juliet)) == "2" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("there is still %q", got)
		}
	}
}

// A removed account's archive is gone with it.
func TestRemoved(t *testing.T) {
	w := newWorld(t, archive.Options{})
	w.romeo.Send("<message to='juliet@example.org' type='chat'><body>Hi</body></message>")
	w.juliet.Expect("<message/>")
	w.juliet.Request("set", "", "<prefs xmlns='urn:xmpp:mam:2' default='never'/>")
	if err := w.DeleteAccount(t.Context(), w.juliet.JID); err != nil {
		t.Fatal(err)
	}
	juliet := servertest.Online(t, w.Server, "juliet@example.org/new")
	if got := every(juliet); len(got) != 0 {
		t.Errorf("the new account has %s", bodies(got))
	}
	if n := juliet.Request("get", "", "<prefs xmlns='urn:xmpp:mam:2'/>"); n.Attr("default") != "always" {
		t.Errorf("the new account has %s", n.Append(nil))
	}
	if got := bodies(every(w.romeo)); got != "Hi" {
		t.Errorf("the other side has %q", got)
	}
}

func noTLS(string) (*tls.Config, error) { return &tls.Config{}, nil }

// What cannot work is refused when the server is made.
func TestWrongOptions(t *testing.T) {
	for name, o := range map[string]archive.Options{
		"no contacts":   {},
		"wrong default": {Default: "sometimes", Contacts: contacts{}},
	} {
		w := struct{ store.Store }{}
		_, err := server.New(t.Context(), server.Config{Domains: []string{"example.org"}, Store: w, TLS: noTLS, Modules: []server.Module{archive.New(w, o)}})
		if err == nil || !strings.Contains(err.Error(), "archive") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
