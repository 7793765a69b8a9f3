package proxy

import (
	"runtime/debug"
	"sync"
	"time"
)

// tidyAfter is how long sessions must have neither come nor gone.
const tidyAfter = 3 * time.Second

// tidy gives memory back when a burst of logins or of ends is over. A TLS
// handshake and a login need several times what the idle session keeps
// afterwards, and a daemon whose sessions are all idle allocates too little for
// the collector to come by soon.
type tidy struct {
	mu    sync.Mutex
	timer *time.Timer
}

// later puts the tidying off until nothing has happened for a while.
func (t *tidy) later() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil {
		t.timer = time.AfterFunc(tidyAfter, debug.FreeOSMemory)
		return
	}
	t.timer.Reset(tidyAfter)
}

// stop ends it for good.
func (t *tidy) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
}
