package xmppstream

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// entry is what a stream says after clientHeader, and the condition of the stream error that it
// gets, "" for none. All tests that need streams draw on these and on the committed fuzz corpus.
type entry struct {
	name, body, condition string
}

var entries = []entry{
	{"chat message", chatMessage, ""},
	{"OMEMO message", omemoMessage, ""},
	{"empty element", "<r xmlns='urn:xmpp:sm:3'/>", ""},
	{"keepalives", " \n\t\r\n<presence/> <presence/>\n", ""},
	{"end", "<presence/></stream:stream>", ""},
	{"end with space", "<presence/></stream:stream \n>", ""},
	{"both quotes", `<iq id="it's" to='say "hi"'/>`, ""},
	{"space everywhere", "<iq\n\tid = \n'1'\r\n type\t=\t\"get\" ><ping xmlns='urn:xmpp:ping' / ></iq>", NotWellFormed},
	{"space where allowed", "<iq\n\tid = \n'1'\r\n type\t=\t\"get\" ><ping xmlns='urn:xmpp:ping' /></iq\n>", ""},
	{"line break in value", "<iq id='a\nb\tc\rd\r\ne'/>", ""},
	{"line ends in text", "<a>x\r\ny\rz\n\r\n</a>", ""},
	{"greater-than", "<a b='>'>></a>", ""},
	{"nested", "<a><b><c><d/></c>x</b>y</a>", ""},
	{"same name inside", "<a><a><a/></a></a>", ""},
	{"names", "<a-b.c_d9 _x='1' -y='2'/>", NotWellFormed},
	{"odd names", "<a-b.c_d9 _x='1' x-y.z='2'/>", ""},
	{"names beyond ASCII", "<é日本 ключ='1'><a·b/></é日本>", ""},
	{"name of the fifth edition", "<\u0132a/>", NotWellFormed},
	{"name beyond the BMP", "<\U00010000/>", NotWellFormed},
	{"name starts with a digit", "<9/>", NotWellFormed},
	{"name starts with a combining character", "<\u0300a/>", NotWellFormed},
	{"text of many scripts", "<body>Zoë, Алиса, 愛麗絲, 👩‍💻 \u00a0\ufeff\U0010ffff</body>", ""},

	{"CDATA", "<body><![CDATA[<&]]]]><![CDATA[>]]>x<![CDATA[]]></body>", ""},
	{"CDATA line ends", "<body><![CDATA[a\r\nb\rc\r]]>\n</body>", ""},
	{"CDATA full of brackets", "<body><![CDATA[]]]]]]></body>", ""},
	{"CDATA between stanzas", "<a/><![CDATA[x]]>", RestrictedXML},
	{"CDATA never ends", "<a><![CDATA[x]] ></a>", "eof"},
	{"CDATA in lower case", "<a><![cdata[x]]></a>", RestrictedXML},
	{"CDATA end in text", "<a>]]></a>", NotWellFormed},
	{"brackets in text", "<a>]] >]]]x]]&gt;]&#93;></a>", ""},
	{"CDATA end in value", "<a b=']]>'/>", ""},

	{"entities", "<a b='&lt;&gt;&amp;&quot;&apos;'>&lt;&gt;&amp;&quot;&apos;</a>", ""},
	{"character references", "<a b='&#65;&#x42;&#10;&#9;&#13;'>&#x1F600;&#0065;&#xd;&#x00000A;</a>", ""},
	{"reference to U+FFFE", "<a>&#xFFFE;</a>", NotWellFormed},
	{"reference to NUL", "<a>&#0;</a>", NotWellFormed},
	{"reference to a surrogate", "<a>&#xD800;</a>", NotWellFormed},
	{"reference beyond Unicode", "<a>&#x110000;</a>", NotWellFormed},
	{"reference that overflows", "<a>&#4294967361;</a>", NotWellFormed},
	{"reference in upper case", "<a>&#X41;</a>", NotWellFormed},
	{"reference without digits", "<a>&#;</a>", NotWellFormed},
	{"reference without hex digits", "<a>&#x;</a>", NotWellFormed},
	{"bare ampersand", "<a>a & b</a>", NotWellFormed},
	{"unknown entity", "<a>&nbsp;</a>", RestrictedXML},
	{"unknown entity in value", "<a b='&copy;'/>", RestrictedXML},
	{"entity without end", "<a>&amp</a>", RestrictedXML},
	{"billion laughs", `<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol1 "&lol;&lol;&lol;">]><a>&lol1;</a>`, RestrictedXML},
	{"DTD inside", `<a><!DOCTYPE x></a>`, RestrictedXML},
	{"comment", "<a><!-- hi --></a>", RestrictedXML},
	{"comment between stanzas", "<a/><!-- hi --><a/>", RestrictedXML},
	{"processing instruction", "<a><?php echo ?></a>", RestrictedXML},
	{"processing instruction between stanzas", "<?x y?><a/>", RestrictedXML},
	{"XML declaration in the stream", "<a/><?xml version='1.0'?>", RestrictedXML},

	{"text between stanzas", "<a/>x<a/>", BadFormat},
	{"reference between stanzas", "<a/>&#32;<a/>", BadFormat},
	{"wrong end tag", "<a><b></a></b>", NotWellFormed},
	{"longer end tag", "<a></ab>", NotWellFormed},
	{"end tag of another prefix", "<x:a xmlns:x='u' xmlns:y='u'></y:a>", NotWellFormed},
	{"end tag with an attribute", "<a></a b='c'>", NotWellFormed},
	{"end tag alone", "</a>", NotWellFormed},
	{"end tag with a space first", "<a></ a>", NotWellFormed},
	{"end of another stream", "</s:stream>", NotWellFormed},
	{"stream end inside", "<a></stream:stream>", NotWellFormed},
	{"space before name", "< a/>", NotWellFormed},
	{"no name", "<>", NotWellFormed},
	{"slash in tag", "<a / b='c'/>", NotWellFormed},
	{"attributes without space", "<a b='1'c='2'/>", NotWellFormed},
	{"attribute without value", "<a b/>", NotWellFormed},
	{"attribute without quotes", "<a b=1/>", NotWellFormed},
	{"less-than in value", "<a b='<'/>", NotWellFormed},
	{"duplicate attribute", "<a b='1' b='2'/>", NotWellFormed},
	{"duplicate attribute by namespace", "<a xmlns:x='u' xmlns:y='u' x:b='1' y:b='2'/>", NotWellFormed},
	{"same local name, other namespaces", "<a xmlns:x='u' xmlns:y='v' x:b='1' y:b='2' b='3'/>", ""},
	{"duplicate declaration", "<a xmlns='u' xmlns='u'/>", NotWellFormed},
	{"undeclared prefix", "<x:a/>", NotWellFormed},
	{"undeclared attribute prefix", "<a x:b='1'/>", NotWellFormed},
	{"prefix out of scope", "<a><b xmlns:x='u'/><x:c/></a>", NotWellFormed},
	{"prefix declared after use", "<x:a x:b='1' xmlns:x='u'><x:c/></x:a>", ""},
	{"prefix redeclared", "<x:a xmlns:x='u'><x:b xmlns:x='v'><x:c/></x:b><x:d/></x:a>", ""},
	{"default redeclared", "<a xmlns='u'><b xmlns=''><c/></b><d/></a>", ""},
	{"prefix undeclared", "<a xmlns:x='u'><b xmlns:x=''/></a>", NotWellFormed},
	{"references in a namespace", "<a xmlns='urn:&#x78;&amp;y'><b xmlns='u&#10;v\nw'/></a>", ""},
	{"xml prefix", "<a xml:lang='en'><xml:b/></a>", ""},
	{"xml prefix declared", "<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='en'/>", ""},
	{"xml prefix rebound", "<a xmlns:xml='u'/>", NotWellFormed},
	{"xml namespace under another prefix", "<a xmlns:x='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed},
	{"xml namespace as the default", "<a xmlns='http://www.w3.org/XML/1998/namespace'/>", NotWellFormed},
	{"xmlns prefix declared", "<a xmlns:xmlns='u'/>", NotWellFormed},
	{"xmlns namespace", "<a xmlns:x='http://www.w3.org/2000/xmlns/'/>", NotWellFormed},
	{"xmlns prefix on an element", "<xmlns:a/>", NotWellFormed},
	{"element xmlns", "<xmlns/>", NotWellFormed},
	{"two colons", "<a:b:c xmlns:a='u'/>", NotWellFormed},
	{"colon first", "<:a/>", NotWellFormed},
	{"colon last", "<a: xmlns:a='u'/>", NotWellFormed},
	{"local name starts with a digit", "<x:9 xmlns:x='u'/>", NotWellFormed},
	{"stream prefix", "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>", ""},

	{"control character", "<a>\x01</a>", NotWellFormed},
	{"control character in value", "<a b='\x1f'/>", NotWellFormed},
	{"NUL in tag", "<a \x00/>", NotWellFormed},
	{"DEL and C1 controls", "<a b='\x7f'>\x7f\u0085\u009f</a>", ""},
	{"U+FFFE", "<a>\ufffe</a>", NotWellFormed},
	{"U+FFFF in CDATA", "<a><![CDATA[\uffff]]></a>", NotWellFormed},
	{"invalid UTF-8", "<a>\xff</a>", UnsupportedEncoding},
	{"overlong UTF-8", "<a>\xc0\xaf</a>", UnsupportedEncoding},
	{"surrogate in UTF-8", "<a b='\xed\xa0\x80'/>", UnsupportedEncoding},
	{"beyond Unicode in UTF-8", "<a>\xf4\x90\x80\x80</a>", UnsupportedEncoding},
	{"UTF-8 cut short", "<a>\xe2\x82</a>", UnsupportedEncoding},
	{"UTF-8 cut short in CDATA", "<a><![CDATA[\xe2\x82]]></a>", UnsupportedEncoding},
	{"invalid UTF-8 between stanzas", "\xff", UnsupportedEncoding},
	{"Latin-1 name", "<\xe9/>", UnsupportedEncoding},

	{"cut in a tag", "<message to='a", "eof"},
	{"cut in a bad tag", "<message to='a' to=", NotWellFormed},
	{"cut in text", "<a>text", "eof"},
	{"cut in a reference", "<a>&am", "eof"},
	{"cut in a character", "<a>\xe2\x82", "eof"},
	{"deep", strings.Repeat("<a>", 128) + strings.Repeat("</a>", 128), ""},
	{"too deep", strings.Repeat("<a>", 129) + strings.Repeat("</a>", 129), PolicyViolation},
	{"many attributes", manyAttrs(128), ""},
	{"too many attributes", manyAttrs(129), PolicyViolation},
	{"too many declarations", strings.Repeat("<a "+strings.Repeat(" ", 1)+decls(100)+">", 3), PolicyViolation},
	{"long text", "<body>" + strings.Repeat("all work and no play & ", 0) + strings.Repeat("Lorem ipsum dolor sit amet ", 1500) + "</body>", ""},
	{"long value", "<a b='" + strings.Repeat("0123456789", 2000) + "'/>", ""},
}

func manyAttrs(n int) string {
	var b strings.Builder
	b.WriteString("<a")
	for i := range n {
		b.WriteString(" a" + strconv.Itoa(i) + "=''")
	}
	return b.String() + "/>"
}

func decls(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("xmlns:a" + strconv.Itoa(i) + "='u' ")
	}
	return b.String()
}

