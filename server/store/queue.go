package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"xmpp-gw/internal/address"
)

// job is one write that somebody waits for.
type job struct {
	run   func(t *tx) error
	err   error
	done  chan struct{}
	state atomic.Int32 // 0 waiting, 1 taken, 2 abandoned
}

func (j *job) takeIt() bool  { return j.state.CompareAndSwap(0, 1) }
func (j *job) abandon() bool { return j.state.CompareAndSwap(0, 2) }

// row is a message that waits to be written to one archive or to two.
type row struct {
	seq    int64
	at     int64
	start  int // of its bytes in the batch
	end    int
	copies [2]copyOf
	n      int
}

// copyOf is a message in the archive of one owner.
type copyOf struct{ owner, with address.Address }

// batch is what is written to the archives in one transaction. It is the Pending
// of all that were added to it.
type batch struct {
	rows []row
	raw  []byte
	err  error
	done chan struct{}
}

// Done implements [Pending].
func (b *batch) Done() <-chan struct{} { return b.done }

// Err implements [Pending].
func (b *batch) Err() error {
	<-b.done
	return b.err
}

func (b *batch) count() int {
	if b == nil {
		return 0
	}
	return len(b.rows)
}

// maxRows bounds how many messages a transaction brings to the archives.
const maxRows = 8192

// queue is what waits to be written. Those who add to a full queue wait until
// the disk has taken what was there before.
type queue struct {
	limit int // bytes

	mu     sync.Mutex
	jobs   []*job
	batch  *batch // nil when empty
	writes *batch // being written
	spare  *batch // its memory is used again
	bytes  int    // of batch
	closed bool
	room   chan struct{} // closed when something was taken
	wake   chan struct{}
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, room: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// maxWaiting is how many jobs may wait.
const maxWaiting = 4 * maxJobs

// lock takes the queue's lock once there is room.
func (q *queue) lock(ctx context.Context) error {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return errClosed
		}
		if q.bytes < q.limit && q.batch.count() < maxRows && len(q.jobs) < maxWaiting {
			return nil
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unlock lets the writer see what was added.
func (q *queue) unlock() {
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) add(ctx context.Context, j *job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := q.lock(ctx); err != nil {
		return err
	}
	q.jobs = append(q.jobs, j)
	q.unlock()
	return nil
}

// take waits for something to write and takes all of it. Archive entries alone
// may gather until then; it is false once the queue is closed and empty.
func (q *queue) take(then time.Time) ([]*job, *batch, bool) {
	for {
		q.mu.Lock()
		gather := time.Duration(0)
		if len(q.jobs) == 0 && !q.closed && q.batch.count() < maxRows/2 && q.bytes < q.limit/2 {
			gather = time.Until(then)
		}
		if q.batch != nil && gather <= 0 || len(q.jobs) > 0 {
			jobs := q.taken()
			b := q.batch
			q.batch, q.writes, q.bytes = nil, b, 0
			close(q.room)
			q.room = make(chan struct{})
			q.mu.Unlock()
			return jobs, b, true
		}
		idle, closed := q.batch == nil, q.closed
		q.mu.Unlock()
		if closed {
			return nil, nil, false
		}
		if idle {
			<-q.wake
			continue
		}
		timer := time.NewTimer(gather)
		select {
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// taken are the first jobs that nobody gave up.
func (q *queue) taken() []*job {
	n := min(len(q.jobs), maxJobs)
	jobs := make([]*job, 0, n)
	for _, j := range q.jobs[:n] {
		if j.takeIt() {
			jobs = append(jobs, j)
		}
	}
	q.jobs = append(q.jobs[:0:0], q.jobs[n:]...)
	return jobs
}

// open is the batch that entries are added to. Under the lock.
func (q *queue) open() *batch {
	if q.batch == nil {
		q.batch = &batch{done: make(chan struct{})}
		if q.spare != nil {
			q.batch.rows, q.batch.raw = q.spare.rows[:0], q.spare.raw[:0]
			q.spare = nil
		}
	}
	return q.batch
}

// maxSpare is how much memory is kept for the next batch.
const maxSpare = 1 << 20

// written gives a batch's memory back.
func (q *queue) written(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writes = nil
	if b == nil || cap(b.raw) > maxSpare || cap(b.rows) > 4096 {
		return
	}
	clear(b.rows) // the addresses
	q.spare = &batch{rows: b.rows, raw: b.raw}
	b.rows, b.raw = nil, nil
}

// last is the newest batch that is not on disk, nil for none.
func (q *queue) last() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.batch != nil {
		return q.batch
	}
	return q.writes
}

func (q *queue) close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.room)
		q.room = make(chan struct{})
	}
	q.unlock()
}
