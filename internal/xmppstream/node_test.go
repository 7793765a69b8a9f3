package xmppstream

import (
	"reflect"
	"strings"
	"testing"
)

func TestNodeRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name string
		node *Node
		want string
	}{
		{"empty", &Node{Space: NSClient, Name: "presence"}, "<presence/>"},
		{"another namespace", &Node{Space: NSTLS, Name: "starttls"}, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"},
		{"no namespace", &Node{Name: "a"}, "<a xmlns=''/>"},
		{"namespaces inside", &Node{Space: NSStream, Name: "features", Children: []*Node{
			{Space: NSSASL, Name: "mechanisms", Children: []*Node{{Space: NSSASL, Name: "mechanism", Text: "PLAIN"}}},
			{Space: NSClient, Name: "x", Children: []*Node{{Space: NSStream, Name: "y"}}},
		}}, "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms><x><stream:y/></x></stream:features>"},
		{"back to the default", &Node{Space: "urn:x", Name: "a", Children: []*Node{{Space: NSClient, Name: "b", Children: []*Node{{Space: "urn:x", Name: "c"}}}}},
			"<a xmlns='urn:x'><b xmlns='jabber:client'><c xmlns='urn:x'/></b></a>"},
		{"escaping", &Node{Space: NSClient, Name: "a", Attrs: []Attr{{"", "b", "<'\"&>\n\t\r"}}, Text: "]]><&\r\n\t'\""},
			"<a b='&lt;&apos;&quot;&amp;&gt;&#10;&#9;&#13;'>]]&gt;&lt;&amp;&#13;&#10;&#9;&apos;&quot;</a>"},
		{"attributes with namespaces", &Node{Space: NSClient, Name: "a", Attrs: []Attr{{NSXML, "lang", "en"}, {"urn:x&y", "b", "1"}, {"urn:z", "b", "2"}}},
			"<a xml:lang='en' xmlns:a1='urn:x&amp;y' a1:b='1' xmlns:a2='urn:z' a2:b='2'/>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := string(c.node.Append(nil))
			if text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
			_, all, err := readAll(strings.NewReader(plainHeader+text), SessionLimits())
			if outcome(err) != "" || len(all) != 1 {
				t.Fatalf("what was written is refused: %v", err)
			}
			if !reflect.DeepEqual(all[0].node, c.node) {
				t.Errorf("read again: %+v", all[0].node)
			}
		})
	}
}

func TestEscapeReplacesWhatXMLCannotSay(t *testing.T) {
	if got := string(Escape(nil, "a\x00\xffé\ufffe😀")); got != "a\uFFFD\uFFFDé\uFFFD😀" {
		t.Errorf("got %q", got)
	}
}

func TestParse(t *testing.T) {
	n, err := Parse([]byte("<a xmlns='u' b='1'>x<c/>y</a>"), PreAuthLimits())
	want := &Node{Space: "u", Name: "a", Attrs: []Attr{{"", "b", "1"}}, at: []int32{1}, Text: "xy", Children: []*Node{{Space: "u", Name: "c"}}}
	if err != nil || !reflect.DeepEqual(n, want) {
		t.Errorf("got %+v, %v", n, err)
	}
	for _, bad := range []string{"", " ", "x", "<a>", "<a/><b/>", "<a/>x", "</stream>", "<x:a/>"} {
		if n, err := Parse([]byte(bad), PreAuthLimits()); err == nil {
			t.Errorf("%q is %+v", bad, n)
		}
	}
	var none *Node
	if none.Child("u", "c") != nil || none.ChildText("u", "c") != "" || n.Child("u", "c") == nil || n.Child("v", "c") != nil {
		t.Error("Child finds the wrong nodes")
	}
}

func TestNodeOfKeepaliveFails(t *testing.T) {
	r := NewReader(strings.NewReader(clientHeader+" "), PreAuthLimits())
	if _, err := r.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := e.Node(); err == nil {
		t.Errorf("a keepalive is %+v", n)
	}
}
