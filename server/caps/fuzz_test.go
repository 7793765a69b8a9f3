package caps

import (
	"crypto/sha1"
	"encoding/base64"
	"testing"

	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server/disco"
)

// Whatever a client answers, what is known of it is within the bounds, and what is
// believed of its kind has all the features that it said.
func FuzzFeatures(f *testing.F) {
	f.Add([]byte("<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc'/><feature var='a+n'/></query>"))
	f.Add([]byte("<query xmlns='http://jabber.org/protocol/disco#info'><x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value></field></x></query>"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		query, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
		if err != nil {
			return
		}
		said := announcedIn(query)
		size := 0
		for name := range said {
			size += len(name)
		}
		if len(said) > maxFeatures || size > maxText {
			t.Errorf("%d features of %d bytes", len(said), size)
		}
		if _, sure := verified(kind{"sha-1", "n", "x"}, query); sure {
			t.Error("a wrong hash is believed")
		}
		text, err := disco.Verification(query)
		if err != nil {
			return
		}
		sum := sha1.Sum([]byte(text))
		known, sure := verified(kind{"sha-1", "n", base64.StdEncoding.EncodeToString(sum[:])}, query)
		if !sure {
			return
		}
		for name := range said {
			if _, ok := known[name]; !ok {
				t.Errorf("%q is not known", name)
			}
		}
	})
}
