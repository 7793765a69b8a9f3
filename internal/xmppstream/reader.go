package xmppstream

import (
	"errors"
	"io"
	"slices"
	"sync"
)

// bufferSize is one TLS record's payload.
const bufferSize = 16 << 10

// buffers holds what streams read into and write from while they are not idle. As passwords and
// messages pass through them, they are wiped before they go back.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Reader reads one direction of a stream. It is not safe for concurrent use.
//
// Errors of type *[Error] say what the peer did wrong and are final. io.EOF means that the peer
// went between elements, with or without </stream:stream> (Kind End came before, or not);
// io.ErrUnexpectedEOF that it went inside one. Other errors are the underlying reader's: after a
// timeout the call may be repeated and goes on where it was.
type Reader struct {
	// BeforeRead, if set, is called before each read of the underlying reader, which may block.
	// Its error ends the call. A relay flushes the other leg's writer in it.
	BeforeRead func() error
	// Ready, if set, reports whether the next read will be answered without waiting. Then it is
	// made into a full buffer, in place of the few bytes with which an idle Reader waits. It may err.
	Ready func() bool

	rd     io.Reader
	pooled *[bufferSize]byte
	buf    []byte // pooled's bytes, or larger while a large element is read; nil when idle
	start  int    // where the element being read starts
	pos    int    // where the next one starts; start while it is not known
	end    int    // end of what was read
	dirty  int    // buf has held bytes up to here
	full   bool   // the last read gave as much as it was asked for

	lim   Limits
	scan  scanner
	el    Element
	root  string // qualified name of the open stream
	state state
	first bool  // nothing was read of this connection's first header
	part  bool  // an element was begun
	rdErr error // came along with the last bytes
	err   error // final

	// An idle reader waits with this much, and takes a buffer when something comes.
	tiny [24]byte
}

type state uint8

const (
	wantHeader state = iota
	inStream
	ended
)

// NewReader returns a Reader that expects a stream header.
func NewReader(rd io.Reader, lim Limits) *Reader {
	r := &Reader{rd: rd, lim: lim, first: true}
	r.el.reader = r
	r.scan.lim = lim
	return r
}

// SetLimits takes effect with the next element.
func (r *Reader) SetLimits(lim Limits) { r.lim, r.scan.lim = lim, lim }

// SetReader makes the Reader go on with another connection, that which STARTTLS made of the one
// before, and expect a new header. It fails if bytes of the old connection are left over, as they
// must never be read as if they had come over the new one (RFC 6120 §5.4.3.3).
func (r *Reader) SetReader(rd io.Reader) error {
	if r.Buffered() > 0 {
		return &Error{PolicyViolation, "bytes that follow STARTTLS before TLS is up"}
	}
	r.rd, r.rdErr, r.first = rd, nil, true
	r.Restart()
	return nil
}

// Restart makes the Reader expect a new stream header on the same connection, as after SASL
// (RFC 6120 §6.4.6). Bytes that were read already are kept.
func (r *Reader) Restart() { r.start, r.part, r.state = r.pos, false, wantHeader }

// Buffered is the number of bytes read of the connection and not yet returned.
func (r *Reader) Buffered() int { return r.end - r.pos }

// DropSpace drops the whitespace that was read of the connection and not yet returned. It does not
// read, and it stops at anything else.
func (r *Reader) DropSpace() {
	if r.Buffered() > 0 {
		r.pos = skipSpace(r.buf[:r.end], r.pos)
	}
}

// Idle reports whether nothing is left of what the underlying reader had to give when it was last
// read, and then gives the buffer back; the last Element is not valid any more. What a TLS connection
// has decrypted and not given yet does not show on its socket: who waits for the socket instead of
// reading must ask this first.
func (r *Reader) Idle() bool {
	if r.pos != r.end || r.full {
		return false
	}
	if r.buf != nil {
		r.rest()
	}
	return true
}