// corpus returns every committed entry of the fuzz target: its first argument.
func corpus(t testing.TB, target string) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata/fuzz", target, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no committed corpus for %s: %v", target, err)
	}
	var all [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Split(string(b), "\n")[1]
		s, err := strconv.Unquote(strings.TrimSuffix(strings.TrimPrefix(line, "[]byte("), ")"))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all = append(all, []byte(s))
	}
	return all
}

// streams returns all whole streams that tests know.
func streams(t testing.TB) [][]byte {
	all := corpus(t, "FuzzDifferential")
	for _, e := range entries {
		all = append(all, []byte(clientHeader+e.body))
	}
	return all
}

// got is one thing that a Reader returned, copied.
type got struct {
	kind     Kind
	raw      string
	head     string
	appended string
	node     *Node
}

// readAll reads a stream to its end; keepalives that follow each other become one.
func readAll(rd io.Reader, lim Limits) (h *Header, all []got, err error) {
	r := NewReader(rd, lim)
	defer r.Release()
	if h, err = r.ReadHeader(); err != nil {
		return nil, nil, err
	}
	for {
		e, err := r.Next()
		if err != nil {
			return h, all, err
		}
		g := got{kind: e.Kind, raw: string(e.Raw), appended: string(e.Append(nil))}
		if e.Kind == Stanza {
			g.head = headString(e)
			if g.node, err = e.Node(); err != nil {
				return h, all, errors.New("no tree of an accepted element: " + err.Error())
			}
		}
		if n := len(all); e.Kind == Whitespace && n > 0 && all[n-1].kind == Whitespace {
			all[n-1].raw += g.raw
			all[n-1].appended += g.appended
			continue
		}
		all = append(all, g)
	}
}

func headString(e *Element) string {
	var b bytes.Buffer
	for _, v := range [][]byte{e.Space, e.Name, e.To, e.From, e.ID, e.Type} {
		if v == nil {
			b.WriteString("- ")
		} else {
			b.WriteString(strconv.Quote(string(v)) + " ")
		}
	}
	for _, c := range e.Children {
		b.WriteString(strconv.Quote(string(c.Space)) + strconv.Quote(string(c.Name)) + " ")
	}
	return b.String()
}

// outcome names how a stream ended: a condition, "eof" inside an element, "" for a clean end.
func outcome(err error) string {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Condition
	case err == io.EOF:
		return ""
	case err == io.ErrUnexpectedEOF:
		return "eof"
	}
	return "unexpected: " + err.Error()
}
