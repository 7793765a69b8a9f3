package xmppstream

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// expatScript reads a document a line (base64) and answers with its tree as JSON, or with the
// error as a JSON string. A tree is [name, [attr=value, …], [child or text, …]].
const expatScript = `
import base64, json, sys
import xml.parsers.expat as expat

def full(name):
    space, _, local = name.rpartition('\x1f')
    return '{%s}%s' % (space, local)

def parse(doc):
    root, stack = [], []
    def start(name, attrs):
        node = [full(name), ['%s=%s' % (full(k), v) for k, v in attrs.items()], []]
        (stack[-1][2] if stack else root).append(node)
        stack.append(node)
    def text(data):
        kids = stack[-1][2]
        if kids and isinstance(kids[-1], str):
            kids[-1] += data
        else:
            kids.append(data)
    p = expat.ParserCreate(namespace_separator='\x1f')
    p.StartElementHandler, p.CharacterDataHandler = start, text
    p.EndElementHandler = lambda name: stack.pop()
    p.Parse(doc, True)
    return root[0]

for line in sys.stdin:
    try:
        answer = parse(base64.b64decode(line))
    except (expat.ExpatError, LookupError) as e: # LookupError: an unknown encoding
        answer = str(e)
    print(json.dumps(answer), flush=False)
`

// expatTrees lets expat read the documents, all in one process.
func expatTrees(t *testing.T, docs []string) []any {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("python3 is missing, whose expat is what we compare with: apt install python3 (%v)", err)
	}
	var in, stderr bytes.Buffer
	for _, d := range docs {
		in.WriteString(base64.StdEncoding.EncodeToString([]byte(d)) + "\n")
	}
	cmd := exec.Command(python, "-c", expatScript)
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3 (apt install python3): %v\n%s", err, stderr.String())
	}
	var all []any
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var v any
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if len(all) != len(docs) {
		t.Fatalf("%d answers to %d documents\n%s", len(all), len(docs), stderr.String())
	}
	return all
}

func treeOf(v []any) *tree {
	t := &tree{Name: v[0].(string)}
	for _, a := range v[1].([]any) {
		t.Attrs = append(t.Attrs, a.(string))
	}
	for _, k := range v[2].([]any) {
		switch k := k.(type) {
		case string:
			t.text(k)
		case []any:
			t.Kids = append(t.Kids, treeOf(k))
		}
	}
	return t
}

// What we accept, expat and encoding/xml read as one tree, and so do we. expat is held to the
// letter; encoding/xml but for whitespace in attribute values.
func TestExpatReadsTheSameTree(t *testing.T) {
	known := streams(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	var fine [][]byte
	for _, s := range known {
		if _, _, err := readAll(bytes.NewReader(s), SessionLimits()); outcome(err) == "" && len(s) < 5000 {
			fine = append(fine, s)
		}
	}
	all := known
	for range 10_000 {
		all = append(all, mutate(rnd, fine))
	}
	var docs []string
	var elements [][]got
	for _, s := range all {
		if doc, g := accepted(s, SessionLimits()); doc != "" {
			docs, elements = append(docs, doc), append(elements, g)
		}
	}
	whole := 0
	for i, answer := range expatTrees(t, docs) {
		theirs, ok := answer.([]any)
		if !ok {
			t.Errorf("accepted, but expat says %v\n%q", answer, docs[i])
			continue
		}
		expat := treeOf(theirs)
		if diff := compare(elements[i], expat, false); diff != "" {
			t.Errorf("expat: %s\n%q", diff, docs[i])
		}
		std, err := goTree(docs[i])
		if err != nil {
			t.Errorf("accepted, but encoding/xml says %v\n%q", err, docs[i])
			continue
		}
		if a, b := std.string(true), expat.string(true); a != b {
			t.Errorf("encoding/xml and expat differ in what we accept:\n%s\n%s\n%q", a, b, docs[i])
		}
		if len(elements[i]) > 0 {
			whole++
		}
	}
	t.Logf("%d of %d streams have elements that are accepted", whole, len(all))
	if whole < 2000 {
		t.Error("that is too few to mean something")
	}
}

// pieces are what mutations put in.
var pieces = []string{"<", ">", "/", "'", "\"", "=", "&", ";", ":", " ", "\n", "\t", "\r\n", "]]>", "<![CDATA[", "<!--", "-->", "<?x?>",
	"&lt;", "&amp;", "&#13;", "&#x41;", "&#0;", "<a>", "</a>", "<a/>", "<x:b/>", " xmlns='u'", " xmlns:x='u'", " xmlns:y='v'", " x:a='1'",
	" y:a='1'", " a='1'", " to='t'", " id='&#10;'", "xmlns", "xml:", "xml", "x:", "é", "\u0300", "\ufffe", "\ufeff", "\U0001f600", "\x00", "\x85", "\xff", "日本",
	"</stream:stream>", "stream:", "<b xmlns=''>", "</b>", "0", "-", "."}

// mutate changes one of the streams a little, mostly behind its header.
func mutate(rnd *rand.Rand, known [][]byte) []byte {
	s := bytes.Clone(known[rnd.IntN(len(known))])
	for range 1 + rnd.IntN(2) {
		at := rnd.IntN(len(s) + 1)
		if header := bytes.Index(s, []byte("1.0'>")); header > 0 && rnd.IntN(8) > 0 {
			at = header + 5 + rnd.IntN(len(s)-header-4)
		}
		piece := pieces[rnd.IntN(len(pieces))]
		switch end := min(len(s), at+rnd.IntN(6)); rnd.IntN(4) {
		case 0: // replace
			s = append(append(bytes.Clone(s[:at]), piece...), s[end:]...)
		case 1: // delete
			s = append(bytes.Clone(s[:at]), s[end:]...)
		case 2: // repeat
			end = min(len(s), at+rnd.IntN(60))
			s = append(bytes.Clone(s[:end]), s[at:]...)
		default: // insert
			s = append(append(bytes.Clone(s[:at]), piece...), s[at:]...)
		}
		if len(s) == 0 {
			return s
		}
	}
	return s
}

// The names that we accept are those of both parsers, over the whole Basic Multilingual Plane and
// a part of the next.
func TestNamesAreThoseOfBothParsers(t *testing.T) {
	var names, docs []string
	for r := rune(1); r < 0x11000; r++ {
		if r >= 0xD800 && r < 0xE000 || r < 0x80 && strings.ContainsRune("\t\n\r />:!?", r) {
			continue
		}
		names = append(names, string(r), "a"+string(r))
	}
	for _, n := range names {
		docs = append(docs, "<"+n+"/>")
	}
	for i, answer := range expatTrees(t, docs) {
		_, expat := answer.([]any)
		d := xml.NewDecoder(strings.NewReader(docs[i]))
		_, err := d.Token()
		_, ours := Parse([]byte(docs[i]), SessionLimits())
		if (ours == nil) != expat || (ours == nil) != (err == nil) {
			t.Errorf("name %s: ours %v, expat %v, encoding/xml %v", fmt.Sprintf("%+q", names[i]), ours, expat, err)
		}
	}
}
