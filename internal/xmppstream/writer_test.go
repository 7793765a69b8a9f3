package xmppstream

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder keeps each write.
type recorder struct {
	mu     sync.Mutex
	writes []string
	err    error
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	r.writes = append(r.writes, string(p))
	return len(p), nil
}

func TestWriterGathersStanzas(t *testing.T) {
	var out recorder
	w := NewWriter(&out)
	if err := w.Header(Header{From: "example.org", ID: "i'd", Lang: "en"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := w.Raw([]byte("<a/>")); err != nil {
			t.Fatal(err)
		}
	}
	if len(out.writes) != 0 {
		t.Fatalf("written before Flush: %q", out.writes)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='example.org' id='i&apos;d' version='1.0' xml:lang='en'><a/><a/><a/>"
	if len(out.writes) != 1 || out.writes[0] != want {
		t.Errorf("got  %q\nwant %q", out.writes, want)
	}
	if w.buf != nil || w.pooled != nil {
		t.Error("a writer in which nothing waits holds a buffer")
	}
	if err := w.Flush(); err != nil || len(out.writes) != 1 {
		t.Errorf("an empty flush writes: %q, %v", out.writes, err)
	}
}

func TestWriterFlushesItselfInRecords(t *testing.T) {
	var out recorder
	w := NewWriter(&out)
	stanza := []byte("<a>" + strings.Repeat("x", 333) + "</a>")
	total := 0
	for range 500 {
		if err := w.Raw(stanza); err != nil {
			t.Fatal(err)
		}
		total += len(stanza)
	}
	if err := w.Raw(bytes.Repeat([]byte(" "), 50_000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got := 0
	for i, p := range out.writes {
		got += len(p)
		if last := i == len(out.writes)-1; len(p) > bufferSize && !last || len(p) < bufferSize-1000 && i < len(out.writes)-2 {
			t.Errorf("write %d has %d bytes", i, len(p))
		}
	}
	if got != total+50_000 {
		t.Errorf("%d bytes were written of %d", got, total+50_000)
	}
}

func TestWriterEndsOnce(t *testing.T) {
	const opening = "<?xml version='1.0'?><stream:stream"
	for _, c := range []struct {
		name string
		use  func(w *Writer) error
		want string // behind the header
	}{
		{"close", func(w *Writer) error { return errors.Join(w.Header(Header{}), w.Close(), w.Close()) }, "</stream:stream>"},
		{"close unopened", func(w *Writer) error { return w.Close() }, ""},
		{"error", func(w *Writer) error {
			return errors.Join(w.Header(Header{}), w.Error(HostUnknown, "no <such> host"), w.Error(Reset, ""), w.Close())
		}, "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>no &lt;such&gt; host</text></stream:error></stream:stream>"},
		{"error first", func(w *Writer) error { return w.Error(NotWellFormed, "") },
			"<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out recorder
			w := NewWriter(&out)
			if err := c.use(w); err != nil {
				t.Fatal(err)
			}
			all := strings.Join(out.writes, "")
			if c.want == "" {
				if all != "" {
					t.Errorf("written: %q", all)
				}
			} else if _, rest, _ := strings.Cut(all[len(opening):], ">"); !strings.HasPrefix(all, opening) || rest != c.want {
				t.Errorf("got  %q\nwant %q", all, c.want)
			}
			if err := w.Raw([]byte("<a/>")); !errors.Is(err, ErrClosed) {
				t.Errorf("writing after the end: %v", err)
			}
			if all != "" {
				if _, _, err := readAll(strings.NewReader(all), PreAuthLimits()); outcome(err) != "" {
					t.Errorf("what was written is refused: %v", err)
				}
			}
		})
	}
}

func TestWriterKeepsItsFirstError(t *testing.T) {
	broken := errors.New("broken pipe")
	out := &recorder{err: broken}
	w := NewWriter(out)
	if err := w.Raw([]byte("<a/>")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Flush(); err != broken {
			t.Errorf("flush: %v", err)
		}
	}
	if err := w.Raw([]byte("<a/>")); err != broken {
		t.Errorf("raw: %v", err)
	}
	if err := w.Close(); err != broken {
		t.Errorf("close: %v", err)
	}
}

func TestSetWriterFlushesToTheOldOne(t *testing.T) {
	var before, after recorder
	w := NewWriter(&before)
	err := errors.Join(w.Header(Header{}), w.Raw([]byte("<proceed/>")), w.SetWriter(&after), w.Header(Header{ID: "2"}), w.Flush())
	if err != nil || len(before.writes) != 1 || !strings.HasSuffix(before.writes[0], "<proceed/>") ||
		len(after.writes) != 1 || !strings.HasPrefix(after.writes[0], "<?xml") {
		t.Errorf("before %q, after %q, %v", before.writes, after.writes, err)
	}
}

// Many goroutines write whole stanzas: none is torn, none is lost, each one's own stay in order.
func TestWriterConcurrently(t *testing.T) {
	pr, pw := io.Pipe()
	w := NewWriter(pw)
	const writers, each = 4, 500
	var group sync.WaitGroup
	for k := range writers {
		group.Go(func() {
			for i := range each {
				n := &Node{Space: NSClient, Name: "m", Attrs: []Attr{{"", "id", string(rune('a' + k))}, {"", "type", strings.Repeat("x", i)}}}
				if err := w.Node(n); err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					if err := w.Flush(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	if err := w.Header(Header{}); err != nil {
		t.Fatal(err)
	}
	go func() {
		group.Wait()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		pw.Close()
	}()
	b, err := io.ReadAll(pr)
	if err != nil {
		t.Fatal(err)
	}
	// The header may come after the first stanzas: put it first to read the rest.
	text := string(b)
	at := strings.Index(text, "<?xml")
	end := at + strings.Index(text[at:], "streams'") + strings.Index(text[at+strings.Index(text[at:], "streams'"):], ">") + 1
	_, all, err := readAll(strings.NewReader(text[at:end]+text[:at]+text[end:]), SessionLimits())
	if outcome(err) != "" || len(all) != writers*each+1 {
		t.Fatalf("%d elements, %v", len(all), err)
	}
	next := map[string]int{}
	for _, g := range all {
		if g.kind == Stanza {
			id := g.node.Attr("id")
			if n := len(g.node.Attr("type")); n != next[id] {
				t.Fatalf("stanza %d of %s came instead of %d", n, id, next[id])
			}
			next[id]++
		}
	}
}

// While a write waits for a slow peer, others can still add.
func TestWriterDoesNotWaitForASlowPeer(t *testing.T) {
	pr, pw := io.Pipe()
	w := NewWriter(pw)
	if err := w.Raw([]byte("<a/>")); err != nil {
		t.Fatal(err)
	}
	flushed := make(chan error, 1)
	go func() { flushed <- w.Flush() }()
	got := make([]byte, 4)
	if _, err := io.ReadFull(pr, got[:1]); err != nil { // the write has begun, and waits for the rest to be read
		t.Fatal(err)
	}
	added := make(chan error, 1)
	go func() { added <- w.Raw([]byte("<b/>")) }()
	select {
	case err := <-added:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("adding a stanza waits for a slow peer")
	}
	if _, err := io.ReadFull(pr, got[1:]); err != nil || string(got) != "<a/>" {
		t.Fatalf("read %q, %v", got, err)
	}
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	pr.Close()
	w.Release()
	if err := w.Raw(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Release: %v", err)
	}
}
