package xmppstream

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const clientHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0'>"

// readers are ways to read the same bytes.
func readers(b []byte) []io.Reader {
	return []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b)), iotest.HalfReader(bytes.NewReader(b))}
}

func TestStreams(t *testing.T) {
	for _, e := range entries {
		t.Run(e.name, func(t *testing.T) {
			for _, rd := range readers([]byte(clientHeader + e.body)) {
				_, all, err := readAll(rd, SessionLimits())
				if outcome(err) != e.condition {
					t.Fatalf("ends with %v, want %q", err, e.condition)
				}
				if e.condition == "" && len(all) == 0 {
					t.Fatal("nothing was read")
				}
				checkCarry(t, all)
			}
		})
	}
}

// Every stream reads the same wherever it is cut in two. The few that are long, long runs of the
// same, are not cut at each byte.
func TestSplitAtEveryByte(t *testing.T) {
	for _, s := range streams(t) {
		step := 1
		if len(s) > 4000 {
			step = 97
		}
		want := readWhole(s, SessionLimits())
		for cut := 1; cut < len(s); cut += step {
			want.same(t, s, io.MultiReader(bytes.NewReader(s[:cut]), bytes.NewReader(s[cut:])), SessionLimits())
		}
	}
}

func TestReaderYieldsHeads(t *testing.T) {
	r := NewReader(strings.NewReader(clientHeader+"<message to='a&amp;b@example.org' x:from='no' xmlns:x='u' id=\"1\" type='chat'><body>hi<z/></body><x xmlns='urn:x'/><x:y/></message>\n </stream:stream>"), SessionLimits())
	if _, err := r.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if !e.Is(NSClient, "message") || string(e.To) != "a&b@example.org" || string(e.ID) != "1" || string(e.Type) != "chat" || e.From != nil {
		t.Errorf("head %q %q to %q id %q type %q from %q", e.Space, e.Name, e.To, e.ID, e.Type, e.From)
	}
	if len(e.Children) != 3 || !e.HasChild(NSClient, "body") || !e.HasChild("urn:x", "x") || !e.HasChild("u", "y") || e.HasChild(NSClient, "z") {
		t.Errorf("children %+v", e.Children)
	}
	n, err := e.Node()
	if err != nil || n.ChildText(NSClient, "body") != "hi" || n.Attr("to") != "a&b@example.org" || n.Attr("from") != "" {
		t.Errorf("node %+v, %v", n, err)
	}
	for _, want := range []Kind{Whitespace, End} {
		if e, err := r.Next(); err != nil || e.Kind != want || e.Name != nil || e.To != nil {
			t.Errorf("got %+v, %v; want kind %d", e, err, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestLimits(t *testing.T) {
	base := Limits{Bytes: 100, Depth: 3, Attrs: 4, Elements: 4, Header: 1000}
	for _, c := range []struct {
		name, body string
		ok         bool
	}{
		{"bytes", "<a>" + strings.Repeat("x", 93) + "</a>", true},
		{"one byte more", "<a>" + strings.Repeat("x", 94) + "</a>", false},
		{"a tag that never ends", "<a b='" + strings.Repeat("x", 1000), false},
		{"text that never ends", "<a>" + strings.Repeat("x", 1000), false},
		{"many small stanzas", strings.Repeat("<a/>", 1000), true},
		{"whitespace is not a stanza", strings.Repeat(" ", 5000) + "<a/>", true},
		{"depth", "<a><a><a/></a></a>", true},
		{"one deeper", "<a><a><a><a/></a></a></a>", false},
		{"attributes", "<a b='' c='' d='' e=''><a b='' c='' d='' e=''/></a>", true},
		{"one attribute more", "<a b='' c='' d='' e='' f=''/>", false},
		{"elements", "<a><b/><b/><b/></a>", true},
		{"one element more", "<a><b/><b/><b/><b/></a>", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, rd := range readers([]byte(clientHeader + c.body)) {
				_, _, err := readAll(rd, base)
				if c.ok && outcome(err) != "" || !c.ok && outcome(err) != PolicyViolation {
					t.Errorf("ends with %v", err)
				}
			}
		})
	}
	if _, err := NewReader(strings.NewReader(clientHeader), Limits{}).ReadHeader(); outcome(err) != PolicyViolation {
		t.Errorf("zero limits accept a header: %v", err)
	}
	r := NewReader(strings.NewReader(clientHeader+"<a/>"), base)
	if _, err := r.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	r.SetLimits(Limits{})
	if _, err := r.Next(); outcome(err) != PolicyViolation {
		t.Errorf("zero limits accept an element: %v", err)
	}
}

// A stanza that comes a byte at a time costs no more than in proportion to its length.
func TestNoRescan(t *testing.T) {
	const size = 400_000
	for name, body := range map[string]string{
		"value": "<a b='" + strings.Repeat("x", size) + "'/>",
		"marks": "<a b='" + strings.Repeat(">", size) + "'/>",
		"text":  "<a>" + strings.Repeat("x", size) + "</a>",
		"CDATA": "<a><![CDATA[" + strings.Repeat("]", size) + "]]></a>",
		"tags":  "<a>" + strings.Repeat("<b/>", 30_000) + "</a>",
		"space": "<a" + strings.Repeat(" ", size) + "/>",
	} {
		begin := time.Now()
		_, all, err := readAll(iotest.OneByteReader(strings.NewReader(clientHeader+body)), SessionLimits())
		if len(all) != 1 || outcome(err) != "" {
			t.Errorf("%s: %d elements, %v", name, len(all), err)
		}
		// Reading all again for each byte would take minutes.
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
}

// blocking gives one piece a read, and says when it is waited for.
type blocking struct {
	pieces []string
	sizes  []int // lengths of the slices that were read into
}

func (b *blocking) Read(p []byte) (int, error) {
	b.sizes = append(b.sizes, len(p))
	if len(b.pieces) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, b.pieces[0])
	if b.pieces[0] = b.pieces[0][n:]; b.pieces[0] == "" {
		b.pieces = b.pieces[1:]
	}
	return n, nil
}

func TestIdleReaderHoldsNoBuffer(t *testing.T) {
	src := &blocking{pieces: []string{clientHeader, "<a/>", "<b to='&lt;" + strings.Repeat("d", 9000) + "'>" + strings.Repeat("<e/>", 9000) + "</b>"}}
	r := NewReader(src, SessionLimits())
	if _, err := r.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if cap(r.el.Children) < 9000 || cap(r.scan.arena) < 9000 {
		t.Error("the large stanza is not large")
	}
	if _, err := r.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if r.buf != nil || r.pooled != nil {
		t.Error("a reader that waits between stanzas holds a buffer")
	}
	if n := cap(r.el.Children) + cap(r.scan.head.children) + cap(r.scan.arena); n > 4096 {
		t.Errorf("a large stanza leaves its traces: %d", n)
	}
	if n := src.sizes[len(src.sizes)-1]; n > 64 {
		t.Errorf("an idle reader waits with %d bytes", n)
	}
}

// A timeout is not the end: the next call goes on in the middle of the stanza.
func TestTimeoutInsideStanza(t *testing.T) {
	src := &blocking{pieces: []string{clientHeader + "<message><bo"}}
	r := NewReader(src, SessionLimits())
	if _, err := r.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := r.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
	}
	src.pieces = []string{"dy>hi</body></mess", "age><next/>"}
	e, err := r.Next()
	if err != nil || string(e.Raw) != "<message><body>hi</body></message>" {
		t.Fatalf("got %+v, %v", e, err)
	}
	if n := r.Buffered(); n != len("<next/>") {
		t.Errorf("%d bytes buffered", n)
	}
}

func TestBeforeReadComesBeforeEachRead(t *testing.T) {
	src := &blocking{pieces: []string{clientHeader + "<a/><b/>", "<c>", "</c>"}}
	r := NewReader(src, SessionLimits())
	calls := 0
	r.BeforeRead = func() error { calls++; return nil }
	if _, err := r.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if calls != len(src.sizes) {
		t.Errorf("%d calls, %d reads", calls, len(src.sizes))
	}
	stop := errors.New("stop")
	r.BeforeRead = func() error { return stop }
	if _, err := r.Next(); err != stop {
		t.Errorf("got %v", err)
	}
}

// Bytes behind <starttls/> must not survive into TLS (RFC 6120 §5.4.3.3).
func TestSetReaderRefusesLeftovers(t *testing.T) {
	for body, ok := range map[string]bool{"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>": true, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><iq/>": false} {
		r := NewReader(strings.NewReader(clientHeader+body), PreAuthLimits())
		if _, err := r.ReadHeader(); err != nil {
			t.Fatal(err)
		}
		if e, err := r.Next(); err != nil || !e.Is(NSTLS, "starttls") {
			t.Fatalf("%+v, %v", e, err)
		}
		if err := r.SetReader(strings.NewReader(clientHeader)); (err == nil) != ok {
			t.Errorf("%q: %v", body, err)
		}
		if _, err := r.ReadHeader(); (err == nil) != ok {
			t.Errorf("%q: header after TLS: %v", body, err)
		}
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	for name, stanza := range map[string]string{"chat": chatMessage, "omemo": omemoMessage, "ack": "<a xmlns='urn:xmpp:sm:3' h='1'/>"} {
		r := NewReader(&endless{header: clientHeader, stanza: stanza}, SessionLimits())
		w := NewWriter(io.Discard)
		r.BeforeRead = w.Flush
		if _, err := r.ReadHeader(); err != nil {
			t.Fatal(err)
		}
		n := testing.AllocsPerRun(2000, func() {
			e, err := r.Next()
			if err == nil {
				err = w.Element(e)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		if n >= 0.05 { // the pool may be emptied by a garbage collection in between
			t.Errorf("%s: %v allocations a stanza", name, n)
		}
	}
}

// Passwords pass through the buffers, which other streams get next.
func TestBuffersAreWiped(t *testing.T) {
	const secret = "correct horse battery staple"
	src := &blocking{pieces: []string{clientHeader, "<auth>", secret, "</auth>"}}
	r := NewReader(src, SessionLimits())
	w := NewWriter(io.Discard)
	if _, err := r.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	e, err := r.Next()
	if err != nil || !bytes.Contains(e.Raw, []byte(secret)) {
		t.Fatalf("%+v, %v", e, err)
	}
	if err := w.Element(e); err != nil {
		t.Fatal(err)
	}
	read, written := r.pooled, w.pooled
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r.Release()
	for _, b := range []*[bufferSize]byte{read, written} {
		if b == nil || bytes.Contains(b[:], []byte("horse")) {
			t.Error("a buffer goes back to the pool with what it held")
		}
	}
	if bytes.Contains(r.tiny[:], []byte("horse")) {
		t.Error("the inline array keeps what it held")
	}
}
