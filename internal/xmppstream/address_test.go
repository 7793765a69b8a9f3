package xmppstream

import (
	"strings"
	"testing"
)

func TestAppendAddressed(t *testing.T) {
	for _, c := range []struct{ name, header, in, want string }{
		{"none before", "", "<message id='1'><body>x</body></message>",
			"<message from='a' to='b' xml:lang='de' id='1'><body>x</body></message>"},
		{"both before", "", "<message to='x' id='1' from='y'><body>x</body></message>",
			"<message from='a' to='b' xml:lang='de' id='1'><body>x</body></message>"},
		{"other order and spaces", "", "<message\tfrom = \"y\" xml:lang='fr'  to='x' ><body>x</body></message>",
			"<message from='a' to='b' xml:lang='fr'  ><body>x</body></message>"},
		{"empty tag", "", "<message to='x'/>", "<message from='a' to='b' xml:lang='de'/>"},
		{"a prefixed from is another attribute", "", "<message xmlns:p='u' p:from='f' from='x'/>",
			"<message from='a' to='b' xml:lang='de' xmlns:p='u' p:from='f'/>"},
		{"declarations of the header", " xmlns:p='u'", "<message to='x'><p:c/></message>",
			"<message from='a' to='b' xml:lang='de' xmlns:p='u'><p:c/></message>"},
		{"a child's addresses stay", "", "<message to='x'><c from='1' to='2'/></message>",
			"<message from='a' to='b' xml:lang='de'><c from='1' to='2'/></message>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			head := strings.Replace(clientHeader, "<stream:stream", "<stream:stream"+c.header, 1)
			r := NewReader(strings.NewReader(head+c.in), SessionLimits())
			if _, err := r.ReadHeader(); err != nil {
				t.Fatal(err)
			}
			e, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			out, shift := e.AppendAddressed(nil, "a", "b", "de")
			if string(out) != c.want {
				t.Fatalf("got  %s\nwant %s", out, c.want)
			}
			for _, k := range e.Children {
				if in, moved := string(e.Raw[k.Start:k.End]), string(out[k.Start+shift:k.End+shift]); in != moved || in[0] != '<' || in[len(in)-1] != '>' {
					t.Errorf("a child was %q and is %q", in, moved)
				}
			}
			if bare, _ := e.AppendAddressed(nil, "", "", ""); strings.Contains(string(bare[:strings.IndexByte(string(bare), '>')]), " to=") {
				t.Errorf("an address is left: %s", bare)
			}
		})
	}
}

func TestChildPlaces(t *testing.T) {
	r := NewReader(strings.NewReader(clientHeader+"<iq>text<a/><b><c><d/></c>x</b> <e></e>end</iq>"), SessionLimits())
	if _, err := r.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range e.Children {
		got = append(got, string(e.Raw[c.Start:c.End]))
	}
	if s := strings.Join(got, "|"); s != "<a/>|<b><c><d/></c>x</b>|<e></e>" {
		t.Error(s)
	}
}

func TestRootAndParseElement(t *testing.T) {
	for _, c := range []struct {
		in              string
		empty, def, str bool
	}{
		{"<message/>", true, true, false},
		{"<message xmlns='jabber:client'><body/></message>", false, false, false},
		{"<c:message xmlns:c='jabber:client'><c:body/></c:message>", false, true, false},
		{"<message><stream:x/></message>", false, true, true},
		{"<message xmlns:stream='urn:s'><stream:x/></message>", false, true, false},
	} {
		e, err := ParseElement([]byte(c.in), SessionLimits())
		if err != nil {
			t.Fatalf("%s: %v", c.in, err)
		}
		if r := e.Root(); !e.Is(NSClient, "message") || r.Empty != c.empty || r.Default != c.def || r.Stream != c.str {
			t.Errorf("%s: %s %s %+v", c.in, e.Space, e.Name, r)
		}
		if n, err := e.Node(); err != nil || !n.Is(NSClient, "message") {
			t.Errorf("%s: %+v, %v", c.in, n, err)
		}
	}
	for _, bad := range []string{"", "x", "<a>", "<a/><b/>", "<a/> ", "<p:a/>", "</a>"} {
		if _, err := ParseElement([]byte(bad), SessionLimits()); err == nil {
			t.Errorf("%q was taken for an element", bad)
		}
	}
}
