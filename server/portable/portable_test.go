package portable_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
	"xmpp-gw/server/portable"
	"xmpp-gw/server/servertest"
	"xmpp-gw/server/standard"
	"xmpp-gw/server/store"
)

func open(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite::memory:", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func serve(t *testing.T, db *store.DB) *servertest.Server {
	t.Helper()
	return servertest.NewWith(t, func(c *server.Config) {
		c.Store = db
		c.Modules = standard.Modules(db, standard.Options{})
	})
}

func export(t *testing.T, db *store.DB, jids ...string) string {
	t.Helper()
	var list []address.Address
	for _, jid := range jids {
		list = append(list, servertest.Address(t, jid))
	}
	var b bytes.Buffer
	if err := portable.Export(t.Context(), db, list, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func load(t *testing.T, db *store.DB, text string) portable.Report {
	t.Helper()
	r, err := portable.Import(t.Context(), db, strings.NewReader(text), portable.ImportOptions{
		Hosts: func(domain string) bool { return domain == "example.org" },
	})
	if err != nil {
		t.Fatalf("%v\n%+v", err, r)
	}
	return r
}

// ids are what an import gives anew.
var ids = regexp.MustCompile(`<result xmlns='urn:xmpp:mam:2' id='[^']*'`)

// What clients have made of an account comes out of one server, goes into another,
// comes out of that as the same, and clients find it there.
func TestThereAndBack(t *testing.T) {
	db := open(t)
	s := serve(t, db)
	romeo := servertest.Online(t, s, "romeo@example.org/orchard")
	s.Account(t, "juliet@example.org")
	s.Account(t, "tybalt@example.org")
	for _, payload := range []string{
		"<query xmlns='jabber:iq:roster'><item jid='juliet@example.org' name='J &amp; &lt;3'><group>Capulets</group><group>Friends</group></item></query>",
		"<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>mixed <conference jid='a@b'/> content</storage></query>",
		"<vCard xmlns='vcard-temp'><FN>Romeo</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==</BINVAL></PHOTO></vCard>",
		"<block xmlns='urn:xmpp:blocking'><item jid='mercutio@example.org'/><item jid='spam.example'/></block>",
		"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:x'><item id='1'><a xmlns='urn:x' b='&apos;'/></item></publish>" +
			"<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>" +
			"<field var='pubsub#access_model'><value>whitelist</value></field><field var='pubsub#max_items'><value>10</value></field></x></publish-options></pubsub>",
		"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:x'><item id='2'><a xmlns='urn:x'>two</a></item></publish></pubsub>",
		"<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>juliet@example.org</jid></always><never/></prefs>",
	} {
		romeo.Send("<iq type='set' id='x'>" + payload + "</iq>")
		romeo.Drain()
	}
	romeo.Send("<presence type='subscribe' to='juliet@example.org'/>")
	tybalt := servertest.Dial(t, s, "tybalt@example.org/square")
	tybalt.Send("<presence type='subscribe' to='romeo@example.org'><nick xmlns='http://jabber.org/protocol/nick'>T</nick></presence>")
	tybalt.Drain()
	romeo.Send("<message to='juliet@example.org' type='chat' id='m'><body>But soft</body><x xmlns='urn:y' xmlns:p='urn:p'><p:q p:r='1'/></x></message>")
	romeo.Drain()
	first := export(t, db, "romeo@example.org", "juliet@example.org")

	other := open(t)
	r := load(t, other, first)
	for _, a := range r.Accounts {
		if a.Err != nil || a.Weak {
			t.Errorf("%+v", a)
		}
	}
	if len(r.Accounts) != 2 || len(r.Notes) != 0 {
		t.Errorf("%+v", r)
	}
	again := export(t, other, "romeo@example.org", "juliet@example.org")
	if a, b := plain(t, first), plain(t, again); a != b {
		t.Errorf("it went in as\n%s\nand came out as\n%s", a, b)
	}

	s = serve(t, other)
	juliet := servertest.Dial(t, s, "juliet@example.org/balcony") // with the same password
	juliet.Send("<presence/>")
	juliet.ExpectAll("<presence from='juliet@example.org/balcony'/>", "<presence type='subscribe' from='romeo@example.org'/>",
		"<message from='romeo@example.org/orchard'><body>But soft</body><delay xmlns='urn:xmpp:delay'/></message>")
	back := servertest.Online(t, s, "romeo@example.org/orchard")
	for payload, want := range map[string]string{
		"<query xmlns='jabber:iq:roster'/>":                                                "<query xmlns='jabber:iq:roster'><item jid='juliet@example.org' name='J &amp; &lt;3' ask='subscribe'><group>Capulets</group></item></query>",
		"<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>":    "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'><conference jid='a@b'/></storage></query>",
		"<vCard xmlns='vcard-temp'/>":                                                      "<vCard xmlns='vcard-temp'><FN>Romeo</FN></vCard>",
		"<blocklist xmlns='urn:xmpp:blocking'/>":                                           "<blocklist xmlns='urn:xmpp:blocking'><item jid='mercutio@example.org'/><item jid='spam.example'/></blocklist>",
		"<prefs xmlns='urn:xmpp:mam:2'/>":                                                  "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>juliet@example.org</jid></always></prefs>",
		"<metadata xmlns='urn:xmpp:mam:2'/>":                                               "<metadata xmlns='urn:xmpp:mam:2'><start/></metadata>",
		"<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:x'/></pubsub>": "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items><item id='1'/><item id='2'><a xmlns='urn:x'>two</a></item></items></pubsub>",
	} {
		back.Drain()
		back.Send("<iq type='get' id='g'>" + payload + "</iq>")
		back.Expect("<iq type='result' id='g'>" + want + "</iq>")
	}
}

// plain is a document in one of the many spellings that mean the same.
func plain(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.xml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := portable.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return ids.ReplaceAllString(string(all), "")
}

func TestForeign(t *testing.T) {
	db := open(t)
	text, err := os.ReadFile("testdata/prosody.xml")
	if err != nil {
		t.Fatal(err)
	}
	r := load(t, db, string(text))
	if len(r.Accounts) != 1 || r.Accounts[0].Err != nil || !r.Accounts[0].Weak || r.Accounts[0].Contacts != 1 || r.Accounts[0].Archived != 1 || r.Accounts[0].Items != 3 {
		t.Fatalf("%+v", r)
	}
	// It has keys for SHA-1 alone, and logs in: only that is offered.
	s := serve(t, db)
	c := servertest.Connect(t, s, "example.org")
	if list := string(c.Features.Append(nil)); strings.Contains(list, "SCRAM-SHA-256<") || !strings.Contains(list, "SCRAM-SHA-1<") {
		t.Errorf("offered is %s", list)
	}
	c.Login("juliet")
	if err := s.SetPassword(t.Context(), servertest.Address(t, "juliet@example.org"), "another one, longer"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reoffer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list := string(servertest.Connect(t, s, "example.org").Features.Append(nil)); !strings.Contains(list, "SCRAM-SHA-512<") {
		t.Errorf("after a new password is offered %s", list)
	}
}

func user(inner string) string {
	return "<server-data xmlns='urn:xmpp:pie:0'><host jid='example.org'><user name='a' password='some password'>" + inner + "</user></host></server-data>"
}

// Each of these imports the account and notes what is left out.
func TestLeftOut(t *testing.T) {
	for inner, note := range map[string]string{
		"":                          "",
		"<x xmlns='urn:x'><y/></x>": "<x xmlns='urn:x'> is not known here",
		"<query xmlns='jabber:iq:roster'><item jid='a@@b'/></query>":                     "a contact with an address that cannot be",
		"<offline-messages><iq xmlns='jabber:client'/></offline-messages>":               "is no message",
		"<archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2'/></archive>": "an entry of an archive without a message",
		"<presence xmlns='jabber:client' from='b@c'/>":                                   "a presence that is no request",
		"<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-MD5'/>":        `keys for "SCRAM-MD5"`,
		"<vCard xmlns='vcard-temp'><N>" + strings.Repeat("x", 400<<10) + "</N></vCard>":  "is too long",
		"<query xmlns='jabber:iq:privacy'><default name='d'/><list name='d'><item type='jid' value='b@c' action='deny' order='1'/><item type='group' value='g' action='deny' order='2'/></list></query>": "privacy lists say more",
	} {
		db := open(t)
		r := load(t, db, user(inner))
		if len(r.Accounts) != 1 || r.Accounts[0].Err != nil || r.Accounts[0].Weak {
			t.Errorf("%.80s: %+v", inner, r)
		}
		if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, note) || note == "" && notes != "" {
			t.Errorf("%.80s: noted is %q, want %q", inner, notes, note)
		}
		if _, err := db.Account(t.Context(), servertest.Address(t, "a@example.org")); err != nil {
			t.Errorf("%.80s: %v", inner, err)
		}
	}
}

// Each of these is refused, and leaves no account behind.
func TestRefused(t *testing.T) {
	huge := "<query xmlns='jabber:iq:private'><x xmlns='urn:x'>" + strings.Repeat("x", 9<<20) + "</x></query>"
	deep := "<query xmlns='jabber:iq:private'><x xmlns='urn:x'>" + strings.Repeat("<y>", 300) + strings.Repeat("</y>", 300) + "</x></query>"
	for text, want := range map[string]string{
		"":        "no export of accounts",
		"x":       "no",
		"<html/>": "no export of accounts",
		"<!DOCTYPE a [<!ENTITY e 'x'>]>" + user("<x xmlns='urn:x'>&e;</x>"): "invalid character entity",
		strings.TrimSuffix(user(""), "</server-data>"):                      "EOF",
		user("<vCard xmlns='vcard-temp'>"):                                  "",
		user(huge):                                                          "larger than 8 MiB",
		user(deep):                                                          "nested more than 256",
		"<?xml version='1.0' encoding='ISO-8859-1'?>" + user(""):            "UTF-8",
	} {
		db := open(t)
		r, err := portable.Import(t.Context(), db, strings.NewReader(text), portable.ImportOptions{Hosts: func(string) bool { return true }})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
		_, e := db.Account(t.Context(), servertest.Address(t, "a@example.org"))
		if complete := len(r.Accounts) == 1 && r.Accounts[0].Err == nil; (e == nil) != complete {
			t.Errorf("%.60q: the account: %v, the report: %+v", text, e, r)
		}
	}
	for inner, want := range map[string]error{
		"<user name='b'/>":                 portable.ErrKeys,
		"<user name='a@b' password='p'/>":  nil,
		"<user name='' password='p'/>":     nil,
		"<user name='c' password='&#9;'/>": nil,
		"<user name='d'><scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>0</iter-count></scram-credentials></user>": nil,
	} {
		db := open(t)
		r := load(t, db, "<server-data xmlns='urn:xmpp:pie:0'><host jid='example.org'>"+inner+"</host></server-data>")
		if len(r.Accounts) != 1 || r.Accounts[0].Err == nil || want != nil && !errors.Is(r.Accounts[0].Err, want) {
			t.Errorf("%s: %+v", inner, r)
		}
		if list, err := db.ListAccounts(t.Context(), "example.org", "", 10); err != nil || len(list) != 0 {
			t.Errorf("%s: left are %v, %v", inner, list, err)
		}
	}
	db := open(t)
	if r := load(t, db, strings.Replace(user(""), "example.org", "example.net", 1)); !errors.Is(r.Accounts[0].Err, portable.ErrDomain) {
		t.Errorf("%+v", r)
	}
	load(t, db, user(""))
	if r := load(t, db, user("<vCard xmlns='vcard-temp'/>")); !errors.Is(r.Accounts[0].Err, portable.ErrExists) {
		t.Errorf("%+v", r)
	}
}

// An import that was killed left a locked account with some of what it had. The next
// one begins it anew; an account that is locked for another reason stays.
func TestAfterKill(t *testing.T) {
	db := open(t)
	half := servertest.Address(t, "a@example.org")
	if err := db.CreateAccount(t.Context(), store.Account{Address: half, Disabled: true}, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.PutDocument(t.Context(), half, "private", "urn:x x", []byte("<x xmlns='urn:x'/>"), 1); err != nil {
		t.Fatal(err)
	}
	if r := load(t, db, user("")); r.Accounts[0].Err != nil {
		t.Fatalf("%+v", r)
	}
	if a, err := db.Account(t.Context(), half); err != nil || a.Disabled {
		t.Errorf("%+v, %v", a, err)
	}
	if list, err := db.ListDocuments(t.Context(), half, "private"); err != nil || len(list) != 0 {
		t.Errorf("left are %v, %v", list, err)
	}
	if err := db.SetDisabled(t.Context(), half, true); err != nil {
		t.Fatal(err)
	}
	if r := load(t, db, user("")); !errors.Is(r.Accounts[0].Err, portable.ErrExists) {
		t.Errorf("%+v", r)
	}
}

// A file cannot say that somebody sees an account here that has not granted it.
func TestClaims(t *testing.T) {
	db := open(t)
	roster := func(name, items string) string {
		return "<user name='" + name + "' password='my password'><query xmlns='jabber:iq:roster'>" + items + "</query></user>"
	}
	item := func(name, sub string) string {
		return "<item jid='" + name + "@example.org' subscription='" + sub + "' name='as it was'/>"
	}
	file := func(users ...string) string {
		return "<server-data xmlns='urn:xmpp:pie:0'><host jid='example.org'>" + strings.Join(users, "") + "</host></server-data>"
	}
	load(t, db, file(roster("juliet", item("romeo", "from")+item("tybalt", "to"))))
	r := load(t, db, file(
		roster("romeo", item("juliet", "both")+item("mercutio", "both")),
		roster("tybalt", item("juliet", "both")+item("romeo", "to")+item("paris", "to")),
		roster("mercutio", item("romeo", "both")),
	))
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "tybalt@example.org") {
		t.Errorf("notes %q", r.Notes)
	}
	for owner, want := range map[string]string{
		"romeo":    "juliet both, mercutio both",
		"tybalt":   "juliet from, paris to, romeo none", // paris may come yet
		"mercutio": "romeo both",
		"juliet":   "romeo from, tybalt to",
	} {
		r, err := db.Roster(t.Context(), servertest.Address(t, owner+"@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, it := range r.Items {
			got = append(got, it.Contact.Local+" "+map[store.Subscription]string{store.SubNone: "none", store.SubTo: "to", store.SubFrom: "from", store.SubBoth: "both"}[it.Sub])
			if it.Name != "as it was" {
				t.Errorf("%s: %+v", owner, it)
			}
		}
		slices.Sort(got)
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: %s, want %s", owner, text, want)
		}
	}
}

// An access model that there is not here lets nobody in.
func TestAccess(t *testing.T) {
	for _, c := range []struct{ model, want string }{
		{"authorize", "whitelist"}, {"open", "open"}, {"roster", "roster"}, {"presence", "presence"}, {"", "whitelist"},
	} {
		db := open(t)
		load(t, db, user("<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='n'><x xmlns='jabber:x:data' type='form'>"+
			"<field var='pubsub#access_model'><value>"+c.model+"</value></field></x></configure></pubsub>"))
		n, err := db.Node(t.Context(), servertest.Address(t, "a@example.org"), "n")
		if err != nil || !strings.Contains(string(n.Config), "<value>"+c.want+"</value>") {
			t.Errorf("%q: %s, %v", c.model, n.Config, err)
		}
	}
}

func TestInclusions(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const head = "<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'>"
	write("example.org.xml", "<host xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude' jid='example.org'><xi:include href='example.org/a.xml'/></host>")
	write("example.org/a.xml", "<user xmlns='urn:xmpp:pie:0' name='a' password='some password'><query xmlns='jabber:iq:private'><x xmlns='urn:x'><xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/></x></query></user>")
	read := func(file string) (portable.Report, error) {
		f, err := portable.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return portable.Import(context.Background(), open(t), f, portable.ImportOptions{Hosts: func(string) bool { return true }})
	}
	if r, err := read(write("all.xml", head+"<xi:include href='example.org.xml'/></server-data>")); err != nil || len(r.Accounts) != 1 || r.Accounts[0].Err != nil || r.Accounts[0].Items != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, href := range []string{"/etc/passwd", "../../../../../../etc/passwd", "file:///etc/passwd", "loop.xml", "none.xml", "", "a.xml#x"} {
		if _, err := read(write("loop.xml", head+"<xi:include href='"+href+"'/></server-data>")); err == nil {
			t.Errorf("%q was included", href)
		}
	}
}
