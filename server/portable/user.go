package portable

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/saslauth/saslserver"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/pep"
	"xmpp-gw/server/store"
	"xmpp-gw/server/vcard"
)

// user is an account that is being imported.
type user struct {
	*importer
	owner    address.Address
	password string
	account  store.Account
	made     bool
	keys     []store.Keys
	roster   map[address.Address]store.RosterItem
	waiting  []store.ArchiveAppend // for the archive
	stamp    time.Time             // of the last item of personal eventing
	result   Account
}

// begin makes the account, unless it is made; locked, so that nobody comes in before
// it is whole.
func (u *user) begin() error {
	if u.made {
		return nil
	}
	a := u.account
	a.Disabled = true
	if err := u.st.CreateAccount(u.ctx, a, nil); err != nil {
		return err
	}
	u.made = true
	return nil
}

// part imports one element of an account. An error is the document's; what is wrong
// with the account goes to u.result.
func (u *user) part(e *xml.StartElement) error {
	if !is(e, nsOwn, "account") { // which stands first
		if u.result.Err = u.begin(); u.result.Err != nil {
			return u.skip()
		}
	}
	switch {
	case is(e, NS, "offline-messages"):
		return u.each(u.offline)
	case is(e, nsArchive, "archive"):
		if err := u.each(u.archived); err != nil {
			return err
		}
		return u.flush()
	case is(e, nsPubSub, "pubsub"):
		return u.each(u.items)
	case is(e, nsPubSubOwner, "pubsub"):
		return u.each(u.configuration)
	case is(e, nsPrivate, "query"):
		return u.each(u.private)
	}
	take := map[xml.Name]func(*xmppstream.Node, []byte) error{
		{Space: nsSCRAM, Local: "scram-credentials"}: u.credentials,
		{Space: nsRoster, Local: "query"}:            u.contacts,
		{Space: nsClient, Local: "presence"}:         u.request,
		{Space: nsVCard, Local: "vCard"}:             u.card,
		{Space: nsBlocking, Local: "blocklist"}:      u.blocks,
		{Space: nsPrivacy, Local: "query"}:           u.privacy,
		{Space: nsMAM, Local: "prefs"}:               u.preferences,
		{Space: nsOwn, Local: "account"}:             u.own,
	}[e.Name]
	if take == nil {
		return u.unknown(e)
	}
	n, raw, err := u.tree(e)
	if n != nil && err == nil {
		u.result.Err = take(n, raw)
	}
	return err
}

// tree reads an element; nil for one that no stream could carry, which is noted.
func (u *user) tree(e *xml.StartElement) (*xmppstream.Node, []byte, error) {
	n, raw, err := u.node(e)
	if bad := (*xmppstream.Error)(nil); errors.As(err, &bad) {
		u.note("an element <%.60s> that no XMPP stream could carry was left out", e.Name.Local)
		return nil, nil, nil
	}
	return n, raw, err
}

// credentials takes the keys of one hash.
func (u *user) credentials(n *xmppstream.Node, _ []byte) error {
	name, _ := strings.CutPrefix(n.Attr("mechanism"), "SCRAM-")
	h, ok := saslserver.ParseHash(name)
	if !ok {
		u.note("keys for %.40q are not known here and were left out", n.Attr("mechanism"))
		return nil
	}
	k := store.Keys{Hash: name}
	var err, e error
	if k.Iterations, err = strconv.Atoi(n.ChildText(nsSCRAM, "iter-count")); err != nil || k.Iterations < 1 {
		err = errors.New("its keys have no iteration count")
	}
	for field, to := range map[string]*[]byte{"salt": &k.Salt, "server-key": &k.ServerKey, "stored-key": &k.StoredKey} {
		if *to, e = base64.StdEncoding.DecodeString(strings.TrimSpace(n.ChildText(nsSCRAM, field))); e != nil || len(*to) == 0 {
			err = errors.New("its keys are damaged")
		}
	}
	if err == nil && (len(k.ServerKey) != h.Size() || len(k.StoredKey) != h.Size()) {
		err = errors.New("its keys have the wrong length")
	}
	if err == nil && !slices.ContainsFunc(u.keys, func(o store.Keys) bool { return o.Hash == k.Hash }) {
		u.keys = append(u.keys, k)
	}
	return err
}

// contacts takes the roster. It is written at the end, with the requests that wait.
func (u *user) contacts(n *xmppstream.Node, _ []byte) error {
	for _, c := range n.Children {
		if !c.Is(nsRoster, "item") {
			continue
		}
		contact, err := address.Parse(c.Attr("jid"))
		if err != nil {
			u.note("a contact with an address that cannot be was left out")
			continue
		}
		if contact = contact.Bare(); contact == u.owner {
			continue
		}
		it := u.item(contact)
		it.InRoster, it.Name, it.Ask, it.Approved = true, c.Attr("name"), c.Attr("ask") == "subscribe", truth(c.Attr("approved"))
		for sub, word := range subscriptions {
			if word == c.Attr("subscription") {
				it.Sub = sub
			}
		}
		if it.Sub&store.SubTo != 0 {
			it.Ask = false
		}
		for _, g := range c.Children {
			if g.Is(nsRoster, "group") && g.Text != "" && !slices.Contains(it.Groups, g.Text) {
				it.Groups = append(it.Groups, g.Text)
			}
		}
		u.roster[contact] = it
	}
	return nil
}

