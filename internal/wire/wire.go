// Package wire is the socket below a stream and its TLS: [Conn] hands TLS whole
// records and knows when a read must really wait, [Sniff] and [ClientHello] look
// at the first bytes without taking them, and [WatchHangup] sees a peer go away
// while nobody reads.
package wire

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"syscall"
)

// Conn is a socket below the TLS of a leg. It does two things that TLS hides
// from those above it.
//
// It reads from the socket as much as there is and hands it to TLS one record at
// a time, so that it knows when the next read must really wait. That is the
// moment to flush the other leg (BeforeWait): not after each record, which would
// make a burst of small stanzas a burst of small writes, and never later, which
// would keep a stanza waiting for the one behind it.
//
// And it holds no large buffer while it waits: a few bytes come into the
// connection's own small one, and only when those were not enough is a large one
// taken. Who waits with [Conn.Wait] before it reads needs neither.
type Conn struct {
	net.Conn
	// BeforeWait, if set, is called before a read that may wait; its error ends the read.
	BeforeWait func() error

	data   []byte // read and not handed on, in tiny or pooled
	tiny   *[512]byte
	pooled *[bufferSize]byte
	more   bool  // the last read filled its buffer: there is probably more
	err    error // what Wait read in place of bytes

	raw  syscall.RawConn // nil where the connection is no socket
	look func(fd uintptr) bool

	records bool // what passes is TLS records (RFC 8446 §5.1)
	left    int  // bytes of the current record that were not handed on

	out *async // nil: writes wait
}

// New puts a wire on conn.
func New(conn net.Conn) *Conn {
	w := &Conn{Conn: conn, raw: socket(conn)}
	w.look = w.take
	return w
}

// Buffered is the number of bytes that were read of the socket and not handed on.
func (w *Conn) Buffered() int { return len(w.data) }

// bufferSize is room for a few TLS records of the largest size.
const bufferSize = 32 << 10

// directSize is from how many bytes on a read of a record's rest needs no buffer in
// between.
const directSize = 4 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// recordHeader is the length of a TLS record's header.
const recordHeader = 5

// Ready reports whether a read will be answered without waiting, as far as that
// can be told.
func (w *Conn) Ready() bool {
	return w != nil && len(w.data) > w.left && (!w.records || w.whole())
}

// whole reports whether the next record is here to its end.
func (w *Conn) whole() bool {
	next := w.data[w.left:]
	return len(next) >= recordHeader && len(next) >= recordHeader+int(binary.BigEndian.Uint16(next[3:]))
}

// Read gives the bytes of at most one record.
func (w *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(w.data) == 0 && w.left >= directSize && len(p) >= directSize {
		return w.direct(p)
	}
	for len(w.data) == 0 || w.records && w.left == 0 && len(w.data) < recordHeader {
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	if w.records && w.left == 0 {
		w.left = recordHeader + int(binary.BigEndian.Uint16(w.data[3:]))
	}
	n := min(len(p), len(w.data))
	if w.records {
		n = min(n, w.left)
		w.left -= n
	}
	copy(p, w.data[:n])
	w.data = w.data[n:]
	if len(w.data) == 0 {
		w.drop()
	}
	return n, nil
}

// Wait returns when something was read of the socket, or a read will tell why not.
// It waits without any buffer and with little stack. A connection that is no socket
// is not waited for here.
func (w *Conn) Wait() error {
	if len(w.data) > 0 {
		return nil
	}
	if w.BeforeWait != nil {
		if err := w.BeforeWait(); err != nil {
			return err
		}
	}
	if w.raw == nil {
		return nil
	}
	w.tiny = nil
	return w.raw.Read(w.look)
}

// take reads into a buffer that it has only when there is something to read. It
// reports false when there is nothing yet.
func (w *Conn) take(fd uintptr) bool {
	b := buffers.Get().(*[bufferSize]byte)
	n, err := readOnce(fd, b[:])
	if n > 0 {
		w.pooled, w.data, w.more = b, b[:n], n == len(b)
		return true
	}
	buffers.Put(b)
	w.err = err
	return err != nil
}

// direct reads the rest of a large record straight to where it is wanted.
func (w *Conn) direct(p []byte) (int, error) {
	if w.BeforeWait != nil {
		if err := w.BeforeWait(); err != nil {
			return 0, err
		}
	}
	n, err := w.Conn.Read(p[:min(len(p), w.left)])
	w.left -= n
	return n, err
}

// fill reads from the socket behind what is there already, which is less than a
// record's header.
func (w *Conn) fill() error {
	if w.BeforeWait != nil {
		if err := w.BeforeWait(); err != nil {
			return err
		}
	}
	if err := w.err; err != nil {
		w.err = nil
		return err
	}
	if w.more && w.pooled == nil {
		w.pooled = buffers.Get().(*[bufferSize]byte)
	}
	var into []byte
	if w.pooled != nil {
		into = w.pooled[:]
	} else {
		if w.tiny == nil {
			w.tiny = new([512]byte)
		}
		into = w.tiny[:]
	}
	kept := copy(into, w.data)
	n, err := w.Conn.Read(into[kept:])
	w.data = into[:kept+n]
	w.more = kept+n == len(into)
	if n > 0 {
		return nil // an error comes again with the next read
	}
	if len(w.data) == 0 {
		w.drop()
	}
	return err
}

// drop gives the large buffer back. What passes here is encrypted, or on a leg
// whose owner wanted it in the clear, and is not wiped.
func (w *Conn) drop() {
	w.data = nil
	if w.pooled != nil {
		buffers.Put(w.pooled)
		w.pooled = nil
	}
}

// Push gives bytes that were read back, to be read again first.
func (w *Conn) Push(b []byte) {
	if len(b) > 0 {
		w.data = append(b[:len(b):len(b)], w.data...)
	}
}

// DropSpace drops whitespace that was read and not handed on, and says how much.
func (w *Conn) DropSpace() int {
	before := len(w.data)
	if w.data = bytes.TrimLeft(w.data, " \t\r\n"); len(w.data) == 0 {
		w.drop()
	}
	return before - len(w.data)
}

// StartTLS says that TLS records pass from here on. Bytes that wait already would
// be taken for the first of them; who upgrades a stream looks at that before
// (leg.waiting).
func (w *Conn) StartTLS() { w.records, w.left = true, 0 }

// CloseWrite closes our half of the connection, where the socket can.
func (w *Conn) CloseWrite() error {
	if h, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return net.ErrClosed
}
