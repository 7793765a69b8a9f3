package server

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/wire"
)

// outbox is what waits to be written to one client. Whoever adds to it writes it
// out afterwards ([outbox.flush]), as much as the socket takes without waiting; the
// rest follows when the socket takes more. So a slow client holds up nobody, and
// an outbox with nothing in it has neither a buffer nor a goroutine.
//
// It outlives its connection when the session can be resumed (XEP-0198).
type outbox struct {
	mu    sync.Mutex
	conn  net.Conn   // the stream's: the TLS or the socket; nil while there is none
	sock  *wire.Conn // the socket
	limit int        // bytes that may wait

	buf     []byte
	writing bool
	err     error // of the connection; nothing is written any more

	shut     bool      // nothing is taken any more
	early    bool      // stanzas wait until the stream is ready for them
	waiting  []*Stanza // those, and what modules hold back; nil in place of what is out of date
	waitSize int
	shown    map[address.Address]int // where in waiting the presence of each is that is held back
	outdated int                     // how many in waiting are nil
	unsent   []*Stanza               // messages in buf, while nothing is acknowledged
	leaving  []*Stanza               // those that were written and that the socket may not have taken
	sm       *unacked                // nil without stream management

	stuck time.Time // since when the socket takes nothing

	scheduled atomic.Bool // a flush will come
}

var (
	errGone = errors.New("server: the session is gone")
	errFull = errors.New("server: too much waits for the session")
)

// bufferSize is what a buffer of an outbox has at least; larger ones are not kept.
const bufferSize = 16 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

// room makes a buffer if there is none. The caller holds mu.
func (o *outbox) room() {
	if o.buf == nil {
		o.buf = (*buffers.Get().(*[]byte))[:0]
	}
}

// recycle wipes a buffer, through which messages and secrets went, and keeps it.
func recycle(b []byte) {
	clear(b)
	if cap(b) >= bufferSize && cap(b) <= 4*bufferSize {
		b = b[:0]
		buffers.Put(&b)
	}
}

// add queues a stanza. full says that the buffer is large enough to be written.
func (o *outbox) add(st *Stanza) (full bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.early {
		return false, o.wait(st)
	}
	if len(o.waiting) > 0 {
		if err := o.releaseLocked(); err != nil {
			return false, err
		}
	}
	return o.addLocked(st)
}

func (o *outbox) addLocked(st *Stanza) (full bool, err error) {
	if o.shut || o.conn == nil && o.sm == nil {
		return false, errGone
	}
	if o.sm != nil {
		if !o.sm.push(st) {
			return false, errFull
		}
	} else if st.Kind == Message {
		o.unsent = append(o.unsent, st)
	}
	if o.conn == nil || o.err != nil {
		return false, nil // it waits to be acknowledged on another connection
	}
	if len(o.buf)+len(st.raw) > o.limit {
		if o.sm == nil {
			return false, errFull
		}
		o.err = errFull // the connection ends; what was sent is kept for the next one
		return false, nil
	}
	o.room()
	o.buf = append(o.buf, st.raw...)
	return len(o.buf) >= bufferSize, nil
}

// hold keeps a stanza back until something else is added, or release.
func (o *outbox) hold(st *Stanza) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.wait(st)
}

func (o *outbox) wait(st *Stanza) error {
	if o.shut || o.conn == nil && o.sm == nil {
		return errGone
	}
	const most = 1000
	if !o.early && (len(o.waiting)-o.outdated >= most || len(o.waiting) >= 4*most || o.waitSize+len(st.raw) > o.limit/4) {
		if err := o.releaseLocked(); err != nil {
			return err
		}
	}
	if o.waitSize += len(st.raw); o.waitSize > o.limit {
		return errFull
	}
	if !o.early && st.Kind == Presence {
		o.outdate(st.From)
	}
	o.waiting = append(o.waiting, st)
	return nil
}

// outdate drops an older presence of the same address from what is held back: who
// has not looked meanwhile wants to know how things are, not how they were.
func (o *outbox) outdate(from address.Address) {
	if i, ok := o.shown[from]; ok {
		o.waitSize -= len(o.waiting[i].raw)
		o.waiting[i] = nil
		o.outdated++
	}
	if o.shown == nil {
		o.shown = make(map[address.Address]int)
	}
	o.shown[from] = len(o.waiting)
}

// release queues what was held back, and lets stanzas through from now on.
func (o *outbox) release() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.early = false
	return o.releaseLocked()
}

// letGo queues what modules held back, unless the stream is not ready for anything.
func (o *outbox) letGo() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.early {
		return nil
	}
	return o.releaseLocked()
}

func (o *outbox) releaseLocked() error {
	list := o.waiting
	o.waiting, o.waitSize, o.shown, o.outdated = nil, 0, nil, 0
	for _, st := range list {
		if st == nil {
			continue
		}
		if _, err := o.addLocked(st); err != nil {
			return err
		}
	}
	return nil
}