// Release gives the buffers back. The Reader must not be used any more, nor the last Element.
func (r *Reader) Release() {
	r.drop()
	r.start, r.pos, r.end = 0, 0, 0
	r.scan = scanner{}
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
}

// ReadHeader reads the XML declaration, if any, and the stream header.
func (r *Reader) ReadHeader() (*Header, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.state != wantHeader {
		return nil, errors.New("xmppstream: ReadHeader in an open stream: Restart comes first")
	}
	r.start = r.pos
	for {
		b := r.window(r.lim.Header)
		h, n, err := r.scan.readHeader(b, r.first)
		if err == nil {
			r.root = h.root()
			r.pos = r.start + n
			r.state, r.first, r.part = inStream, false, false
			return h, nil
		}
		if err != errMore {
			return nil, r.fail(err)
		}
		if len(b) >= r.lim.Header {
			return nil, r.fail(overLimit("the stream header is too long"))
		}
		if err := r.fill(r.lim.Header); err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

func (h *Header) root() string {
	if h.Prefix == "" {
		return "stream"
	}
	return h.Prefix + ":stream"
}

// Next returns the next top-level thing of the stream, which is valid until the next call.
func (r *Reader) Next() (*Element, error) {
	if r.err != nil {
		return nil, r.err
	}
	switch r.state {
	case wantHeader:
		return nil, errors.New("xmppstream: Next before ReadHeader")
	case ended:
		return nil, io.EOF
	}
	if !r.part {
		r.start, r.part = r.pos, true
		r.scan.begin()
	}
	for {
		b := r.window(r.lim.Bytes)
		e, err := r.parse(b)
		if err == nil {
			r.part = false
			return e, nil
		}
		if err != errMore {
			return nil, r.fail(err)
		}
		full := len(b) >= r.lim.Bytes
		if !full {
			err = r.fill(r.lim.Bytes)
			if err == nil {
				continue
			}
			if err != io.EOF {
				return nil, err
			}
		}
		if len(b) == 0 && !full {
			return nil, r.fail(io.EOF)
		}
		// No more bytes: is what there is of a tag at least right?
		r.scan.lastWord()
		if _, err := r.parse(b); err != errMore {
			return nil, r.fail(err)
		}
		if full {
			return nil, r.fail(overLimit("a stanza that is too large"))
		}
		return nil, r.fail(io.ErrUnexpectedEOF)
	}
}

// parse looks for the end of what b starts with.
func (r *Reader) parse(b []byte) (*Element, error) {
	if len(b) == 0 {
		return nil, errMore
	}
	switch {
	case class[b[0]]&space != 0:
		return r.yield(Whitespace, b, skipSpace(b, 0)), nil
	case b[0] != '<':
		if _, err := char(b, 0); err != nil {
			return nil, err
		}
		return nil, &Error{BadFormat, "text between stanzas"}
	case len(b) == 1:
		return nil, errMore
	case b[1] == '/':
		n, err := r.endOfStream(b)
		if err != nil {
			return nil, err
		}
		r.state = ended
		return r.yield(End, b, n), nil
	}
	n, err := r.scan.element(b)
	if err != nil {
		return nil, err
	}
	e := r.yield(Stanza, b, n)
	r.fillHead(e, e.Raw)
	return e, nil
}

func (r *Reader) yield(k Kind, b []byte, n int) *Element {
	r.pos = r.start + n
	e := &r.el
	e.Kind, e.Raw = k, b[:n:n]
	if k != Stanza {
		*e = Element{Kind: k, Raw: e.Raw, Children: e.Children[:0], reader: r}
	}
	return e
}

func (r *Reader) fillHead(e *Element, b []byte) {
	s, h := &r.scan, &r.scan.head
	e.Space, e.Name = s.bytes(b, h.uri), s.bytes(b, h.root)
	e.To, e.From, e.ID, e.Type = s.optional(b, h.to), s.optional(b, h.from), s.optional(b, h.id), s.optional(b, h.kind)
	e.Lang = s.optional(b, h.lang)
	e.insert, e.decls = int(h.insert), s.bytes(b, h.decls)
	e.Children = e.Children[:0]
	for k := range h.children {
		e.Children = extend(e.Children)
		c := &e.Children[k]
		c.Space, c.Name = s.bytes(b, h.children[k].uri), s.bytes(b, h.children[k].name)
		c.Start, c.End = h.children[k].start, h.children[k].end
	}
}

func (s *scanner) optional(b []byte, p span) []byte {
	if p.n < 0 {
		return nil
	}
	return s.bytes(b, p)
}

// endOfStream reads the stream's end tag.
func (r *Reader) endOfStream(b []byte) (int, error) {
	rest := b[2:]
	n := min(len(rest), len(r.root))
	if string(rest[:n]) != r.root[:n] {
		return 0, malformed("an end tag that is not the stream's")
	}
	i := skipSpace(b, 2+n)
	if i == len(b) {
		return 0, errMore
	}
	if b[i] != '>' {
		return 0, malformed("an end tag that is not the stream's")
	}
	return i + 1, nil
}

// window is what has been read of the current element, up to the limit.
func (r *Reader) window(limit int) []byte {
	return r.buf[r.start:min(r.end, r.start+limit)]
}

func (r *Reader) fail(err error) error {
	r.err = err
	return err
}

// fill reads once.
func (r *Reader) fill(limit int) error {
	if err := r.rdErr; err != nil {
		r.rdErr = nil
		return err
	}
	into := r.tiny[:]
	if r.start == r.end {
		if r.Ready != nil && r.Ready() {
			if len(r.buf) != bufferSize {
				r.drop()
				r.take()
			}
			into = r.buf
			r.start, r.pos, r.end = 0, 0, 0
		} else {
			r.rest()
		}
	} else {
		r.room(limit)
		into = r.buf[r.end:]
	}
	for range 100 {
		if r.BeforeRead != nil {
			if err := r.BeforeRead(); err != nil {
				return err
			}
		}
		n, err := r.rd.Read(into)
		if n > 0 {
			if r.buf == nil {
				r.take()
				copy(r.buf, into[:n])
				clear(into[:n])
			}
			r.end += n
			r.dirty = max(r.dirty, r.end)
			r.rdErr = err
			r.full = n == len(into)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// take gets a buffer from the pool.
func (r *Reader) take() {
	r.pooled = buffers.Get().(*[bufferSize]byte)
	r.buf = r.pooled[:]
}

// rest makes the Reader small when all that was read is used up.
func (r *Reader) rest() {
	r.drop()
	r.trim()
	r.start, r.pos, r.end = 0, 0, 0
}

// drop gives the buffer back.
func (r *Reader) drop() {
	clear(r.buf[:r.dirty])
	r.dirty = 0
	if r.pooled != nil {
		buffers.Put(r.pooled)
	}
	r.pooled, r.buf = nil, nil
}

// trim lets go of what an unusual element made grow, so that an idle stream stays small.
func (r *Reader) trim() {
	const usual = 64
	if cap(r.el.Children) > usual {
		r.el.Children, r.scan.head.children = nil, nil
	}
	if cap(r.scan.arena) > len(r.scan.arena)+16*usual {
		r.scan.arena = slices.Clip(slices.Clone(r.scan.arena))
	}
}

// room makes room behind what was read of an element of at most limit bytes.
func (r *Reader) room(limit int) {
	held := r.end - r.start
	if len(r.buf)-r.end >= bufferSize/4 {
		return
	}
	to := r.buf
	if r.start == 0 || held > len(r.buf)/2 {
		to = make([]byte, min(2*len(r.buf), max(limit, bufferSize)))
		if len(to) <= len(r.buf) {
			to = r.buf
		}
	}
	copy(to, r.buf[r.start:r.end])
	if len(to) > len(r.buf) {
		r.drop()
		r.buf, r.dirty = to, held
	}
	r.pos -= r.start
	r.start, r.end = 0, held
}
