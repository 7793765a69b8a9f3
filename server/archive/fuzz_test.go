package archive

import (
	"testing"

	"xmpp-gw/internal/xmppstream"
)

// Whatever a client sends as a query or as preferences, it is read or refused, and
// what was read is within the bounds.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"<query xmlns='urn:xmpp:mam:2'/>", string(form),
		"<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='start'><value>2026-01-01T00:00:00Z</value></field><field var='ids'><value>1</value></field></x><set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set></query>",
		"<prefs xmlns='urn:xmpp:mam:2' default='never'><always><jid>a@b/c</jid></always><never/></prefs>",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
		if err != nil {
			return
		}
		if w, err := parseQuery(n); err == nil && (w.Max > maxPage || w.Max == 0 || w.MaxBytes == 0 || len(w.IDs) > maxIDs) {
			t.Errorf("%+v", w)
		}
		p, err := parsePreferences(n)
		if err != nil {
			return
		}
		again, err := xmppstream.Parse(p.append(nil), xmppstream.SessionLimits())
		if err != nil {
			t.Fatal(err)
		}
		q, err := parsePreferences(again)
		if err != nil || string(q.append(nil)) != string(p.append(nil)) {
			t.Errorf("%s is read as %+v, %v", p.append(nil), q, err)
		}
	})
}
