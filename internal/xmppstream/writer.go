package xmppstream

import (
	"crypto/rand"
	"errors"
	"io"
	"sync"
)

// ErrClosed is what a Writer returns after Close or Error.
var ErrClosed = errors.New("xmpp stream: closed for writing")

// Writer writes one direction of a stream. What it is given waits in a buffer until Flush, or
// until 16 KiB have gathered, so that many stanzas make one write and one TLS record. It holds no
// buffer while nothing waits. It is safe for concurrent use; while one goroutine is writing to a
// slow peer, others can still add up to 16 KiB.
type Writer struct {
	writing sync.Mutex // held by who writes to w; taken before mu
	w       io.Writer

	mu     sync.Mutex // guards what follows
	pooled *[bufferSize]byte
	buf    []byte
	opened bool
	closed bool
	err    error // of the first write that failed
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// SetWriter makes the Writer go on with another connection, that which STARTTLS made of the one
// before. What waits is flushed to the old one first.
func (w *Writer) SetWriter(to io.Writer) error {
	err := w.Flush()
	w.writing.Lock()
	w.w = to
	w.writing.Unlock()
	return err
}

// Header opens the stream, or opens it anew after STARTTLS or SASL.
func (w *Writer) Header(h Header) error {
	return w.add(512+len(h.To)+len(h.From)+len(h.ID)+len(h.Lang), func(dst []byte) []byte {
		w.opened = true
		return appendHeader(dst, h)
	})
}

func appendHeader(dst []byte, h Header) []byte {
	if h.Version == "" {
		h.Version = "1.0"
	}
	if h.ContentNS == "" {
		h.ContentNS = NSClient
	}
	dst = append(dst, "<?xml version='1.0'?><stream:stream"...)
	dst = appendAttr(dst, "xmlns", h.ContentNS)
	dst = appendAttr(dst, "xmlns:stream", NSStream)
	for _, a := range [...]Attr{{Name: "from", Value: h.From}, {Name: "to", Value: h.To}, {Name: "id", Value: h.ID},
		{Name: "version", Value: h.Version}, {Name: "xml:lang", Value: h.Lang}} {
		if a.Value != "" {
			dst = appendAttr(dst, a.Name, a.Value)
		}
	}
	return append(dst, '>')
}

// Element adds an element that came on another stream.
func (w *Writer) Element(e *Element) error {
	if err := w.lockFor(e.Size()); err != nil {
		return err
	}
	w.buf = e.Append(w.buf)
	return w.unlock()
}

// Raw adds bytes of our own: complete elements or whitespace.
func (w *Writer) Raw(b []byte) error {
	if err := w.lockFor(len(b)); err != nil {
		return err
	}
	w.buf = append(w.buf, b...)
	return w.unlock()
}

// Node adds an element of our own.
func (w *Writer) Node(n *Node) error {
	return w.add(512, n.Append)
}

// add adds what f appends, which will be about n bytes.
func (w *Writer) add(n int, f func([]byte) []byte) error {
	if err := w.lockFor(n); err != nil {
		return err
	}
	w.buf = f(w.buf)
	return w.unlock()
}

// lockFor locks mu with room for n more bytes in the buffer, unless nothing else is in it.
func (w *Writer) lockFor(n int) error {
	for {
		w.mu.Lock()
		switch {
		case w.err != nil:
			defer w.mu.Unlock()
			return w.err
		case w.closed:
			w.mu.Unlock()
			return ErrClosed
		case len(w.buf) == 0 || len(w.buf)+n <= bufferSize:
			if w.buf == nil {
				w.pooled = buffers.Get().(*[bufferSize]byte)
				w.buf = w.pooled[:0]
			}
			return nil
		}
		w.mu.Unlock()
		w.spill()
	}
}

// unlock spills what has become a full buffer.
func (w *Writer) unlock() error {
	full := len(w.buf) >= bufferSize
	w.mu.Unlock()
	if full {
		w.spill()
	}
	return nil
}

// spill writes what waits in a goroutine of its own, so that in a long burst encrypting and
// writing go on beside reading and checking. At most one such write is under way: the next one
// waits for it, which holds up a sender that is faster than the receiver. An error shows at the
// next call.
func (w *Writer) spill() {
	w.writing.Lock()
	t := w.take()
	go func() {
		defer w.writing.Unlock()
		_ = w.write(t)
	}()
}

// Push sees to it that what waits is written without more coming: at once if it is little, and beside
// the caller (see spill) if it is much. A relay calls it before it waits for more to relay. It returns
// the first error that any write met so far.
func (w *Writer) Push() error {
	w.mu.Lock()
	n, err := len(w.buf), w.err
	w.mu.Unlock()
	switch {
	case err != nil || n == 0:
		return err
	case n < bufferSize/4:
		return w.Flush()
	}
	w.spill()
	return nil
}

// Flush writes what waits, and returns when all of it is written. It returns the first error that
// any write met.
func (w *Writer) Flush() error {
	w.writing.Lock()
	defer w.writing.Unlock()
	return w.write(w.take())
}

// taken is what waited, on its way out.
type taken struct {
	b      []byte
	pooled *[bufferSize]byte
}

// take empties the buffer.
func (w *Writer) take() taken {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := taken{w.buf, w.pooled}
	w.buf, w.pooled = nil, nil
	return t
}

// write sends t, unless a write failed before. The caller holds writing.
func (w *Writer) write(t taken) error {
	w.mu.Lock()
	err := w.err
	w.mu.Unlock()
	if len(t.b) > 0 && err == nil {
		if _, err = w.w.Write(t.b); err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
		}
	}
	clear(t.b)
	if t.pooled != nil {
		buffers.Put(t.pooled)
	}
	return err
}

// Error ends the stream with a stream error (RFC 6120 §4.9): cond is one of the conditions of
// §4.9.3, text, which may be empty, is for the person at the other end. The stream is opened first
// if that has not happened (§4.9.1.2). Nothing can be written afterwards.
func (w *Writer) Error(cond, text string) error {
	n := &Node{Space: NSStream, Name: "error", Children: []*Node{{Space: NSStreamErr, Name: cond}}}
	if text != "" {
		n.Children = append(n.Children, &Node{Space: NSStreamErr, Name: "text", Text: text,
			Attrs: []Attr{{NSXML, "lang", "en"}}})
	}
	return w.close(func(dst []byte) []byte {
		if !w.opened {
			w.opened = true
			dst = appendHeader(dst, Header{ID: rand.Text()})
		}
		return n.Append(dst)
	})
}

// Close ends the stream with </stream:stream>, if it was opened, and flushes. Only the first call
// of Close or Error does something.
func (w *Writer) Close() error {
	return w.close(func(dst []byte) []byte { return dst })
}

func (w *Writer) close(last func([]byte) []byte) error {
	err := w.add(1024, func(dst []byte) []byte {
		dst = last(dst)
		w.closed = true
		if w.opened {
			dst = append(dst, "</stream:stream>"...)
		}
		return dst
	})
	if errors.Is(err, ErrClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.Flush()
}

// Release gives the buffer back and drops what waits in it.
func (w *Writer) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	clear(w.buf)
	if w.pooled != nil {
		buffers.Put(w.pooled)
	}
	w.buf, w.pooled = nil, nil
}
