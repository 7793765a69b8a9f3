package daemon

import (
	"context"
	"strings"
	"time"

	"xmpp-gw/internal/control"
)

// TB is the part of testing.TB that the helpers for tests need.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// Run starts a daemon for a test: it stops with the test, and the end of its log
// is shown if the test failed.
func Run(t TB, o Options) *Daemon {
	t.Helper()
	d, err := Start(t.Context(), o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("%v", err)
		}
		if t.Failed() {
			t.Logf("the daemon's log ends:\n%s", tail(d.Log(), 60))
		}
	})
	return d
}

// Report is Status for a test.
func (d *Daemon) Report(t TB) *Report {
	t.Helper()
	r, err := d.Status(t.Context())
	if err != nil {
		t.Fatalf("%v", err)
	}
	return r
}

// Sessions are the sessions of a domain that are online.
func (d *Daemon) Sessions(t TB, domain string) []control.Session {
	t.Helper()
	var list []control.Session
	for _, s := range d.Report(t).Sessions {
		if s.Domain == domain && s.State == "online" {
			list = append(list, s)
		}
	}
	return list
}

// Settle waits until the daemon holds no more than it did before, and fails the
// test when that does not happen. The runtime keeps its threads, so these and
// the memory do not count. It waits long, as other tests may have the processors.
func (d *Daemon) Settle(t TB, before Usage) {
	t.Helper()
	var now Usage
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var err error
		if now, err = d.Usage(t.Context()); err != nil {
			t.Fatalf("%v", err)
		}
		if now.Descriptors <= before.Descriptors && now.Goroutines <= before.Goroutines {
			return
		}
	}
	t.Errorf("the daemon holds %+v, and held %+v before", now, before)
}

// tail is the last n lines.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
