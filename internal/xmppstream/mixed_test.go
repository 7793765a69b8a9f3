package xmppstream

import "testing"

// Text between children stays where it was, as long as nobody changes them.
func TestMixedContent(t *testing.T) {
	for _, raw := range []string{
		"<a xmlns='u'>1<b/>2<c>x<d/>y</c>3</a>", "<a xmlns='u'><b/>2</a>", "<a xmlns='u'>1<b/></a>",
		"<a xmlns='u'>1<b/><c/></a>", "<a xmlns='u'><b/><c/>3</a>", "<a xmlns='u'><b/>2<c/></a>", "<a xmlns='u'>&lt;<b/>&amp;<c/></a>",
		"<a xmlns='u'><b/><c/></a>", "<a xmlns='u'>1</a>", "<a xmlns='u'/>",
	} {
		n, err := Parse([]byte(raw), SessionLimits())
		if err != nil {
			t.Fatal(err)
		}
		if got := string(n.Append(nil)); got != raw {
			t.Errorf("%s is written as %s", raw, got)
		}
		n.Children = append(n.Children, &Node{Space: "u", Name: "e"})
		again, err := Parse(n.Append(nil), SessionLimits())
		if err != nil || again.Text != n.Text || len(again.Children) != len(n.Children) {
			t.Errorf("%s with another child is written as %s, %v", raw, n.Append(nil), err)
		}
		n.Children, n.Text = n.Children[:len(n.Children)-1], ""
		if again, err = Parse(n.Append(nil), SessionLimits()); err != nil || again.Text != "" {
			t.Errorf("%s without text is written as %s, %v", raw, n.Append(nil), err)
		}
	}
}
