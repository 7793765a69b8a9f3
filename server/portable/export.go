package portable

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/store"
	"xmpp-gw/server/vcard"
)

// page is how many messages are read at once.
const page = 200

// Export writes accounts, those of a domain together, to w.
func Export(ctx context.Context, st store.Store, accounts []address.Address, w io.Writer) error {
	e := &exporter{ctx: ctx, st: st, w: bufio.NewWriterSize(w, 64<<10)}
	e.put("<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='" + NS + "'>\n")
	host := ""
	accounts = slices.Clone(accounts)
	slices.SortStableFunc(accounts, func(a, b address.Address) int { return compare(a.Domain, b.Domain) })
	for _, a := range accounts {
		if a.Domain != host {
			if host != "" {
				e.put("</host>\n")
			}
			host = a.Domain
			e.put("<host jid='", escape(host), "'>\n")
		}
		if err := e.user(a); err != nil {
			return fmt.Errorf("an account could not be exported: %w", err)
		}
	}
	if host != "" {
		e.put("</host>\n")
	}
	e.put("</server-data>\n")
	return e.w.Flush()
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

type exporter struct {
	ctx context.Context
	st  store.Store
	w   *bufio.Writer // its first error stays
}

func (e *exporter) put(parts ...string) {
	for _, p := range parts {
		_, _ = e.w.WriteString(p)
	}
}

func (e *exporter) raw(b []byte) { _, _ = e.w.Write(b) }

func escape(s string) string { return string(xmppstream.Escape(nil, s)) }

// user writes one account.
func (e *exporter) user(a address.Address) error {
	account, err := e.st.Account(e.ctx, a)
	if err != nil {
		return err
	}
	e.put("<user name='", escape(a.Local), "'>\n<account xmlns='"+nsOwn+"'")
	if account.Disabled {
		e.put(" disabled='true'")
	}
	if !account.Created.IsZero() {
		e.put(" created='", account.Created.UTC().Format(stampFormat), "'")
	}
	e.put("/>\n")
	for _, part := range []func(address.Address) error{
		e.keys, e.contacts, e.offline, e.private, e.card, e.blocks, e.nodes, e.preferences, e.archive,
	} {
		if err := part(a); err != nil {
			return err
		}
	}
	e.put("</user>\n")
	return e.ctx.Err()
}

// keys writes what the account logs in with.
func (e *exporter) keys(a address.Address) error {
	keys, err := e.st.AccountKeys(e.ctx, a)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	b64 := base64.StdEncoding.EncodeToString
	for _, k := range keys {
		e.put("<scram-credentials xmlns='"+nsSCRAM+"' mechanism='SCRAM-", escape(k.Hash), "'><iter-count>", strconv.Itoa(k.Iterations), "</iter-count><salt>", b64(k.Salt),
			"</salt><server-key>", b64(k.ServerKey), "</server-key><stored-key>", b64(k.StoredKey), "</stored-key></scram-credentials>\n")
	}
	return nil
}

// contacts writes the roster, and the requests that wait.
func (e *exporter) contacts(a address.Address) error {
	r, err := e.st.Roster(e.ctx, a)
	if err != nil {
		return err
	}
	e.put("<query xmlns='" + nsRoster + "'>\n")
	for _, it := range r.Items {
		if !it.InRoster {
			continue
		}
		e.put("<item jid='", escape(it.Contact.String()), "' subscription='", subscriptions[it.Sub], "'")
		if it.Name != "" {
			e.put(" name='", escape(it.Name), "'")
		}
		if it.Ask {
			e.put(" ask='subscribe'")
		}
		if it.Approved {
			e.put(" approved='true'")
		}
		if len(it.Groups) == 0 {
			e.put("/>\n")
			continue
		}
		e.put(">")
		for _, g := range it.Groups {
			e.put("<group>", escape(g), "</group>")
		}
		e.put("</item>\n")
	}
	e.put("</query>\n")
	for _, it := range r.Items {
		if it.Request == nil {
			continue
		}
		st, err := server.ParseStanza(it.Request)
		if err != nil {
			continue // it could not be shown to the owner either
		}
		e.raw(st.Readdress(it.Contact, address.Address{}).Standalone())
		e.put("\n")
	}
	return nil
}

var subscriptions = map[store.Subscription]string{
	store.SubNone: "none", store.SubTo: "to", store.SubFrom: "from", store.SubBoth: "both",
}

// offline writes the messages that wait, each with the time at which it came.
func (e *exporter) offline(a address.Address) error {
	begun := false
	for after := int64(0); ; {
		list, err := e.st.OfflineMessages(e.ctx, a, after, page)
		if err != nil {
			return err
		}
		for _, m := range list {
			after = m.ID
			st, err := server.ParseStanza(m.Raw)
			if err != nil {
				continue
			}
			if !begun {
				begun = true
				e.put("<offline-messages>\n")
			}
			delay := "<delay xmlns='" + nsDelay + "' from='" + escape(a.Domain) + "' stamp='" + m.At.UTC().Format(stampFormat) + "'/>"
			e.raw(withoutDelay(st, a.Domain).With([]byte(delay)).Standalone())
			e.put("\n")
		}
		if len(list) < page {
			break
		}
	}
	if begun {
		e.put("</offline-messages>\n")
	}
	return nil
}

// private writes private storage.
func (e *exporter) private(a address.Address) error {
	keys, err := e.st.ListDocuments(e.ctx, a, kindPrivate)
	if err != nil || len(keys) == 0 {
		return err
	}
	e.put("<query xmlns='" + nsPrivate + "'>\n")
	for _, k := range keys {
		raw, err := e.st.Document(e.ctx, a, kindPrivate, k)
		if err != nil {
			return err
		}
		e.raw(raw)
		e.put("\n")
	}
	e.put("</query>\n")
	return nil
}

func (e *exporter) card(a address.Address) error {
	raw, err := vcard.Get(e.ctx, e.st, a)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	e.raw(raw)
	e.put("\n")
	return err
}

// blocks writes the block list, as its own protocol does.
func (e *exporter) blocks(a address.Address) error {
	list, err := e.st.Blocks(e.ctx, a)
	if err != nil || len(list) == 0 {
		return err
	}
	e.put("<blocklist xmlns='" + nsBlocking + "'>")
	for _, b := range list {
		e.put("<item jid='", escape(b.String()), "'/>")
	}
	e.put("</blocklist>\n")
	return nil
}

// nodes writes personal eventing: the configurations first, then the items.
func (e *exporter) nodes(a address.Address) error {
	nodes, err := e.st.Nodes(e.ctx, a)
	if err != nil || len(nodes) == 0 {
		return err
	}
	e.put("<pubsub xmlns='" + nsPubSubOwner + "'>\n")
	for _, n := range nodes {
		e.put("<configure node='", escape(n.Name), "'>")
		e.raw(n.Config)
		e.put("</configure>\n")
	}
	e.put("</pubsub>\n<pubsub xmlns='" + nsPubSub + "'>\n")
	for _, n := range nodes {
		items, err := e.st.Items(e.ctx, a, n.Name, nil, maxItems)
		if err != nil {
			return err
		}
		e.put("<items node='", escape(n.Name), "'>")
		for _, it := range slices.Backward(items) { // the newest is the last
			e.put("<item id='", escape(it.ID), "'>")
			e.raw(it.Raw)
			e.put("</item>")
		}
		e.put("</items>\n")
	}
	e.put("</pubsub>\n")
	return nil
}

// preferences writes whose messages the archive keeps.
func (e *exporter) preferences(a address.Address) error {
	raw, err := e.st.Document(e.ctx, a, kindArchive, keyPreferences)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	e.raw(raw)
	e.put("\n")
	return err
}

// archive writes the history.
func (e *exporter) archive(a address.Address) error {
	begun := false
	for after := ""; ; {
		p, err := e.st.QueryArchive(e.ctx, a, store.ArchiveQuery{Max: page, PageAfter: after})
		if err != nil {
			return err
		}
		for _, m := range p.Entries {
			if !begun {
				begun = true
				e.put("<archive xmlns='" + nsArchive + "'>\n")
			}
			after = m.ID
			e.put("<result xmlns='"+nsMAM+"' id='", escape(m.ID), "'><forwarded xmlns='"+nsForward+"'><delay xmlns='"+nsDelay+"' stamp='", m.At.UTC().Format(stampFormat), "'/>")
			e.raw(m.Raw)
			e.put("</forwarded></result>\n")
		}
		if p.Complete || len(p.Entries) == 0 {
			break
		}
	}
	if begun {
		e.put("</archive>\n")
	}
	return nil
}

// withoutDelay is a message without what this server said of its time.
func withoutDelay(st *server.Stanza, domain string) *server.Stanza {
	return st.Without(func(space, name string, raw []byte) bool {
		if space != nsDelay || name != "delay" {
			return false
		}
		n, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
		return err == nil && n.Attr("from") == domain
	})
}
