package archive

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/dataform"
	"xmpp-gw/server/store"
)

const (
	nsRSM      = "http://jabber.org/protocol/rsm"
	nsValidate = "http://jabber.org/protocol/xdata-validate"
)

// Sizes of a page.
const (
	defaultPage = 50
	maxPage     = 250
	maxIDs      = 250
	// maxPageBytes is half of what may wait for a session by default.
	maxPageBytes = 2 << 20
)

// query answers a query with the messages that match, and then the result. An
// archive is its owner's alone.
func (m *module) query(ctx context.Context, q *server.IQ) ([]byte, error) {
	if !q.Own() {
		return nil, server.ErrForbidden
	}
	if q.Type == "get" {
		return form, nil
	}
	if q.Payload.Attr("node") != "" {
		return nil, server.ErrItemNotFound
	}
	w, err := parseQuery(q.Payload)
	if err != nil {
		return nil, err
	}
	page, err := m.storage.QueryArchive(ctx, q.Owner, w)
	if err != nil {
		return nil, errFrom(err)
	}
	result := fin(page)
	if q.Payload.Child(NS, "flip-page") != nil { // §4.4: only the order in which they are sent
		slices.Reverse(page.Entries)
	}
	for _, e := range page.Entries {
		if err := m.send(ctx, q, e); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// send sends one message of the archive (§4.2).
func (m *module) send(ctx context.Context, q *server.IQ, e store.ArchiveEntry) error {
	b := make([]byte, 0, len(e.Raw)+300)
	b = append(b, "<result xmlns='"+NS+"' id='"...)
	b = append(append(b, e.ID...), '\'')
	if id := q.Payload.Attr("queryid"); id != "" {
		b = append(xmppstream.Escape(append(b, " queryid='"...), id), '\'')
	}
	b = append(b, "><forwarded xmlns='"+nsForward+"'><delay xmlns='"+nsDelay+"' stamp='"...)
	b = append(append(b, stamp(e.At)...), "'/>"...)
	b = append(append(b, e.Raw...), "</forwarded></result>"...)
	return q.Session.SendIn(ctx, server.NewMessage(q.Owner, q.From, "", "", b))
}

// fin is the payload of the result: which page that was (§4.3, XEP-0059 §2).
func fin(p store.ArchivePage) []byte {
	b := []byte("<fin xmlns='" + NS + "'")
	if p.Complete || p.Total == 0 {
		b = append(b, " complete='true'"...)
	}
	b = append(b, "><set xmlns='"+nsRSM+"'>"...)
	if n := len(p.Entries); n > 0 {
		b = append(b, "<first"...)
		if p.First >= 0 {
			b = append(strconv.AppendInt(append(b, " index='"...), int64(p.First), 10), '\'')
		}
		b = append(append(append(b, '>'), p.Entries[0].ID...), "</first><last>"...)
		b = append(append(b, p.Entries[n-1].ID...), "</last>"...)
	}
	if p.Total >= 0 {
		b = append(strconv.AppendInt(append(b, "<count>"...), int64(p.Total), 10), "</count>"...)
	}
	return append(b, "</set></fin>"...)
}

// metadata tells where the archive begins and ends (§4.1).
func (m *module) metadata(ctx context.Context, q *server.IQ) ([]byte, error) {
	if !q.Own() {
		return nil, server.ErrForbidden
	}
	if q.Type != "get" {
		return nil, server.ErrBadRequest
	}
	first, last, err := m.storage.ArchiveEnds(ctx, q.Owner)
	if err != nil {
		return nil, err
	}
	b := []byte("<metadata xmlns='" + NS + "'>")
	for _, end := range []struct {
		name string
		e    *store.ArchiveEntry
	}{{"start", first}, {"end", last}} {
		if end.e != nil {
			b = append(append(append(b, '<'), end.name...), " id='"...)
			b = append(append(append(b, end.e.ID...), "' timestamp='"...), stamp(end.e.At)...)
			b = append(b, "'/>"...)
		}
	}
	return append(b, "</metadata>"...), nil
}

// parseQuery reads <query/>: its form and its result set.
func parseQuery(n *xmppstream.Node) (store.ArchiveQuery, error) {
	var w store.ArchiveQuery
	form, err := dataform.Submitted(n, NS)
	if err == nil && form != nil {
		err = parseForm(form, &w)
	}
	if err != nil {
		return w, err
	}
	return w, parsePage(n.Child(nsRSM, "set"), &w)
}

func parseForm(form *dataform.Submission, w *store.ArchiveQuery) error {
	if form.Type != dataform.TypeSubmit || !form.Has("FORM_TYPE") {
		return server.ErrBadRequest
	}
	for _, name := range form.Names() {
		value := form.Value(name)
		var err error
		switch name {
		case "with":
			if w.With, err = address.Parse(value); err != nil {
				return server.ErrJIDMalformed
			}
		case "start":
			w.Start, err = parseStamp(value)
		case "end":
			w.End, err = parseStamp(value)
		case "after-id":
			w.AfterID = orNone(value)
		case "before-id":
			w.BeforeID = orNone(value)
		case "ids":
			w.IDs = form.Values(name)
			switch {
			case len(w.IDs) == 0:
				return server.ErrBadRequest.Because("No message is asked for.")
			case len(w.IDs) > maxIDs:
				return server.ErrPolicyViolation.Because("Too many messages are asked for at once.")
			}
		default:
			return server.ErrFeatureNotImplemented // §4.1.5: an unknown field
		}
		if err != nil {
			return server.ErrBadRequest.Because("A time is not as XEP-0082 wants it.")
		}
	}
	return nil
}

// orNone makes of an id that is not there one that no message has.
func orNone(id string) string {
	if id == "" {
		return "-"
	}
	return id
}

// parsePage reads which page is wanted (XEP-0059).
func parsePage(set *xmppstream.Node, w *store.ArchiveQuery) error {
	w.Max, w.MaxBytes = defaultPage, maxPageBytes
	if set == nil {
		return nil
	}
	if max := set.Child(nsRSM, "max"); max != nil {
		n, err := strconv.ParseUint(strings.TrimSpace(max.Text), 10, 31)
		if err != nil {
			return server.ErrBadRequest
		}
		if w.Max = min(int(n), maxPage); n == 0 { // XEP-0059 §2.7: only the number is wanted
			w.Max, w.Total = -1, true
		}
	}
	if set.Child(nsRSM, "index") != nil {
		return server.ErrFeatureNotImplemented // XEP-0059 §2.6
	}
	after, before := set.Child(nsRSM, "after"), set.Child(nsRSM, "before")
	if after != nil && before != nil {
		return server.ErrBadRequest
	}
	if after != nil {
		w.PageAfter = after.Text
	}
	if before != nil { // an empty one is the last page
		w.PageBefore, w.Backwards = before.Text, true
	}
	return nil
}

// stamp is a time as XEP-0082 writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// parseStamp reads XEP-0082's DateTime, which RFC 3339 contains.
func parseStamp(s string) (time.Time, error) { return time.Parse(time.RFC3339Nano, s) }

// form are the fields that queries may have (§4.1.5).
var form = []byte("<query xmlns='" + NS + "'><x xmlns='" + dataform.NS + "' type='form'>" +
	"<field type='hidden' var='FORM_TYPE'><value>" + NS + "</value></field>" +
	"<field type='jid-single' var='with'/><field type='text-single' var='start'/><field type='text-single' var='end'/>" +
	"<field type='text-single' var='before-id'/><field type='text-single' var='after-id'/>" +
	"<field type='list-multi' var='ids'><validate xmlns='" + nsValidate + "' datatype='xs:string'><open/></validate></field>" +
	"</x></query>")
