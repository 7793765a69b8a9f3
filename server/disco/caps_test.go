package disco

import (
	"crypto/sha1"
	"encoding/base64"
	"testing"

	"xmpp-gw/internal/xmppstream"
)

// The examples of XEP-0115 §5.2 and §5.3.
func TestVerification(t *testing.T) {
	for name, tt := range map[string]struct{ xml, ver string }{
		"simple": {`<query xmlns='http://jabber.org/protocol/disco#info'>
<identity category='client' name='Exodus 0.9.1' type='pc'/>
<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>
<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/></query>`,
			"QgayPKawpkPSDYmwT/WM94uAlu0="},
		"complex": {`<query xmlns='http://jabber.org/protocol/disco#info'>
<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>
<identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>
<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>
<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>
<x xmlns='jabber:x:data' type='result'>
<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>
<field var='ip_version' type='text-multi'><value>ipv4</value><value>ipv6</value></field>
<field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>
<field var='software'><value>Psi</value></field><field var='software_version'><value>0.11</value></field></x></query>`,
			"q07IKJEyjvHSyhy//CH0CxmKi8w="},
	} {
		n, err := xmppstream.Parse([]byte(tt.xml), xmppstream.SessionLimits())
		if err != nil {
			t.Fatal(err)
		}
		v, err := Verification(n)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sum := sha1.Sum([]byte(v))
		if got := base64.StdEncoding.EncodeToString(sum[:]); got != tt.ver {
			t.Errorf("%s: %s, want %s (%q)", name, got, tt.ver, v)
		}
	}
}

// XEP-0115 §5.4, and what could be read as another answer.
func TestIllFormed(t *testing.T) {
	for name, children := range map[string]string{
		"identity twice": `<identity category='a' type='b'/><identity category='a' type='b'/>`,
		"feature twice":  `<feature var='a'/><feature var='a'/>`,
		"form twice": `<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value></field></x>
<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value></field></x>`,
		"two FORM_TYPEs": `<x xmlns='jabber:x:data'><field var='FORM_TYPE' type='hidden'><value>a</value><value>b</value></field></x>`,
		"delimiter":      `<feature var='a&lt;b'/>`,
	} {
		n, err := xmppstream.Parse([]byte("<query xmlns='"+NSInfo+"'>"+children+"</query>"), xmppstream.SessionLimits())
		if err != nil {
			t.Fatal(err)
		}
		if v, err := Verification(n); err == nil {
			t.Errorf("%s: %q", name, v)
		}
	}
}
