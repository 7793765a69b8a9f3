// Package metrics shows the daemon's numbers to Prometheus: how many sessions
// there are in which state and by which kind of route, what they moved, why
// upstream legs failed, and how far Tor is.
//
// Nothing in it names a person, a domain or an address, and the set of label
// values is small and fixed by the program, so that whoever may read the numbers
// learns only that.
//
// A [Recorder] counts; [Serve] answers Prometheus with a [Snapshot] that is taken
// when it asks.
package metrics

import (
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Snapshot is the state of the daemon at one time. What counts, counts since the
// daemon started, sessions that have ended included.
type Snapshot struct {
	Sessions  map[Kind]int      // open now
	Accepted  uint64            // client connections
	Connected map[string]uint64 // upstream legs that were built, by kind of route
	Failures  map[string]uint64 // upstream legs that failed, by class ("tls", "sasl", …)
	Up, Down  Flow              // client to server, and back
	// Bootstrap is Tor's progress in percent; -1 where no Tor is used.
	Bootstrap int
}

// Kind is what open sessions are counted by. Route is what [RouteKind] makes of
// theirs.
type Kind struct{ State, Route string }

// Flow counts one direction.
type Flow struct{ Bytes, Stanzas uint64 }

// Server answers Prometheus.
type Server struct{ http *http.Server }

// Serve answers GET /metrics on l in the background until Close. It calls
// snapshot for each answer, maybe concurrently.
func Serve(l net.Listener, version string, snapshot func() Snapshot) *Server {
	s := &Server{&http.Server{
		Handler:        handler(version, snapshot),
		ReadTimeout:    10 * time.Second,
		WriteTimeout:   30 * time.Second,
		MaxHeaderBytes: 16 << 10,
	}}
	go s.http.Serve(l)
	return s
}

// Close ends all connections and closes the listener.
func (s *Server) Close() error { return s.http.Close() }

func handler(version string, snapshot func() Snapshot) http.Handler {
	registry := prometheus.NewRegistry() // not the package's own, which is global
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(version, snapshot),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

type collector struct {
	version  string
	snapshot func() Snapshot

	build, sessions, accepted, connected, failures, bytes, stanzas, bootstrap *prometheus.Desc
}

func newCollector(version string, snapshot func() Snapshot) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("xmpp_gw_"+name, help, labels, nil)
	}
	return &collector{
		version: version, snapshot: snapshot,
		build:     desc("build_info", "1, with the version of this xmpp-gw.", "version"),
		sessions:  desc("sessions", "Open sessions.", "state", "route"),
		accepted:  desc("sessions_accepted_total", "Client connections accepted."),
		connected: desc("upstream_connects_total", "Upstream legs that were built.", "route"),
		failures:  desc("upstream_failures_total", "Upstream legs that failed.", "class"),
		bytes:     desc("bytes_total", "Bytes of XML relayed.", "direction"),
		stanzas:   desc("stanzas_total", "Stanzas relayed.", "direction"),
		bootstrap: desc("tor_bootstrap_ratio", "Progress of Tor's bootstrap, from 0 to 1."),
	}
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.build, c.sessions, c.accepted, c.connected, c.failures, c.bytes, c.stanzas, c.bootstrap} {
		out <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.snapshot()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(c.build, 1, c.version)
	for kind, n := range s.Sessions {
		gauge(c.sessions, float64(n), kind.State, kind.Route)
	}
	counter(c.accepted, s.Accepted)
	for route, n := range s.Connected {
		counter(c.connected, n, route)
	}
	for class, n := range s.Failures {
		counter(c.failures, n, class)
	}
	counter(c.bytes, s.Up.Bytes, "up")
	counter(c.bytes, s.Down.Bytes, "down")
	counter(c.stanzas, s.Up.Stanzas, "up")
	counter(c.stanzas, s.Down.Stanzas, "down")
	if s.Bootstrap >= 0 {
		gauge(c.bootstrap, float64(s.Bootstrap)/100)
	}
}
