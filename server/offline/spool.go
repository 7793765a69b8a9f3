package offline

import (
	"context"
	"errors"
	"sync"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/server"
)

// patience is how long a message may be on its way to a session before it is
// written down. Most are confirmed within it, and never cost a write.
const patience = 250 * time.Millisecond

// errNotKept ends the stream of a sender whose message can be neither delivered nor
// written down: it was not acknowledged, and is sent again.
var errNotKept = errors.New("offline: the message could not be written")

// kept is what the module has of one message that is on its way.
type kept struct {
	promise *promise // nil for a message that came from the storage

	mu    sync.Mutex
	id    int64 // in the storage, 0 for not there
	ended bool  // received, or given back
}

// end says that the message is not on its way any more, and where it is stored if it is.
func (k *kept) end() (id int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	return k.id
}

// settle lets the sender's acknowledgement go.
func (k *kept) settle(err error) {
	if k.promise != nil {
		k.promise.settle(err)
	}
}

// promise is a write that is not needed when the message arrives first. It is a
// [store.Pending].
type promise struct {
	done chan struct{}
	once sync.Once
	err  error
}

func (p *promise) Done() <-chan struct{} { return p.done }

func (p *promise) Err() error {
	<-p.done
	return p.err
}

func (p *promise) settle(err error) {
	p.once.Do(func() {
		p.err = err
		close(p.done)
	})
}

// delivered makes the acknowledgement of a message (XEP-0198 §4) wait until its
// addressee has it or the storage does. Messages of senders that get no
// acknowledgements, and those in the addressee's archive, need neither.
func (m *Module) delivered(_ context.Context, owner address.Address, st *server.Stanza, _ []*server.Session) {
	if st.Kind != server.Message || st.Kept() != nil {
		return
	}
	sender := m.srv.Session(st.From)
	if sender == nil || !sender.Managed() || judge(st) != keep || archived(st, owner) {
		return
	}
	k := &kept{promise: &promise{done: make(chan struct{})}}
	st.SetKept(k)
	st.Await(k.promise)
	timer := time.AfterFunc(patience, func() {
		if !m.background(func() { m.spool(owner, st, k) }) {
			k.settle(errNotKept)
		}
	})
	st.WhenReceived(func() {
		timer.Stop()
		if id := k.end(); id != 0 {
			m.gone(owner, id)
		}
		k.settle(nil)
	})
}

// spool writes a message that is still on its way.
func (m *Module) spool(owner address.Address, st *server.Stanza, k *kept) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return // whoever ended it settles it
	}
	id, err := m.push(m.life, owner, st)
	switch {
	case err == nil:
		k.id = id
		m.claim(id)
	case errors.Is(err, server.ErrServiceUnavailable):
		// Full. It is still on its way; should it come back, its sender is told.
	default:
		m.srv.Log().Error("a message could not be written down before its acknowledgement", "error", err)
		k.settle(errNotKept)
		return
	}
	k.settle(nil)
}
