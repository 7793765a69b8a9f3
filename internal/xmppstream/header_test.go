package xmppstream

import (
	"reflect"
	"strings"
	"testing"
)

const ns = " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"

// headers are spellings of the stream header and the condition each gets, "" when accepted.
var headers = []struct {
	name, text, condition string
	want                  *Header
}{
	{"as usual", clientHeader, "", &Header{To: "example.org", Version: "1.0", Prefix: "stream", ContentNS: NSClient}},
	{"no XML declaration", "<stream:stream" + ns + " to='example.org'>", "", &Header{To: "example.org", Prefix: "stream", ContentNS: NSClient}},
	{"double quotes", `<?xml version="1.0" encoding="UTF-8"?><stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" to="example.org" version="1.0">`, "", nil},
	{"encoding in lower case", "<?xml version='1.0' encoding='utf-8'?><stream:stream" + ns + ">", "", nil},
	{"standalone", "<?xml version='1.0' encoding='Utf-8' standalone='yes' ?>\n<stream:stream" + ns + ">", "", nil},
	{"spaced declaration", "<?xml\n version\t=\r\n'1.0'?><stream:stream" + ns + ">", "", nil},
	{"newlines", "\n<stream:stream\n\txmlns='jabber:client'\r\n xmlns:stream = 'http://etherx.jabber.org/streams'\n to='example.org'\n>", "", nil},
	{"other prefix", "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' to='example.org'>", "",
		&Header{To: "example.org", Prefix: "s", ContentNS: NSClient}},
	{"default namespace", "<stream xmlns='http://etherx.jabber.org/streams' to='example.org'>", "", &Header{To: "example.org"}},
	{"prefixed content", "<stream xmlns='http://etherx.jabber.org/streams' xmlns:c='jabber:client'>", "",
		&Header{Decls: []Decl{{"c", NSClient}}}},
	{"extra attributes", "<stream:stream" + ns + " xmlns:x='urn:x' x:a='1' xml:lang='en' from='a@example.org' id='7' foo='bar'>", "",
		&Header{From: "a@example.org", ID: "7", Lang: "en", Prefix: "stream", ContentNS: NSClient, Decls: []Decl{{"x", "urn:x"}}}},
	{"references", "<stream:stream" + ns + " to='example&#46;org&amp;'>", "", &Header{To: "example.org&", Prefix: "stream", ContentNS: NSClient}},
	{"references in namespaces", "<stream:stream xmlns='jabber&#58;client' xmlns:stream='http:&#x2f;/etherx.jabber.org/streams'>", "",
		&Header{Prefix: "stream", ContentNS: NSClient}},
	{"to in a namespace", "<stream:stream" + ns + " xmlns:x='u' x:to='evil.example' to='example.org'>", "",
		&Header{To: "example.org", Prefix: "stream", ContentNS: NSClient, Decls: []Decl{{"x", "u"}}}},
	{"to inside another value", `<stream:stream` + ns + ` id=" to='evil.example' " to='example.org'>`, "",
		&Header{To: "example.org", ID: " to='evil.example' ", Prefix: "stream", ContentNS: NSClient}},
	{"jabber:server", "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>", "", nil},

	{"wrong stream namespace", "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/stream'>", InvalidNamespace, nil},
	{"no namespace", "<stream>", InvalidNamespace, nil},
	{"content namespace", "<stream:stream xmlns='urn:x' xmlns:stream='http://etherx.jabber.org/streams'>", InvalidNamespace, nil},
	{"undeclared prefix", "<stream:stream xmlns='jabber:client'>", NotWellFormed, nil},
	{"another element", "<stream:features" + ns + ">", BadFormat, nil},
	{"closed at once", "<stream:stream" + ns + "/>", BadFormat, nil},
	{"a stanza", "<message xmlns='jabber:client'>", InvalidNamespace, nil},
	{"duplicate to", "<stream:stream" + ns + " to='a' to='b'>", NotWellFormed, nil},
	{"an end tag", "</stream:stream>", NotWellFormed, nil},
	{"text", "hello", NotWellFormed, nil},
	{"HTTP", "GET / HTTP/1.1\r\nHost: localhost:5222\r\n\r\n", NotWellFormed, nil},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00", NotWellFormed, nil},
	{"HTML", "<!DOCTYPE html><html>", RestrictedXML, nil},
	{"comment", "<!-- x --><stream:stream" + ns + ">", RestrictedXML, nil},
	{"DTD", "<?xml version='1.0'?><!DOCTYPE x><stream:stream" + ns + ">", RestrictedXML, nil},
	{"stylesheet", "<?xml-stylesheet href='x'?><stream:stream" + ns + ">", RestrictedXML, nil},
	{"two declarations", "<?xml version='1.0'?><?xml version='1.0'?><stream:stream" + ns + ">", RestrictedXML, nil},
	{"space before the declaration", " <?xml version='1.0'?><stream:stream" + ns + ">", RestrictedXML, nil},
	{"version 1.1", "<?xml version='1.1'?><stream:stream" + ns + ">", NotWellFormed, nil},
	{"no version", "<?xml encoding='UTF-8'?><stream:stream" + ns + ">", NotWellFormed, nil},
	{"nothing declared", "<?xml ?><stream:stream" + ns + ">", NotWellFormed, nil},
	{"wrong order", "<?xml encoding='UTF-8' version='1.0'?><stream:stream" + ns + ">", NotWellFormed, nil},
	{"standalone maybe", "<?xml version='1.0' standalone='maybe'?><stream:stream" + ns + ">", NotWellFormed, nil},
	{"declared twice", "<?xml version='1.0' version='1.0'?><stream:stream" + ns + ">", NotWellFormed, nil},
	{"declaration without spaces", "<?xml version='1.0'encoding='UTF-8'?><stream:stream" + ns + ">", NotWellFormed, nil},
	{"declaration with a bare word", "<?xml version='1.0' x?><stream:stream" + ns + ">", NotWellFormed, nil},
	{"Latin-1", "<?xml version='1.0' encoding='ISO-8859-1'?><stream:stream" + ns + ">", UnsupportedEncoding, nil},
	{"UTF-16 declared", "<?xml version='1.0' encoding='UTF-16'?><stream:stream" + ns + ">", UnsupportedEncoding, nil},
	{"UTF-16 little endian", "<\x00s\x00t\x00", UnsupportedEncoding, nil},
	{"UTF-16 big endian", "\x00<\x00s", UnsupportedEncoding, nil},
	{"UTF-16 with mark", "\xff\xfe<\x00", UnsupportedEncoding, nil},
	{"UTF-16 with other mark", "\xfe\xff\x00<", UnsupportedEncoding, nil},
	{"UTF-8 mark", "\xef\xbb\xbf" + clientHeader, UnsupportedEncoding, nil},
	{"too long", "<stream:stream" + ns + " to='" + strings.Repeat("a", 4096) + "'>", PolicyViolation, nil},
	{"endless space", strings.Repeat(" ", 5000), PolicyViolation, nil},
	{"too many attributes", "<stream:stream" + ns + manyAttrs(40)[2:], PolicyViolation, nil},
	{"cut", "<stream:stream to='exam", "eof", nil},
	{"cut declaration", "<?xml versi", "eof", nil},
	{"nothing", "", "", nil},
}

