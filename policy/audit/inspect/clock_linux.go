package inspect

import (
	"time"

	"golang.org/x/sys/unix"
)

// ClockKept asks the kernel, which knows whether a time server's program sets the
// clock (adjtimex(2)). Nobody else is asked.
func ClockKept() Kept {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return Kept{}
	}
	return Kept{Known: true, Synced: t.Status&unix.STA_UNSYNC == 0, Error: time.Duration(t.Maxerror) * time.Microsecond}
}
