package inspect

import (
	"fmt"
	"time"

	"xmpp-gw/policy/audit"
)

// Kept is what the kernel knows of this machine's clock.
type Kept struct {
	Known  bool          // it can be asked
	Synced bool          // a time server sets it
	Error  time.Duration // how far it may be off at most
}

// Clock compares this machine's clock with the validity of Tor's consensus
// (dir-spec §3.4.1), and with what the kernel says of it. A consensus holds for
// hours, so it can show that a clock is wrong, and not that it is right within a
// minute; for that something has to keep it. Zero times are for none to compare
// with; none says why.
func Clock(now, validAfter, validUntil time.Time, none string, kept Kept) *audit.Clock {
	if !validAfter.IsZero() && !validUntil.IsZero() {
		none = "tor's consensus is of " + validAfter.UTC().Format("15:04 UTC") + ", which fits"
		switch {
		case now.Before(validAfter):
			return &audit.Clock{Offset: now.Sub(validAfter), How: "at least; tor's consensus is of " + validAfter.UTC().Format(time.DateTime) + " UTC"}
		case now.After(validUntil):
			return &audit.Clock{Err: fmt.Sprintf("tor's consensus ended %s ago: the clock is ahead, or tor had no network since", now.Sub(validUntil).Round(time.Minute))}
		}
	}
	switch {
	case !kept.Known:
		return &audit.Clock{Err: none + "; whether the clock is right within a minute cannot be seen on this system"}
	case !kept.Synced:
		return &audit.Clock{Err: none + "; no time server sets the clock, so whether it is right within a minute is not known"}
	}
	return &audit.Clock{Offset: kept.Error.Round(time.Millisecond), How: "at most, as a time server sets it; " + none}
}
