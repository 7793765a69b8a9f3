package onion

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Progress is one step of Tor's way into the network (control-spec §4.1.10,
// BOOTSTRAP).
type Progress struct {
	Percent int    // 0 to 100; at 100 circuits can be built
	Tag     string // the phase, such as "conn_done" or "requesting_descriptors"
	Summary string // the phase in words
	// Warning is what Tor says of a problem in this phase, without addresses;
	// empty while all is well.
	Warning string
}

// parseBootstrap reads a BOOTSTRAP line: the rest of a STATUS_CLIENT event or
// the value of status/bootstrap-phase. It reports false for any other line.
func parseBootstrap(line string) (Progress, bool) {
	fs := fields(line)
	if len(fs) < 3 || fs[0].key != "" || fs[1] != (field{"", "BOOTSTRAP"}) {
		return Progress{}, false
	}
	percent, err := strconv.Atoi(lookup(fs, "PROGRESS"))
	if err != nil || percent < 0 || percent > 100 {
		return Progress{}, false
	}
	// HOSTID and HOSTADDR name the guard and are left out on purpose.
	return Progress{
		Percent: percent,
		Tag:     printable(lookup(fs, "TAG")),
		Summary: printable(lookup(fs, "SUMMARY")),
		Warning: warning(printable(lookup(fs, "WARNING"))),
	}, true
}

// warning makes a sentence of the one word of Tor's that says nothing: it is the
// end of a connection that was expected to go on.
func warning(s string) string {
	if s == "DONE" {
		return "a relay, or something on the way to it, closed the connection"
	}
	return s
}

// parseClockSkew reads a CLOCK_SKEW line of a STATUS_GENERAL event: how far
// this machine's clock is ahead (control-spec §4.1.10).
func parseClockSkew(line string) (time.Duration, bool) {
	fs := fields(line)
	if len(fs) < 2 || fs[1] != (field{"", "CLOCK_SKEW"}) {
		return 0, false
	}
	n, err := strconv.ParseInt(lookup(fs, "SKEW"), 10, 32)
	return time.Duration(n) * time.Second, err == nil
}

// BootstrapError says how far Tor got before it was given up.
type BootstrapError struct {
	Last  Progress
	Quiet time.Duration // how long there was no progress; 0: it was stopped by ctx
	Skew  time.Duration // how far the clock is ahead of the network's, where Tor said so
	// Bridges is how many bridges were to be used.
	Bridges int
	Err     error // the context's error, when that ended the wait
}

// Error says where it stuck, why, and what to try.
func (e *BootstrapError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tor did not get into the network: it stands at %d %%", e.Last.Percent)
	if e.Last.Tag != "" {
		fmt.Fprintf(&b, " (%s: %s)", e.Last.Tag, e.Last.Summary)
	}
	if e.Quiet > 0 {
		fmt.Fprintf(&b, " and made no progress for %s", e.Quiet.Round(time.Second))
	}
	if e.Last.Warning != "" {
		fmt.Fprintf(&b, "; it reports %q", e.Last.Warning)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, " (%v)", e.Err)
		return b.String()
	}
	b.WriteString(": " + e.Hint())
	return b.String()
}

func (e *BootstrapError) Unwrap() error { return e.Err }

// Hint is what the owner can try at the phase where Tor stands.
func (e *BootstrapError) Hint() string {
	switch {
	case e.Skew != 0:
		way := "ahead"
		if e.Skew < 0 {
			way = "behind"
		}
		return fmt.Sprintf("this machine's clock is %s %s; set it right (timedatectl set-ntp true)", e.Skew.Abs(), way)
	case e.Bridges > 0 && e.Last.Percent < 50:
		return "the bridges in the configuration ([tor] bridges) do not answer, or this machine is not online: check the lines, or get other bridges from https://bridges.torproject.org"
	case e.Last.Percent < 15:
		return "check that this machine is online and that its firewall lets tor connect out; a network that blocks Tor needs a bridge (https://bridges.torproject.org)"
	case e.Last.Percent < 50:
		return "check this machine's clock and time zone, then that the connection is stable; a network that blocks Tor needs a bridge (https://bridges.torproject.org)"
	}
	return "the connection may be too slow or unstable: try again, or over another network"
}

// bootstrap follows Tor's progress until 100 %. It ends with an error when
// there is none for as long as quiet, when ctx is over, or when the control
// connection breaks.
func bootstrap(ctx context.Context, c *Control, ev *Events, o Options) error {
	// The subscription is older than this question, so no step falls between.
	line, err := c.Info(ctx, "status/bootstrap-phase")
	if err != nil {
		return err
	}
	quiet, tell := o.Budget, o.Progress
	last, ok := parseBootstrap(line)
	if !ok {
		return fmt.Errorf("tor's control port tells its progress in words that are not understood: %q", printable(line))
	}
	tell(last)

	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	stuck := time.AfterFunc(quiet, cancel)
	defer stuck.Stop()
	var skew time.Duration
	for last.Percent < 100 {
		e, err := ev.Next(wait)
		switch {
		case ctx.Err() != nil:
			return &BootstrapError{Last: last, Err: ctx.Err()}
		case wait.Err() != nil:
			return &BootstrapError{Last: last, Quiet: quiet, Skew: skew, Bridges: len(o.Bridges)}
		case err != nil:
			return err
		}
		if s, ok := parseClockSkew(e.Line); ok {
			skew = s
			continue
		}
		p, ok := parseBootstrap(e.Line)
		if !ok || p.Percent < last.Percent || p == last {
			continue
		}
		if p.Percent > last.Percent {
			stuck.Reset(quiet)
		}
		last = p
		tell(p)
	}
	return nil
}