// raw queues bytes that are no stanza, before any that are held back.
func (o *outbox) raw(b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut || o.conn == nil {
		return errGone
	}
	if len(o.buf)+len(b) > o.limit+bufferSize {
		return errFull
	}
	o.room()
	o.buf = append(o.buf, b...)
	return nil
}

// flush writes what waits, as far as the socket takes it. It does not wait.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.writing && o.conn != nil && o.err == nil {
		if !o.left() {
			return
		}
		if o.sm != nil && o.sm.shouldAsk() && !o.shut {
			o.room()
			o.buf = append(o.buf, smRequest...)
			o.sm.ask()
		}
		if len(o.buf) == 0 {
			return
		}
		if o.sock.Blocked() { // it calls again when it is through
			if o.stuck.IsZero() {
				o.stuck = time.Now()
			}
			return
		}
		o.stuck = time.Time{}
		b, sent, conn := o.buf, o.unsent, o.conn
		o.buf, o.unsent = nil, nil
		o.writing = true
		o.mu.Unlock()
		_, err := conn.Write(b)
		recycle(b)
		o.mu.Lock()
		o.writing = false
		o.leaving = append(o.leaving, sent...)
		if err != nil && o.conn == conn {
			o.err = err
		}
	}
}

// left tells those who wait for messages of which nothing waits above the socket any
// more. It is false if the connection is lost.
func (o *outbox) left() bool {
	if len(o.leaving) == 0 || o.sock.Blocked() {
		return true
	}
	if o.err = o.sock.Failed(); o.err != nil {
		return false
	}
	for _, st := range o.leaving {
		st.wasReceived(false)
	}
	o.leaving = nil
	return true
}

// close takes nothing any more after last, which is queued.
func (o *outbox) close(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut || o.conn == nil {
		return
	}
	o.room()
	o.buf = append(o.buf, last...)
	o.shut = true
}

// finish writes what waits and waits for that, but not beyond d.
func (o *outbox) finish(d time.Duration) {
	for end := time.Now().Add(d); ; {
		o.mu.Lock()
		left, sock := len(o.buf) > 0 || o.writing, o.sock
		if sock == nil || o.err != nil {
			left = false
		}
		o.mu.Unlock()
		if sock != nil {
			sock.Finish(time.Until(end))
		}
		if !left || time.Now().After(end) {
			return
		}
		o.flush()
		time.Sleep(time.Millisecond) // another goroutine may be at it
	}
}

// secure goes on with TLS over the same socket.
func (o *outbox) secure(conn net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conn = conn
}

// detach takes the connection away. Without stream management the outbox is shut.
func (o *outbox) detach() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conn, o.sock, o.err, o.stuck = nil, nil, nil, time.Time{}
	if o.buf != nil {
		recycle(o.buf)
		o.buf = nil
	}
	if o.sm == nil {
		o.shut = true
	}
}

// rest shuts the outbox and gives the stanzas that nobody has received for certain.
func (o *outbox) rest() []*Stanza {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut = true
	list := append(o.leaving, o.unsent...)
	if o.sm != nil {
		list = append(list, o.sm.list...)
		o.sm.list = nil
	}
	for _, st := range o.waiting {
		if st != nil {
			list = append(list, st)
		}
	}
	o.leaving = nil
	o.unsent, o.waiting, o.shown, o.outdated = nil, nil, nil, 0
	return list
}

// prepare makes stanzas wait until release.
func (o *outbox) prepare() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.early = true
}

// reset undoes prepare, for a session that came to nothing.
func (o *outbox) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.early, o.waiting, o.waitSize = false, nil, 0
}

// later flushes soon, together with what else is added until then.
func (o *outbox) later() {
	if !o.scheduled.Swap(true) {
		go func() {
			o.scheduled.Store(false)
			o.flush()
		}()
	}
}

// attach goes on with another connection: first is written, and then all that was
// not acknowledged (XEP-0198 §5).
func (o *outbox) attach(conn net.Conn, sock *wire.Conn, first []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conn, o.sock, o.err, o.stuck = conn, sock, nil, time.Time{}
	o.room()
	o.buf = append(o.buf, first...)
	o.sm.asked = false
	for _, st := range o.sm.list {
		o.buf = append(o.buf, st.raw...)
	}
}

// take gives what waits in the buffer, to be written by another outbox.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.buf
	o.buf, o.shut = nil, true
	return b
}

// manage begins stream management; reply is the last that is not counted.
func (o *outbox) manage(u *unacked, reply []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sm = u
	if len(reply) > 0 && !o.shut && o.conn != nil {
		o.room()
		o.buf = append(o.buf, reply...)
	}
}

// failed reports whether the connection cannot be written to any more.
func (o *outbox) failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil
}

// stuckSince is since when the socket takes nothing, zero if it does.
func (o *outbox) stuckSince() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stuck
}
