package disco

import (
	"strings"
	"testing"

	"xmpp-gw/internal/xmppstream"
)

// Of whatever a client answers, the verification string has each feature as a part
// of its own, so that no two lists of features have the same string.
func FuzzVerification(f *testing.F) {
	f.Add([]byte("<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc'/><feature var='a'/><feature var='b'/></query>"))
	f.Add([]byte("<query xmlns='http://jabber.org/protocol/disco#info'><x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value></field><field var='b'><value>c</value></field></x></query>"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := xmppstream.Parse(raw, xmppstream.SessionLimits())
		if err != nil {
			return
		}
		text, err := Verification(n)
		if err != nil {
			return
		}
		parts := map[string]bool{}
		for part := range strings.SplitSeq(text, "<") {
			parts[part] = true
		}
		for _, c := range n.Children {
			if v := c.Attr("var"); c.Is(NSInfo, "feature") && !parts[v] {
				t.Errorf("%q is not a part of %q", v, text)
			}
		}
	})
}