func TestHeader(t *testing.T) {
	for _, c := range headers {
		t.Run(c.name, func(t *testing.T) {
			for _, rd := range readers([]byte(c.text)) {
				h, err := NewReader(rd, PreAuthLimits()).ReadHeader()
				if c.name == "nothing" {
					if outcome(err) != "" || h != nil {
						t.Errorf("got %+v, %v", h, err)
					}
					continue
				}
				if (err == nil) != (c.condition == "") || err != nil && outcome(err) != c.condition {
					t.Fatalf("error is %v, want %q", err, c.condition)
				}
				if c.want != nil && !reflect.DeepEqual(h, c.want) {
					t.Errorf("header is %+v, want %+v", h, c.want)
				}
			}
		})
	}
}

func TestHeaderAfterRestart(t *testing.T) {
	second := strings.Replace(strings.Replace(clientHeader, "example.org", "second.example", 1), "stream:", "s:", 1)
	second = strings.Replace(second, "xmlns:stream", "xmlns:s", 1)
	for _, between := range []string{"", "\n", "  \r\n"} {
		r := NewReader(strings.NewReader(clientHeader+"<auth/>"+between+second+"<s:a/></s:stream>"), PreAuthLimits())
		if _, err := r.ReadHeader(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadHeader(); err == nil {
			t.Fatal("a second header is read without Restart")
		}
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		r.Restart()
		if _, err := r.Next(); err == nil {
			t.Fatal("an element is read before the header")
		}
		h, err := r.ReadHeader()
		if err != nil || h.To != "second.example" || h.Prefix != "s" {
			t.Fatalf("second header after %q: %+v, %v", between, h, err)
		}
		if e, err := r.Next(); err != nil || !e.Is(NSStream, "a") {
			t.Fatalf("element of the second stream: %+v, %v", e, err)
		}
		if e, err := r.Next(); err != nil || e.Kind != End {
			t.Fatalf("end of the second stream: %+v, %v", e, err)
		}
	}
}
