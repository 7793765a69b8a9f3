// Package service is what a daemon owes the machine that runs it: it tells the
// service manager how it is (sd_notify(3)), takes over the sockets that were
// opened for it (sd_listen_fds(3)), and turns signals into what they ask for.
//
// Without a service manager all of it does nothing.
package service

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready says that start-up, or a reload, is done, and status in a few words what
// the daemon does now. Neither may hold what the log may not.
func Ready(status string) { notify(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// Status says in a few words what the daemon does now.
func Status(status string) { notify("STATUS=" + status) }

// Reloading says that the configuration is being read again; Ready must follow,
// also when it was refused.
func Reloading() {
	state := daemon.SdNotifyReloading
	if usec := daemon.SdNotifyMonotonicUsec(); usec != "" {
		state += "\n" + usec // Type=notify-reload wants to know when
	}
	notify(state)
}

// Stopping says that the daemon is on its way out.
func Stopping() { notify(daemon.SdNotifyStopping) }

// Watchdog keeps the service manager's watchdog quiet until ctx is done, as long
// as healthy returns true, and returns at once where there is none. healthy
// should pass through the locks that a stuck daemon would be stuck in.
func Watchdog(ctx context.Context, healthy func() bool) error {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil || limit == 0 {
		return err
	}
	// A third, so that one ping may be late.
	tick := time.NewTicker(limit / 3)
	defer tick.Stop()
	for {
		if healthy() {
			notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// notify sends state. There is nobody to tell that it failed: the service
// manager, who would act on it, is who did not get it.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
