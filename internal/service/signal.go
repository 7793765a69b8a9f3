package service

import (
	"os"
	"os/signal"
	"syscall"
)

// Event is what a signal asks the daemon for.
type Event uint8

// The events.
const (
	Reload Event = iota + 1 // SIGHUP: read the configuration and certificates again
	Drain                   // the first SIGTERM or SIGINT: take nothing new and let the sessions end
	Quit                    // the next one: end now
)

// Signals turns the process's signals into events until stop is called. Events
// that nobody takes wait, and several reloads that wait are one.
func Signals() (events <-chan Event, stop func()) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	// Three places are enough for all that translate lets through.
	out := make(chan Event, 3)
	done := make(chan struct{})
	go translate(signals, out, done)
	return out, func() { signal.Stop(signals); close(done) }
}

func translate(signals <-chan os.Signal, out chan<- Event, done <-chan struct{}) {
	draining := false
	for {
		var event Event
		select {
		case <-done:
			return
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				event = Reload
			case draining:
				event = Quit
			default:
				event, draining = Drain, true
			}
		}
		if event == Reload && len(out) > 0 {
			continue
		}
		select {
		case out <- event:
		default: // full: a Quit waits already
		}
	}
}