func (u *user) item(contact address.Address) store.RosterItem {
	if u.roster == nil {
		u.roster = map[address.Address]store.RosterItem{}
	}
	it := u.roster[contact]
	it.Contact = contact
	return it
}

// request takes a request that waits for the owner.
func (u *user) request(n *xmppstream.Node, raw []byte) error {
	from, err := address.Parse(n.Attr("from"))
	if err != nil || n.Attr("type") != "subscribe" {
		u.note("a presence that is no request was left out")
		return nil
	}
	st, err := server.ParseStanza(raw)
	if err != nil {
		return nil
	}
	it := u.item(from.Bare())
	it.Request = st.Readdress(from.Bare(), u.owner).Standalone()
	u.roster[from.Bare()] = it
	return nil
}

func (u *user) card(n *xmppstream.Node, _ []byte) error {
	err := vcard.Put(u.ctx, u.st, u.owner, n)
	if errors.Is(err, vcard.ErrTooLong) {
		u.note("the vCard of %s is too long and was left out", u.owner)
		return nil
	}
	u.result.Items++
	return err
}

func (u *user) blocks(n *xmppstream.Node, _ []byte) error {
	var list []address.Address
	for _, c := range n.Children {
		if a, err := address.Parse(c.Attr("jid")); err == nil && c.Name == "item" {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return u.st.AddBlocks(u.ctx, u.owner, list, maxBlocks)
}

// privacy takes of the default privacy list (XEP-0016) what a block list can say.
func (u *user) privacy(n *xmppstream.Node, _ []byte) error {
	name := attrOf(n.Child(nsPrivacy, "default"), "name")
	var list []address.Address
	for _, l := range n.Children {
		if !l.Is(nsPrivacy, "list") || l.Attr("name") != name {
			continue
		}
		for _, it := range l.Children {
			a, err := address.Parse(it.Attr("value"))
			if it.Attr("type") == "jid" && it.Attr("action") == "deny" && len(it.Children) == 0 && err == nil {
				list = append(list, a)
			} else if it.Attr("action") != "allow" || len(it.Attrs) > 2 {
				u.note("privacy lists say more than a block list can: what was not about one address was left out")
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return u.st.AddBlocks(u.ctx, u.owner, list, maxBlocks)
}

func (u *user) preferences(_ *xmppstream.Node, raw []byte) error {
	return u.st.PutDocument(u.ctx, u.owner, kindArchive, keyPreferences, raw, 1)
}

// own takes what this program adds to the format.
func (u *user) own(n *xmppstream.Node, _ []byte) error {
	u.account.Disabled = truth(n.Attr("disabled"))
	if at, err := time.Parse(time.RFC3339, n.Attr("created")); err == nil {
		u.account.Created = at
	}
	return nil
}

func truth(s string) bool { return s == "true" || s == "1" }

// private takes one element of private storage.
func (u *user) private(e *xml.StartElement) error {
	raw, err := u.whole(e)
	if err != nil || e.Name.Space == "" || e.Name.Space == nsPrivate {
		return err
	}
	u.result.Items++
	u.result.Err = u.st.PutDocument(u.ctx, u.owner, kindPrivate, e.Name.Space+" "+e.Name.Local, raw, maxDocuments)
	return nil
}

// offline takes one message that waits.
func (u *user) offline(e *xml.StartElement) error {
	raw, err := u.whole(e)
	if err != nil || u.result.Err != nil {
		return err
	}
	st, err := server.ParseStanza(raw)
	if err != nil || st.Kind != server.Message {
		u.note("something among the messages that wait is no message and was left out")
		return nil
	}
	at := u.Now()
	for _, c := range st.Node().Children {
		if stamp, err := time.Parse(time.RFC3339, c.Attr("stamp")); err == nil && c.Is(nsDelay, "delay") {
			at = stamp
		}
	}
	_, err = u.st.PushOffline(u.ctx, u.owner, at, withoutDelay(st, u.owner.Domain).Standalone(), maxWaiting, maxWaitBytes)
	u.result.Offline++
	u.result.Err = err
	return nil
}

// configuration makes one node of personal eventing.
func (u *user) configuration(e *xml.StartElement) error {
	n, _, err := u.tree(e)
	if n == nil || err != nil || u.result.Err != nil {
		return err
	}
	switch {
	case n.Name == "configure" && n.Attr("node") != "":
		u.result.Err = u.st.PutNode(u.ctx, u.owner, store.Node{Name: n.Attr("node"), Config: pep.ConfigFrom(n.Child("jabber:x:data", "x"))}, maxNodes)
	case n.Name == "affiliations" || n.Name == "subscriptions":
		if len(n.Children) > 0 {
			u.note("<%s> of personal eventing nodes are not known here and were left out", n.Name)
		}
	}
	return nil
}

// items takes the items of one node, the oldest first.
func (u *user) items(e *xml.StartElement) error {
	node := attr(e, "node")
	if e.Name.Local != "items" || node == "" {
		return u.unknown(e)
	}
	if _, err := u.st.Node(u.ctx, u.owner, node); errors.Is(err, store.ErrNotFound) && u.result.Err == nil {
		u.result.Err = u.st.PutNode(u.ctx, u.owner, store.Node{Name: node}, maxNodes)
	}
	return u.each(func(e *xml.StartElement) error {
		id := attr(e, "id")
		var payload []byte
		err := u.each(func(child *xml.StartElement) (err error) {
			payload, err = u.whole(child)
			return err
		})
		if err != nil || u.result.Err != nil {
			return err
		}
		// The order is that of the document, and later ones are newer.
		if u.stamp.IsZero() {
			u.stamp = u.Now().Add(-time.Hour)
		}
		u.stamp = u.stamp.Add(time.Millisecond)
		u.result.Items++
		u.result.Err = u.st.PutItem(u.ctx, u.owner, node, store.Item{ID: id, Publisher: u.owner, At: u.stamp, Raw: payload}, maxItems)
		return nil
	})
}

// archived takes one message of the archive.
func (u *user) archived(e *xml.StartElement) error {
	n, raw, err := u.tree(e)
	if n == nil || err != nil || u.result.Err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, attrOf(n.Child(nsForward, "forwarded").Child(nsDelay, "delay"), "stamp"))
	message, ok := inner(raw)
	if err != nil || !ok {
		u.note("an entry of an archive without a message and its time was left out")
		return nil
	}
	with := message.To
	if message.From.Bare() != u.owner {
		with = message.From
	} else if with.IsZero() {
		with = u.owner
	}
	u.waiting = append(u.waiting, store.ArchiveAppend{Owner: u.owner, At: at, With: with, Raw: message.Standalone()})
	if len(u.waiting) >= page {
		return u.flush()
	}
	return nil
}

// attrOf is an attribute of an element that may be missing.
func attrOf(n *xmppstream.Node, name string) string {
	if n == nil {
		return ""
	}
	return n.Attr(name)
}

// inner is the message inside of <result><forwarded/></result>.
func inner(raw []byte) (*server.Stanza, bool) {
	for _, want := range []xml.Name{{Space: nsForward, Local: "forwarded"}, {Space: nsClient, Local: "message"}} {
		e, err := xmppstream.ParseElement(raw, limits)
		if err != nil {
			return nil, false
		}
		at := slices.IndexFunc(e.Children, func(c xmppstream.Child) bool { return c.Is(want.Space, want.Local) })
		if at < 0 {
			return nil, false
		}
		raw = e.Raw[e.Children[at].Start:e.Children[at].End]
	}
	st, err := server.ParseStanza(raw)
	return st, err == nil
}

// flush writes what waits for the archive.
func (u *user) flush() error {
	if len(u.waiting) == 0 || u.result.Err != nil {
		u.waiting = nil
		return nil
	}
	_, done := u.st.Archive(u.ctx, u.waiting)
	u.result.Archived += len(u.waiting)
	u.waiting = nil
	u.result.Err = done.Err()
	return nil
}

// finish writes what was gathered, and opens the account.
func (u *user) finish() error {
	if len(u.keys) == 0 && u.password != "" {
		for _, h := range saslserver.Hashes() {
			k, err := saslserver.NewKeys(u.password, h, 0)
			if err != nil {
				return fmt.Errorf("its password cannot be used: %w", err)
			}
			u.keys = append(u.keys, store.Keys{Hash: h.String(), Salt: k.Salt, Iterations: k.Iterations, StoredKey: k.StoredKey, ServerKey: k.ServerKey})
		}
	}
	if len(u.keys) == 0 {
		return ErrKeys
	}
	u.result.Weak = len(u.keys) < len(saslserver.Hashes())
	for _, it := range u.roster {
		if _, err := u.st.PutRosterItem(u.ctx, u.owner, it, maxContacts); err != nil {
			return err
		}
		if it.InRoster {
			u.result.Contacts++
		}
		if it.Sub&store.SubTo != 0 && it.Contact.Local != "" && u.Hosts(it.Contact.Domain) {
			u.claims[it.Contact] = append(u.claims[it.Contact], u.owner)
		}
	}
	if err := u.st.SetAccountKeys(u.ctx, u.owner, u.keys); err != nil {
		return err
	}
	return u.st.SetDisabled(u.ctx, u.owner, u.account.Disabled)
}
