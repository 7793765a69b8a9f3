// Command demo shows the gateway at work, offline: a private Tor network on
// this machine, a Prosody that one gateway publishes at an onion address in it,
// another gateway, each with a Tor of its own, and two real clients that log in
// through it and talk.
//
//	go run ./tests/demo -gateway bin/xmpp-gw
//
// It needs the programs that scripts/test-deps installs, takes half a minute,
// and leaves nothing behind: no process and no file, also when it is
// interrupted. The exit code tells whether all of it happened.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// atMost is how long all of it may take.
const atMost = 2 * time.Minute

func main() {
	gateway := flag.String("gateway", "", "the gateway's binary; built from the source if empty")
	flag.Parse()
	interrupted, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// A second Ctrl-C ends the program at once; what it started dies with it.
	context.AfterFunc(interrupted, stop)
	ctx, cancel := context.WithTimeout(interrupted, atMost)
	defer cancel()

	d := &demo{gateway: *gateway, start: time.Now()}
	err := d.run(ctx)
	if interrupted.Err() != nil {
		err = errors.New("interrupted")
	}
	d.say("Stopping everything.")
	if left := d.cleanUp(); left != nil {
		err = errors.Join(err, left)
	} else {
		d.say("No process and no file is left.")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nThe demonstration FAILED: %v\n", err)
		os.Exit(1)
	}
	d.say("Done: everything worked.")
}

// demo is a demonstration under way.
type demo struct {
	gateway string
	start   time.Time
	dir     string         // has everything that is written
	torrc   string         // makes a Tor part of the private network
	closers []func() error // of what was started, in that order
}

// say prints a line with the time since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Printf("%5.1f s  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// detail prints a line that belongs to the one before.
func detail(format string, args ...any) {
	fmt.Printf("         %s\n", fmt.Sprintf(format, args...))
}

// later has something closed at the end, before what was started before it.
func (d *demo) later(close func() error) { d.closers = append(d.closers, close) }
