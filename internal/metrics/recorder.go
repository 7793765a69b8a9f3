package metrics

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// Recorder counts what the gateway tells it. The zero value is ready; its
// methods are safe for concurrent use.
type Recorder struct {
	accepted               atomic.Uint64
	upBytes, downBytes     atomic.Uint64
	upStanzas, downStanzas atomic.Uint64

	mu        sync.Mutex
	connected map[string]uint64
	failed    map[string]uint64
}

// SessionStarted counts a client connection.
func (r *Recorder) SessionStarted() { r.accepted.Add(1) }

// SessionEnded is part of what the gateway tells; the open sessions are counted
// when Prometheus asks.
func (r *Recorder) SessionEnded() {}

// UpstreamConnected counts an upstream leg that was built over route.
func (r *Recorder) UpstreamConnected(route string) {
	r.count(&r.connected, RouteKind(route))
}

// UpstreamFailed counts an upstream leg that failed. class is one of a fixed set
// of words.
func (r *Recorder) UpstreamFailed(class string) { r.count(&r.failed, class) }

// Moved adds what was relayed.
func (r *Recorder) Moved(upBytes, downBytes, upStanzas, downStanzas uint64) {
	r.upBytes.Add(upBytes)
	r.downBytes.Add(downBytes)
	r.upStanzas.Add(upStanzas)
	r.downStanzas.Add(downStanzas)
}

func (r *Recorder) count(in *map[string]uint64, label string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if *in == nil {
		*in = make(map[string]uint64)
	}
	(*in)[label]++
}

// Accepted is how many clients connected so far.
func (r *Recorder) Accepted() uint64 { return r.accepted.Load() }

// Snapshot is the counted part of a Snapshot.
func (r *Recorder) Snapshot() Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Snapshot{
		Accepted:  r.accepted.Load(),
		Connected: maps.Clone(r.connected),
		Failures:  maps.Clone(r.failed),
		Up:        Flow{r.upBytes.Load(), r.upStanzas.Load()},
		Down:      Flow{r.downBytes.Load(), r.downStanzas.Load()},
		Bootstrap: -1,
	}
}

// RouteKind is the kind of a route in the configuration's spelling, without the
// name that the owner gave it: that may be a host.
func RouteKind(route string) string {
	kind, _, _ := strings.Cut(route, ":")
	return kind
}
