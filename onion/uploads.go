package onion

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// State says how far an onion service is.
type State string

// The states of an onion service.
const (
	StatePublishing State = "publishing" // its descriptor is on the way to the directories
	StatePublished  State = "published"  // all directories that were asked have answered
	StateFailed     State = "failed"     // none took it; Tor tries again
)

// ServiceState is an address that a Tor publishes.
type ServiceState struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	State    State  `json:"state"`
	Uploaded int    `json:"uploaded"` // directories that have the descriptor
	Uploads  int    `json:"uploads"`  // directories that it was sent to
	Error    string `json:"error,omitempty"`
}

// progress is the state in words.
func (s ServiceState) progress() string {
	text := "its descriptor was not sent to a directory so far (it needs introduction points first)"
	if s.Uploads > 0 {
		text = fmt.Sprintf("%d of %d directories have its descriptor", s.Uploaded, s.Uploads)
	}
	if s.Error != "" {
		text += " (" + s.Error + ")"
	}
	return text
}

const (
	// secondBudget is how long after one descriptor the other may come. A service
	// has two at any time, for this period and the one before or after it
	// (rend-spec-v3 §2.2.1), and which of them a client asks for depends on the
	// client's clock.
	secondBudget = 5 * time.Second
	// answerBudget is how long a directory may take to answer. One that does not
	// is no reason to call a service unpublished that all others have.
	answerBudget = time.Minute
	// roundGap tells uploads of one round from those of the next, an hour later.
	roundGap = time.Minute
)

// uploads follows the descriptors of our services to the directories, by the
// control port's HS_DESC events (control-spec §4.1.25).
type uploads struct {
	changes *signal

	mu       sync.Mutex
	services map[string]*upload // by address without ".onion"
	live     bool               // events are being read
}

// upload is the way of one address's descriptors.
type upload struct {
	ServiceState
	pending     map[string]int  // uploads under way, by directory
	answered    map[string]bool // whether it took what it was sent last, by directory
	descriptors map[string]bool // by id, of this round
	last        time.Time
	timer       *time.Timer
}

func (u *upload) reset() {
	u.State, u.Error, u.Uploaded, u.Uploads = StatePublishing, "", 0, 0
	u.clear()
}

func (u *upload) clear() {
	u.pending, u.answered, u.descriptors = make(map[string]int), make(map[string]bool), make(map[string]bool)
	u.stop()
}

func (u *upload) stop() {
	if u.timer != nil {
		u.timer.Stop()
	}
}

// expect makes the set of services this one; those in fresh will be uploaded.
// The function it returns says why they were not.
func (w *uploads) expect(next []Publication, fresh map[string]bool) (undo func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.services
	w.services = make(map[string]*upload)
	for _, p := range next {
		id := strings.TrimSuffix(p.Address, onionSuffix)
		u := old[id]
		delete(old, id)
		if u == nil {
			u = &upload{}
			u.Address = p.Address
			u.reset()
		}
		if u.Name = p.Name; fresh[p.Address] {
			u.reset()
		}
		w.services[id] = u
	}
	for _, u := range old {
		u.stop()
	}
	w.changes.fire()
	return func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, u := range w.services {
			if u.State != StatePublished {
				u.State, u.Error = StateFailed, err.Error()
			}
		}
		w.changes.fire()
	}
}

func (w *uploads) watching() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.live
}

func (w *uploads) states() []ServiceState {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []ServiceState
	for _, u := range w.services {
		all = append(all, u.ServiceState)
	}
	return all
}

// follow reads events until they end, and calls ended with the reason.
func (w *uploads) follow(ctx context.Context, events *Events, ended func(error)) {
	w.mu.Lock()
	w.live = true
	w.mu.Unlock()
	go func() {
		defer events.Close()
		for {
			e, err := events.Next(ctx)
			if err != nil {
				w.lost()
				ended(err)
				return
			}
			w.event(e.Line, time.Now())
		}
	}()
}

// lost marks what is not published yet: nobody will tell any more.
func (w *uploads) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live = false
	for _, u := range w.services {
		u.stop()
		u.State, u.Error = StateFailed, "tor ended"
	}
	w.changes.fire()
}

// event reads "ACTION ADDRESS AUTH DIRECTORY [DESCRIPTOR] [REASON=…]…". The same
// events tell of descriptors that clients fetch, which are other actions.
func (w *uploads) event(line string, at time.Time) {
	fs := fields(line)
	if len(fs) < 4 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.services[fs[1].val]
	if u == nil {
		return
	}
	directory := fs[3].val
	switch fs[0].val {
	case "UPLOAD":
		if len(u.pending) == 0 && at.Sub(u.last) > roundGap {
			u.clear()
		}
		u.pending[directory]++
		if len(fs) > 4 && fs[4].key == "" {
			u.descriptors[fs[4].val] = true
		}
	case "UPLOADED", "FAILED":
		if u.pending[directory] == 0 {
			return // another matter: a client's fetch that failed
		}
		if u.pending[directory]--; u.pending[directory] == 0 {
			delete(u.pending, directory)
		}
		u.answered[directory] = fs[0].val == "UPLOADED"
		if !u.answered[directory] {
			u.Error = "a directory refused it: " + printable(lookup(fs, "REASON"))
		}
	default:
		return
	}
	u.last = at
	u.count()
	w.judge(u)
	w.changes.fire()
}

// count makes the numbers: of directories, however many descriptors each gets.
func (u *upload) count() {
	u.Uploaded, u.Uploads = 0, len(u.pending)
	for directory, took := range u.answered {
		if u.pending[directory] > 0 {
			continue
		}
		u.Uploads++
		if took {
			u.Uploaded++
		}
	}
}

// judge finds the state. A published service stays so while its descriptor is
// renewed, until no directory at all took the new one.
func (w *uploads) judge(u *upload) {
	u.stop()
	if u.State == StatePublished && (len(u.pending) > 0 || u.Uploaded > 0) {
		return
	}
	switch open := len(u.pending); {
	case open == 0 && u.Uploaded == 0:
		u.State = StateFailed
		return
	case open == 0 && len(u.descriptors) > 1:
		u.publish()
		return
	case u.Uploaded == 0:
		u.State = StatePublishing
		return
	case open == 0:
		u.timer = time.AfterFunc(secondBudget, func() { w.settle(u) })
	default:
		u.timer = time.AfterFunc(answerBudget, func() { w.settle(u) })
	}
}

// settle calls a service published that has waited long enough for the rest.
func (w *uploads) settle(u *upload) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.State == StatePublishing && u.Uploaded > 0 && w.services[strings.TrimSuffix(u.Address, onionSuffix)] == u {
		u.publish()
		w.changes.fire()
	}
}

func (u *upload) publish() {
	u.State = StatePublished
	if u.Uploaded == u.Uploads {
		u.Error = ""
	}
}
